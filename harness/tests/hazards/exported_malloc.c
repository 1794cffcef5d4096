/* A program with its own allocator under malloc's own names: a preloaded library is never asked. */
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *next, *end;

void *malloc(size_t size) {
    size = ((size + 15) & ~(size_t)15) + 16;
    if (next + size > end) {
        size_t bytes = size > 4 << 20 ? size : 4 << 20;
        next = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        end = next + bytes;
    }
    size_t *block = (size_t *)next;
    next += size;
    block[0] = size - 16;
    return block + 2;
}

void free(void *block) { (void)block; }

void *calloc(size_t count, size_t size) { return memset(malloc(count * size), 0, count * size); }

void *realloc(void *block, size_t size) {
    void *moved = malloc(size);
    if (block) {
        size_t old = ((size_t *)block)[-2];
        memcpy(moved, block, old < size ? old : size);
    }
    return moved;
}

int main(void) {
    for (int round = 0; round < 50000; round++) memset(malloc(800), 1, 800);
    usleep(300000);
    return 23;
}
