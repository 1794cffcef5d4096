/* A program whose use of malloc is known: it counts its calls, and reports the counts on stdout.
 *
 *   known             calls that every recorder records: malloc, calloc, realloc, free, of NULL too, aligned ones
 *   known edges       in addition calls that fail, and a realloc to 0
 *   known threads     four threads, each with its own blocks and blocks that another frees
 *
 * Two blocks of 12345 bytes mark where counting begins and ends: what the C library or the recorder allocates for
 * itself lies before or after. With -DMTRACE the log of mtrace(3) is written between. Nothing here uses stdio's buffers. */
#include <malloc.h>
#include <mcheck.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SENTINEL = 12345, BLOCKS = 200, THREADS = 4, ROUNDS = 2000 };

/* What is counted; in the threads' part, only the calls, under a lock. */
static long mallocs, callocs, aligned, reallocs, frees, failed;
static long live_bytes, peak_bytes, live_blocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *volatile sink;

static void took(long bytes) {
    live_bytes += bytes;
    live_blocks++;
    if (live_bytes > peak_bytes) peak_bytes = live_bytes;
}

static void left(long bytes) {
    live_bytes -= bytes;
    live_blocks--;
}

static void common(void) {
    static void *block[BLOCKS];
    static long size[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        size[i] = 1 + (i * 7919L) % 5000;
        switch (i % 5) {
        case 0: block[i] = calloc(size[i], 1); callocs++; break;
        case 1: block[i] = NULL; posix_memalign(&block[i], 64, size[i]); aligned++; break;
        default: block[i] = malloc(size[i]); mallocs++; break;
        }
        took(size[i]);
        if (i % 3 == 0) {
            long more = size[i] * 2 + 100000 * (i % 2);
            /* Both at once, as in realloc itself. */
            live_bytes += more - size[i];
            if (live_bytes > peak_bytes) peak_bytes = live_bytes;
            size[i] = more;
            block[i] = realloc(block[i], more);
            reallocs++;
        }
        if (i % 2 == 1) {
            free(block[i - 1]);
            frees++;
            left(size[i - 1]);
            block[i - 1] = NULL;
        }
    }
    sink = realloc(NULL, 77);
    reallocs++;
    took(77);
    for (int i = 1; i < BLOCKS / 2; i += 2) {
        free(block[i]);
        frees++;
        left(size[i]);
    }
    /* The other half stays live to the end. */
}

static void edges(void) {
    volatile size_t huge = PTRDIFF_MAX - 100;
    sink = malloc(huge);
    mallocs++, failed++;
    void *kept = malloc(10);
    mallocs++;
    took(10);
    sink = realloc(kept, huge);
    reallocs++, failed++;
    void *gone = malloc(20);
    mallocs++;
    took(20);
    sink = realloc(gone, 0);
    reallocs++;
    left(20);
    sink = malloc(0);
    mallocs++;
    took(0);
}

static void *mailbox[THREADS][64];

static void *work(void *argument) {
    int self = (int)(intptr_t)argument;
    unsigned seed = 12345u + self;
    for (int round = 0; round < ROUNDS; round++) {
        seed = seed * 1103515245u + 12345u;
        void *fresh = malloc(1 + (seed >> 16) % 3000);
        void *old = fresh;
        int to = (seed >> 8) % THREADS, slot = seed >> 26;
        if (round % 7 == 0) old = fresh = realloc(fresh, 1 + (seed >> 18) % 9000);
        old = __atomic_exchange_n(&mailbox[to][slot], old, __ATOMIC_ACQ_REL);
        free(old);
        pthread_mutex_lock(&lock);
        mallocs++;
        reallocs += round % 7 == 0;
        frees++;
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void threads(void) {
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, work, (void *)(intptr_t)i);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < THREADS; i++)
        for (int slot = 0; slot < 64; slot++) free(mailbox[i][slot]), frees++;
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
#ifdef MTRACE
    mtrace();
#endif
    sink = malloc(SENTINEL);
    if (!strcmp(what, "threads")) {
        threads();
    } else {
        common();
        if (!strcmp(what, "edges")) edges();
        free(NULL);
    }
    sink = malloc(SENTINEL);
#ifdef MTRACE
    muntrace();
#endif
    char text[300];
    int length = snprintf(text, sizeof text,
        "mallocs=%ld callocs=%ld aligned=%ld reallocs=%ld frees=%ld failed=%ld peak_bytes=%ld live_bytes=%ld live_blocks=%ld\n",
        mallocs, callocs, aligned, reallocs, frees, failed, peak_bytes, live_bytes, live_blocks);
    return write(1, text, length) != length;
}
