//! A model of recordings.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::read_model(content));
