/* Locks all its memory, and allocates more afterwards. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(void) {
    int result = mlockall(MCL_CURRENT | MCL_FUTURE);
    printf("%s\n", result ? strerror(errno) : "locked");
    char *block = malloc(1 << 20);
    if (!block) return 1;
    memset(block, 1, 1 << 20);
    free(block);
    return result ? 2 : 28;
}
