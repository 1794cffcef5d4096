//! The tables that a report prints.

use std::fs;

use heaplab::report::{Analysis, Style, print_table};
use heaplab::results::load;

use super::synthetic::Shape;
use super::{FOUR, edit, report, stdout, written};

#[test]
fn the_plain_table_has_one_row_a_line_and_the_name_first() {
    let directory = written(&Shape::new(&["ptmalloc2", "jemalloc"], 6));
    let run = load(directory.path()).expect("a run");
    let analysis = Analysis::new(&run, None).expect("an analysis");
    let mut out = Vec::new();
    print_table(&analysis, &mut out, Style { framed: false, colour: false }).expect("in memory");
    insta::assert_snapshot!(String::from_utf8(out).expect("UTF-8"), @r"
    variant    workload        samples  time/event            interval   vs baseline  samples      peak             interval   vs baseline      mean       end   settled
    ptmalloc2  monitor-server        6     47.8 ns  40.1 ns to 56.0 ns      baseline        6  99.0 MiB  97.9 MiB to 100 MiB      baseline  74.3 MiB  66.8 MiB       0 B
    jemalloc   monitor-server        6     54.7 ns  44.8 ns to 64.8 ns  1.131 slower        6   109 MiB   107 MiB to 110 MiB  1.102 larger  81.6 MiB  73.4 MiB  16.3 MiB
    ");
}

#[test]
fn samples_are_counted_by_the_pass_of_the_figures_behind_them() {
    let directory = written(&Shape::new(&FOUR[..2], 6));
    // A memory sample that failed, a throughput sample that was not taken; the latency pass is in no figure here.
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
    let markdown = stdout(&report(directory.path(), &["--format", "markdown"]));
    let counts: Vec<[&str; 3]> = markdown
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<&str>>())
        .map(|cells| [cells[1], cells[2], cells[6]])
        .collect();
    assert_eq!(counts[0], ["variant", "samples", "samples"]);
    assert_eq!(counts[2..], [["ptmalloc2", "6", "6"], ["jemalloc", "5", "5 of 6"]], "{markdown}");
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
    assert!(markdown.starts_with("### monitor-server\n\n| variant | samples |"), "{markdown}");
}
