/* A server that overwrites its arguments and environment with the title that ps shows, as nginx and PostgreSQL do,
   before it starts its workers. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv) {
    char *begin = argv[0], *end = begin;
    for (int at = 0; at < argc; at++)
        end = argv[at] + strlen(argv[at]) + 1;
    for (int at = 0; environ[at]; at++)
        end = environ[at] + strlen(environ[at]) + 1;
    memset(begin, 0, (size_t)(end - begin));
    memcpy(begin, "title: server", sizeof "title: server");
    for (int worker = 0; worker < 2; worker++)
        if (fork() == 0) {
            for (int block = 0; block < 100; block++) {
                memset(malloc(4096), 1, 4096);
                nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
            }
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    return 0;
}
