//! What is asked of a plan, and the file of a run's directory that keeps it.
//!
//! `plan.toml` holds the question and no figure: `heaplab plan` writes it, and a report answers it again from the run's
//! files, so that its plan is always that of the samples beside it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::results::{ResultsError, write_whole};

const FILE: &str = "plan.toml";

/// A type of host.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its memory.
    pub memory_bytes: u64,
    /// Processes that run on it today.
    pub processes: u64,
    /// Its CPUs; none if that was not said.
    pub cpus: Option<u32>,
    /// What one costs, in any unit.
    pub cost: f64,
}

/// What is asked of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Memory of each host that is kept for the system and others.
    pub reserve_bytes: u64,
    /// Memory of a process that is not its heap's, and that no other shares.
    pub non_heap_bytes: u64,
    /// Pages that all processes of a host share, beside the allocator's library: program and other libraries.
    pub shared_bytes: u64,
    /// Part by which a process is taken to be larger than was measured.
    pub margin: f64,
    /// Processes of the fleet; none for those of [`TODAYS_HOSTS`] hosts as they run today.
    pub fleet: Option<u64>,
    /// The variant that savings refer to; none for ptmalloc2, if it was measured.
    pub baseline: Option<String>,
    /// Whether the memory of a connection is asked for.
    #[serde(default)]
    pub per_connection: bool,
    /// CPUs that a process keeps busy, where that is known better than from the run.
    #[serde(default)]
    pub process_cpus: Option<f64>,
    /// Part of a host's CPUs that is kept free.
    #[serde(default)]
    pub cpu_headroom: f64,
    /// The types of host. None is enough where the memory of a connection is asked for.
    #[serde(default)]
    pub hosts: Vec<Host>,
}

/// So many hosts of each type are planned for where no fleet is named: hosts then read as per cent of today's.
pub const TODAYS_HOSTS: u64 = 100;

/// A request that cannot be planned for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// There is no host.
    #[error("no host is named: give --host-memory and --processes, once for each type of host")]
    NoHost,
    /// A host's memory is all reserved or shared.
    #[error(
        "a host of {memory_bytes} bytes has nothing left for processes: {taken_bytes} bytes are reserved (--reserve) or shared (--shared)"
    )]
    NothingLeft {
        /// The host's memory.
        memory_bytes: u64,
        /// What is taken off.
        taken_bytes: u64,
    },
    /// A number that must be positive and is not.
    #[error("{name} is {found}: give {allowed}")]
    OutOfRange {
        /// Which.
        name: &'static str,
        /// What was given.
        found: String,
        /// What can be.
        allowed: &'static str,
    },
}

impl Request {
    /// Finds what cannot be planned for.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn check(&self) -> Result<(), RequestError> {
        let out_of_range =
            |name, found: String, allowed| Err(RequestError::OutOfRange { name, found, allowed });
        if self.hosts.is_empty() && !self.per_connection {
            return Err(RequestError::NoHost);
        }
        if !(self.margin.is_finite() && (0.0..=10.0).contains(&self.margin)) {
            return out_of_range("--margin", format!("{}%", self.margin * 100.0), "0% to 1000%");
        }
        if self.fleet == Some(0) {
            return out_of_range("--fleet", "0".to_owned(), "a number of processes, 1 at least");
        }
        if !(self.cpu_headroom.is_finite() && (0.0..1.0).contains(&self.cpu_headroom)) {
            return out_of_range("--cpu-headroom", format!("{}%", self.cpu_headroom * 100.0), "0% to 99%");
        }
        if let Some(cpus) = self.process_cpus.filter(|cpus| !(cpus.is_finite() && *cpus > 0.0)) {
            return out_of_range(
                "--process-cpus",
                cpus.to_string(),
                "CPUs that a process keeps busy, above 0",
            );
        }
        for host in &self.hosts {
            let taken_bytes = self.reserve_bytes.saturating_add(self.shared_bytes);
            if host.memory_bytes <= taken_bytes {
                return Err(RequestError::NothingLeft { memory_bytes: host.memory_bytes, taken_bytes });
            }
            if host.processes == 0 {
                return out_of_range(
                    "--processes",
                    "0".to_owned(),
                    "the processes that run on the host today, 1 at least",
                );
            }
            if !(host.cost.is_finite() && host.cost > 0.0) {
                return out_of_range("--host-cost", host.cost.to_string(), "what a host costs, above 0");
            }
        }
        Ok(())
    }
}

