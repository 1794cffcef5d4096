//! What is built in: recordings, models of recordings, and which workload belongs to which suite.
//!
//! PERF: recordings are read where the program's file is mapped: they take no memory that is the process's own.

use std::fmt;
use std::path::PathBuf;

use super::{Source, Workload, list};

/// A log of another tool that is built in.
pub(super) struct ShippedLog {
    name: &'static str,
    description: &'static str,
    file_name: &'static str,
    bytes: &'static [u8],
}

/// A trace that is built in. How it was made stands in `traces/NAME.md`.
pub(super) struct ShippedTrace {
    name: &'static str,
    description: &'static str,
    bytes: &'static [u8],
}

/// A model of recordings that is built in. `models/README.md` describes how it was made.
pub(super) struct ShippedModel {
    name: &'static str,
    description: &'static str,
    /// What its loads are counted in.
    load_unit: &'static str,
    bytes: &'static [u8],
}

pub(super) const MODELS: &[ShippedModel] = &[
    ShippedModel {
        name: "python-server-model",
        description: "model of two recordings of a Python server, at 5 and 15 requests/s (--load N): epoll, 25 threads, JSON",
        load_unit: "requests/s",
        bytes: include_bytes!("../../models/python-server-model.hlm"),
    },
    ShippedModel {
        name: "redis-server-model",
        description: "model of two recordings of redis, at 100 and 300 commands/s (--load N): keys that expire, lists, hashes",
        load_unit: "commands/s",
        bytes: include_bytes!("../../models/redis-server-model.hlm"),
    },
];

pub(super) const LOGS: &[ShippedLog] = &[ShippedLog {
    name: "threaded",
    description: "recording of a small threaded C program: clients, workers, bursts, objects that cross threads",
    file_name: "threaded.zip",
    bytes: include_bytes!("../../traces/threaded.zip"),
}];

pub(super) const TRACES: &[ShippedTrace] = &[
    ShippedTrace {
        name: "python-server",
        description: "recording of a Python server: epoll, 25 threads, JSON of 1 to 500 KB, small objects in pymalloc",
        bytes: include_bytes!("../../traces/python-server.hlt"),
    },
    ShippedTrace {
        name: "python-server-malloc",
        description: "recording of the same server with PYTHONMALLOC=malloc: each object is a block of malloc",
        bytes: include_bytes!("../../traces/python-server-malloc.hlt"),
    },
    ShippedTrace {
        name: "redis-server",
        description: "recording of redis under redis-benchmark: strings, lists, sets, hashes, then deletions",
        bytes: include_bytes!("../../traces/redis-server.hlt"),
    },
    ShippedTrace {
        name: "sqlite3",
        description: "recording of the sqlite3 shell: tables in memory are filled, queried, changed and emptied",
        bytes: include_bytes!("../../traces/sqlite3.hlt"),
    },
    ShippedTrace {
        name: "cpp-compile",
        description: "recording of GCC's C++ compiler on a file with large templates",
        bytes: include_bytes!("../../traces/cpp-compile.hlt"),
    },
];

impl ShippedLog {
    pub(super) fn workload(&self) -> Workload {
        Workload {
            name: self.name.to_string(),
            description: self.description.to_string(),
            source: Source::ShippedLog { bytes: self.bytes, file_name: self.file_name },
        }
    }
}

impl ShippedTrace {
    pub(super) fn workload(&self) -> Workload {
        Workload {
            name: self.name.to_string(),
            description: self.description.to_string(),
            source: Source::ShippedTrace { bytes: self.bytes },
        }
    }
}

impl ShippedModel {
    pub(super) fn workload(&self) -> Workload {
        Workload {
            name: self.name.to_string(),
            description: self.description.to_string(),
            source: Source::Model {
                path: PathBuf::from(self.name),
                bytes: Some(self.bytes),
                load_unit: self.load_unit.to_string(),
            },
        }
    }
}

/// Workloads that are run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Some minutes on two cores: what runs where no workload is named.
    Quick,
    /// Every recording, and every model that has neither days nor hours to simulate.
    Full,
}

/// What belongs to which suite. Patterns belong to none: each stresses one thing, and their mean would say nothing.
const MEMBERS: &[(&str, &[Suite])] = &[
    ("monitor-server", &[Suite::Quick, Suite::Full]),
    ("monitor-server-vm", &[Suite::Full]),
    ("monitor-server-gc", &[Suite::Full]),
    ("api-gateway", &[Suite::Full]),
    ("cache-churn", &[Suite::Full]),
    ("threaded", &[Suite::Quick, Suite::Full]),
    ("python-server", &[Suite::Full]),
    ("python-server-malloc", &[Suite::Quick, Suite::Full]),
    ("redis-server", &[Suite::Quick, Suite::Full]),
    ("sqlite3", &[Suite::Full]),
    ("cpp-compile", &[Suite::Full]),
];

/// The names that suites are made of.
#[cfg(test)]
pub(super) fn members() -> impl Iterator<Item = &'static str> {
    MEMBERS.iter().map(|(member, _)| *member)
}

impl Suite {
    /// Both.
    pub const ALL: [Suite; 2] = [Suite::Quick, Suite::Full];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Quick => "quick",
            Suite::Full => "full",
        }
    }

    /// Whether the shipped workload of this name belongs to it.
    pub fn has(self, name: &str) -> bool {
        MEMBERS.iter().any(|(member, suites)| *member == name && suites.contains(&self))
    }

    /// Its workloads. Models run for as long as their definitions say: a cache that is not full yet would say little of a
    /// server that runs for weeks.
    pub fn workloads(self) -> impl Iterator<Item = Workload> {
        list().into_iter().filter(move |workload| self.has(&workload.name))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl std::str::FromStr for Suite {
    type Err = String;

    fn from_str(text: &str) -> Result<Suite, String> {
        Suite::ALL
            .into_iter()
            .find(|suite| suite.name() == text)
            .ok_or_else(|| format!("unknown suite `{text}`: there are quick and full"))
    }
}
