//! A tree of processes, read from /proc: which processes belong to it, and what it uses.
//!
//! Side effects of a reading: about 60 us per process and, if the proportional share is read, `smaps_rollup`, during
//! which the process cannot change its mappings. A process that exits meanwhile counts as nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::sys::time::TimeValLike;
use nix::time::{clock_getcpuclockid, clock_gettime};
use procfs::process::{Process, Stat};
use procfs::{ProcError, ProcResult};

/// Where a process's program and its stack begin. The kernel chooses both at an exec, and a fork keeps them, so they
/// tell one exec from another. Both are 0 while the kernel is at it.
pub(super) type Image = (u64, u64);

/// What one process of a tree uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its number.
    pub(super) process: u32,
    /// The program that it runs; none if that is not visible.
    pub(super) program: Option<PathBuf>,
    /// The exec that it is of.
    pub(super) image: Image,
    /// Anonymous resident bytes.
    pub(super) anonymous_bytes: u64,
    /// Resident bytes, including files and shared memory.
    pub(super) rss_bytes: u64,
    /// Swapped bytes.
    pub(super) swap_bytes: u64,
    /// Threads.
    pub(super) threads: u64,
    /// User and system CPU time in clock ticks, including that of its exited children.
    pub(super) cpu_ticks: (u64, u64),
}

/// A process whose resident memory is read repeatedly.
#[derive(Debug)]
pub(super) struct Watched(Process);

impl Watched {
    /// None if it has exited.
    pub(super) fn open(process: u32) -> Option<Watched> {
        Process::new(process as i32).ok().map(Watched)
    }

    /// Anonymous resident bytes and all resident bytes; none if it has exited.
    pub(super) fn resident_bytes(&self) -> Option<(u64, u64)> {
        let statm = self.0.statm().ok().filter(|statm| statm.size > 0)?;
        let page = procfs::page_size();
        Some((statm.resident.saturating_sub(statm.shared) * page, statm.resident * page))
    }

    /// CPU time that it has used, by its clock; none if it has exited.
    pub(super) fn cpu_ns(&self) -> Option<u64> {
        let clock = clock_getcpuclockid(nix::unistd::Pid::from_raw(self.0.pid())).ok()?;
        u64::try_from(clock_gettime(clock).ok()?.num_nanoseconds()).ok()
    }
}

/// The processes below `root`, without `root` itself.
///
/// The kernel lists a thread's children. PERF: so the cost of a reading depends on the size of the tree, not on the
/// machine's.
pub(super) fn descendants(root: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(process) = open.pop() {
        // A process that is gone has no children: they belong to the keeper now, and are found there.
        for child in children(process).unwrap_or_default() {
            if found.insert(child) {
                open.push(child);
            }
        }
    }
    found
}

fn children(process: u32) -> ProcResult<Vec<u32>> {
    let mut children = Vec::new();
    for thread in Process::new(process as i32)?.tasks()? {
        match thread.and_then(|thread| thread.children()) {
            Ok(found) => children.extend(found),
            // A thread that has exited meanwhile.
            Err(ProcError::NotFound(_) | ProcError::Io(..)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(children)
}

/// What a process uses now; none if it has exited.
pub(super) fn read_member(process: u32) -> Option<Member> {
    const KIB: u64 = 1024;
    let entry = Process::new(process as i32).ok()?;
    let stat = entry.stat().ok()?;
    let status = entry.status().ok()?;
    let children = |ticks: i64| u64::try_from(ticks).unwrap_or(0);
    Some(Member {
        process,
        program: entry.exe().ok(),
        image: image(&stat),
        anonymous_bytes: status.rssanon.unwrap_or(0) * KIB,
        rss_bytes: status.vmrss.unwrap_or(0) * KIB,
        swap_bytes: status.vmswap.unwrap_or(0) * KIB,
        threads: status.threads,
        cpu_ticks: (stat.utime + children(stat.cutime), stat.stime + children(stat.cstime)),
    })
}

/// The program that a process runs, and the exec that it is of; none if it has exited.
pub(super) fn read_program(process: u32) -> Option<(PathBuf, Image)> {
    let entry = Process::new(process as i32).ok()?;
    Some((entry.exe().ok()?, image(&entry.stat().ok()?)))
}

fn image(stat: &Stat) -> Image {
    let image = (stat.startcode, stat.startstack);
    if image.0 == 0 || image.1 == 0 { (0, 0) } else { image }
}

/// CPU time of a process's exited children, in clock ticks: user and system.
pub(super) fn ended_children_ticks(process: u32) -> (u64, u64) {
    let ticks = |ticks: i64| u64::try_from(ticks).unwrap_or(0);
    let stat = Process::new(process as i32).and_then(|entry| entry.stat());
    stat.map_or((0, 0), |stat| (ticks(stat.cutime), ticks(stat.cstime)))
}

/// The proportional share of a process's memory; none if it has exited or may not be read.
pub(super) fn proportional_bytes(process: u32) -> Option<u64> {
    let rollup = Process::new(process as i32).and_then(|entry| entry.smaps_rollup()).ok()?;
    rollup.memory_map_rollup.0.iter().find_map(|map| map.extension.map.get("Pss").copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_tree_is_found_with_its_figures() {
        // cat waits for its input; the shell waits for cat.
        let mut shell =
            Command::new("sh").args(["-c", "cat; true"]).stdin(Stdio::piped()).spawn().expect("a shell");
        let mut below = descendants(shell.id());
        for _ in 0..500 {
            let runs_cat = |process: &u32| {
                read_member(*process)
                    .and_then(|member| member.program)
                    .is_some_and(|program| program.ends_with("cat"))
            };
            if below.iter().any(runs_cat) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            below = descendants(shell.id());
        }
        let cat = *below.first().expect("cat is below the shell");
        assert!(descendants(std::process::id()).is_superset(&below));
        let member = read_member(cat).expect("cat runs");
        assert!(member.rss_bytes > member.anonymous_bytes && member.anonymous_bytes > 0, "{member:?}");
        assert_eq!(member.threads, 1);
        let share = proportional_bytes(cat).expect("a share");
        assert!(share > 0 && share <= member.rss_bytes, "{share} of {member:?}");
        drop(shell.stdin.take());
        assert!(shell.wait().expect("an end").success());
        assert_eq!(read_member(shell.id()), None);
    }
}
