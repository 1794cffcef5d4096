//! What is kept of a tree's readings, however many they are: peaks and means of all, and rows for a file.
//!
//! Beyond [`MOST_ROWS`] readings, each row stands for a stretch of them. It is one reading of its stretch, chosen at
//! random, so that a percentile over the rows is that of the readings: the largest of each stretch would overstate it,
//! and every Nth reading could fall in step with the program. A stretch also has the exact mean of its readings.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::stats::TimeWeighted;

/// Most stretches that are kept; beyond, neighbours are joined.
const MOST_ROWS: usize = 20_000;

/// One sample of the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// Time since the program's start.
    pub time_ns: u64,
    /// Anonymous resident bytes, added up over the processes.
    pub anonymous_bytes: u64,
    /// The same, with pages that processes share counted once; none if not known.
    pub once_bytes: Option<u64>,
    /// Resident bytes, including files and shared memory.
    pub rss_bytes: u64,
    /// Proportional share, if it was read.
    pub pss_bytes: Option<u64>,
    /// Swapped bytes.
    pub swap_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Processes.
    pub processes: u64,
    /// User CPU time until now.
    pub cpu_user_ns: u64,
    /// System CPU time until now.
    pub cpu_system_ns: u64,
    /// CPU time until now by the processes' own clocks, which, unlike the other two, tick in ns.
    pub cpu_ns: u64,
}

/// The means of a stretch of readings, which hold until the next stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    /// When it begins, since the program's start.
    pub time_ns: u64,
    /// Anonymous resident bytes, added up over the processes.
    pub anonymous_bytes: u64,
    /// The same with shared pages counted once; none if not known.
    pub once_bytes: Option<u64>,
}

/// One reading, and what is known of the others that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The reading.
    pub point: Point,
    /// Their largest anonymous resident bytes.
    pub anonymous_peak_bytes: u64,
    /// The same with shared pages counted once; none if not known.
    pub once_peak_bytes: Option<u64>,
}

/// Readings one after another.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    begin_ns: u64,
    /// One of them.
    chosen: Point,
    readings: u64,
    anonymous: Held,
    once: Held,
}

/// Bytes over time.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// The first value, and the largest.
    first: u64,
    most: u64,
    byte_ns: u128,
    time_ns: u64,
}

/// The largest reading so far, and the one after it, until which it held.
#[derive(Debug, Clone, Copy, Default)]
struct Peak {
    bytes: u64,
    at: Option<Point>,
    next: Option<Point>,
}

/// The readings of one sample of the run.
#[derive(Debug)]
pub struct Readings {
    stretches: Vec<Stretch>,
    /// The number of readings in a full stretch.
    readings_each: u64,
    random: ChaCha8Rng,
    count: u64,
    largest: Point,
    first: Option<Point>,
    last: Option<Point>,
    peak: Peak,
    once_peak: Peak,
    anonymous: TimeWeighted,
    once: TimeWeighted,
    share: TimeWeighted,
    /// It is not known what processes shared.
    is_once_unknown: bool,
}

impl Default for Readings {
    fn default() -> Readings {
        Readings {
            stretches: Vec::new(),
            readings_each: 1,
            random: ChaCha8Rng::seed_from_u64(0),
            count: 0,
            largest: Point::default(),
            first: None,
            last: None,
            peak: Peak::default(),
            once_peak: Peak::default(),
            anonymous: TimeWeighted::default(),
            once: TimeWeighted::default(),
            share: TimeWeighted::default(),
            is_once_unknown: false,
        }
    }
}

impl Readings {
    /// Adds a reading after the others.
    pub(super) fn push(&mut self, point: Point) {
        if let Some((last, stretch)) = self.last.zip(self.stretches.last_mut()) {
            let time_ns = point.time_ns.saturating_sub(last.time_ns);
            stretch.anonymous.hold(last.anonymous_bytes, time_ns);
            stretch.once.hold(last.once_bytes.unwrap_or(0), time_ns);
        }
        self.count += 1;
        self.largest = larger(&self.largest, &point);
        self.first = self.first.or(Some(point));
        self.last = Some(point);
        self.peak.push(point.anonymous_bytes, point);
        self.once_peak.push(point.once_bytes.unwrap_or(0), point);
        self.anonymous.push(point.time_ns, point.anonymous_bytes);
        self.once.push(point.time_ns, point.once_bytes.unwrap_or(0));
        if let Some(share) = point.pss_bytes {
            self.share.push(point.time_ns, share);
        }
        self.add_to_stretches(point);
    }

    fn add_to_stretches(&mut self, point: Point) {
        match self.stretches.last_mut() {
            Some(last) if last.readings < self.readings_each => {
                last.readings += 1;
                last.anonymous.most = last.anonymous.most.max(point.anonymous_bytes);
                last.once.most = last.once.most.max(point.once_bytes.unwrap_or(0));
                if self.random.random_range(0..last.readings) == 0 {
                    last.chosen = point;
                }
            }
            _ => self.stretches.push(Stretch::of(point)),
        }
        if self.stretches.len() > MOST_ROWS {
            let mut joined: Vec<Stretch> = Vec::with_capacity(MOST_ROWS);
            for pair in self.stretches.chunks(2) {
                joined.push(match pair {
                    [earlier, later] => earlier.join(later, &mut self.random),
                    alone => alone[0],
                });
            }
            self.stretches = joined;
            self.readings_each *= 2;
        }
    }

