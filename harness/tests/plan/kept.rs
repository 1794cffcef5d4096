//! Questions kept in a run, and how its report answers them.

use std::fs;

use super::{FOUR, HOST, edit, plan, stderr, stdout, written};
use crate::support::heaplab;
use crate::support::synthetic::Shape;

#[test]
fn a_plan_that_was_made_is_in_the_report() {
    let directory = written(&Shape { checkpoints: 60, ..Shape::new(&FOUR[..3], 8) });
    let report = || {
        let output = heaplab().arg("report").arg(directory.path()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).expect("written");
        (output, read("report.md"), read("report.html"))
    };
    let (_, markdown, html) = report();
    assert!(!markdown.contains("## Plan") && !html.contains("id=\"plan\""), "there was none");

    let asked =
        ["--non-heap", "12MiB", "--baseline", "jemalloc", "--host-memory", "16GiB", "--processes", "1"];
    let said = stdout(&plan(directory.path(), &[&HOST[..], &asked].concat()));
    let (output, markdown, html) = report();
    let section = markdown.split("\n## Plan\n").nth(1).expect("a plan");
    let section = section.split("\n## ").next().unwrap_or_default();
    insta::assert_snapshot!(section);
    for (at, heading) in said.lines().enumerate().filter(|(_, line)| line.starts_with("monitor-server on ")) {
        // Three variants under a header; the answers of the table are below it.
        let answer = said
            .lines()
            .nth(at + 7)
            .expect("an answer")
            .replacen("The", "the", 1)
            .replacen("Those", "those", 1);
        let sentence = format!("{heading}: {answer}");
        // The report begins with the answer.
        let top = markdown.split("\nThe run:\n").next().unwrap_or_default();
        assert!(top.contains(&format!("- {sentence}\n")), "{sentence}\n{markdown}");
        assert!(html.contains(&sentence), "{sentence}");
    }
    // The report answers with the plan's figures: 12 MiB outside the heap are in both.
    let csv = stdout(&plan(directory.path(), &[&HOST[..], &asked, &["--format", "csv"]].concat()));
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<std::collections::HashMap<String, String>> =
        reader.deserialize().map(|row| row.expect("a row")).collect();
    let least = rows.iter().find(|row| row["variant"] == "ptmalloc2").expect("a row");
    let mib = least["process_bytes"].parse::<f64>().expect("bytes") / 1_048_576.0;
    let told = format!("- monitor-server, memory: ptmalloc2 needs the least: {mib:.0} MiB (");
    assert!(markdown.contains(&told), "{told}\n{markdown}");
    assert!(markdown.contains("Memory is the figure for planning: what a process does not exceed in 99 %"));
    assert!(html.contains("<a href=\"#plan\">") && html.contains("aria-label=\"monitor-server: plan\""));
    assert!(directory.path().join("plots/monitor-server-plan.png").is_file(), "{}", stdout(&output));

    // More samples, or none: the plan follows the files beside it.
    fs::remove_file(directory.path().join("timeline.csv")).expect("removable");
    assert!(report().1.contains("No variant was measured"));

    edit(&directory.path().join("plan.toml"), |text| text.replacen("jemalloc", "tbbmalloc", 1));
    let (output, markdown, _) = report();
    let told = "the plan is not shown: no variant `tbbmalloc` in this run to be the baseline: it has jemalloc, ptmalloc2, tcmalloc; \
                make it again with `heaplab plan`";
    assert!(stderr(&output).contains(told), "{}", stderr(&output));
    assert!(markdown.contains(told) && !markdown.contains("## Plan"), "{markdown}");
    edit(&directory.path().join("plan.toml"), |text| text.replacen("hosts", "host", 1));
    assert!(report().1.contains("plan.toml: TOML parse error"));
}

