/* A signal after each instruction. Its handler allocates ("allocate") or unwinds ("unwind") where the instruction is
   not one of the C library: within its malloc no handler may do that. */
#define _GNU_SOURCE
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static struct { uintptr_t begin, end; } own[2]; /* the program, and the recorder if there is one */
static int (*handle_here)(void);
static volatile int failures;
static void *kept[2];

static int find(struct dl_phdr_info *info, size_t size, void *count) {
    (void)size;
    int is_recorder = strstr(info->dlpi_name, "heaplab_recorder") != 0;
    if (!is_recorder && (*(int *)count)++ > 0) return 0; /* the program is the first */
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X)) continue;
        own[is_recorder].begin = info->dlpi_addr + segment->p_vaddr;
        own[is_recorder].end = own[is_recorder].begin + segment->p_memsz;
    }
    return 0;
}

/* Which of two distant blocks is the last that is freed varies without a pattern. */
static int allocate(void) {
    static uint32_t random = 1;
    random = random * 1664525 + 1013904223;
    void *volatile near = malloc(100), *volatile far = malloc(100000);
    int is_far = random >> 31;
    free(is_far ? near : far);
    free(is_far ? far : near);
    return 0;
}

static int work(void);

/* Whether the stack cannot be followed to `work`. */
static int unwind(void) {
    void *frames[64];
    int count = backtrace(frames, 64);
    for (int i = 0; i < count; i++)
        if ((uintptr_t)frames[i] - (uintptr_t)work < 4096) return 0;
    return 1;
}

static void handle(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    uintptr_t at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    int is_own = 0;
    for (int i = 0; i < 2; i++) is_own |= at >= own[i].begin && at < own[i].end;
    if (is_own && handle_here()) failures++;
}

static int work(void) {
    __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq" : : : "memory", "cc");
    for (int i = 0; i < 20; i++) {
        char *block = calloc(1, 100);
        free(malloc(200));
        free(realloc(block, 300));
        syscall(SYS_getppid);
    }
    __asm__ volatile("pushfq; andl $~0x100, (%%rsp); popfq" : : : "memory", "cc");
    return 0;
}

int main(int count, char **arguments) {
    if (count < 2) return 1;
    int listed = 0, unwinds = strcmp(arguments[1], "unwind") == 0;
    void *frames[4];
    backtrace(frames, 4); /* loads what it needs */
    dl_iterate_phdr(find, &listed);
    handle_here = unwinds ? unwind : allocate;
    for (int i = 0; i < 2; i++) kept[i] = malloc(70);
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, 0);
    work();
    if (failures) return write(1, "lost\n", 5) == 5 ? 2 : 1;
    return write(1, "unwound\n", 8) == 8 ? 0 : 1;
}
