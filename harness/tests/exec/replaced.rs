//! A library that is replaced before a sample, or during one.

use std::fs;

use super::Place;
use crate::support::rows::column;
use crate::support::{heaplab, library_directory};

/// What puts another build in the place of `mine.so`.
const REPLACE: &str = "cp mine.so new.so && echo another build >> new.so && mv new.so mine.so";

#[test]
fn a_sample_during_which_its_library_was_replaced_is_not_ok() {
    for (prepare, program) in [(REPLACE, "true"), ("true", REPLACE)] {
        let place = Place(tempfile::tempdir().expect("a directory"));
        fs::copy(library_directory().join("libheaplab_jemalloc.so"), place.path("mine.so")).expect("a copy");
        let variant = format!("mine={}", place.path("mine.so").display());
        let run = heaplab()
            .current_dir(place.path(""))
            .args(["exec", "-o", "out", "--reps", "1", "-a", &variant, "--prepare", prepare])
            .args(["--", "sh", "-c", program])
            .assert();
        run.code(3);
        let samples = place.samples();
        let sample = samples.iter().find(|row| column(row, "variant") == "mine").expect("a sample");
        assert_eq!(column(sample, "status"), "not-injected", "{sample:?}");
        let detail = column(sample, "status_detail");
        assert!(detail.contains("mine.so has changed since the run began"), "{detail}");
        assert_eq!(column(sample, "library_hash"), "");
    }
}
