/* The C library's malloc in a library of its own: unchanged, with -DWASTE so that blocks of 1,001 to 1,024 bytes get 5 %
 * more than they ask for, with -DBLIND without malloc_usable_size. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static size_t wasted(size_t size) {
#ifdef WASTE
    if (size > 1000 && size <= 1024) return size + size / 20;
#endif
    return size;
}

void *malloc(size_t size) { return __libc_malloc(wasted(size)); }
void *calloc(size_t count, size_t size) { return __libc_calloc(count, count == 1 ? wasted(size) : size); }
void *realloc(void *block, size_t size) { return __libc_realloc(block, wasted(size)); }
void free(void *block) { __libc_free(block); }
void *memalign(size_t alignment, size_t size) { return __libc_memalign(alignment, wasted(size)); }
void *aligned_alloc(size_t alignment, size_t size) { return __libc_memalign(alignment, wasted(size)); }

int posix_memalign(void **block, size_t alignment, size_t size) {
    void *found = __libc_memalign(alignment, wasted(size));
    if (!found) return ENOMEM;
    *block = found;
    return 0;
}

#ifndef BLIND
/* The size is stored before the block; its second lowest bit says that the block has its own mapping. */
size_t malloc_usable_size(void *block) {
    if (!block) return 0;
    size_t size = ((size_t *)block)[-1];
    return (size & ~(size_t)7) - (size & 2 ? 16 : 8);
}
#endif
