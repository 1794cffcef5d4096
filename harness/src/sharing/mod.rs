//! Anonymous memory that the processes of a tree share since a fork: what the sum of their resident memory counts more
//! than once.
//!
//! Each page that N processes share adds 1/N to the proportional share (PSS) of each, so that the proportional shares
//! add up to the memory with shared pages counted once. The difference between the two sums is what is shared.
//! Recordings and runs of real programs sample it in the same way, so that predictions and reality are comparable. They
//! differ in what they assume between a process's start or exit and the next sample.

pub mod family;

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use nix::time::ClockId;

/// Shortest time between two samples.
const STEP: Duration = Duration::from_millis(20);
/// The kernel walks all pages of a process: reading takes at most one part in this many of the time.
const COST_PART: u32 = 50;
/// The same right after a process has started or exited: until then it is not known whether a child's heap is its own.
const CHANGED_COST_PART: u32 = 20;

/// Asks what processes share, now and then.
#[derive(Debug, Default)]
pub struct Sharing {
    next: Duration,
    /// When a sample is due if the processes have changed.
    next_changed: Duration,
    unknown: Option<String>,
    /// The processes of the last sample.
    processes: Vec<u32>,
    /// The processes whose last sample was left out because one of them had just exited.
    skipped: Option<Vec<u32>>,
}

/// What processes share at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// By how many bytes the sum of their memory exceeds the memory with shared pages counted once.
    pub bytes: u64,
    /// Whether they are not those of the sample before.
    pub is_changed: bool,
}

impl Sharing {
    /// Samples these processes at `elapsed`, if it is time to: every 20 ms, and at once if others ran at the last sample,
    /// unless that costs too much.
    pub fn sample(&mut self, elapsed: Duration, processes: impl Iterator<Item = u32>) -> Option<Shared> {
        if self.unknown.is_some() {
            return None;
        }
        let processes: Vec<u32> = processes.collect();
        let is_changed = processes != self.processes;
        if elapsed < if is_changed { self.next.min(self.next_changed) } else { self.next } {
            return None;
        }
        let begin = cpu_time();
        // A process shares anonymous memory only with its relatives.
        let read = match processes.len() {
            0 | 1 => Ok(0),
            _ => match processes.iter().copied().map(read_excess).collect::<Result<Vec<_>, _>>() {
                // NOTE: after one of them has exited, the others share less, but the sum still includes its memory: the
                // reading is not what these processes share. They are a different set once its exit is noticed; that is
                // waited for only once.
                Ok(read) if read.contains(&None) && self.skipped.as_ref() != Some(&processes) => {
                    self.skipped = Some(processes);
                    self.next = elapsed + STEP;
                    return None;
                }
                read => read.map(|read| read.into_iter().flatten().sum()),
            },
        };
        let cost = cpu_time().saturating_sub(begin);
        self.next = elapsed + (COST_PART * cost).max(STEP);
        self.next_changed = elapsed + CHANGED_COST_PART * cost;
        self.processes = processes;
        match read {
            Ok(bytes) => Some(Shared { bytes, is_changed }),
            Err(why) => {
                self.unknown = Some(why);
                None
            }
        }
    }

    /// Makes a sample due at once: the last one is not of what it was asked for.
    pub fn ask_again(&mut self) {
        (self.next, self.next_changed) = (Duration::ZERO, Duration::ZERO);
    }

    /// Whether samples could be taken.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn known(&self) -> Result<(), &str> {
        self.unknown.as_deref().map_or(Ok(()), Err)
    }
}

/// CPU time of this thread: what work costs. On a busy machine, the time that passes meanwhile is a multiple of it, and
/// says nothing about the cost.
pub fn cpu_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from)
}

