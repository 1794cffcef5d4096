/* A program that blocks every signal, in all of its threads. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void *work(void *argument) {
    for (int i = 0; i < 100; i++) free(malloc(500));
    return argument;
}

int main(void) {
    sigset_t all, now;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, 0);
    if (pthread_create(&thread, 0, work, 0)) return 1;
    pthread_join(thread, 0);
    pthread_sigmask(SIG_SETMASK, 0, &now);
    if (!sigismember(&now, SIGUSR1) || !sigismember(&now, SIGALRM)) return 1;
    return write(1, "blocked\n", 8) == 8 ? 16 : 1;
}
