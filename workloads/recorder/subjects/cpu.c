/* At its end the process writes its own CPU time, in microseconds, and its name to the file CPU_FILE.PID. Preloaded
 * into a recorder's command, it tells what of a recording's CPU time is the command's and what the program's. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

__attribute__((destructor)) static void tell(void)
{
    const char *name = getenv("CPU_FILE");
    struct rusage used;
    char path[4096];
    if (!name || getrusage(RUSAGE_SELF, &used)
        || snprintf(path, sizeof path, "%s.%d", name, (int)getpid()) >= (int)sizeof path)
        return;
    FILE *file = fopen(path, "w");
    if (file) {
        long long seconds = used.ru_utime.tv_sec + used.ru_stime.tv_sec;
        long long microseconds = seconds * 1000000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
        fprintf(file, "%lld %s\n", microseconds, program_invocation_short_name);
        fclose(file);
    }
}
