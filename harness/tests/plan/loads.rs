//! Memory by load: for models, and for programs whose load the user states.

use std::fs;

use super::{FOUR, edit, plan, stderr, stdout, stdout_of, written};
use crate::support::heaplab;
use crate::support::synthetic::Shape;

#[test]
fn the_memory_of_a_connection() {
    let workloads = [50, 100, 200].map(|load| format!("monitor-server:connections={load}")).to_vec();
    let shape = Shape { loads: true, workloads, checkpoints: 100, ..Shape::new(&FOUR[..2], 8) };
    let directory = written(&shape);
    let output = plan(directory.path(), &["--per-connection"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    insta::assert_snapshot!(stdout_of(&output, directory.path()));

    // Loads of one model are not a sample of programs: the report answers for each, and averages none of
    // them.
    let report = heaplab().arg("report").arg(directory.path()).output().expect("it runs");
    assert_eq!(report.status.code(), Some(0), "{}", stderr(&report));
    let markdown = fs::read_to_string(directory.path().join("report.md")).expect("written");
    assert!(markdown.contains("monitor-server at 3 loads"), "{markdown}");
    assert!(!markdown.contains("eometric mean"), "{markdown}");
    assert_eq!(markdown.matches(", memory: ptmalloc2 needs the least: ").count(), 3, "{markdown}");

    // The same loads from three runs, which keep no question: a report is about one run.
    let runs: Vec<tempfile::TempDir> = [50, 100, 200]
        .map(|load| {
            let workloads = vec![format!("monitor-server:connections={load}")];
            written(&Shape { loads: true, workloads, checkpoints: 100, ..Shape::new(&FOUR[..2], 8) })
        })
        .into();
    let paths = runs.iter().map(tempfile::TempDir::path);
    let apart = heaplab().arg("plan").args(paths).arg("--per-connection").output().expect("it runs");
    assert_eq!(format!("{}\nRUN/plan.toml\n", stdout(&apart)), stdout_of(&output, directory.path()));
    assert!(runs.iter().all(|run| !run.path().join("plan.toml").exists()));

    let one = plan(runs[0].path(), &["--per-connection"]);
    assert!(
        stdout(&one).contains("ptmalloc2: measured only at 50 connections, and a line takes two loads"),
        "{}",
        stdout(&one)
    );
    let few = written(&Shape {
        loads: true,
        workloads: vec!["m:connections=5".into(), "m:connections=9".into()],
        ..Shape::new(&FOUR[..1], 5)
    });
    assert!(
        stdout(&plan(few.path(), &["--per-connection"]))
            .contains("too few samples for an interval: it takes 6 of each load")
    );
}

/// A program whose load only its user knows: requests per second, cameras, rows.
#[test]
fn directories_of_one_program_at_several_loads_have_a_line() {
    let at = |base: f64| written(&Shape { checkpoints: 60, scale: base, ..Shape::new(&FOUR[..2], 8) });
    let runs = [at(1.0), at(2.0), at(3.0)];
    let load = |load: &str, run: &tempfile::TempDir| format!("--load={load}={}", run.path().display());
    let arguments = [load("100", &runs[0]), load("200.5", &runs[1]), load("300", &runs[2])];
    let ask = |arguments: &[String], more: &[&str]| {
        heaplab().arg("plan").args(arguments).args(more).output().expect("it runs")
    };
    let more = ["--load-unit", "request/s", "--at", "150", "--at", "900", "--format", "json"];
    let output = ask(&arguments, &more);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let loads = document["loads"].as_array().expect("rows");
    let of_jemalloc: Vec<(f64, &str)> = loads
        .iter()
        .filter(|row| row["variant"] == "jemalloc")
        .map(|row| (row["load"].as_f64().expect("a load"), row["source"].as_str().expect("a source")))
        .collect();
    let wanted = [
        (100.0, "measured"),
        (150.0, "interpolated"),
        (200.5, "measured"),
        (300.0, "measured"),
        (900.0, "extrapolated"),
    ];
    assert_eq!(of_jemalloc, wanted);
    assert!(loads.iter().all(|row| row["process_bytes"].as_f64().is_some()), "{document}");
    let said = document["answer"].to_string();
    assert!(
        said.contains("each unit of load (request/s) takes") && said.contains("at 900 (request/s): "),
        "{said}"
    );
    assert!(said.contains("extrapolated: this assumes that the line continues"), "{said}");
    // A plan of hosts has a row of each load, and nothing is kept.
    let hosts = stdout(&ask(&arguments, &["--host-memory", "4GiB"]));
    assert!(hosts.contains("monitor-server at 200.5") && hosts.contains("Processes that fit: "), "{hosts}");
    assert!(runs.iter().all(|run| !run.path().join("plan.toml").exists()));

    // No line: no slope, and nothing between the loads.
    let bent = [load("100", &runs[0]), load("101", &runs[2]), load("300", &runs[0])];
    let output = ask(&bent, &["--at", "200"]);
    let text = stdout(&output);
    assert!(
        text.contains("no line describes the loads") && !text.contains("each connection takes"),
        "{text}"
    );
    assert!(text.contains("at 200 connections: no figure"), "{text}");

    // A heap and a whole process have no common line.
    let ran = at(2.0);
    edit(&ran.path().join("samples.csv"), |text| text.replace(",memory,", ",exec,"));
    let other = written(&Shape { workloads: vec!["another".into()], ..Shape::new(&FOUR[..2], 6) });
    let several = written(&Shape { workloads: vec!["a".into(), "b".into()], ..Shape::new(&FOUR[..2], 6) });
    for (arguments, told) in [
        (
            vec![load("1", &runs[0]), load("2", &other)],
            "the loads are of different programs: monitor-server in",
        ),
        (vec![load("1", &runs[0]), load("2", &several)], "holds several workloads"),
        (vec![load("1", &runs[0]), load("2", &ran)], "different memory: a replayed heap's in"),
        (vec![load("1", &runs[0]), load("1.0", &runs[1])], "--load 1 is given twice"),
        (vec![load("many", &runs[0])], "\"many\" is no load: a number"),
        (vec!["--load=100".to_owned()], "no load with its directory: write it such as 100=DIR"),
    ] {
        let output = ask(&arguments, &[]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr(&output).contains(told), "{told}: {}", stderr(&output));
    }
}

#[test]
fn a_run_at_several_loads_is_measured_and_planned_with() {
    let directory = tempfile::tempdir().expect("a directory");
    let run = |more: &[&str]| {
        let common = [
            "run",
            "--duration",
            "1s",
            "--reps",
            "1",
            "--pass",
            "memory",
            "--checkpoints",
            "20",
            "-a",
            "ptmalloc2",
            "-o",
            "out",
        ];
        heaplab().args(common).args(more).current_dir(directory.path()).output().expect("it starts")
    };
    for (more, told) in [
        (&["threaded", "--connections", "5"][..], "threaded is no load model of a server"),
        (&["--connections", "5"], "--connections needs a load model"),
        (&["monitor-server", "--connections", "5", "--set", "connections=6"], "contradict each other"),
        (
            &["monitor-server", "--connections", "5,5"],
            "two workloads are called \"monitor-server:connections=5\"",
        ),
        (&["monitor-server", "--connections", "0"], "0 is not in 1.."),
    ] {
        let output = run(more);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{more:?}: {}", stderr(&output));
    }
    let output = run(&["monitor-server", "--connections", "4,16"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = plan(
        &directory.path().join("out"),
        &["--per-connection", "--host-memory", "1GiB", "--processes", "2"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("monitor-server:connections=16") && text.contains("two loads always lie on a line"),
        "{text}"
    );
}