    /// Removes memory with shared pages counted once: it is not known what is shared.
    pub(super) fn forget_once(&mut self) {
        self.is_once_unknown = true;
    }

    /// The number of readings.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last reading.
    #[must_use]
    pub fn last(&self) -> Option<Point> {
        self.last.map(|last| self.known(last))
    }

    /// The largest of each figure; none without a reading.
    #[must_use]
    pub fn peak(&self) -> Option<Point> {
        self.first.map(|_| self.known(self.largest))
    }

    /// Time-weighted mean of anonymous resident bytes.
    #[must_use]
    pub fn anonymous_mean_bytes(&self) -> Option<u64> {
        self.anonymous.mean()
    }

    /// Time-weighted mean of it with shared pages counted once; none if not known.
    #[must_use]
    pub fn once_mean_bytes(&self) -> Option<u64> {
        self.once.mean().filter(|_| !self.is_once_unknown)
    }

    /// Time-weighted mean of the proportional share.
    #[must_use]
    pub fn pss_mean_bytes(&self) -> Option<u64> {
        self.share.mean()
    }

    /// Means from begin to end, each of one reading or of several in a row. The last holds for no time.
    #[must_use]
    pub fn means(&self) -> Vec<Means> {
        let last = self.last.map(Stretch::of);
        let last = last.filter(|last| self.stretches.last().is_some_and(|at| at.begin_ns < last.begin_ns));
        let of = |stretch: &Stretch| Means {
            time_ns: stretch.begin_ns,
            anonymous_bytes: stretch.anonymous.mean(),
            once_bytes: (!self.is_once_unknown).then(|| stretch.once.mean()),
        };
        self.stretches.iter().chain(&last).map(of).collect()
    }

    /// Readings in order of time: all, or one of each stretch. The first, the last and those around the peaks are
    /// always among them.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let around = [&self.peak, &self.once_peak].into_iter().flat_map(|peak| [peak.at, peak.next]);
        let fixed = [self.first, self.last].into_iter().chain(around).flatten();
        let row = |stretch: &Stretch| Row {
            point: self.known(stretch.chosen),
            anonymous_peak_bytes: stretch.anonymous.most,
            once_peak_bytes: (!self.is_once_unknown).then_some(stretch.once.most),
        };
        let mut rows: Vec<Row> = self.stretches.iter().map(row).collect();
        rows.extend(fixed.map(|point| row(&Stretch::of(point))));
        // Where one reading is in twice, that of the stretch comes first and stays.
        rows.sort_by_key(|row| row.point.time_ns);
        rows.dedup_by_key(|row| row.point);
        rows
    }

    fn known(&self, point: Point) -> Point {
        Point { once_bytes: point.once_bytes.filter(|_| !self.is_once_unknown), ..point }
    }
}

impl Stretch {
    fn of(point: Point) -> Stretch {
        let held = |first| Held { first, most: first, ..Held::default() };
        Stretch {
            begin_ns: point.time_ns,
            chosen: point,
            readings: 1,
            anonymous: held(point.anonymous_bytes),
            once: held(point.once_bytes.unwrap_or(0)),
        }
    }

    fn join(&self, later: &Stretch, random: &mut ChaCha8Rng) -> Stretch {
        let readings = self.readings + later.readings;
        let is_earlier = random.random_range(0..readings) < self.readings;
        Stretch {
            begin_ns: self.begin_ns,
            chosen: if is_earlier { self.chosen } else { later.chosen },
            readings,
            anonymous: self.anonymous.join(&later.anonymous),
            once: self.once.join(&later.once),
        }
    }
}

impl Held {
    fn hold(&mut self, bytes: u64, time_ns: u64) {
        self.byte_ns += u128::from(bytes) * u128::from(time_ns);
        self.time_ns += time_ns;
    }

    fn join(&self, later: &Held) -> Held {
        Held {
            first: self.first,
            most: self.most.max(later.most),
            byte_ns: self.byte_ns + later.byte_ns,
            time_ns: self.time_ns + later.time_ns,
        }
    }

    fn mean(&self) -> u64 {
        self.byte_ns.checked_div(u128::from(self.time_ns)).map_or(self.first, |mean| mean as u64)
    }
}

impl Peak {
    fn push(&mut self, bytes: u64, point: Point) {
        if self.at.is_none() || bytes > self.bytes {
            *self = Peak { bytes, at: Some(point), next: None };
        } else if self.next.is_none() {
            self.next = Some(point);
        }
    }
}

