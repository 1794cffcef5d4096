//! The first reading of a recording: where start-up ends and shutdown begins, which threads stay, and whether
//! the live set still grows. It holds a grid over the recording's time and a few numbers per thread, however
//! long the recording is.
//!
//! The recording of a forked process begins with what its ancestors did until the fork. That belongs to start-up, and
//! everything is counted from the fork on.

use std::path::Path;

use heaplab_trace::{Action, Mark, Record, ThreadId};
use rustc_hash::FxHashMap;

use super::error::ModelError;
use super::parts::{PHASES, Thread, WINDOWS};
use crate::stream::{RecordStream, StreamError};

/// Equal stretches of time in which the live set is tracked.
const BINS: usize = 2000;
/// A window is no shorter than this: one shorter than a request says nothing about requests.
const SHORTEST_WINDOW_NS: u64 = 1_000_000;
/// The fewest events that the windows have together.
const FEWEST_EVENTS: u64 = 5_000;
/// A thread counts as working from this many events on.
const AT_WORK: u64 = 100;

/// What the first reading found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Survey {
    /// When the process was forked, if it was: otherwise 0.
    pub(super) forked_ns: u64,
    /// The end of start-up.
    pub(super) startup_ns: u64,
    pub(super) window_ns: u64,
    pub(super) last_ns: u64,
    pub(super) events: u64,
    /// For each recorded thread, its index in the model.
    pub(super) thread_index: Vec<u32>,
    /// Threads that stay.
    pub(super) threads: Vec<Thread>,
    /// When each thread that comes and goes first did something.
    pub(super) passing_since_ns: Vec<u64>,
    pub(super) requested: Requested,
    pub(super) growth: f64,
}

/// Requested bytes over a time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Requested {
    /// The most at once.
    pub peak_bytes: u64,
    /// The mean over time.
    pub mean_bytes: f64,
    /// The most that a single object has.
    pub largest_object_bytes: u64,
    /// How often an object of a quarter of the peak or more was allocated after start-up.
    pub large_objects: u64,
}

#[derive(Default, Clone)]
struct Seen {
    events: u64,
    /// When it first did something; none of a thread of which only the name is known.
    first_ns: Option<u64>,
    last_ns: u64,
    at_work_ns: Option<u64>,
    has_ended: bool,
    name: String,
}

#[derive(Clone, Copy)]
struct Bin {
    objects: u64,
    fewest_bytes: u64,
    events: u64,
}

impl Bin {
    const EMPTY: Bin = Bin { objects: 0, fewest_bytes: u64::MAX, events: 0 };
}

struct Reading {
    /// When the process was forked. What its ancestors did before counts in nothing but `inherited_events`.
    forked_ns: u64,
    inherited_events: u64,
    last_ns: u64,
    bins: Vec<Bin>,
    at: usize,
    threads: Vec<Seen>,
    sizes: FxHashMap<u64, u64>,
    live_bytes: u64,
    peak_bytes: u64,
    byte_ns: u128,
    time_ns: u64,
    events: u64,
    largest: u64,
    /// The largest sizes, each with the time at which it was asked for.
    large: Vec<(u64, u64)>,
}

/// Reads the whole of `stream`.
///
/// # Errors
///
/// A recording from which no model can be made.
pub(super) fn survey(path: &Path, stream: &mut dyn RecordStream) -> Result<Survey, ModelError> {
    if !stream.header().has_times {
        return Err(ModelError::unfit(
            path,
            "it has no times, and windows are cut by time: record with times",
        ));
    }
    let last_ns = stream.expected_last_time_ns().ok_or_else(|| cut_off(path))?;
    if last_ns > super::parts::MOST_NS {
        return Err(ModelError::unfit(path, "its times go beyond 100,000 hours"));
    }
    let mut reading = Reading {
        forked_ns: 0,
        inherited_events: 0,
        last_ns,
        bins: vec![Bin::EMPTY; BINS],
        at: 0,
        threads: Vec::new(),
        sizes: FxHashMap::default(),
        live_bytes: 0,
        peak_bytes: 0,
        byte_ns: 0,
        time_ns: 0,
        events: 0,
        largest: 0,
        large: Vec::new(),
    };
    while let Some(record) =
        stream.next().map_err(|error| ModelError::unfit(path, format!("{:#}", Chain(&error))))?
    {
        reading.read(&record);
    }
    if stream.truncated() {
        return Err(cut_off(path));
    }
    reading.finish(path)
}

