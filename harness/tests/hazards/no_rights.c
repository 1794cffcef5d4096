/* Gives something up that a recorder might need, as its argument says, and then allocates under load, in a thread that
 * it starts afterwards, and in a child that it forks. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <malloc.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 200000 };

static void fail(const char *what) {
    perror(what);
    exit(99);
}

static void limit(int resource, rlim_t most) {
    struct rlimit limit = {most, most};
    if (setrlimit(resource, &limit)) fail("setrlimit");
}

/* Only the calls that this program makes itself: any other kills it. */
static void filter(int by_syscall) {
    static const int allowed[] = {
        SYS_write,        SYS_exit,       SYS_exit_group, SYS_futex,  SYS_clone,   SYS_clone3,
        SYS_mmap,         SYS_munmap,     SYS_mprotect,   SYS_brk,    SYS_madvise, SYS_rt_sigprocmask,
        SYS_set_robust_list, SYS_rseq,    SYS_wait4,      SYS_newfstatat, SYS_mremap,
        SYS_rt_sigaction,
    };
    enum { COUNT = sizeof allowed / sizeof *allowed };
    struct sock_filter rules[COUNT + 3];
    rules[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int at = 0; at < COUNT; at++)
        rules[at + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[at], COUNT - at, 0);
    rules[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    rules[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {COUNT + 3, rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no new privileges");
    long status = by_syscall ? syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)
                             : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
    if (status) fail("seccomp");
}

static void give_up(const char *what) {
    if (!strcmp(what, "user")) {
        if (setgroups(0, 0) || setgid(65534) || setuid(65534)) fail("setuid");
    } else if (!strcmp(what, "root")) {
        if (chroot("/proc/self/fdinfo") || chdir("/")) fail("chroot");
    } else if (!strcmp(what, "descriptors")) {
        for (int descriptor = 3; descriptor < 1024; descriptor++) close(descriptor);
        limit(RLIMIT_NOFILE, 3);
    } else if (!strcmp(what, "files")) {
        limit(RLIMIT_FSIZE, 0);
    } else if (!strcmp(what, "filter")) {
        filter(0);
    } else if (!strcmp(what, "filter-by-syscall")) {
        filter(1);
    } else if (strcmp(what, "nothing")) {
        exit(98);
    }
}

static void *work(void *unused) {
    static __thread void *blocks[1000];
    for (int round = 0; round < BLOCKS; round++) {
        int at = round % 1000;
        free(blocks[at]);
        blocks[at] = malloc(16 + round % 777);
    }
    for (int at = 0; at < 1000; at++) {
        free(blocks[at]);
        blocks[at] = 0;
    }
    return unused;
}

int main(int count, char **arguments) {
    /* Otherwise the allocator reads system files: when a thread starts, and when it gives memory back. */
    mallopt(M_ARENA_MAX, 4);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    void *first = malloc(1000);
    give_up(count > 1 ? arguments[1] : "nothing");
    pthread_t thread;
    if (pthread_create(&thread, 0, work, 0)) return 97;
    work(0);
    pthread_join(thread, 0);
    pid_t child = fork();
    if (child == 0) {
        work(0);
        _exit(3);
    }
    int status;
    if (child < 0 || wait4(child, &status, 0, 0) != child || WEXITSTATUS(status) != 3) return 96;
    free(first);
    if (write(1, "done\n", 5) != 5) return 95;
    return 21;
}
