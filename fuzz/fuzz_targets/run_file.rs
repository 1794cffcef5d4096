//! A run's run.toml.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::read_run("run.toml", content));
