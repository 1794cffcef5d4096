//! What the threads of a replay share, and what each keeps to itself.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::latency::{Histograms, Log};
use super::sizes::Sizes;
use super::stopwatch::{Empty, Stopwatch};
use super::tables::{Offer, Slots};

/// What all threads of a replay read and write.
pub(super) struct State {
    pub(super) slots: Slots,
    pub(super) counts: Counts,
    pub(super) histograms: Option<Histograms>,
    /// Memory pass, if the allocator reports usable sizes.
    pub(super) sizes: Option<Sizes>,
    /// Measures busy time; none in a pass without it.
    pub(super) empty_span: Option<Empty>,
}

/// What all threads count together.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) requested: AtomicI64,
    pub(super) requested_peak: AtomicI64,
    pub(super) usable: AtomicI64,
    pub(super) waits: AtomicU64,
    pub(super) wakeups: AtomicU64,
    pub(super) window_stalls: AtomicU64,
    pub(super) busy_ns: AtomicU64,
    pub(super) off_cpu_ns: AtomicU64,
    pub(super) wait_ns: AtomicU64,
    pub(super) spin_ns: AtomicU64,
}

/// Counts of one thread since the start of its last segment.
pub(super) struct Local {
    /// Change of usable bytes (memory pass).
    pub(super) usable: i64,
    /// Durations of calls (latency pass).
    pub(super) log: Option<Box<Log>>,
    /// Busy time (throughput pass).
    pub(super) stopwatch: Stopwatch,
}

impl State {
    /// The state that a new thread starts with.
    pub(super) fn local(&self) -> Local {
        let log = self.histograms.as_ref().map(Log::new);
        Local { usable: 0, log, stopwatch: Stopwatch::new(self.empty_span) }
    }

    /// Forgets what was counted until now, while no thread has a segment: figures cover only what follows.
    pub(super) fn forget(&self) {
        let counts = &self.counts;
        let requested = counts.requested.load(Ordering::Relaxed);
        counts.requested_peak.store(requested, Ordering::Relaxed);
        let summed = [&counts.busy_ns, &counts.off_cpu_ns, &counts.wait_ns, &counts.spin_ns];
        for count in summed.into_iter().chain([&counts.waits, &counts.wakeups, &counts.window_stalls]) {
            count.store(0, Ordering::Relaxed);
        }
        if let Some(histograms) = &self.histograms {
            histograms.forget();
        }
        if let Some(sizes) = &self.sizes {
            sizes.forget();
        }
    }

    /// Adds what a thread counted in the segment of `offer`, which it has finished.
    pub(super) fn add_segment(&self, offer: &Offer, local: &mut Local) {
        let change = offer.requested_change.load(Ordering::Relaxed);
        let before = self.counts.requested.fetch_add(change, Ordering::Relaxed);
        let peak = before.saturating_add_unsigned(offer.requested_peak.load(Ordering::Relaxed));
        if peak > self.counts.requested_peak.load(Ordering::Relaxed) {
            self.counts.requested_peak.fetch_max(peak, Ordering::Relaxed);
        }
        if local.usable != 0 {
            self.counts.usable.fetch_add(local.usable, Ordering::Relaxed);
        }
        local.usable = 0;
        if self.empty_span.is_some() {
            let spans = local.stopwatch.take();
            self.counts.busy_ns.fetch_add(spans.busy_ns, Ordering::Relaxed);
            self.counts.off_cpu_ns.fetch_add(spans.off_cpu_ns, Ordering::Relaxed);
            self.counts.wait_ns.fetch_add(spans.wait_ns, Ordering::Relaxed);
            self.counts.spin_ns.fetch_add(spans.spin_ns, Ordering::Relaxed);
        }
        if let (Some(log), Some(histograms)) = (&mut local.log, &self.histograms) {
            log.drop_batch();
            log.flush(histograms);
        }
    }
}
