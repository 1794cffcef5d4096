// What dlopen.c loads: its blocks have a size that nothing else has.
struct Block { char bytes[77777]; };

extern "C" int work(int count) {
    int done = 0;
    for (int i = 0; i < count; i++) {
        Block *block = new Block;
        block->bytes[0] = 1;
        done += block->bytes[0];
        delete block;
    }
    return done;
}
