//! The latency pass: the time of every call, by the time-stamp counter.
//!
//! Each thread keeps a log of raw durations and empties it into the shared histograms between calls. A call is timed
//! alone, and again with the first touch of what it returned. Nothing is subtracted: the timer's own distribution is a
//! separate row. Calls in which the thread was switched out although it could have run on show how long the machine was
//! busy elsewhere; they are counted separately. A call that slept on a lock of the allocator or the kernel is not:
//! counted separately, contended calls made up four fifths of the time of a one-arena ptmalloc2, and its longest call
//! appeared as short as that with sixteen arenas. A call on the fast path takes less than two readings of the counter.
//! So one operation in sixteen is part of a batch: 64 consecutive operations of a thread, with their touches and the
//! replay's own work between them, and readings at both ends only. Batches have a separate row; their calls are in no
//! other. The cost of malloc by size is kept in additional rows: the same calls again. If a thread slept in a call and
//! woke on a CPU whose counter lags, the call ends before it started, so its duration is unknown. Such calls are in no
//! histogram; they are counted (`latency_untimed_calls`).

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram as Buckets;

use super::job::Histogram;
use super::lock::Lock;
use super::{clock, usage};

/// The calls of malloc that request up to this size, and more than the size before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CostSize {
    /// The operation of their rows.
    pub(crate) operation: &'static str,
    /// None for everything above the last.
    pub(crate) up_to_bytes: Option<u64>,
}

macro_rules! cost_sizes {
    ($($bytes:literal)*) => {
        [
            $(CostSize { operation: concat!("malloc_to_", $bytes), up_to_bytes: Some($bytes) },)*
            CostSize { operation: "malloc_beyond", up_to_bytes: None },
        ]
    };
}

/// Each is double the one before, from [`LEAST_COST_BITS`] on.
pub(crate) const COST_SIZES: [CostSize; 18] =
    cost_sizes!(16 32 64 128 256 512 1024 2048 4096 8192 16384 32768 65536 131072 262144 524288 1048576);
/// Binary logarithm of the first.
const LEAST_COST_BITS: u32 = 4;
const MALLOC: usize = 0;

/// Which of [`COST_SIZES`] a request is in.
#[inline(always)]
fn cost_size(bytes: u64) -> usize {
    let bits = u64::BITS - bytes.saturating_sub(1).leading_zeros();
    (bits.saturating_sub(LEAST_COST_BITS) as usize).min(COST_SIZES.len() - 1)
}

const OPERATIONS: [&str; 7] = ["malloc", "calloc", "aligned_alloc", "realloc", "free", "timer", "batch"];
const TIMER: usize = 5;
const BATCH: usize = 6;
const SCOPES: [&str; 3] = ["call", "touch", "switched"];
const CALL: usize = 0;
const TOUCH: usize = 1;
const SWITCHED: usize = 2;

/// Operations of a batch, and how many are timed by themselves between two batches.
const BATCH_OPERATIONS: u32 = 64;
const TIMED_OPERATIONS: u32 = 960;

/// Entries of a log.
const LOG_ENTRIES: usize = 1024;
/// Only after a call or a pause longer than this we ask whether the thread was switched out: asking is a
/// system call, and being switched out takes longer than this.
const SUSPICIOUS_NS: u64 = 5_000;
/// How long the counter is compared with the clock.
const CALIBRATION_NS: u64 = 20_000_000;
/// Reads of the timer for its own distribution.
const TIMER_READS: usize = 100_000;
/// Durations above this are counted as this.
const LONGEST_NS: u64 = 100_000_000_000;

/// The time-stamp counter, not before earlier instructions are done.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: both instructions exist on every x86-64.
    unsafe {
        std::arch::x86_64::_mm_lfence();
        std::arch::x86_64::_rdtsc()
    }
}

/// On other processors the real clock is used.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn ticks() -> u64 {
    clock::real_ns()
}

/// The latency histograms of a replay, of all threads together.
pub(super) struct Histograms {
    /// ns of a tick, times 2^32.
    scale: u64,
    suspicious_ticks: u64,
    lock: Lock,
    /// By operation and scope; then the calls of malloc by size.
    buckets: UnsafeCell<Vec<Buckets<u64>>>,
    /// Calls that ended before they started.
    untimed: AtomicU64,
}

// SAFETY: `buckets` is reached only while `lock` is held.
unsafe impl Sync for Histograms {}

