//! What the figures must be, and what they were.

use serde::Serialize;

use super::{
    AGAIN, Control, KEEP, PLAIN, SLOW, SLOWER, SLOWEST, STEPS, SelfCheckError, UNMAP, WASTE, WASTE_PERCENT,
    program,
};
use crate::report::Analysis;
use crate::results::Run;
use crate::results::metrics::{
    ALLOCATOR_PER_EVENT, BUSY_PER_EVENT, RESIDENT_DRAINED, RESIDENT_PEAK, RESIDENT_SETTLED,
};
use crate::stats::{Verdict, median};

/// How far memory may be from what is known: a few pages, and the C library's tables.
const MEMORY_TOLERANCE: f64 = 0.02;
/// The same for the difference between two figures of memory.
const DIFFERENCE_TOLERANCE: f64 = 0.1;
/// The same for bytes lost in blocks: the C library gives a block 16 bytes more where the rest would be too small for
/// another.
const INTERNAL_TOLERANCE: f64 = 0.001;
/// What a library that returns everything may still hold.
const NOTHING_BYTES: f64 = 1e6;
/// Twice the steps take twice the time, within this tolerance.
const SPEED_TOLERANCE: f64 = 0.1;
/// Bytes of a page of a block's own mapping.
const PAGE_BYTES: u64 = 4_096;

/// One question whose answer is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// What was asked.
    pub question: &'static str,
    /// What the answer must be.
    pub expected: String,
    /// What it was.
    pub found: String,
    /// Whether the two agree.
    pub is_right: bool,
}

/// What the C library makes of a request: a chunk that includes the word for its size.
fn chunk_bytes(bytes: u64) -> u64 {
    (bytes + 8).next_multiple_of(16).max(32)
}

/// The answers of the memory pass.
pub(super) fn of_memory(analysis: &Analysis<'_>) -> Result<Vec<Answer>, SelfCheckError> {
    let median = |variant: Control, metric| {
        analysis.median(program::NAME, &variant.label(), metric).unwrap_or(f64::NAN)
    };
    let wasted_request = program::WASTEFUL_BYTES + program::WASTEFUL_BYTES * WASTE_PERCENT / 100;
    let wasted_bytes =
        (chunk_bytes(wasted_request) - chunk_bytes(program::WASTEFUL_BYTES)) * program::WASTEFUL_BLOCKS;
    let internal = |variant| median(variant, "at_peak_internal_bytes");
    let more_internal = internal(WASTE) - internal(PLAIN);
    let wasteful_usable = chunk_bytes(wasted_request) - 8;
    let plain_usable = chunk_bytes(program::WASTEFUL_BYTES) - 8;
    let worst = worst_size(analysis.run, WASTE)?;
    let more_resident = median(WASTE, RESIDENT_PEAK) - median(PLAIN, RESIDENT_PEAK);
    let kept_bytes = program::bytes_of_all(chunk_bytes) as f64;
    let mapped_bytes = (program::LIVE_BLOCKS * PAGE_BYTES) as f64;
    Ok(vec![
        verdict(
            analysis,
            "peak memory of the same library twice",
            AGAIN,
            RESIDENT_PEAK,
            Verdict::NoDifference,
        ),
        about(
            "bytes lost where 5 % are wasted in one size",
            "more",
            more_internal,
            wasted_bytes as f64,
            INTERNAL_TOLERANCE,
        ),
        Answer {
            question: "the size that wastes them",
            expected: format!("blocks of {wasteful_usable} bytes"),
            found: worst.map_or("none".to_owned(), |bytes| format!("blocks of {bytes} bytes")),
            is_right: worst == Some(wasteful_usable),
        },
        names_one(
            "the size class that a comparison names",
            &named_sizes(analysis, WASTE),
            plain_usable,
            wasteful_usable as f64 / plain_usable as f64,
        ),
        Answer {
            question: "size classes that differ of the same library twice",
            expected: "none".to_owned(),
            found: match named_sizes(analysis, AGAIN).len() {
                0 => "none".to_owned(),
                several => several.to_string(),
            },
            is_right: named_sizes(analysis, AGAIN).is_empty()
                && analysis.size_differences.iter().any(|size| size.variant == AGAIN.label()),
        },
        about(
            "peak memory with that waste",
            "more",
            more_resident,
            wasted_bytes as f64,
            DIFFERENCE_TOLERANCE,
        ),
        verdict(analysis, "its verdict", WASTE, RESIDENT_PEAK, Verdict::Larger),
        about(
            "memory after the load of one that never reuses any",
            "",
            median(KEEP, RESIDENT_DRAINED),
            kept_bytes,
            MEMORY_TOLERANCE,
        ),
        about(
            "peak memory of one with a page for each block",
            "",
            median(UNMAP, RESIDENT_PEAK),
            mapped_bytes,
            MEMORY_TOLERANCE,
        ),
        Answer {
            question: "settled memory of the same, which returns each",
            expected: format!("below {}", show_bytes(NOTHING_BYTES)),
            found: show_bytes(median(UNMAP, RESIDENT_SETTLED)),
            is_right: median(UNMAP, RESIDENT_SETTLED) < NOTHING_BYTES,
        },
    ])
}

