//! Compares allocators as Rust programs link them: through `GlobalAlloc`, in one process.
//!
//! This form is compared among itself only, never with preloaded libraries. A linked allocator reaches
//! its thread's state by other TLS accesses than a preloaded one, is called directly instead of through
//! the loader's table, and is told the size and alignment at each free; so the same jemalloc is some
//! tenths of a nanosecond to a nanosecond faster here, which says nothing of jemalloc. The three share
//! a process and its threads; what criterion allocates lies on the private heap, and none of it on theirs.
//! gperftools' tcmalloc has no such form.
#![allow(unsafe_code)] // calls GlobalAlloc's functions

#[path = "../../workloads/benches/support/length.rs"]
mod length;
#[path = "support/requests.rs"]
mod requests;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use heaplab::worker::PrivateHeap;
use heaplab_allocators::{Family, identify};
use mimalloc::MiMalloc;
use requests::{MOST_OBJECTS, OBJECT_BYTES, RECEIVE_BYTES, RESPONSE_BYTES, Request, make_requests};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static HEAP: PrivateHeap = PrivateHeap::new();

const PAIR_SIZES: [usize; 8] = [16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10];
const REQUESTS: usize = 200;
/// Alignment of every block, as a `Vec<u64>` asks for.
const ALIGNMENT: usize = 8;

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGNMENT).expect("a small size and a power of two")
}

/// A block of `A`, whose first byte was written.
struct Block {
    first: *mut u8,
    bytes: usize,
}

impl Block {
    #[inline(always)]
    fn allocate<A: GlobalAlloc>(allocator: &A, bytes: usize) -> Block {
        // SAFETY: no size here is 0.
        let first = unsafe { allocator.alloc(layout(bytes)) };
        assert!(!first.is_null(), "no memory for {bytes} bytes");
        // SAFETY: the block has at least one byte.
        unsafe { first.write_volatile(1) };
        Block { first, bytes }
    }

    #[inline(always)]
    fn resize<A: GlobalAlloc>(&mut self, allocator: &A, bytes: usize) {
        // SAFETY: the block is `allocator`'s and has that layout; no size here is 0.
        self.first = unsafe { allocator.realloc(self.first, layout(self.bytes), bytes) };
        assert!(!self.first.is_null(), "no memory for {bytes} bytes");
        self.bytes = bytes;
    }

    #[inline(always)]
    fn free<A: GlobalAlloc>(self, allocator: &A) {
        // SAFETY: the block is `allocator`'s, has that layout, and its only pointer ends here.
        unsafe { allocator.dealloc(black_box(self.first), layout(self.bytes)) };
    }
}

/// A request, from the first byte received to the response sent, by one thread.
fn serve<A: GlobalAlloc>(allocator: &A, request: &Request) {
    let mut buffer = Block::allocate(allocator, RECEIVE_BYTES);
    while buffer.bytes < request.payload_bytes {
        let bytes = 2 * buffer.bytes;
        buffer.resize(allocator, bytes);
    }
    let payload = Block::allocate(allocator, request.payload_bytes);
    buffer.free(allocator);
    let mut objects: [Option<Block>; MOST_OBJECTS] = [const { None }; MOST_OBJECTS];
    for (number, object) in objects.iter_mut().take(request.objects).enumerate() {
        *object = Some(Block::allocate(allocator, OBJECT_BYTES[number % OBJECT_BYTES.len()]));
    }
    let mut response = Block::allocate(allocator, RESPONSE_BYTES);
    while response.bytes < request.response_bytes {
        let bytes = 2 * response.bytes;
        response.resize(allocator, bytes);
    }
    objects.into_iter().flatten().for_each(|object| object.free(allocator));
    payload.free(allocator);
    response.free(allocator);
}

fn bench_pair<A: GlobalAlloc>(criterion: &mut Criterion, size: usize, name: &str, allocator: &A) {
    let mut group = criterion.benchmark_group("global_alloc_pairs");
    if length::is_long() {
        group
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .sample_size(50);
    }
    let size_name = if size < 1 << 10 { format!("{size} B") } else { format!("{} KiB", size >> 10) };
    group.bench_function(BenchmarkId::new(size_name, name), |bencher| {
        bencher.iter(|| Block::allocate(allocator, black_box(size)).free(allocator));
    });
    group.finish();
}

fn bench_requests<A: GlobalAlloc>(
    criterion: &mut Criterion,
    requests: &[Request],
    name: &str,
    allocator: &A,
) {
    let mut group = criterion.benchmark_group("global_alloc_requests");
    if length::is_long() {
        group
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2))
            .sample_size(30);
    }
    group.throughput(Throughput::Elements(requests.len() as u64));
    group.bench_function(BenchmarkId::new("1 thread", name), |bencher| {
        bencher.iter(|| requests.iter().for_each(|request| serve(allocator, request)));
    });
    group.finish();
}

fn bench_all(criterion: &mut Criterion) {
    let serving = identify().expect("malloc lies somewhere");
    assert_eq!(
        serving.family,
        Family::Ptmalloc2,
        "a library is preloaded: System would not be the C library's"
    );
    for size in PAIR_SIZES {
        bench_pair(criterion, size, "System", &System);
        bench_pair(criterion, size, "Jemalloc", &Jemalloc);
        bench_pair(criterion, size, "MiMalloc", &MiMalloc);
    }
    let requests = make_requests(REQUESTS);
    bench_requests(criterion, &requests, "System", &System);
    bench_requests(criterion, &requests, "Jemalloc", &Jemalloc);
    bench_requests(criterion, &requests, "MiMalloc", &MiMalloc);
}

criterion_group!(name = benches; config = length::criterion(); targets = bench_all);
criterion_main!(benches);
