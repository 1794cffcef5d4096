/* A vfork: the child borrows the parent's memory, and its thread's state with it, until it becomes another program. */
#define _DEFAULT_SOURCE
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    for (int i = 0; i < 10; i++) free(malloc(100));
    pid_t child = vfork();
    if (child == 0) {
        free(malloc(50));
        execl("/bin/true", "true", (char *)0);
        _exit(1);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) return 1;
    for (int i = 0; i < 10; i++) free(malloc(100));
    return write(1, "vforked\n", 8) == 8 ? 6 : 1;
}