impl Histograms {
    /// Empty histograms, except the timer's own, which is measured here.
    pub(super) fn new() -> Histograms {
        let scale = calibrate();
        let empty = || {
            // NOTE: these bounds are right for hdrhistogram whatever is measured.
            Buckets::new_with_bounds(1, LONGEST_NS, 2).unwrap_or_else(|error| unreachable!("{error}"))
        };
        let buckets = (0..OPERATIONS.len() * SCOPES.len() + COST_SIZES.len()).map(|_| empty()).collect();
        let suspicious_ticks = ((u128::from(SUSPICIOUS_NS) << 32) / u128::from(scale)) as u64;
        let histograms = Histograms {
            scale,
            suspicious_ticks,
            lock: Lock::new(),
            buckets: UnsafeCell::new(buckets),
            untimed: AtomicU64::new(0),
        };
        let mut log = Log::new(&histograms);
        for _ in 0..TIMER_READS {
            log.start();
            log.called(TIMER, 0);
            if log.length == LOG_ENTRIES {
                log.flush(&histograms);
            }
        }
        log.flush(&histograms);
        // Nobody needs the number of the timer's own untimed reads.
        histograms.untimed.store(0, Ordering::Relaxed);
        histograms
    }

    /// How many calls have no duration, because they ended on a CPU whose counter lags that of their start.
    pub(super) fn untimed(&self) -> u64 {
        self.untimed.load(Ordering::Relaxed)
    }

    /// Calls until now no longer count.
    pub(super) fn forget(&self) {
        let _guard = self.lock.hold();
        // SAFETY: the lock is held.
        let buckets = unsafe { &mut *self.buckets.get() };
        let is_timers = |index: usize| index / SCOPES.len() == TIMER;
        let of_calls = buckets.iter_mut().enumerate().filter(|(index, _)| !is_timers(*index));
        of_calls.for_each(|(_, recorded)| recorded.reset());
        self.untimed.store(0, Ordering::Relaxed);
    }

    /// What was recorded.
    pub(super) fn read(&self) -> Vec<Histogram> {
        let _guard = self.lock.hold();
        // SAFETY: the lock is held.
        let buckets = unsafe { &*self.buckets.get() };
        let name = |index: usize| match index.checked_sub(OPERATIONS.len() * SCOPES.len()) {
            None => (OPERATIONS[index / SCOPES.len()], SCOPES[index % SCOPES.len()]),
            Some(size) => (COST_SIZES[size].operation, SCOPES[CALL]),
        };
        let named = |(index, recorded): (usize, &Buckets<u64>)| Histogram {
            operation: name(index).0.to_owned(),
            scope: name(index).1.to_owned(),
            buckets: recorded
                .iter_recorded()
                .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
                .collect(),
        };
        buckets.iter().enumerate().filter(|(_, recorded)| !recorded.is_empty()).map(named).collect()
    }
}

/// ns of a tick, times 2^32.
fn calibrate() -> u64 {
    loop {
        let (begin_ns, begin) = (clock::real_ns(), ticks());
        while clock::real_ns() < begin_ns + CALIBRATION_NS {
            std::hint::spin_loop();
        }
        let ns = clock::real_ns() - begin_ns;
        // Moved to a CPU whose counter lags: try again.
        if let Some(passed) = passed(begin, ticks()) {
            return ((u128::from(ns) << 32) / u128::from(passed.max(1))).max(1) as u64;
        }
    }
}

/// Ticks from `begin` to `end`; none if the second reading was on a CPU whose counter lags the first one's.
#[inline(always)]
fn passed(begin: u64, end: u64) -> Option<u64> {
    end.checked_sub(begin)
}

/// Durations of one thread that are not in the histograms yet.
pub(super) struct Log {
    /// Ticks in the high bits, above 5 bits for the size of the request and 5 for operation and scope.
    entries: [u64; LOG_ENTRIES],
    length: usize,
    suspicious_ticks: u64,
    /// Start of the current call, its duration, and the start of its touch.
    begin: u64,
    call: u64,
    middle: u64,
    /// End of the last measurement, and how often, at most, the thread had been switched out by then.
    last: u64,
    preemptions: u64,
    /// The current call gets no row `touch`: the thread was switched out in it, or it has no duration.
    apart: bool,
    /// Calls without a duration.
    untimed: u64,
    /// Operations until the next batch, or remaining in this one, and its start.
    left: u32,
    in_batch: bool,
    batch_begin: u64,
}

