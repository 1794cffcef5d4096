//! A tree of processes, read from /proc: which processes belong to it, and what it uses.
//!
//! Side effects of a reading: about 60 us per process and, if the proportional share is read, `smaps_rollup`, during
//! which the process cannot change its mappings. A process that exits meanwhile counts as nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use heaplab_allocators::program_of_link;
use nix::sys::time::TimeValLike;
use nix::time::{clock_getcpuclockid, clock_gettime};
use procfs::process::{Process, Stat};

use crate::sharing::family::{self, Starter, is_borrowing, is_fork};

/// Where a process's program and its stack begin. The kernel chooses both at an exec, and a fork keeps them, so they
/// tell one exec from another. Both are 0 while the kernel is at it.
pub(super) type Image = (u64, u64);

/// What one process of a tree uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its number here.
    pub(super) process: u32,
    /// The number that it has for itself, in its own PID namespace.
    pub(super) inner: u32,
    /// The program that it runs; none if that is not visible.
    pub(super) program: Option<PathBuf>,
    /// The exec that it is of.
    pub(super) image: Image,
    /// Whether it was forked and has executed no program since.
    pub(super) is_fork: bool,
    /// Whether it runs in its parent's memory, as after vfork or posix_spawn until it executes a program. What is
    /// resident is then the parent's alone.
    pub(super) is_borrowing: bool,
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
pub(super) struct Watched {
    /// Its number.
    pub(super) process: u32,
    /// Whether it was forked and had executed no program when it was opened.
    pub(super) is_fork: bool,
    entry: Process,
}

impl Watched {
    /// None if it has exited.
    pub(super) fn open(member: &Member) -> Option<Watched> {
        let entry = Process::new(member.process as i32).ok()?;
        Some(Watched { process: member.process, is_fork: member.is_fork, entry })
    }

    /// Anonymous resident bytes and all resident bytes; none if it has exited.
    pub(super) fn resident_bytes(&self) -> Option<(u64, u64)> {
        let statm = self.entry.statm().ok().filter(|statm| statm.size > 0)?;
        let page = procfs::page_size();
        Some((statm.resident.saturating_sub(statm.shared) * page, statm.resident * page))
    }

    /// CPU time that it has used, by its clock; none if it has exited.
    pub(super) fn cpu_ns(&self) -> Option<u64> {
        let clock = clock_getcpuclockid(nix::unistd::Pid::from_raw(self.entry.pid())).ok()?;
        u64::try_from(clock_gettime(clock).ok()?.num_nanoseconds()).ok()
    }
}

/// The processes below `root`, without `root` itself.
pub(super) fn descendants(root: u32) -> BTreeSet<u32> {
    family::descendants(root).into_iter().collect()
}

/// Whether a process below `root`, other than `except`, has not ended. One that waits to be reaped has.
pub(super) fn runs_below(root: u32, except: u32) -> bool {
    let runs = |process: u32| {
        let stat = Process::new(process as i32).and_then(|entry| entry.stat());
        stat.is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
    };
    descendants(root).into_iter().any(|process| process != except && runs(process))
}

