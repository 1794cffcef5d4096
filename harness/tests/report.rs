//! Run directories and reports, as files and as a process. Every run here is made by [`synthetic`].

mod browser;
mod flawed;
mod loading;
mod pages;
mod speed;
mod tables;

use std::fs;
use std::path::Path;

use crate::support::rows::set_column;
use crate::support::synthetic::Shape;
use assert_cmd::Command;
use heaplab::design::{ExecOptions, ReplayOptions, RunOptions};
use heaplab::report::{Analysis, Columns, Style, SummaryRow, answer_run, print_table, write_report};
use heaplab::results::{
    HeapMapCell, LatencyBucket, Pass, RecordedPoint, RequestRow, ResultsError, RunBuild, RunDirectory,
    RunFile, RunMachine, RunTree, RunVariant, RunWorkload, Sample, SizeRow, StatsRow, Status, TimelinePoint,
    columns, load,
};
use proptest::prelude::*;

const FOUR: [&str; 4] = ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc"];

fn written(shape: &Shape) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    shape.write(directory.path());
    directory
}

fn report(directory: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("heaplab").expect("the binary is built");
    command.arg("report").arg(directory).args(arguments).output().expect("it runs")
}

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn answers(directory: &Path) -> String {
    let run = load(directory).expect("a run");
    let answer = answer_run(&Analysis::new(&run, None).expect("an analysis"));
    answer.all().map(String::as_str).collect::<Vec<&str>>().join("\n")
}

/// Replaces the text of a file.
fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).expect("readable");
    fs::write(path, change(text)).expect("writable");
}

#[test]
fn every_column_is_described_in_order() {
    let readme = include_str!("../../results/README.md");
    let described = |title: &str| -> Vec<String> {
        let start = readme.find(&format!("{title}\n")).unwrap_or_else(|| panic!("{title} is missing"));
        let section = &readme[start + title.len()..];
        let section = &section[..section.find("\n#").unwrap_or(section.len())];
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| row.split('`').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(described("## samples.csv"), columns::<Sample>());
    assert_eq!(described("## timeline.csv"), columns::<TimelinePoint>());
    assert_eq!(described("## latency.csv"), columns::<LatencyBucket>());
    assert_eq!(described("## recorded.csv"), columns::<RecordedPoint>());
    assert_eq!(described("## heapmap.csv"), columns::<HeapMapCell>());
    assert_eq!(described("## sizes.csv"), columns::<SizeRow>());
    assert_eq!(described("## requests.csv"), columns::<RequestRow>());
    assert_eq!(described("## stats.csv"), columns::<StatsRow>());
    assert_eq!(described("## summary.csv"), columns::<SummaryRow>());
    assert_eq!(described("## run.toml"), columns::<RunFile>());
    assert_eq!(described("### build"), columns::<RunBuild>());
    assert_eq!(described("### options"), columns::<RunOptions>());
    assert_eq!(described("### options.replay"), columns::<ReplayOptions>());
    assert_eq!(described("### options.exec"), columns::<ExecOptions>());
    assert_eq!(described("### workloads"), columns::<RunWorkload>());
    assert_eq!(described("### trees"), columns::<RunTree>());
    assert_eq!(described("### variants"), columns::<RunVariant>());
    assert_eq!(described("### machines"), columns::<RunMachine>());
}

#[test]
fn every_metric_of_a_summary_is_described() {
    let readme = include_str!("../../results/README.md");
    let variants = [&FOUR[..], &["floor"]].concat();
    let directory = written(&Shape { harness_ns: Some(2.0), ..Shape::new(&variants, 2) });
    let run = load(directory.path()).expect("a run");
    let analysis = Analysis::new(&run, None).expect("an analysis");
    for metric in ["malloc_touch_p99_9_ns", "allocator_ns_per_event"] {
        assert!(analysis.summary.iter().any(|row| row.metric == metric), "{metric}");
    }
    for row in &analysis.summary {
        let general = match row.pass {
            Pass::Latency => {
                let (_, figure) =
                    row.metric.split_once("_call_").or(row.metric.split_once("_touch_")).expect("a scope");
                format!("OPERATION_SCOPE_{figure}")
            }
            _ => row.metric.clone(),
        };
        assert!(readme.contains(&format!("`{general}`")), "{} is not in results/README.md", row.metric);
    }
}

#[test]
fn the_header_of_summary_csv_is_that_of_its_rows() {
    let directory = written(&Shape::new(&FOUR, 6));
    let run = load(directory.path()).expect("a run");
    let row: SummaryRow = Analysis::new(&run, None).expect("an analysis").summary.remove(0);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(row).expect("a row");
    let text = String::from_utf8(writer.into_inner().expect("in memory")).expect("UTF-8");
    assert_eq!(text.lines().next(), Some(columns::<SummaryRow>().join(",").as_str()));
}

#[test]
fn what_is_written_is_read_back() {
    let shape = Shape { broken: Some("jemalloc".to_owned()), ..Shape::new(&FOUR, 2) };
    let directory = written(&shape);
    let run = load(directory.path()).expect("a run");
    assert_eq!(run.file, RunFile { finished: true, ..shape.file() });
    assert_eq!(run.samples.len(), 2 * 4 * 3);
    let failed: Vec<&Sample> = run.samples.iter().filter(|sample| sample.status == Status::Timeout).collect();
    assert_eq!(failed.len(), 2 * 3);
    assert_eq!(failed[0].status_detail.as_deref(), Some("no end after 600 s, stopped"), "a row is a line");
    assert_eq!(failed[0].wall_ns, None, "not measured is not zero");
    let mut points = 0;
    assert!(run.each_timeline_point(|_, _| points += 1).expect("readable").is_empty());
    assert_eq!(points, 2 * 3 * shape.checkpoints);
}

#[test]
fn a_directory_that_holds_a_run_is_refused() {
    let shape = Shape::new(&FOUR, 1);
    let directory = written(&shape);
    let before = fs::read(directory.path().join("samples.csv")).expect("readable");
    let error = RunDirectory::create(directory.path(), shape.file()).expect_err("it holds a run");
    assert!(matches!(error, ResultsError::HoldsRun { .. }));
    assert!(error.to_string().contains("--resume"), "{error}");
    assert_eq!(fs::read(directory.path().join("samples.csv")).expect("readable"), before);
}

#[test]
fn one_process_at_a_time_writes_a_run() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let _first = RunDirectory::create(directory.path(), Shape::new(&FOUR, 1).file()).expect("a new run");
    let error = RunDirectory::resume(directory.path()).expect_err("it is open");
    assert!(matches!(error, ResultsError::InUse { .. }), "{error}");
}

