//! The order of layers: trace -> workloads -> allocators -> harness (stats -> group -> sharing -> users ->
//! design -> worker -> measure -> results -> predict -> capacity -> session -> report -> compare ->
//! self_check -> bisect -> cli). A module uses only what is to the left of it; inside a folder, dependencies also go
//! one way; and `unsafe` is allowed in few places.
//!
//! Sources are read as tokens, so that comments and strings do not count and macros' arguments do.

use std::collections::BTreeSet;

use proc_macro2::TokenStream;

mod circles;
mod tokens;

use circles::find_circles;
use tokens::{count_word, paths, root, rust_files};

/// Our crates, each with the folder of its manifest and the other crates of ours that it may use.
const CRATES: [(&str, &str, &[&str]); 11] = [
    ("workloads/trace", "heaplab_trace", &[]),
    ("workloads/raw", "heaplab_raw", &[]),
    ("workloads/recorder", "heaplab_recorder", &["heaplab_raw"]),
    ("workloads", "heaplab_workloads", &["heaplab_raw", "heaplab_trace"]),
    ("allocators", "heaplab_allocators", &[]),
    ("allocators/preload/jemalloc", "heaplab_preload_jemalloc", &[]),
    ("allocators/preload/mimalloc", "heaplab_preload_mimalloc", &[]),
    ("allocators/preload/floor", "heaplab_preload_floor", &[]),
    ("allocators/preload/probe", "heaplab_preload_probe", &[]),
    ("allocators/preload/control", "heaplab_preload_control", &[]),
    ("harness", "heaplab", &["heaplab_raw", "heaplab_trace", "heaplab_workloads", "heaplab_allocators"]),
];

/// The harness's modules in their order: each uses those before it.
const MODULES: [&str; 17] = [
    "stats",
    "group",
    "sharing",
    "users",
    "signals",
    "design",
    "worker",
    "measure",
    "results",
    "predict",
    "capacity",
    "session",
    "report",
    "compare",
    "self_check",
    "bisect",
    "cli",
];
/// Modules beside `design`: each uses `stats`, `group`, `sharing`, `users` and `signals` and none of the others, and
/// only `session` and `cli` use them.
const BESIDE: [&str; 3] = ["doctor", "exec", "record"];

/// Where `unsafe` may be written: where malloc is called, where it is served, where it is recorded, where signals are
/// inherited, and where rights are given up.
const UNSAFE_PLACES: [&str; 9] = [
    "harness/src/worker/",
    "harness/src/record/page.rs",
    "harness/src/record/question.rs",
    "harness/src/signals.rs",
    "harness/benches/",
    "allocators/src/",
    "allocators/preload/",
    "allocators/extra/",
    "workloads/recorder/",
];

/// The harness's module that a path names; none for another crate's. `depth` is how many modules the naming
/// module lies below the crate's root; an inline module only adds to it, and never leaves its own layer.
fn harness_module(path: &[String], depth: usize) -> Option<&str> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let first = match path.first()?.as_str() {
        "crate" | "heaplab" => path.get(1)?,
        "super" if supers >= depth => path.get(supers)?,
        _ => return None,
    };
    MODULES.into_iter().chain(BESIDE).find(|module| first == module)
}

/// Whether `from` may use `to`.
fn may_use(from: &str, to: &str) -> bool {
    let place = |name: &str| MODULES.iter().position(|module| *module == name);
    match (place(from), place(to)) {
        _ if from == to => true,
        (Some(from), Some(to)) => to < from,
        (Some(_), None) => matches!(from, "session" | "cli"),
        (None, Some(to)) => matches!(MODULES[to], "stats" | "group" | "sharing" | "users" | "signals"),
        (None, None) => false,
    }
}

/// The faults of one file of the harness.
fn upward_uses(name: &str, tokens: TokenStream) -> Vec<String> {
    let within = name.strip_prefix("harness/src/").expect("a source of the harness");
    let from = within.split(['/', '.']).next().expect("a module");
    // The file of a module: worker/engine.rs is crate::worker::engine, worker/mod.rs is crate::worker.
    let depth = within.split('/').count() - usize::from(within.ends_with("/mod.rs"));
    let used: BTreeSet<String> = paths(tokens)
        .iter()
        .filter_map(|path| harness_module(path, depth))
        .filter(|to| !may_use(from, to))
        .map(|to| format!("{name}: {from} uses {to}"))
        .collect();
    used.into_iter().collect()
}

