//! Reads a process tree over time, and computes what its processes have together: added up, and with shared pages
//! counted once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::census::Census;
use super::readings::{Point, Readings};
use super::tree::{
    Member, Watched, descendants, ended_children_ticks, has_executed, proportional_bytes, read_member,
};
use crate::sharing::family::started_below;
use crate::sharing::{Sharing, cpu_time};

/// Reading the proportional share takes at most one part in this many of the time.
const SHARE_COST: u32 = 100;
/// Searching for new processes takes at most one part in this many of the time.
const FIND_COST: u32 = 50;

/// How the tree was sampled in one sample of the run.
#[derive(Debug, Default)]
pub struct Series {
    /// What is kept of the readings, including glances.
    pub readings: Readings,
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
    watched: Vec<Watched>,
    sharing: Sharing,
    /// What the processes had when they were last asked what they share.
    asked: Vec<Resident>,
    /// How much of it was shared: by how much their sum exceeded their memory with shared pages counted once.
    shared_bytes: u64,
    /// What forks had of their parents' memory when they were first seen: the most that they can share.
    first_bytes: HashMap<u32, u64>,
    /// Forks that executed a program between a reading and the sample of what is shared.
    executed: BTreeSet<u32>,
    /// The point of the last reading.
    last: Point,
    next_share: Option<Instant>,
}

/// The anonymous memory of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Resident {
    process: u32,
    bytes: u64,
    /// Whether it was forked and has executed no program since.
    is_fork: bool,
}

impl Point {
    fn add(&mut self, member: &Member) {
        self.processes += 1;
        self.threads += member.threads;
        self.anonymous_bytes += member.anonymous_bytes;
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
        let started: BTreeMap<_, _> = started_below(keeper).into_iter().collect();
        self.found = started.keys().copied().collect();
        let (mut unstarted, mut borrowing) = (BTreeSet::new(), BTreeSet::new());
        let mut resident = Vec::new();
        for (&process, &starter) in &started {
            let Some(mut member) = read_member(process, Some(starter)) else { continue };
            let Some(program) = member.program.clone() else { continue };
            // NOTE: between fork and exec the child is still the keeper.
            if own.as_ref() == Some(&program) {
                unstarted.insert(process);
                continue;
            }
            ticks.0 += member.cpu_ticks.0;
            ticks.1 += member.cpu_ticks.1;
            if member.is_borrowing {
                borrowing.insert(process);
                (member.anonymous_bytes, member.rss_bytes, member.swap_bytes) = (0, 0, 0);
                point.add(&member);
                continue;
            }
            self.census.count(&member, program);
            point.add(&member);
            self.watched.extend(Watched::open(&member));
            let (bytes, is_fork) = (member.anonymous_bytes, member.is_fork);
            resident.push(Resident { process, bytes, is_fork });
            if share.is_some() {
                let from = Instant::now();
                share = share.zip(proportional_bytes(process)).map(|(sum, share)| sum + share);
                share_cost += from.elapsed();
            }
        }
        // The next glance is then a reading. A process that still runs this program was started as heaplab.
        self.found.retain(|process| !unstarted.contains(process) || self.unstarted.contains(process));
        self.found.retain(|process| !borrowing.contains(process));
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
        for of in resident.iter().filter(|of| of.is_fork) {
            // Its parent's memory, and perhaps a little of its own already.
            let parent = started.get(&of.process).and_then(|starter| find(&resident, starter.process));
            let most = parent.map_or(of.bytes, |parent| of.bytes.min(parent.bytes));
            self.first_bytes.entry(of.process).or_insert(most);
        }
        self.last = point;
        self.push(point, resident);
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
        let (mut resident, mut rss_bytes) = (Vec::new(), 0);
        for watched in &self.watched {
            if let Some((bytes, rss)) = watched.resident_bytes() {
                resident.push(Resident { process: watched.process, bytes, is_fork: watched.is_fork });
                rss_bytes += rss;
            }
        }
        if resident.is_empty() {
            return false;
        }
        let cpu_ns = self.read_clocks();
        let point = Point {
            time_ns: time.as_nanos() as u64,
            cpu_ns,
            anonymous_bytes: resident.iter().map(|of| of.bytes).sum(),
            rss_bytes,
            pss_bytes: None,
            ..self.last
        };
        self.push(point, resident);
        true
    }

    /// CPU time of all processes until now.
    fn read_clocks(&mut self) -> u64 {
        let mut before = std::mem::take(&mut self.cpu_ns);
        for watched in &self.watched {
            let process = watched.process;
            let last = before.remove(&process).unwrap_or(0);
            match watched.cpu_ns() {
                // A different process has started under the number of an earlier one.
                Some(now) if now < last => {
                    self.ended_cpu_ns += last;
                    self.cpu_ns.insert(process, now);
                }
                now => {
                    self.cpu_ns.insert(process, now.unwrap_or(last));
                }
            }
        }
        self.ended_cpu_ns += before.into_values().sum::<u64>();
        self.ended_cpu_ns + self.cpu_ns.values().sum::<u64>()
    }

