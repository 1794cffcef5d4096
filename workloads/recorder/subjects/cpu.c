/* At its end the process writes its own CPU time, in microseconds, to the file CPU_FILE.PID. Preloaded into
 * heaplab, it tells what of a recording's CPU time is the recorder's command and not the program. */
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
        fprintf(file, "%lld\n", seconds * 1000000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec);
        fclose(file);
    }
}
