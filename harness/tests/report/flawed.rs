//! Figures that do not come from complete samples, or not of one load: how tables, answers and plots say so.

use std::fs;

use heaplab::results::{Pass, Sample, columns};

use super::pages::{pages, text_of};
use super::{FOUR, answers, edit, report, stdout, written};
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

/// Whatever its place by medians, a variant whose interval reaches the best one's is level with it.
#[test]
fn the_best_is_compared_with_every_other() {
    let directory = written(&Shape::new(&FOUR, 10));
    let said = answers(directory.path());
    assert!(said.contains("memory: ptmalloc2 needs the least"), "{said}");
    let mut others = FOUR.iter().filter(|variant| !["ptmalloc2", "jemalloc", "floor"].contains(variant));
    let last = others.next_back().expect("another variant");
    let block = columns::<Sample>().iter().position(|name| *name == "block").expect("a column");
    set_column(directory.path(), (last, "memory"), "resident_peak_bytes", |row| {
        let is_even = row[block].parse::<u32>().expect("a number") % 2 == 0;
        if is_even { "50000000" } else { "900000000" }.to_owned()
    });
    let said = answers(directory.path());
    assert!(said.contains("memory: ptmalloc2 has the lowest median, "), "{said}");
    assert!(said.contains(&format!("; no difference from {last} is shown.")), "{said}");
}

#[test]
fn plots_mark_variants_of_which_samples_failed() {
    let directory = written(&Shape::new(&FOUR, 10));
    let (_, whole) = pages(directory.path());
    assert!(!text_of(&whole).contains("Hollow"));
    crashed("ptmalloc2", "memory", |block| block < 8, directory.path());
    let (_, page) = pages(directory.path());
    let text = text_of(&page);
    assert!(text.contains("Hollow: samples failed") && text.contains("ptmalloc2 (8 failed)"), "{text}");
    assert!(text.contains("of those of ptmalloc2, the baseline: 8 failed."), "{text}");
    // Below the labels of fragmentation and settled memory.
    assert_eq!(text.matches("ptmalloc2 8 failed ").count(), 2, "{text}");
    // jemalloc is beaten by nothing else then, and has its colour.
    let beaten = |page: &str| page.matches(">jemalloc<").count();
    assert!(beaten(&page) > 0, "{text}");
}

#[test]
fn an_overview_marks_variants_of_which_samples_failed() {
    let names = ["one", "two"].map(str::to_owned).to_vec();
    let directory = written(&Shape { workloads: names, ..Shape::new(&FOUR, 10) });
    crashed("jemalloc", "throughput", |block| block == 3, directory.path());
    let text = text_of(&pages(directory.path()).1);
    assert_eq!(text.matches("jemalloc: 1 failed ").count(), 2, "{text}");
}

#[test]
fn what_is_shown_of_one_block_is_of_one_load() {
    let directory = written(&Shape { varies_load: false, ..Shape::new(&FOUR[..2], 10) });
    let said = || text_of(&pages(directory.path()).1);
    let text = said();
    assert!(text.contains("For each variant the block whose mean resident memory is the median."), "{text}");
    edit(&directory.path().join("run.toml"), |text| {
        text.replace("varies_load = false\n", "varies_load = true\n")
    });
    let text = said();
    // Memory over time, and fragmentation.
    let common = "Each block has a load of its own: of every variant block ";
    assert_eq!(text.matches(common).count(), 2, "{text}");
    crashed("ptmalloc2", "memory", |block| block % 2 == 0, directory.path());
    crashed("jemalloc", "memory", |block| block % 2 == 1, directory.path());
    let text = said();
    assert_eq!(text.matches("Different loads are shown: each block has its own").count(), 2, "{text}");
}

#[test]
fn a_program_of_which_every_sample_failed_has_the_table_of_a_program() {
    let shape = Shape { passes: vec![Pass::Exec], ..Shape::new(&FOUR[..1], 5) };
    let directory = written(&Shape { broken: Some("ptmalloc2".to_owned()), ..shape });
    let table = stdout(&report(directory.path(), &["--format", "markdown", "--columns", "all"]));
    assert!(table.contains("| CPU time |") && table.contains("| ptmalloc2 | 0 of 5 |"), "{table}");
}

#[test]
fn memory_of_several_processes_says_how_it_is_counted() {
    let shape = Shape { passes: vec![Pass::Exec], ..Shape::new(&FOUR[..2], 6) };
    let directory = written(&shape);
    let text = text_of(&pages(directory.path()).1);
    assert!(text.contains("Anonymous resident memory of the process and its children."), "{text}");
    assert!(!text.contains("once: pages that the processes share"), "{text}");
    for variant in &FOUR[..2] {
        set_column(directory.path(), (variant, "exec"), "processes", |_| "3".to_owned());
    }
    let text = text_of(&pages(directory.path()).1);
    assert!(text.contains("of the process and its children, added up: shared pages"), "{text}");
    assert!(text.contains("once: pages that the processes share count once"), "{text}");
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

#[test]
fn ratios_without_the_harness_say_so() {
    let variants = [&FOUR[..2], &["floor"]].concat();
    let workloads = ["one", "two"].map(str::to_owned).to_vec();
    let directory = written(&Shape { harness_ns: Some(2.0), workloads, ..Shape::new(&variants, 6) });
    let (markdown, page) = pages(directory.path());
    assert!(markdown.contains("| busy/event without the harness (2 workloads) |"), "{markdown}");
    let text = text_of(&page);
    for place in [
        "x baseline without the harness: ",
        "busy/event without the harness ",
        "All workloads: busy/event without",
    ] {
        assert!(text.contains(place), "{place}: {text}");
    }
    let summary = fs::read_to_string(directory.path().join("summary.csv")).expect("a summary");
    assert!(!summary.contains("floor,throughput,allocator_ns_per_event"), "{summary}");
}

#[test]
fn a_heap_map_says_how_many_variants_are_left_out() {
    let many: Vec<String> = (0..40).map(|at| format!("ptmalloc2:MALLOC_ARENA_MAX={at}")).collect();
    let labels: Vec<&str> = many.iter().map(String::as_str).collect();
    let directory = written(&Shape { passes: vec![Pass::Memory], checkpoints: 5, ..Shape::new(&labels, 1) });
    let text = text_of(&pages(directory.path()).1);
    let (_, left_out) = text.split_once("Left out: ").unwrap_or_else(|| panic!("{text}"));
    assert!(left_out.contains(" more variants."), "{text}");
    let image = fs::read(directory.path().join("plots/monitor-server-heap.png")).expect("a plot");
    let height = u32::from_be_bytes(image[20..24].try_into().expect("four bytes"));
    assert!(height < 6000, "{height}");
}
