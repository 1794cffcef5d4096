/* A counting interposer: the largest sum of requested bytes that were live at once, known by a table of sizes.
 * Nothing is added to a block. Listed after the recorder in LD_PRELOAD, it counts the calls that were recorded.
 * At its end the process writes the figure, and how many calls it counted, to the file COUNT_FILE.PID. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SHARDS = 256, PLACES = 1 << 15 };

struct entry {
    void *block;
    size_t size;
};

static struct shard {
    atomic_flag lock;
    struct entry *entries;
} shards[SHARDS];

static atomic_llong live_bytes, peak_bytes, calls;

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);
static void *(*next_memalign)(size_t, size_t);

/* dlsym may ask for memory before there is an allocator to forward to. */
static char early[8192];
static size_t early_used;

static void resolve(void)
{
    if (next_malloc)
        return;
    next_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    next_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    next_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    next_posix_memalign = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
    next_aligned_alloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
    next_memalign = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "memalign");
    next_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
}

static void *take_early(size_t size)
{
    size_t at = (early_used + 15) & ~(size_t)15;
    if (at + size > sizeof early)
        abort();
    early_used = at + size;
    return early + at;
}

static int is_early(const void *block)
{
    return (const char *)block >= early && (const char *)block < early + sizeof early;
}

static struct shard *lock_of(const void *block)
{
    struct shard *shard = &shards[((uintptr_t)block >> 4) * 0x9e3779b97f4a7c15u >> 56];
    while (atomic_flag_test_and_set_explicit(&shard->lock, memory_order_acquire))
        ;
    if (!shard->entries) {
        shard->entries = mmap(NULL, PLACES * sizeof *shard->entries, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (shard->entries == MAP_FAILED)
            abort();
    }
    return shard;
}

static void unlock(struct shard *shard)
{
    atomic_flag_clear_explicit(&shard->lock, memory_order_release);
}

static unsigned home_of(const void *block)
{
    return (unsigned)(((uintptr_t)block >> 4) * 0x9e3779b97f4a7c15u >> 32) % PLACES;
}

static void count(long long difference)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    long long now = atomic_fetch_add(&live_bytes, difference) + difference;
    long long peak = atomic_load(&peak_bytes);
    while (now > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, now))
        ;
}

static void put(void *block, size_t size)
{
    struct shard *shard = lock_of(block);
    unsigned place = home_of(block), looked = 0;
    while (shard->entries[place].block) {
        place = (place + 1) % PLACES;
        if (++looked == PLACES)
            abort();
    }
    shard->entries[place] = (struct entry){ block, size };
    unlock(shard);
}

/* Removes a block from the table and returns its size. Entries after it move up, so that none is lost. */
static size_t take(void *block)
{
    struct shard *shard = lock_of(block);
    unsigned place = home_of(block);
    while (shard->entries[place].block && shard->entries[place].block != block)
        place = (place + 1) % PLACES;
    size_t size = shard->entries[place].size;
    if (shard->entries[place].block) {
        unsigned hole = place, next = (place + 1) % PLACES;
        for (; shard->entries[next].block; next = (next + 1) % PLACES) {
            unsigned home = home_of(shard->entries[next].block);
            if ((next - home + PLACES) % PLACES >= (next - hole + PLACES) % PLACES) {
                shard->entries[hole] = shard->entries[next];
                hole = next;
            }
        }
        shard->entries[hole] = (struct entry){ NULL, 0 };
    } else {
        size = 0;
    }
    unlock(shard);
    return size;
}

static void *counted(void *block, size_t size)
{
    if (block) {
        put(block, size);
        count((long long)size);
    }
    return block;
}

void *malloc(size_t size)
{
    resolve();
    return next_malloc ? counted(next_malloc(size), size) : take_early(size);
}

void *calloc(size_t number, size_t size)
{
    if (!next_malloc && early_used)
        return take_early(number * size);
    resolve();
    return next_calloc ? counted(next_calloc(number, size), number * size) : take_early(number * size);
}

void free(void *block)
{
    if (!block || is_early(block))
        return;
    resolve();
    count(-(long long)take(block));
    next_free(block);
}

void *realloc(void *block, size_t size)
{
    resolve();
    if (!block)
        return counted(next_realloc(NULL, size), size);
    /* Out of the table before the call: another thread may have the address before this one is back. */
    size_t old = take(block);
    void *moved = next_realloc(block, size);
    if (moved) {
        put(moved, size);
        count((long long)size - (long long)old);
    } else if (size) {
        put(block, old);
    } else {
        count(-(long long)old);
    }
    return moved;
}

void *reallocarray(void *block, size_t number, size_t size)
{
    if (size && number > SIZE_MAX / size) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(block, number * size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    resolve();
    int status = next_posix_memalign(result, alignment, size);
    if (!status)
        counted(*result, size);
    return status;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    resolve();
    return counted(next_aligned_alloc(alignment, size), size);
}

void *memalign(size_t alignment, size_t size)
{
    resolve();
    return counted(next_memalign(alignment, size), size);
}

__attribute__((destructor)) static void tell(void)
{
    const char *name = getenv("COUNT_FILE");
    char path[4096];
    if (!name || snprintf(path, sizeof path, "%s.%d", name, (int)getpid()) >= (int)sizeof path)
        return;
    long long peak = atomic_load(&peak_bytes), counted_calls = atomic_load(&calls);
    FILE *file = fopen(path, "w");
    if (file) {
        fprintf(file, "%lld %lld\n", peak, counted_calls);
        fclose(file);
    }
}
