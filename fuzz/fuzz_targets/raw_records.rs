//! Records of a raw recording, in chunks whose heads fit.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::import_raw(content));
