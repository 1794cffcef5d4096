//! Where groups of either version are made, and how they are removed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::account::Account;
use super::limits::GroupLimits;
use super::removal::{PREFIX, PROCESSES, hold, remove, remove_left};
use super::watcher::{WATCH_COMMAND, Watcher};

static MADE: AtomicU32 = AtomicU32::new(0);
/// A group whose name is taken gets the next one, until so many are.
const MOST_NAMES: u32 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    First,
    Second,
}

/// No group could be made or limited.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// There is no suitable group, or no right to make one.
    #[error(
        "no control group with a memory limit can be made ({why}): run as root, or in a scope of your own with \
         `systemd-run --user --scope -p Delegate=yes heaplab ...`; in a container, with its control groups writable"
    )]
    NotPermitted {
        /// What was attempted, and the system's error.
        why: String,
    },
    /// This version has no such limit.
    #[error(
        "{option} needs control groups of version 2, and this machine has version 1 for memory: use --memory-max"
    )]
    NeedsSecond {
        /// The option.
        option: &'static str,
    },
    /// Nothing would remove the group after heaplab was killed.
    #[error("the process that removes a control group after heaplab was killed cannot be started: {source}")]
    Unwatched {
        /// The system's error.
        source: io::Error,
    },
    /// A limit was refused.
    #[error("{path}: cannot be set to {value}: {source}")]
    Refused {
        /// The limit's file.
        path: PathBuf,
        /// The value to set.
        value: String,
        /// The system's error.
        source: io::Error,
    },
}

/// A control group for one sample. When it is dropped, its processes are killed and it is removed.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    version: Version,
    /// While it is open, no other heaplab takes the group for one that was left.
    _held: File,
    /// Ends after the group is removed: fields are dropped after the value itself.
    _watcher: Watcher,
}

impl Group {
    /// Makes a group inside our own, or beside it, and limits it. Groups that a killed heaplab left are
    /// removed.
    ///
    /// # Errors
    ///
    /// [`GroupError`].
    pub fn create(limits: &GroupLimits) -> Result<Group, GroupError> {
        let mut why = Vec::new();
        for (parent, version) in parents() {
            remove_left(&parent);
            match create_held(&parent) {
                Ok((path, held)) => {
                    let watcher = match Watcher::start(WATCH_COMMAND, &path) {
                        Ok(watcher) => watcher,
                        Err(source) => {
                            remove(&path);
                            return Err(GroupError::Unwatched { source });
                        }
                    };
                    let group = Group { path, version, _held: held, _watcher: watcher };
                    if group.path.join(group.limit_file()).exists() {
                        group.limit(limits)?;
                        return Ok(group);
                    }
                    why.push(format!(
                        "{}: the memory controller is not enabled for its groups",
                        parent.display()
                    ));
                }
                Err(error) => why.push(format!("{}: {error}", parent.display())),
            }
        }
        let nothing = || "there is no memory controller in /sys/fs/cgroup".to_owned();
        Err(GroupError::NotPermitted { why: if why.is_empty() { nothing() } else { why.join("; ") } })
    }

    /// The file to which a process writes its PID in order to enter.
    pub fn processes_file(&self) -> PathBuf {
        self.path.join(PROCESSES)
    }

    /// What the group has been charged.
    pub fn account(&self) -> Account {
        match self.version {
            Version::First => Account::read_first(&self.path),
            Version::Second => Account::read_second(&self.path),
        }
    }

