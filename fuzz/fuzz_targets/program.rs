//! A compiled program.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::verify_program(content));
