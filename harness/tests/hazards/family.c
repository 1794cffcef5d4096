/* Every function of the malloc family once, and what they refuse. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void) {
    void *volatile none = 0; /* that the compiler does not know to be NULL */
    void *block = 0;
    char *moved = realloc(none, 10);
    volatile size_t huge = SIZE_MAX / 2;
    for (int i = 0; i < 5; i++) moved = realloc(moved, 5000u << i);
    moved = reallocarray(moved, 10, 20);
    free(moved);
    free(none);
    free(calloc(3, 100));
    free(malloc(0));
    if (posix_memalign(&block, 64, 100)) return 1;
    free(block);
    if (posix_memalign(&block, 3, 100) != EINVAL) return 1;
    free(aligned_alloc(4096, 4096));
    free(memalign(128, 50));
    free(valloc(10));
    free(pvalloc(10));
    errno = 0;
    if (malloc(huge) || errno != ENOMEM) return 1;
    if (calloc(huge, 4) || errno != ENOMEM) return 1;
    block = malloc(200);
    if (realloc(block, huge)) return 1;
    if (reallocarray(block, huge, huge)) return 1;
    if (malloc_usable_size(block) < 200) return 1;
    errno = 77;
    free(realloc(block, 0));
    malloc_trim(0);
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    /* An emulator may not know this call. */
    if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) >= 0) {
        if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) || prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)) return 1;
        if (!prctl(PR_SET_THP_DISABLE, 1, 0, 0, 7) || errno != EINVAL) return 1;
    }
    errno = 77;
    free(malloc(300));
    if (errno != 77) return 1;
    return write(1, "family\n", 7) == 7 ? 18 : 1;
}