    fn limit_file(&self) -> &'static str {
        match self.version {
            Version::First => "memory.limit_in_bytes",
            Version::Second => "memory.max",
        }
    }

    fn limit(&self, limits: &GroupLimits) -> Result<(), GroupError> {
        if let Some(bytes) = limits.max_bytes {
            self.set(self.limit_file(), bytes)?;
        }
        match (self.version, limits.high_bytes) {
            (_, None) => {}
            (Version::First, Some(_)) => return Err(GroupError::NeedsSecond { option: "--memory-high" }),
            (Version::Second, Some(bytes)) => self.set("memory.high", bytes)?,
        }
        match (self.version, limits.swap_max_bytes, limits.max_bytes) {
            (_, None, _) => Ok(()),
            (Version::Second, Some(swap), _) => self.set("memory.swap.max", swap),
            // Version 1 limits memory and swap together.
            (Version::First, Some(swap), Some(max)) => {
                self.set("memory.memsw.limit_in_bytes", max.saturating_add(swap))
            }
            (Version::First, Some(_), None) => {
                Err(GroupError::NeedsSecond { option: "--swap-max without --memory-max" })
            }
        }
    }

    fn set(&self, file: &str, bytes: u64) -> Result<(), GroupError> {
        let path = self.path.join(file);
        let value = bytes.to_string();
        fs::write(&path, &value).map_err(|source| GroupError::Refused { path, value, source })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Makes a group's directory that has no other owner.
fn create_held(parent: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        match fs::create_dir(&path) {
            // In another PID namespace another heaplab may have our PID.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MOST_NAMES => {}
            Err(error) => return Err(error),
            Ok(()) => match hold(&path) {
                Ok(held) => return Ok((path, held)),
                // Another heaplab removes it, or has, before it was held.
                Err(error) if is_taken(&error) && number < MOST_NAMES => {}
                Err(error) => {
                    remove(&path);
                    return Err(error);
                }
            },
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock)
}

/// Does something as a member of a group, and then goes back: what is started meanwhile is in the group from
/// its first page, while this process is not.
///
/// # Errors
///
/// If the group cannot be entered or left, and errors from `start`.
pub fn enter_while<T>(processes_file: &Path, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    // 0 stands for the writer.
    let enter = |file: &Path| fs::write(file, "0");
    let home =
        home_of(processes_file).ok_or_else(|| io::Error::other("our own control group cannot be found"))?;
    enter(processes_file)?;
    let started = start();
    enter(&home)?;
    started
}

/// The file by which this process returns to its current group, in the hierarchy that contains `file`.
pub fn home_of(file: &Path) -> Option<PathBuf> {
    let mut found = roots().into_iter().filter(|(root, _)| file.starts_with(&root.mount));
    found.next().map(|(root, _)| root.own().join(PROCESSES))
}

/// A hierarchy, and this process's position in it.
struct Root {
    mount: PathBuf,
    path: String,
}

impl Root {
    /// Our own group. In a container, its directory is the root of what is visible.
    fn own(&self) -> PathBuf {
        let own = self.mount.join(self.path.trim_start_matches('/'));
        if own.join(PROCESSES).exists() { own } else { self.mount.clone() }
    }
}

/// The hierarchies that may have a memory controller, the most likely first.
fn roots() -> Vec<(Root, Version)> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let entries = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.to_owned());
        if controllers.split(',').any(|controller| controller == "memory") {
            return Some((Root { mount: "/sys/fs/cgroup/memory".into(), path }, Version::First));
        }
        let is_second = controllers.is_empty() && Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        is_second.then(|| (Root { mount: "/sys/fs/cgroup".into(), path }, Version::Second))
    });
    entries.collect()
}

/// Our own group and every one above it, in each hierarchy.
pub(super) fn levels() -> Vec<(PathBuf, Version)> {
    let of = |(root, version): (Root, Version)| {
        levels_of(&root.mount, &root.own()).into_iter().map(move |level| (level, version))
    };
    roots().into_iter().flat_map(of).collect()
}

/// A group and every one above it, up to the mount.
pub(super) fn levels_of(mount: &Path, group: &Path) -> Vec<PathBuf> {
    group.ancestors().take_while(|level| level.starts_with(mount)).map(Path::to_owned).collect()
}

/// Where a group may be made: inside our own, beside it, or at the root.
fn parents() -> Vec<(PathBuf, Version)> {
    let mut found: Vec<(PathBuf, Version)> = Vec::new();
    for (root, version) in roots() {
        let own = root.own();
        let beside = own.parent().filter(|parent| parent.starts_with(&root.mount)).map(Path::to_owned);
        for parent in [Some(own), beside, Some(root.mount)].into_iter().flatten() {
            if !found.iter().any(|(known, _)| *known == parent) {
                found.push((parent, version));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If the system does not let us make a group, the error says so.
    #[test]
    fn a_group_is_limited_and_removed_with_its_processes() {
        let limits = GroupLimits { max_bytes: Some(64 << 20), ..GroupLimits::default() };
        let group = match Group::create(&limits) {
            Ok(group) => group,
            Err(error) => {
                assert!(error.to_string().contains("systemd-run --user --scope"), "{error}");
                return;
            }
        };
        let path = group.path.clone();
        let read = fs::read_to_string(path.join(group.limit_file())).expect("a limit");
        assert_eq!(read.trim(), (64u64 << 20).to_string());
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("it starts");
        fs::write(group.processes_file(), child.id().to_string()).expect("it enters");
        // To a heaplab of another PID namespace, the one that made it seems to be gone.
        let parent = path.parent().expect("a group's parent");
        let foreign = parent.join(format!("{PREFIX}{}-0", i32::MAX));
        fs::create_dir(&foreign).expect("a group");
        let held = hold(&foreign).expect("it is there");
        remove_left(parent);
        assert!(foreign.exists() && path.exists(), "who made them holds them");
        drop(held);
        remove_left(parent);
        assert!(!foreign.exists() && path.exists(), "nobody holds it");
        drop(group);
        assert!(!path.exists(), "removed");
        let status = child.wait().expect("it ended");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
    }
}
