// What dlopen.c loads: a library that starts a thread while it is loaded, and waits for it. The thread uses operators
// that nobody has used before.
#include <new>
#include <pthread.h>

static void *start(void *) {
    for (int i = 0; i < 40; i++) {
        char *volatile block = new (std::nothrow) char[77777];
        delete[] block;
    }
    return nullptr;
}

static int wait() {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, start, nullptr)) return 1;
    return pthread_join(thread, nullptr);
}

static const int status = wait();

extern "C" int work(int count) { return status ? -1 : count; }
