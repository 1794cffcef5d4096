//! The tables that a report prints.

use std::fs;

use heaplab::report::{Analysis, Columns, Style, print_table};
use heaplab::results::load;

use super::{FOUR, edit, report, stdout, written};
use crate::support::synthetic::Shape;

/// The table of a synthetic run, as text.
fn table(shape: &Shape, columns: Columns, style: Style) -> String {
    let directory = written(shape);
    let run = load(directory.path()).expect("a run");
    let analysis = Analysis::new(&run, None).expect("an analysis");
    let mut out = Vec::new();
    print_table(&analysis, columns, &mut out, style).expect("in memory");
    String::from_utf8(out).expect("UTF-8")
}

const PLAIN: Style = Style { ruled: false, colour: false };

#[test]
fn the_plain_table_has_one_row_a_line_and_the_name_first() {
    insta::assert_snapshot!(table(&Shape::new(&["ptmalloc2", "jemalloc"], 6), Columns::All, PLAIN), @r"
    variant    workload        samples  time/event            interval  vs baseline  samples      peak             interval  vs baseline      mean       end   settled
    ptmalloc2  monitor-server        6     47.8 ns  40.1 ns to 56.0 ns     baseline        6  99.0 MiB  97.9 MiB to 100 MiB     baseline  74.3 MiB  66.8 MiB       0 B
    jemalloc   monitor-server        6     54.7 ns  44.8 ns to 64.8 ns    13 % more        6   109 MiB   107 MiB to 110 MiB    10 % more  81.6 MiB  73.4 MiB  16.3 MiB
    ");
}

#[test]
fn the_columns_that_decide_fit_a_terminal() {
    let ruled = table(&Shape::new(&FOUR, 10), Columns::Deciding, Style { ruled: true, colour: false });
    insta::assert_snapshot!(ruled, @r"
    monitor-server
    variant    time/event  vs baseline      peak  vs baseline      mean   settled
    ───────────────────────────────────────────────────────────────────────────────
    ptmalloc2     47.5 ns     baseline  99.4 MiB     baseline  74.6 MiB       0 B
    jemalloc      54.2 ns    15 % more   109 MiB    10 % more  81.6 MiB  16.3 MiB
    tcmalloc      61.9 ns    30 % more   119 MiB    20 % more  88.9 MiB  35.6 MiB
    mimalloc      70.4 ns    46 % more   124 MiB    25 % more  92.7 MiB  55.6 MiB
    ");
    assert!(ruled.lines().all(|line| line.chars().count() <= 100), "{ruled}");
}

#[test]
fn samples_are_counted_by_the_pass_of_the_figures_behind_them() {
    let directory = written(&Shape::new(&FOUR[..2], 6));
    // A memory sample that failed, a throughput sample that was not taken; the latency pass affects no figure
    // here.
    edit(&directory.path().join("samples.csv"), |text| {
        let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
        let of = |pass: &str| {
            let is_its = |line: &String| line.contains(",jemalloc,") && line.contains(&format!(",{pass},"));
            lines.iter().position(is_its).expect("a row")
        };
        let (memory, throughput) = (of("memory"), of("throughput"));
        lines[memory] = lines[memory].replacen(",ok,", ",timeout,", 1);
        lines.remove(throughput);
        lines.concat()
    });
    let markdown = stdout(&report(directory.path(), &["--format", "markdown", "--columns", "all"]));
    let counts: Vec<[&str; 3]> = markdown
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<&str>>())
        .map(|cells| [cells[1], cells[2], cells[6]])
        .collect();
    assert_eq!(counts[0], ["variant", "samples", "samples"]);
    assert_eq!(counts[2..], [["ptmalloc2", "6", "6"], ["jemalloc", "5", "5 of 6"]], "{markdown}");
    // Without the samples column, a figure from fewer than all samples is marked.
    let deciding = stdout(&report(directory.path(), &["--format", "markdown"]));
    assert!(deciding.contains(r"MiB\* |"), "{deciding}");
    let said =
        "* samples failed, and these figures are of the others:\n    monitor-server: jemalloc (1 of 6)\n";
    assert!(deciding.contains(said), "{deciding}");
}

#[test]
fn the_summary_comes_in_every_form() {
    let directory = written(&Shape::new(&FOUR[..2], 6));
    let json = stdout(&report(directory.path(), &["--format", "json"]));
    let rows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let csv = stdout(&report(directory.path(), &["--format", "csv"]));
    assert_eq!(csv, fs::read_to_string(directory.path().join("summary.csv")).expect("a summary"));
    assert_eq!(rows.as_array().map(Vec::len), Some(csv.lines().count() - 1));
    let markdown = stdout(&report(directory.path(), &["--format", "markdown"]));
    assert!(markdown.starts_with("### monitor-server\n\n| variant | time/event |"), "{markdown}");
}
