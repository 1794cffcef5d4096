//! Which directories were measured on machines of one kind.
//!
//! Blocks are compared within a kind and never across kinds: what differs between kinds is not the allocator.

use std::collections::BTreeSet;

use super::sources::Source;
use crate::results::RunMachine;

/// Facts that no two machines of a kind report identically.
const ABOUT: [&str; 2] = ["memory_bytes", "swap_bytes"];
/// How far apart they may be.
const TOLERANCE: f64 = 0.02;

/// The kinds of machines of a merge.
pub(super) struct Kinds {
    /// By directory.
    kinds: Vec<usize>,
    names: Vec<String>,
    facts: Vec<toml::Table>,
}

impl Kinds {
    /// Distinguishes the machines of directories, in the order in which they first appear.
    pub(super) fn of(sources: &[Source]) -> Kinds {
        let mut found = Kinds { kinds: Vec::new(), names: Vec::new(), facts: Vec::new() };
        for source in sources {
            let machine = &source.file.machine;
            let kind =
                found.facts.iter().position(|facts| is_same_kind(facts, machine)).unwrap_or_else(|| {
                    found.facts.push(machine.clone());
                    found.names.push(format!("m{}", found.facts.len()));
                    found.facts.len() - 1
                });
            found.kinds.push(kind);
        }
        found
    }

    pub(super) fn count(&self) -> usize {
        self.facts.len()
    }

    /// The kind that a directory was measured on.
    pub(super) fn kind(&self, source: usize) -> usize {
        self.kinds[source]
    }

    /// The name of a directory's machine in its rows.
    pub(super) fn name(&self, source: usize) -> &str {
        &self.names[self.kinds[source]]
    }

    pub(super) fn label(&self, kind: usize) -> String {
        self.names[kind].clone()
    }

    pub(super) fn facts(&self, kind: usize) -> &toml::Table {
        &self.facts[kind]
    }

    /// The directories of a kind.
    pub(super) fn members(&self, kind: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.kinds.len()).filter(move |&at| self.kinds[at] == kind)
    }
}

fn is_same_kind(one: &toml::Table, other: &toml::Table) -> bool {
    differing_facts(one, other).is_empty()
}

/// The names of the facts that put two machines into different kinds, sorted.
pub(in crate::session) fn differing_facts<'a>(one: &'a toml::Table, other: &'a toml::Table) -> Vec<&'a str> {
    let names: BTreeSet<&str> = one.keys().chain(other.keys()).map(String::as_str).collect();
    let is_same = |name: &&str| match (one.get(*name), other.get(*name)) {
        (Some(toml::Value::Integer(one)), Some(toml::Value::Integer(other))) if ABOUT.contains(name) => {
            one.abs_diff(*other) as f64 <= *one.max(other) as f64 * TOLERANCE
        }
        (one, other) => one == other,
    };
    names.into_iter().filter(|name| !is_same(name)).collect()
}

/// What all machines have in common.
pub(super) fn common_facts(machines: &[RunMachine]) -> toml::Table {
    let Some((first, others)) = machines.split_first() else { return toml::Table::new() };
    let is_common = |(name, value): &(&String, &toml::Value)| {
        others.iter().all(|other| other.facts.get(*name) == Some(*value))
    };
    first.facts.iter().filter(is_common).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_of_a_kind_differ_in_their_memory_by_little() {
        let machine = |cpu: &str, memory: i64| {
            toml::Table::from_iter([
                ("cpu_model".to_owned(), cpu.into()),
                ("memory_bytes".to_owned(), memory.into()),
            ])
        };
        let one = machine("a", 64_000);
        assert!(is_same_kind(&one, &machine("a", 63_000)));
        assert!(!is_same_kind(&one, &machine("a", 62_000)));
        assert!(!is_same_kind(&one, &machine("b", 64_000)));
        let mut more = one.clone();
        more.insert("thp".to_owned(), "always".into());
        assert!(!is_same_kind(&one, &more) && !is_same_kind(&more, &one));
    }
}
