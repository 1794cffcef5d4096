/* Forty children, one after another, that are gone within a millisecond: each writes to 256 KiB and exits, or kills
   itself where an argument says so. Then the parent goes on for 0.4 s. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments) {
    (void)arguments;
    for (int number = 0; number < 40; number++) {
        pid_t child = fork();
        if (child < 0)
            return 1;
        if (child == 0) {
            char *block = malloc(256 << 10);
            if (block == NULL)
                _exit(1);
            memset(block, 1, 256 << 10);
            if (count > 1)
                raise(SIGKILL);
            _exit(0);
        }
        if (waitpid(child, NULL, 0) != child)
            return 1;
    }
    usleep(400000);
    return 0;
}
