//! `heaplab run --list-units` and `--shard` as processes: a run in parts, on several machines.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::heaplab;
use crate::support::rows::{column, read_samples};
use tempfile::TempDir;

/// The options of every run here: two logs, two blocks each, two variants.
const PLAN: [&str; 10] =
    ["run", "a.log", "b.log", "-a", "ptmalloc2", "-a", "floor", "--checkpoints", "50", "--reps=2"];

/// A directory with two small logs.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for (name, size) in [("a.log", 100), ("b.log", 3000)] {
        let mut log = String::new();
        for at in 1..200u64 {
            writeln!(log, "1: malloc {:#x} {}", at << 16, size + at).unwrap();
        }
        fs::write(place.path().join(name), log).unwrap();
    }
    place
}

fn run(place: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    heaplab().current_dir(place).args(PLAN).args(arguments).assert()
}

fn lines(assert: &assert_cmd::assert::Assert) -> Vec<String> {
    String::from_utf8_lossy(&assert.get_output().stdout).lines().map(str::to_owned).collect()
}

/// The units to which a directory's samples belong.
fn units(directory: &Path) -> BTreeSet<String> {
    let samples = read_samples(directory);
    samples.iter().map(|row| format!("{}#{}", column(row, "workload"), column(row, "block"))).collect()
}

#[test]
fn units_are_listed_without_a_run() {
    let place = place();
    let all = run(place.path(), &["--list-units", "-a", "absent=/no/such/library.so"]).success();
    assert_eq!(lines(&all), ["a#0", "b#0", "a#1", "b#1"], "no library needs to exist");
    // A script asks this before it submits jobs, so it already reports what no host could measure.
    for (wrong, problem) in [
        (["-a", "jemaloc"], "jemaloc"),
        (["-a", "jemalloc:narenas"], "narenas"),
        (["-a", "floor"], "variant \"floor\" is named twice"),
        (["--sweep", "no-such"], "no-such"),
        (["--baseline", "mimalloc"], "baseline \"mimalloc\" is not one of the variants ptmalloc2, floor"),
    ] {
        let refused = run(place.path(), &["--list-units", wrong[0], wrong[1]]).code(2);
        let told = said(&refused);
        assert!(told.contains(problem), "{wrong:?}: {told}");
        assert!(lines(&refused).is_empty(), "{wrong:?}");
    }
    let json = run(place.path(), &["--list-units", "--format", "json"]).success();
    let parsed: Vec<String> = serde_json::from_slice(&json.get_output().stdout).unwrap();
    assert_eq!(parsed, lines(&all));
    let parts: Vec<String> = ["1/2", "2/2"]
        .iter()
        .flat_map(|shard| lines(&run(place.path(), &["--list-units", "--shard", shard])))
        .collect();
    assert_eq!(parts.iter().collect::<BTreeSet<_>>(), lines(&all).iter().collect(), "{parts:?}");
    assert_eq!(parts.len(), 4);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "nothing was written");
}

#[test]
fn a_shard_takes_its_units_and_is_resumed_as_it_was_asked_for() {
    let place = place();
    let listed: BTreeSet<String> =
        lines(&run(place.path(), &["--list-units", "--shard", "1/2"])).into_iter().collect();
    // One command, the first time and again.
    for _ in 0..2 {
        let done =
            run(place.path(), &["--pass", "check", "--shard", "1/2", "--resume", "-o", "out"]).success();
        assert_eq!(lines(&done), ["out"]);
        assert_eq!(units(&place.path().join("out")), listed);
        assert_eq!(read_samples(&place.path().join("out")).len(), listed.len() * 2);
    }
    assert!(!place.path().join("out/report.md").exists(), "a shard is not a run to report on");
    heaplab().current_dir(place.path()).args(["run", "--resume", "-o", "out"]).assert().success();
    let other = run(place.path(), &["--pass", "check", "--shard", "2/2", "--resume", "-o", "out"]).code(2);
    let said = String::from_utf8_lossy(&other.get_output().stderr).into_owned();
    assert!(said.contains("out holds shard 1/2: a directory belongs to one shard"), "{said}");
    assert_eq!(units(&place.path().join("out")), listed);
}