impl Log {
    pub(super) fn new(histograms: &Histograms) -> Box<Log> {
        Box::new(Log {
            entries: [0; LOG_ENTRIES],
            length: 0,
            suspicious_ticks: histograms.suspicious_ticks,
            begin: 0,
            call: 0,
            middle: 0,
            last: 0,
            preemptions: usage::thread_preemptions(),
            apart: false,
            untimed: 0,
            left: TIMED_OPERATIONS,
            in_batch: false,
            batch_begin: 0,
        })
    }

    #[inline(always)]
    fn put(&mut self, operation: usize, scope: usize, size: usize, ticks: u64) {
        // NOTE: callers empty the log before it is full.
        if let Some(entry) = self.entries.get_mut(self.length) {
            *entry = ticks << 10 | (size << 5 | operation << 2 | scope) as u64;
            self.length += 1;
        }
    }

    /// Moves the durations to the histograms.
    pub(super) fn flush(&mut self, histograms: &Histograms) {
        let _guard = histograms.lock.hold();
        // SAFETY: the lock is held.
        let buckets = unsafe { &mut *histograms.buckets.get() };
        for entry in &self.entries[..self.length] {
            let ns = (u128::from(entry >> 10) * u128::from(histograms.scale)) >> 32;
            let ns = (ns as u64).max(1);
            let (operation, scope) = ((entry >> 2 & 7) as usize, (entry & 3) as usize);
            buckets[operation * SCOPES.len() + scope].saturating_record(ns);
            if (operation, scope) == (MALLOC, CALL) {
                let size = (entry >> 5 & 31) as usize;
                buckets[OPERATIONS.len() * SCOPES.len() + size].saturating_record(ns);
            }
        }
        self.length = 0;
        if self.untimed > 0 {
            histograms.untimed.fetch_add(std::mem::take(&mut self.untimed), Ordering::Relaxed);
        }
    }

    /// Whether the thread was switched out since the last check, although it could have run on.
    fn was_switched(&mut self) -> bool {
        let now = usage::thread_preemptions();
        std::mem::replace(&mut self.preemptions, now) != now
    }

    #[inline(always)]
    pub(super) fn start(&mut self) {
        self.begin = ticks();
        if self.begin.wrapping_sub(self.last) > self.suspicious_ticks {
            self.was_switched();
            self.begin = ticks();
        }
    }

    #[inline(always)]
    pub(super) fn called(&mut self, operation: usize, bytes: u64) {
        let now = ticks();
        self.called_at(operation, bytes, now);
    }

    #[inline(always)]
    fn called_at(&mut self, operation: usize, bytes: u64, now: u64) {
        self.middle = now;
        match passed(self.begin, now) {
            Some(call) => {
                self.call = call;
                self.apart = call > self.suspicious_ticks && self.was_switched();
                self.put(operation, if self.apart { SWITCHED } else { CALL }, cost_size(bytes), call);
                if call > self.suspicious_ticks {
                    self.middle = ticks();
                }
            }
            None => self.leave_untimed(),
        }
        self.last = self.middle;
    }

    #[inline(always)]
    pub(super) fn touched(&mut self, operation: usize) {
        self.touched_at(operation, ticks());
    }

    #[inline(always)]
    fn touched_at(&mut self, operation: usize, now: u64) {
        if !self.apart {
            match passed(self.middle, now) {
                Some(touch) => {
                    self.apart = touch > self.suspicious_ticks && self.was_switched();
                    self.put(
                        operation,
                        if self.apart { SWITCHED } else { TOUCH },
                        0,
                        self.call.wrapping_add(touch),
                    );
                }
                None => self.leave_untimed(),
            }
        }
        self.last = ticks();
    }

    /// Whether the following calls are timed in a batch, and not individually.
    #[inline(always)]
    pub(super) fn in_batch(&self) -> bool {
        self.in_batch
    }

    /// An operation is done. Empties the log before it is full: an operation makes two entries at most, and the end
    /// of a batch one.
    #[inline(always)]
    pub(super) fn done(&mut self, histograms: &Histograms) {
        self.count();
        if self.length + 3 > LOG_ENTRIES && !self.in_batch {
            self.flush(histograms);
        }
    }

    #[inline(always)]
    fn count(&mut self) {
        self.left -= 1;
        if self.left == 0 {
            self.turn_at(ticks());
        }
    }

