//! What is asked of a plan, and the file of a run's directory that keeps it.
//!
//! `plan.toml` holds the question and no figures: `heaplab plan` writes it, and a report answers it again from the
//! run's files, so that its plan always matches the samples next to it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::results::{ResultsError, write_whole};

/// The file of the unnamed plan.
const FILE: &str = "plan.toml";
/// What precedes and follows a plan's name.
const NAMED: (&str, &str) = ("plan-", ".toml");
/// Most letters of a name.
const LONGEST_NAME: usize = 60;

/// A type of host.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its memory.
    pub memory_bytes: u64,
    /// Processes that run on it today; none if not given.
    #[serde(default)]
    pub processes: Option<u64>,
    /// Its CPUs; none if not given.
    pub cpus: Option<u32>,
    /// What one costs, in any unit.
    pub cost: f64,
}

/// What is asked of pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodRequest {
    /// Memory of a node, what pods may use and what is reserved.
    pub node_memory_bytes: u64,
    /// Memory of it that pods do not get.
    pub reserve_bytes: u64,
    /// CPUs of a node; none if not given.
    pub node_cpus: Option<u32>,
    /// Fraction of them that is kept free.
    pub cpu_headroom: f64,
    /// Pods of the fleet.
    pub replicas: u64,
    /// Fraction of the replicas that is started in addition while a new version is rolled out.
    pub surge: f64,
    /// Odds that one pod is killed in a day, and that a node has too little memory.
    pub odds: f64,
    /// Whether all pods follow one daily curve.
    pub correlated: bool,
    /// How long a pod lives; none for as long as the run was.
    pub uptime_s: Option<f64>,
}

/// Odds below these cannot be drawn.
const LEAST_ODDS: f64 = 1e-4;

fn check_odds(odds: f64) -> Result<(), RequestError> {
    match (LEAST_ODDS..=0.5).contains(&odds) {
        true => Ok(()),
        false => Err(RequestError::OutOfRange {
            name: "--odds",
            found: odds.to_string(),
            allowed: "0.0001 (1e-4) to 0.5, or as a percentage",
        }),
    }
}

impl PodRequest {
    fn check(&self) -> Result<(), RequestError> {
        check_odds(self.odds)?;
        if self.node_memory_bytes <= self.reserve_bytes {
            let (memory_bytes, taken_bytes) = (self.node_memory_bytes, self.reserve_bytes);
            return Err(RequestError::NothingLeft { memory_bytes, taken_bytes });
        }
        if self.replicas == 0 {
            let found = "0".to_owned();
            return Err(RequestError::OutOfRange { name: "--replicas", found, allowed: "1 pod at least" });
        }
        if !(0.0..=10.0).contains(&self.surge) {
            let found = format!("{}%", self.surge * 100.0);
            return Err(RequestError::OutOfRange { name: "--surge", found, allowed: "0% to 1000%" });
        }
        Ok(())
    }
}

/// What is asked of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Memory of each host that is kept for the system and others.
    pub reserve_bytes: u64,
    /// Memory of a process outside its heap that no other process shares.
    pub non_heap_bytes: u64,
    /// Pages that all processes of a host share, besides the allocator's library: the program and other libraries.
    pub shared_bytes: u64,
    /// Fraction by which a process is assumed to be larger than measured.
    pub margin: f64,
    /// Processes of the fleet; none for those that [`TODAYS_HOSTS`] hosts run today.
    pub fleet: Option<u64>,
    /// The variant that savings refer to; none for ptmalloc2, if it was measured.
    pub baseline: Option<String>,
    /// Whether to compute the memory of a connection.
    #[serde(default)]
    pub per_connection: bool,
    /// The unit of a process's load; none for connections.
    #[serde(default)]
    pub load_unit: Option<String>,
    /// Loads for which a process's memory is asked, besides those that were measured.
    #[serde(default)]
    pub at: Vec<f64>,
    /// Whether to plan even with recordings that do not cover their processes.
    #[serde(default)]
    pub despite_coverage: bool,
    /// CPUs that a process keeps busy, where the user knows that better than the run.
    #[serde(default)]
    pub process_cpus: Option<f64>,
    /// Fraction of a host's CPUs that is kept free.
    #[serde(default)]
    pub cpu_headroom: f64,
    /// Odds that the processes of a host need more than it has; if given, the margin follows from them.
    #[serde(default)]
    pub odds: Option<f64>,
    /// Pods, where they are asked for.
    #[serde(default)]
    pub pods: Option<PodRequest>,
    /// The types of host. May be empty where the memory of a connection is asked for.
    #[serde(default)]
    pub hosts: Vec<Host>,
}

