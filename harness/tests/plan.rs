//! `heaplab plan` as a process, on runs made by [`synthetic`] and on one that is measured.

mod kept;
mod loads;
mod pods;

use std::fs;
use std::path::Path;
use std::process::Output;

use heaplab::results::{Sample, columns};

use crate::support::heaplab;
use crate::support::rows::set_column;
use crate::support::synthetic::Shape;

const FOUR: [&str; 4] = ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc"];
const HOST: [&str; 4] = ["--host-memory", "1GiB", "--processes", "8"];

fn written(shape: &Shape) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    shape.write(directory.path());
    directory
}

fn plan(directory: &Path, arguments: &[&str]) -> Output {
    heaplab().arg("plan").arg(directory).args(arguments).output().expect("it runs")
}

/// Makes a variant's memory sample of the first block one that failed.
fn fail_first_block(directory: &Path, variant: &str) {
    let place = columns::<Sample>().iter().position(|name| *name == "block").expect("a column");
    set_column(directory, (variant, "memory"), "status", |row| {
        if &row[place] == "0" { "timeout" } else { "ok" }.to_owned()
    });
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// What it printed, with the run's directory replaced by RUN.
fn stdout_of(output: &Output, run: &Path) -> String {
    stdout(output).replace(&run.display().to_string(), "RUN")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Replaces the text of a file.
fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).expect("readable");
    fs::write(path, change(text)).expect("writable");
}

