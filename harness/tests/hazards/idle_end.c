/* Memory that does not change until the end, half a second later. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(void)
{
    char *block = malloc(8 << 20);
    if (block == NULL) {
        return 1;
    }
    memset(block, 1, 8 << 20);
    struct timespec half_a_second = {0, 500 * 1000 * 1000};
    return nanosleep(&half_a_second, NULL) == 0 ? block[0] - 1 : 1;
}
