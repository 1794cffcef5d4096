/* A library whose constructor allocates, before that of any other has run. */
#include <stdlib.h>

static char *kept;

__attribute__((constructor)) static void begin(void) {
    kept = malloc(100);
    kept[0] = 1;
}

int early_kept(void) { return kept[0]; }
