//! A sweep's definition.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::parse_sweep(content));
