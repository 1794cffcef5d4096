//! A log of any kind, in any container.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::import_guessed(content));
