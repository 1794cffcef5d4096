//! The `heaplab` command. Everything it does is in the library.

use std::process::ExitCode;

use heaplab::worker::PrivateHeap;

/// A worker's own memory must not lie on the heap under test.
#[global_allocator]
static HEAP: PrivateHeap = PrivateHeap::new();

fn main() -> ExitCode {
    heaplab::cli::main()
}
