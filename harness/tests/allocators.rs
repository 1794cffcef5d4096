//! The allocators as they are loaded into real processes: found, identified, and asked for their settings.

use crate::support::heaplab;
use serde_json::Value;

/// The list of allocators as JSON.
fn list() -> Vec<Value> {
    let output =
        heaplab().args(["list", "allocators", "--format", "json"]).assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("an array")
}

fn entry(name: &str) -> Value {
    list().into_iter().find(|entry| entry["name"] == name).expect("every name is listed")
}

fn library(name: &str) -> String {
    let entry = entry(name);
    assert_eq!(entry["state"], "present", "{entry}");
    entry["library"].as_str().expect("a path").to_owned()
}

#[test]
fn heaplab_allocators_is_the_same_list() {
    let output = |words: &[&str]| heaplab().args(words).assert().success().get_output().stdout.clone();
    let text = output(&["allocators"]);
    assert_eq!(text, output(&["list", "allocators"]));
    let text = String::from_utf8(text).expect("UTF-8");
    let tcmalloc = text.lines().find(|line| line.starts_with("tcmalloc ")).expect("a line");
    assert!(
        tcmalloc.contains("BSD-3-Clause") && tcmalloc.contains("Debian's libtcmalloc-minimal4"),
        "{text}"
    );
}

/// What the probe says in a process with these `variables` set.
fn probe(variant: &str, variables: &[(&str, &str)]) -> Value {
    let mut command = heaplab();
    command.args(["probe", variant]).envs(variables.iter().copied());
    let output = command.assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("an answer")
}

#[test]
fn every_default_allocator_serves_under_its_own_name_and_version() {
    let versions = [
        ("ptmalloc2", "2."),
        ("jemalloc", "5.3.1-"),
        ("tcmalloc", "2."),
        ("mimalloc", "3.3."),
        ("floor", env!("CARGO_PKG_VERSION")),
    ];
    let list = list();
    for (name, version) in versions {
        let entry = list.iter().find(|entry| entry["name"] == name).expect("every name is listed");
        assert_eq!(entry["state"], "present", "{entry}");
        assert!(entry["version"].as_str().is_some_and(|found| found.starts_with(version)), "{entry}");
        assert_eq!(entry["library_hash"].as_str().map(str::len), Some(64), "{entry}");
    }
}

#[test]
fn the_table_has_one_line_for_each_allocator() {
    let output = heaplab().args(["list", "allocators"]).assert().success().get_output().clone();
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), 14, "{text}");
    assert!(text.lines().nth(2).is_some_and(|line| line.starts_with("jemalloc ")), "{text}");
}

#[test]
fn an_absent_library_names_what_to_do() {
    let empty = tempfile::tempdir().expect("a directory");
    let program = empty.path().join("heaplab");
    std::fs::copy(env!("CARGO_BIN_EXE_heaplab"), &program).expect("the program is copied");
    let output = std::process::Command::new(&program)
        .args(["list", "allocators"])
        .env_remove("HEAPLAB_PRELOAD_DIR")
        .output()
        .expect("heaplab runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = text.lines().find(|line| line.starts_with("jemalloc ")).expect("a line");
    assert!(
        line.contains("absent") && line.contains("cargo build --release -p heaplab-preload-jemalloc"),
        "{line}"
    );
}

#[test]
fn settings_are_read_back_in_the_process_itself() {
    let jemalloc = library("jemalloc");
    let spec = "jemalloc:dirty_decay_ms=0,narenas=3,nonsense=1";
    let conf = "dirty_decay_ms:0,narenas:3,nonsense:1";
    let answer = probe(spec, &[("LD_PRELOAD", &jemalloc), ("_RJEM_MALLOC_CONF", conf)]);
    assert_eq!(answer["loaded"]["family"], "jemalloc");
    assert_eq!(answer["loaded"]["strays"], serde_json::json!([]));
    let verdicts: Vec<&Value> =
        answer["proofs"].as_array().expect("proofs").iter().map(|proof| &proof["verdict"]).collect();
    assert_eq!(verdicts[..2], ["taken", "taken"]);
    // Only jemalloc's complaints, which the parent reads, show whether such an option exists.
    assert!(verdicts[2]["unprovable"].is_object(), "{answer}");

    // The settings are not given to the process at all: the values are the defaults.
    let answer = probe("jemalloc:dirty_decay_ms=0", &[("LD_PRELOAD", &jemalloc)]);
    assert_eq!(answer["proofs"][0]["verdict"]["differs"]["found"], "10000");
}

#[test]
fn tcmalloc_shows_values_and_its_library_names() {
    let tcmalloc = library("tcmalloc");
    let spec = "tcmalloc:TCMALLOC_HEAP_LIMIT_MB=900,TCMALLOC_RELEASE_RATE=10,TCMALLOC_NONSENSE=1";
    let variables = [
        ("LD_PRELOAD", tcmalloc.as_str()),
        ("TCMALLOC_HEAP_LIMIT_MB", "900"),
        ("TCMALLOC_RELEASE_RATE", "10"),
        ("TCMALLOC_NONSENSE", "1"),
    ];
    let answer = probe(spec, &variables);
    let verdicts: Vec<&Value> =
        answer["proofs"].as_array().expect("proofs").iter().map(|proof| &proof["verdict"]).collect();
    assert_eq!(verdicts, ["taken", "taken", "unknown"]);
}

#[test]
fn a_wrong_preload_is_seen() {
    let answer = probe("jemalloc", &[("LD_PRELOAD", "/no/such/library.so")]);
    assert_eq!(answer["loaded"]["family"], "ptmalloc2");
}

#[test]
fn an_unknown_allocator_is_a_usage_error() {
    let output = heaplab().args(["probe", "jemaloc"]).assert().code(2).get_output().clone();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("unknown allocator \"jemaloc\"; there are ptmalloc2, jemalloc"), "{text}");
}

