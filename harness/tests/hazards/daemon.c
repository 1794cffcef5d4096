/* A textbook daemon: two forks, its own session, every descriptor closed, and work after its starter has ended. It
 * works after this many milliseconds; with a second argument it stays until it is killed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **arguments) {
    long wait_ms = count > 1 ? atol(arguments[1]) : 0;
    if (fork()) _exit(0);
    setsid();
    if (fork()) _exit(0);
    if (chdir("/")) return 1;
    umask(0);
    for (int descriptor = 0; descriptor < 1024; descriptor++) close(descriptor);
    if (open("/dev/null", O_RDWR) || dup(0) != 1 || dup(0) != 2) return 1;
    usleep(wait_ms * 1000);
    void *blocks[100];
    for (int round = 0; round < 200; round++) {
        for (int at = 0; at < 100; at++) blocks[at] = malloc(at % 700 + 1);
        for (int at = 0; at < 100; at++) free(blocks[at]);
    }
    if (count > 2) pause();
    return 0;
}
