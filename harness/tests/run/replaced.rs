//! A library that is replaced while a run goes on: no sample of the other file passes for one of the first.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Place, heaplab};
use crate::support::library_directory;
use crate::support::rows::column;

/// Starts a run of a library of its own, replaces the library as soon as there are rows, and waits for the run.
fn replace_during_a_run(place: &Place, replace: impl FnOnce(&std::path::Path)) {
    let library = place.path("mine.so");
    fs::copy(library_directory().join("libheaplab_jemalloc.so"), &library).unwrap();
    let variant = format!("mine={}", library.display());
    let mut run = Command::new(heaplab().get_program())
        .current_dir(place.0.path())
        .env("HEAPLAB_PRELOAD_DIR", library_directory())
        .args(["run", "small.log", "--pass", "check", "--reps", "60", "-o", "out", "-a", &variant])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(place.path("out/samples.csv")).is_ok_and(|rows| rows.lines().count() >= 3) {
        assert!(Instant::now() < deadline, "the run begins");
        std::thread::sleep(Duration::from_millis(5));
    }
    replace(&library);
    run.wait().unwrap();
}

#[test]
fn samples_of_a_library_that_was_replaced_are_not_ok() {
    let place = Place::new();
    replace_during_a_run(&place, |library| {
        // What follows the sections of a library is not loaded: it serves as well as before, as another build.
        let mut other = fs::read(library).unwrap();
        other.extend(b"another build");
        fs::write(library.with_extension("new"), other).unwrap();
        fs::rename(library.with_extension("new"), library).unwrap();
    });
    let samples = place.samples();
    assert_eq!(samples.len(), 60);
    let of = |status: &str| samples.iter().filter(|row| column(row, "status") == status).collect::<Vec<_>>();
    let (first, second) = (of("ok"), of("not-injected"));
    assert!(!first.is_empty() && !second.is_empty() && first.len() + second.len() == 60, "{}", first.len());
    assert!(first.iter().all(|row| column(row, "library_hash").len() == 64));
    for row in second {
        let detail = column(row, "status_detail");
        assert!(detail.contains("mine.so has changed since the run began"), "{detail}");
        assert_eq!(column(row, "library_hash"), "");
    }
}

#[test]
fn a_library_that_was_replaced_by_the_same_build_goes_on_to_count() {
    let place = Place::new();
    replace_during_a_run(&place, |library| {
        fs::copy(library, library.with_extension("new")).unwrap();
        fs::rename(library.with_extension("new"), library).unwrap();
    });
    let samples = place.samples();
    let refused: Vec<_> = samples.iter().filter(|row| column(row, "status") != "ok").collect();
    // That of the moment itself may have started with the one and found the other.
    assert!(refused.len() <= 1, "{:?}", refused.iter().map(|row| column(row, "status_detail")));
    assert_eq!(column(&samples[59], "status"), "ok");
}
