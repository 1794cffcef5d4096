//! What the supplied clock shows: whether it follows the real clock, and at what distance, in one word.
//!
//! One thread at a time stops and restarts it; any number of threads read it meanwhile, and none of them ever
//! sees it run backwards, wherever it is preempted. Two rules ensure that:
//!
//! - A reader that follows the real clock reads the word, the clock, and the word again: if the word changed,
//!   the reading belongs to an outdated distance, and is repeated.
//! - A thread that stops the clock announces that first (`STOPS`) and reads the real clock only then. Every
//!   reading that was returned until then is an earlier one. A reader that sees `STOPS` does not wait: it
//!   reads the real clock itself, and the first thread to write determines the time at which the clock stands
//!   still.
//!
//! No I/O and no system call: the real clock comes in as a function, so that a test can be the clock, and a
//! model checker can try every order (`models/`).

use super::sync::{AtomicU64, Ordering};

/// The two highest bits of the word say what the other bits mean. The largest is that of a stopped clock, so
/// that setting it forward is a maximum.
const KIND: u64 = 0b11 << 62;
/// The clock shows the real one minus this distance.
const FOLLOWS: u64 = 0;
/// The clock is being stopped; until a thread has determined the time, this is still the distance.
const STOPS: u64 = 0b01 << 62;
/// The clock stands still, and shows this.
const STANDS: u64 = 0b10 << 62;

/// A clock that follows the real one, or stands still.
#[derive(Default)]
pub(super) struct Offset {
    /// A kind, and 62 bits of ns: enough for 146 years.
    pub(super) word: AtomicU64,
    /// The time at which it last stood still. A coarse clock lags behind the fine one, and would run
    /// backwards when restarted.
    pub(super) stood_ns: AtomicU64,
}

/// What the clock shows while it stands still, and by how much it lagged the real one before.
#[derive(Clone, Copy)]
pub(super) struct Stop {
    pub(super) ns: u64,
    distance_ns: u64,
}

impl Offset {
    /// What the clock shows, in ns. `real_ns` reads the real clock.
    #[inline]
    pub(super) fn read(&self, real_ns: impl Fn() -> u64) -> u64 {
        self.read_coarse(&real_ns, &real_ns)
    }

    /// What a coarse clock, which lags behind `real_ns`, shows while it follows.
    pub(super) fn read_coarse(&self, real_ns: impl Fn() -> u64, coarse_ns: impl Fn() -> u64) -> u64 {
        loop {
            let word = self.word.load(Ordering::Acquire);
            match word & KIND {
                STANDS => return word & !KIND,
                FOLLOWS => {
                    let now = coarse_ns();
                    if self.word.load(Ordering::Acquire) == word {
                        return now.saturating_sub(word).max(self.stood_ns.load(Ordering::Acquire));
                    }
                }
                _ => {
                    if let Some(stands_ns) = self.settle(word, &real_ns) {
                        return stands_ns;
                    }
                }
            }
        }
    }

    /// Determines the time at which a stopping clock stands still; none if another thread did.
    fn settle(&self, stops: u64, real_ns: impl Fn() -> u64) -> Option<u64> {
        let stands = STANDS | real_ns().saturating_sub(stops & !KIND);
        let settled = self.word.compare_exchange(stops, stands, Ordering::AcqRel, Ordering::Acquire);
        settled.is_ok().then_some(stands & !KIND)
    }

    /// Stops the clock; none if it is already stopped. Only one thread at a time may call this,
    /// [`Offset::go_on`] or [`Offset::advance_to`].
    pub(super) fn stop(&self, real_ns: impl Fn() -> u64) -> Option<Stop> {
        let word = self.word.load(Ordering::Acquire);
        if word & KIND == STANDS {
            return None;
        }
        let stops = STOPS | word;
        // NOTE: a swap, because a store might not be visible yet when the real clock is read.
        self.word.swap(stops, Ordering::SeqCst);
        self.settle(stops, real_ns);
        Some(Stop { ns: self.word.load(Ordering::Acquire) & !KIND, distance_ns: word })
    }

    /// Lets a stopped clock follow the real one again, from the time that it shows.
    pub(super) fn go_on(&self, stop: Stop, real_ns: impl Fn() -> u64) {
        self.stood_ns.fetch_max(stop.ns, Ordering::AcqRel);
        // NOTE: every distance is larger than the one before it: the word alone tells a reader that nothing
        // has happened since its first read.
        let distance_ns = loop {
            let distance_ns = real_ns().saturating_sub(stop.ns);
            if distance_ns > stop.distance_ns {
                break distance_ns;
            }
        };
        self.word.store(FOLLOWS | distance_ns, Ordering::Release);
    }

