/* Asks whether there are system call filters, lets a child of vfork filter itself, or installs a filter that allows
 * everything, as the first argument says; then frees 20 large blocks and starts 9,000 threads, one after another. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sock_filter rules[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
static struct sock_fprog filter = {1, rules};

static void *work(void *unused) {
    void *volatile block = malloc(1000);
    free(block);
    return unused;
}

static int use(const char *what) {
    if (!strcmp(what, "probe")) {
        unsigned action = SECCOMP_RET_KILL_PROCESS;
        return !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 0, 0, 0)
            || !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, 0)
            || !syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 0, 0, 0)
            || syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
    }
    if (!strcmp(what, "vfork")) {
        pid_t child = vfork();
        if (child == 0) {
            if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) _exit(1);
            if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0)) _exit(1);
            execl("/bin/true", "true", (char *)0);
            _exit(1);
        }
        int status;
        return child < 0 || waitpid(child, &status, 0) != child || status;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 1;
    return syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0;
}

int main(int count, char **arguments) {
    if (count < 2 || use(arguments[1])) return 99;
    for (int at = 0; at < 20; at++) {
        char *volatile block = malloc(16 << 20);
        block[0] = 1;
        free(block);
    }
    for (int at = 0; at < 9000; at++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, work, 0)) return 98;
        pthread_join(thread, 0);
    }
    return write(1, "done\n", 5) == 5 ? 18 : 1;
}
