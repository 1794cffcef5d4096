/* Limits its address space to 512 MiB and then allocates 200 MiB: itself, with the argument `fork` in a child, and with
 * `vfork` after a child of vfork has limited itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct rlimit limit = {512 << 20, RLIM_INFINITY};
    int blocks = 0;
    if (count > 1 && !strcmp(arguments[1], "fork")) {
        pid_t child = fork();
        if (child) {
            int status;
            return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 97;
        }
        if (setrlimit(RLIMIT_AS, &limit)) _exit(96);
    } else if (count > 1) {
        pid_t child = vfork();
        if (child == 0) _exit(setrlimit(RLIMIT_AS, &limit));
        int status;
        if (waitpid(child, &status, 0) != child || status) return 99;
    } else if (setrlimit(RLIMIT_AS, &limit)) {
        return 98;
    }
    for (; blocks < 200; blocks++) {
        char *volatile block = malloc(1 << 20);
        if (!block) break;
        block[0] = 1;
    }
    printf("%d MiB\n", blocks);
    return 24;
}