/// Hosts of each type that a plan assumes where no fleet is named and it is known what runs today: host counts then
/// read as percentages of today's.
pub const TODAYS_HOSTS: u64 = 100;

/// A request that cannot be planned for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// There is no host.
    #[error("no host is named: give --host-memory, once for each type of host, or --pods")]
    NoHost,
    /// All of a host's memory is reserved or shared.
    #[error(
        "a host of {memory_bytes} bytes has nothing left for processes: {taken_bytes} bytes are reserved (--reserve) or shared (--shared)"
    )]
    NothingLeft {
        /// The host's memory.
        memory_bytes: u64,
        /// What is subtracted.
        taken_bytes: u64,
    },
    /// A number is not in the range allowed.
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
    /// The first fault found.
    pub fn check(&self) -> Result<(), RequestError> {
        let out_of_range =
            |name, found: String, allowed| Err(RequestError::OutOfRange { name, found, allowed });
        if self.hosts.is_empty() && !self.per_connection && self.pods.is_none() {
            return Err(RequestError::NoHost);
        }
        self.odds.map_or(Ok(()), check_odds)?;
        self.pods.map_or(Ok(()), |pods| pods.check())?;
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
        // Rows are found by these.
        let kind = |host: &Host| (host.memory_bytes, host.cpus, host.processes);
        let twice = self.hosts.iter().enumerate();
        let mut twice =
            twice.filter(|(at, host)| self.hosts[..*at].iter().any(|other| kind(other) == kind(host)));
        if let Some((_, host)) = twice.next() {
            return out_of_range(
                "--host-memory",
                format!("{} bytes twice, with the same --host-cpus and --processes", host.memory_bytes),
                "each type of host once",
            );
        }
        for host in &self.hosts {
            let taken_bytes = self.reserve_bytes.saturating_add(self.shared_bytes);
            if host.memory_bytes <= taken_bytes {
                return Err(RequestError::NothingLeft { memory_bytes: host.memory_bytes, taken_bytes });
            }
            if host.processes == Some(0) {
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

/// Why `plan.toml` could not be written or used.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// The file is not valid.
    #[error("{path}: {detail}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        detail: String,
    },
    /// The system reported an error.
    #[error(transparent)]
    Results(#[from] ResultsError),
}

/// Checks that a plan's name can be part of a file name.
///
/// # Errors
///
/// A sentence that says what is wrong.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    match !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_good) {
        true => Ok(()),
        false => Err(format!(
            "{name:?} is no name of a plan: up to {LONGEST_NAME} letters, digits, dots, hyphens and underscores"
        )),
    }
}

/// The outcome of keeping a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is in this file.
    In(PathBuf),
    /// This file holds a different question, and was not touched.
    Other(PathBuf),
}

/// Writes what was asked into a run's directory, with or without a name. A file that holds a different question is
/// replaced only if `replace` is set.
///
/// # Errors
///
/// The file cannot be written.
pub fn keep_request(
    directory: &Path,
    name: Option<&str>,
    request: &Request,
    replace: bool,
) -> Result<Kept, PlanFileError> {
    let file = name.map_or_else(|| FILE.to_owned(), |name| format!("{}{name}{}", NAMED.0, NAMED.1));
    let path = directory.join(file);
    let text = toml::to_string(request)
        .map_err(|error| PlanFileError::Unusable { path: path.clone(), detail: error.to_string() })?;
    if !replace {
        match read_file(&path) {
            Ok(None) => {}
            Ok(Some(known)) if known == *request => return Ok(Kept::In(path)),
            // A file that cannot be read may be one that somebody wrote by hand.
            Ok(Some(_)) | Err(PlanFileError::Unusable { .. }) => return Ok(Kept::Other(path)),
            Err(error) => return Err(error),
        }
    }
    let head = "# What `heaplab plan` was asked. `heaplab report` answers it; without this file it does not show this plan.\n\n";
    write_whole(&path, format!("{head}{text}").as_bytes())?;
    Ok(Kept::In(path))
}

