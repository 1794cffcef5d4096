//! profile: a heap in its steady state, from a table of sizes with their allocation rates and live counts.
//!
//! A profiler of a running server can say how many objects of each size are live and how often they are
//! allocated; how long they live follows from Little's law (mean life = live / rate). Deaths are memoryless.
//! [`table`] reads the file; this module draws births and deaths from it.

mod table;
mod weights;

use heaplab_trace::ThreadId;
use sha2::{Digest, Sha256};

use super::RUN;
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap};
use crate::stress::parameter::{Values, count, file, refuse, share, size};
use crate::stress::random::{MILLION, Random};
use crate::stress::round::Round;
use crate::stress::{Begun, Pattern, Play};
use table::Row;
use weights::Weights;

pub(crate) const PATTERN: Pattern = Pattern {
    name: "profile",
    description: "steady state of a profiled heap: sizes, rates and live counts from a CSV, lifetimes by Little's law",
    parameters: &[
        file(
            "file",
            "a CSV without a header, size,allocation rate,live count in each line; without it a small one of ours",
        ),
        count(
            "threads",
            "2",
            (1, 256),
            "threads, each with its part of the heap; none frees another's objects",
        ),
        size(
            "heap",
            "64MiB",
            (1 << 10, 1 << 36),
            "live bytes of all threads together, which the live counts are scaled to",
        ),
        share("cap", "0.125", "sizes above this share of a thread's heap are left out"),
        count(
            "events",
            "1000000",
            (0, 10_000_000_000),
            "allocations and frees of all threads together, after the first filling",
        ),
        RUN,
    ],
    begin,
};

/// More objects than this would not fit into the pattern's own memory.
const OBJECTS_MOST: f64 = (1u64 << 23) as f64;
/// The largest death rate of an object, in the unit that weights are counted in.
const WEIGHT_MOST: f64 = (1u64 << 50) as f64;

#[derive(Debug)]
struct Profile {
    rows: Vec<Row>,
    seed: u64,
    threads: u64,
    run: u64,
    events: u64,
    lanes: Option<Round<Lane>>,
}

#[derive(Debug)]
struct Lane {
    thread: ThreadId,
    random: Random,
    /// Rows of objects that must still be made for the first filling.
    first: Vec<usize>,
    births: Weights,
    deaths: Weights,
    /// The death rate of one object, by row.
    death_rates: Vec<u128>,
    /// Live objects by row.
    live: Vec<Vec<Block>>,
    events_left: u64,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    let (text, origin) = table::read_file(values.text("file"))?;
    let rows = table::parse(&text, &origin)?;
    let threads = values.get("threads");
    let heap_bytes = values.get("heap") as f64 / threads as f64;
    let cap_bytes = heap_bytes * (values.get("cap") as f64 / MILLION as f64);
    let rows = table::scale(rows, heap_bytes, cap_bytes).ok_or_else(|| {
        let allowed =
            format!("large enough that {origin} has live objects of at most cap times a thread's heap");
        refuse("heap", values.text("heap"), allowed)
    })?;
    let objects = rows.iter().map(|row| row.live).sum::<f64>() * threads as f64;
    if objects > OBJECTS_MOST {
        let allowed =
            format!("small enough for {OBJECTS_MOST} live objects, and {origin} makes {objects:.0} of it");
        return Err(refuse("heap", values.text("heap"), allowed));
    }
    let hash: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let (run, events) = (values.get("run"), values.get("events"));
    let play = Profile { rows, seed, threads, run, events, lanes: None };
    Ok(Begun { play: Box::new(play), notes: vec![("file_sha256", hash)] })
}

impl Profile {
    fn lane(&self, index: u64, thread: ThreadId) -> Lane {
        let mut random = Random::new(self.seed, u64::from(thread));
        let alive = self.rows.iter().filter(|row| row.live > 0.0);
        let most = alive.map(|row| row.rate / row.live).fold(0.0, f64::max);
        let unit = if most > 0.0 { WEIGHT_MOST / most } else { 1.0 };
        // An object of a row without live objects dies as soon as any: at the largest rate.
        let death = |row: &Row| if row.live > 0.0 { row.rate / row.live } else { most };
        let mut first = Vec::new();
        for (place, row) in self.rows.iter().enumerate() {
            let more = random.chance((row.live.fract() * MILLION as f64) as u64);
            first.extend(std::iter::repeat_n(place, row.live as usize + usize::from(more)));
        }
        random.shuffle(&mut first);
        Lane {
            thread,
            random,
            first,
            births: Weights::new(self.rows.iter().map(|row| (row.rate * unit) as u128).collect()),
            deaths: Weights::new(vec![0; self.rows.len()]),
            death_rates: self.rows.iter().map(|row| (death(row) * unit) as u128).collect(),
            live: self.rows.iter().map(|_| Vec::new()).collect(),
            events_left: self.events / self.threads + u64::from(index < self.events % self.threads),
        }
    }
}

impl Lane {
    /// A run of the first filling, or of births and deaths; false when nothing is left to do.
    fn act(&mut self, rows: &[Row], run: u64, heap: &mut Heap) -> bool {
        for _ in 0..run {
            if let Some(row) = self.first.pop() {
                self.bear(row, rows[row].size, heap);
            } else if self.events_left == 0 || self.births.total() + self.deaths.total() == 0 {
                heap.end_thread(self.thread);
                return false;
            } else {
                self.step(rows, heap);
            }
        }
        true
    }

    /// A birth or a death, drawn by their rates.
    fn step(&mut self, rows: &[Row], heap: &mut Heap) {
        self.events_left -= 1;
        let drawn = self.random.wide_below(self.births.total() + self.deaths.total());
        match drawn.checked_sub(self.births.total()) {
            None => {
                let row = self.births.find(drawn);
                self.bear(row, rows[row].size, heap);
            }
            Some(drawn) => {
                let row = self.deaths.find(drawn);
                let index = self.random.index(self.live[row].len());
                heap.free(self.thread, self.live[row].swap_remove(index));
                self.weigh(row);
            }
        }
    }

    fn bear(&mut self, row: usize, size: u64, heap: &mut Heap) {
        self.live[row].push(heap.malloc(self.thread, size));
        self.weigh(row);
    }

    /// The row's objects were born or died, so their total death rate changes.
    fn weigh(&mut self, row: usize) {
        self.deaths.set(row, self.death_rates[row] * self.live[row].len() as u128);
    }
}

impl Play for Profile {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let Some(lanes) = &mut self.lanes else {
            let threads = (0..).zip(heap.start_threads(self.threads));
            let lanes = threads.map(|(index, thread)| self.lane(index, thread)).collect();
            self.lanes = Some(Round::new(lanes));
            return true;
        };
        let (rows, run) = (&self.rows, self.run);
        lanes.turn(|lane| lane.act(rows, run, heap))
    }
}
