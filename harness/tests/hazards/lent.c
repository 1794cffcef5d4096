/* A vfork whose child takes its time before it becomes another program: until then both processes show the parent's
 * memory, which is there once. */
#define _DEFAULT_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    size_t bytes = 64 << 20;
    char *block = malloc(bytes);
    if (!block) return 1;
    memset(block, 1, bytes);
    pid_t child = vfork();
    if (child == 0) {
        usleep(300000);
        execl("/bin/sleep", "sleep", "0.1", (char *)0);
        _exit(1);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) return 1;
    free(block);
    return write(1, "lent\n", 5) == 5 ? 0 : 1;
}