/// The names of a run's plans: none for the unnamed one, which is first.
pub fn list_requests(directory: &Path) -> Vec<Option<String>> {
    let mut names: Vec<Option<String>> = Vec::new();
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for file in files.filter_map(|file| file.file_name().into_string().ok()) {
        let name = file.strip_prefix(NAMED.0).and_then(|rest| rest.strip_suffix(NAMED.1));
        match name.filter(|name| check_name(name).is_ok()) {
            Some(name) => names.push(Some(name.to_owned())),
            None if file == FILE => names.push(None),
            None => {}
        }
    }
    names.sort();
    names
}

/// Reads what was asked of a run, with or without a name; none if it has no such plan.
///
/// # Errors
///
/// The file cannot be read, or asks for what cannot be planned.
pub fn read_request(directory: &Path, name: Option<&str>) -> Result<Option<Request>, PlanFileError> {
    let file = name.map_or_else(|| FILE.to_owned(), |name| format!("{}{name}{}", NAMED.0, NAMED.1));
    read_file(&directory.join(file))
}

fn read_file(path: &Path) -> Result<Option<Request>, PlanFileError> {
    let unusable = |detail: String| PlanFileError::Unusable { path: path.to_owned(), detail };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ResultsError::Io { path: path.to_owned(), action: "read", source }.into());
        }
    };
    let request: Request = toml::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    request.check().map_err(|error| unusable(error.to_string()))?;
    Ok(Some(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let host = Host { memory_bytes: 4 << 30, processes: Some(10), cpus: None, cost: 9.5 };
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
        let path = directory.path();
        assert_eq!(read_request(path, None).expect("no file is no fault"), None);
        let bare = Request { per_connection: true, ..Request::default() };
        for name in [None, Some("busy-day")] {
            let keep = |asked: &Request, replace| keep_request(path, name, asked, replace).expect("written");
            assert!(matches!(keep(&request(), false), Kept::In(_)));
            assert!(matches!(keep(&request(), false), Kept::In(_)), "the same question again");
            assert!(matches!(keep(&bare, false), Kept::Other(_)), "another is kept out");
            assert_eq!(read_request(path, name).expect("readable"), Some(request()));
            assert!(matches!(keep(&bare, true), Kept::In(_)));
            assert_eq!(read_request(path, name).expect("readable"), Some(bare.clone()));
        }
        assert_eq!(list_requests(path), [None, Some("busy-day".to_owned())]);
        assert!(check_name("../x").is_err() && check_name("").is_err() && check_name("busy.1_a-b").is_ok());
    }

    #[test]
    fn a_file_that_was_spoilt_is_named_with_what_is_wrong() {
        let directory = tempfile::tempdir().expect("a directory");
        let Kept::In(path) = keep_request(directory.path(), None, &request(), false).expect("written") else {
            panic!("there was none before")
        };
        let good = std::fs::read_to_string(&path).expect("readable");
        for (from, to, told) in [
            ("margin = 0.25", "margin = -1.0", "--margin is -100%"),
            ("processes = 10", "processes = \"ten\"", "invalid type"),
            (
                "cpus = 8",
                "",
                "bytes twice, with the same --host-cpus and --processes: give each type of host once",
            ),
            ("processes", "process", "unknown field `process`"),
            ("fleet = 1000", "fleet = ", "TOML parse error"),
        ] {
            std::fs::write(&path, good.replacen(from, to, 1)).expect("writable");
            let error = read_request(directory.path(), None).expect_err("spoilt").to_string();
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
        assert!(with(&|it| it.hosts[0].processes = Some(0)).starts_with("--processes is 0"));
        for cost in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(with(&|it| it.hosts[0].cost = cost).starts_with("--host-cost is "), "{cost}");
        }
        assert!(with(&|it| it.margin = -0.1).starts_with("--margin is -10%"));
        assert!(with(&|it| it.fleet = Some(0)).starts_with("--fleet is 0"));
    }
}
