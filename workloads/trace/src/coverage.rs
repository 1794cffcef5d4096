//! Coverage: what share of a process's anonymous memory a recording explains, and whether figures may rest on it.
//!
//! A recording knows what the process asked malloc for, and from outside what memory the process had. An allocator of
//! its own, a part that was lost or a process that could not be recorded show as memory that no recorded block
//! explains.
//!
//! A moment of a recording explains as many bytes as were requested and live at once until then, at most: an allocator
//! keeps what was freed. What it needs beside the blocks, and what is not malloc's (stacks, data), stays unexplained.

use std::fmt;

use crate::{Header, Summary};

/// Below this share too little is explained.
const LEAST_SHARE: f64 = 0.25;
/// So much may be unexplained in any process: libraries, stacks, the allocator's own first memory.
const ALLOWED_BYTES: u64 = 8 << 20;
/// The least share of a tree's memory that a process has whose recording stands for the tree.
const LEAST_TREE_SHARE: f64 = 0.9;

/// Adds up what is explained, sample by sample.
#[derive(Debug, Default, Clone)]
pub(crate) struct Explained {
    last: Option<(u64, u64, u64)>,
    resident_ns: u128,
    explained_ns: u128,
    elapsed_ns: u64,
    peak: (u64, u64),
}

impl Explained {
    /// A sample of resident memory; `live_most_bytes` is what was live at once until then.
    pub(crate) fn add(&mut self, time_ns: u64, resident_bytes: u64, live_most_bytes: u64) {
        if let Some((since_ns, resident, explained)) = self.last {
            let held_ns = time_ns.saturating_sub(since_ns);
            self.resident_ns = self.resident_ns.saturating_add(u128::from(resident) * u128::from(held_ns));
            self.explained_ns = self.explained_ns.saturating_add(u128::from(explained) * u128::from(held_ns));
            self.elapsed_ns = self.elapsed_ns.saturating_add(held_ns);
        }
        let explained = live_most_bytes.min(resident_bytes);
        self.last = Some((time_ns, resident_bytes, explained));
        if resident_bytes > self.peak.0 {
            self.peak = (resident_bytes, explained);
        }
    }

    /// The summary with what was found in it.
    pub(crate) fn put_into(&self, summary: Summary) -> Summary {
        let (_, resident, explained) = self.last.unwrap_or_default();
        let mean = |sum: u128, only: u64| {
            let mean = sum.checked_div(u128::from(self.elapsed_ns));
            mean.map_or(only, |mean| u64::try_from(mean).unwrap_or(u64::MAX))
        };
        Summary {
            resident_mean_bytes: mean(self.resident_ns, resident),
            explained_mean_bytes: mean(self.explained_ns, explained),
            resident_peak_bytes: self.peak.0,
            explained_at_peak_bytes: self.peak.1,
            ..summary
        }
    }
}

/// What a recording covers of its process, and of the tree that the process belongs to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Coverage {
    /// The share of resident memory that recorded blocks explain, over time; none where memory is not known.
    pub share: Option<f64>,
    /// Whether the process began as a fork of another, whose blocks explain what it inherited: they are in no trace of its
    /// own. Whether enough is explained can then be asked only of both together.
    pub is_forked: bool,
    /// What no figure about the whole process may rest on.
    pub gaps: Vec<Gap>,
}

/// A reason not to predict from a recording.
#[derive(Debug, Clone, PartialEq)]
pub enum Gap {
    /// Recording failed; why.
    Failed(String),
    /// So many events were lost.
    Lost(u64),
    /// A part of the raw recording was missing or damaged when the trace was made; which.
    Unread(String),
    /// Recording was paused and continued; how often, and for how long.
    Paused(String),
    /// A program was not recorded, which the process became, or ran; which, and why.
    NotRecorded(String),
    /// Recorded blocks explain so many bytes of so many, on average over time or at the peak.
    Unexplained {
        /// Bytes that recorded blocks explain.
        explained_bytes: u64,
        /// Resident bytes.
        resident_bytes: u64,
    },
    /// The process has this share of the memory of a tree of so many processes.
    PartOfTree {
        /// From 0 to 1.
        share: f64,
        /// Processes of the tree.
        processes: u64,
    },
}

impl Gap {
    /// Whether events of the process itself are missing, whatever its memory and other programs are.
    pub fn is_missing_events(&self) -> bool {
        matches!(self, Gap::Failed(_) | Gap::Lost(_) | Gap::Unread(_) | Gap::Paused(_))
    }
}

