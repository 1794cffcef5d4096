/* Memory that grows to 24 MiB within half a second, in a process that may be PID 1 of a namespace. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    static char *blocks[24];
    for (int at = 0; at < 24; at++) {
        blocks[at] = memset(malloc(1 << 20), 1, 1 << 20);
        usleep(20000);
    }
    for (int at = 0; at < 24; at++) free(blocks[at]);
    return 25;
}
