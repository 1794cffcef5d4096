//! Pods: request, limit, odds, and how they are shown.

use std::fs;

use super::{FOUR, fail_first_block, plan, stderr, stdout, written};
use crate::support::heaplab;
use crate::support::rows::set_column;
use crate::support::synthetic::Shape;

const PODS: [&str; 6] = ["--pods", "--node-memory", "64GiB", "--replicas", "200", "--node-cpus=16"];

#[test]
fn pods_have_a_request_a_limit_and_odds() {
    let directory = written(&Shape { checkpoints: 60, ..Shape::new(&FOUR[..2], 10) });
    let ask = |more: &[&str]| plan(directory.path(), &[&PODS[..], more].concat());
    let output = ask(&["--odds", "5%", "--process-cpus", "0.5", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let pods = document["pods"].as_array().expect("rows");
    assert_eq!(pods.len(), 2);
    for row in pods {
        let number = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name}: {row}"));
        let parts = ["anonymous_bytes", "kernel_bytes", "cache_bytes", "growth_bytes", "spread_bytes"];
        let sum: u64 = parts.iter().map(|part| number(part)).sum();
        assert!(sum.abs_diff(number("limit_bytes")) <= 4, "{row}");
        assert!(number("request_bytes") <= number("limit_bytes"));
        assert_eq!((number("limit_bytes") % (1 << 20), number("request_bytes") % (1 << 20)), (0, 0));
        assert_eq!(number("nodes"), 200u64.div_ceil(number("pods_per_node")));
        assert!((row["fleet_odds"].as_f64().expect("odds") - (1.0 - 0.95f64.powi(200))).abs() < 1e-9);
        assert_eq!(row["kernel_is_estimate"], true, "a replay has no kernel memory of the program's");
    }
    let limit = |odds: &str| {
        let csv = stdout(&ask(&["--odds", odds, "--format", "csv"]));
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let at =
            reader.headers().expect("a head").iter().position(|name| name == "limit_bytes").expect("a limit");
        reader.records().next().expect("a row").expect("whole")[at].parse::<u64>().expect("bytes")
    };
    assert!(limit("1e-2") > limit("5%"));
    let text = stdout(&ask(&["--odds", "1%"]));
    assert!(text.contains("VPA's rule") && text.contains("(they reach 9.1 %)"), "{text}");
    let patch = stdout(&ask(&["--odds", "5%", "--yaml", "jemalloc"]));
    for part in
        ["        - name: monitor-server\n", "            requests:\n", "            limits:\n", "Mi\n"]
    {
        assert!(patch.contains(part), "{patch}");
    }
    let kinds = ["pods", "limit", "fleet"];
    for kind in kinds {
        let path = directory.path().join(format!("plots/monitor-server-{kind}.png"));
        assert_eq!(&fs::read(path).expect("a plot")[..8], b"\x89PNG\r\n\x1a\n", "{kind}");
    }
    let report = heaplab().arg("report").arg(directory.path()).output().expect("it runs");
    assert_eq!(report.status.code(), Some(0), "{}", stderr(&report));
    let markdown = fs::read_to_string(directory.path().join("report.md")).expect("written");
    assert!(
        markdown.contains("monitor-server as pods on nodes of 64.0 GiB, 16 CPUs, 200 replicas"),
        "{markdown}"
    );
    let html = fs::read_to_string(directory.path().join("report.html")).expect("written");
    for kind in kinds {
        assert!(markdown.contains(&format!("plots/monitor-server-{kind}.png")), "{markdown}");
        assert!(html.contains(&format!("aria-label=\"monitor-server: {kind}\"")), "{kind}");
    }
    // The meaning of each line across a panel, with its value.
    for told in [
        "limit 1",
        "request 1",
        "largest run 1",
        "Odds that a pod is killed in a day under its limit: 5.0 %;",
    ] {
        assert!(html.contains(told), "{told}");
    }

    // Hosts by odds: the higher the certainty, the fewer fit.
    let fits = |odds: &str| {
        let arguments = ["--host-memory", "16GiB", "--odds", odds, "--format", "json"];
        let document: serde_json::Value =
            serde_json::from_str(&stdout(&plan(directory.path(), &arguments))).expect("JSON");
        document["hosts"][0]["fits"].as_u64().expect("measured")
    };
    assert!(fits("1e-2") <= fits("20%") && fits("1e-2") > 50);

    for (arguments, told) in [
        (&["--pods"][..], "--node-memory"),
        (&["--pods", "--node-memory", "64"], "not a size with its unit"),
        (&["--pods", "--node-memory", "1GiB", "--odds", "0"], "--odds is 0"),
        (&["--pods", "--node-memory", "1GiB", "--odds", "1.5"], "--odds is 1.5"),
        (&["--pods", "--node-memory", "1GiB", "--odds", "often"], "is no odds: write them such as 1e-3"),
        (&["--pods", "--node-memory", "1GiB", "--replicas", "0"], "--replicas is 0"),
        (&["--pods", "--node-memory", "1GiB", "--reserve", "2GiB"], "has nothing left"),
        (
            &["--pods", "--node-memory", "1GiB", "--odds", "5%", "--yaml", "x"],
            "no limit of a variant `x` in this run: it has ptmalloc2, jemalloc",
        ),
        (&["--host-memory", "1GiB", "--replicas", "3"], "--pods"),
    ] {
        let output = plan(directory.path(), arguments);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr(&output).contains(told), "{told}: {}", stderr(&output));
    }
}

