//! `heaplab simulate` as a process: stdout, stderr, exit status, and the file that it leaves or does not.

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use heaplab_trace::{Record, TraceReader};

fn simulate(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("heaplab").unwrap();
    command.arg("simulate").args(arguments).current_dir(directory).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The value of row `name`.
fn row<'a>(output: &'a Output, name: &str) -> &'a str {
    let line = stdout(output).lines().find(|line| line.split_whitespace().next() == Some(name));
    line.unwrap_or_else(|| panic!("no row {name} in {}", stdout(output)))[name.len()..].trim()
}

/// Asserts exit status 2, the words on stderr, and that nothing was written.
fn assert_usage(directory: &Path, arguments: &[&str], words: &[&str]) {
    let before = fs::read_dir(directory).unwrap().count();
    let output = simulate(directory, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    assert_eq!(stdout(&output), "");
    for word in words {
        assert!(stderr(&output).contains(word), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(fs::read_dir(directory).unwrap().count(), before, "{arguments:?} wrote something");
}

#[test]
fn a_shipped_model_becomes_a_trace_with_the_counts_that_are_printed() {
    let place = tempfile::tempdir().unwrap();
    let output =
        simulate(place.path(), &["monitor-server", "--duration", "5s", "--seed", "7", "-o", "a.hlt"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let mut reader = TraceReader::open(&place.path().join("a.hlt")).unwrap();
    let (mut events, mut phases, mut names) = (0u64, Vec::new(), 0);
    while let Some(record) = reader.read_record().unwrap() {
        match record {
            Record::Event(_) => events += 1,
            Record::Mark(mark) => phases.push(mark.name),
            Record::ThreadName { .. } => names += 1,
            Record::Resident(_) => panic!("a simulation has no resident memory"),
        }
    }
    assert_eq!(row(&output, "events"), events.to_string());
    assert_eq!((row(&output, "threads"), names, row(&output, "seed")), ("26", 26, "7"));
    assert!(row(&output, "requests").parse::<u64>().unwrap() > 20);
    assert_eq!(row(&output, "refused"), "0");
    assert_eq!(phases, ["warm-up", "steady", "peak", "idle night", "recovery"]);
    let notes: Vec<&str> = reader.header().notes.iter().map(|note| note.name.as_str()).collect();
    assert_eq!(notes, ["heaplab_version", "definition", "definition_sha256", "seed", "duration_ns"]);
}

/// The definition's text is complete in the header, and shortened to one row where it is printed.
#[test]
fn trace_info_shows_what_the_trace_follows_from() {
    let place = tempfile::tempdir().unwrap();
    let arguments = ["monitor-server", "--duration", "1s", "--set", "workers=3", "-o", "a.hlt"];
    assert_eq!(simulate(place.path(), &arguments).status.code(), Some(0));
    let info = |format: &str| {
        let mut command = Command::cargo_bin("heaplab").unwrap();
        let output = command.args(["trace", "info", "a.hlt", "--format", format]);
        output.current_dir(place.path()).output().unwrap()
    };
    let table = info("table");
    let table = stdout(&table);
    for row in ["override: workers=3", "seed: 1", "duration_ns: 1000000000", "definition_sha256: "] {
        assert!(table.contains(row), "{table}");
    }
    let definition = table.lines().find(|line| line.contains("definition: ")).unwrap();
    assert!(definition.contains(" lines, ") && definition.len() < 120, "{definition}");
    assert!(stdout(&info("json")).contains("base = \\\"none\\\""));
}

#[test]
fn equal_arguments_leave_equal_bytes_wherever_the_files_lie() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let arguments = ["monitor-server", "--duration", "2s", "--set", "workers=3", "-o"];
    let bytes = |place: &Path, name: &str, more: &[&str]| {
        let output = simulate(place, &[&arguments[..], &[name], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        fs::read(place.join(name)).unwrap()
    };
    let first = bytes(here.path(), "a.hlt", &[]);
    assert_eq!(first, bytes(there.path(), "b.hlt", &[]));
    assert_ne!(first, bytes(here.path(), "c.hlt", &["--seed", "2"]));
    assert_ne!(first, bytes(here.path(), "d.hlt", &["--set", "connections=9"]));
}

#[test]
fn a_definition_of_the_users_is_taken() {
    let place = tempfile::tempdir().unwrap();
    let text = "name = \"mine\"\nworkers = 2\nfree_at_end = true\n[startup]\nobjects = 10\n";
    fs::write(place.path().join("mine.toml"), text).unwrap();
    let output = simulate(place.path(), &["mine.toml", "--duration", "3s", "-o", "mine.hlt"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!((row(&output, "workload"), row(&output, "threads")), ("mine", "3"));
    assert_eq!((row(&output, "live_at_end"), row(&output, "thread_ends")), ("0", "2"));
}

#[test]
fn what_is_wrong_with_the_arguments_is_said_and_nothing_is_written() {
    let place = tempfile::tempdir().unwrap();
    let there = place.path();
    fs::write(there.join("bad.toml"), "name = \"bad\"\n[payload]\nmedian = 64\n").unwrap();
    fs::write(there.join("typo.toml"), "name = \"bad\"\nworker = 64\n").unwrap();
    fs::write(there.join("broken.toml"), "name = \n").unwrap();
    let out = ["-o", "x.hlt"];
    let with = |arguments: &[&'static str]| [arguments, &out[..]].concat();
    assert_usage(there, &with(&["bad.toml"]), &["bad.toml", "payload.median is 64", "\"64KiB\""]);
    assert_usage(there, &with(&["typo.toml"]), &["typo.toml", "unknown key worker ", "workers"]);
    assert_usage(there, &with(&["broken.toml"]), &["broken.toml: not a TOML file"]);
    assert_usage(there, &with(&["none.toml"]), &["none.toml: there is no such file: name"]);
    assert_usage(there, &with(&["no-such"]), &["no-such", "monitor-server", "api-gateway"]);
    assert_usage(there, &with(&["threaded"]), &["threaded is a recording"]);
    let model = "monitor-server";
    assert_usage(there, &with(&[model, "--set", "workers=0"]), &["--set: workers is 0", "from 1 to"]);
    assert_usage(there, &with(&[model, "--set", "arrivals.rate=-1/s"]), &["arrivals.rate is \"-1/s\""]);
    assert_usage(there, &with(&[model, "--set", "payload.max=8GiB"]), &["payload.max is \"8GiB\"", "4GiB"]);
    assert_usage(there, &with(&[model, "--set", "payload.median"]), &["KEY=VALUE"]);
    assert_usage(there, &with(&[model, "--duration", "60"]), &["\"60\" is not a time with its unit"]);
    assert_usage(there, &[model], &["--output"]);
    assert_usage(there, &with(&["larson", "--plot", "x.png"]), &["larson has no times", "--plot"]);
}

#[test]
fn a_name_that_is_set_is_the_workloads_everywhere() {
    let place = tempfile::tempdir().unwrap();
    let set = ["api-gateway", "--set", "name=mine", "--duration", "1s", "--set", "connection.ramp=0s"];
    let output = simulate(place.path(), &[&set[..], &["-o", "x.hlt"]].concat());
    assert_eq!((row(&output, "workload"), stderr(&output)), ("mine", ""));
    let mut command = Command::cargo_bin("heaplab").unwrap();
    command.current_dir(place.path()).arg("run").args(set);
    command.args(["-o", "out", "--pass", "memory", "--reps", "1", "-a", "ptmalloc2"]).assert().success();
    let read = |name: &str| fs::read_to_string(place.path().join("out").join(name)).unwrap();
    assert!(read("run.toml").contains("\nname = \"mine\"\nsource = \"definition api-gateway, "));
    assert!(read("samples.csv").contains(",mine,") && !read("samples.csv").contains("api-gateway"));
}

#[test]
fn a_table_of_sizes_with_a_hole_is_named_with_its_line_and_key() {
    let place = tempfile::tempdir().unwrap();
    let there = place.path();
    fs::write(there.join("sizes.csv"), "size,weight\n2000,1\n30000,\n").unwrap();
    let text = "name = \"mine\"\n[payload]\ndistribution = \"empirical\"\nfile = \"sizes.csv\"\n";
    fs::write(there.join("mine.toml"), text).unwrap();
    let words = ["payload.file = sizes.csv, line 3: weight is \"\"", "a number from 0"];
    assert_usage(there, &["mine.toml", "-o", "x.hlt"], &words);
    fs::write(there.join("sizes.csv"), "size,weight\n2000,1\n30000,2\n").unwrap();
    let output = simulate(there, &["mine.toml", "--duration", "2s", "-o", "x.hlt"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let reader = TraceReader::open(&there.join("x.hlt")).unwrap();
    let sizes = reader.header().notes.iter().find(|note| note.name == "sizes").unwrap();
    assert_eq!(sizes.value, "payload\nsize,weight\n2000,1\n30000,2\n");
}

#[test]
fn a_plot_of_the_load_is_drawn() {
    let place = tempfile::tempdir().unwrap();
    let output =
        simulate(place.path(), &["api-gateway", "--duration", "2s", "-o", "a.hlt", "--plot", "a.png"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let png = fs::read(place.path().join("a.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG") && png.len() > 10_000, "{}", png.len());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

/// What the report must know about a model goes through run.toml: its phases, and that only a part of the
/// load is in it.
#[test]
fn a_run_of_a_thinned_model_says_that_fragmentation_is_a_lower_bound() {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::cargo_bin("heaplab").unwrap();
    let model = ["monitor-server", "--duration", "4s", "--set", "thinned=3", "-a", "ptmalloc2"];
    let how = ["--pass", "memory", "--reps", "1", "--checkpoints", "20", "-o", "out"];
    let output = command.arg("run").args(model).args(how).current_dir(place.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let run: toml::Table = fs::read_to_string(place.path().join("out/run.toml")).unwrap().parse().unwrap();
    let workload = &run["workloads"][0];
    assert_eq!(workload["thinned"].as_str(), Some("3"));
    let phases = workload["phases"].as_array().unwrap();
    let phase =
        |index: usize| (phases[index]["name"].as_str().unwrap(), phases[index]["time_ns"].as_integer());
    assert_eq!((phases.len(), phase(0), phase(1)), (5, ("warm-up", Some(0)), ("steady", Some(400_000_000))));
    let report = fs::read_to_string(place.path().join("out/report.md")).unwrap();
    assert!(
        report.contains("one request in 3 of the modelled load") && report.contains("lower bound"),
        "{report}"
    );
}

/// 8 workers that take 100 ms and more serve at most 80 of 1,000 requests a second.
#[test]
fn a_load_of_which_much_is_refused_says_so_everywhere() {
    let place = tempfile::tempdir().unwrap();
    let model = ["api-gateway", "--duration", "2s", "--set", "connections=20", "--set", "service.base=100ms"];
    let output = simulate(place.path(), &[&model[..], &["-o", "x.hlt"]].concat());
    let number = |name: &str| row(&output, name).parse::<u64>().unwrap();
    assert!(number("requests") < 300 && number("refused") > 1000, "{}", stdout(&output));
    let is_said = |text: &str| {
        text.contains("api-gateway:connections=20,service.base=100ms: ")
            && text.contains(" % of the arrivals were refused, because no open connection was idle")
    };
    assert!(is_said(stderr(&output)), "{}", stderr(&output));
    let mut command = Command::cargo_bin("heaplab").unwrap();
    command.current_dir(place.path()).arg("run").args(model);
    command.args(["-o", "out", "--pass", "memory", "--reps", "1", "-a", "ptmalloc2"]);
    let run = command.assert().success();
    assert!(is_said(&String::from_utf8_lossy(&run.get_output().stderr)));
    let read = |name: &str| fs::read_to_string(place.path().join("out").join(name)).unwrap();
    assert!(is_said(&read("report.md")), "{}", read("report.md"));
    let table: toml::Table = read("run.toml").parse().unwrap();
    for name in ["requests", "refused"] {
        assert_eq!(table["workloads"][0][name].as_integer(), Some(number(name) as i64), "{name}");
    }
}

#[test]
fn an_override_that_the_model_does_not_read_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let arguments = ["monitor-server", "--set", "arrivals.rate=200/s", "-o", "x.hlt"];
    let words =
        ["--set: arrivals.rate is \"200/s\", which changes nothing while arrivals.process is \"closed\""];
    assert_usage(place.path(), &arguments, &words);
}

#[test]
fn what_is_overridden_is_in_the_workloads_name_everywhere() {
    let place = tempfile::tempdir().unwrap();
    let set = ["monitor-server", "--set", "workers=3", "--duration", "1s"];
    let simulated = simulate(place.path(), &[&set[..], &["-o", "x.hlt"]].concat());
    assert_eq!(row(&simulated, "workload"), "monitor-server:workers=3");
    let mut command = Command::cargo_bin("heaplab").unwrap();
    command.current_dir(place.path()).arg("run").args(set).args(["--connections", "5,9"]);
    command.args(["-o", "out", "--pass", "memory", "--reps", "1", "-a", "ptmalloc2"]);
    let run = command.assert().success();
    let read = |name: &str| fs::read_to_string(place.path().join("out").join(name)).unwrap();
    let table = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    for connections in [5, 9] {
        let name = format!("monitor-server:workers=3,connections={connections}");
        for text in [&table, &read("report.md"), &read("run.toml"), &read("samples.csv")] {
            assert!(text.contains(&name), "{name}: {text}");
        }
    }
    assert_eq!(read("run.toml").matches("model = \"monitor-server:workers=3\"").count(), 2);
}

#[test]
fn a_model_that_outgrows_its_heap_fails_and_leaves_no_file() {
    let place = tempfile::tempdir().unwrap();
    let sets = ["--set", "heap_limit=4MiB", "--set", "cache.limit=4MiB", "--set", "connections=100"];
    let output = simulate(place.path(), &[&["monitor-server", "-o", "x.hlt"], &sets[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("heap_limit is 4MiB"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let place = tempfile::tempdir().unwrap();
    let output = simulate(place.path(), &["monitor-server", "-o", "no/such/x.hlt"]);
    assert_eq!(output.status.code(), Some(1));
    let said = "heaplab: no/such/x.hlt: there is no directory no/such: make it first\n";
    assert_eq!(stderr(&output), said);
    let output = simulate(place.path(), &["monitor-server", "-o", "x.hlt", "--plot", "no/x.png"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "heaplab: no/x.png: there is no directory no: make it first\n");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
