/* A large block, little of which is written to. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

int main(void)
{
    /* A huge page is resident as a whole, where the system gives them to every process. */
    char *block = malloc(16 << 20);
    if (block == NULL || prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0) {
        return 1;
    }
    memset(block, 1, 1 << 20);
    free(block);
    return 0;
}
