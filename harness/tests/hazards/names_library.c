/* Makes what an honest process would not in the recording's directory: without arguments a pipe with the name of an
 * image's file, with one the page of an image whose allocator is the library of that path. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **arguments) {
    char path[4096];
    snprintf(path, sizeof path, "%s/99999-77.raw", getenv("HEAPLAB_RECORD_DIR"));
    free(malloc(10));
    if (count == 1) return mkfifo(path, 0600) ? 2 : 26;
    static uint64_t page[512];
    memcpy(page, "HLRIMAG\n", 8);
    page[1] = 7;
    page[2] = 99999 | 77ull << 32;
    page[5] = 4096;
    page[9] = 1;
    page[40] = (uint64_t)strlen(arguments[1]) << 16;
    memcpy((char *)page + 1536, arguments[1], strlen(arguments[1]));
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (file < 0 || write(file, page, 4096) != 4096) return 3;
    close(file);
    return 26;
}