/// What is shared, each figure valid until the next. From an edge, where a process starts or exits, until the next
/// sample it is not known: there the larger of the samples before and after is used, since otherwise a child's heap
/// would count twice until it is sampled. Points are in order of time, and so are edges.
pub fn fill_edges(points: &[(u64, u64)], edges: &[u64]) -> Vec<(u64, u64)> {
    let (mut filled, mut before) = (Vec::new(), (0, 0));
    for &(time, bytes) in points {
        let edge = edges.iter().find(|edge| **edge > before.0 && **edge < time);
        filled.extend(edge.map(|edge| (*edge, bytes.max(before.1))));
        filled.push((time, bytes));
        before = (time, bytes);
    }
    filled
}

/// By how many bytes a process's anonymous memory exceeds its proportional share. None for a process that has exited.
fn read_excess(process: u32) -> Result<Option<u64>, String> {
    match fs::read_to_string(format!("/proc/{process}/smaps_rollup")) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => parse_excess(&text).map(Some).ok_or_else(|| "this kernel states no Pss_Anon".to_owned()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(format!("smaps_rollup of process {process} may not be read: record as root"))
        }
        // It has exited, or is about to: for a process without memory there is no such file, or reading it is ESRCH.
        Err(_) => Ok(None),
    }
}

fn parse_excess(rollup: &str) -> Option<u64> {
    let bytes = |name: &str| {
        let rest = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(bytes("Anonymous")?.saturating_sub(bytes("Pss_Anon")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_anonymous_memory_beyond_its_proportional_share() {
        let rollup =
            "0-1 ---p 0 00:00 0 [rollup]\nRss: 900 kB\nPss: 500 kB\nPss_Anon:  30 kB\nAnonymous: 100 kB\n";
        assert_eq!(parse_excess(rollup), Some(70 * 1024));
        assert_eq!(parse_excess("Rss: 900 kB\nAnonymous: 100 kB\n"), None, "an old kernel");
        let own = read_excess(std::process::id()).expect("this kernel states it");
        assert!(own.is_some_and(|own| own < 1 << 40), "{own:?}");
    }

    #[test]
    fn a_sample_with_a_process_that_has_just_ended_is_left_out_once() {
        let mut child = std::process::Command::new("true").spawn().expect("it runs");
        // It stays a zombie, without memory, until it is waited for.
        while read_excess(child.id()) != Ok(None) {
            std::thread::yield_now();
        }
        let mut sharing = Sharing::default();
        let processes = [std::process::id(), child.id()];
        assert_eq!(sharing.sample(Duration::ZERO, processes.into_iter()), None, "its end will be noticed");
        assert!(sharing.sample(STEP, processes.into_iter()).is_some(), "it was not");
        assert_eq!(sharing.known(), Ok(()));
        child.wait().expect("it ended");
    }

    #[test]
    fn a_process_that_has_started_or_exited_is_noticed_at_once() {
        let mut sharing = Sharing::default();
        let mut sample = |at_ms, processes: &[u32]| {
            sharing.sample(Duration::from_millis(at_ms), processes.iter().copied())
        };
        let own = std::process::id();
        let changed = Some(Shared { bytes: 0, is_changed: true });
        assert_eq!(sample(0, &[own]), changed);
        assert_eq!((sample(10, &[own]), sample(20, &[own]).map(|of| of.is_changed)), (None, Some(false)));
        // One process alone shares nothing, and to know that costs nothing.
        assert_eq!((sample(21, &[own - 1]), sample(22, &[own])), (changed, changed));
        assert_eq!((sample(23, &[own]), sample(43, &[own]).map(|of| of.is_changed)), (None, Some(false)));
    }

    #[test]
    fn between_an_edge_and_the_next_sample_the_larger_figure_stands() {
        let filled = fill_edges(&[(10, 0), (45, 70), (85, 70), (95, 5)], &[0, 40, 80, 90]);
        assert_eq!(filled, [(10, 0), (40, 70), (45, 70), (80, 70), (85, 70), (90, 70), (95, 5)]);
        assert_eq!(fill_edges(&[], &[3]), []);
    }
}