/// The larger of each figure.
fn larger(a: &Point, b: &Point) -> Point {
    Point {
        time_ns: a.time_ns.max(b.time_ns),
        anonymous_bytes: a.anonymous_bytes.max(b.anonymous_bytes),
        once_bytes: a.once_bytes.max(b.once_bytes),
        rss_bytes: a.rss_bytes.max(b.rss_bytes),
        pss_bytes: a.pss_bytes.max(b.pss_bytes),
        swap_bytes: a.swap_bytes.max(b.swap_bytes),
        threads: a.threads.max(b.threads),
        processes: a.processes.max(b.processes),
        cpu_user_ns: a.cpu_user_ns.max(b.cpu_user_ns),
        cpu_system_ns: a.cpu_system_ns.max(b.cpu_system_ns),
        cpu_ns: a.cpu_ns.max(b.cpu_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{mean_between, percentile_over_time};

    const STEP_NS: u64 = 10_000_000;

    /// Readings every 10 ms.
    fn readings(count: u64, bytes: impl Fn(u64) -> (u64, u64)) -> Readings {
        let mut readings = Readings::default();
        for at in 0..count {
            let (anonymous_bytes, once) = bytes(at);
            let once_bytes = Some(once);
            readings.push(Point { time_ns: at * STEP_NS, anonymous_bytes, once_bytes, ..Point::default() });
        }
        readings
    }

    #[test]
    fn figures_of_a_long_series_are_those_of_its_readings() {
        // An hour of 60, with 160 in one reading of 200.
        let spiky = |at: u64| if at % 200 == 100 { 160 } else { 60 };
        let found = readings(360_000, |at| (spiky(at), spiky(at)));
        assert_eq!((found.count(), found.peak().map(|peak| peak.anonymous_bytes)), (360_000, Some(160)));
        let mean = (0..359_999).map(spiky).sum::<u64>() / 359_999;
        assert_eq!((found.anonymous_mean_bytes(), found.once_mean_bytes()), (Some(mean), Some(mean)));
        let rows = found.rows();
        assert!(rows.len() <= MOST_ROWS + 6 && rows.len() > MOST_ROWS / 4, "{}", rows.len());
        assert!(rows.is_sorted_by(|a, b| a.point.time_ns < b.point.time_ns));
        let over_time: Vec<(u64, u64)> =
            rows.iter().map(|row| (row.point.time_ns, row.point.anonymous_bytes)).collect();
        assert_eq!(percentile_over_time(&over_time, 0, 0.99), Some(60));
        assert_eq!(percentile_over_time(&over_time, 0, 0.999), Some(160));
        assert!(over_time.iter().any(|row| row.1 == 160));
        assert_eq!((rows[0].point.time_ns, rows[rows.len() - 1].point.time_ns), (0, 359_999 * STEP_NS));
        // Each row knows whether its stretch had the spike.
        let spikes = rows.iter().filter(|row| row.anonymous_peak_bytes == 160).count();
        assert!((1_800..=1_806).contains(&spikes), "{spikes}");
        // From half of it on, in units that show a difference.
        let found = readings(360_000, |at| (spiky(at) << 20, spiky(at) << 20));
        let means: Vec<(u64, u64)> =
            found.means().iter().map(|mean| (mean.time_ns, mean.anonymous_bytes)).collect();
        let half = mean_between(&means, 180_000 * STEP_NS, 359_999 * STEP_NS).expect("a mean");
        let exact = (60 << 20) + (100 << 20) / 200;
        assert!(half.abs_diff(exact) < 1 << 10, "{half} {exact}");
        let once: Vec<u64> = found.means().iter().filter_map(|mean| mean.once_bytes).collect();
        assert_eq!(once, means.iter().map(|mean| mean.1).collect::<Vec<u64>>());
    }

    #[test]
    fn a_fork_within_a_stretch_counts_its_heap_once() {
        // Every 20 s a child of 2 s shares all of its parent's 100.
        let found = readings(120_000, |at| (if at % 2000 < 200 { 200 } else { 100 }, 100));
        let peak = found.peak().expect("readings");
        assert_eq!((peak.anonymous_bytes, peak.once_bytes), (200, Some(100)));
        assert_eq!((found.anonymous_mean_bytes(), found.once_mean_bytes()), (Some(110), Some(100)));
        assert!(
            found
                .rows()
                .iter()
                .all(|row| (row.point.once_bytes, row.once_peak_bytes) == (Some(100), Some(100)))
        );
    }

    #[test]
    fn few_readings_are_all_kept_and_the_last_means_nothing_more() {
        let mut found = readings(4, |at| (100 + at, 100));
        let rows: Vec<u64> = found.rows().iter().map(|row| row.point.anonymous_bytes).collect();
        assert_eq!(rows, [100, 101, 102, 103]);
        let means: Vec<u64> = found.means().iter().map(|mean| mean.anonymous_bytes).collect();
        assert_eq!(means, rows);
        assert_eq!(found.pss_mean_bytes(), None);
        found.forget_once();
        assert_eq!((found.once_mean_bytes(), found.last().and_then(|last| last.once_bytes)), (None, None));
        assert!(found.rows().iter().all(|row| row.point.once_bytes.or(row.once_peak_bytes).is_none()));
        assert!(found.means().iter().all(|mean| mean.once_bytes.is_none()));
        let none = Readings::default();
        assert_eq!((none.peak(), none.rows(), none.means()), (None, vec![], vec![]));
    }
}
