/* Tells its allocator what to do: before its first call of malloc, from a thread, and while it is idle.
   It waits where threads meet: what two of them do within a millisecond can be recorded in any order. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCKS = 20000 };
static void *blocks[BLOCKS];
static void *top;

static void *serve(void *unused) {
    free(malloc(701));
    if (!mallopt(M_TOP_PAD, 65536)) abort();
    free(malloc(702));
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    return unused;
}

int main(void) {
    pthread_t thread;
    if (!mallopt(M_MMAP_THRESHOLD, 32 << 20) || !mallopt(M_ARENA_MAX, 1)) return 1;
    for (int i = 0; i < BLOCKS; i++) {
        char *block = blocks[i] = malloc(1000);
        block[0] = block[999] = 1;
    }
    top = malloc(100000);
    usleep(20000);
    if (pthread_create(&thread, 0, serve, 0) || pthread_join(thread, 0)) return 1;
    usleep(20000);
    free(malloc(703));
    usleep(200000);
    if (!malloc_trim(4096)) return 1;
    usleep(200000);
    free(malloc(704));
    return write(1, "tuned\n", 6) == 6 ? 19 : 1;
}
