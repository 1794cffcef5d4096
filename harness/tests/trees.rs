//! Trees of processes under `heaplab record`: forks, execs, pipelines, daemons, processes with their own
//! PIDs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::heaplab;
use crate::support::recording::{Recorded, compile, info};
use rustix::process::{Pid, Signal, kill_process};

/// The processes of a manifest, in the order in which they started.
fn manifest(directory: &Path) -> Vec<toml::Table> {
    let text = std::fs::read_to_string(directory.join("trace.tree.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    assert_eq!(manifest["version"].as_integer(), Some(1));
    let processes = manifest["process"].as_array().expect("processes").clone();
    processes.into_iter().map(|entry| entry.as_table().expect("a process").clone()).collect()
}

fn text<'a>(entry: &'a toml::Table, key: &str) -> &'a str {
    entry.get(key).and_then(|value| value.as_str()).unwrap_or("")
}

/// The trace with the most allocations among those that a manifest names.
fn busiest(directory: &Path) -> (PathBuf, serde_json::Value) {
    let entries = manifest(directory);
    let traces = entries.iter().filter_map(|entry| entry.get("trace")?.as_str());
    let paths = traces.map(|name| directory.join(name));
    let found =
        paths.map(|path| (info(&path), path)).max_by_key(|(found, _)| found["summary"]["malloc"].as_u64());
    let (found, path) = found.expect("a trace");
    (path, found)
}

#[test]
fn a_daemon_is_recorded_to_its_end_and_not_to_its_starters() {
    let run = Recorded::hazard("daemon.c", &[], &["1000"]);
    run.assert_unchanged();
    let (_, daemon) = busiest(run.directory.path());
    assert_eq!((&daemon["summary"]["malloc"], &daemon["summary"]["lost"]), (&20_000.into(), &0.into()));
    assert_eq!(run.total("malloc"), 20_000, "a starter does not stand for it");
    assert!(run.said().contains("has exited, but"), "{}", run.said());
    let entries = manifest(run.directory.path());
    // The process in between may have ended before it was seen.
    assert!((2..=3).contains(&entries.len()), "{entries:?}");
    let programs = entries.iter().filter(|entry| entry.contains_key("trace"));
    assert!(programs.clone().all(|entry| text(entry, "program").ends_with("/daemon")), "{entries:?}");
    assert_eq!(programs.count(), 2, "{entries:?}");
    let chain = entries.windows(2).all(|pair| {
        let began = |entry: &toml::Table| entry["start_s"].as_float().expect("a time");
        began(&pair[0]) <= began(&pair[1])
    });
    assert!(chain, "{entries:?}");
}

