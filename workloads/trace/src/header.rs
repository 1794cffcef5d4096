//! What a trace says of itself: the header at its head, and the summary that closes it.
//!
//! The header is known before the first event, the summary only after the last one; a file that
//! was cut off has a header and no summary.

use serde::{Deserialize, Serialize};

/// How, and on what, a trace was made. Stored as TOML at the head of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Header {
    /// The tool or format that the events come from: `recorder`, `simulate`, `android`, ...
    pub source: String,
    /// What was recorded or simulated, in a word or a command line; empty if unknown.
    #[serde(default)]
    pub program: String,
    /// Whether event times are real. If not, an event's index is used as its time.
    pub has_times: bool,
    /// Whether the source told threads apart.
    pub has_threads: bool,
    /// Whether the source kept alignments.
    pub has_alignment: bool,
    /// CPUs that the recorded process could use; none if unknown.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// The allocator that the recorded process ran on; none if unknown.
    #[serde(default)]
    pub allocator: Option<RecordedAllocator>,
    /// Anything else that the source wants kept: definition, overrides, seed, ... in a stated order.
    #[serde(default)]
    pub notes: Vec<Note>,
}

impl Header {
    /// The note with the sampling interval of the recorded process's resident memory, in ns. A sample is stored
    /// only if it differs from the one before.
    pub const SAMPLING_INTERVAL_NOTE: &str = "resident_sampling_interval_ns";

    /// The value of [`Header::SAMPLING_INTERVAL_NOTE`]; none if there is no such note, or its value is not
    /// above 0.
    pub fn resident_sampling_interval_ns(&self) -> Option<u64> {
        let note = self.notes.iter().rfind(|note| note.name == Header::SAMPLING_INTERVAL_NOTE)?;
        note.value.parse().ok().filter(|&every_ns| every_ns > 0)
    }

    /// What the source could not tell of every trace's matters, and what that means for a replay. Sentences.
    pub fn lacks(&self) -> Vec<String> {
        let lacks = [
            (self.has_times, "times (an event's index is used as its time; only --pace max can be measured)"),
            (
                self.has_threads,
                "threads (all events belong to one thread, in either order: figures say nothing about contention or about objects that cross threads)",
            ),
            (
                self.has_alignment,
                "alignment (aligned allocations become plain ones: the cost of alignment is not measured)",
            ),
        ];
        lacks.into_iter().filter(|(has, _)| !has).map(|(_, lack)| lack.to_string()).collect()
    }
}

/// The allocator that served the recorded process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecordedAllocator {
    /// Its name: `ptmalloc2`, `jemalloc`, ...
    pub name: String,
    /// Its version as it states it.
    pub version: String,
    /// SHA-256 of its library file in hexadecimal.
    pub hash: String,
}

/// A named value of the header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Note {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Exact totals of a whole trace, written after the last chunk.
///
/// Counts are of calls as they were logged: a `realloc(NULL, n)` is a realloc, a `free(NULL)` a free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// All events: calls, thread starts and thread ends, as they were logged.
    pub events: u64,
    /// Distinct threads.
    pub threads: u64,
    /// `malloc` calls.
    pub malloc: u64,
    /// `calloc` calls.
    pub calloc: u64,
    /// Aligned allocations.
    pub aligned_alloc: u64,
    /// `realloc` calls, of NULL and to 0 included.
    pub realloc: u64,
    /// `realloc(NULL, n)` calls, and those reallocs of an unseen address that could only allocate.
    pub realloc_null: u64,
    /// `free` calls, of NULL included.
    pub free: u64,
    /// `free(NULL)` calls.
    pub free_null: u64,
    /// Thread starts that were logged.
    pub thread_starts: u64,
    /// Thread ends that were logged.
    pub thread_ends: u64,
    /// Calls that returned NULL.
    pub failed: u64,
    /// Frees, and reallocs to 0, of an object that was never seen.
    pub unseen_frees: u64,
    /// Frees and reallocs by another thread than the object's last allocating or reallocating one.
    pub cross_thread: u64,
    /// Objects ever allocated.
    pub objects: u64,
    /// Objects live at the end.
    pub live_at_end: u64,
    /// Requested bytes live at the end.
    pub live_at_end_bytes: u64,
    /// The largest sum of requested bytes that were live at once.
    pub requested_peak_bytes: u64,
    /// Time of the first event.
    pub first_time_ns: u64,
    /// Time of the last event.
    pub last_time_ns: u64,
    /// Resident samples.
    pub resident_samples: u64,
    /// Times that went back and were raised to their predecessor's.
    pub times_raised: u64,
    /// Allocations at a live address that a free, logged late, was moved before.
    pub frees_hoisted: u64,
    /// Allocations at a live address whose free was never logged; the older object ends there.
    pub frees_missed: u64,
    /// Events that the recorder knows it lost.
    pub lost: u64,
    /// Reallocs of an object that was never seen, counted in `realloc_null` too.
    pub unseen_reallocs: u64,
    /// Events whose place among those of other threads could not be proven: no order of their tick in which
    /// allocations and frees of each address alternate was found, and they stand where they were met.
    pub order_guessed: u64,
    /// Frees and reallocs of which it is known how much of the object was written to before.
    pub touched: u64,
    /// Bytes that were written to of those objects, at most.
    pub touched_bytes: u64,
    /// Requested bytes of those objects.
    pub touched_of_bytes: u64,
    /// Mean of resident samples over time.
    pub resident_mean_bytes: u64,
    /// Of that, what recorded blocks explain: see [`crate::Coverage`].
    pub explained_mean_bytes: u64,
    /// The largest resident sample.
    pub resident_peak_bytes: u64,
    /// Of that, what recorded blocks explain.
    pub explained_at_peak_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sampling_interval_is_a_note_above_zero() {
        let of = |values: &[&str]| {
            let note = |value: &&str| Note {
                name: Header::SAMPLING_INTERVAL_NOTE.to_string(),
                value: value.to_string(),
            };
            let header = Header { notes: values.iter().map(note).collect(), ..Header::default() };
            header.resident_sampling_interval_ns()
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["10000000"]), Some(10_000_000));
        assert_eq!(of(&["0"]), None);
        assert_eq!(of(&["often"]), None);
        assert_eq!(of(&["1", "2"]), Some(2), "the last one counts");
    }
}
