/* A program that uses up every descriptor that it may have, and later closes some again. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

int main(void) {
    struct rlimit limit = {64, 64};
    if (setrlimit(RLIMIT_NOFILE, &limit)) return 1;
    while (open("/dev/null", O_RDONLY) >= 0) {
    }
    for (int i = 0; i < 100000; i++) free(malloc(100));
    for (int descriptor = 3; descriptor < 64; descriptor++) close(descriptor);
    for (int i = 0; i < 1000; i++) free(malloc(200));
    return write(1, "descriptors\n", 12) == 12 ? 13 : 1;
}
