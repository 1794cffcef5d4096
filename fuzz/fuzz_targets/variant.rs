//! A variant, as the command line names it.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| heaplab_fuzz::parse_variant(content));