fn cut_off(path: &Path) -> ModelError {
    ModelError::unfit(path, "it was cut off: how the program ended is not in it. Record it again")
}

/// An error with its causes, in one line.
pub(super) struct Chain<'a>(pub(super) &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(out, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

pub(super) fn stream_error(path: &Path, error: &StreamError) -> ModelError {
    ModelError::unfit(path, Chain(error).to_string())
}

impl Reading {
    fn read(&mut self, record: &Record) {
        match record {
            Record::Event(event) => {
                self.advance(event.time_ns);
                let is_event = event.action.is_event();
                let seen = self.seen(event.thread);
                seen.first_ns.get_or_insert(event.time_ns);
                seen.last_ns = event.time_ns;
                seen.events += u64::from(is_event);
                if seen.events == AT_WORK {
                    seen.at_work_ns.get_or_insert(event.time_ns);
                }
                seen.has_ended |= matches!(event.action, Action::ThreadEnd);
                self.events += u64::from(is_event);
                self.bins[self.at].events += u64::from(is_event);
                self.count(&event.action);
            }
            // A recording names a thread before its first event.
            Record::ThreadName { thread, name } => self.seen(*thread).name.clone_from(name),
            Record::Mark(mark) if mark.name == Mark::FORKED => self.fork(mark.time_ns),
            Record::Resident(_) | Record::Mark(_) => {}
        }
    }

    /// The process was forked here. It holds what is live, and counting begins.
    fn fork(&mut self, time_ns: u64) {
        (self.forked_ns, self.time_ns) = (time_ns, time_ns);
        self.last_ns = self.last_ns.max(time_ns);
        self.inherited_events += std::mem::take(&mut self.events);
        self.threads.iter_mut().for_each(|seen| (seen.events, seen.at_work_ns) = (0, None));
        (self.peak_bytes, self.byte_ns) = (self.live_bytes, 0);
        (self.largest, self.large) = (0, Vec::new());
        (self.at, self.bins) = (0, vec![Bin::EMPTY; BINS]);
        self.bins[0].objects = self.sizes.len() as u64;
        self.bins[0].fewest_bytes = self.live_bytes;
    }

    fn seen(&mut self, thread: ThreadId) -> &mut Seen {
        let thread = thread as usize;
        if thread >= self.threads.len() {
            self.threads.resize(thread + 1, Seen::default());
        }
        &mut self.threads[thread]
    }

    fn count(&mut self, action: &Action) {
        if let Some((object, size)) = action.allocated() {
            self.sizes.insert(object, size);
            self.live_bytes = self.live_bytes.saturating_add(size);
            self.note_large(size);
        } else if let Action::Realloc { object, size } = *action {
            let old = self.sizes.insert(object, size).unwrap_or(0);
            self.live_bytes = self.live_bytes.saturating_sub(old).saturating_add(size);
            self.note_large(size);
        } else if let Some(object) = action.freed() {
            self.live_bytes = self.live_bytes.saturating_sub(self.sizes.remove(&object).unwrap_or(0));
        }
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
        let bin = &mut self.bins[self.at];
        bin.objects = self.sizes.len() as u64;
        bin.fewest_bytes = bin.fewest_bytes.min(self.live_bytes);
    }

    /// Keeps the largest hundred sizes.
    fn note_large(&mut self, size: u64) {
        const KEPT: usize = 100;
        if size > self.largest || self.large.len() < KEPT || size > self.large[KEPT - 1].0 {
            let at = self.large.partition_point(|(other, _)| *other > size);
            self.large.insert(at, (size, self.time_ns));
            self.large.truncate(KEPT);
            self.largest = self.large[0].0;
        }
    }

