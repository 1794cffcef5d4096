//! A run's stats.csv.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::read_run("stats.csv", content));