#[test]
fn a_signal_or_a_limit_of_time_ends_the_recording_of_a_daemon_and_not_the_daemon() {
    for by_signal in [true, false] {
        let directory = tempfile::tempdir().expect("a directory");
        let program = compile("daemon.c", directory.path(), &[]);
        let heaplab = heaplab();
        let limit: &[&str] = if by_signal { &[] } else { &["--max-seconds", "1"] };
        let child = Command::new(heaplab.get_program())
            .args(["record", "-o"])
            .arg(directory.path().join("trace.hlt"))
            .args(limit)
            .arg("--")
            .arg(&program)
            .args(["0", "stay"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process")).expect("a process");
        let of_daemon = || {
            let raw = std::fs::read_dir(directory.path().join("trace.hlt.raw")).ok()?;
            raw.filter_map(Result::ok)
                .find(|entry| entry.path().extension().is_some_and(|found| found == "raw"))
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while of_daemon().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(500));
        if by_signal {
            kill_process(pid, Signal::TERM).expect("it waits for the daemon");
        }
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("still running"), "{said}");
        let (_, daemon) = busiest(directory.path());
        assert_eq!(daemon["summary"]["malloc"], 20_000, "{said}");
        let number = daemon["header"]["notes"].as_array().expect("notes").iter();
        let number =
            number.clone().find(|note| note["name"] == "pid").and_then(|note| note["value"].as_str());
        let number: i32 = number.expect("a number").parse().expect("a number");
        kill_process(Pid::from_raw(number).expect("a process"), Signal::KILL).expect("the daemon still runs");
    }
}

#[test]
fn each_worker_of_a_prefork_server_has_a_trace_and_a_place_in_the_manifest() {
    let run = Recorded::hazard("prefork.c", &[], &["5"]);
    run.assert_whole();
    assert_eq!((run.total("malloc"), run.total("free")), (2000, 2000));
    let entries = manifest(run.directory.path());
    assert_eq!(entries.len(), 6, "{entries:?}");
    let server = &entries[0]["pid"];
    for worker in &entries[1..] {
        assert_eq!((&worker["parent"], &worker["forked_from"]), (server, server), "{worker:?}");
        assert_eq!(worker["lost"].as_integer(), Some(0), "{worker:?}");
        let trace = info(&run.directory.path().join(text(worker, "trace")));
        // Its trace begins with what it inherited.
        assert_eq!((&trace["summary"]["malloc"], &trace["summary"]["free"]), (&2500.into(), &500.into()));
        let count = |name: &str| worker[name].as_integer().expect("a count");
        assert_eq!(count("events") - count("inherited_events"), 1000, "{worker:?}");
        // A server that forks within a millisecond of its start has workers that start with it.
        assert_eq!(worker["trace_start_s"], entries[0]["start_s"], "{worker:?}");
        assert!(worker["trace_start_s"].as_float() <= worker["start_s"].as_float(), "{worker:?}");
        assert_eq!(trace["summary"]["unseen_frees"], 0);
    }
    assert_eq!(entries[0]["exit_status"].as_integer(), Some(24));
}

#[test]
fn a_server_that_writes_a_title_over_its_environment_is_recorded() {
    let recorded = Recorded::hazard("title.c", &[], &[]);
    recorded.assert_unchanged();
    assert!(!recorded.said().contains("not recorded"), "{}", recorded.said());
    let entries = manifest(recorded.directory.path());
    assert_eq!(entries.len(), 3, "{entries:?}");
    assert!(entries.iter().all(|entry| !entry.contains_key("not_recorded")), "{entries:?}");
}

#[test]
fn only_this_process_leaves_the_others_alone() {
    let run = Recorded::hazard("prefork.c", &["--only-this-process"], &["3"]);
    run.assert_whole();
    let files = std::fs::read_dir(run.directory.path())
        .expect("a directory")
        .map(|entry| entry.expect("a file").path());
    let traces = files.filter(|path| path.extension().is_some_and(|extension| extension == "hlt"));
    assert_eq!(traces.count(), 1, "{}", run.said());
}

#[test]
fn both_sides_of_a_pipeline_are_recorded_and_the_shell_does_not_stand_for_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("idle_end.c", directory.path(), &[]);
    let script = format!("{0} | {0}; exit 5", program.display());
    let run = Recorded::run(directory, "/bin/sh".as_ref(), &[], &["-c", &script], &[]);
    run.assert_unchanged();
    let entries = manifest(run.directory.path());
    let sides = entries.iter().filter(|entry| text(entry, "program").ends_with("/idle_end"));
    let shares: Vec<f64> = sides.filter_map(|entry| entry["memory_share"].as_float()).collect();
    assert!(shares.len() == 2 && shares.iter().all(|share| (0.3..0.7).contains(share)), "{entries:?}");
    let gaps = run.trace()["gaps"].to_string();
    assert!(gaps.contains("name the trace of the process that is meant"), "{gaps}");
    let is_other = |entry: &&toml::Table| {
        text(entry, "program").ends_with("/idle_end") && text(entry, "trace") != "trace.hlt"
    };
    let named = entries.iter().find(is_other).map(|entry| text(entry, "trace")).expect("the other side");
    let named = info(&run.directory.path().join(named));
    assert_eq!(named["gaps"], serde_json::json!([]), "naming a process selects it");
}

