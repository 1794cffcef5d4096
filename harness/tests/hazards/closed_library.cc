// What dlopen.c loads: a library with the C++ library linked into it, which uses an operator for the first time
// while the program has not yet read why something could not be loaded, and others when no file may be opened.
#include <cstddef>
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <new>
#include <sys/prctl.h>
#include <sys/syscall.h>

static int close_files() {
    sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog filter = {4, rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

extern "C" int work(int count) {
    if (dlopen("/no/such/library.so", RTLD_NOW)) return -1;
    delete[] new char[77777];
    if (!dlerror()) return -2;
    if (close_files()) return -3;
    for (int i = 1; i < count; i++) {
        char *volatile block = new (std::nothrow) char[77777];
        delete[] block;
    }
    return count;
}
