//! A run's recorded.csv.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::read_run("recorded.csv", content));