/// `plan.toml` could not be written or used.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It is not what it should be.
    #[error("{path}: {detail}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        detail: String,
    },
    /// The system refused.
    #[error(transparent)]
    Results(#[from] ResultsError),
}

/// Writes what was asked into a run's directory; returns the file.
///
/// # Errors
///
/// It cannot be written.
pub fn write_request(directory: &Path, request: &Request) -> Result<PathBuf, PlanFileError> {
    let path = directory.join(FILE);
    let text = toml::to_string(request)
        .map_err(|error| PlanFileError::Unusable { path: path.clone(), detail: error.to_string() })?;
    let head = "# What `heaplab plan` was asked last. `heaplab report` answers it; without this file it shows no plan.\n\n";
    write_whole(&path, format!("{head}{text}").as_bytes())?;
    Ok(path)
}

/// Reads what was asked of a run; none if it has had no plan.
///
/// # Errors
///
/// It cannot be read, or asks for what cannot be planned.
pub fn read_request(directory: &Path) -> Result<Option<Request>, PlanFileError> {
    let path = directory.join(FILE);
    let unusable = |detail: String| PlanFileError::Unusable { path: path.clone(), detail };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ResultsError::Io { path, action: "read", source }.into()),
    };
    let request: Request = toml::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    request.check().map_err(|error| unusable(error.to_string()))?;
    Ok(Some(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let host = Host { memory_bytes: 4 << 30, processes: 10, cpus: None, cost: 9.5 };
        Request {
            hosts: vec![host, Host { cpus: Some(8), ..host }],
            reserve_bytes: 100 << 20,
            non_heap_bytes: 20 << 20,
            margin: 0.25,
            fleet: Some(1000),
            baseline: Some("a:b=1,c=\"d\"".to_owned()),
            ..Request::default()
        }
    }

    #[test]
    fn what_was_asked_comes_back() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(read_request(directory.path()).expect("no file is no fault"), None);
        let bare = Request { per_connection: true, ..Request::default() };
        for asked in [request(), bare] {
            write_request(directory.path(), &asked).expect("written");
            assert_eq!(read_request(directory.path()).expect("readable"), Some(asked));
        }
    }

    #[test]
    fn a_file_that_was_spoilt_is_named_with_what_is_wrong() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = write_request(directory.path(), &request()).expect("written");
        let good = std::fs::read_to_string(&path).expect("readable");
        for (from, to, told) in [
            ("margin = 0.25", "margin = -1.0", "--margin is -100%"),
            ("processes = 10", "processes = \"ten\"", "invalid type"),
            ("processes", "process", "unknown field `process`"),
            ("fleet = 1000", "fleet = ", "TOML parse error"),
        ] {
            std::fs::write(&path, good.replacen(from, to, 1)).expect("writable");
            let error = read_request(directory.path()).expect_err("spoilt").to_string();
            assert!(error.contains("plan.toml: ") && error.contains(told), "{error}");
        }
    }

    #[test]
    fn requests_without_sense_are_refused() {
        let good = request();
        let with = |change: &dyn Fn(&mut Request)| {
            let mut request = good.clone();
            change(&mut request);
            request.check().expect_err("no sense").to_string()
        };
        assert_eq!(good.check(), Ok(()));
        assert!(with(&|it| it.hosts.clear()).starts_with("no host is named"));
        assert_eq!(Request { per_connection: true, hosts: Vec::new(), ..good.clone() }.check(), Ok(()));
        assert!(with(&|it| it.reserve_bytes = u64::MAX).contains("nothing left"));
        assert!(with(&|it| it.hosts[0].processes = 0).starts_with("--processes is 0"));
        for cost in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(with(&|it| it.hosts[0].cost = cost).starts_with("--host-cost is "), "{cost}");
        }
        assert!(with(&|it| it.margin = -0.1).starts_with("--margin is -10%"));
        assert!(with(&|it| it.fleet = Some(0)).starts_with("--fleet is 0"));
    }
}