#[test]
fn a_question_is_kept_under_its_name_and_never_replaced_unasked() {
    let directory = written(&Shape { checkpoints: 60, ..Shape::new(&FOUR[..2], 8) });
    let path = directory.path();
    let file = |name: &str| fs::read_to_string(path.join(name)).expect("kept");
    assert_eq!(plan(path, &HOST).status.code(), Some(0));
    let first = file("plan.toml");
    let other = ["--host-memory", "16GiB"];
    let output = plan(path, &other);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stderr(&output).contains("has a different question, so this one is not saved"),
        "{}",
        stderr(&output)
    );
    assert!(stdout(&output).contains("Processes that fit: ") && !stdout(&output).contains("plan.toml"));
    assert_eq!(file("plan.toml"), first);
    let named = plan(path, &[&other[..], &["--name", "large"]].concat());
    assert!(
        stdout(&named).contains("plan-large.toml")
            && path.join("plots/monitor-server-plan-large.png").exists()
    );
    let refused = plan(path, &["--host-memory", "32GiB", "--name", "large"]);
    assert_eq!((refused.status.code(), stdout(&refused).as_str()), (Some(2), ""));
    assert!(stderr(&refused).contains("plan-large.toml has a different question"), "{}", stderr(&refused));
    let report = heaplab().arg("report").arg(path).output().expect("it runs");
    assert!(stdout(&report).contains("Memory is the figure for planning"), "{}", stdout(&report));
    let markdown = file("report.md");
    assert!(markdown.contains("\n## Plan\n") && markdown.contains("\n## Plan large\n"), "{markdown}");
    assert!(file("report.html").contains("id=\"plan-large\""));
    assert_eq!(plan(path, &[&other[..], &["--replace"]].concat()).status.code(), Some(0));
    assert_ne!(file("plan.toml"), first);
}

#[test]
fn a_validation_is_planned_with_by_the_programs_own_run() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["replay", "exec"] {
        fs::create_dir(directory.path().join(name)).expect("made");
        Shape::new(&FOUR[..2], 6).write(&directory.path().join(name));
    }
    let output = plan(directory.path(), &HOST);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("holds two runs: planned with the program's own, "),
        "{}",
        stderr(&output)
    );
    assert!(directory.path().join("exec/plan.toml").exists());
    let report = heaplab().arg("report").arg(directory.path()).output().expect("it runs");
    assert_eq!(report.status.code(), Some(0), "{}", stderr(&report));
    assert!(
        stdout(&report).contains("  exec  ") && stdout(&report).contains("  replay  "),
        "{}",
        stdout(&report)
    );
}

#[test]
fn the_loads_asked_for_and_leave_to_plan_despite_gaps_are_kept() {
    let workloads = [50, 100, 200].map(|load| format!("m:connections={load}")).to_vec();
    let directory = written(&Shape { loads: true, workloads, checkpoints: 60, ..Shape::new(&FOUR[..2], 8) });
    let path = directory.path();
    let markdown = || {
        let report = heaplab().arg("report").arg(path).output().expect("it runs");
        assert_eq!(report.status.code(), Some(0), "{}", stderr(&report));
        fs::read_to_string(path.join("report.md")).expect("written")
    };
    let asked = ["--per-connection", "--non-heap", "500MiB", "--at", "150", "--format", "csv"];
    let rows = stdout(&plan(path, &asked));
    let of_load = |load: &str| {
        let row = rows.lines().find(|row| row.starts_with(&format!("m,ptmalloc2,{load},"))).expect("a row");
        row.split(',').nth(5).expect("a figure").parse::<f64>().expect("bytes")
    };
    assert!(of_load("100.0") > 500e6 && of_load("150.0") > of_load("100.0"), "{rows}");
    assert!(markdown().contains("m, ptmalloc2 at 150 connections: "), "{}", markdown());
    let other = plan(path, &["--per-connection", "--non-heap", "500MiB", "--at", "300"]);
    assert!(stderr(&other).contains("has a different question"), "{}", stderr(&other));

    edit(&path.join("run.toml"), |text| {
        let at = text.rfind("gaps = []").expect("of the last workload");
        let rest = text[at..].replacen("[]", "[\"half of it was not recorded\"]", 1);
        format!("{}{rest}", &text[..at])
    });
    let refused = plan(path, &["--per-connection"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stdout(&refused));
    assert!(markdown().contains("the plan is not shown: m:connections=200: half of it was not recorded"));
    let forced = plan(path, &["--per-connection", "--despite-coverage", "--replace"]);
    assert_eq!(forced.status.code(), Some(0), "{}", stderr(&forced));
    let note = "planned despite what its recording does not cover: half of it was not recorded";
    assert!(stderr(&forced).contains(note), "{}", stderr(&forced));
    assert!(markdown().contains(note), "{}", markdown());
}
