//! The figures of a process tree over time: peaks and means of all its samples, and points for a plot.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::census::Census;
use super::tree::{Member, Watched, descendants, ended_children_ticks, proportional_bytes, read_member};
use crate::sharing::{Sharing, cpu_time, fill_edges};
use crate::stats::TimeWeighted;

/// Most points that are kept; beyond, neighbours are joined and the larger value stays.
const MOST_POINTS: usize = 20_000;
/// Reading the proportional share takes at most one part in this many of the time.
const SHARE_COST: u32 = 100;
/// Searching for new processes takes at most one part in this many of the time.
const FIND_COST: u32 = 50;

/// One sample of the tree, or several joined ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// Time since the program's start.
    pub time_ns: u64,
    /// Anonymous resident bytes, added up over the processes.
    pub anonymous_bytes: u64,
    /// The same for the largest process.
    pub largest_bytes: u64,
    /// The same for all, with pages that processes share counted once; none if not known.
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

/// How the tree was sampled in one sample of the run.
#[derive(Debug, Default)]
pub struct Series {
    /// Points in order of time.
    pub points: Vec<Point>,
    /// Number of readings, including glances.
    pub readings: u64,
    /// The largest of each figure.
    pub peak: Point,
    /// Every process that was sampled.
    pub(super) census: Census,
    /// All processes below the keeper at the last reading, including those that do not count.
    found: BTreeSet<u32>,
    next_find: Duration,
    /// The last reading of the CPU clocks of processes that have exited, and of the others.
    ended_cpu_ns: u64,
    cpu_ns: HashMap<u32, u64>,
    /// Those that still ran the keeper's program.
    unstarted: BTreeSet<u32>,
    /// The processes of the last reading, for glances.
    watched: Vec<(u32, Watched)>,
    /// Those that had memory at the last reading or glance.
    processes: Vec<u32>,
    sharing: Sharing,
    /// When processes were found to have started or exited.
    edges: Vec<u64>,
    /// The point of the last reading.
    last: Point,
    /// Readings that a point represents.
    readings_each: u64,
    joined: u64,
    anonymous: TimeWeighted,
    share: TimeWeighted,
    once_mean_bytes: Option<u64>,
    next_share: Option<Instant>,
}

impl Point {
    fn add(&mut self, member: &Member) {
        self.processes += 1;
        self.threads += member.threads;
        self.anonymous_bytes += member.anonymous_bytes;
        self.largest_bytes = self.largest_bytes.max(member.anonymous_bytes);
        self.rss_bytes += member.rss_bytes;
        self.swap_bytes += member.swap_bytes;
    }
}

impl Series {
    /// Reads the tree below `keeper` at `time` since the program's start. False if there is no process.
    pub(super) fn read_tree(&mut self, keeper: u32, time: Duration) -> bool {
        let mut point = Point { time_ns: time.as_nanos() as u64, ..Point::default() };
        let mut ticks = ended_children_ticks(keeper);
        let own = std::fs::read_link("/proc/self/exe").ok();
        let share_from = Instant::now();
        let mut share = self.next_share.is_none_or(|due| share_from >= due).then_some(0u64);
        let mut share_cost = Duration::ZERO;
        self.watched.clear();
        self.census.begin(time);
        self.found = descendants(keeper);
        let mut unstarted = BTreeSet::new();
        for &process in &self.found {
            let Some(member) = read_member(process) else { continue };
            let Some(program) = member.program.clone() else { continue };
            // NOTE: between fork and exec the child is still the keeper.
            if own.as_ref() == Some(&program) {
                unstarted.insert(process);
                continue;
            }
            self.watched.extend(Watched::open(process).map(|watched| (process, watched)));
            point.add(&member);
            ticks.0 += member.cpu_ticks.0;
            ticks.1 += member.cpu_ticks.1;
            self.census.count(&member, program);
            if share.is_some() {
                let from = Instant::now();
                share = share.zip(proportional_bytes(process)).map(|(sum, share)| sum + share);
                share_cost += from.elapsed();
            }
        }
        // The next glance is then a reading. A process that still runs this program was started as heaplab.
        self.found.retain(|process| !unstarted.contains(process) || self.unstarted.contains(process));
        self.unstarted = unstarted;
        if point.processes == 0 {
            return false;
        }
        if share.is_some() {
            self.next_share = Some(share_from + share_cost * SHARE_COST);
            point.pss_bytes = share;
        }
        let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
        (point.cpu_user_ns, point.cpu_system_ns) = (ticks.0 * tick_ns, ticks.1 * tick_ns);
        point.cpu_ns = self.read_clocks();
        self.last = point;
        self.push(point);
        let processes = self.watched.iter().map(|(process, _)| *process).collect();
        self.share(time, processes);
        true
    }

