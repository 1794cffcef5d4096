//! A workload or a tree of processes on one of several kinds of machines, and what it is called there.

/// Which workload, or which tree of processes, on which of several kinds of machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnMachine {
    /// The name of the workload or tree in the rows of files.
    pub name: String,
    /// The kind of machine, as `machines` in run.toml names it.
    pub machine: String,
}

impl OnMachine {
    pub(super) fn new(name: &str, machine: &str) -> OnMachine {
        OnMachine { name: name.to_owned(), machine: machine.to_owned() }
    }
}

/// The name of a workload in reports: with its kind of machine, if there are several.
///
/// ```
/// assert_eq!(heaplab::results::name_on("server", Some("m2")), "server on m2");
/// assert_eq!(heaplab::results::name_on("server", None), "server");
/// ```
#[must_use]
pub fn name_on(workload: &str, machine: Option<&str>) -> String {
    match machine {
        Some(machine) => format!("{workload} on {machine}"),
        None => workload.to_owned(),
    }
}