#[test]
fn what_a_child_borrows_until_its_exec_is_its_parents_alone() {
    let run = Recorded::hazard("lent.c", &[], &[]);
    run.assert_unchanged();
    let entries = manifest(run.directory.path());
    let [parent, child] = &entries[..] else { panic!("two processes: {entries:?}") };
    let share = |entry: &toml::Table| entry["memory_share"].as_float().expect("a share");
    assert!(text(child, "program").ends_with("/sleep") && share(child) < 0.02, "{child:?}");
    assert!(share(parent) > 0.98, "{parent:?}");
    assert_eq!(run.trace()["gaps"], serde_json::json!([]), "the parent stands for the recording");
}

/// As in a container: its own root and PIDs, with heaplab as the first process.
#[test]
fn heaplab_records_as_the_first_process_of_a_container() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("prefork.c", directory.path(), &[]);
    let (root, trace) = (directory.path().join("root"), directory.path().join("trace.hlt"));
    std::fs::create_dir(&root).expect("a directory");
    let script = "mount --rbind / \"$1\" && mount -t proc proc \"$1/proc\" || exit 99
        exec chroot \"$1\" \"$2\" record -o \"$3\" -- \"$4\" 60 2";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-c", script, "sh"])
        .args([root.as_os_str(), heaplab().get_program(), trace.as_os_str(), program.as_os_str()])
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(24), "{said}");
    let whole = info(&trace);
    assert_eq!((&whole["summary"]["malloc"], &whole["summary"]["lost"]), (&2000.into(), &0.into()), "{said}");
    // It lives for several sampling intervals. The memory is that of the recorded process, whenever it was
    // sampled, and not that of another process with its PID.
    let share = whole["explained_share"].as_f64().expect("memory is known");
    assert!((0.5..=1.0).contains(&share), "{whole}");
    assert_eq!(manifest(directory.path()).iter().filter(|entry| entry.contains_key("trace")).count(), 61);
}

/// A process that has switched to another user stays that user when it starts another program, which finds
/// the recording all the same.
#[test]
fn a_program_that_is_begun_as_another_user_is_recorded() {
    assert!(rustix::process::getuid().is_root(), "run the tests as root: nobody else can switch users");
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("ours");
    let program = compile("growing.c", directory.path(), &[]);
    let arguments =
        ["--reuid", "65534", "--regid", "65534", "--clear-groups", program.to_str().expect("UTF-8")];
    let run = Recorded::run(directory, "/usr/bin/setpriv".as_ref(), &[], &arguments, &[]);
    run.assert_unchanged();
    assert_eq!(
        (run.total("malloc"), run.trace()["gaps"].to_string()),
        (24, "[]".to_owned()),
        "{}",
        run.said()
    );
}

/// The process's PID is 1 inside, and another process has that PID outside.
#[test]
fn a_process_in_a_name_space_has_its_own_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("growing.c", directory.path(), &[]);
    let arguments = ["--user", "--map-root-user", "--pid", "--fork", program.to_str().expect("UTF-8")];
    let run = Recorded::run(directory, "/usr/bin/unshare".as_ref(), &[], &arguments, &[]);
    assert_eq!(run.recorded.status.code(), Some(25), "{}", run.said());
    let entries = manifest(run.directory.path());
    let entry = entries.iter().find(|entry| text(entry, "program").ends_with("/growing")).expect("it");
    assert_eq!(entry["pid_inside"].as_integer(), Some(1), "{entry:?}");
    assert_eq!(text(entry, "trace"), "trace.hlt", "a launcher does not stand for it");
    let trace = run.trace();
    let peak = trace["summary"]["resident_peak_bytes"].as_u64().expect("bytes");
    assert!((24 << 20..32 << 20).contains(&peak), "{trace}");
    assert_eq!(trace["summary"]["malloc"], 24, "{trace}");
}

