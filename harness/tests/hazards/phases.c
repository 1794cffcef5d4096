/* Three phases of allocations, each started by a byte on stdin and reported on stdout. */
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    static const int counts[3] = {100, 50, 70};
    char byte;
    for (int phase = 0; phase < 3; phase++) {
        if (read(0, &byte, 1) != 1) return 1;
        for (int i = 0; i < counts[phase]; i++) free(malloc(1000));
        if (write(1, "phase\n", 6) != 6) return 1;
    }
    return read(0, &byte, 1) == 0 ? 15 : 1;
}
