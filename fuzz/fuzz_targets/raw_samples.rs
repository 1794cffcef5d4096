//! What the command saw of a recording.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::import_samples(content));
