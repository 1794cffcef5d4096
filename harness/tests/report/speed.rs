//! Speed by busy time: what the harness's share does to ratios, verdicts, sentences and tables.

use heaplab::report::Analysis;
use heaplab::results::load;

use super::{answers, report, stdout, written};
use crate::support::synthetic::Shape;

const FIVE: [&str; 5] = ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc", "floor"];

/// A harness's share, in ns per event, with which floor takes less than 40 % of the fastest variant's time.
const LIGHT_NS: f64 = 2.0;

fn shape(variants: &[&str], harness_ns: f64) -> Shape {
    Shape { harness_ns: Some(harness_ns), ..Shape::new(variants, 10) }
}

#[test]
fn ratios_are_of_what_is_not_the_harness() {
    // Per event, ptmalloc2 takes 8 ns and jemalloc 12, each with 3 more in the kernel: 15 over 11 without the
    // harness's 2.
    let directory = written(&shape(&FIVE, LIGHT_NS));
    let run = load(directory.path()).expect("a run");
    let analysis = Analysis::new(&run, None).expect("an analysis");
    let row = |metric| analysis.row("monitor-server", "jemalloc", metric).expect("measured");
    let net = row("allocator_ns_per_event");
    assert!((net.ratio.expect("a ratio") - 15.0 / 11.0).abs() < 0.04, "{net:?}");
    let busy = row("busy_ns_per_event").ratio.expect("a ratio");
    assert!((busy - 17.0 / 13.0).abs() < 0.02, "{busy}");
    assert!(analysis.row("monitor-server", "floor", "allocator_ns_per_event").is_none());
    let said = answers(directory.path());
    assert!(said.contains("ptmalloc2 is the fastest") && said.contains("of busy time per event"), "{said}");
    assert!(
        said.contains("less time than jemalloc") && said.contains(", the harness's share subtracted"),
        "{said}"
    );
    let table = stdout(&report(directory.path(), &["--columns", "all"]));
    let header = table.lines().next().expect("a header");
    for column in ["busy/event", "kernel", "harness", "wall/event"] {
        assert!(header.contains(column), "{column} is missing in {header}");
    }
    assert!(table.lines().any(|line| line.starts_with("floor") && line.contains("not ranked")), "{table}");
}

#[test]
fn a_floor_that_is_none_is_not_subtracted() {
    let directory = written(&shape(&["ptmalloc2", "jemalloc", "floor"], 400.0));
    let run = load(directory.path()).expect("a run");
    let analysis = Analysis::new(&run, None).expect("an analysis");
    let row = |metric| analysis.row("monitor-server", "jemalloc", metric);
    assert!(row("allocator_ns_per_event").is_none(), "its difference would be overstated");
    let busy = row("busy_ns_per_event").expect("measured");
    assert_eq!(busy.verdict.map(|verdict| verdict.as_str()), Some("no difference shown"), "{busy:?}");
    let note = "% of the fastest variant's busy time on monitor-server";
    assert!(analysis.notes.iter().any(|said| said.contains(note)), "{:?}", analysis.notes);
    assert!(answers(directory.path()).contains(", but no difference from "));
}

#[test]
fn without_floor_the_harness_is_in_the_ratio_and_a_note_says_so() {
    let directory = written(&shape(&FIVE[..4], 10.0));
    let run = load(directory.path()).expect("a run");
    let analysis = Analysis::new(&run, None).expect("an analysis");
    assert!(analysis.row("monitor-server", "jemalloc", "allocator_ns_per_event").is_none());
    let note = "floor was not measured";
    assert!(analysis.notes.iter().any(|said| said.contains(note)), "{:?}", analysis.notes);
    assert!(answers(directory.path()).contains("ptmalloc2 is the fastest"));
}

#[test]
fn several_workloads_are_compared_without_the_harness() {
    let mut shape = shape(&FIVE, LIGHT_NS);
    shape.workloads = vec!["one".to_owned(), "two".to_owned()];
    let directory = written(&shape);
    let said = answers(directory.path());
    assert!(
        said.contains("speed, mean over the 2 workloads") && said.contains("ptmalloc2 is the fastest"),
        "{said}"
    );
}
