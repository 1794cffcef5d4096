/* Threads that all fork at the same time; each child allocates. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, FORKS = 40 };

static void *work(void *unused) {
    for (int at = 0; at < FORKS; at++) {
        pid_t child = fork();
        if (child == 0) {
            free(malloc(100));
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    return unused;
}

int main(void) {
    pthread_t threads[THREADS];
    for (int at = 0; at < THREADS; at++) pthread_create(&threads[at], NULL, work, NULL);
    for (int at = 0; at < THREADS; at++) pthread_join(threads[at], NULL);
    return 29;
}
