/* So many events that turning them into a trace takes a while. */
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    for (int i = 0; i < 4000000; i++) free(malloc(16 + i % 1000));
    return 17;
}
