//! `heaplab compare` as a process: every table, what is named when missing, and each exit status.

mod judged;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::support::synthetic::Shape;
use assert_cmd::Command;
use heaplab::compare::{RunRow, VariantRow};
use heaplab::report::SizeDifference;
use heaplab::results::columns;
use tempfile::TempDir;

const FOUR: [&str; 4] = ["ptmalloc2", "jemalloc", "tcmalloc", "floor"];

/// What a process said and how it ended.
struct Said {
    status: i32,
    stdout: String,
    stderr: String,
}

fn compare(directories: &[&Path], arguments: &[&str]) -> Said {
    let mut command = Command::cargo_bin("heaplab").expect("the binary is built");
    let output = command.arg("compare").args(directories).args(arguments).output().expect("it runs");
    Said {
        status: output.status.code().expect("it ended by itself"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn written(shape: &Shape) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    shape.write(directory.path());
    directory
}

/// A shape with few points, which no comparison reads.
fn shape(variants: &[&str], blocks: u32) -> Shape {
    Shape { checkpoints: 60, ..Shape::new(variants, blocks) }
}

fn several_workloads(variants: &[&str]) -> Shape {
    Shape { workloads: ["one", "two", "three"].map(str::to_owned).to_vec(), ..shape(variants, 6) }
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).expect("readable");
    fs::write(path, change(text)).expect("writable");
}

#[test]
fn every_column_is_described_in_order() {
    let readme = include_str!("../../results/README.md");
    let described = |title: &str| -> Vec<&str> {
        let section = readme.split(&format!("\n{title}\n")).nth(1).expect("a section of this title");
        let section = section.split("\n#").next().unwrap_or_default();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| row.split('`').next().unwrap_or_default()).collect()
    };
    assert_eq!(described("## compare DIR"), columns::<VariantRow>());
    assert_eq!(described("## compare OLD NEW"), columns::<RunRow>());
    assert_eq!(described("## compare --by-size"), columns::<SizeDifference>());
}

