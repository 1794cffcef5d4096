/* Large blocks that are live when the process ends, one of them larger than an entry can state in KiB. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static char *kept[2];

int main(void)
{
    /* A huge page is resident as a whole, where the system gives them to every process. */
    if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0) {
        return 1;
    }
    kept[0] = malloc((size_t)3 << 30);
    kept[1] = malloc(16 << 20);
    char *freed = malloc((size_t)2 << 30);
    if (kept[0] == NULL || kept[1] == NULL || freed == NULL) {
        return 1;
    }
    memset(kept[0], 1, 5 << 20);
    memset(kept[1], 1, 1 << 20);
    memset(freed, 1, 3 << 20);
    free(freed);
    return 0;
}
