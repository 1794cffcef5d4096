/* An exported trace, replayed in real time: the reference that heaplab's drained, settled and purged memory is
 * compared with. It shares no code with heaplab: it reads `heaplab trace export --to csv`, makes the same calls in
 * the same total order on as many threads, sleeps until each call is due, frees what is left, and makes the same
 * nudge with real sleeps. Prints RssAnon in bytes at the end, drained, settled and purged.
 *
 *     settled-truth TRACE.csv
 *
 * Whatever it needs is on shared mappings, which RssAnon does not count.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum kind { MALLOC, CALLOC, ALIGNED, REALLOC_NULL, REALLOC, FREE, FREE_NULL, END_THREAD, PURGE };

struct call {
    uint64_t time_ns, size, alignment, touch;
    uint32_t object, thread;
    uint32_t kind;
    /* for a realloc: how much the object had before */
    uint64_t before;
};

struct object {
    void *block;
    /* the call that gave it its block */
    struct call *allocating;
    uint64_t size;
    /* bytes that the trace says were written; of the part that a realloc kept, those that were not */
    uint64_t touched, untouched_before;
    uint32_t thread;
    int is_touched, is_known, is_live;
};

static struct call *calls;
static uint64_t count;
static struct object *objects;
static uint64_t object_count;
static uint32_t thread_count;
static uint64_t start_ns;
/* the call whose turn it is */
static atomic_uint *turn;
/* one word per thread, incremented when it is its turn */
static atomic_uint *wake;
static pthread_t *handles;
static char *started, *ended;