    fn advance(&mut self, time_ns: u64) {
        self.byte_ns += u128::from(self.live_bytes) * u128::from(time_ns.saturating_sub(self.time_ns));
        self.time_ns = time_ns;
        let since_ns = u128::from(time_ns.saturating_sub(self.forked_ns));
        let at = (since_ns * BINS as u128 / (u128::from(self.counted_ns()) + 1)) as usize;
        let at = at.min(BINS - 1);
        while self.at < at {
            self.at += 1;
            self.bins[self.at].objects = self.sizes.len() as u64;
            self.bins[self.at].fewest_bytes = self.live_bytes;
        }
    }

    fn finish(mut self, path: &Path) -> Result<Survey, ModelError> {
        self.advance(self.last_ns);
        let startup_ns = self.startup_end();
        let end_ns = self.shutdown_begin().max(startup_ns);
        let window_ns = (end_ns - startup_ns) / WINDOWS as u64;
        let in_windows: u64 = self
            .bins
            .iter()
            .enumerate()
            .map(|(at, bin)| {
                let begin = self.bin_begin(at);
                if begin >= startup_ns && begin < end_ns { bin.events } else { 0 }
            })
            .sum();
        if window_ns < SHORTEST_WINDOW_NS || in_windows < FEWEST_EVENTS {
            return Err(ModelError::unfit(
                path,
                format!(
                    "the program ran too short for a model: between start-up and shutdown there are {} ms with {in_windows} events, and {WINDOWS} windows take at least {} ms with {FEWEST_EVENTS}: record it for longer",
                    (end_ns - startup_ns) / 1_000_000,
                    WINDOWS as u64 * SHORTEST_WINDOW_NS / 1_000_000,
                ),
            ));
        }
        let growth = self.growth(startup_ns, end_ns);
        let (thread_index, threads, passing_since_ns) = self.sort_threads(startup_ns, end_ns);
        let decides = |size: u64, time_ns: u64| size >= self.peak_bytes / 4 && time_ns >= startup_ns;
        let large = self.large.iter().filter(|(size, time_ns)| decides(*size, *time_ns)).count() as u64;
        Ok(Survey {
            forked_ns: self.forked_ns,
            startup_ns,
            window_ns,
            last_ns: self.last_ns,
            events: self.inherited_events + self.events,
            thread_index,
            threads,
            passing_since_ns,
            requested: Requested {
                peak_bytes: self.peak_bytes,
                mean_bytes: self.byte_ns as f64 / self.counted_ns().max(1) as f64,
                largest_object_bytes: self.largest,
                large_objects: large,
            },
            growth,
        })
    }

    /// The time that counts, in ns.
    fn counted_ns(&self) -> u64 {
        self.last_ns - self.forked_ns
    }

    fn bin_begin(&self, bin: usize) -> u64 {
        self.forked_ns + (u128::from(self.counted_ns()) * bin as u128 / BINS as u128) as u64
    }

    /// When the threads of a pool have started to work; without a pool, at 2 % of the events. In any case at
    /// least 1 % of the time.
    fn startup_end(&self) -> u64 {
        let share = |seen: &&Seen, of: u64| seen.events * of > self.events;
        let of_pool = self.threads.iter().skip(1);
        let is_pool = of_pool.clone().any(|seen| share(&seen, 20));
        let begun = of_pool.filter(|seen| share(seen, 200)).filter_map(|seen| seen.at_work_ns).min();
        let by_threads = begun.filter(|&begun| is_pool && begun < self.forked_ns + self.counted_ns() / 2);
        let by_events = || {
            let mut events = 0;
            let first = self.bins.iter().position(|bin| {
                events += bin.events;
                events * 50 >= self.events
            });
            self.bin_begin(first.unwrap_or(0) + 1)
        };
        by_threads.unwrap_or_else(by_events).max(self.forked_ns + self.counted_ns() / 100)
    }

    /// The last time at which nine tenths of the usual number of late objects were live, if half of them are
    /// freed at the end.
    fn shutdown_begin(&self) -> u64 {
        let mut late: Vec<u64> =
            self.bins[BINS * 85 / 100..BINS * 95 / 100].iter().map(|bin| bin.objects).collect();
        late.sort_unstable();
        let usual = late[late.len() / 2];
        if self.sizes.len() as u64 * 2 > usual {
            return self.last_ns;
        }
        let last = self.bins.iter().rposition(|bin| bin.objects * 10 >= usual * 9).unwrap_or(BINS - 1);
        self.bin_begin(last + 1)
    }