#[test]
fn a_resumed_run_counts_nothing_twice() {
    let directory = written(&Shape { finished: false, ..Shape::new(&["ptmalloc2"], 2) });
    let path = directory.path();
    let buckets_before = fs::read_to_string(path.join("latency.csv")).expect("readable").lines().count();
    let points_before = fs::read_to_string(path.join("timeline.csv")).expect("readable").lines().count();
    // The worker of the last sample (memory, block 1) never got to write its row, and a bucket is torn.
    edit(&path.join("samples.csv"), |text| text.lines().take(6).map(|line| format!("{line}\n")).collect());
    edit(&path.join("latency.csv"), |text| text + "20300131T1200");

    let mut run = RunDirectory::resume(path).expect("it continues");
    assert_eq!(run.done().len(), 5);
    assert!(!run.done().iter().any(|key| key.block == 1 && key.pass == Pass::Memory));
    let shape = Shape::new(&["ptmalloc2"], 2);
    shape.append_all(&mut run, |key| key.block == 1 && key.pass == Pass::Memory);
    run.finish().expect("run.toml is written");
    drop(run);

    let read = load(path).expect("a run");
    assert!(read.notes.is_empty(), "{:?}", read.notes);
    assert_eq!(read.samples.len(), 6);
    assert_eq!(
        fs::read_to_string(path.join("latency.csv")).expect("readable").lines().count(),
        buckets_before
    );
    assert_eq!(
        fs::read_to_string(path.join("timeline.csv")).expect("readable").lines().count(),
        points_before
    );
}