impl Header {
    /// The note that says why recording failed.
    pub const FAILED_NOTE: &str = "recording_failed";
    /// The note that says which part of the raw recording was missing or damaged.
    pub const UNREAD_NOTE: &str = "unread";
    /// The note that says how often recording was paused and continued, and for how long.
    pub const PAUSED_NOTE: &str = "paused";
    /// The note, once for each, that names a program that was not recorded, and why.
    pub const NOT_RECORDED_NOTE: &str = "not_recorded";
    /// The note that names the image that forked the process; none of a process that began as a program.
    pub const PARENT_NOTE: &str = "parent_image";
    /// The note of a forked process whose trace begins with what it inherited: the image that forked it.
    pub const INHERITED_NOTE: &str = "inherited_from";
    /// The note that says how many processes the recorded tree had; in the trace that stands for the recording.
    pub const TREE_PROCESSES_NOTE: &str = "tree_processes";
    /// The note that says which share of the tree's memory the process had over time, from 0 to 1.
    pub const TREE_SHARE_NOTE: &str = "tree_share";

    fn notes_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.notes.iter().filter(move |note| note.name == name).map(|note| note.value.as_str())
    }
}

impl Coverage {
    /// What a trace covers. One that was not recorded by heaplab itself says nothing of it, and has no gaps.
    pub fn of(header: &Header, summary: &Summary) -> Coverage {
        let mut gaps: Vec<Gap> =
            header.notes_of(Header::FAILED_NOTE).map(|why| Gap::Failed(why.to_owned())).collect();
        if summary.lost > 0 {
            gaps.push(Gap::Lost(summary.lost));
        }
        gaps.extend(header.notes_of(Header::UNREAD_NOTE).map(|what| Gap::Unread(what.to_owned())));
        gaps.extend(header.notes_of(Header::PAUSED_NOTE).map(|what| Gap::Paused(what.to_owned())));
        let missed = header.notes_of(Header::NOT_RECORDED_NOTE);
        gaps.extend(missed.map(|what| Gap::NotRecorded(what.to_owned())));
        let has = |name| header.notes_of(name).next().is_some();
        // Whose trace begins with what it inherited is like any other.
        let is_forked = has(Header::PARENT_NOTE) && !has(Header::INHERITED_NOTE);
        gaps.extend(unexplained(summary).filter(|_| !is_forked));
        gaps.extend(part_of_tree(header));
        let has_memory = summary.resident_mean_bytes > 0;
        let share = summary.explained_mean_bytes as f64 / summary.resident_mean_bytes as f64;
        Coverage { share: has_memory.then_some(share), is_forked, gaps }
    }

    /// Whether figures about the whole process may rest on the recording.
    pub fn is_whole(&self) -> bool {
        self.gaps.is_empty()
    }

    /// The gaps as sentences, each with what to do.
    pub fn sentences(&self) -> Vec<String> {
        self.gaps.iter().map(Gap::to_string).collect()
    }
}

/// In a few words, for a line.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.share {
            Some(share) => {
                write!(f, "recorded blocks explain {:.0} % of its memory", share * 100.0)?;
                f.write_str(if self.is_forked { ", in which is what it inherited at its fork" } else { "" })
            }
            None => f.write_str("its memory is not known"),
        }
    }
}

fn unexplained(summary: &Summary) -> Option<Gap> {
    let pairs = [
        (summary.explained_mean_bytes, summary.resident_mean_bytes),
        (summary.explained_at_peak_bytes, summary.resident_peak_bytes),
    ];
    let is_little = |&(explained, resident): &(u64, u64)| {
        resident.saturating_sub(explained) > ALLOWED_BYTES
            && (explained as f64) < LEAST_SHARE * resident as f64
    };
    let (explained_bytes, resident_bytes) = pairs.into_iter().find(is_little)?;
    Some(Gap::Unexplained { explained_bytes, resident_bytes })
}