#[test]
fn variants_stand_side_by_side() {
    let directory = written(&shape(&FOUR, 10));
    let said = compare(&[directory.path()], &[]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(said.stdout, @r"
    variant    workload        metric                                 samples    median             interval   vs baseline        interval        rank
    ptmalloc2  monitor-server  wall_ns_per_event (lower is better)         10   47.5 ns   39.7 ns to 55.9 ns      baseline               -        best
    jemalloc   monitor-server  wall_ns_per_event (lower is better)         10   54.2 ns   45.7 ns to 64.8 ns  1.147 slower  1.117 to 1.170           -
    tcmalloc   monitor-server  wall_ns_per_event (lower is better)         10   61.9 ns   51.6 ns to 71.9 ns  1.303 slower  1.279 to 1.329           -
    floor      monitor-server  wall_ns_per_event (lower is better)         10   70.4 ns   58.8 ns to 81.0 ns         1.461  1.441 to 1.483  not ranked
    ptmalloc2  monitor-server  resident_peak_bytes (lower is better)       10  99.4 MiB  97.9 MiB to 100 MiB      baseline               -        best
    jemalloc   monitor-server  resident_peak_bytes (lower is better)       10   109 MiB   108 MiB to 110 MiB  1.100 larger  1.089 to 1.109           -
    tcmalloc   monitor-server  resident_peak_bytes (lower is better)       10   119 MiB   117 MiB to 120 MiB  1.197 larger  1.180 to 1.210           -
    floor      monitor-server  resident_peak_bytes (lower is better)       10   124 MiB   122 MiB to 125 MiB         1.247  1.230 to 1.262  not ranked
    ");
}

#[test]
fn the_same_in_every_form() {
    let directory = written(&shape(&FOUR[..2], 10));
    let of = |format: &str| compare(&[directory.path()], &["--format", format]).stdout;
    insta::assert_snapshot!(of("markdown"), @r"
    | variant | workload | metric | samples | median | interval | vs baseline | interval | rank |
    | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
    | ptmalloc2 | monitor-server | wall\_ns\_per\_event (lower is better) | 10 | 47.5 ns | 39.7 ns to 55.9 ns | baseline | - | best |
    | jemalloc | monitor-server | wall\_ns\_per\_event (lower is better) | 10 | 54.2 ns | 45.7 ns to 64.8 ns | 1.147 slower | 1.117 to 1.170 | - |
    | ptmalloc2 | monitor-server | resident\_peak\_bytes (lower is better) | 10 | 99.4 MiB | 97.9 MiB to 100 MiB | baseline | - | best |
    | jemalloc | monitor-server | resident\_peak\_bytes (lower is better) | 10 | 109 MiB | 108 MiB to 110 MiB | 1.100 larger | 1.089 to 1.109 | - |
    ");
    let csv = of("csv");
    assert_eq!(csv.lines().next(), Some(columns::<VariantRow>().join(",").as_str()));
    let rows: Vec<serde_json::Value> = serde_json::from_str(&of("json")).expect("an array");
    assert_eq!(rows.len(), csv.lines().count() - 1);
    assert!(rows.iter().all(|row| columns::<VariantRow>().iter().all(|column| row.get(column).is_some())));
    let names: Vec<&String> = rows[0].as_object().expect("an object").keys().collect();
    assert_eq!(names.len(), columns::<VariantRow>().len());
    let other = compare(&[directory.path(), directory.path()], &["--format", "csv"]).stdout;
    assert_eq!(other.lines().next(), Some(columns::<RunRow>().join(",").as_str()));
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&compare(&[directory.path(); 2], &["--format", "json"]).stdout)
            .expect("an array");
    assert!(rows.iter().all(|row| columns::<RunRow>().iter().all(|column| row.get(column).is_some())));
}

#[test]
fn several_workloads_have_a_mean_over_those_that_all_finished() {
    let directory = written(&several_workloads(&FOUR[..2]));
    let said = compare(&[directory.path()], &["--metric", "resident_peak_bytes"]);
    insta::assert_snapshot!(said.stdout, @r"
    variant    workload                       metric                                 samples    median             interval   vs baseline        interval  rank
    ptmalloc2  one                            resident_peak_bytes (lower is better)        6  99.0 MiB  97.9 MiB to 100 MiB      baseline               -  best
    jemalloc   one                            resident_peak_bytes (lower is better)        6   109 MiB   107 MiB to 110 MiB  1.101 larger  1.081 to 1.115     -
    ptmalloc2  two                            resident_peak_bytes (lower is better)        6  99.0 MiB  97.9 MiB to 100 MiB      baseline               -  best
    jemalloc   two                            resident_peak_bytes (lower is better)        6   109 MiB   107 MiB to 110 MiB  1.101 larger  1.081 to 1.115     -
    ptmalloc2  three                          resident_peak_bytes (lower is better)        6  99.0 MiB  97.9 MiB to 100 MiB      baseline               -  best
    jemalloc   three                          resident_peak_bytes (lower is better)        6   109 MiB   107 MiB to 110 MiB  1.101 larger  1.081 to 1.115     -
    ptmalloc2  geometric mean of 3 workloads  resident_peak_bytes (lower is better)        6         -                    -      baseline               -  best
    jemalloc   geometric mean of 3 workloads  resident_peak_bytes (lower is better)        6         -                    -  1.101 larger  1.081 to 1.115     -
    ");
    let broken = written(&Shape { broken: Some("jemalloc".to_owned()), ..several_workloads(&FOUR[..2]) });
    let said = compare(&[broken.path()], &["--metric", "resident_peak_bytes"]);
    assert_eq!(said.status, 3);
    assert!(!said.stdout.contains("geometric mean"), "jemalloc finished none: {}", said.stdout);
    assert!(said.stdout.contains("0 of 6"), "and is still in the table: {}", said.stdout);
    assert!(said.stderr.contains("three, jemalloc: 6 memory samples ended as timeout"), "{}", said.stderr);
}

#[test]
fn the_mean_over_workloads_is_the_one_that_the_report_says() {
    let directory = written(&Shape { blocks: 9, ..several_workloads(&FOUR[..2]) });
    let path = directory.path().join("samples.csv");
    let mut reader = csv::Reader::from_path(&path).expect("samples");
    let names = reader.headers().expect("a head").clone();
    let place = |name: &str| names.iter().position(|known| known == name).expect("a column");
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&names).expect("a row");
    for row in reader.records().map(|row| row.expect("a whole row")) {
        let mut row: Vec<String> = row.iter().map(str::to_owned).collect();
        let key = ["workload", "variant", "pass"].map(|name| row[place(name)].clone());
        let block: u64 = row[place("block")].parse().expect("a number");
        // The workloads differ, and one block lacks a workload.
        match [&*key[0], &*key[1], &*key[2]] {
            ["one", "jemalloc", "memory"] if block == 3 => continue,
            ["two", "jemalloc", "memory"] => {
                let cell = &mut row[place("resident_peak_bytes")];
                let bytes: u64 = cell.parse().expect("a number");
                *cell = (bytes * (90 + block * block) / 100).to_string();
            }
            _ => {}
        }
        writer.write_record(&row).expect("a row");
    }
    std::fs::write(&path, writer.into_inner().expect("whole")).expect("writable");

    let csv = compare(&[directory.path()], &["--metric", "resident_peak_bytes", "--format", "csv"]).stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<HashMap<String, String>> = reader.deserialize().map(|row| row.expect("a row")).collect();
    let mean = |row: &&HashMap<String, String>| row["workloads"] == "3" && row["variant"] == "jemalloc";
    let mean = rows.iter().find(mean).expect("a mean over three workloads");
    assert_eq!(mean["n"], "8", "{mean:?}");
    let number = |row: &HashMap<String, String>, name: &str| row[name].parse::<f64>().expect("a number");
    let [ratio, low, high] = ["ratio", "ratio_low", "ratio_high"].map(|name| number(mean, name));
    let of_one = number(&rows[1], "ratio");
    assert!(
        (ratio / of_one - 1.0).abs() > 0.01,
        "a workload's own would pass for the mean: {ratio} {of_one}"
    );

    let report = Command::cargo_bin("heaplab")
        .expect("the binary is built")
        .arg("report")
        .arg(directory.path())
        .output()
        .expect("it runs");
    assert_eq!(report.status.code(), Some(0), "{}", String::from_utf8_lossy(&report.stderr));
    let markdown = std::fs::read_to_string(directory.path().join("report.md")).expect("a report");
    let row = markdown.lines().find(|line| line.starts_with("| jemalloc | ")).expect("the means' row");
    let cell = format!("{ratio:.3} ({low:.3} to {high:.3})");
    assert_eq!(row.split(" | ").nth(2), Some(cell.as_str()), "{markdown}");
}

#[test]
fn the_rank_says_only_what_is_shown() {
    let ranks = |shape: &Shape| -> Vec<String> {
        let directory = written(shape);
        let json =
            compare(&[directory.path()], &["--metric", "resident_peak_bytes", "--format", "json"]).stdout;
        let rows: Vec<serde_json::Value> = serde_json::from_str(&json).expect("an array");
        rows.iter().map(|row| row["rank"].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(ranks(&shape(&FOUR, 10)), ["best", "-", "-", "-"]);
    assert_eq!(ranks(&shape(&FOUR, 5)), ["least", "-", "-", "-"]);
    let alike = ranks(&Shape { alike: true, ..shape(&FOUR[..3], 10) });
    assert_eq!(alike.iter().filter(|rank| *rank == "best").count(), 1, "{alike:?}");
    assert_eq!(alike.iter().filter(|rank| *rank == "level").count(), 2, "{alike:?}");
    let zero = ranks(&Shape { zero: true, ..shape(&FOUR[..2], 10) });
    assert_eq!(zero, ["best", "level"], "there is no ratio to zero");
    let failed = ranks(&Shape { broken: Some("ptmalloc2".to_owned()), ..shape(&FOUR[..2], 10) });
    assert_eq!(failed, ["-", "best"]);
}

#[test]
fn the_threshold_decides_what_is_named() {
    let directory = written(&shape(&FOUR[..2], 10));
    let metric = ["--metric", "resident_peak_bytes"];
    let said = compare(&[directory.path()], &metric);
    assert!(said.stdout.contains("larger"), "{}", said.stdout);
    let said = compare(&[directory.path()], &[metric[0], metric[1], "--threshold", "40%"]);
    assert!(
        said.stdout.contains("no difference shown") && !said.stdout.contains("larger"),
        "{}",
        said.stdout
    );
    let said = compare(&[directory.path()], &["--threshold", "much"]);
    assert_eq!(said.status, 2);
    assert!(said.stderr.contains("`much` is not a percentage"), "{}", said.stderr);
}

#[test]
fn names_that_the_run_does_not_have_are_answered_with_those_that_it_has() {
    let directory = written(&shape(&FOUR, 6));
    let said = compare(&[directory.path()], &["--metric", "speed"]);
    assert_eq!((said.status, said.stdout.as_str()), (2, ""));
    assert!(
        said.stderr.contains("no metric `speed`") && said.stderr.contains("resident_mean_bytes"),
        "{}",
        said.stderr
    );
    for directories in [&[directory.path()][..], &[directory.path(); 2][..]] {
        let said = compare(directories, &["--baseline", "dlmalloc"]);
        assert_eq!((said.status, said.stdout.as_str()), (2, ""));
        assert!(
            said.stderr.contains("`dlmalloc`") && said.stderr.contains("ptmalloc2, jemalloc"),
            "{}",
            said.stderr
        );
    }
}

#[test]
fn two_runs_stand_side_by_side_and_what_is_missing_is_named() {
    let old = written(&Shape {
        workloads: vec!["monitor-server".to_owned(), "gone".to_owned()],
        ..shape(&FOUR[..2], 10)
    });
    let new = written(&Shape { scale: 1.3, ..shape(&["ptmalloc2", "tcmalloc"], 10) });
    let said = compare(&[old.path(), new.path()], &[]);
    assert_eq!(said.status, 0);
    insta::assert_snapshot!(said.stdout, @r"
    variant    workload        metric                                   samples       old      new  new/old        interval                 verdict
    ptmalloc2  monitor-server  wall_ns_per_event (lower is better)    10 and 10   47.5 ns  61.8 ns    1.300  1.107 to 1.527                  slower
    jemalloc   monitor-server  wall_ns_per_event (lower is better)     10 and 0   54.2 ns        -        -               -  missing in the new run
    tcmalloc   monitor-server  wall_ns_per_event (lower is better)     0 and 10         -  70.5 ns        -               -  missing in the old run
    ptmalloc2  monitor-server  resident_peak_bytes (lower is better)  10 and 10  99.4 MiB  129 MiB    1.300  1.287 to 1.313                  larger
    jemalloc   monitor-server  resident_peak_bytes (lower is better)   10 and 0   109 MiB        -        -               -  missing in the new run
    tcmalloc   monitor-server  resident_peak_bytes (lower is better)   0 and 10         -  141 MiB        -               -  missing in the old run
    ptmalloc2  gone            wall_ns_per_event (lower is better)     10 and 0   47.5 ns        -        -               -  missing in the new run
    jemalloc   gone            wall_ns_per_event (lower is better)     10 and 0   54.2 ns        -        -               -  missing in the new run
    ptmalloc2  gone            resident_peak_bytes (lower is better)   10 and 0  99.4 MiB        -        -               -  missing in the new run
    jemalloc   gone            resident_peak_bytes (lower is better)   10 and 0   109 MiB        -        -               -  missing in the new run

    a difference is shown in 2 of 2 comparisons
    ");
    insta::assert_snapshot!(said.stderr, @r"
    heaplab: gone, jemalloc: missing in the new run: wall_ns_per_event, resident_peak_bytes
    heaplab: gone, ptmalloc2: missing in the new run: wall_ns_per_event, resident_peak_bytes
    heaplab: monitor-server, jemalloc: missing in the new run: wall_ns_per_event, resident_peak_bytes
    heaplab: monitor-server, tcmalloc: missing in the old run: wall_ns_per_event, resident_peak_bytes
    heaplab: two runs share no blocks: an interval covers the noise within each run, and not what changed on the machine between them; --baseline VARIANT compares ratios within blocks
    ");
}

#[test]
fn ratios_to_a_baseline_cancel_what_the_machine_did() {
    let old = written(&shape(&FOUR[..3], 10));
    let new = written(&Shape { scale: 1.3, ..shape(&FOUR[..3], 10) });
    let both = [old.path(), new.path()];
    let said = compare(&both, &["--fail-over", "5%"]);
    assert_eq!(said.status, 4);
    assert!(said.stdout.contains("a difference is shown in 6 of 6 comparisons"), "{}", said.stdout);
    let said = compare(&both, &["--fail-over", "5%", "--baseline", "ptmalloc2"]);
    assert_eq!((said.status, said.stderr.contains("share no blocks")), (0, false), "{}", said.stderr);
    insta::assert_snapshot!(said.stdout, @r"
    variant   workload        metric                                                     samples    old    new  new/old        interval              verdict
    jemalloc  monitor-server  wall_ns_per_event (lower is better), over ptmalloc2's    10 and 10  1.138  1.138    1.000  0.970 to 1.031  no difference shown
    tcmalloc  monitor-server  wall_ns_per_event (lower is better), over ptmalloc2's    10 and 10  1.300  1.300    1.000  0.990 to 1.010  no difference shown
    jemalloc  monitor-server  resident_peak_bytes (lower is better), over ptmalloc2's  10 and 10  1.102  1.102    1.000  0.986 to 1.014  no difference shown
    tcmalloc  monitor-server  resident_peak_bytes (lower is better), over ptmalloc2's  10 and 10  1.202  1.202    1.000  0.983 to 1.017  no difference shown

    a difference is shown in 0 of 4 comparisons
    ");
}

#[test]
fn what_differs_beside_the_figures_is_said() {
    let (old, new) = (written(&shape(&FOUR[..1], 6)), written(&shape(&FOUR[..1], 6)));
    edit(&new.path().join("run.toml"), |text| {
        text.replace("Example 9000", "Example 9001")
            .replace("touch = \"page\"", "touch = \"full\"")
            .replace("version = \"1.2.3\"", "version = \"1.3.0\"")
            .replace(&"ab".repeat(32), &"cd".repeat(32))
            .replace("heaplab_version = \"0.1.0\"", "heaplab_version = \"0.2.0\"")
            .replace("profile = \"release\"", "profile = \"debug\"")
    });
    let said = compare(&[old.path(), new.path()], &["--metric", "resident_peak_bytes"]);
    for what in [
        "the machines differ, and with them every figure of time: cpu Example 9000 against Example 9001",
        "other options: touch page against full",
        "heaplab itself differs: 0.1.0 in the old run, 0.2.0 in the new one",
        "the builds of heaplab differ: release and debug",
        "monitor-server: the runs did not replay the same program",
        "ptmalloc2: version 1.2.3 in the old run, 1.3.0 in the new one",
    ] {
        assert!(said.stderr.contains(what), "{what}: {}", said.stderr);
    }
    let said = compare(&[old.path(), old.path()], &[]);
    assert!(
        !said.stderr.contains("differ") && said.stdout.contains("in 0 of 2 comparisons"),
        "{}",
        said.stderr
    );
}

#[test]
fn runs_that_hold_little_are_compared_as_far_as_they_go() {
    let empty = written(&Shape { finished: false, ..shape(&FOUR, 0) });
    let whole = written(&shape(&FOUR, 6));
    let said = compare(&[empty.path()], &[]);
    assert_eq!((said.status, said.stdout.as_str()), (3, ""));
    assert!(said.stderr.contains("holds no sample: there is nothing to compare"), "{}", said.stderr);
    let said = compare(&[empty.path(), empty.path()], &[]);
    assert_eq!((said.status, said.stdout.as_str()), (3, ""));
    let said = compare(&[empty.path(), whole.path()], &[]);
    assert_eq!(said.status, 3, "the old run is not complete");
    assert_eq!(said.stdout.matches("missing in the old run").count(), 8, "{}", said.stdout);
    let one = written(&shape(&FOUR[..1], 6));
    assert_eq!(compare(&[one.path()], &[]).status, 0);
    let failed = written(&Shape { broken: Some("ptmalloc2".to_owned()), ..shape(&FOUR[..1], 6) });
    let said = compare(&[failed.path()], &[]);
    assert_eq!(said.status, 3);
    assert!(said.stdout.contains("0 of 6") && said.stderr.contains("ended as timeout"), "{}", said.stdout);
}

#[test]
fn runs_that_cannot_be_read_are_named() {
    let whole = written(&shape(&FOUR, 6));
    let broken = written(&shape(&FOUR, 6));
    let complaint_with = |status: i32| {
        let said = compare(&[whole.path(), broken.path()], &[]);
        assert_eq!((said.status, said.stdout.as_str()), (status, ""), "{}", said.stderr);
        said.stderr
    };
    let complaint = || complaint_with(1);
    let samples = broken.path().join("samples.csv");
    let content = fs::read_to_string(&samples).expect("readable");
    edit(&samples, |text| text.replacen(",resident_peak_bytes,", ",resident,", 1));
    assert!(complaint().contains("column `resident_peak_bytes` is missing"));
    edit(&samples, |_| content.replacen(",ok,", ",ok\n", 1));
    assert!(complaint().contains("samples.csv, line 2: "));
    fs::write(&samples, &content[..content.len() - 20]).expect("writable");
    let said = compare(&[whole.path(), broken.path()], &[]);
    assert_eq!(said.status, 0);
    assert!(said.stderr.contains("new run: the last row of samples.csv is cut off"), "{}", said.stderr);
    edit(&broken.path().join("run.toml"), |text| text.replacen("schema = 2", "schema = 9", 1));
    assert!(complaint_with(2).contains("schema 9 is newer than 2"));
    fs::remove_file(broken.path().join("run.toml")).expect("removable");
    assert!(complaint_with(2).contains("holds no run"));
}
