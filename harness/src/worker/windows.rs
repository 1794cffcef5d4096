//! Which windows of a replay are open, and when one is done: only the counting, without the work on a window.
//!
//! Threads count down the unfinished segments of a window, without a lock; the thread that finishes the last
//! one is the only one that counts windows. At most two windows are open at once, so four places are enough:
//! a place is reused only after the window that had it is done.

use super::sync::{AtomicU32, Ordering};

/// Places for windows, by their number.
const PLACES: usize = 4;

fn place_of(window: u32) -> usize {
    window as usize % PLACES
}

/// Segments of open windows that are not finished.
#[derive(Default)]
pub(super) struct Unfinished([AtomicU32; PLACES]);

impl Unfinished {
    /// Sets the number of a window's segments, before any of them is offered.
    ///
    /// NOTE: the offer publishes it; see `turn::set`.
    pub(super) fn open(&self, window: u32, segments: u32) {
        self.0[place_of(window)].store(segments, Ordering::Relaxed);
    }

    /// Counts a segment as finished. Returns whether it was the window's last: the caller then sees everything that was
    /// done in the others.
    pub(super) fn finish(&self, window: u32) -> bool {
        self.0[place_of(window)].fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// The progress of a replay. One thread at a time has it.
#[derive(Default)]
pub(super) struct Progress {
    next: u64,
    done: u64,
    complete: [bool; PLACES],
}

impl Progress {
    /// Number of the window to open next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Windows before this number are done.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Windows that are open.
    pub(super) fn open_count(&self) -> u64 {
        self.next - self.done
    }

    /// Whether one more may be opened: at most two may be open, or one that must be alone.
    pub(super) fn may_open(&self, alone: bool) -> bool {
        self.open_count() < if alone { 1 } else { 2 }
    }

    /// Opens the next window, and returns its number.
    pub(super) fn open(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Marks all segments of an open window as finished.
    pub(super) fn complete(&mut self, window: u32) {
        self.complete[place_of(window)] = true;
    }

    /// Whether the oldest window that is not done is complete. Those after it wait for it.
    pub(super) fn oldest_is_complete(&self) -> bool {
        self.complete[place_of(self.done as u32)]
    }

    /// Counts the oldest window as done.
    pub(super) fn count_done(&mut self) {
        self.complete[place_of(self.done as u32)] = false;
        self.done += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_done_in_order_however_they_complete() {
        let mut progress = Progress::default();
        assert_eq!((progress.open(), progress.open()), (0, 1));
        assert!(!progress.may_open(false));
        progress.complete(1);
        assert!(!progress.oldest_is_complete(), "the first is not");
        progress.complete(0);
        for _ in 0..2 {
            assert!(progress.oldest_is_complete());
            progress.count_done();
        }
        assert!(!progress.oldest_is_complete());
        assert_eq!((progress.done(), progress.next(), progress.open_count()), (2, 2, 0));
        progress.open();
        assert!(progress.may_open(false) && !progress.may_open(true));
    }

    #[test]
    fn the_last_segment_of_a_window_is_told_also_where_numbers_wrap() {
        let unfinished = Unfinished::default();
        for window in [u32::MAX, 0, 1] {
            unfinished.open(window, 2);
        }
        assert_eq!(
            [u32::MAX, 0, u32::MAX, 0].map(|window| unfinished.finish(window)),
            [false, false, true, true]
        );
    }
}
