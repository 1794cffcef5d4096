/* Large blocks, each written to in part: freed, resized, freed by another thread, freed with errno set, and kept. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

enum { MIB = 1 << 20 };

static void *free_there(void *block)
{
    free(block);
    return NULL;
}

static char *write_to(char *block, size_t bytes)
{
    if (block == NULL) {
        exit(1);
    }
    memset(block, 1, bytes);
    return block;
}

int main(void)
{
    /* A huge page is resident as a whole, where the system gives them to every process. */
    if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0) {
        return 1;
    }
    /* Nothing is mapped after the second of these when it is freed, and it does not end at a page boundary. */
    char *above = write_to(malloc(MIB), MIB);
    char *below = write_to(malloc(2 * MIB - 100), MIB);
    free(above);
    free(below);

    free(write_to(malloc(16 * MIB), MIB));
    free(write_to(calloc(1, 32 * MIB), 2 * MIB));
    free(malloc(24 * MIB));

    char *grown = write_to(malloc(33 * MIB), 3 * MIB);
    grown = realloc(grown, 64 * MIB);
    if (grown == NULL) {
        return 1;
    }
    memset(grown + 33 * MIB, 1, MIB);
    /* A realloc that fails says nothing about the block. */
    volatile size_t too_much = (size_t)1 << 60;
    if (realloc(grown, too_much) != NULL) {
        return 1;
    }
    free(grown);

    pthread_t thread;
    if (pthread_create(&thread, NULL, free_there, write_to(malloc(40 * MIB), 5 * MIB)) != 0) {
        return 1;
    }
    pthread_join(thread, NULL);

    char *block = write_to(malloc(48 * MIB), MIB);
    errno = 77;
    free(block);
    printf("errno %d\n", errno);

    /* After a large block ends, its address may become a small block's. */
    for (int round = 0; round < 1000; round++) {
        free(write_to(malloc(100 + 130 * 1024 * (size_t)(round % 2)), 100));
    }
    return write_to(malloc(56 * MIB), MIB)[0] - 1;
}