#[test]
fn shards_that_cannot_be_are_refused_before_anything_is_written() {
    let place = place();
    for (arguments, problem) in [
        (&["--shard", "0/4"][..], "there is no shard 0: shards are numbered from 1 to 4"),
        (&["--shard", "5/4"], "there is no shard 5 of 4"),
        (&["--shard", "1/0"], "there are no 0 shards"),
        (&["--shard", "x"], "`x` is no shard"),
        (
            &["--shard", "1/2", "--pass", "memory", "--until", "2%"],
            "--shard and --until contradict each other",
        ),
        (&["--list-units", "--until", "2%"], "--list-units and --until contradict each other"),
    ] {
        let refused = run(place.path(), arguments).code(2);
        let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
        assert!(said.contains(problem), "{arguments:?}: {said}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "{arguments:?}");
    }
}

/// Measures the plan in parts, one directory each: `s1`, `s2`, ...
fn measure_shards(place: &Path, count: usize) -> Vec<String> {
    let shard = |number: usize| {
        let name = format!("s{number}");
        run(place, &["--pass", "memory", "--shard", &format!("{number}/{count}"), "-o", &name]).success();
        name
    };
    (1..=count).map(shard).collect()
}

fn merge(place: &Path, directories: &[&str], more: &[&str]) -> assert_cmd::assert::Assert {
    heaplab().current_dir(place).arg("merge").args(directories).args(["-o", "merged"]).args(more).assert()
}

fn said(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

/// What depends on neither the machine nor the time: the cells of these columns. Resident memory is one of
/// them because ptmalloc2 and floor read no clock, and the logs have one thread.
fn deterministic(directory: &Path, file: &str) -> Vec<Vec<String>> {
    const COLUMNS: &str = "block workload variant allocator allocator_version settings cpus pass pace order touch status \
                           events threads requested_peak_bytes requested_mean_bytes truncated library_hash time_ns \
                           requested_bytes usable_bytes usable_peak_bytes requested_peak_reached_bytes \
                           requested_end_bytes calls live_blocks live_requested_bytes live_usable_bytes \
                           resident_constant_bytes resident_peak_bytes resident_mean_bytes resident_end_bytes \
                           resident_drained_bytes";
    let mut reader = csv::Reader::from_path(directory.join(file)).unwrap();
    let header = reader.headers().unwrap().clone();
    let is_kept = |name: &str| COLUMNS.split_whitespace().any(|kept| kept == name);
    let kept: Vec<usize> = (0..header.len()).filter(|&at| is_kept(&header[at])).collect();
    let rows = reader.records().map(|row| row.unwrap());
    rows.map(|row| kept.iter().map(|&at| row[at].to_owned()).collect()).collect()
}

#[test]
fn merged_shards_are_the_run_that_was_never_divided() {
    let place = place();
    run(place.path(), &["--pass", "memory", "-o", "whole"]).success();
    let shards = measure_shards(place.path(), 3);
    let names: Vec<&str> = shards.iter().rev().map(String::as_str).collect();
    merge(place.path(), &names, &[]).success();
    let (whole, merged) = (place.path().join("whole"), place.path().join("merged"));
    for file in ["samples.csv", "timeline.csv", "sizes.csv", "requests.csv", "stats.csv"] {
        let (expected, found) = (deterministic(&whole, file), deterministic(&merged, file));
        assert!(!expected.is_empty() && expected[0].len() > 3, "{file}");
        assert_eq!(expected, found, "{file}");
    }
    assert!(read_samples(&merged).iter().all(|row| column(row, "machine") == "m1"));
    let names: BTreeSet<String> =
        read_samples(&merged).iter().map(|row| column(row, "run_id").to_owned()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    heaplab().current_dir(place.path()).args(["report", "merged"]).assert().success();
    let resumed =
        heaplab().current_dir(place.path()).args(["run", "--resume", "-o", "merged"]).assert().code(2);
    assert!(said(&resumed).contains("was merged of several directories"), "{}", said(&resumed));
}

/// Turns a directory measured here into one measured on a different kind of machine.
fn move_to_other_machine(directory: &Path) {
    let path = directory.join("run.toml");
    let mut file: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    file["machine"].as_table_mut().unwrap().insert("cpu_model".to_owned(), "Example 9000".into());
    fs::write(&path, file.to_string()).unwrap();
}

#[test]
fn kinds_of_machines_are_compared_each_within_itself() {
    let place = place();
    for name in ["one", "two"] {
        run(place.path(), &["--pass", "memory", "-o", name]).success();
    }
    move_to_other_machine(&place.path().join("two"));
    let merged = merge(place.path(), &["one", "two"], &[]).success();
    assert!(said(&merged).contains("m2 has 4 of 4 units"), "{}", said(&merged));
    let samples = read_samples(&place.path().join("merged"));
    assert_eq!(samples.iter().filter(|row| column(row, "machine") == "m2").count(), samples.len() / 2);
    let report =
        heaplab().current_dir(place.path()).args(["report", "merged", "--format", "json"]).assert().success();
    let summary: Vec<serde_json::Value> = serde_json::from_slice(&report.get_output().stdout).unwrap();
    let subject =
        |row: &serde_json::Value| ["workload", "machine"].map(|key| row[key].as_str().unwrap().to_owned());
    let subjects: BTreeSet<[String; 2]> = summary.iter().map(subject).collect();
    let expected =
        ["a", "b"].iter().flat_map(|name| ["m1", "m2"].map(|kind| [*name, kind].map(str::to_owned)));
    assert_eq!(subjects, expected.collect());
    let page = fs::read_to_string(place.path().join("merged/report.md")).unwrap();
    for name in ["a on m1", "a on m2", "b on m1", "b on m2"] {
        assert!(page.contains(name), "{name}");
    }
    let compared =
        heaplab().current_dir(place.path()).args(["compare", "merged", "--format", "json"]).assert();
    let rows: Vec<serde_json::Value> =
        serde_json::from_slice(&compared.success().get_output().stdout).unwrap();
    assert_eq!(rows.iter().map(subject).collect::<BTreeSet<_>>(), subjects);
    let peaks = summary.iter().filter(|row| row["metric"] == "resident_peak_bytes");
    assert!(peaks.clone().count() == 8 && peaks.clone().all(|row| row["n"] == 2), "two blocks on each kind");
    assert!(said(&report).contains("no means over workloads"), "{}", said(&report));
    let compared = heaplab().current_dir(place.path()).args(["compare", "one", "merged"]).assert().code(2);
    assert!(said(&compared).contains("several kinds of machines"), "{}", said(&compared));
}

#[test]
fn what_cannot_be_merged_is_refused_and_nothing_is_written() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    measure_shards(place.path(), 2);
    run(place.path(), &["--pass", "memory", "--seed", "9", "--shard", "2/2", "-o", "seed"]).success();
    fs::create_dir(path("empty")).unwrap();
    let copy = |name: &str, change: &dyn Fn(&mut toml::Table)| {
        fs::create_dir(path(name)).unwrap();
        for entry in fs::read_dir(path("s2")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), path(name).join(entry.file_name())).unwrap();
        }
        let mut file: toml::Table = fs::read_to_string(path(name).join("run.toml")).unwrap().parse().unwrap();
        change(&mut file);
        fs::write(path(name).join("run.toml"), file.to_string()).unwrap();
    };
    let first = |file: &mut toml::Table, list: &str, key: &str| {
        let entry = file[list].as_array_mut().unwrap()[0].as_table_mut().unwrap();
        entry.insert(key.to_owned(), "other".into());
    };
    copy("twin", &|_| ());
    copy("version", &|file| {
        file.insert("heaplab_version".to_owned(), "9".into());
    });
    copy("debug", &|file| {
        let build = file["build"].as_table_mut().unwrap();
        let other = if build["profile"].as_str() == Some("debug") { "release" } else { "debug" };
        build.insert("profile".to_owned(), other.into());
    });
    copy("program", &|file| first(file, "workloads", "program_hash"));
    copy("library", &|file| first(file, "variants", "library_hash"));
    copy("other", &|file| {
        file.insert("shard".to_owned(), "1/2".into());
    });
    let before = fs::read_dir(place.path()).unwrap().count();
    for (directories, problem) in [
        (
            &["s1", "seed"][..],
            "s1 and seed are of different plans: options.seed is \"1\" in the one and \"9\" in the other",
        ),
        (&["s1", "version"], "the version of heaplab is"),
        (&["s1", "debug"], "of different plans: the builds of heaplab that measured are "),
        (&["s1", "program"], "the hash of the program of a is"),
        (&["s1", "library"], "the hash of the library of ptmalloc2 is"),
        (&["s1", "s2", "s2"], "s2 and s2 are the same directory: name it once"),
        (&["s1", "s2", "twin"], "s2 and twin both hold unit"),
        (&["s1", "other"], "which is not in its plan, shard 1/2: its rows were changed"),
        (&["s1", "empty"], "empty holds no run: it has no run.toml"),
        (&["s1", "absent"], "absent holds no run: there is no such directory"),
        (&["s1"], "of 4 units are missing or not whole: "),
    ] {
        let refused = merge(place.path(), directories, &[]).code(2);
        assert!(said(&refused).contains(problem), "{directories:?}: {}", said(&refused));
        assert_eq!(said(&refused).lines().count(), 1, "{}", said(&refused));
        assert_eq!(
            fs::read_dir(place.path()).unwrap().count(),
            before,
            "{directories:?}: nothing is written"
        );
    }
    // What exists is merged all the same, and says that it is incomplete.
    let partial = merge(place.path(), &["s1"], &["--allow-missing"]).code(3);
    assert!(said(&partial).contains("are missing or not whole"), "{}", said(&partial));
    let again = merge(place.path(), &["s1", "s2"], &[]).code(2);
    assert!(said(&again).contains("merged is not empty: choose another directory"), "{}", said(&again));
}

