/* A program whose heap and whose memory outside malloc both grow with its argument, the load: 8 MiB and 4 MiB for each
 * unit of load that it maps and writes to, and blocks of 4,000 bytes, of which it allocates 8 each millisecond for each
 * unit, for a second and a half. Each lives for 250 ms, so 2,000 are live for each unit. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { OF_UNIT = 2000, EACH_MS = 8, BYTES = 4000, MS = 1500, MOST = 16 };

static char *ring[MOST * OF_UNIT];

int main(int count, char **arguments) {
    int load = count > 1 ? atoi(arguments[1]) : 1;
    if (load < 1 || load > MOST) return 2;
    size_t outside = (size_t)(8 + 4 * load) << 20;
    char *mapped = mmap(NULL, outside, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return 1;
    memset(mapped, 1, outside);
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (int ms = 0, at = 0; ms < MS; ms++) {
        for (int each = 0; each < EACH_MS * load; each++, at = (at + 1) % (OF_UNIT * load)) {
            free(ring[at]);
            ring[at] = memset(malloc(BYTES), 2, BYTES);
        }
        due.tv_nsec += 1000000;
        if (due.tv_nsec >= 1000000000) due.tv_sec++, due.tv_nsec -= 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
    return mapped[outside / 2] == 1 ? 0 : 3;
}
