/* A program that closes every descriptor that it does not know, as daemons do. */
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    for (int descriptor = 3; descriptor < 1024; descriptor++) close(descriptor);
    for (int i = 0; i < 100000; i++) free(malloc(100));
    return write(1, "closed\n", 7) == 7 ? 12 : 1;
}
