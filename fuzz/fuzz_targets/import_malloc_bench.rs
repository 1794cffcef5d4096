//! A log of kind malloc-bench.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::import_log(
    heaplab_workloads::import::Kind::MallocBench,
    content
));
