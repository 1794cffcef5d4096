/* What dlopen.c loads: a library with functions of jemalloc's names. */
#include <stdlib.h>

void *mallocx(size_t size, int flags) { return flags ? 0 : malloc(size); }

void dallocx(void *block, int flags) {
    if (!flags) free(block);
}

int work(int count) {
    for (int i = 0; i < count; i++) {
        void *volatile block = mallocx(77777, 0);
        if (!block) return -1;
        dallocx(block, 0);
    }
    return count;
}
