/* Limits its addresses to 512 MiB, or lets a child of vfork do so, and then allocates 200 MiB. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct rlimit limit = {512 << 20, RLIM_INFINITY};
    int blocks = 0;
    (void)arguments;
    if (count > 1) {
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