    /// Sets a stopped clock forward to `ns`, and no further than 62 bits hold; an earlier value is ignored, and so is one
    /// for a clock that follows.
    pub(super) fn advance_to(&self, ns: u64) {
        if self.word.load(Ordering::Acquire) & KIND == STANDS {
            self.word.fetch_max(STANDS | ns.min(!KIND), Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A real clock that a test moves.
    #[derive(Default)]
    struct Real(Cell<u64>);

    impl Real {
        fn read(&self) -> u64 {
            self.0.get()
        }

        fn pass(&self, ns: u64) {
            self.0.set(self.0.get() + ns);
        }
    }

    #[test]
    fn a_reader_that_is_preempted_across_a_stop_does_not_see_an_earlier_time_afterwards() {
        let (clock, real) = (Offset::default(), Real::default());
        real.pass(1_000);
        let preempted = Cell::new(false);
        let first = clock.read(|| {
            // A whole stop happens between reading the word and the clock.
            if !preempted.replace(true) {
                let stop = clock.stop(|| real.read()).unwrap();
                real.pass(500);
                clock.go_on(stop, || real.read());
            }
            real.read()
        });
        let second = clock.read(|| real.read());
        assert!(first <= second, "{first} and then {second}");
        assert_eq!(second, 1_000);
    }

    #[test]
    fn a_reader_whose_reading_is_older_than_a_stop_returns_what_the_stop_shows() {
        let (clock, real) = (Offset::default(), Real::default());
        real.pass(1_000);
        let stop = Cell::new(None);
        let shown = clock.read(|| {
            let now = real.read();
            if stop.get().is_none() {
                real.pass(10);
                stop.set(clock.stop(|| real.read()));
            }
            now
        });
        assert_eq!((shown, clock.read(|| real.read())), (1_010, 1_010));
    }

    #[test]
    fn a_stopper_that_is_preempted_stands_where_the_first_reader_saw_it() {
        let (clock, real) = (Offset::default(), Real::default());
        real.pass(1_000);
        let seen = Cell::new(0);
        let stop = clock.stop(|| {
            let late = real.read() + 300;
            seen.set(clock.read(|| real.read()));
            late
        });
        assert_eq!(seen.get(), 1_000);
        assert_eq!(stop.unwrap().ns, 1_000, "the stopper's own reading is the later one");
    }

    #[test]
    fn a_coarse_clock_does_not_fall_back_when_it_goes_on() {
        let (clock, real) = (Offset::default(), Real::default());
        real.pass(10_000_000);
        let coarse = || real.read() / 4_000_000 * 4_000_000;
        let read = || clock.read_coarse(|| real.read(), coarse);
        assert_eq!(read(), 8_000_000);
        let stop = clock.stop(|| real.read()).unwrap();
        assert_eq!(read(), 10_000_000, "it stops where the fine one does");
        real.pass(1_000_000);
        clock.go_on(stop, || real.read());
        assert_eq!(read(), 10_000_000);
        real.pass(4_000_000);
        assert_eq!(read(), 11_000_000, "12 ms on the coarse clock, minus 1 ms that it stood still");
    }

    #[test]
    fn a_clock_that_stands_only_goes_forward() {
        let (clock, real) = (Offset::default(), Real::default());
        real.pass(100);
        clock.advance_to(700);
        assert_eq!(clock.read(|| real.read()), 100, "it follows: nothing sets it");
        assert_eq!(clock.stop(|| real.read()).unwrap().ns, 100);
        assert!(clock.stop(|| real.read()).is_none());
        clock.advance_to(150);
        clock.advance_to(120);
        real.pass(1_000);
        assert_eq!(clock.read(|| real.read()), 150);
    }

    #[test]
    fn a_time_beyond_its_bits_leaves_the_clock_standing() {
        let (clock, real) = (Offset::default(), Real::default());
        clock.stop(|| real.read()).unwrap();
        for beyond_ns in [1 << 62, u64::MAX] {
            clock.advance_to(beyond_ns);
            assert_eq!(clock.read(|| real.read()), !KIND);
            assert!(clock.stop(|| real.read()).is_none(), "it stands");
        }
    }
}
