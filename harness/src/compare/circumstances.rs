//! What differs between two runs besides their figures: machine, options, builds, and the work itself.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::results::{RunFile, RunVariant, RunWorkload};

/// Sentences about what differs. Each is a reason why a change in the figures may not be due to the
/// allocator.
///
/// The first is about the machine, if that differs. How often and until when a run measured does not count
/// as a difference.
pub fn describe_differences(old: &RunFile, new: &RunFile) -> Vec<String> {
    let mut notes = Vec::new();
    let machine = differing_facts(&old.machine, &new.machine);
    if !machine.is_empty() {
        notes.push(format!(
            "the machines differ, and with them every figure of time: {}; compare ratios instead: --baseline VARIANT",
            machine.join("; ")
        ));
    }
    let options = differing_options(old, new);
    if !options.is_empty() {
        notes.push(format!("the runs were made with other options: {}", options.join("; ")));
    }
    if old.heaplab_version != new.heaplab_version {
        notes.push(format!(
            "heaplab itself differs: {} in the old run, {} in the new one",
            old.heaplab_version, new.heaplab_version
        ));
    }
    if let (Some(one), Some(other)) = (&old.build, &new.build)
        && let Some(differs) = one.find_difference(other)
    {
        notes.push(format!("the builds of heaplab differ: {differs}"));
    }
    for one in &old.workloads {
        let other = new.workloads.iter().find(|other| other.name == one.name);
        notes.extend(other.and_then(|other| differing_work(one, other)));
    }
    for one in &old.variants {
        let other = new.variants.iter().find(|other| other.label == one.label);
        notes.extend(other.and_then(|other| differing_build(one, other)));
    }
    notes
}

fn differing_facts(old: &toml::Table, new: &toml::Table) -> Vec<String> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let of = |table: &toml::Table, name: &str| match table.get(name) {
        None => "not known".to_owned(),
        Some(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    };
    let differing = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differing.map(|name| format!("{name} {} against {}", of(old, name), of(new, name))).collect()
}

fn differing_options(old: &RunFile, new: &RunFile) -> Vec<String> {
    fn by_pass<T: Display>(asked: Option<T>) -> String {
        asked.map_or_else(|| "by pass".to_owned(), |asked| asked.to_string())
    }
    let facts = |run: &RunFile| {
        run.options
            .replay
            .iter()
            .flat_map(|replay| {
                let cpus = replay.cpus.map_or_else(|| "each trace's own".to_owned(), |cpus| cpus.to_string());
                [
                    ("order", by_pass(replay.order)),
                    ("pace", by_pass(replay.pace)),
                    ("touch", replay.touch.to_string()),
                    ("CPUs shown", cpus),
                    ("checkpoints", replay.checkpoints.to_string()),
                    ("window", replay.window_events.to_string()),
                ]
            })
            .collect::<Vec<_>>()
    };
    let differing = facts(old).into_iter().zip(facts(new)).filter(|(one, other)| one != other);
    differing.map(|((name, one), (_, other))| format!("{name} {one} against {other}")).collect()
}

fn differing_work(old: &RunWorkload, new: &RunWorkload) -> Option<String> {
    let differs = |one: &Option<String>, other: &Option<String>| {
        one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one != other)
    };
    if !differs(&old.program_hash, &new.program_hash) && !differs(&old.trace_hash, &new.trace_hash) {
        return None;
    }
    let count = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    Some(format!(
        "{}: the runs did not replay the same program ({} events of {}, then {} of {}): what differs is not the \
         allocator's alone",
        old.name,
        count(old.events),
        old.source,
        count(new.events),
        new.source
    ))
}

fn differing_build(old: &RunVariant, new: &RunVariant) -> Option<String> {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".to_owned());
    if old.version != new.version {
        return Some(format!(
            "{}: version {} in the old run, {} in the new one",
            old.label,
            known(&old.version),
            known(&new.version)
        ));
    }
    let other_build = old.library_hash.as_ref().zip(new.library_hash.as_ref()).is_some_and(|(a, b)| a != b);
    other_build.then(|| {
        format!("{}: the same version {}, in another build of its library", old.label, known(&old.version))
    })
}