static void die(const char *what) {
    dprintf(2, "settled-truth: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void *shared(size_t bytes) {
    void *place = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) die("mmap");
    return place;
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void sleep_until(uint64_t due) {
    struct timespec time = { .tv_sec = due / 1000000000u, .tv_nsec = due % 1000000000u };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {
    }
}

static uint64_t anonymous_bytes(void) {
    char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (length <= 0) die("/proc/self/smaps_rollup");
    close(file);
    text[length] = 0;
    const char *line = strstr(text, "\nAnonymous:");
    if (!line) die("smaps_rollup has no Anonymous");
    uint64_t kib = 0;
    for (const char *digit = line + 11; *digit != '\n'; digit++)
        if (*digit >= '0' && *digit <= '9') kib = kib * 10 + (uint64_t)(*digit - '0');
    return kib << 10;
}

/* ---- reading ---- */

static uint64_t reach(const struct object *object) {
    if (!object->is_touched) return object->size;
    uint64_t bytes = object->touched + object->untouched_before;
    return bytes < object->size ? bytes : object->size;
}

static struct call *add(enum kind kind, uint64_t time_ns, uint32_t thread) {
    struct call *call = &calls[count++];
    call->kind = kind;
    call->time_ns = time_ns;
    call->thread = thread;
    if (thread >= thread_count) thread_count = thread + 1;
    return call;
}

static void allocate(enum kind kind, uint64_t time_ns, uint32_t thread, uint64_t id, uint64_t size, uint64_t alignment) {
    struct call *call = add(kind, time_ns, thread);
    struct object *object = &objects[id];
    if (id >= object_count) object_count = id + 1;
    *object = (struct object){ .allocating = call, .size = size, .thread = thread, .is_live = 1 };
    call->object = (uint32_t)id;
    call->size = size;
    call->alignment = alignment;
    call->touch = size;
    if (kind == CALLOC && size >= 128 << 10) {
        call->touch = 4096;
        object->touched = 4096;
        object->is_touched = object->is_known = 1;
    }
}

static void resize(uint64_t time_ns, uint32_t thread, uint64_t id, uint64_t size) {
    struct object *object = &objects[id];
    if (size < object->size && size < reach(object)) object->allocating->touch = size;
    if (object->is_known) {
        uint64_t kept = size < object->size ? size : object->size;
        object->untouched_before = object->is_touched && kept > object->touched ? kept - object->touched : 0;
        object->is_touched = 0;
    }
    struct call *call = add(REALLOC, time_ns, thread);
    call->object = (uint32_t)id;
    call->before = object->size;
    call->size = call->touch = size;
    object->allocating = call;
    object->size = size;
    object->thread = thread;
}

static void release(uint64_t time_ns, uint32_t thread, uint64_t id) {
    add(FREE, time_ns, thread)->object = (uint32_t)id;
    objects[id].is_live = 0;
}

/* One line: record,time_ns,thread,object,bytes,alignment,... */
static void take_line(const char *line) {
    uint64_t field[5] = { 0 };
    const char *at = strchr(line, ',');
    size_t length = (size_t)(at - line);
    for (int i = 0; i < 5; i++) {
        at++;
        while (*at >= '0' && *at <= '9') field[i] = field[i] * 10 + (uint64_t)(*at++ - '0');
    }
    uint64_t time_ns = field[0], id = field[2], bytes = field[3];
    uint32_t thread = (uint32_t)field[1];
#define IS(name) (length == sizeof name - 1 && !memcmp(line, name, length))
    if (IS("malloc")) allocate(MALLOC, time_ns, thread, id, bytes, 0);
    else if (IS("calloc")) allocate(CALLOC, time_ns, thread, id, bytes, 0);
    else if (IS("aligned_alloc")) allocate(ALIGNED, time_ns, thread, id, bytes, field[4]);
    else if (IS("realloc_null")) allocate(REALLOC_NULL, time_ns, thread, id, bytes, 0);
    else if (IS("realloc")) resize(time_ns, thread, id, bytes);
    else if (IS("free") || IS("realloc_free") || IS("free_missed")) release(time_ns, thread, id);
    else if (IS("free_null")) add(FREE_NULL, time_ns, thread);
    else if (IS("thread_end")) add(END_THREAD, time_ns, thread);
    else if (IS("touched")) {
        struct object *object = &objects[id];
        object->touched = bytes;
        object->is_touched = object->is_known = 1;
        object->allocating->touch = reach(object);
    } else if (IS("work")) { /* memory is the same without it */
    } else if (IS("thread_start") || IS("thread_name") || IS("resident") || IS("mark") || IS("failed") || IS("unseen")) {
    } else { errno = EINVAL; die("a record that is not known"); }
#undef IS
}

static int by_owner(const void *a, const void *b) {
    const struct call *x = a, *y = b;
    if (x->thread != y->thread) return x->thread < y->thread ? -1 : 1;
    return x->object < y->object ? -1 : x->object > y->object;
}

/* Where the trace's own calls end and the drain's begin. */
static uint64_t trace_calls, last_time_ns;

static void read_trace(const char *path) {
    int file = open(path, O_RDONLY);
    struct stat stat;
    if (file < 0 || fstat(file, &stat)) die(path);
    const char *text = mmap(NULL, (size_t)stat.st_size + 1, PROT_READ, MAP_SHARED, file, 0);
    if (text == MAP_FAILED) die(path);
    const char *end = text + stat.st_size;
    uint64_t lines = 0;
    for (const char *at = text; (at = memchr(at, '\n', (size_t)(end - at))); at++) lines++;
    /* One free per remaining object, and one purge per thread. */
    calls = shared((3 * lines + 1) * sizeof *calls);
    objects = shared((lines + 1) * sizeof *objects);
    const char *at = memchr(text, '\n', (size_t)(end - text)) + 1;
    while (at < end) {
        take_line(at);
        at = memchr(at, '\n', (size_t)(end - at)) + 1;
    }
    munmap((void *)text, (size_t)stat.st_size + 1);
    close(file);
    trace_calls = count;
    last_time_ns = count ? calls[count - 1].time_ns : 0;
    if (!thread_count) thread_count = 1;
    started = shared(thread_count);
    ended = shared(thread_count);
    for (uint64_t i = 0; i < count; i++)
        if (calls[i].kind == END_THREAD) ended[calls[i].thread] = 1;
    for (uint64_t id = 0; id < object_count; id++)
        if (objects[id].is_live) {
            uint32_t owner = objects[id].thread;
            add(FREE, last_time_ns, ended[owner] ? 0 : owner)->object = (uint32_t)id;
        }
    /* Heap sort, because qsort may call malloc. */
    struct call *base = calls + trace_calls;
    uint64_t n = count - trace_calls;
    for (uint64_t from = n / 2, length = n; length > 1;) {
        if (from > 0) from--;
        else { length--; struct call swap = base[0]; base[0] = base[length]; base[length] = swap; }
        for (uint64_t parent = from, child; (child = 2 * parent + 1) < length; parent = child) {
            if (child + 1 < length && by_owner(&base[child + 1], &base[child]) > 0) child++;
            if (by_owner(&base[parent], &base[child]) >= 0) break;
            struct call swap = base[parent]; base[parent] = base[child]; base[child] = swap;
        }
    }
}

/* ---- replaying ---- */

static void touch(char *block, uint64_t from, uint64_t to) {
    if (from >= to) return;
    ((volatile char *)block)[from] = 1;
    uintptr_t begin = (uintptr_t)block;
    for (uintptr_t next = ((begin + from) & ~(uintptr_t)4095) + 4096; next < begin + to; next += 4096)
        *(volatile char *)next = 1;
    ((volatile char *)block)[to - 1] = 1;
}

static void purge_thread(void);

static void make(struct call *call) {
    struct object *object = &objects[call->object];
    void *block = NULL;
    switch (call->kind) {
    case MALLOC: block = malloc(call->size); break;
    case CALLOC: block = calloc(1, call->size); break;
    case REALLOC_NULL: block = realloc(NULL, call->size); break;
    case ALIGNED:
        if (posix_memalign(&block, call->alignment < sizeof(void *) ? sizeof(void *) : call->alignment, call->size)) block = NULL;
        break;
    case REALLOC: block = realloc(object->block, call->size ? call->size : 1); break;
    case FREE: free(object->block); return;
    case FREE_NULL: free(NULL); return;
    case PURGE: purge_thread(); return;
    default: return;
    }
    if (!block && call->size) { errno = ENOMEM; die("the allocator returned NULL"); }
    /* As in heaplab: in lines of 64 bytes, never beyond the block. */
    uint64_t to = (call->touch + 63) / 64 * 64;
    touch(block, call->kind == REALLOC ? call->before : 0, to < call->size ? to : call->size);
    object->block = block;
}

static void futex_wait(atomic_uint *word, unsigned value) { syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0); }
static void futex_wake(atomic_uint *word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0); }

