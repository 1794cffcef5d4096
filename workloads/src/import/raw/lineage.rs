//! The ancestors of a forked image, and where in their records it was forked.

use heaplab_raw::{ImageId, MarkKind};

use super::index::Index;
use super::stream::{Step, Stream, What};
use super::{ImportError, Problems, Recording};

/// How many steps are read at a time.
const STEPS: usize = 1 << 12;

/// An image that another image descends from by forks.
pub(super) struct Ancestor<'a> {
    pub(super) id: ImageId,
    /// The number of its fork that created the next in the line.
    pub(super) fork: u32,
    pub(super) index: Index<'a>,
}

/// A fork in the records of the process that forked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fork {
    /// When, in microseconds on the recording's clock.
    pub(super) at_us: u64,
    /// The approximate number of the process's records until then.
    pub(super) records: u64,
}

/// The result of searching for a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    At(Fork),
    Nowhere,
    /// The process has more records than are asked for.
    TooLate,
}

impl Recording {
    /// The images that `image` descends from by forks, oldest first, each with the number of its fork. Empty
    /// if it started with a program, or if one in the line does not state the fork that created it.
    pub(super) fn line_of(&self, image: ImageId) -> Vec<(ImageId, u32)> {
        let mut line = Vec::new();
        let mut at = image;
        while self.is_forked(at) {
            let begin = self.facts_of(at, |page| page.head().parent.zip(page.fork())).flatten();
            // A parent is older than its child, whatever a damaged page says.
            let Some((parent, fork)) = begin.filter(|(parent, _)| parent.ordinal < at.ordinal) else {
                return Vec::new();
            };
            line.push((parent, fork));
            at = parent;
        }
        line.reverse();
        line
    }
}

/// Finds the mark of the fork `number` in an image's streams, no later than `until_us` and within the first
/// `most` records.
pub(super) fn find_fork(
    streams: &mut [Stream<'_>],
    number: u32,
    until_us: u64,
    most: u64,
) -> Result<Found, ImportError> {
    // Errors in the records are reported when they are merged.
    let problems = &mut Problems::default();
    let mut steps: Vec<Step> = Vec::new();
    let (mut records, mut found) = (0, None);
    for stream in streams {
        while let Some(tick_us) = stream.next_tick(problems)?.filter(|tick_us| *tick_us <= until_us) {
            steps.clear();
            stream.take_tick(tick_us, &mut steps, STEPS, problems)?;
            if steps.iter().any(|step| is_fork(step, number)) {
                found = Some(tick_us);
            }
            records += steps.len() as u64;
            if records > most {
                return Ok(Found::TooLate);
            }
        }
    }
    Ok(found.map_or(Found::Nowhere, |at_us| Found::At(Fork { at_us, records })))
}

/// Whether a step is the mark of the fork `number`.
pub(super) fn is_fork(step: &Step, number: u32) -> bool {
    matches!(step.what, What::Mark { kind: MarkKind::Fork, argument, .. } if argument == number.cast_signed())
}