fn part_of_tree(header: &Header) -> Option<Gap> {
    let processes: u64 = header.notes_of(Header::TREE_PROCESSES_NOTE).next()?.parse().ok()?;
    let share: f64 = header.notes_of(Header::TREE_SHARE_NOTE).next()?.parse().ok()?;
    (processes > 1 && share < LEAST_TREE_SHARE).then_some(Gap::PartOfTree { share, processes })
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gap::Failed(why) => write!(
                f,
                "recording failed before the program ended ({why}): record again, where there is room and the \
                 program may be recorded"
            ),
            Gap::Lost(events) => write!(
                f,
                "{events} events were lost, because buffers were full or the program jumped out of a call of malloc: record \
                 again on a machine that is less busy, or with more room"
            ),
            Gap::Unread(what) => {
                write!(f, "a part of the raw recording is missing or damaged ({what}): record again")
            }
            Gap::Paused(what) => write!(
                f,
                "recording was paused and continued ({what}): blocks that were freed meanwhile count as live, and those \
                 that were allocated are unknown: record again without a pause"
            ),
            Gap::NotRecorded(what) => write!(
                f,
                "not recorded: {what}: record that program itself, built so that a library can be preloaded"
            ),
            Gap::Unexplained { explained_bytes, resident_bytes } => write!(
                f,
                "recorded blocks explain {} of {} MiB of the process's memory: the rest is outside malloc, as where a \
                 program has its own malloc or maps memory by itself; build it to use the system's malloc",
                mib(*explained_bytes),
                mib(*resident_bytes)
            ),
            Gap::PartOfTree { share, processes } => write!(
                f,
                "this process has {:.1} % of the memory of the {processes} processes that were recorded: name the \
                 trace of the process that is meant",
                share * 100.0
            ),
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1 << 20) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Note;

    const MIB: u64 = 1 << 20;

    fn header(notes: &[(&str, &str)]) -> Header {
        let note = |&(name, value): &(&str, &str)| Note { name: name.to_owned(), value: value.to_owned() };
        Header { source: "recorder".to_owned(), notes: notes.iter().map(note).collect(), ..Header::default() }
    }

    fn explained(samples: &[(u64, u64, u64)]) -> Summary {
        let mut explained = Explained::default();
        samples.iter().for_each(|&(time, resident, live)| explained.add(time, resident, live));
        explained.put_into(Summary::default())
    }

    #[test]
    fn a_sample_holds_until_the_next() {
        let found = explained(&[(0, 100, 50), (10, 400, 500), (30, 200, 100), (40, 0, 0)]);
        assert_eq!(found.resident_mean_bytes, (100 * 10 + 400 * 20 + 200 * 10) / 40);
        assert_eq!(found.explained_mean_bytes, (50 * 10 + 400 * 20 + 100 * 10) / 40, "no more than there is");
        assert_eq!((found.resident_peak_bytes, found.explained_at_peak_bytes), (400, 400));
        let one = explained(&[(7, 100, 30)]);
        assert_eq!((one.resident_mean_bytes, one.explained_mean_bytes), (100, 30));
        assert_eq!(explained(&[]), Summary::default());
    }

    #[test]
    fn a_heap_outside_malloc_is_a_gap_and_a_small_process_is_not() {
        let gaps = |samples| Coverage::of(&header(&[]), &explained(samples)).gaps;
        let found = gaps(&[(0, 160 * MIB, 1000), (10, 160 * MIB, 1000)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().contains("explain 0.0 of 160.0 MiB"), "{}", found[0]);
        assert_eq!(gaps(&[(0, 5 * MIB, 0), (10, 5 * MIB, 0)]), []);
        assert_eq!(gaps(&[(0, 160 * MIB, 60 * MIB), (10, 160 * MIB, 60 * MIB)]), []);
        assert_eq!(gaps(&[(0, MIB, MIB), (990, 160 * MIB, MIB), (1000, MIB, MIB)]).len(), 1, "at the peak");
    }

    #[test]
    fn what_a_recording_says_of_itself_are_gaps() {
        let coverage = Coverage::of(
            &header(&[
                (Header::FAILED_NOTE, "No space left on device"),
                (Header::UNREAD_NOTE, "thread 0: 1 chunks before its chunk 1"),
                (Header::PAUSED_NOTE, "2 times"),
                (Header::NOT_RECORDED_NOTE, "/bin/static is statically linked"),
                (Header::TREE_PROCESSES_NOTE, "8"),
                (Header::TREE_SHARE_NOTE, "0.031"),
            ]),
            &Summary { lost: 7, ..Summary::default() },
        );
        let said = coverage.sentences().join("\n");
        for part in [
            "No space left",
            "7 events",
            "1 chunks before",
            "continued (2 times)",
            "/bin/static is statically",
            "3.1 % of the memory of the 8",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!coverage.is_whole() && coverage.share.is_none());
        let alone = header(&[(Header::TREE_PROCESSES_NOTE, "1"), (Header::TREE_SHARE_NOTE, "0.5")]);
        assert!(Coverage::of(&alone, &Summary::default()).is_whole());
    }
}
