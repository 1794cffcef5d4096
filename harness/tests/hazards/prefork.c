/* A prefork server: a heap that is filled first, workers that share it until they write to it, and that come and go.
 * Arguments: the number of workers, and how many run at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHARED = 2000, OWN = 500 };

static char *shared[SHARED];

static void work(void) {
    static char *own[OWN];
    /* A part of the shared memory becomes the worker's own when it is written to. */
    for (int at = 0; at < SHARED; at += 10) shared[at][0] = 2;
    for (int at = 0; at < OWN; at++) own[at] = memset(malloc(1000), 3, 1000);
    for (int at = 0; at < OWN; at++) free(own[at]);
    _exit(0);
}

int main(int count, char **arguments) {
    int workers = count > 1 ? atoi(arguments[1]) : 4, most = count > 2 ? atoi(arguments[2]) : workers;
    for (int at = 0; at < SHARED; at++) shared[at] = memset(malloc(4000), 1, 4000);
    int running = 0, failed = 0, status;
    for (int worker = 0; worker < workers; worker++) {
        if (running == most) {
            if (wait(&status) < 0 || status) failed++;
            running--;
        }
        pid_t child = fork();
        if (child == 0) work();
        if (child < 0) return 1;
        running++;
    }
    while (running-- > 0)
        if (wait(&status) < 0 || status) failed++;
    for (int at = 0; at < SHARED; at++) free(shared[at]);
    return failed ? 2 : 24;
}
