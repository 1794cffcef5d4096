/* Destructors of thread-local values that run after all others, and free and allocate until the last round. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_key_t key;

static void destroy(void *value) {
    static __thread int round;
    free(value);
    if (++round < 4) pthread_setspecific(key, malloc(60));
}

static void *work(void *argument) {
    pthread_setspecific(key, malloc(50));
    return argument;
}

int main(void) {
    pthread_t threads[5];
    if (pthread_key_create(&key, destroy)) return 1;
    for (int i = 0; i < 5; i++) {
        if (pthread_create(&threads[i], 0, work, 0)) return 1;
        pthread_join(threads[i], 0);
    }
    return write(1, "late\n", 5) == 5 ? 9 : 1;
}