static void *run_thread(void *argument);

static void *stacks;
#define STACK ((size_t)256 << 10)
static uint64_t limit;

/* Gives the turn to the thread of the next call; to the initial thread at the end of a phase. */
static void pass_on(uint64_t next) {
    uint32_t thread = next < limit ? calls[next].thread : 0;
    atomic_store(turn, (unsigned)next);
    if (thread != 0 && !started[thread]) {
        started[thread] = 1;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, (char *)stacks + STACK * thread, STACK);
        if (pthread_create(&handles[thread], &attributes, run_thread, (void *)(uintptr_t)thread)) die("pthread_create");
        pthread_attr_destroy(&attributes);
    }
    atomic_fetch_add(&wake[thread], 1);
    futex_wake(&wake[thread]);
}

static uint32_t gone;
static int has_gone;

/* Makes calls while they are the thread's own. Returns when the thread ends, or, for the initial thread, the phase. */
static void take_turns(uint32_t thread, unsigned *seen) {
    for (;;) {
        while (atomic_load(&wake[thread]) == *seen) futex_wait(&wake[thread], *seen);
        (*seen)++;
        if (has_gone) { has_gone = 0; pthread_join(handles[gone], NULL); }
        uint64_t at = atomic_load(turn);
        if (at >= limit) return;
        for (; at < limit && calls[at].thread == thread; at++) {
            uint64_t due = start_ns + calls[at].time_ns;
            if (calls[at].time_ns && at < trace_calls && now_ns() + 50000 < due) sleep_until(due);
            if (calls[at].kind == END_THREAD && thread != 0) {
                gone = thread;
                has_gone = 1;
                pass_on(at + 1);
                return;
            }
            make(&calls[at]);
        }
        if (thread == 0 && at >= limit) return;
        pass_on(at);
    }
}

