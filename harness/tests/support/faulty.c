/* A malloc with a fault, chosen at compile time, that a harness must notice.
 *
 * Blocks are never reused; each is preceded by its size. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef FAULT_SHARED
#define SHARING MAP_SHARED
#else
#define SHARING MAP_PRIVATE
#endif

static char *next, *end;
static unsigned long calls;
static volatile int lock;

#if defined FAULT_DEEP || defined FAULT_ENDLESS
/* Without tail calls: each needs its own frame. */
static __attribute__((noinline)) int descend(int calls) {
    volatile char frame[16 << 10];
    frame[0] = (char)calls;
    return calls > 0 ? descend(calls - 1) + frame[0] : 0;
}
#endif
#ifdef FAULT_WIDE
/* Touches only the far end of its frame, like a function with a large buffer. */
static __attribute__((noinline)) int widen(void) {
    volatile char frame[400 << 10];
    frame[0] = 1;
    return frame[0];
}
#endif

static void *take(size_t size, size_t alignment) {
    while (__sync_lock_test_and_set(&lock, 1)) {
    }
    calls++;
#ifdef FAULT_CRASH
    if (calls > 2000) abort();
#endif
#ifdef FAULT_HANG
    if (calls > 2000) for (;;) pause();
#endif
#ifdef FAULT_DEEP
    if (calls > 2000 && gettid() != getpid()) calls += descend(20) & 1;
#endif
#ifdef FAULT_WIDE
    if (calls > 2000 && gettid() != getpid()) calls += widen() & 1;
#endif
#ifdef FAULT_ENDLESS
    if (calls > 2000 && gettid() == getpid()) calls += descend(1 << 20) & 1;
#endif
#ifdef FAULT_WILD
    if (calls > 2000) *(volatile char *)16 = 1;
#endif
#ifdef FAULT_GROWS
    /* Every replay but the first takes much more memory. */
    if (calls == 2000 && open("first-replay", O_WRONLY | O_CREAT | O_EXCL, 0600) < 0) {
        size_t more = 64 << 20;
        memset(mmap(NULL, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, more);
    }
#endif
#ifdef FAULT_CPUS
    if (sysconf(_SC_NPROCESSORS_ONLN) != 7) abort();
#endif
    uintptr_t block = ((uintptr_t)next + 16 + alignment - 1) & ~(uintptr_t)(alignment - 1);
    if (size > (size_t)1 << 40) {
        __sync_lock_release(&lock);
        errno = ENOMEM;
        return NULL;
    }
    if (!next || block + size > (uintptr_t)end) {
        size_t bytes = (size + alignment + (64 << 20)) & ~(size_t)4095;
        next = mmap(NULL, bytes, PROT_READ | PROT_WRITE, SHARING | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (next == MAP_FAILED) abort();
        end = next + bytes;
        block = ((uintptr_t)next + 16 + alignment - 1) & ~(uintptr_t)(alignment - 1);
    }
    ((size_t *)block)[-1] = size;
    next = (char *)block + size;
    __sync_lock_release(&lock);
    return (void *)block;
}

#ifdef FAULT_LOAD_PROBE
#define WAITS_IN "probe"
#elif defined FAULT_LOAD_WORKER
#define WAITS_IN "worker"
#endif
#ifdef WAITS_IN
/* Never finishes loading into a process of that command, and says which process waits. */
static __attribute__((constructor)) void wait_in_command(int count, char **words) {
    if (count < 2 || strcmp(words[1], WAITS_IN)) return;
    int file = open("waiting", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || dprintf(file, "%d\n", getpid()) < 0) abort();
    for (;;) pause();
}
#endif

void *malloc(size_t size) { return take(size, 16); }
void free(void *block) { (void)block; }
static size_t size_of(void *block) { return block ? ((size_t *)block)[-1] : 0; }
#ifndef FAULT_BLIND
size_t malloc_usable_size(void *block) { return size_of(block); }
#endif

void *calloc(size_t count, size_t size) {
    void *block = take(count * size, 16);
#ifdef FAULT_CALLOC
    if (block && calls > 2000 && count * size > 8) ((char *)block)[7] = 1;
#endif
    return block;
}

void *realloc(void *old, size_t size) {
    void *block = take(size, 16);
    size_t kept = size_of(old);
#ifdef FAULT_REALLOC
    if (calls > 2000) kept /= 2;
#endif
    if (old && block) memcpy(block, old, kept < size ? kept : size);
    return block;
}

int posix_memalign(void **result, size_t alignment, size_t size) {
    *result = take(size, alignment < 16 ? 16 : alignment);
    return *result ? 0 : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t size) { return take(size, alignment < 16 ? 16 : alignment); }
void *memalign(size_t alignment, size_t size) { return take(size, alignment < 16 ? 16 : alignment); }
void *valloc(size_t size) { return take(size, 4096); }
void *pvalloc(size_t size) { return take((size + 4095) & ~(size_t)4095, 4096); }
void *reallocarray(void *old, size_t count, size_t size) { return realloc(old, count * size); }