/// The size classes in which a comparison names a difference: each with its ratio of room.
fn named_sizes(analysis: &Analysis<'_>, variant: Control) -> Vec<(u64, f64)> {
    let of_variant = analysis.size_differences.iter().filter(|size| size.variant == variant.label());
    of_variant.filter(|size| size.is_shown()).map(|size| (size.size_bytes, size.ratio)).collect()
}

/// Expects one class with this ratio of room, and no other.
fn names_one(question: &'static str, found: &[(u64, f64)], size_bytes: u64, times: f64) -> Answer {
    let show = |(bytes, times): &(u64, f64)| format!("blocks of {bytes} bytes: {times:.3} times the room");
    let named: Vec<String> = found.iter().map(show).collect();
    Answer {
        question,
        expected: format!("{}, and no other", show(&(size_bytes, times))),
        found: if named.is_empty() { "none".to_owned() } else { named.join("; ") },
        is_right: matches!(found, [(bytes, ratio)] if *bytes == size_bytes && (ratio / times - 1.0).abs() <= INTERNAL_TOLERANCE),
    }
}

/// The answers of the throughput pass.
pub(super) fn of_speed(analysis: &Analysis<'_>) -> Vec<Answer> {
    let compared = [ALLOCATOR_PER_EVENT, BUSY_PER_EVENT];
    let is_known = |metric: &&str| {
        analysis.row(program::NAME, &SLOW.label(), metric).is_some_and(|row| row.verdict.is_some())
    };
    let metric = compared.into_iter().find(|metric| is_known(metric)).unwrap_or(BUSY_PER_EVENT);
    let (once_ns, twice_ns) = (longer_ns(analysis, SLOWER), longer_ns(analysis, SLOWEST));
    let times = twice_ns / once_ns;
    vec![
        verdict(analysis, "speed of the same library twice", AGAIN, metric, Verdict::NoDifference),
        verdict(analysis, "speed with 32 multiplications more a call", SLOW, metric, Verdict::Larger),
        Answer {
            question: "what 400 cost, by what 200 cost",
            expected: format!("2.0 times, within {} %", SPEED_TOLERANCE * 100.0),
            found: format!("{times:.2} times; {:.2} ns each", once_ns / STEPS as f64),
            is_right: (times / 2.0 - 1.0).abs() <= SPEED_TOLERANCE,
        },
    ]
}

/// How much longer an event's busy time is under a variant than under the baseline in the same block: the median.
fn longer_ns(analysis: &Analysis<'_>, variant: Control) -> f64 {
    let values = |of: Control| analysis.values(program::NAME, &of.label(), BUSY_PER_EVENT);
    let (Some(of), Some(base)) = (values(variant), values(PLAIN)) else { return f64::NAN };
    let longer: Vec<f64> = of.iter().filter_map(|(block, value)| Some(value - base.get(block)?)).collect();
    median(&longer).unwrap_or(f64::NAN)
}

/// The usable size of the blocks that lose the most under a variant.
fn worst_size(run: &Run, variant: Control) -> Result<Option<u64>, SelfCheckError> {
    let label = variant.label();
    let mut worst = None;
    run.each_size(|place, size| {
        let lost = size.live_usable_bytes.saturating_sub(size.live_requested_bytes);
        if run.samples[place].variant == label && worst.is_none_or(|(most, _)| lost > most) {
            worst = Some((lost, size.usable_bytes));
        }
    })?;
    Ok(worst.map(|(_, bytes)| bytes))
}

fn verdict(
    analysis: &Analysis<'_>,
    question: &'static str,
    variant: Control,
    metric: &str,
    expected: Verdict,
) -> Answer {
    let show = |verdict: Verdict| if metric == RESIDENT_PEAK { verdict.as_str() } else { verdict.of_time() };
    let row = analysis.row(program::NAME, &variant.label(), metric);
    let found = row.and_then(|row| row.verdict);
    let ratio = row.and_then(|row| row.ratio).map_or(String::new(), |ratio| format!(" ({ratio:.3} times)"));
    Answer {
        question,
        expected: show(expected).to_owned(),
        found: format!("{}{ratio}", found.map_or("no verdict", show)),
        is_right: found == Some(expected),
    }
}

/// A figure that must be within a tolerance of the known value.
fn about(question: &'static str, more: &str, found: f64, expected: f64, tolerance: f64) -> Answer {
    let show = |bytes| [&show_bytes(bytes), more].join(" ").trim_end().to_owned();
    Answer {
        question,
        expected: format!("{}, within {} %", show(expected), tolerance * 100.0),
        found: show(found),
        is_right: (found / expected - 1.0).abs() <= tolerance,
    }
}

fn show_bytes(bytes: f64) -> String {
    format!("{:.3} MB", bytes / 1e6)
}
