//! Figures that do not come from complete samples: how answers say so.

use heaplab::results::{Sample, columns};

use super::{FOUR, answers, written};
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
