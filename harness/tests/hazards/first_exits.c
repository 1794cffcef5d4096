/* The first thread exits. Another one then starts 2,000 short threads, and allocates 160 MiB. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 40 };

static void *brief(void *unused) {
    void *volatile block = malloc(1000);
    free(block);
    return unused;
}

static void *work(void *unused) {
    static char *blocks[BLOCKS];
    usleep(50000);
    for (int at = 0; at < 2000; at++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, brief, 0)) _exit(99);
        pthread_join(thread, 0);
    }
    for (int at = 0; at < BLOCKS; at++) {
        blocks[at] = malloc(4 << 20);
        memset(blocks[at], 1, 4 << 20);
        usleep(10000);
    }
    usleep(50000);
    for (int at = 0; at < BLOCKS; at++) free(blocks[at]);
    if (write(1, "done\n", 5) != 5) _exit(98);
    exit(19);
    return unused;
}

int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, work, 0)) return 97;
    pthread_exit(0);
}
