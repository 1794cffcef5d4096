//! `heaplab pack`: what becomes smaller still says the same.

use std::fs;

use super::{Place, heaplab};

const FILES: [&str; 3] = ["timeline.csv", "heapmap.csv", "sizes.csv"];

fn read_files(place: &Place) -> [Vec<u8>; 3] {
    FILES.map(|file| fs::read(place.path("out").join(file)).unwrap())
}

#[test]
fn a_packed_run_reports_merges_and_resumes_as_before() {
    let place = Place::new();
    place.run(&["small.log", "--reps", "2", "--pass", "memory", "-a", "ptmalloc2"]).success();
    let heaplab = |words: &[&str]| heaplab().current_dir(place.path("")).args(words).assert();
    let before = read_files(&place);
    let report_of = || {
        heaplab(&["report", "out"]).success();
        let text = fs::read_to_string(place.path("out/report.md")).unwrap();
        (text, fs::read(place.path("out/summary.csv")).unwrap())
    };
    let whole = report_of();

    let output = heaplab(&["pack", "out"]).success().get_output().stdout.clone();
    let said = String::from_utf8(output).unwrap();
    assert!(said.starts_with("out: 6 files packed, "), "{said}");
    for file in FILES {
        assert!(!place.path("out").join(file).exists(), "{file}");
        assert!(place.path("out").join(format!("{file}.zst")).exists(), "{file}");
    }
    // Not assert_eq, which would print both reports.
    assert!(report_of() == whole, "the report of a packed run differs");
    heaplab(&["pack", "out"]).success().stdout("out: 0 files packed, 0 B before, 0 B after\n");
    heaplab(&["merge", "out", "-o", "merged"]).success();

    heaplab(&["pack", "--undo", "out"]).success();
    assert!(read_files(&place) == before, "unpacked files are not what they were");
    heaplab(&["pack", "out"]).success();
    heaplab(&["run", "--resume", "-o", "out"]).success();
    assert!(read_files(&place) == before, "a resumed run has different rows");

    heaplab(&["pack", "nowhere"]).failure().code(2);
}

/// A file that was cut off, by a crash of the machine or a copy that was interrupted, ends at any byte.
#[test]
fn a_sample_that_lost_rows_counts_nowhere_and_is_measured_again() {
    let place = Place::new();
    place.run(&["small.log", "--reps", "2", "--pass", "memory", "-a", "ptmalloc2"]).success();
    let heaplab = |words: &[&str]| heaplab().current_dir(place.path("")).args(words).assert();
    let path = place.path("out/timeline.csv");
    let whole = fs::read_to_string(&path).unwrap();
    let rows = |text: &str| text.lines().skip(1).filter(|line| line.split(',').nth(1) == Some("1")).count();
    let lost = 5;
    let cut: Vec<&str> = whole.lines().take(whole.lines().count() - lost).collect();
    fs::write(&path, cut.join("\n") + "\n").unwrap();
    let output = heaplab(&["report", "out"]).success().get_output().stderr.clone();
    let said = String::from_utf8(output).unwrap();
    let of = rows(&whole);
    assert!(said.contains("timeline.csv lacks rows of 1 sample, because it was cut off"), "{said}");
    assert!(said.contains(&format!("small, ptmalloc2, block 1 ({} of {of})", of - lost)), "{said}");
    heaplab(&["run", "--resume", "-o", "out"]).success();
    let samples = place.samples();
    assert_eq!(samples.len(), 2 + 1, "one was measured again");
    let output = heaplab(&["report", "out"]).success().get_output().stderr.clone();
    assert!(!String::from_utf8(output).unwrap().contains("lacks rows"));
}