    /// Reads only the resident memory of the processes that the last reading found: a full reading is too
    /// expensive to be taken as often as a recorder takes one. False if there is none, or it has changed since.
    pub(super) fn glance(&mut self, keeper: u32, time: Duration) -> bool {
        if time >= self.next_find {
            let from = cpu_time();
            let is_new = descendants(keeper) != self.found;
            self.next_find = time + cpu_time().saturating_sub(from) * FIND_COST;
            if is_new {
                return false;
            }
        }
        let resident = self.watched.iter().filter_map(|(process, watched)| {
            let (anonymous_bytes, rss_bytes) = watched.resident_bytes()?;
            Some((*process, anonymous_bytes, rss_bytes))
        });
        let resident: Vec<(u32, u64, u64)> = resident.collect();
        if resident.is_empty() {
            return false;
        }
        let cpu_ns = self.read_clocks();
        self.push(Point {
            time_ns: time.as_nanos() as u64,
            cpu_ns,
            anonymous_bytes: resident.iter().map(|of| of.1).sum(),
            largest_bytes: resident.iter().map(|of| of.1).max().unwrap_or(0),
            rss_bytes: resident.iter().map(|of| of.2).sum(),
            pss_bytes: None,
            ..self.last
        });
        self.share(time, resident.iter().map(|of| of.0).collect());
        true
    }

    /// CPU time of all processes until now.
    fn read_clocks(&mut self) -> u64 {
        let mut before = std::mem::take(&mut self.cpu_ns);
        for (process, watched) in &self.watched {
            let last = before.remove(process).unwrap_or(0);
            match watched.cpu_ns() {
                // A different process has started under the number of an earlier one.
                Some(now) if now < last => {
                    self.ended_cpu_ns += last;
                    self.cpu_ns.insert(*process, now);
                }
                now => {
                    self.cpu_ns.insert(*process, now.unwrap_or(last));
                }
            }
        }
        self.ended_cpu_ns += before.into_values().sum::<u64>();
        self.ended_cpu_ns + self.cpu_ns.values().sum::<u64>()
    }

    /// Reads what these processes share, if it is time to.
    fn share(&mut self, time: Duration, processes: Vec<u32>) {
        if processes != self.processes {
            self.edges.push(time.as_nanos() as u64);
            self.processes = processes;
        }
        self.sharing.sample(time, self.processes.iter().copied());
    }

    /// Computes the memory with shared pages counted once, when all samples are in.
    ///
    /// # Errors
    ///
    /// Why it is not known.
    pub(super) fn count_once(&mut self) -> Result<(), String> {
        let shared = self.sharing.points()?.iter().map(|&(time, bytes)| (time.as_nanos() as u64, bytes));
        let shared = fill_edges(&shared.collect::<Vec<_>>(), &self.edges);
        let (mut next, mut bytes, mut once) = (0, 0, TimeWeighted::default());
        for point in &mut self.points {
            while let Some(of) = shared.get(next).filter(|of| of.0 <= point.time_ns) {
                (next, bytes) = (next + 1, of.1);
            }
            // A process cannot share more than it has.
            let counted = point.anonymous_bytes.saturating_sub(bytes).max(point.largest_bytes);
            point.once_bytes = Some(counted);
            self.peak.once_bytes = self.peak.once_bytes.max(Some(counted));
            once.push(point.time_ns, counted);
        }
        self.once_mean_bytes = once.mean();
        Ok(())
    }

    /// Makes the next reading read the proportional share, whatever that costs.
    pub(super) fn want_share(&mut self) {
        self.next_share = None;
    }

    /// Adds a point after the others.
    fn push(&mut self, point: Point) {
        self.readings += 1;
        self.anonymous.push(point.time_ns, point.anonymous_bytes);
        if let Some(share) = point.pss_bytes {
            self.share.push(point.time_ns, share);
        }
        self.peak = larger(&self.peak, &point);
        let each = self.readings_each.max(1);
        match self.points.last_mut() {
            Some(last) if self.joined < each => {
                *last = join(last, &point);
                self.joined += 1;
            }
            _ => {
                self.points.push(point);
                self.joined = 1;
            }
        }
        if self.points.len() > MOST_POINTS {
            let pairs = self.points.chunks(2).map(|pair| pair[1..].iter().fold(pair[0], |a, b| join(&a, b)));
            self.points = pairs.collect();
            self.readings_each = each * 2;
            self.joined = self.readings_each;
        }
    }

