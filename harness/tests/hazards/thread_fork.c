/* A thread, not main, fills a heap and forks children, which allocate on. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHARED = 2000, OWN = 2000, CHILDREN = 3 };

/* In static memory, so that the compiler keeps the blocks. */
char *shared[SHARED], *own[OWN];

static void *serve(void *unused) {
    for (int at = 0; at < SHARED; at++) shared[at] = memset(malloc(4000), 1, 4000);
    for (int child = 0; child < CHILDREN; child++) {
        if (fork() == 0) {
            for (int at = 0; at < OWN; at++) own[at] = memset(malloc(1000), 3, 1000);
            for (int at = 0; at < OWN; at++) free(own[at]);
            _exit(0);
        }
        wait(NULL);
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, NULL)) return 1;
    pthread_join(thread, NULL);
    return 24;
}
