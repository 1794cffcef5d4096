/* 100 threads that each keep a changing set of blocks, with pauses: how much memory it has depends on how many arenas
 * its allocator makes, and that on how many CPUs it sees. Two seconds; the same calls in each thread every time. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 100, LIVE = 150, ROUNDS = 40, CALLS = 120 };

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *work(void *seed)
{
    uint64_t state = 0x9e3779b97f4a7c15u * (uintptr_t)seed;
    unsigned char *live[LIVE] = {0};
    const struct timespec pause = {0, 50 * 1000 * 1000};
    for (int round = 0; round < ROUNDS; round++) {
        /* Every fourth round most of it goes, as at the end of a large request. */
        for (int at = 0; round % 4 == 3 && at < LIVE; at++) {
            if (at % 8 != 0) {
                free(live[at]);
                live[at] = NULL;
            }
        }
        for (int call = 0; call < CALLS; call++) {
            int at = (int)(next(&state) % LIVE);
            size_t size = (size_t)16 << next(&state) % 10;
            size += next(&state) % size;
            free(live[at]);
            live[at] = malloc(size);
            if (live[at] == NULL) {
                abort();
            }
            memset(live[at], call, size);
        }
        nanosleep(&pause, NULL);
    }
    for (int at = 0; at < LIVE; at++) {
        free(live[at]);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t at = 0; at < THREADS; at++) {
        if (pthread_create(&threads[at], NULL, work, (void *)(at + 1)) != 0) {
            abort();
        }
    }
    for (int at = 0; at < THREADS; at++) {
        pthread_join(threads[at], NULL);
    }
    return 0;
}