#[test]
fn what_workers_share_with_their_server_is_in_the_manifest() {
    let run = Recorded::hazard("shared_heap.c", &[], &["800"]);
    run.assert_unchanged();
    let text = std::fs::read_to_string(run.directory.path().join("trace.tree.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    let points = manifest["shared"].as_array().expect("what is shared");
    let shared: Vec<i64> = points.iter().filter_map(|point| point[1].as_integer()).collect();
    // Three workers share 32 MiB with the server until they write to a quarter of it; libraries' data come on
    // top.
    let mib = 1 << 20;
    assert!(shared.iter().any(|bytes| (72 * mib..75 * mib).contains(bytes)), "{shared:?}");
    assert!(shared.iter().all(|bytes| *bytes < 99 * mib), "{shared:?}");
    assert_eq!(manifest["process"].as_array().map(Vec::len), Some(4), "{text}");
}

#[test]
fn a_tree_whose_command_was_killed_is_made_of_its_raw_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("shared_heap.c", directory.path(), &[]);
    let path = |name: &str| directory.path().join(name);
    // The tree has done everything by the time the command is killed.
    let status = Command::new(heaplab().get_program())
        .args(["record", "-o"])
        .arg(path("killed.hlt"))
        .args(["--", "sh", "-c", "\"$0\" 300; kill -9 $PPID"])
        .arg(&program)
        .stderr(Stdio::null())
        .status()
        .expect("it runs");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
    let mut import = heaplab();
    import.args(["trace", "import"]).arg(path("killed.hlt.raw")).arg("-o").arg(path("made.hlt"));
    let output = import.output().expect("heaplab runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("made.tree.toml says which processes"), "{said}");
    let text = std::fs::read_to_string(path("made.tree.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    let processes = manifest["process"].as_array().expect("processes");
    let forked: Vec<_> = processes.iter().filter(|entry| entry.get("trace_start_s").is_some()).collect();
    let seconds = |entry: &toml::Value, name: &str| entry[name].as_float().expect("seconds");
    let lived = |entry: &&&toml::Value| seconds(entry, "end_s") - seconds(entry, "start_s") > 0.25;
    assert_eq!((forked.len(), forked.iter().filter(lived).count()), (3, 3), "{text}");
    let shares = processes.iter().filter_map(|entry| entry["memory_share"].as_float());
    assert!((0.99..1.01).contains(&shares.sum::<f64>()), "{text}");
    let mut run = heaplab();
    run.arg("run").arg(path("made.tree.toml"));
    run.args(["-a", "ptmalloc2", "--pass", "memory", "--reps", "1", "-o"]).arg(path("run"));
    let output = run.output().expect("heaplab runs");
    let [shown, said] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && shown.contains("sum: peak"), "{shown}{said}");
    assert!(
        said.contains("(raw files do not say it), so only the sum of their memory is predicted"),
        "{said}"
    );
}

#[test]
fn processes_that_are_gone_before_they_are_seen_do_not_live_on() {
    for arguments in [&[][..], &["killed"]] {
        let run = Recorded::hazard("brief.c", &[], arguments);
        let entries = manifest(run.directory.path());
        assert_eq!(entries.len(), 41, "{entries:?}");
        let text = std::fs::read_to_string(run.directory.path().join("trace.tree.toml")).expect("a manifest");
        let seen = text.parse::<toml::Table>().expect("TOML")["processes"].as_integer();
        assert!(seen < Some(41), "some were gone before they were seen: {seen:?}");
        let seconds = |entry: &toml::Table, name: &str| entry[name].as_float().expect("seconds");
        for child in &entries[1..] {
            // Until it is missed, or its last event: the parent lives for 0.4 s after it.
            let lived_s = seconds(child, "end_s") - seconds(child, "start_s");
            assert!((0.0..0.3).contains(&lived_s), "{child:?}");
        }
        let shares = entries.iter().map(|entry| seconds(entry, "memory_share"));
        assert!((0.99..1.01).contains(&shares.sum::<f64>()), "{entries:?}");
    }
}

#[test]
fn when_a_tree_was_asked_to_end_is_in_the_manifest() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("shared_heap.c", directory.path(), &[]);
    let trace = directory.path().join("trace.hlt");
    let mut recorder = Command::new(heaplab().get_program());
    recorder.args(["record", "-o"]).arg(&trace).arg("--").arg(program).arg("1500");
    recorder.stderr(Stdio::null());
    let mut child = recorder.spawn().expect("heaplab runs");
    std::thread::sleep(std::time::Duration::from_millis(700));
    let number = i32::try_from(child.id()).expect("a number");
    kill_process(Pid::from_raw(number).expect("a process"), Signal::TERM).expect("it runs");
    child.wait().expect("it ends");
    let text = std::fs::read_to_string(trace.with_extension("tree.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("a manifest");
    let (asked, seconds) = (manifest["asked_to_end_s"].as_float(), manifest["seconds"].as_float());
    assert!(asked > Some(0.0) && asked < seconds, "{text}");
}

type Rows = Vec<std::collections::HashMap<String, String>>;

/// The rows of a file of a validation.
fn rows_of(directory: &Path, file: &str) -> Rows {
    let mut reader = csv::Reader::from_path(directory.join("whole").join(file)).expect("rows");
    let rows = reader.deserialize::<std::collections::HashMap<String, String>>();
    rows.map(|row| row.expect("a whole row")).collect()
}

/// The peaks of a validation of shared_heap.c that are not what its comment says: 4 * 32 + 3 * 4 MiB, and
/// 32 + 3 * (8 + 4) MiB. The prediction and the measurement of the program must each give that independently.
fn wrong_peaks(validation: &Rows) -> Vec<String> {
    let mut wrong = Vec::new();
    for (counting, known) in [("sum", 138.0..146.0), ("once", 65.0..74.0)] {
        let row = validation.iter().find(|row| row["counting"] == counting && row["figure"] == "peak");
        for column in ["predicted_bytes", "real_bytes"] {
            let bytes = row.map(|row| row[column].parse::<f64>().expect("bytes"));
            let mib = bytes.map(|bytes| bytes / f64::from(1 << 20));
            if !mib.is_some_and(|mib| known.contains(&mib)) {
                wrong.push(format!("{counting}, {column}: {mib:?}"));
            }
        }
    }
    wrong
}

/// Replayed threads have their stacks in shared memory, which a process forked for the parent would use too.
#[test]
fn what_a_thread_forked_is_replayed_beside_its_parent() {
    let run = Recorded::hazard("thread_fork.c", &[], &[]);
    run.assert_whole();
    let directory = run.directory.path();
    let options =
        "trace.tree.toml --pass throughput,memory -a ptmalloc2 -a jemalloc --reps 3 -o whole/replay";
    heaplab().current_dir(directory).arg("run").args(options.split(' ')).assert().success();
    let samples = rows_of(directory, "replay/samples.csv");
    let failed = samples.iter().filter(|row| row["status"] != "ok");
    assert_eq!((samples.len(), failed.map(|row| &row["status_detail"]).collect::<Vec<_>>()), (60, vec![]));
    // Threads that the server had started are no part of what a child did.
    let started = samples.iter().filter(|row| row["events"] == "4000" && row["pass"] == "throughput");
    assert_eq!(started.map(|row| &*row["thread_start_ns"]).collect::<Vec<_>>(), ["0"; 27]);
    // A child writes to nothing that it inherited: 2,000 blocks of 4,000 bytes remain shared to its end.
    let timeline = rows_of(directory, "replay/timeline.csv");
    let inherited: Vec<f64> = timeline.iter().filter_map(|row| row["inherited_bytes"].parse().ok()).collect();
    assert!(inherited.len() > 18 && inherited.iter().all(|bytes| *bytes > 7e6), "{inherited:?}");
}

#[test]
fn a_tree_is_predicted_and_measured_in_two_ways() {
    let attempt = || {
        let run = Recorded::hazard("shared_heap.c", &[], &["1500"]);
        let mut command = heaplab();
        command.current_dir(run.directory.path()).args(["validate", "trace.hlt", "--reps", "1"]);
        command.args(["-a", "ptmalloc2", "-o", "whole", "--", "./shared_heap", "1500"]);
        let output = command.output().expect("heaplab runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        (run, String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    // On a machine so busy that a worker waits between its fork and its writes, and the recorder between two
    // readings, what was shared then is not known exactly.
    let mut tried = attempt();
    for _ in 0..2 {
        if wrong_peaks(&rows_of(tried.0.directory.path(), "validation.csv")).is_empty() {
            break;
        }
        tried = attempt();
    }
    let (run, shown, said) = tried;
    let directory = run.directory.path();
    assert!(
        !run.said().contains("outside malloc"),
        "a worker's heap is explained by its server: {}",
        run.said()
    );
    let replay = |manifest: &str, output: &str| {
        let options = "-a ptmalloc2 --pass memory --reps 1 --format json -o";
        let mut run = heaplab();
        run.arg("run").arg(directory.join(manifest)).args(options.split(' ')).arg(directory.join(output));
        run.output().expect("heaplab runs")
    };
    assert!(shown.contains("once: peak") && shown.contains("sum: peak"), "{shown}{said}");
    assert!(!format!("{shown}{said}").contains("replayed from an empty heap"), "{shown}{said}");
    assert!(directory.join("whole/validation.png").exists(), "{shown}");
    let rows = |file: &str| rows_of(directory, file);
    let validation = rows("validation.csv");
    assert_eq!(wrong_peaks(&validation), [""; 0], "{shown}");
    // A worker's replay writes to nothing that it inherited: 32 MiB remain shared with the server.
    let timeline = rows("replay/timeline.csv");
    let inherited: Vec<f64> = timeline.iter().filter_map(|row| row["inherited_bytes"].parse().ok()).collect();
    let mib = |bytes: &f64| bytes / f64::from(1 << 20);
    assert!(
        !inherited.is_empty() && inherited.iter().all(|bytes| (31.0..34.0).contains(&mib(bytes))),
        "{inherited:?}"
    );
    let means = validation.iter().filter(|row| row["figure"] == "mean");
    assert!(
        means.clone().count() == 2 && means.clone().all(|row| !row["progress_error"].is_empty()),
        "{shown}"
    );
    let replayed = rows("replay/samples.csv");
    assert_eq!(
        replayed.iter().filter(|row| row["pass"] == "memory").count(),
        4,
        "each process is a workload"
    );
    let mut events: Vec<&str> = replayed.iter().map(|row| &*row["events"]).collect();
    events.sort_unstable();
    assert_eq!(
        events,
        ["16385", "2048", "2048", "2048"],
        "what a worker inherited does not count as its own"
    );
    // A host takes trees, not their processes.
    let mut command = heaplab();
    command.current_dir(directory).args([
        "plan",
        "whole/replay",
        "--host-memory",
        "1GiB",
        "--format",
        "json",
    ]);
    let output = command.output().expect("heaplab runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a plan");
    let hosts = plan["hosts"].as_array().expect("rows");
    assert!(hosts.len() == 1 && hosts[0]["workload"] == "trace.tree", "{plan}");
    assert_eq!(hosts[0]["basis"], "tree", "{plan}");
    for plot in ["once", "sum"] {
        assert!(directory.join(format!("whole/replay/plots/trace.tree-{plot}.png")).exists(), "{plot}");
    }

    // Nothing is predicted for a tree if too much of it was not recorded.
    let mut manifest: toml::Table = std::fs::read_to_string(directory.join("trace.tree.toml"))
        .expect("a manifest")
        .parse()
        .expect("TOML");
    let processes = manifest["process"].as_array_mut().expect("processes");
    let last = processes.last_mut().and_then(|entry| entry.as_table_mut()).expect("a process");
    last.remove("trace");
    last.insert("not_recorded".to_owned(), "/bin/static is statically linked".into());
    std::fs::write(directory.join("part.tree.toml"), manifest.to_string()).expect("it is written");
    let output = replay("part.tree.toml", "part");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("tree_once"), "{said}");
    assert!(said.contains("nothing is predicted for the tree: processes with 2"), "{said}");
    assert!(said.contains("/bin/static is statically linked"), "{said}");
}
