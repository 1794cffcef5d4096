/* A server that fills a heap of 32 MiB and forks three workers. Each writes to a quarter of the heap, which is then its
 * own, and allocates 4 MiB. So their anonymous memory adds up to 4 * 32 + 3 * 4 MiB, and with shared pages counted once
 * to 32 + 3 * (8 + 4) MiB. Argument: how many milliseconds the workers live. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 8192, OWN = 1024, BYTES = 4096 - 16, WORKERS = 3 };

static char *shared[BLOCKS];

static void work(long live_ms) {
    static char *own[OWN];
    for (int at = 0; at < BLOCKS / 4; at++) shared[at][100] = 2;
    for (int at = 0; at < OWN; at++) own[at] = memset(malloc(BYTES), 3, BYTES);
    usleep(1000 * live_ms);
    for (int at = 0; at < OWN; at++) free(own[at]);
    _exit(0);
}

int main(int count, char **arguments) {
    long live_ms = count > 1 ? atol(arguments[1]) : 800;
    int failed = 0, status;
    for (int at = 0; at < BLOCKS; at++) shared[at] = memset(malloc(BYTES), 1, BYTES);
    for (int worker = 0; worker < WORKERS; worker++) {
        pid_t child = fork();
        if (child == 0) work(live_ms);
        if (child < 0) return 1;
    }
    for (int worker = 0; worker < WORKERS; worker++)
        if (wait(&status) < 0 || status) failed++;
    for (int at = 0; at < BLOCKS; at++) free(shared[at]);
    return failed ? 2 : 0;
}
