/* A program with its own malloc, under malloc's own names, behind a lock that it holds while it calls mmap: whatever
 * intercepts mmap must neither allocate nor look a name up then. A library's constructor allocates first. */
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *next, *end;

static void *take(size_t size) {
    size = ((size + 15) & ~(size_t)15) + 16;
    pthread_mutex_lock(&lock);
    if (next + size > end) {
        size_t bytes = size > 4 << 20 ? size : 4 << 20;
        next = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        end = next + bytes;
    }
    size_t *block = (size_t *)next;
    next += size;
    block[0] = size - 16;
    pthread_mutex_unlock(&lock);
    return block + 2;
}

void *malloc(size_t size) { return take(size); }

void free(void *block) {
    pthread_mutex_lock(&lock);
    if (block) ((size_t *)block)[-1] = 1;
    pthread_mutex_unlock(&lock);
}

void *calloc(size_t count, size_t size) { return memset(take(count * size), 0, count * size); }

void *realloc(void *block, size_t size) {
    void *moved = take(size);
    if (block) {
        size_t old = ((size_t *)block)[-2];
        memcpy(moved, block, old < size ? old : size);
    }
    return moved;
}

int early_kept(void);

int main(void) {
    for (int round = 0; round < 20000; round++) memset(malloc(400), 1, 400);
    puts("done");
    return early_kept() == 1 ? 6 : 9;
}
