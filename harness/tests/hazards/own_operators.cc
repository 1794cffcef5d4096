// What dlopen.c loads: a library with operators of its own, which put a head before each block. The C++ library's
// strings, which are loaded with it, use them too.
#include <cstdlib>
#include <new>
#include <string>

static const unsigned long mark = 0x6865616470726f6f;
static long live;

void *operator new(std::size_t size) {
    unsigned long *block = static_cast<unsigned long *>(std::malloc(size + 16));
    if (!block) std::abort();
    block[0] = mark;
    live++;
    return block + 2;
}

void operator delete(void *block) noexcept {
    if (!block) return;
    unsigned long *head = static_cast<unsigned long *>(block) - 2;
    if (head[0] != mark) std::abort();
    head[0] = 0;
    live--;
    std::free(head);
}

void operator delete(void *block, std::size_t) noexcept { operator delete(block); }

extern "C" int work(int count) {
    if (live != 0) return -1;
    for (int i = 0; i < count; i++) {
        long before = live;
        char *volatile block = new char[77761];
        std::string text(block, 0);
        text.reserve(77761);
        text.append(200000, 'x');
        if (live != before + 2) return -2;
        delete[] block;
    }
    return live == 0 ? count : -3;
}
