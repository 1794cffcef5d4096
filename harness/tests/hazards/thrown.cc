// Operators that throw. The exceptions are kept, so that nothing is freed where they are caught; then calls from deeper
// on the stack.
#include <cstdlib>
#include <exception>
#include <new>
#include <unistd.h>

static std::exception_ptr kept[2];

static void work() {
    char room[4096];
    __asm__ volatile("" : : "r"(room) : "memory");
    for (int i = 0; i < 10000; i++) std::free(std::malloc(500));
}

int main() {
    volatile std::size_t huge = ~std::size_t{0} / 4;
    try {
        ::operator delete(::operator new(huge));
        return 1;
    } catch (...) {
        kept[0] = std::current_exception();
    }
    try {
        ::operator delete(::operator new(huge, std::align_val_t{64}), std::align_val_t{64});
        return 1;
    } catch (...) {
        kept[1] = std::current_exception();
    }
    work();
    return write(1, "thrown\n", 7) == 7 ? 23 : 1;
}
