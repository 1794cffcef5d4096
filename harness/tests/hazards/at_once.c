/* 40 times, 100 threads start to allocate at the same moment. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 100, ROUNDS = 40, BLOCKS = 400 };

static pthread_barrier_t barrier;

static void *work(void *unused) {
    pthread_barrier_wait(&barrier);
    for (int at = 0; at < BLOCKS; at++) {
        void *volatile block = malloc(700);
        free(block);
    }
    return unused;
}

int main(void) {
    static pthread_t threads[THREADS];
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_init(&barrier, 0, THREADS);
        for (int at = 0; at < THREADS; at++)
            if (pthread_create(&threads[at], 0, work, 0)) return 99;
        for (int at = 0; at < THREADS; at++) pthread_join(threads[at], 0);
    }
    return write(1, "done\n", 5) == 5 ? 17 : 1;
}
