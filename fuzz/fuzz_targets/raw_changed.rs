//! A raw recording with some words changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::import_changed(content));
