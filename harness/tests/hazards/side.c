/* Holds 64 MiB, uses CPU time for some tenths of a second, and leaves an orphan that holds the same for a second. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    char *block = malloc(64 << 20);
    memset(block, 1, 64 << 20);
    if (fork() == 0) {
        for (int at = 0; at < 64 << 20; at += 4096) block[at] = 2;
        sleep(1);
        _exit(0);
    }
    while (clock() < CLOCKS_PER_SEC / 2) continue;
    return 27;
}
