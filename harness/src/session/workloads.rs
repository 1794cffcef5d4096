//! The workloads of a run: the named ones, or those of a suite, each at every load that is asked for.

use std::collections::HashSet;

use heaplab_workloads::catalog::{self, Suite, Workload};
use heaplab_workloads::simulate::Options;

use super::error::{SessionError, usage};
use super::trees::Tree;
use crate::design::ReplayOptions;

/// The workloads that are asked for, each with the options of its simulation.
pub(super) fn find_workloads(
    seed: u64,
    replay: &ReplayOptions,
) -> Result<Vec<(Workload, Options)>, SessionError> {
    let of_model = replay.set.iter().filter(|set| !is_seed(set)).cloned();
    let options = Options { duration_ns: replay.duration_ns, seed, overrides: of_model.collect() };
    let sets_connections =
        |set: &&String| set.split('=').next().is_some_and(|key| key.trim() == "connections");
    if let Some(set) = replay.set.iter().find(sets_connections).filter(|_| !replay.connections.is_empty()) {
        return Err(usage(format!("--set {set} and --connections contradict each other: omit one")));
    }
    if replay.workloads.is_empty() {
        if !replay.set.is_empty() {
            return Err(usage("--set needs a load model: name the workload that it is for"));
        }
        if !replay.connections.is_empty() {
            return Err(usage("--connections needs a load model: name the workload that it is for"));
        }
        let suite = match &replay.suite {
            Some(name) => name.parse().map_err(usage)?,
            None => Suite::Quick,
        };
        let with_asked = |workload: Workload| {
            let duration_ns = replay.duration_ns.filter(|_| workload.is_model());
            (workload, Options { seed, duration_ns, ..Options::default() })
        };
        return Ok(suite.workloads().map(with_asked).collect());
    }
    let mut names = HashSet::new();
    let mut workloads = Vec::new();
    for found in expand(&replay.workloads)? {
        let workload = match replay.set.iter().find(|set| is_seed(set)) {
            Some(set) if found.is_model() => {
                let named = found.named_by(&options)?;
                let between = if named.name.contains(':') { "," } else { ":" };
                Workload { name: format!("{}{between}{}", named.name, set.replace(' ', "")), ..named }
            }
            Some(set) => {
                let name = found.name;
                return Err(usage(format!("--set {set} needs a load model, and {name} is none: omit it")));
            }
            None => found.named_by(&options)?,
        };
        for (workload, options) in at_each_load(workload, &options, &replay.connections)? {
            if !names.insert(workload.name.clone()) {
                return Err(usage(format!(
                    "two workloads are called {:?}: rename a file, or omit one",
                    workload.name
                )));
            }
            workloads.push((workload, options));
        }
    }
    Ok(workloads)
}

/// Whether an override sets the seed, which no definition has.
fn is_seed(set: &str) -> bool {
    set.split('=').next().is_some_and(|key| key.trim() == "seed")
}

/// The seed for every load, if the user chose one.
pub(super) fn pinned_seed(set: &[String]) -> Result<Option<u64>, SessionError> {
    let Some(last) = set.iter().rfind(|set| is_seed(set)) else { return Ok(None) };
    let value = last.split_once('=').map_or("", |(_, value)| value.trim());
    let bad = || usage(format!("--set {last}: a seed is a whole number below 2^64, such as seed=7"));
    value.parse().map(Some).map_err(|_| bad())
}

/// The workloads of these names; for a tree, its processes.
fn expand(names: &[String]) -> Result<Vec<Workload>, SessionError> {
    let mut found = Vec::new();
    for name in names {
        match Tree::is_named_by(name) {
            true => found.extend(Tree::read(name)?.workloads().cloned()),
            false => found.push(catalog::find(name)?),
        }
    }
    Ok(found)
}

/// The workload as it is, or once for each requested number of connections.
fn at_each_load(
    workload: Workload,
    options: &Options,
    connections: &[u32],
) -> Result<Vec<(Workload, Options)>, SessionError> {
    if connections.is_empty() {
        return Ok(vec![(workload, options.clone())]);
    }
    if workload.connections(options)?.is_none() {
        return Err(usage(format!(
            "{} is no load model of a server, and has no connections: omit --connections",
            workload.name
        )));
    }
    let load = |connections: &u32| {
        let between = if workload.name.contains(':') { "," } else { ":" };
        let name = format!("{}{between}connections={connections}", workload.name);
        let mut options = options.clone();
        options.overrides.push(format!("connections={connections}"));
        (Workload { name, ..workload.clone() }, options)
    };
    Ok(connections.iter().map(load).collect())
}

/// The name of a run of these workloads: its only workload, its suite, or how many there are.
pub(super) fn describe_all(workloads: &[(Workload, Options)]) -> String {
    let names: Vec<&str> = workloads.iter().map(|(workload, _)| workload.name.as_str()).collect();
    let is_suite = |suite: &Suite| suite.workloads().map(|workload| workload.name).eq(names.iter().copied());
    match names[..] {
        [name] => name.to_owned(),
        _ => match Suite::ALL.into_iter().find(is_suite) {
            Some(suite) => suite.name().to_owned(),
            None => format!("{}-workloads", names.len()),
        },
    }
}
