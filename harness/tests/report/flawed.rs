//! Figures that do not come from complete samples: how tables and answers say so.

use heaplab::results::{Pass, Sample, columns};

use super::pages::pages;
use super::{FOUR, answers, report, stdout, written};
use crate::support::rows::set_column;
use crate::support::synthetic::Shape;

/// A run in which samples of some blocks crashed.
fn crashed(variant: &str, pass: &str, has_crashed: impl Fn(u32) -> bool, directory: &std::path::Path) {
    let block = columns::<Sample>().iter().position(|name| *name == "block").expect("a column");
    set_column(directory, (variant, pass), "status", |row| {
        let crashed = has_crashed(row[block].parse().expect("a number"));
        if crashed { "crash" } else { "ok" }.to_owned()
    });
}

#[test]
fn the_best_of_those_that_finished_is_named_with_those_that_did_not() {
    let directory = written(&Shape::new(&FOUR, 10));
    crashed("ptmalloc2", "memory", |block| block < 8, directory.path());
    let said = answers(directory.path());
    let memory = "monitor-server, memory, of the variants whose samples are all ok (failed: ptmalloc2, 8 samples): \
                  jemalloc needs the least";
    assert!(said.contains(memory), "{said}");
    assert!(said.contains("monitor-server, speed: ptmalloc2 is the fastest"), "{said}");
}

#[test]
fn a_program_of_which_every_sample_failed_has_the_table_of_a_program() {
    let shape = Shape { passes: vec![Pass::Exec], ..Shape::new(&FOUR[..1], 5) };
    let directory = written(&Shape { broken: Some("ptmalloc2".to_owned()), ..shape });
    let table = stdout(&report(directory.path(), &["--format", "markdown", "--columns", "all"]));
    assert!(table.contains("| CPU time |") && table.contains("| ptmalloc2 | 0 of 5 |"), "{table}");
}

#[test]
fn without_times_the_moment_of_a_peak_is_an_event() {
    let directory = written(&Shape { has_times: false, ..Shape::new(&FOUR[..1], 6) });
    for (column, value) in
        [("at_resident_peak_resident_bytes", "1048576"), ("at_resident_peak_ns", "2000000")]
    {
        set_column(directory.path(), ("ptmalloc2", "memory"), column, |_| value.to_owned());
    }
    let (markdown, _) = pages(directory.path());
    assert!(markdown.contains("when is the event's index: the trace has no times."), "{markdown}");
    assert!(markdown.contains("| 2.00 M |") && !markdown.contains("2.00 ms"), "{markdown}");
}