#[test]
fn a_killed_shard_is_taken_as_far_as_its_whole_rows_go() {
    let place = place();
    measure_shards(place.path(), 2);
    let path = place.path().join("s2/samples.csv");
    let text = fs::read_to_string(&path).unwrap();
    // Killed in the last row.
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let refused = merge(place.path(), &["s1", "s2"], &[]).code(2);
    assert!(said(&refused).contains("1 of 4 units are missing or not whole"), "{}", said(&refused));
    merge(place.path(), &["s1", "s2"], &["--allow-missing"]).code(3);
    assert_eq!(read_samples(&place.path().join("merged")).len(), 7);
    run(place.path(), &["--pass", "memory", "--shard", "2/2", "--resume", "-o", "s2"]).success();
    fs::remove_dir_all(place.path().join("merged")).unwrap();
    merge(place.path(), &["s1", "s2"], &[]).success();
    assert_eq!(read_samples(&place.path().join("merged")).len(), 8);
}

#[test]
fn a_run_that_was_interrupted_before_its_goal_stays_so() {
    let place = place();
    let goal = ["--pass", "memory", "--until", "50%", "--max-time", "1s", "--reps", "6", "-o", "s1"];
    let plan = ["run", "a.log", "-a", "ptmalloc2"];
    heaplab().current_dir(place.path()).args(plan).args(goal).assert().success();
    merge(place.path(), &["s1"], &[]).success();
    fs::remove_dir_all(place.path().join("merged")).unwrap();
    let file = place.path().join("s1/run.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\nfinished = true\n"), "{text}");
    fs::write(&file, text.replace("\nfinished = true\n", "\nfinished = false\n")).unwrap();
    let merged = merge(place.path(), &["s1"], &[]).code(3);
    assert!(said(&merged).contains("interrupted before --until was reached: s1"), "{}", said(&merged));
    let report = heaplab().current_dir(place.path()).args(["report", "merged"]).assert();
    assert!(said(&report).contains("the run was interrupted"), "{}", said(&report));
}

#[test]
fn each_block_of_a_model_has_the_load_of_the_undivided_run() {
    let place = place();
    let run = |more: &[&str]| {
        let plan =
            ["run", "api-gateway", "--duration", "1s", "-a", "ptmalloc2", "--pass", "check", "--reps=4"];
        heaplab().current_dir(place.path()).args(plan).args(more).assert()
    };
    let seeds = |directory: &str| -> Vec<(String, String)> {
        let samples = read_samples(&place.path().join(directory));
        samples.iter().map(|row| (column(row, "block").into(), column(row, "load_seed").into())).collect()
    };
    run(&["-o", "whole"]).success();
    let mut shards = Vec::new();
    for shard in ["1/2", "2/2"] {
        let name = format!("s{}", &shard[..1]);
        run(&["--shard", shard, "-o", &name]).success();
        shards.push(name);
    }
    let directories: Vec<&str> = shards.iter().map(String::as_str).collect();
    merge(place.path(), &directories, &[]).success();
    let merged = seeds("merged");
    assert_eq!(merged, seeds("whole"));
    let different: BTreeSet<&String> = merged.iter().map(|(_, seed)| seed).collect();
    assert_eq!((merged.len(), different.len()), (4, 4), "each block has its own load: {merged:?}");
}
