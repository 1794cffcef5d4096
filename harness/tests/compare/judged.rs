//! What `--fail-over` judges, what it leaves open, and what it does not judge.

use std::path::Path;

use heaplab::results::{Sample, columns};

use super::{FOUR, compare, several_workloads, shape, written};
use crate::support::rows::set_column;
use crate::support::synthetic::Shape;

#[test]
fn fail_over_ends_with_4_for_what_is_worse_and_shown() {
    let directory = written(&shape(&FOUR, 10));
    let said = compare(&[directory.path()], &["--fail-over", "5%", "--metric", "resident_peak_bytes"]);
    assert_eq!(said.status, 4, "{}", said.stderr);
    assert!(
        said.stderr.contains("more than 5 % worse: monitor-server, jemalloc, resident_peak_bytes: "),
        "{}",
        said.stderr
    );
    assert!(!said.stderr.contains("floor"), "it is not ranked: {}", said.stderr);
    let said = compare(&[directory.path()], &["--fail-over", "60%"]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    // The other way round both are better, which is not a failure.
    let better = ["--fail-over", "1%", "--baseline", "tcmalloc", "--metric", "resident_peak_bytes"];
    assert_eq!(compare(&[directory.path()], &better).status, 0);
}

#[test]
fn fail_over_has_three_outcomes() {
    // The real difference is 10 %: below the interval, within it, and above it.
    let directory = written(&shape(&FOUR[..2], 10));
    let at = |limit: &str| {
        compare(&[directory.path()], &["--fail-over", limit, "--metric", "resident_peak_bytes"])
    };
    assert_eq!(at("5%").status, 4, "{}", at("5%").stderr);
    let said = at("10%");
    assert_eq!(said.status, 3, "{}", said.stderr);
    assert!(said.stderr.contains("cannot be judged: ") && said.stderr.contains("more blocks (--reps) tell"));
    assert_eq!((at("15%").status, at("15%").stderr.as_str()), (0, ""));
}

#[test]
fn fail_over_does_not_pass_what_it_cannot_judge() {
    let few = written(&shape(&FOUR[..2], 5));
    let said = compare(&[few.path()], &["--fail-over", "5%"]);
    assert_eq!(said.status, 3);
    assert!(
        said.stderr.contains("cannot be judged: monitor-server, jemalloc, wall_ns_per_event: fewer than 6"),
        "{}",
        said.stderr
    );
    assert_eq!(compare(&[few.path()], &[]).status, 0, "nothing is asked without a limit");
    let failed = written(&Shape { broken: Some("jemalloc".to_owned()), ..shape(&FOUR[..2], 10) });
    assert_eq!(compare(&[failed.path()], &["--fail-over", "5%"]).status, 3);
    let other = written(&shape(&["ptmalloc2", "mimalloc"], 10));
    let whole = written(&shape(&FOUR[..2], 10));
    let said = compare(&[whole.path(), other.path()], &["--fail-over", "500%"]);
    assert_eq!(said.status, 3);
    assert!(
        said.stderr.contains(
            "cannot be judged: monitor-server, mimalloc, wall_ns_per_event: missing in the old run"
        ),
        "{}",
        said.stderr
    );
    let without = written(&shape(&["jemalloc", "mimalloc"], 10));
    let said = compare(&[without.path()], &["--fail-over", "5%"]);
    assert_eq!(said.status, 2);
    assert!(said.stderr.contains("--baseline"), "{}", said.stderr);
}

#[test]
fn fail_over_does_not_pass_where_nothing_is_compared() {
    let said_of = |directories: &[&Path], arguments: &[&str]| {
        let said = compare(directories, &[&["--fail-over", "5%"], arguments].concat());
        assert_eq!(said.status, 3, "{}", said.stderr);
        said.stderr
    };
    let alone = written(&shape(&FOUR[..1], 10));
    let said = said_of(&[alone.path()], &[]);
    let lack = ": there is nothing to compare: the run has only ptmalloc2; measure another variant with -a\n";
    assert!(said.ends_with(lack), "{said}");
    let with_floor = written(&shape(&["ptmalloc2", "floor"], 10));
    let of_floor = "only ptmalloc2 and floor, which measures the harness and is not judged; measure another";
    let said = said_of(&[with_floor.path()], &[]);
    assert!(said.contains(&format!("the run has {of_floor}")), "{said}");
    let said = said_of(&[with_floor.path(); 2], &["--baseline", "ptmalloc2"]);
    assert!(said.contains(&format!("the runs have {of_floor}")), "{said}");
    let said = said_of(&[alone.path(); 2], &["--baseline", "ptmalloc2"]);
    assert!(said.contains("the runs have only ptmalloc2; measure another variant with -a"), "{said}");
    assert!(!said.contains("measured none"), "{said}");
    let step = compare(&[alone.path()], &["--fail-over", "5%", "--bisect"]);
    assert_eq!(step.status, 125, "git bisect skips it: {}", step.stderr);
}

#[test]
fn a_metric_without_a_direction_is_shown_and_not_judged() {
    let directory = written(&shape(&FOUR[..2], 10));
    let metric = ["--metric", "at_peak_requested_bytes"];
    let said = compare(&[directory.path()], &metric);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(!said.stdout.contains("is better"), "{}", said.stdout);
    for directories in [&[directory.path()][..], &[directory.path(); 2][..]] {
        let said = compare(directories, &[&metric[..], &["--fail-over", "5%"]].concat());
        assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{}", said.stderr);
        let what = "--fail-over cannot judge at_peak_requested_bytes: neither more nor less of it is worse";
        assert!(said.stderr.contains(what), "{}", said.stderr);
    }
}

#[test]
fn floor_is_shown_and_not_judged_in_two_runs() {
    let old = written(&shape(&FOUR, 10));
    let new = written(&shape(&FOUR, 10));
    let place = columns::<Sample>().iter().position(|name| *name == "wall_ns").expect("a column");
    set_column(new.path(), ("floor", "throughput"), "wall_ns", |row| {
        (row[place].parse::<u64>().expect("a number") * 2).to_string()
    });
    let said = compare(&[old.path(), new.path()], &["--metric", "wall_ns_per_event", "--fail-over", "50%"]);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(!said.stderr.contains("floor"), "{}", said.stderr);
    let row = said.stdout.lines().find(|line| line.starts_with("floor")).expect("it is shown");
    assert!(row.contains(" 2.000 ") && row.ends_with("  not judged"), "{row}");
    assert!(said.stdout.contains("a difference is shown in 0 of 3 comparisons"), "{}", said.stdout);
}

#[test]
fn a_ratio_to_zero_is_an_empty_cell() {
    let directory = written(&several_workloads(&FOUR[..2]));
    let of = |format: &str| {
        let metric =
            ["--metric", "page_faults_major_per_event", "--baseline", "ptmalloc2", "--format", format];
        let said = compare(&[directory.path(); 2], &metric);
        assert_eq!(said.status, 0, "{}", said.stderr);
        assert!(!said.stdout.contains("NaN"), "{}", said.stdout);
        assert!(!said.stderr.contains("missing"), "0 is a value: {}", said.stderr);
        said.stdout
    };
    assert!(
        of("csv").contains("one,1,page_faults_major_per_event,jemalloc,ptmalloc2,,6,0,,,,6,0,,,,,,,,,,\n")
    );
    let rows: Vec<serde_json::Value> = serde_json::from_str(&of("json")).expect("an array");
    assert_eq!((&rows[0]["old_median"], &rows[0]["old_n"]), (&serde_json::Value::Null, &6.into()));
    let table = of("table");
    assert_eq!(table.matches("no ratio of 0").count(), 4, "three workloads and their mean: {table}");
}

#[test]
fn programs_are_compared_by_their_own_cpu_time_and_memory() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/validation");
    for program in ["sqlite3", "postgresql"] {
        let said = compare(&[&results.join(program).join("exec")], &["--format", "csv"]);
        assert_eq!(said.status, 0, "{}", said.stderr);
        for metric in ["program_cpu_ns", "program_once_peak_bytes"] {
            assert!(said.stdout.contains(&format!(",{metric},")), "{metric}: {}", said.stdout);
        }
        assert!(!said.stdout.contains("program_resident_peak_bytes"), "one figure of memory");
    }
}
