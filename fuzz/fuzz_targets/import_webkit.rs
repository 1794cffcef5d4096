//! A log of kind webkit.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::import_log(
    heaplab_workloads::import::Kind::Webkit,
    content
));
