//! The time that a replayed thread is busy in the allocator: in its calls and in the first touches of what they
//! return, without waits for other threads.
//!
//! The two clocks are read at the start and end of a segment, and around each wait and each wake-up of a
//! sleeper in it: never at an event. Busy time is the thread's own CPU time, so a thread that is switched out
//! for another process is not busy meanwhile; how much longer the same spans took by the real clock is kept
//! too.

use super::clock;

/// Readings for the span of nothing.
const CALIBRATIONS: usize = 257;

/// The time of one thread on both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Moment {
    cpu_ns: u64,
    real_ns: u64,
}

impl Moment {
    fn read() -> Moment {
        // NOTE: always in this order, at both ends of a span: the cost of what is in between is measured
        // once.
        Moment { real_ns: clock::real_ns(), cpu_ns: clock::thread_cpu_ns() }
    }

    fn since(self, begin: Moment) -> Moment {
        Moment {
            cpu_ns: self.cpu_ns.saturating_sub(begin.cpu_ns),
            real_ns: self.real_ns.saturating_sub(begin.real_ns),
        }
    }
}

/// The duration of an empty span: the cost of one reading, which every span contains.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Empty(Moment);

impl Empty {
    /// Measures it on the calling thread: the median of many.
    pub(super) fn measure() -> Empty {
        let mut spans = [Moment::default(); CALIBRATIONS];
        for span in &mut spans {
            let begin = Moment::read();
            *span = Moment::read().since(begin);
        }
        let mut middle = |figure: fn(&Moment) -> u64| {
            spans.sort_unstable_by_key(figure);
            figure(&spans[CALIBRATIONS / 2])
        };
        Empty(Moment { cpu_ns: middle(|span| span.cpu_ns), real_ns: middle(|span| span.real_ns) })
    }
}

/// What was measured since the last reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spans {
    /// The thread's CPU time in busy spans.
    pub(super) busy_ns: u64,
    /// The time by the real clock in which it did not run in busy spans: switched out, or asleep in a call.
    pub(super) off_cpu_ns: u64,
    /// The time by the real clock of its waits for other threads' operations.
    pub(super) wait_ns: u64,
    /// The part of them in which it did not sleep, but polled.
    pub(super) spin_ns: u64,
}

/// Measures one thread's spans; or nothing, in a pass that has no use for them.
pub(super) struct Stopwatch {
    empty: Option<Empty>,
    begin: Moment,
    spans: Spans,
}

impl Stopwatch {
    /// A stopwatch that subtracts `empty` from every span; without it, one that measures nothing.
    pub(super) fn new(empty: Option<Empty>) -> Stopwatch {
        Stopwatch { empty, begin: Moment::default(), spans: Spans::default() }
    }

    /// Starts a busy span.
    #[inline]
    pub(super) fn start(&mut self) {
        if self.empty.is_some() {
            self.begin = Moment::read();
        }
    }

    /// Ends the busy span.
    #[inline]
    pub(super) fn stop(&mut self) {
        if let Some(Empty(empty)) = self.empty {
            let end = Moment::read();
            self.add(end.since(self.begin).since(empty));
            self.begin = end;
        }
    }

    /// Runs `wait` outside the busy span, which continues afterwards. `wait` returns the real time at which
    /// it fell asleep, if it did.
    #[inline]
    pub(super) fn wait(&mut self, wait: impl FnOnce(bool) -> Option<u64>) {
        self.stop();
        let paused = self.begin;
        let asleep = wait(self.empty.is_some());
        self.start();
        if let Some(Empty(empty)) = self.empty {
            self.spans.wait_ns += self.begin.since(paused).since(empty).real_ns;
            let spun_until = asleep.unwrap_or(self.begin.real_ns);
            self.spans.spin_ns += spun_until.saturating_sub(paused.real_ns);
        }
    }

    /// Runs `work` of the harness outside the busy span, which continues afterwards.
    #[inline]
    pub(super) fn leave_out(&mut self, work: impl FnOnce()) {
        self.stop();
        work();
        self.start();
    }

    /// What was measured since the last time.
    pub(super) fn take(&mut self) -> Spans {
        std::mem::take(&mut self.spans)
    }

    fn add(&mut self, span: Moment) {
        self.spans.busy_ns += span.cpu_ns;
        self.spans.off_cpu_ns += span.real_ns.saturating_sub(span.cpu_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(ns: u64) {
        let begin = clock::thread_cpu_ns();
        while clock::thread_cpu_ns() - begin < ns {}
    }

    #[test]
    fn what_is_slept_or_left_out_is_not_busy() {
        const MS: u64 = 1_000_000;
        let mut watch = Stopwatch::new(Some(Empty::measure()));
        watch.start();
        work(4 * MS);
        watch.leave_out(|| work(50 * MS));
        watch.wait(|measures| {
            assert!(measures);
            work(20 * MS);
            let asleep = clock::real_ns();
            clock::sleep_until_ns(asleep + 30 * MS);
            Some(asleep)
        });
        work(4 * MS);
        clock::sleep_until_ns(clock::real_ns() + 10 * MS);
        watch.stop();
        let spans = watch.take();
        assert!((8 * MS..18 * MS).contains(&spans.busy_ns), "{spans:?}");
        assert!(spans.off_cpu_ns >= 10 * MS, "{spans:?}");
        assert!(spans.wait_ns >= 50 * MS, "{spans:?}");
        assert!(spans.spin_ns >= 20 * MS && spans.spin_ns <= spans.wait_ns - 30 * MS, "{spans:?}");
        assert_eq!(watch.take(), Spans::default());
    }

    #[test]
    fn without_a_calibration_nothing_is_measured() {
        let mut watch = Stopwatch::new(None);
        watch.start();
        watch.wait(|measures| {
            assert!(!measures);
            None
        });
        watch.stop();
        assert_eq!(watch.take(), Spans::default());
    }
}
