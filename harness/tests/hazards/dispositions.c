/* Says which signals are ignored, and with an argument, which of three arrive, until it is asked to stop. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments) {
    sigset_t awaited;
    sigemptyset(&awaited);
    for (int signal = 1; signal < SIGRTMAX; signal++) {
        struct sigaction action;
        if (!sigaction(signal, 0, &action) && action.sa_handler == SIG_IGN) printf("%d ", signal);
    }
    printf("\n");
    fflush(stdout);
    if (count < 2) return 22;
    alarm(60);
    int signals[] = {SIGINT, SIGQUIT, SIGWINCH, SIGTERM}, signal = 0;
    for (int at = 0; at < 4; at++) sigaddset(&awaited, signals[at]);
    sigprocmask(SIG_BLOCK, &awaited, 0);
    printf("%s\n", arguments[1]);
    fflush(stdout);
    while (signal != SIGTERM) {
        if (sigwait(&awaited, &signal)) return 99;
        printf("%d\n", signal);
        fflush(stdout);
    }
    return 23;
}
