//! What differs between two runs besides their figures: machine, options, builds, and the work itself.

use std::collections::BTreeSet;
use std::fmt::Display;

use heaplab_workloads::simulate::{show_size, show_time};

use crate::design::{CountFrom, ExecOptions, ReplayOptions};
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
    let is_program = |run: &RunFile| run.options.exec.is_some();
    if is_program(old) == is_program(new) {
        for one in &old.workloads {
            let other = new.workloads.iter().find(|other| other.name == one.name);
            notes.extend(other.and_then(|other| differing_work(one, other, is_program(old))));
        }
    } else {
        let name = |run: &RunFile| if is_program(run) { "a real program" } else { "replays" };
        notes.push(format!(
            "the old run is of {}, the new one of {}: they have no metric in common; heaplab validate compares a \
             recording's replay with its program",
            name(old),
            name(new)
        ));
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

/// What an option is called, and its value.
type Fact = (&'static str, String);

fn differing_options(old: &RunFile, new: &RunFile) -> Vec<String> {
    let new = options(new);
    let differing = options(old).into_iter().filter_map(|(name, one)| {
        let (_, other) = new.iter().find(|(known, _)| *known == name)?;
        (one != *other).then(|| format!("{name} {one} against {other}"))
    });
    differing.collect()
}

/// The options that change what is measured. Those of loads are in the hash of what is replayed.
fn options(run: &RunFile) -> Vec<Fact> {
    let options = &run.options;
    let counted_from = match options.count_from {
        None => "the start".to_owned(),
        Some(CountFrom::Steady) => "where the load is steady".to_owned(),
        Some(CountFrom::Time(ns)) => show_time(ns as f64),
    };
    let group = options.group.unwrap_or_default();
    let limit = |bytes: Option<u64>| or_none(bytes.map(|bytes| show_size(bytes as f64)));
    let mut facts = vec![
        ("memory counted from", counted_from),
        ("memory-max", limit(group.max_bytes)),
        ("memory-high", limit(group.high_bytes)),
        ("swap-max", limit(group.swap_max_bytes)),
    ];
    facts.extend(options.replay.iter().flat_map(|replay| options_of_replay(replay, options.seed)));
    facts.extend(options.exec.iter().flat_map(options_of_program));
    facts
}

fn options_of_replay(replay: &ReplayOptions, seed: u64) -> [Fact; 7] {
    fn by_pass<T: Display>(asked: Option<T>) -> String {
        asked.map_or_else(|| "by pass".to_owned(), |asked| asked.to_string())
    }
    let layouts = if replay.fixed { format!("fixed by seed {seed}") } else { "each block's own".to_owned() };
    [
        ("order", by_pass(replay.order)),
        ("pace", by_pass(replay.pace)),
        ("touch", replay.touch.to_string()),
        ("CPUs shown", replay.cpus.map_or_else(|| "each trace's own".to_owned(), |cpus| cpus.to_string())),
        ("checkpoints", replay.checkpoints.to_string()),
        ("window", replay.window_events.to_string()),
        ("loads and layouts", layouts),
    ]
}

fn options_of_program(exec: &ExecOptions) -> [Fact; 6] {
    let quoted = |text: &str| format!("`{}`", text.split_whitespace().collect::<Vec<&str>>().join(" "));
    let shown = |word: &String| if word.is_empty() { "''".to_owned() } else { word.clone() };
    let words: Vec<String> = exec.command.iter().map(shown).collect();
    let script = |script: &Option<String>| or_none(script.as_deref().map(quoted));
    [
        ("command", quoted(&words.join(" "))),
        ("prepare", script(&exec.prepare)),
        ("ready-when", exec.ready_when.clone().unwrap_or_else(|| "at once".to_owned())),
        ("load", script(&exec.load)),
        ("for", exec.time_ns.map_or_else(|| "no set time".to_owned(), |ns| show_time(ns as f64))),
        ("until-last-exit", if exec.until_last { "yes" } else { "no" }.to_owned()),
    ]
}

fn or_none(value: Option<String>) -> String {
    value.unwrap_or_else(|| "none".to_owned())
}

fn differing_work(old: &RunWorkload, new: &RunWorkload, is_program: bool) -> Option<String> {
    let differs = |one: &Option<String>, other: &Option<String>| {
        one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one != other)
    };
    if !differs(&old.program_hash, &new.program_hash) && !differs(&old.trace_hash, &new.trace_hash) {
        return None;
    }
    if is_program {
        return Some(format!(
            "{}: the runs are of different builds of it ({}, then {}): what differs is not the allocator's alone",
            old.name, old.source, new.source
        ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::GroupLimits;

    /// A run of which only the options are known.
    fn run(options: &str) -> RunFile {
        let text = format!(
            "schema = 2\nheaplab_version = \"1\"\nrun_id = \"r\"\nstarted_utc = \"\"\nargv = []\n[options]\n\
             seed = \"1\"\npasses = []\nreps = 1\n{options}"
        );
        toml::from_str(&text).expect("a run")
    }

    fn program() -> RunFile {
        run("[options.exec]\ncommand = [\"redis-server\", \"--port\", \"7391\"]\nready_within_ns = 1\n")
    }

    fn replay() -> RunFile {
        run("[options.replay]\nworkloads = []\ntouch = \"page\"\ncheckpoints = 9\nwindow_events = 9\n")
    }

    fn exec(run: &mut RunFile) -> &mut ExecOptions {
        run.options.exec.as_mut().expect("a program")
    }

    fn differing(old: &RunFile, change: impl Fn(&mut RunFile)) -> String {
        let mut new = old.clone();
        change(&mut new);
        describe_differences(old, &new).join("\n")
    }

    #[test]
    fn conditions_of_a_program_are_compared() {
        let differs = |change: fn(&mut RunFile), what: &str| {
            let found = differing(&program(), change);
            assert_eq!(found, format!("the runs were made with other options: {what}"));
        };
        differs(
            |run| exec(run).load = Some("redis-benchmark\n -q".to_owned()),
            "load none against `redis-benchmark -q`",
        );
        differs(|run| exec(run).prepare = Some("rm -f dump".to_owned()), "prepare none against `rm -f dump`");
        differs(|run| exec(run).time_ns = Some(600_000_000_000), "for no set time against 10min");
        differs(
            |run| exec(run).ready_when = Some("TCP:7391".to_owned()),
            "ready-when at once against TCP:7391",
        );
        differs(|run| exec(run).until_last = true, "until-last-exit no against yes");
        differs(
            |run| exec(run).command[2] = "1".to_owned(),
            "command `redis-server --port 7391` against `redis-server --port 1`",
        );
        differs(
            |run| run.options.count_from = Some(CountFrom::Time(90_000_000_000)),
            "memory counted from the start against 90s",
        );
        differs(
            |run| {
                run.options.group = Some(GroupLimits {
                    max_bytes: Some(512 << 20),
                    high_bytes: Some(7),
                    swap_max_bytes: Some(0),
                });
            },
            "memory-max none against 512MiB; memory-high none against 7B; swap-max none against 0B",
        );
        assert_eq!(differing(&program(), |run| exec(run).ready_within_ns = 2), "", "it only ends what fails");
    }

    #[test]
    fn conditions_of_a_replay_are_compared() {
        let steady = differing(&replay(), |run| run.options.count_from = Some(CountFrom::Steady));
        assert!(
            steady.ends_with(": memory counted from the start against where the load is steady"),
            "{steady}"
        );
        let fixed = |run: &mut RunFile| run.options.replay.as_mut().expect("a replay").fixed = true;
        let found = differing(&replay(), fixed);
        assert!(found.ends_with(": loads and layouts each block's own against fixed by seed 1"), "{found}");
        assert_eq!(differing(&replay(), |run| run.options.seed = 2), "", "each block has its own anyway");
    }

    #[test]
    fn a_replay_is_not_compared_with_a_program() {
        let workload = |hash: &str| RunWorkload {
            name: "redis".to_owned(),
            program_hash: Some(hash.to_owned()),
            ..RunWorkload::default()
        };
        let (mut old, mut new) = (replay(), program());
        old.workloads = vec![workload("a")];
        new.workloads = vec![workload("b")];
        let found = describe_differences(&old, &new);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("the old run is of replays, the new one of a real program: "),
            "{found:?}"
        );
        let mut other = new.clone();
        other.workloads = vec![workload("c")];
        let found = describe_differences(&new, &other).join("");
        assert!(found.starts_with("redis: the runs are of different builds of it"), "{found}");
    }
}