static unsigned initial_seen;

static void *run_thread(void *argument) {
    unsigned seen = 0;
    take_turns((uint32_t)(uintptr_t)argument, &seen);
    return NULL;
}

static void run_phase(uint64_t from, uint64_t to) {
    if (from >= to) return;
    limit = to;
    pass_on(from);
    take_turns(0, &initial_seen);
    if (has_gone) { has_gone = 0; pthread_join(handles[gone], NULL); }
}

/* 600 rounds, 100 ms apart: 100 blocks of ten sizes and 150 of one, and their frees, by the initial thread. */
static void nudge(void) {
    static const size_t sizes[] = { 64, 100, 200, 400, 800, 1500, 3000, 6000, 10000, 16000 };
    void *blocks[250];
    uint64_t begin = now_ns();
    for (unsigned round = 1; round <= 600; round++) {
        sleep_until(begin + round * 100000000ull);
        for (int i = 0; i < 250; i++) {
            size_t size = i < 100 ? sizes[i % 10] : 600;
            blocks[i] = malloc(size);
            if (!blocks[i]) die("malloc");
            touch(blocks[i], 0, size);
        }
        for (int i = 0; i < 250; i++) free(blocks[i]);
    }
}

typedef int mallctl_function(const char *, void *, size_t *, void *, size_t);

static void *find(const char *name, const char *other) {
    void *function = dlsym(RTLD_DEFAULT, name);
    return function ? function : dlsym(RTLD_DEFAULT, other);
}

/* What only the calling thread can give back. */
static void purge_thread(void) {
    mallctl_function *mallctl = (mallctl_function *)find("mallctl", "_rjem_mallctl");
    void (*collect)(_Bool) = (void (*)(_Bool))find("mi_collect", "heaplab_mi_collect");
    if (mallctl) mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    else if (collect) collect(1);
}

static void purge_all(void) {
    mallctl_function *mallctl = (mallctl_function *)find("mallctl", "_rjem_mallctl");
    void (*release_all)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "MallocExtension_ReleaseFreeMemory");
    purge_thread();
    if (mallctl) mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
    else if (release_all) release_all();
    else if (!find("mi_collect", "heaplab_mi_collect")) malloc_trim(0);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        dprintf(2, "usage: settled-truth TRACE.csv\n");
        return 2;
    }
    read_trace(argv[1]);
    turn = shared(sizeof *turn);
    wake = shared(thread_count * sizeof *wake);
    handles = shared(thread_count * sizeof *handles);
    stacks = shared((size_t)thread_count * STACK);
    start_ns = now_ns();
    run_phase(0, trace_calls);
    uint64_t end = anonymous_bytes();
    run_phase(trace_calls, count);
    uint64_t drained = anonymous_bytes();
    nudge();
    uint64_t settled = anonymous_bytes();
    uint64_t purges = count;
    for (uint32_t thread = 1; thread < thread_count; thread++)
        if (started[thread] && !ended[thread]) add(PURGE, last_time_ns, thread);
    add(PURGE, last_time_ns, 0);
    run_phase(purges, count);
    purge_all();
    uint64_t purged = anonymous_bytes();
    printf("%llu %llu %llu %llu\n", (unsigned long long)end, (unsigned long long)drained,
           (unsigned long long)settled, (unsigned long long)purged);
    return 0;
}
