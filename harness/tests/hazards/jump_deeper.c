/* A call of the allocator that never returns, and then calls from deeper on the stack. With "hidden", nothing of the
   stack that the first call used has been written to since. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sigjmp_buf place;

static void handle(int signal) {
    (void)signal;
    siglongjmp(place, 1);
}

static void fail(void) {
    static char memory[256];
    char room[512];
    __asm__ volatile("" : : "r"(room) : "memory");
    free((void *)((uintptr_t)memory | 8)); /* not a block from malloc */
}

static void work(int fills) {
    char room[4096];
    if (fills) memset(room, 1, sizeof room);
    __asm__ volatile("" : : "r"(room) : "memory");
    for (int i = 0; i < 10000; i++) free(malloc(500));
}

int main(int count, char **arguments) {
    if (count < 2) return 1;
    int fills = strcmp(arguments[1], "near") == 0;
    signal(SIGABRT, handle);
    if (sigsetjmp(place, 1) == 0) fail();
    work(fills);
    return write(1, "jumped\n", 7) == 7 ? 17 : 1;
}
