/* An exec: the process becomes another program, here itself with an argument. */
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments) {
    if (count > 1) {
        for (int i = 0; i < 20; i++) free(malloc(100));
        return write(1, "second\n", 7) == 7 ? 5 : 1;
    }
    for (int i = 0; i < 10; i++) free(malloc(100));
    if (write(1, "first\n", 6) != 6) return 1;
    execl(arguments[0], arguments[0], "again", (char *)0);
    return 1;
}