    /// Time-weighted mean of anonymous resident bytes.
    #[must_use]
    pub fn anonymous_mean_bytes(&self) -> Option<u64> {
        self.anonymous.mean()
    }

    /// Time-weighted mean of it with shared pages counted once; none if not known.
    #[must_use]
    pub fn once_mean_bytes(&self) -> Option<u64> {
        self.once_mean_bytes
    }

    /// Time-weighted mean of the proportional share.
    #[must_use]
    pub fn pss_mean_bytes(&self) -> Option<u64> {
        self.share.mean()
    }
}

/// The larger of each figure.
fn larger(a: &Point, b: &Point) -> Point {
    Point {
        time_ns: a.time_ns.max(b.time_ns),
        anonymous_bytes: a.anonymous_bytes.max(b.anonymous_bytes),
        largest_bytes: a.largest_bytes.max(b.largest_bytes),
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

/// Two neighbours as one point at the earlier's time.
fn join(a: &Point, b: &Point) -> Point {
    Point { time_ns: a.time_ns, ..larger(a, b) }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_glance_reads_resident_memory_and_keeps_the_rest_of_the_last_look() {
        // The tree is that below the shell: other tests start and end children of this process.
        let mut shell =
            Command::new("sh").arg("-c").arg("cat; :").stdin(Stdio::piped()).spawn().expect("a shell");
        let mut series = Series::default();
        let root = shell.id();
        assert!(!series.glance(root, Duration::ZERO), "nothing was sampled yet");
        // Until the shell runs cat, of which more is resident than its first page.
        for _ in 0..500 {
            let is_read = series.read_tree(root, Duration::from_millis(1))
                && series.glance(root, Duration::from_millis(2));
            let is_running = |glance: &Point| glance.rss_bytes > glance.anonymous_bytes;
            if is_read && series.points.last().is_some_and(is_running) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let [.., reading, glance] = &series.points[..] else { panic!("{:?}", series.points) };
        assert!(glance.rss_bytes > glance.anonymous_bytes && glance.anonymous_bytes > 0, "{glance:?}");
        assert_eq!((glance.threads, glance.processes), (reading.threads, reading.processes));
        assert_eq!(glance.time_ns, 2_000_000);
        drop(shell.stdin.take());
        assert!(shell.wait().expect("an end").success());
    }

    #[test]
    fn shared_pages_count_once_and_no_less_than_the_largest_process() {
        let mut series = Series::default();
        for (time_ns, bytes, largest_bytes) in [(0, 100, 100), (10, 200, 100), (20, 220, 120), (30, 90, 90)] {
            series.push(Point { time_ns, anonymous_bytes: bytes, largest_bytes, ..Point::default() });
        }
        let at = Duration::from_nanos;
        series.sharing = Sharing::of(vec![(at(0), 0), (at(15), 70), (at(35), 0)]);
        series.edges = vec![0, 10, 30];
        assert_eq!(series.count_once(), Ok(()));
        let once: Vec<Option<u64>> = series.points.iter().map(|point| point.once_bytes).collect();
        assert_eq!(
            once,
            [100, 130, 150, 90].map(Some),
            "70 are shared from the fork on, and too much at the end"
        );
        assert_eq!(
            (series.peak.once_bytes, series.once_mean_bytes()),
            (Some(150), Some((100 + 130 + 150) / 3))
        );
    }

    #[test]
    fn a_long_series_is_thinned_and_keeps_peak_and_mean() {
        let mut series = Series::default();
        for time_ns in 0..100_000u64 {
            let anonymous_bytes = if time_ns == 77_777 { 9_000 } else { 100 };
            series.push(Point { time_ns, anonymous_bytes, ..Point::default() });
        }
        assert_eq!((series.readings, series.peak.anonymous_bytes), (100_000, 9_000));
        assert!(series.points.len() <= MOST_POINTS && series.points.len() > MOST_POINTS / 4);
        assert!(series.points.is_sorted_by_key(|point| point.time_ns));
        assert!(series.points.iter().any(|point| point.anonymous_bytes == 9_000));
        assert_eq!(series.anonymous_mean_bytes(), Some((99_998 * 100 + 9_000) / 99_999));
        assert_eq!(series.pss_mean_bytes(), None);
    }
}