#[test]
fn where_memory_grew_is_said_of_each_variant() {
    let directory = written(&Shape { checkpoints: 60, ..Shape::new(&FOUR[..2], 10) });
    // The baseline is steady, which says nothing about the other.
    for (name, bytes) in
        [("resident_middle_third_bytes", "100000000"), ("resident_last_third_bytes", "120000000")]
    {
        set_column(directory.path(), ("jemalloc", "memory"), name, |_| bytes.to_owned());
    }
    let output = plan(directory.path(), &[&PODS[..], &["--odds", "5%"]].concat());
    let text = stdout(&output);
    let row = |variant: &str| text.lines().find(|line| line.starts_with(variant)).expect("a row").to_owned();
    assert!(row("jemalloc").contains("iB*") && !row("ptmalloc2").contains('*'), "{text}");
    assert!(text.contains("`*` after a limit: memory still grew"), "{text}");
    let report = heaplab().arg("report").arg(directory.path()).output().expect("it runs");
    assert_eq!(report.status.code(), Some(0), "{}", stderr(&report));
    let html = fs::read_to_string(directory.path().join("report.html")).expect("written");
    for told in [
        "where memory still grew, the odds are not known",
        "where memory still grew, they are not known",
        ">still grew<",
        ">jemalloc: memory still grew, a limit for pods that live no longer than ",
        ">ptmalloc2<",
    ] {
        assert!(html.contains(told), "{told}");
    }
}

/// A recording that was replayed ten times is one day.
#[test]
fn replays_of_one_load_say_nothing_of_other_days() {
    let directory = written(&Shape { checkpoints: 60, varies_load: false, ..Shape::new(&FOUR[..2], 10) });
    let of = |arguments: &[&str]| stdout(&plan(directory.path(), arguments));
    let text = of(&[&PODS[..], &["--odds", "5%"]].concat());
    let rows: Vec<&str> =
        text.lines().filter(|line| line.contains("alloc") && line.contains("iB*")).collect();
    assert!(rows.len() == 2 && text.contains("`*` after a limit of monitor-server: every sample"), "{text}");
    assert!(
        text.contains("EVERY SAMPLE REPLAYED THE SAME LOAD, so this limit is only for days like it"),
        "{text}"
    );
    assert!(!text.contains("killed in a day with odds of"), "{text}");
    let patch = of(&[&PODS[..], &["--odds", "5%", "--yaml", "jemalloc"]].concat());
    assert!(patch.contains("killed on another day are not known"), "{patch}");
    let hosts = ["--host-memory", "16GiB", "--odds", "5%"];
    let told = "EVERY SAMPLE REPLAYED THE SAME LOAD, so the odds are only for days like it.";
    assert!(of(&hosts).contains(told), "{}", of(&hosts));
    assert!(!of(&hosts[..2]).contains(told), "no odds");
    let report = heaplab().arg("report").arg(directory.path()).output().expect("it runs");
    assert_eq!(report.status.code(), Some(0), "{}", stderr(&report));
    let html = fs::read_to_string(directory.path().join("report.html")).expect("written");
    for told in [
        "every sample replayed the same load, so no odds of being killed under it are known",
        ">one load<",
        ">jemalloc: a limit for days with this load<",
    ] {
        assert!(html.contains(told), "{told}");
    }
    // Loads that differ are days.
    let days = written(&Shape { checkpoints: 60, ..Shape::new(&FOUR[..2], 10) });
    let text = stdout(&plan(days.path(), &[&PODS[..], &["--odds", "5%"]].concat()));
    assert!(text.contains("killed in a day with odds of") && !text.contains("SAME LOAD"), "{text}");
}

#[test]
fn a_patch_is_of_one_workload_and_says_which_samples_failed() {
    let directory = written(&Shape { checkpoints: 60, ..Shape::new(&FOUR[..2], 10) });
    fail_first_block(directory.path(), "jemalloc");
    let ask =
        |directory, variant| plan(directory, &[&PODS[..], &["--odds", "5%", "--yaml", variant]].concat());
    let output = ask(directory.path(), "jemalloc");
    assert_eq!(output.status.code(), Some(3), "as without --yaml: {}", stderr(&output));
    assert!(stdout(&output).contains("\n# 1 of 10 samples failed, and these figures are of the others.\n"));
    let workloads = vec!["a".to_owned(), "b".to_owned()];
    let two = written(&Shape { checkpoints: 60, workloads, ..Shape::new(&FOUR[..1], 6) });
    let output = ask(two.path(), "ptmalloc2");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    assert!(stderr(&output).contains("this run has a, b"), "{}", stderr(&output));
}