#[test]
fn workloads_are_listed_with_their_kind() {
    let output =
        heaplab().args(["list", "workloads", "--format", "json"]).assert().success().get_output().clone();
    let workloads: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
    let model =
        workloads.iter().find(|workload| workload["name"] == "monitor-server").expect("the load model");
    assert_eq!(model["kind"], "model");
    assert_ne!(model["description"], "");
}

#[test]
fn settings_and_sweeps_are_listed_with_what_they_do() {
    let text = |what: &str| {
        let output = heaplab().args(["list", what]).assert().success().get_output().clone();
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let settings = text("settings");
    for line in
        ["MALLOC_ARENA_MAX ", "dirty_decay_ms ", "purge_delay ", "TCMALLOC_RELEASE_RATE ", "process.thp "]
    {
        assert!(settings.lines().any(|listed| listed.starts_with(line)), "{line}: {settings}");
    }
    let sweeps = text("sweeps");
    assert_eq!(sweeps.lines().count(), 1 + heaplab_allocators::sweep::SHIPPED.len(), "{sweeps}");
    assert!(sweeps.lines().nth(1).is_some_and(|line| line.starts_with("glibc ")), "{sweeps}");
}

/// The parent's side: what [`heaplab_allocators::probe::prove`] finds for real variants.
mod proven {
    use std::process::Command;

    use heaplab_allocators::probe::{Proven, prove};
    use heaplab_allocators::registry::DEFAULTS;
    use heaplab_allocators::{Expectation, Family, Variant, Verdict};

    /// A trial run of the variant, with its library set from the list.
    fn try_out(spec: &str, cpus: Option<u32>) -> (Proven, Expectation) {
        try_out_as(spec, spec, cpus)
    }

    /// A trial run in the environment of `spec`, whose process is asked for the settings of `asked`.
    fn try_out_as(spec: &str, asked: &str, cpus: Option<u32>) -> (Proven, Expectation) {
        let name = spec.split(':').next().expect("a name");
        let listed = super::entry(name);
        let directory = listed["library"].as_str().expect("a path").rsplit_once('/').expect("a directory").0;
        // This test knows the library's path better than the registry, because the test program is in a
        // different place.
        let mut command = Command::new(env!("CARGO_BIN_EXE_heaplab"));
        command.args(["probe", asked]).env("HEAPLAB_PRELOAD_DIR", directory);
        let mut variant = Variant::parse(&format!("ptmalloc2{}", &spec[name.len()..])).expect("a variant");
        variant.allocator = name.into();
        variant.label = spec.into();
        if name != "ptmalloc2" {
            variant.library = Some(listed["library"].as_str().expect("a path").into());
            variant.family = serde_json::from_value(family(name).into()).expect("a family");
        }
        (prove(command, &variant, cpus).expect("an answer"), variant.expectation())
    }

    fn family(name: &str) -> &str {
        name.split('-').next().expect("a name")
    }

    #[test]
    fn good_settings_are_taken_by_each_allocator() {
        for spec in [
            "ptmalloc2:MALLOC_ARENA_MAX=2,glibc.malloc.tcache_count=0",
            "jemalloc-system:dirty_decay_ms=0,muzzy_decay_ms=5",
            "jemalloc:dirty_decay_ms=0,MALLOC_CONF=narenas:4,slab_sizes:1-64:17",
            "mimalloc:purge_delay=0,MIMALLOC_ARENA_RESERVE=64MiB",
            "tcmalloc:TCMALLOC_AGGRESSIVE_DECOMMIT=1,TCMALLOC_RELEASE_RATE=10",
        ] {
            let (proven, expected) = try_out(spec, None);
            assert_eq!(proven.unknown_setting(), None, "{spec}: {proven:#?}");
            assert!(proven.proofs.len() >= 2, "{spec}: {proven:#?}");
            assert_eq!(proven.loaded.matches(&expected), Ok(()), "{spec}");
        }
    }

    #[test]
    fn unknown_and_untaken_settings_are_told() {
        for (spec, told) in [
            ("ptmalloc2:MALLOC_NONSENSE=1", "no setting MALLOC_NONSENSE"),
            ("ptmalloc2:MALLOC_PERTURB_=300", "glibc.malloc.perturb was not taken: 300 was asked for"),
            ("jemalloc:nonsense=1", "no setting nonsense"),
            (
                "jemalloc:percpu_arena=maybe",
                "percpu_arena was not taken: maybe was asked for, disabled is set",
            ),
            ("mimalloc:nonsense=1", "no setting nonsense"),
            ("mimalloc:purge_delay=soon", "purge_delay was not taken: soon was asked for"),
            ("tcmalloc:TCMALLOC_NONSENSE=1", "no setting TCMALLOC_NONSENSE"),
        ] {
            let (proven, _) = try_out(spec, None);
            let fault = proven.unknown_setting().unwrap_or_default();
            assert!(fault.contains(told), "{spec}: {fault:?}");
        }
    }

    #[test]
    fn every_setting_that_is_known_is_taken() {
        // Allocators that are built on demand are in on_demand.rs.
        let is_built = |family: Option<Family>| family.is_none_or(|family| DEFAULTS.contains(&family.name()));
        for setting in heaplab_allocators::settings::KNOWN {
            if !is_built(setting.family) {
                continue;
            }
            let family = setting.family.map_or("ptmalloc2", heaplab_allocators::Family::name);
            let spec = format!("{family}:{}={}", setting.name, setting.example);
            let (proven, _) = try_out(&spec, None);
            let [proof] = proven.proofs.as_slice() else { panic!("{spec}: {proven:#?}") };
            // A setting that the system does not have is distinguished from one that the allocator does not
            // know.
            let known =
                matches!(proof.verdict, Verdict::Taken | Verdict::Known | Verdict::WithoutEffect { .. });
            assert!(known, "{spec}: {proof:?}");
        }
    }

    #[test]
    fn huge_pages_are_refused_to_the_process_before_its_allocator_begins() {
        for family in ["ptmalloc2", "mimalloc"] {
            let (proven, _) = try_out(&format!("{family}:process.thp=never"), None);
            assert_eq!(proven.proofs[0].verdict, Verdict::Taken, "{proven:#?}");
            // The process is not asked; the setting is found out.
            let (proven, _) = try_out_as(family, &format!("{family}:process.thp=never"), None);
            let fault = proven.unknown_setting().unwrap_or_default();
            assert_eq!(fault, "process.thp was not taken: never was asked for, default is set");
        }
    }

    #[test]
    fn the_cpu_count_reaches_jemalloc() {
        // The variant asks for nothing, but its process is asked for what 3 CPUs give.
        let (proven, _) = try_out_as("jemalloc", "jemalloc:narenas=12", Some(3));
        assert_eq!(proven.proofs.len(), 1);
        assert_eq!(proven.unknown_setting(), None);
        let (proven, _) = try_out_as("jemalloc", "jemalloc:narenas=12", Some(4));
        let fault = proven.unknown_setting().unwrap_or_default();
        assert!(fault.contains("narenas was not taken: 12 was asked for, 16 is set"), "{fault}");
    }

    #[test]
    fn the_hash_tells_builds_apart() {
        let (ours, _) = try_out("jemalloc", None);
        let (other, _) = try_out("mimalloc", None);
        assert_ne!(ours.library_hash, other.library_hash);
    }
}

/// Each allocator's own purge call, in processes that the allocator serves.
mod purging {
    use std::process::Command;

    use heaplab_allocators::{Family, identify, purge};

    const ALLOCATED_BYTES: usize = 64 << 20;
    const BLOCK_BYTES: usize = 1 << 10;

    #[test]
    fn a_purge_gives_back_what_was_freed() {
        for name in ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc"] {
            let mut command = Command::new(std::env::current_exe().expect("this test program"));
            command.args([
                "--ignored",
                "--exact",
                "allocators::purging::in_a_process_of_its_own",
                "--nocapture",
            ]);
            if name != "ptmalloc2" {
                command.env("LD_PRELOAD", super::library(name));
            }
            let output = command.output().expect("this test program runs");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
            assert!(text.contains(&format!("purged {name}")), "{name}: {text}");
        }
    }

    #[test]
    #[ignore = "run by a_purge_gives_back_what_was_freed, under each allocator"]
    fn in_a_process_of_its_own() {
        let loaded = identify().expect("malloc lies somewhere");
        let blocks: Vec<Vec<u8>> = (0..ALLOCATED_BYTES / BLOCK_BYTES).map(|_| vec![1; BLOCK_BYTES]).collect();
        // A block above all others: without it, ptmalloc2 gives back the heap's end by itself.
        let pin = vec![1u8; BLOCK_BYTES];
        let full_bytes = resident_bytes();
        assert!(full_bytes >= ALLOCATED_BYTES, "{full_bytes}");
        drop(blocks);
        assert_eq!(purge(loaded.family), Some(()));
        let purged_bytes = resident_bytes();
        assert!(
            purged_bytes < ALLOCATED_BYTES / 4,
            "{}: {full_bytes}, then {purged_bytes}",
            loaded.family.name()
        );
        assert_eq!(pin.len(), BLOCK_BYTES);
        assert_eq!(purge(Family::Floor), None);
        println!("purged {}", loaded.family.name());
    }

    /// Anonymous resident memory of this process.
    fn resident_bytes() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
        let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib << 10
    }
}
