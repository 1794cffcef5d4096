/* A program in C that loads a library in C++, out of sight of the rest of the program, and unloads it. */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments) {
    if (count < 2) return 1;
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) return 1;
    int (*work)(int) = (int (*)(int))dlsym(library, "work");
    if (!work || work(40) != 40) return 1;
    if (dlclose(library) != 0) return 1;
    for (int i = 0; i < 10; i++) free(malloc(77777));
    return write(1, "loaded\n", 7) == 7 ? 8 : 1;
}
