// The malloc family as in the C library's manual, and what a process may do with it: forks beside busy
// threads, thread ends, blocks freed by other threads, a library loaded later. Prints a line for each fault,
// and exits with 1 if there was one. An alarm ends a hanging process.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int faults;
#define EXPECT(what) ((what) ? (void)0 : (faults++, (void)printf("%s\n", #what)))
// The compiler must know neither what the functions do nor how large the sizes are.
static volatile size_t largest = SIZE_MAX;
static void *(*volatile allocate)(size_t) = malloc;
static void *(*volatile zeroed)(size_t, size_t) = calloc;
static void *(*volatile resize)(void *, size_t) = realloc;
static void *(*volatile resize_array)(void *, size_t, size_t) = reallocarray;

static int is_filled(const unsigned char *block, int value, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (block[i] != value) return 0;
    }
    return 1;
}

static void sizes(void) {
    for (size_t size = 0; size < 3 << 20; size = size * 5 / 4 + 1) {
        unsigned char *block = allocate(size);
        EXPECT(block != NULL || size == 0);
        EXPECT((uintptr_t)block % (size >= 16 ? 16 : 8) == 0);
        size_t usable = malloc_usable_size(block);
        EXPECT(usable >= size);
        memset(block, 0xaa, size);
        block = resize(block, size * 2 + 1);
        EXPECT(is_filled(block, 0xaa, size));
        block = resize(block, size / 2 + 1);
        EXPECT(is_filled(block, 0xaa, size / 2));
        free(block);
        block = zeroed(size, 1);
        EXPECT(is_filled(block, 0, size));
        free(block);
    }
    free(NULL);
    EXPECT(malloc_usable_size(NULL) == 0);
    void *fresh = resize(NULL, 100);
    EXPECT(fresh != NULL);
    free(fresh);
}

static void too_large(void) {
    char *kept = allocate(100);
    memset(kept, 7, 100);
    EXPECT(allocate(largest) == NULL);
    EXPECT(allocate(largest - 100) == NULL);
    EXPECT(allocate(largest / 2 + 2) == NULL);
    EXPECT(zeroed(largest, 2) == NULL);
    EXPECT(zeroed(largest / 2 + 2, 2) == NULL);
    EXPECT(resize(kept, largest) == NULL);
    EXPECT(resize(kept, largest - 100) == NULL);
    EXPECT(resize_array(kept, largest / 2 + 2, 2) == NULL);
    EXPECT(memalign(64, largest - 10) == NULL);
    EXPECT(pvalloc(largest - 10) == NULL);
    void *place = NULL;
    EXPECT(posix_memalign(&place, 64, largest - 10) == ENOMEM);
    EXPECT(is_filled((unsigned char *)kept, 7, 100));
    free(kept);
}

static void alignments(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t alignment = sizeof(void *); alignment <= 32 << 10; alignment *= 2) {
        for (size_t size = 1; size < 200 << 10; size *= 7) {
            void *place = NULL;
            EXPECT(posix_memalign(&place, alignment, size) == 0);
            EXPECT((uintptr_t)place % alignment == 0);
            memset(place, 1, size);
            EXPECT(malloc_usable_size(place) >= size);
            place = resize(place, size + 1000);
            EXPECT(is_filled(place, 1, size));
            free(place);
            char *other = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
            EXPECT(other != NULL && (uintptr_t)other % alignment == 0);
            free(other);
            other = memalign(alignment, size);
            EXPECT(other != NULL && (uintptr_t)other % alignment == 0);
            free(other);
        }
    }
    void *place = NULL;
    EXPECT(posix_memalign(&place, 3, 100) == EINVAL);
    EXPECT(posix_memalign(&place, 0, 100) == EINVAL);
    char *whole = valloc(100);
    EXPECT(whole != NULL && (uintptr_t)whole % page == 0);
    free(whole);
    whole = pvalloc(page + 1);
    EXPECT(whole != NULL && (uintptr_t)whole % page == 0 && malloc_usable_size(whole) >= 2 * page);
    memset(whole, 1, 2 * page);
    free(whole);
}

static volatile int stop;

// Keeps the allocator's locks busy.
static void *churn(void *unused) {
    (void)unused;
    void *held[64] = {0};
    unsigned state = 1;
    while (!stop) {
        for (int i = 0; i < 64; i++) {
            state = state * 1664525u + 1013904223u;
            free(held[i]);
            held[i] = malloc(state % 20000);
        }
    }
    for (int i = 0; i < 64; i++) free(held[i]);
    return NULL;
}

static void forks(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, churn, NULL);
    char *parents = allocate(5000);
    memset(parents, 3, 5000);
    for (int round = 0; round < 30; round++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            free(parents);
            for (int i = 0; i < 1000; i++) {
                char *block = malloc(1 + i * 17 % 30000);
                block[0] = 1;
                free(block);
            }
            _exit(0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        if (status != 0) {
            faults++;
            printf("a forked child ended with status %d\n", status);
            break;
        }
    }
    stop = 1;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    EXPECT(is_filled((unsigned char *)parents, 3, 5000));
    free(parents);
}

static void *fill(void *argument) {
    char **blocks = argument;
    for (int i = 0; i < 100; i++) {
        blocks[i] = malloc(300);
        memset(blocks[i], 9, 300);
    }
    return NULL;
}

static void thread_ends(void) {
    for (int round = 0; round < 300; round++) {
        char *blocks[100];
        pthread_t thread;
        EXPECT(pthread_create(&thread, NULL, fill, blocks) == 0);
        pthread_join(thread, NULL);
        for (int i = 0; i < 100; i++) {
            if (!is_filled((unsigned char *)blocks[i], 9, 300)) {
                faults++;
                printf("a block did not survive the thread that made it\n");
                return;
            }
            free(blocks[i]);
        }
    }
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    alarm(60);
    sizes();
    too_large();
    alignments();
    thread_ends();
    forks();
    void *library = dlopen("libm.so.6", RTLD_NOW);
    EXPECT(library != NULL);
    dlclose(library);
    return faults != 0;
}