    /// How much the live set grows over the windows' time, as a share of its size, from a line through the
    /// fewest live bytes of each twentieth of the second half; 0 where the slope may be due to chance.
    fn growth(&self, startup_ns: u64, end_ns: u64) -> f64 {
        const GROUPS: usize = 20;
        let middle = startup_ns + (end_ns - startup_ns) / 2;
        let bin_of = |time: u64| {
            let since_ns = u128::from(time - self.forked_ns);
            (since_ns * BINS as u128 / u128::from(self.counted_ns().max(1))) as usize
        };
        let (from, to) = (bin_of(middle), bin_of(end_ns).min(BINS));
        let width = (to - from) / GROUPS;
        if width == 0 {
            return 0.0;
        }
        let fewest: Vec<f64> = (0..GROUPS)
            .map(|group| &self.bins[from + group * width..from + (group + 1) * width])
            .map(|bins| bins.iter().map(|bin| bin.fewest_bytes).min().unwrap_or(0) as f64)
            .collect();
        let count = GROUPS as f64;
        let mean = fewest.iter().sum::<f64>() / count;
        let centre = (count - 1.0) / 2.0;
        let spread: f64 = (0..GROUPS).map(|x| (x as f64 - centre).powi(2)).sum();
        let slope =
            fewest.iter().enumerate().map(|(x, y)| (x as f64 - centre) * (y - mean)).sum::<f64>() / spread;
        let rest = fewest.iter().enumerate().map(|(x, y)| (y - mean - slope * (x as f64 - centre)).powi(2));
        let error = (rest.sum::<f64>() / (count - 2.0) / spread).sqrt();
        if slope.abs() < 3.0 * error || mean <= 0.0 {
            return 0.0;
        }
        // The groups cover half of the windows' time.
        slope * count * 2.0 / mean
    }

    /// The model's threads: those that exist for half of the windows' time stay.
    fn sort_threads(&self, startup_ns: u64, end_ns: u64) -> (Vec<u32>, Vec<Thread>, Vec<u64>) {
        let half = (end_ns - startup_ns) / 2;
        let stays = |number: usize, seen: &Seen| {
            let until = if seen.has_ended { seen.last_ns } else { self.last_ns };
            let lasts = |first_ns: u64| until.min(end_ns).saturating_sub(first_ns.max(startup_ns)) >= half;
            number == 0 || seen.first_ns.is_some_and(lasts)
        };
        let mut staying: Vec<usize> =
            (0..self.threads.len()).filter(|&at| stays(at, &self.threads[at])).collect();
        let mut by_events: Vec<usize> = staying.iter().copied().filter(|&at| at != 0).collect();
        by_events.sort_by_key(|&at| std::cmp::Reverse((self.threads[at].events, at)));
        let mut roles = vec![0; self.threads.len()];
        let (mut role, mut most) = (0, u64::MAX);
        for at in by_events {
            let events = self.threads[at].events;
            if role == 0 || events * 4 < most {
                role += 1;
                most = events;
            }
            roles[at] = role;
        }
        staying.sort_unstable();
        let mut index = vec![0; self.threads.len()];
        for (at, &thread) in staying.iter().enumerate() {
            index[thread] = at as u32;
        }
        let threads: Vec<Thread> = staying
            .iter()
            .map(|&at| Thread { role: roles[at], name: self.threads[at].name.clone() })
            .collect();
        let mut passing = Vec::new();
        for (at, seen) in self.threads.iter().enumerate() {
            if let (Some(first_ns), Err(_)) = (seen.first_ns, staying.binary_search(&at)) {
                index[at] = (threads.len() + passing.len()) as u32;
                passing.push(first_ns);
            }
        }
        (index, threads, passing)
    }
}

/// The phase of a window.
pub(super) fn phase_of(number: u32) -> usize {
    (number as usize * PHASES / WINDOWS).min(PHASES - 1)
}
