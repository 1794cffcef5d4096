//! A raw recording of which words are changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::import_changed(content));