    /// Adds a reading, of which `resident` are the processes. Asks what they share, if it is time to.
    fn push(&mut self, point: Point, resident: Vec<Resident>) {
        let time = Duration::from_nanos(point.time_ns);
        if let Some(shared) = self.sharing.sample(time, resident.iter().map(|of| of.process)) {
            // NOTE: the sample is then of the program, and the reading was of the fork.
            let executed = resident.iter().filter(|of| of.is_fork && has_executed(of.process));
            let executed: Vec<u32> =
                executed.map(|of| of.process).filter(|fork| self.executed.insert(*fork)).collect();
            if executed.is_empty() {
                self.asked.clone_from(&resident);
                self.shared_bytes = shared.bytes;
                self.first_bytes.retain(|process, _| has(&resident, *process));
            } else {
                self.sharing.ask_again();
                // The next glance is then a reading, which finds out what they are.
                self.found.retain(|process| !executed.contains(process));
            }
        }
        let once = count_once(&resident, &self.asked, self.shared_bytes, &self.first_bytes);
        self.readings.push(Point { once_bytes: Some(once), ..point });
    }

    /// Ends the series, when all readings are in.
    ///
    /// # Errors
    ///
    /// Why it is not known what the processes shared.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        let known = self.sharing.known().map_err(str::to_owned);
        if known.is_err() {
            self.readings.forget_once();
        }
        known
    }

    /// Makes the next reading read the proportional share, whatever that costs.
    pub(super) fn want_share(&mut self) {
        self.next_share = None;
    }
}

/// Memory of processes with shared pages counted once, from what others, or the same, shared when they were `asked`.
///
/// A fork shares at most the `first_bytes` that it had of its parent's memory when it was first seen: if it has started
/// since, what it has in addition is its own, and if it has exited since, the others share less by that. `resident` and
/// `asked` are in order of processes.
fn count_once(
    resident: &[Resident],
    asked: &[Resident],
    shared_bytes: u64,
    first_bytes: &HashMap<u32, u64>,
) -> u64 {
    let at_most_shared =
        |of: &Resident| first_bytes.get(&of.process).map_or(of.bytes, |first| of.bytes.min(*first));
    let own = |of: &Resident| of.bytes - if is_new_fork(of, asked) { at_most_shared(of) } else { 0 };
    let sum: u64 = resident.iter().map(own).sum();
    let exited: u64 = asked.iter().filter(|of| !has(resident, of.process)).map(at_most_shared).sum();
    let largest = resident.iter().map(|of| of.bytes).max().unwrap_or(0);
    // A process cannot share more than it has.
    sum.saturating_sub(shared_bytes.saturating_sub(exited)).max(largest)
}

fn is_new_fork(of: &Resident, asked: &[Resident]) -> bool {
    of.is_fork && !has(asked, of.process)
}

fn has(processes: &[Resident], process: u32) -> bool {
    find(processes, process).is_some()
}

fn find(processes: &[Resident], process: u32) -> Option<&Resident> {
    processes.binary_search_by_key(&process, |of| of.process).ok().map(|at| &processes[at])
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::readings::Row;
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
            if is_read && series.readings.last().as_ref().is_some_and(is_running) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let rows = series.readings.rows();
        let [.., Row { point: reading, .. }, Row { point: glance, .. }] = &rows[..] else {
            panic!("{rows:?}")
        };
        assert!(glance.rss_bytes > glance.anonymous_bytes && glance.anonymous_bytes > 0, "{glance:?}");
        assert_eq!((glance.threads, glance.processes), (reading.threads, reading.processes));
        assert_eq!(glance.time_ns, 2_000_000);
        drop(shell.stdin.take());
        assert!(shell.wait().expect("an end").success());
    }

    #[test]
    fn shared_pages_count_once_and_no_less_than_the_largest_process() {
        let program = |process, bytes| Resident { process, bytes, is_fork: false };
        let fork = |process, bytes| Resident { process, bytes, is_fork: true };
        let asked = [program(1, 100), fork(2, 110)];
        let first_bytes = HashMap::from([(3, 100)]);
        let once = |resident: &[Resident]| count_once(resident, &asked, 80, &first_bytes);
        assert_eq!(once(&asked), 130);
        assert_eq!(once(&[program(1, 40), fork(2, 50)]), 50, "they cannot share more than they have");
        let forked = |bytes| once(&[program(1, 100), fork(2, 110), fork(3, bytes)]);
        assert_eq!(forked(100), 130, "a fork has nothing of its own yet");
        assert_eq!(forked(160), 190, "until it allocates");
        assert_eq!(once(&[program(1, 100), fork(2, 110), program(3, 60)]), 190, "a new program has");
        assert_eq!(once(&[program(1, 100), program(3, 60)]), 160, "who has exited shares nothing");
        let asked = [program(1, 100), fork(2, 100), fork(3, 190)];
        let left = count_once(&[program(1, 100), fork(2, 100)], &asked, 200, &first_bytes);
        assert_eq!(left, 100, "one that has exited shared no more than it had at first");
        assert_eq!(count_once(&[program(1, 7)], &[], 0, &first_bytes), 7);
    }
}
