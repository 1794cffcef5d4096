/* Threads that end by return, by pthread_exit and by cancellation, many of them one after another. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static void *work(void *argument) {
    long way = (long)argument;
    free(malloc(500));
    if (way == 1) pthread_exit(argument);
    if (way == 2)
        for (;;) pause(); /* where cancellation finds it */
    return argument;
}

int main(void) {
    for (long i = 0; i < 300; i++) {
        pthread_t thread;
        void *result;
        if (pthread_create(&thread, 0, work, (void *)(i % 3))) return 1;
        if (i % 3 == 2) pthread_cancel(thread);
        if (pthread_join(thread, &result)) return 1;
        if (result != (i % 3 == 2 ? PTHREAD_CANCELED : (void *)(i % 3))) return 1;
    }
    return write(1, "ended\n", 6) == 6 ? 11 : 1;
}
