//! Which processes descend from one, what started them, and whether one still runs in its starter's memory.

use std::collections::BTreeSet;

use procfs::process::{Process, StatFlags};
use procfs::{ProcError, ProcResult};

/// How often figures are read again that have changed meanwhile.
const MOST_TRIES: u32 = 5;

/// The thread that started a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starter {
    /// Its process.
    pub process: u32,
    /// Its own number.
    pub thread: u32,
}

/// The processes below `root`, without `root` itself, each after its parent.
pub fn descendants(root: u32) -> Vec<u32> {
    started_below(root).into_iter().map(|(process, _)| process).collect()
}

/// The same, with the threads that started them.
///
/// The kernel lists a thread's children. PERF: so the cost of a reading depends on the size of the tree, not on the
/// machine's.
pub fn started_below(root: u32) -> Vec<(u32, Starter)> {
    let (mut found, mut known) = (Vec::new(), BTreeSet::new());
    let mut open = vec![root];
    while let Some(process) = open.pop() {
        // A process that is gone has no children: they belong to a process above now, and are found there.
        for (child, starter) in children(process).unwrap_or_default() {
            if known.insert(child) {
                found.push((child, starter));
                open.push(child);
            }
        }
    }
    found
}

fn children(process: u32) -> ProcResult<Vec<(u32, Starter)>> {
    let mut children = Vec::new();
    for thread in Process::new(process as i32)?.tasks()? {
        let of_thread = thread.and_then(|thread| {
            let starter = Starter { process, thread: thread.tid as u32 };
            Ok(thread.children()?.into_iter().map(move |child| (child, starter)))
        });
        match of_thread {
            Ok(found) => children.extend(found),
            // A thread that has exited meanwhile.
            Err(ProcError::NotFound(_) | ProcError::Io(..)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(children)
}

/// Whether a process with these flags was forked and has executed no program since.
pub fn is_fork(flags: u32) -> bool {
    StatFlags::from_bits_truncate(flags).contains(StatFlags::PF_FORKNOEXEC)
}

/// Whether a process runs in the memory of the thread that started it, as after `vfork` or `posix_spawn` until it
/// executes a program. What is resident is then its starter's alone. A process that does not will not later either.
///
/// Its starter waits in the kernel, uninterruptibly, for as long as it does, and both processes have the same figures. A
/// real fork has other figures from its start: it maps files anew, and the kernel does not copy their pages. The starter
/// may not be waiting yet; then all figures must be the same. `kcmp` would be exact, but sandboxes refuse it.
pub fn is_borrowing(process: u32, starter: Starter) -> bool {
    let read = || -> ProcResult<bool> {
        let own = Process::new(process as i32)?;
        if !is_fork(own.stat()?.flags) {
            return Ok(false);
        }
        let parent = Process::new(starter.process as i32)?;
        let state = parent.task_from_tid(starter.thread as i32)?.stat()?.state;
        let (own, of_parent) = read_both(&own, &parent)?;
        Ok(match state {
            'D' => own.0 == of_parent.0,
            'R' => own == of_parent,
            _ => false,
        })
    };
    // Whoever has exited shares nothing any more.
    read().unwrap_or(false)
}

/// The figures of a process's memory: those that differ between a process and its fork, and the others, in pages.
type Figures = ((u64, u64), (u64, u64));

/// The figures of both, read while those of the first stayed the same: the starter's other threads may be changing what
/// both have.
fn read_both(own: &Process, parent: &Process) -> ProcResult<(Figures, Figures)> {
    let figures = |of: &Process| -> ProcResult<Figures> {
        let statm = of.statm()?;
        Ok(((statm.size, statm.shared), (statm.resident, statm.data)))
    };
    let (mut before, mut of_parent) = (figures(own)?, figures(parent)?);
    for _ in 1..MOST_TRIES {
        let after = figures(own)?;
        if after == before {
            break;
        }
        (before, of_parent) = (after, figures(parent)?);
    }
    Ok((before, of_parent))
}
