/* Ways to end abruptly: no destructor and no exit handler runs. The argument says which. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
    const char *way = count > 1 ? arguments[1] : "";
    for (int i = 0; i < 1000; i++) free(malloc(100));
    if (write(1, "ending\n", 7) != 7) return 1;
    if (!strcmp(way, "_exit")) _exit(7);
    if (!strcmp(way, "abort")) abort();
    if (!strcmp(way, "kill")) raise(SIGKILL);
    if (!strcmp(way, "term")) raise(SIGTERM);
    return 1;
}
