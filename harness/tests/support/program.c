/* A program whose arguments say what it does, one after another:
 *
 *   hold MIB      allocates and touches this much, in blocks of 64 KiB
 *   sleep MS      does nothing
 *   burn MS       uses the CPU
 *   threads N     starts threads that wait
 *   child MIB     forks a child that holds this much and waits for its parent
 *   line TEXT     writes a line
 *   listen PORT   listens on the loopback interface
 *   ignore        ignores SIGTERM
 *   kill SIGNAL   ends itself by a signal
 *   exit STATUS   ends
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Not position-independent, this takes the addresses of the functions in the program itself. */
void *(*volatile taken_malloc)(size_t) = malloc;
void (*volatile taken_free)(void *) = free;

static void hold(int mib) {
    for (int block = 0; block < mib * 16; block++) memset(taken_malloc(65536), 1, 65536);
}

static void sleep_ms(int ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

static void *wait_for_ever(void *nothing) {
    for (;;) pause();
    return nothing;
}

static void listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8)) exit(9);
}

static void burn(int ms) {
    clock_t end = clock() + ms * (CLOCKS_PER_SEC / 1000);
    while (clock() < end) taken_free(taken_malloc(100));
}

int main(int count, char **words) {
    for (int at = 1; at < count; at++) {
        const char *word = words[at];
        if (!strcmp(word, "ignore")) {
            signal(SIGTERM, SIG_IGN);
            continue;
        }
        const char *text = words[++at];
        int number = text ? atoi(text) : 0;
        if (!strcmp(word, "hold")) hold(number);
        else if (!strcmp(word, "sleep")) sleep_ms(number);
        else if (!strcmp(word, "burn")) burn(number);
        else if (!strcmp(word, "line")) puts(text), fflush(stdout);
        else if (!strcmp(word, "listen")) listen_on(number);
        else if (!strcmp(word, "kill")) raise(number);
        else if (!strcmp(word, "exit")) return number;
        else if (!strcmp(word, "threads")) {
            pthread_t thread;
            while (number-- > 0) pthread_create(&thread, NULL, wait_for_ever, NULL);
        } else if (!strcmp(word, "child")) {
            if (fork() == 0) {
                hold(number);
                while (getppid() != 1) sleep_ms(20);
            }
        } else return 64;
    }
    return 0;
}