#[test]
fn the_harness_goes_one_way() {
    let mut faults = Vec::new();
    let mut modules = BTreeSet::new();
    for (name, tokens) in rust_files("harness/src") {
        if name == "harness/src/main.rs" || name == "harness/src/lib.rs" {
            continue;
        }
        modules.insert(name.split(['/', '.']).nth(2).expect("a module").to_owned());
        faults.extend(upward_uses(&name, tokens));
    }
    assert_eq!(faults, [] as [String; 0]);
    let known: BTreeSet<String> = MODULES.into_iter().chain(BESIDE).map(str::to_owned).collect();
    assert_eq!(modules, known, "a new module gets its place in the order");
}

#[test]
fn a_use_against_the_order_is_found_in_every_form() {
    let faults = |name: &str, source: &str| upward_uses(name, source.parse().expect("tokens"));
    let engine = "harness/src/worker/engine.rs";
    for source in [
        "use crate::results::Sample;",
        "use crate::{design::Pass, results::{Sample, Rows}};",
        "use super::super::results;",
        "fn f() { print!(\"{}\", crate::results::COUNT); }",
        "impl From<crate::results::Sample> for X {}",
    ] {
        assert_eq!(faults(engine, source), ["harness/src/worker/engine.rs: worker uses results"], "{source}");
    }
    for source in ["use crate::design::Pass;", "use super::results;", "// crate::cli", "use results::Sample;"]
    {
        assert_eq!(faults(engine, source), [] as [String; 0], "{source}");
    }
    let module = "harness/src/worker/mod.rs";
    assert_eq!(faults(module, "use super::cli::Usage;"), ["harness/src/worker/mod.rs: worker uses cli"]);
    assert_eq!(faults("harness/src/report/mod.rs", "use crate::doctor::Check;").len(), 1);
    assert_eq!(faults("harness/src/cli/doctor.rs", "use crate::doctor::Check;").len(), 0);
    assert_eq!(faults("harness/src/doctor/mod.rs", "use crate::design::Pass;").len(), 1);
    assert_eq!(faults("harness/src/exec/series.rs", "use crate::stats::median;").len(), 0);
}

#[test]
fn crates_depend_in_one_direction() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let members = manifest["workspace"]["members"].as_array().expect("members");
    let members: BTreeSet<&str> = members.iter().filter_map(|member| member.as_str()).collect();
    assert_eq!(members, CRATES.iter().map(|(place, ..)| *place).collect(), "every crate has its place");
    for (place, own, allowed) in CRATES {
        let path = root().join(place).join("Cargo.toml");
        let manifest: toml::Table =
            std::fs::read_to_string(&path).expect("a manifest").parse().expect("TOML");
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(kind).and_then(|table| table.as_table()) else { continue };
            for name in dependencies.keys().map(|name| name.replace('-', "_")) {
                let ours = CRATES.iter().any(|(_, own, _)| *own == name);
                assert!(!ours || allowed.contains(&name.as_str()), "{own} depends on {name}");
            }
        }
    }
}

#[test]
fn unsafe_lives_where_malloc_is_called_served_or_recorded() {
    let mut strays = Vec::new();
    for (name, tokens) in ["workloads", "allocators", "harness"].into_iter().flat_map(rust_files) {
        let count = count_word(tokens, "unsafe");
        if count > 0 && !UNSAFE_PLACES.iter().any(|place| name.starts_with(place)) {
            strays.push(format!("{name}: {count}"));
        }
    }
    assert_eq!(strays, [] as [String; 0]);
}

#[test]
fn crates_without_unsafe_forbid_it() {
    for library in ["workloads/trace/src/lib.rs", "workloads/raw/src/lib.rs", "workloads/src/lib.rs"] {
        let text = std::fs::read_to_string(root().join(library)).expect("a library");
        assert!(text.lines().any(|line| line == "#![forbid(unsafe_code)]"), "{library}");
    }
}

/// The folder's own file (`mod.rs`, `lib.rs`) is exempt: it joins its files into a whole, and holds the
/// definitions that they share.
#[test]
fn inside_a_folder_arrows_go_one_way() {
    let circles: Vec<String> = CRATES
        .into_iter()
        .map(|(place, ..)| format!("{place}/src"))
        .flat_map(|directory| find_circles(&directory, rust_files(&directory)))
        .collect();
    assert_eq!(circles, [] as [String; 0]);
}
