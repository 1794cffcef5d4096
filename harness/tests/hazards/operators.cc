// Every form of C++'s operators new and delete, each pair once, and one that throws.
#include <new>
#include <unistd.h>

int main() {
    const std::align_val_t line{64};
    ::operator delete(::operator new(1111));
    ::operator delete[](::operator new[](1111));
    ::operator delete(::operator new(1111), 1111);
    ::operator delete[](::operator new[](1111), 1111);
    ::operator delete(::operator new(1111, std::nothrow), std::nothrow);
    ::operator delete[](::operator new[](1111, std::nothrow), std::nothrow);
    ::operator delete(::operator new(1111, line), line);
    ::operator delete[](::operator new[](1111, line), line);
    ::operator delete(::operator new(1111, line), 1111, line);
    ::operator delete[](::operator new[](1111, line), 1111, line);
    ::operator delete(::operator new(1111, line, std::nothrow), line, std::nothrow);
    ::operator delete[](::operator new[](1111, line, std::nothrow), line, std::nothrow);
    volatile std::size_t huge = ~std::size_t{0} / 4;
    try {
        ::operator delete(::operator new(huge));
        return 1;
    } catch (const std::bad_alloc &) {
    }
    ::operator delete(::operator new(1111));
    return write(1, "operators\n", 10) == 10 ? 19 : 1;
}
