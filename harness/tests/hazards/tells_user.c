/* A library that tells, in the file MARK, which users and group its process has, once it is loaded; and whether it finds
 * an open file or a variable of whoever has started it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void tell(void) {
    char line[256];
    int length = snprintf(line, sizeof line, "%d %d %d %d %d %s\n", getuid(), geteuid(), getgid(), getgroups(0, NULL),
                          fcntl(9, F_GETFD) >= 0, getenv("SECRET") ? "SECRET" : "-");
    int file = open(MARK, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (file < 0 || write(file, line, length) != length) return;
    close(file);
}
