/* Threads that never end: the process ends while they wait and allocate. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_barrier_t barrier;

static void *wait_for_ever(void *argument) {
    for (int i = 0; i < 25; i++) free(malloc(500));
    pthread_barrier_wait(&barrier);
    for (;;) pause();
    return argument;
}

int main(void) {
    pthread_t thread;
    pthread_barrier_init(&barrier, 0, 5);
    for (int i = 0; i < 4; i++)
        if (pthread_create(&thread, 0, wait_for_ever, 0)) return 1;
    pthread_barrier_wait(&barrier);
    return write(1, "endless\n", 8) == 8 ? 10 : 1;
}
