//! Exports the functions that a worker supplies to the allocator under test.
//!
//! An executable's symbols are found first by every library, but only if they are in its dynamic
//! symbol table.

const SUPPLIED: [&str; 6] =
    ["clock_gettime", "gettimeofday", "sysconf", "sched_getaffinity", "pthread_getaffinity_np", "get_nprocs"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for symbol in SUPPLIED {
        println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={symbol}");
        // A benchmark runs itself again as a worker.
        println!("cargo::rustc-link-arg-benches=-Wl,--export-dynamic-symbol={symbol}");
    }
}
