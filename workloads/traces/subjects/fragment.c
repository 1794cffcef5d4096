/* Fragments its heap on purpose: for predictions of memory to be held against.
 *
 * Six threads, each in rounds of a second or so: many small blocks are made beside some long-lived ones, all but the
 * long-lived are freed (every page keeps a few), then blocks of another size are made, for which the holes do not fit.
 * Some of the blocks are handed to the next thread, which frees them. Between rounds a thread sleeps until the round's
 * time has come, so that another allocator gets the same calls at the same times.
 *
 *     fragment [ROUNDS]     12 rounds unless it is told otherwise; ends with 0
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 6, SMALL = 40000, KEPT_EVERY = 17, LARGE = 600, GIVEN = 2000, ROUND_MS = 800, MOST_ROUNDS = 1000 };

static int rounds = 12;
static struct timespec begin;
static pthread_barrier_t meeting;

/* What a thread gives to the next one. */
static void *given[THREADS][GIVEN];

struct keep {
    void **blocks;
    size_t count;
};

static uint64_t draw(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *make(size_t size) {
    void *block = malloc(size);
    if (block == NULL) {
        fputs("fragment: out of memory\n", stderr);
        exit(1);
    }
    memset(block, 0x5a, size);
    return block;
}

static void sleep_until(long ms) {
    struct timespec due = begin;
    due.tv_sec += ms / 1000;
    due.tv_nsec += ms % 1000 * 1000000L;
    if (due.tv_nsec >= 1000000000L) {
        due.tv_sec++;
        due.tv_nsec -= 1000000000L;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

/* Small blocks, of which every seventeenth stays; the rest is freed at once after all were made. */
static void riddle(uint64_t *state, int round, struct keep *keep) {
    static __thread void *blocks[SMALL];
    size_t most = round % 3 == 0 ? 90 : round % 3 == 1 ? 400 : 1600;
    for (int i = 0; i < SMALL; i++)
        blocks[i] = make(16 + draw(state) % most);
    // What is live at the peak must not depend on which of the threads is how fast.
    pthread_barrier_wait(&meeting);
    for (int i = 0; i < SMALL; i++) {
        if (i % KEPT_EVERY == 0)
            keep->blocks[keep->count++] = blocks[i];
        else
            free(blocks[i]);
    }
}

/* Blocks that no hole holds; they live until the round's half time. */
static void fill(uint64_t *state, long half_ms) {
    void *blocks[LARGE];
    for (int i = 0; i < LARGE; i++)
        blocks[i] = make(2048 + draw(state) % 30000);
    sleep_until(half_ms);
    for (int i = 0; i < LARGE; i++)
        free(blocks[i]);
}

/* Of the oldest kept blocks a third is freed, so that what is kept grows more slowly than what was. */
static void forget(struct keep *keep) {
    size_t third = keep->count / 3;
    for (size_t i = 0; i < third; i++)
        free(keep->blocks[i]);
    keep->count -= third;
    memmove(keep->blocks, keep->blocks + third, keep->count * sizeof *keep->blocks);
}

static void *run(void *number) {
    int own = (int)(intptr_t)number;
    uint64_t state = 0x9e3779b97f4a7c15u * (uint64_t)(own + 1);
    struct keep keep = {make((size_t)rounds * (SMALL / KEPT_EVERY + 1) * sizeof(void *)), 0};
    for (int round = 0; round < rounds; round++) {
        long from_ms = (long)round * ROUND_MS + own * 20;
        sleep_until(from_ms);
        riddle(&state, round, &keep);
        for (int i = 0; i < GIVEN; i++)
            given[own][i] = make(64 + draw(&state) % 200);
        fill(&state, from_ms + ROUND_MS / 2);
        pthread_barrier_wait(&meeting);
        for (int i = 0; i < GIVEN; i++)
            free(given[(own + 1) % THREADS][i]);
        pthread_barrier_wait(&meeting);
        forget(&keep);
    }
    for (size_t i = 0; i < keep.count; i++)
        free(keep.blocks[i]);
    free(keep.blocks);
    return NULL;
}

int main(int count, char **words) {
    if (count > 1)
        rounds = atoi(words[1]);
    if (count > 2 || rounds < 1 || rounds > MOST_ROUNDS) {
        fprintf(stderr, "usage: fragment [ROUNDS, 1 to %d]\n", MOST_ROUNDS);
        return 2;
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    pthread_barrier_init(&meeting, NULL, THREADS);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, run, (void *)(intptr_t)i) != 0)
            return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    puts("fragment: done");
    return 0;
}
