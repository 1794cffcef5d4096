/* 4 threads, 256 live blocks each, 20 million mallocs and 20 million frees of 16 to 512 bytes in all, one byte of
 * each block touched: hardly anything but calls of malloc, so that what a recorder adds to one can be seen.
 *
 * With an argument, that many million pairs instead of 20. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, LIVE = 256, LEAST_BYTES = 16, SIZES = 497 };

static long pairs_each;

static void *work(void *argument)
{
    uint64_t state = 0x9e3779b97f4a7c15u * (1 + (uintptr_t)argument);
    char *live[LIVE] = { 0 };
    for (long pair = 0; pair < pairs_each; pair++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        unsigned place = state % LIVE;
        /* Of the first round there is nothing to free: it is made up for below. */
        if (live[place])
            free(live[place]);
        char *block = malloc(LEAST_BYTES + (size_t)((state >> 32) % SIZES));
        if (!block)
            abort();
        block[0] = (char)state;
        live[place] = block;
    }
    for (unsigned place = 0; place < LIVE; place++)
        if (live[place])
            free(live[place]);
    return NULL;
}

int main(int count, char **arguments)
{
    long millions = count > 1 ? atol(arguments[1]) : 20;
    pairs_each = millions * 1000000 / THREADS;
    pthread_t threads[THREADS];
    for (uintptr_t number = 0; number < THREADS; number++)
        if (pthread_create(&threads[number], NULL, work, (void *)number))
            return 1;
    for (int number = 0; number < THREADS; number++)
        if (pthread_join(threads[number], NULL))
            return 1;
    return 0;
}
