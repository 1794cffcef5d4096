//! The head and the sections of a model, in a file whose checksums fit.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::play_model(content));