    /// Starts or ends a batch.
    #[inline(never)]
    fn turn_at(&mut self, now: u64) {
        if self.in_batch {
            match passed(self.batch_begin, now) {
                Some(batch) if batch > self.suspicious_ticks && self.was_switched() => {
                    self.put(BATCH, SWITCHED, 0, batch);
                }
                Some(batch) => self.put(BATCH, CALL, 0, batch),
                None => self.untimed += u64::from(BATCH_OPERATIONS),
            }
        }
        self.in_batch = !self.in_batch;
        self.left = if self.in_batch { BATCH_OPERATIONS } else { TIMED_OPERATIONS };
        self.batch_begin = ticks();
        self.last = self.batch_begin;
    }

    /// No batch continues: the segment ends, and the thread may wait before its next one, or what follows is no call.
    pub(super) fn drop_batch(&mut self) {
        if self.in_batch {
            self.in_batch = false;
            self.left = TIMED_OPERATIONS;
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_untimed(&mut self) {
        self.untimed += 1;
        self.apart = true;
        self.was_switched();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(histograms: &Histograms, scope: &str) -> u64 {
        let of_scope = histograms.read().into_iter().filter(|found| found.operation == "free");
        let of_scope = of_scope.filter(|found| found.scope == scope);
        of_scope.flat_map(|found| found.buckets).map(|(_, count)| count).sum()
    }

    #[test]
    fn one_operation_in_sixteen_is_in_a_batch_which_ends_with_its_segment() {
        let histograms = Histograms::new();
        let mut log = Log::new(&histograms);
        let batches = |histograms: &Histograms| {
            let found = histograms.read().into_iter().filter(|found| found.operation == "batch");
            found.flat_map(|found| found.buckets).map(|(_, count)| count).sum::<u64>()
        };
        for _ in 0..10 * (TIMED_OPERATIONS + BATCH_OPERATIONS) {
            log.count();
        }
        log.flush(&histograms);
        assert_eq!((batches(&histograms), log.in_batch), (10, false));
        for _ in 0..TIMED_OPERATIONS + 5 {
            log.count();
        }
        assert!(log.in_batch);
        log.drop_batch();
        assert!(!log.in_batch, "a wait between two segments is in no batch");
        // Short segments must not keep calls from being timed: the next batch comes when it is due.
        (0..TIMED_OPERATIONS + BATCH_OPERATIONS).for_each(|_| log.count());
        log.flush(&histograms);
        assert_eq!(batches(&histograms), 11);
    }

    #[test]
    fn a_call_of_malloc_is_in_the_row_of_its_size_too() {
        let histograms = Histograms::new();
        let mut log = Log::new(&histograms);
        let requests = [0, 16, 17, 1_024, 1_025, 1 << 20, (1 << 20) + 1, u64::MAX];
        for (at, bytes) in requests.into_iter().enumerate() {
            log.begin = 1_000;
            log.called_at(MALLOC, bytes, 1_000 + 100 * (at as u64 + 1));
            log.touched_at(MALLOC, 5_000);
        }
        log.begin = 1_000;
        log.called_at(4, 64, 1_100);
        log.flush(&histograms);
        let sized = histograms.read().into_iter().filter(|found| found.operation.starts_with("malloc_"));
        let calls = |found: super::Histogram| {
            (found.operation, found.scope, found.buckets.iter().map(|(_, count)| count).sum::<u64>())
        };
        let found: Vec<_> = sized.map(calls).collect();
        let expected = [
            ("malloc_to_16", 2),
            ("malloc_to_32", 1),
            ("malloc_to_1024", 1),
            ("malloc_to_2048", 1),
            ("malloc_to_1048576", 1),
            ("malloc_beyond", 2),
        ];
        let expected = expected.map(|(operation, calls)| (operation.to_owned(), "call".to_owned(), calls));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_call_that_ends_on_a_cpu_whose_counter_is_behind_is_in_no_histogram() {
        const FREE: usize = 4;
        let histograms = Histograms::new();
        let mut log = Log::new(&histograms);
        for (begin, called, touched) in [(1_000, 1_100, 1_200), (1_000, 900, 1_200), (1_000, 1_100, 1_050)] {
            log.begin = begin;
            log.called_at(FREE, 0, called);
            log.touched_at(FREE, touched);
        }
        log.flush(&histograms);
        assert_eq!((calls(&histograms, "call"), calls(&histograms, "touch")), (2, 1));
        assert_eq!(calls(&histograms, "switched"), 0);
        assert_eq!(histograms.untimed(), 2);
        let longest = histograms.read().into_iter().filter(|found| found.operation == "free");
        let longest = longest.flat_map(|found| found.buckets).map(|(value_ns, _)| value_ns).max();
        assert!(longest.unwrap() < 1_000_000, "{longest:?} ns");
    }
}
