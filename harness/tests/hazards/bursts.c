/* Bursts of 20,000 events, each followed by a pause, for two seconds. With two arguments only a few bursts, and then
   the file named by the first argument fills up the disk. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
    static char page[4096];
    int bursts = count > 2 ? 5 : 400;
    for (int burst = 0; burst < bursts; burst++) {
        for (int i = 0; i < 10000; i++) free(malloc(16 + i % 1000));
        usleep(5000);
    }
    if (count > 2) {
        int file = open(arguments[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (file < 0) return 1;
        while (write(file, page, sizeof page) > 0) {}
        memset(page, 1, sizeof page);
        while (write(file, page, 1) > 0) {}
        close(file);
    }
    return write(1, "done\n", 5) == 5 ? 16 : 1;
}
