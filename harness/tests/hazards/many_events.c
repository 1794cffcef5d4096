/* A million events, and a word at the end. */
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    for (int i = 0; i < 500000; i++) free(malloc(16 + i % 1000));
    return write(1, "many\n", 5) == 5 ? 14 : 1;
}