#[test]
fn the_plan_of_a_run_in_words() {
    let directory = written(&Shape::new(&["floor", "ptmalloc2", "jemalloc", "tcmalloc"], 10));
    let more = ["--host-cpus", "2", "--reserve", "64MiB", "--non-heap", "12MiB", "--shared", "8MiB"];
    let output = plan(directory.path(), &[&HOST[..], &more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let path = directory.path().join("plots/monitor-server-plan.png");
    insta::assert_snapshot!(stdout_of(&output, directory.path()));
    insta::assert_snapshot!(stderr(&output), @"");
    let image = fs::read(path).expect("a plot");
    assert_eq!(&image[..8], b"\x89PNG\r\n\x1a\n");
}

#[test]
fn cpu_bounds_a_plan_where_it_is_known() {
    let directory = written(&Shape::new(&["ptmalloc2", "jemalloc"], 10));
    let host = ["--host-memory", "64GiB", "--processes", "100", "--host-cpus", "8"];
    let unknown = stdout(&plan(directory.path(), &host));
    assert!(
        unknown.contains("memory only") && unknown.contains("so the plan covers memory only"),
        "{unknown}"
    );
    let known = stdout(&plan(directory.path(), &[&host[..], &["--process-cpus", "0.7"]].concat()));
    // 8 CPUs minus a fifth are 6.4: 9 processes of 0.7 each, however much memory is left.
    let row = known.lines().find(|line| line.starts_with("jemalloc")).expect("a row");
    let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells[3..5], ["9", "CPU"], "{row}");
    assert!(
        known.contains("Today's 100 processes do not fit under ptmalloc2 (a host would need 88 CPUs)"),
        "{known}"
    );
    let usage = plan(directory.path(), &[&host[..], &["--process-cpus", "0"]].concat());
    assert_eq!(usage.status.code(), Some(2), "{}", stderr(&usage));
}

#[test]
fn several_types_of_host_and_their_cpus() {
    let directory = written(&Shape::new(&FOUR[..2], 10));
    let hosts = [
        "--host-memory",
        "1GiB",
        "--processes",
        "8",
        "--host-memory",
        "16GiB",
        "--processes",
        "150",
        "--host-cpus",
        "2",
        "--host-cpus",
        "64",
        "--host-cost",
        "1",
        "--host-cost",
        "9.5",
        "--fleet",
        "3000",
        "--margin",
        "25%",
    ];
    let output = plan(directory.path(), &[&hosts[..], &["--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("a host of 16.0 GiB has 64 CPUs, but the run showed its allocators 2")
            && !stderr(&output).contains("1.00 GiB"),
        "{}",
        stderr(&output)
    );
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let hosts = document["hosts"].as_array().expect("rows");
    assert_eq!(hosts.len(), 4);
    for row in hosts {
        let number = |name: &str| row[name].as_f64().expect("a number");
        let fits = ((number("host_memory_bytes") - number("shared_bytes")) / number("planned_bytes")).floor();
        assert_eq!(number("fits"), fits, "{row}");
        assert_eq!(number("hosts"), (3000.0 / fits).ceil(), "{row}");
        let cost = if number("host_memory_bytes") > 2e9 { 9.5 } else { 1.0 };
        assert_eq!(number("cost"), number("hosts") * cost, "{row}");
        let with_margin = number("process_high_bytes") * 1.25;
        assert!((number("planned_bytes") - with_margin).abs() <= 2.0, "{row}");
        assert!(
            number("page_table_bytes") == 300.0 * 1024.0
                && number("process_low_bytes") <= number("process_bytes")
        );
    }
    assert!(document["assumptions"].as_array().expect("sentences").len() >= 5);
    let csv = stdout(&plan(directory.path(), &[&HOST[..], &["--format", "csv"]].concat()));
    assert!(csv.starts_with("workload,variant,host_memory_bytes,") && csv.lines().count() == 3, "{csv}");
    let markdown = stdout(&plan(directory.path(), &[&HOST[..], &["--format", "markdown"]].concat()));
    assert!(
        markdown.starts_with(
            "### monitor-server on hosts of 1.00 GiB, 8 processes each today, 800 in all\n\n| variant |"
        ),
        "{markdown}"
    );
    assert!(
        markdown.contains("### Assumptions\n\n- For a process whose heap was replayed, the plan counts "),
        "{markdown}"
    );
}

#[test]
fn what_a_run_lacks_is_said() {
    let told = |shape: &Shape, status: i32| {
        let directory = written(shape);
        let output = plan(directory.path(), &[&HOST[..], &["--columns", "all"]].concat());
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    let (out, _) = told(&Shape::new(&FOUR[..2], 5), 0);
    assert!(out.contains("a verdict takes 6 blocks, and there are 5."), "{out}");
    assert!(out.lines().nth(4).is_some_and(|line| line.contains("too few")), "{out}");

    let (out, said) = told(&Shape { broken: Some("jemalloc".to_owned()), ..Shape::new(&FOUR[..2], 6) }, 3);
    assert!(
        said.contains(
            "monitor-server, jemalloc: 6 memory samples are not ok, and not counted: no end after 600 s, stopped"
        ),
        "{said}"
    );
    let row = out.lines().nth(4).expect("a row");
    assert!(row.starts_with("jemalloc ") && row.contains("0 of 6"), "{out}");

    let (out, _) = told(&Shape { broken: Some("ptmalloc2".to_owned()), ..Shape::new(&FOUR[..1], 6) }, 3);
    assert!(
        out.contains("No variant was measured.")
            && out.contains("Not one process fits under a variant whose samples are all ok."),
        "{out}"
    );

    let (out, _) = told(&Shape::new(&["jemalloc"], 6), 0);
    assert!(out.contains("there is no baseline to compare it with"), "{out}");

    let (_, said) = told(&Shape { finished: false, ..Shape::new(&FOUR[..1], 6) }, 3);
    assert!(said.contains("the run was interrupted"), "{said}");

    let (_, said) = told(&Shape { has_times: false, ..Shape::new(&FOUR[..1], 6) }, 0);
    assert!(said.contains("the trace has no times"), "{said}");

    let (out, _) = told(&Shape { alike: true, ..Shape::new(&FOUR, 10) }, 0);
    assert!(out.matches("no difference").count() >= 3, "{out}");

    let (out, _) = told(&Shape { zero: true, ..Shape::new(&FOUR[..1], 6) }, 0);
    assert!(out.contains("ptmalloc2"), "{out}");
    let (out, _) = told(&Shape { scale: 1e9, ..Shape::new(&FOUR[..1], 6) }, 0);
    assert!(
        out.contains("Not one process fits")
            && out.contains("do not fit under ptmalloc2 (a host would need "),
        "{out}"
    );
}

#[test]
fn runs_that_cannot_be_planned_with_are_named() {
    let empty = written(&Shape { finished: false, ..Shape::new(&FOUR, 0) });
    let output = plan(empty.path(), &HOST);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert!(
        stderr(&output).contains("holds no memory sample: measure with `heaplab run --pass memory`"),
        "{}",
        stderr(&output)
    );

    let directory = written(&Shape::new(&FOUR[..2], 6));
    let path = directory.path();
    let toml = fs::read_to_string(path.join("run.toml")).expect("readable");
    let samples = fs::read_to_string(path.join("samples.csv")).expect("readable");
    let fails_with = |status: i32, told: &str| {
        let output = plan(path, &HOST);
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        assert!(stderr(&output).contains(told), "{told}: {}", stderr(&output));
    };
    let fails = |told: &str| fails_with(1, told);
    edit(&path.join("run.toml"), |text| text.replacen("schema = 2", "schema = 99", 1));
    fails_with(2, "run.toml: schema 99 is newer than 2");
    fs::write(path.join("run.toml"), &toml).expect("writable");
    edit(&path.join("samples.csv"), |text| text.replacen("page_table_bytes", "tables", 1));
    fails("samples.csv: column `page_table_bytes` is missing");
    fs::write(path.join("samples.csv"), &samples).expect("writable");
    edit(&path.join("timeline.csv"), |text| text.replacen("resident_bytes", "resident", 1));
    fails("timeline.csv: column `resident_bytes` is missing");
    edit(&path.join("timeline.csv"), |text| {
        text.replacen("resident", "resident_bytes", 1).replacen(",150000000,", ",x,", 1)
    });
    fails("timeline.csv, line 3: column `time_ns`: \"x\" is not a number");

    fs::remove_file(path.join("timeline.csv")).expect("removable");
    let output = plan(path, &HOST);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("timeline.csv is missing"), "{}", stderr(&output));
    assert!(stderr(&output).contains("timeline.csv has no point of 6 memory samples"), "{}", stderr(&output));
    assert!(stdout(&output).contains("No variant was measured"), "{}", stdout(&output));
}

#[test]
fn a_torn_row_leaves_its_sample_out_or_the_point() {
    let directory = written(&Shape::new(&FOUR[..2], 7));
    for name in ["samples.csv", "timeline.csv"] {
        edit(&directory.path().join(name), |text| text[..text.len() - 9].to_owned());
    }
    let output = plan(directory.path(), &[&HOST[..], &["--columns", "all"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("the last row of samples.csv is cut off"), "{}", stderr(&output));
    let cell = |line: usize| {
        stdout(&output).lines().nth(line).expect("a row").split_whitespace().nth(1).map(str::to_owned)
    };
    assert_eq!((cell(3).as_deref(), cell(4).as_deref()), (Some("7"), Some("6")), "{}", stdout(&output));
}

#[test]
fn a_run_of_an_earlier_heaplab_has_no_page_tables_of_its_own() {
    let directory = written(&Shape::new(&FOUR[..2], 6));
    edit(&directory.path().join("samples.csv"), |text| {
        let names: Vec<&str> = text.lines().next().expect("a head").split(',').collect();
        let is_later = |at: usize| matches!(names[at], "page_table_harness_bytes" | "library_file_bytes");
        let cut = |line: &str| {
            let cells = line.split(',').enumerate().filter(|(at, _)| !is_later(*at)).map(|(_, cell)| cell);
            cells.collect::<Vec<_>>().join(",") + "\n"
        };
        text.lines().map(cut).collect()
    });
    let output = plan(directory.path(), &HOST);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("page tables include the harness's own"), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("shared pages of the allocator's library were not measured"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_host_that_is_a_little_too_small_does_not_read_as_large_enough() {
    let directory = written(&Shape { checkpoints: 60, ..Shape::new(&FOUR[..1], 6) });
    let json = stdout(&plan(directory.path(), &[&HOST[..], &["--format", "json"]].concat()));
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let needed = document["hosts"][0]["today_bytes"].as_u64().expect("measured");
    let said = |memory: u64| {
        let memory = format!("{memory}B");
        stdout(&plan(directory.path(), &["--host-memory", &memory, "--processes", "8"]))
    };
    let little = said(needed - 4096);
    assert!(
        little.contains("do not fit under ptmalloc2 (a host would need 4.00 KiB more than it has)"),
        "{little}"
    );
    assert!(said(needed + 4096).contains("Today's 8 processes fit under every variant measured."));
    let much = said(needed / 2);
    assert!(much.contains("a host would need ") && !much.contains("more than it has"), "{much}");
}

#[test]
fn a_program_that_ran_is_planned_with_as_it_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = ["awk", "BEGIN { for (i = 0; i < 4000000; i++) seen[i] = i }"];
    let mut command = heaplab();
    command.current_dir(directory.path()).args(["exec", "--reps", "2", "-a", "ptmalloc2", "-o", "out", "--"]);
    command.args(program).assert().success();
    let out = directory.path().join("out");
    let asked = ["--non-heap", "100MiB", "--format", "json"];
    let output = plan(&out, &[&HOST[..], &asked].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("--non-heap is not added, because the memory is the program's own"),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains("no times"), "{}", stderr(&output));
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let row = &document["hosts"][0];
    assert_eq!((row["basis"].as_str(), row["n"].as_u64()), (Some("program"), Some(2)), "{row}");
    let bytes = row["process_bytes"].as_u64().expect("measured");
    assert!((20 << 20..2 << 30).contains(&bytes), "{row}");
    assert_eq!(row["non_heap_bytes"].as_u64(), Some(0));
}

#[test]
fn mistakes_are_usage_errors() {
    let directory = written(&Shape::new(&FOUR[..2], 6));
    for (arguments, told) in [
        (&[][..], "no host is named: give --host-memory"),
        (
            &["--host-memory", "16GiB", "--host-memory", "8GiB", "--processes", "1"],
            "2 --host-memory and 1 --processes",
        ),
        (&["--per-connection"], "its load is not known: say it for each directory, --load 100=DIR"),
        (&["--host-memory", "16GiB", "--at", "300"], "--at takes loads"),
        (&["--host-memory", "16GiB", "--name", "../x"], "no name of a plan"),
        (&["--host-memory", "16", "--processes", "1"], "\"16\" is not a size with its unit"),
        (&["--host-memory", "16GiB", "--processes", "0"], "--processes is 0"),
        (
            &["--host-memory", "1MiB", "--processes", "1", "--reserve", "1GiB"],
            "has nothing left for processes",
        ),
        (&["--host-memory", "0B", "--processes", "1"], "has nothing left for processes"),
        (&["--host-memory", "16GiB", "--processes", "1", "--host-cost", "nan"], "--host-cost is NaN"),
        (
            &["--host-memory", "16GiB", "--processes", "1", "--host-cost", "1", "--host-cost", "2"],
            "2 --host-cost for 1 types",
        ),
        (&["--host-memory", "16GiB", "--processes", "1", "--host-cpus", "0"], "0 is not in 1..=1024"),
        (
            &["--host-memory", "16GiB", "--processes", "1", "--margin", "0.1"],
            "no percentage: write it such as 10%",
        ),
        (&["--host-memory", "16GiB", "--processes", "1", "--margin", "-5%"], "--margin is -5%"),
        (&["--host-memory", "16GiB", "--processes", "1", "--fleet", "0"], "--fleet is 0"),
        (
            &["--host-memory", "16GiB", "--processes", "1", "--baseline", "x"],
            "no variant `x` in this run to be the baseline: it has jemalloc, ptmalloc2",
        ),
    ] {
        let output = plan(directory.path(), arguments);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr(&output).contains(told), "{arguments:?}: {}", stderr(&output));
    }
    let output = plan(Path::new("/no/such/run"), &HOST);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/no/such/run holds no run"), "{}", stderr(&output));
}

#[test]
fn where_samples_failed_nothing_is_saved_and_variants_are_left_out_by_name() {
    let directory = written(&Shape { checkpoints: 60, ..Shape::new(&FOUR[..2], 10) });
    let ask = |more: &[&str]| {
        let arguments = [&["--host-memory", "16GiB"][..], more].concat();
        stdout(&plan(directory.path(), &arguments))
    };
    assert!(!ask(&["--fleet", "1000"]).contains("left out"));
    fail_first_block(directory.path(), "ptmalloc2");
    for more in [&["--fleet", "1000"][..], &[]] {
        let text = ask(more);
        let told = "nothing to compare it with, because samples of the baseline, ptmalloc2, failed. ptmalloc2 is left out";
        assert!(text.contains(told) && !text.contains("which saves"), "{text}");
        let row = text.lines().find(|line| line.starts_with("jemalloc ")).expect("a row");
        assert!(!row.ends_with('%'), "no saving over a baseline that failed: {row}");
    }
    let pods = ["--pods", "--node-memory", "64GiB", "--replicas", "200", "--odds", "5%"];
    let text = stdout(&plan(directory.path(), &pods));
    assert!(text.contains("ptmalloc2 is left out, because samples of it failed. Request "), "{text}");
}
