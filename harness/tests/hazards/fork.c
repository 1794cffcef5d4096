/* A fork: the child allocates and frees, including what it inherited; the parent continues. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char *kept[100];

int main(void) {
    for (int i = 0; i < 100; i++) kept[i] = malloc(100);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 100; i++) free(kept[i]);
        for (int i = 0; i < 30; i++) free(malloc(200));
        _exit(3);
    }
    int status;
    if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 3) return 1;
    for (int i = 0; i < 50; i++) free(malloc(300));
    return write(1, "forked\n", 7) == 7 ? 4 : 1;
}