#[test]
fn the_last_row_of_a_sample_counts() {
    let directory = written(&Shape { broken: Some("jemalloc".to_owned()), ..Shape::new(&FOUR, 2) });
    let mut run = RunDirectory::resume(directory.path()).expect("it continues");
    assert_eq!(run.done().len(), 2 * 3 * 3);
    Shape::new(&FOUR, 2).append_all(&mut run, |key| key.variant == "jemalloc");
    run.finish().expect("run.toml is written");
    drop(run);
    let run = load(directory.path()).expect("a run");
    assert_eq!(run.samples.len(), 2 * 4 * 3);
    assert!(run.samples.iter().all(|sample| sample.status == Status::Ok));
}

#[test]
fn torn_last_rows_are_left_out_and_reported() {
    let directory = written(&Shape::new(&FOUR, 1));
    let path = directory.path();
    for name in ["samples.csv", "timeline.csv", "latency.csv", "heapmap.csv"] {
        edit(&path.join(name), |text| text[..text.len() - 9].to_owned());
    }
    let run = load(path).expect("a smaller run");
    assert_eq!(run.samples.len(), 11);
    let analysis = Analysis::new(&run, None).expect("an analysis");
    let notes = write_report(&analysis).expect("a report").notes;
    for name in ["samples.csv", "timeline.csv", "latency.csv", "heapmap.csv"] {
        assert!(notes.contains(&format!("the last row of {name} is cut off, and was left out")), "{notes:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let directory = written(&Shape::new(&FOUR, 1));
    let path = directory.path();
    let samples = fs::read_to_string(path.join("samples.csv")).expect("readable");
    let toml = fs::read_to_string(path.join("run.toml")).expect("readable");
    let message = || load(path).expect_err("it cannot be read").to_string();

    fs::write(path.join("samples.csv"), samples.replacen("wall_ns", "wall", 1)).expect("writable");
    assert!(
        message().ends_with("samples.csv: column `wall_ns` is missing from its first line"),
        "{}",
        message()
    );

    let cut: Vec<String> = samples
        .lines()
        .enumerate()
        .map(|(at, line)| line[..if at == 2 { 30 } else { line.len() }].to_owned() + "\n")
        .collect();
    fs::write(path.join("samples.csv"), cut.concat()).expect("writable");
    assert!(message().contains("samples.csv, line 3: "), "{}", message());

    fs::write(path.join("samples.csv"), samples.replacen(",ok,", ",fine,", 1)).expect("writable");
    assert!(message().contains("samples.csv, line 2: ") && message().contains("fine"), "{}", message());
    fs::write(path.join("samples.csv"), &samples).expect("writable");

    fs::write(path.join("run.toml"), toml.replacen("schema = 2", "schema = 7", 1)).expect("writable");
    assert!(message().contains("run.toml: schema 7 is newer than 2"), "{}", message());

    fs::write(path.join("run.toml"), &toml[..40]).expect("writable");
    assert!(message().contains("run.toml: "), "{}", message());

    fs::remove_file(path.join("run.toml")).expect("removable");
    let advice = ": name the directory that `heaplab run -o` wrote";
    let ending = format!("holds no run: it has no run.toml{advice}");
    assert!(message().ends_with(&ending), "{}", message());
    let output = report(path, &[]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    assert!(stderr(&output).contains("holds no run"), "{}", stderr(&output));
    for (other, why) in [("none", "there is no such directory"), ("samples.csv", "it is no directory")] {
        let path = path.join(other);
        let said = format!("heaplab: {} holds no run: {why}{advice}\n", path.display());
        assert_eq!(stderr(&report(&path, &[])), said);
    }
}

#[test]
fn a_report_is_complete_and_says_so() {
    let directory = written(&Shape::new(&FOUR, 10));
    let output = report(directory.path(), &["--list-files"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert!(text.contains("ptmalloc2 needs the least resident memory at its peak"), "{text}");
    assert!(text.contains("ptmalloc2 is the fastest"), "{text}");
    let markdown = fs::read_to_string(directory.path().join("report.md")).expect("a report");
    assert!(markdown.contains("heaplab run monitor-server -o 'a directory'"), "the command to repeat");
    assert!(markdown.contains("THP is always") && markdown.contains("Example 9000"));
    let kinds = [
        "throughput",
        "ratio",
        "pareto",
        "memory",
        "fragmentation",
        "heap",
        "settled",
        "latency",
        "latency-touch",
    ];
    for kind in kinds {
        let name = format!("plots/monitor-server-{kind}.png");
        assert!(markdown.contains(&format!("({name})")), "{name}");
        let image = fs::read(directory.path().join(&name)).expect("a plot");
        assert_eq!(&image[..8], b"\x89PNG\r\n\x1a\n");
        let side = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().expect("four bytes"));
        assert_eq!(side(16), 1200);
        assert!((250..4000).contains(&side(20)), "{name}: {}", side(20));
        assert!(text.contains(&name), "{text}");
    }
    // Otherwise the last line printed says where the report is, and nothing hides the answer.
    let brief = stdout(&report(directory.path(), &[]));
    let last: Vec<&str> = brief.lines().rev().take(4).collect();
    let page = directory.path().join("report.html");
    assert_eq!(last[..3], [&*directory.path().to_string_lossy(), &*page.to_string_lossy(), ""]);
    assert!(last[3].starts_with("Ranges in brackets are confidence intervals"), "{brief}");
}

#[test]
fn every_shape_of_run_is_reported() {
    let eight = [
        "ptmalloc2",
        "ptmalloc2:MALLOC_ARENA_MAX=2",
        "jemalloc",
        "a|b*c",
        "tcmalloc",
        "mimalloc",
        "x",
        "floor",
    ];
    let base = Shape { checkpoints: 50, ..Shape::new(&FOUR[..2], 6) };
    let shapes = [
        Shape { checkpoints: 30, broken: Some("x".to_owned()), has_times: false, ..Shape::new(&eight, 6) },
        Shape { checkpoints: 1, ..Shape::new(&["jemalloc"], 1) },
        Shape { scale: 1e9, ..base.clone() },
        Shape { scale: 1e-9, ..base.clone() },
        Shape { zero: true, ..base.clone() },
        Shape { workloads: vec!["a".to_owned(), "../b c".to_owned()], ..base.clone() },
        Shape { broken: Some("ptmalloc2".to_owned()), ..Shape::new(&["ptmalloc2"], 2) },
    ];
    for shape in shapes {
        let directory = written(&shape);
        let run = load(directory.path()).expect("a run");
        let analysis = Analysis::new(&run, None).expect("an analysis");
        let report = write_report(&analysis).unwrap_or_else(|error| panic!("{shape:?}: {error}"));
        let outside =
            report.plots.iter().any(|plot| plot.path.parent() != Some(&directory.path().join("plots")));
        assert!(!outside, "{:?}", report.plots);
        assert_eq!(report.plots.is_empty(), shape.broken.is_some() && shape.variants.len() == 1);
    }
}

#[test]
fn an_empty_run_says_that_it_is_empty() {
    let directory = written(&Shape { finished: false, ..Shape::new(&FOUR, 0) });
    let output = report(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("The run holds no sample"), "{}", stdout(&output));
    assert!(stderr(&output).contains("interrupted"), "{}", stderr(&output));
}

#[test]
fn failed_samples_are_counted_and_named() {
    let directory = written(&Shape { broken: Some("ptmalloc2".to_owned()), ..Shape::new(&FOUR[..2], 6) });
    let output = report(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(3));
    let line = "monitor-server, ptmalloc2: 6 throughput samples ended as timeout";
    assert!(stderr(&output).contains(line), "{}", stderr(&output));
    // All passes failed in the same way: the reason appears once.
    assert_eq!(stderr(&output).matches("no end after 600 s, stopped").count(), 1, "{}", stderr(&output));
    assert!(stdout(&output).contains("only jemalloc finished every sample"), "{}", stdout(&output));
    let summary = fs::read_to_string(directory.path().join("summary.csv")).expect("a summary");
    assert!(
        summary.contains("monitor-server,ptmalloc2,memory,resident_peak_bytes,0,6,,,,,,,,,,\n"),
        "{summary}"
    );
    let only = written(&Shape { broken: Some("ptmalloc2".to_owned()), ..Shape::new(&["ptmalloc2"], 6) });
    assert!(answers(only.path()).contains("no variant finished every sample, so none is named"));
}

#[test]
fn few_blocks_give_no_verdict() {
    let directory = written(&Shape::new(&FOUR, 5));
    let text = answers(directory.path());
    assert_eq!(text.matches("too few blocks for a verdict (5, and it takes 6)").count(), 2, "{text}");
    let run = load(directory.path()).expect("a run");
    let analysis = Analysis::new(&run, None).expect("an analysis");
    assert!(analysis.summary.iter().all(|row| row.low.is_none() && row.ratio_low.is_none()));
}

#[test]
fn variants_that_are_alike_show_no_difference() {
    let directory = written(&Shape { alike: true, ..Shape::new(&FOUR, 10) });
    let text = answers(directory.path());
    assert_eq!(text.matches("is shown").count(), 2, "{text}");
}

#[test]
fn floor_is_never_ranked() {
    let directory = written(&Shape::new(&["floor", "ptmalloc2", "jemalloc"], 10));
    let text = answers(directory.path());
    assert!(text.contains("ptmalloc2 is the fastest") && !text.contains("floor"), "{text}");
}

#[test]
fn a_baseline_must_be_in_the_run() {
    let directory = written(&Shape::new(&["jemalloc", "mimalloc"], 6));
    let output = report(directory.path(), &["--baseline", "ptmalloc3"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("no variant `ptmalloc3`") && stderr(&output).contains("jemalloc, mimalloc")
    );
    let run = load(directory.path()).expect("a run");
    let without = Analysis::new(&run, None).expect("an analysis");
    assert!(without.baseline.is_none() && without.summary.iter().all(|row| row.ratio.is_none()));
    let with = Analysis::new(&run, Some("mimalloc")).expect("an analysis");
    let row = with.row("monitor-server", "jemalloc", "wall_ns_per_event").expect("measured");
    assert!(row.ratio.is_some_and(|ratio| ratio < 1.0) && row.verdict.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever a file holds, it is read, or refused with a message that names it.
    #[test]
    fn damaged_files_never_panic(
        file in 0usize..5,
        at in 0.0f64..1.0,
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let name = ["samples.csv", "timeline.csv", "latency.csv", "heapmap.csv", "run.toml"][file];
        let directory = written(&Shape { checkpoints: 5, ..Shape::new(&FOUR[..1], 1) });
        let path = directory.path().join(name);
        let mut content = fs::read(&path).expect("readable");
        let place = (at * content.len() as f64) as usize;
        content[place] = byte;
        if cut {
            content.truncate(place);
        }
        fs::write(&path, content).expect("writable");
        let outcome = load(directory.path()).map_err(|error| error.to_string()).and_then(|run| {
            let analysis = Analysis::new(&run, None).map_err(|error| error.to_string())?;
            print_table(&analysis, Columns::All, &mut Vec::new(), Style { ruled: true, colour: true }).expect("in memory");
            run.each_timeline_point(|_, _| ())
                .and_then(|_| run.each_heap_cell(|_, _, _| ()))
                .map(|_| answer_run(&analysis))
                .map_err(|error| error.to_string())
        });
        if let Err(message) = outcome {
            prop_assert!(message.contains(name), "{}", message);
        }
    }
}

#[test]
fn huge_pages_that_make_up_resident_memory_are_noted() {
    let directory = written(&Shape::new(&["ptmalloc2", "mimalloc"], 6));
    let place = columns::<Sample>().iter().position(|name| *name == "resident_end_bytes").expect("a column");
    let share =
        |part: u64| move |row: &csv::StringRecord| (row[place].parse::<u64>().unwrap() / part).to_string();
    set_column(directory.path(), ("mimalloc", "memory"), "anon_huge_bytes", share(2));
    set_column(directory.path(), ("ptmalloc2", "memory"), "anon_huge_bytes", share(10));
    let run = load(directory.path()).expect("a run");
    let notes = Analysis::new(&run, None).expect("an analysis").notes.join("\n");
    assert!(notes.contains("mimalloc") && notes.contains("transparent huge pages"), "{notes}");
    assert!(!notes.contains("ptmalloc2"), "a tenth is not worth a note: {notes}");
}