/// What a process uses now; none if it has exited.
pub(super) fn read_member(process: u32, starter: Option<Starter>) -> Option<Member> {
    const KIB: u64 = 1024;
    let entry = Process::new(process as i32).ok()?;
    let mut stat = entry.stat().ok()?;
    let mut status = entry.status().ok()?;
    let mut is_borrowing =
        is_fork(stat.flags) && starter.is_some_and(|starter| is_borrowing(process, starter));
    if is_fork(stat.flags) {
        // NOTE: if it has executed a program meanwhile, what was read belongs partly to the fork.
        let after = entry.stat().ok()?;
        if !is_fork(after.flags) {
            (stat, status, is_borrowing) = (after, entry.status().ok()?, false);
        }
    }
    let children = |ticks: i64| u64::try_from(ticks).unwrap_or(0);
    Some(Member {
        process,
        // From the namespace of /proc to the innermost. Kernels without namespaces have no such line.
        inner: status.nspid.and_then(|numbers| numbers.last()?.to_owned().try_into().ok()).unwrap_or(process),
        program: entry.exe().ok(),
        image: image(&stat),
        is_fork: is_fork(stat.flags),
        is_borrowing,
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
    Some((program_of_link(entry.exe().ok()?), image(&entry.stat().ok()?)))
}

fn image(stat: &Stat) -> Image {
    let image = (stat.startcode, stat.startstack);
    if image.0 == 0 || image.1 == 0 { (0, 0) } else { image }
}

/// Whether a process has executed a program, as far as it is still there.
pub(super) fn has_executed(process: u32) -> bool {
    let stat = Process::new(process as i32).and_then(|entry| entry.stat());
    stat.is_ok_and(|stat| !is_fork(stat.flags))
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
    use crate::sharing::family::started_below;
    use rustix::process::{Pid, Signal, kill_process};
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    #[test]
    fn a_tree_is_found_with_its_figures() {
        // cat waits for more input, and the shell for cat.
        let mut shell = Command::new("sh")
            .args(["-c", "cat; true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        // What comes back has gone through a cat that has started.
        shell.stdin.as_mut().expect("a pipe").write_all(b"\n").expect("the shell runs");
        shell.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("cat runs");
        let below = descendants(shell.id());
        let cat = *below.first().expect("cat is below the shell");
        assert!(descendants(std::process::id()).is_superset(&below));
        let member = read_member(cat, None).expect("cat runs");
        assert!(member.rss_bytes > member.anonymous_bytes && member.anonymous_bytes > 0, "{member:?}");
        assert_eq!(member.threads, 1);
        let share = proportional_bytes(cat).expect("a share");
        assert!(share > 0 && share <= member.rss_bytes, "{share} of {member:?}");
        drop(shell.stdin.take());
        assert!(shell.wait().expect("an end").success());
        assert_eq!(read_member(shell.id(), None), None);
    }

    #[test]
    fn a_process_that_waits_to_be_reaped_does_not_run() {
        // The shell becomes a program that reaps nothing.
        let start = |script| Parent(Command::new("sh").args(["-c", script]).spawn().expect("a shell"));
        let parent = start("sleep 1 & exec sleep 600");
        let root = parent.0.id();
        let child = loop {
            if let Some(child) = descendants(root).first() {
                break *child;
            }
        };
        assert!(runs_below(root, root) && !runs_below(root, child));
        while runs_below(root, root) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(descendants(root).contains(&child), "it is not reaped");
    }

    /// A process that is killed with all that it has started.
    struct Parent(Child);

    impl Drop for Parent {
        fn drop(&mut self) {
            let kill = |number: u32| {
                let process = Pid::from_raw(number as i32).expect("a number");
                // One that has exited meanwhile is not there.
                kill_process(process, Signal::KILL).is_ok()
            };
            let below = descendants(self.0.id());
            kill(self.0.id());
            below.into_iter().for_each(|number| {
                kill(number);
            });
            self.0.wait().expect("an end");
        }
    }

    /// A program in Python with 30 MiB that starts a child by `call`, and what it started once `is_seen`.
    fn start_child(call: &str, is_seen: impl Fn(&Member) -> bool) -> (Parent, Member) {
        let program =
            format!("import os, subprocess, time\nblock = b'x' * (30 << 20)\n{call}\ntime.sleep(600)");
        let python = Command::new("python3").args(["-S", "-c", &program]).spawn().expect("python3");
        let parent = Parent(python);
        for _ in 0..1000 {
            let found = started_below(parent.0.id()).into_iter();
            let mut members = found.filter_map(|(child, starter)| read_member(child, Some(starter)));
            if let Some(member) = members.find(|member| is_seen(member)) {
                return (parent, member);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("no such child of {call}");
    }

    #[test]
    fn a_fork_has_its_own_memory_and_a_spawned_child_its_parents() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        // Before it executes its program, the child opens a pipe that nobody writes to, and waits.
        let spawn = format!(
            "os.mkfifo({pipe:?})\nopens = (os.POSIX_SPAWN_OPEN, 0, {pipe:?}, os.O_RDONLY, 0)\n\
             os.posix_spawn('/bin/true', ['true'], {{}}, file_actions=[opens])"
        );
        let has_all = |member: &Member| member.anonymous_bytes > 30 << 20;
        let (_spawner, borrowing) = start_child(&spawn, has_all);
        assert!(borrowing.is_fork && borrowing.is_borrowing, "{borrowing:?}");
        let (_forker, fork) = start_child("if os.fork() == 0: time.sleep(600)", has_all);
        assert!(fork.is_fork && !fork.is_borrowing, "{fork:?}");
        let is_program =
            |member: &Member| member.program.as_ref().is_some_and(|program| program.ends_with("sleep"));
        let (_launcher, executed) = start_child("subprocess.run(['sleep', '600'])", is_program);
        assert!(!executed.is_fork && !executed.is_borrowing && !has_all(&executed), "{executed:?}");
    }
}
