//! Records of a trace, in a chunk whose checksums fit.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::read_records(content));
