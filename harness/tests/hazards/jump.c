/* A call of the allocator that never returns: it aborts, and the signal's handler jumps out of it. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static sigjmp_buf place;

static void handle(int signal) {
    (void)signal;
    siglongjmp(place, 1);
}

int main(void) {
    static char memory[256];
    signal(SIGABRT, handle);
    for (volatile int i = 0; i < 10; i++) {
        free(malloc(500));
        if (sigsetjmp(place, 1) == 0) free((void *)((uintptr_t)memory | 8)); /* not a block from malloc */
    }
    for (int i = 0; i < 10; i++) free(malloc(500));
    return write(1, "jumped\n", 7) == 7 ? 17 : 1;
}
