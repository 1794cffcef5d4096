//! A definition of a load model.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::simulate_definition(content));
