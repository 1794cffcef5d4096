//! Pairs of malloc and free of one size, by one thread: the path that an allocator is tuned for.
//!
//! One byte is written, as the program would that asked for the block. A large block may go back to the
//! system at each free; then the pair costs a page fault, and that is the allocator's doing.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};

use crate::length;

/// Bytes of a block.
pub(super) const SIZES: [usize; 8] = [16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10];

pub(super) fn bench(criterion: &mut Criterion, size: usize, variant: &str) {
    let mut group = criterion.benchmark_group("pairs");
    if length::is_long() {
        group
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .sample_size(50);
    }
    group.bench_function(BenchmarkId::new(name(size), variant), |bencher| {
        bencher.iter(|| {
            // SAFETY: the block has at least one byte, and is freed once.
            unsafe {
                let block = libc::malloc(black_box(size)).cast::<u8>();
                assert!(!block.is_null(), "no memory for {size} bytes");
                block.write_volatile(1);
                libc::free(black_box(block).cast());
            }
        })
    });
    group.finish();
}

fn name(size: usize) -> String {
    if size < 1 << 10 { format!("{size} B") } else { format!("{} KiB", size >> 10) }
}
