//! Random histories whose truth is known: threads share an allocator that reuses freed addresses at once;
//! their calls are recorded as the recorder does, merged, and compared with what really happened.

use std::collections::{BTreeSet, HashMap, HashSet};

use heaplab_raw::{Allocation, Call, Event, ImageHead, ImageId, SampleRecord};
use heaplab_trace::{Action, Record, Summary, TraceReader};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{RawWriter, Recording};

/// The shape of a history.
#[derive(Debug, Clone)]
struct Shape {
    seed: u64,
    threads: usize,
    calls: usize,
    /// Length of a tick in phases of calls, about three per call.
    tick: u64,
    /// Objects that are kept live.
    live: usize,
    /// Percentage of frees and reallocs that may take any thread's object.
    foreign: u32,
    /// Distinct sizes: with few of them, addresses are reused by other threads.
    classes: u64,
}

/// A call of a thread, on its way: tick loaded, effect, tick loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    /// The free's tick was loaded and it was recorded.
    Free {
        object: usize,
    },
    /// The allocation happened, and is not yet recorded.
    Allocated {
        object: usize,
    },
    /// The realloc's begin was recorded.
    Realloc {
        object: usize,
        size: u64,
        outcome: Outcome,
    },
    /// The realloc happened, and its end is not yet recorded.
    Reallocated {
        object: usize,
        size: u64,
        outcome: Outcome,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    InPlace,
    Moved,
    Failed,
    Freed,
}

#[derive(Debug, Clone, Copy)]
struct Object {
    address: u64,
    size: u64,
    kind: u8,
}

/// What happened to an object: thread, the number of the event of that thread, and what.
type Life = Vec<(usize, usize, &'static str, u64)>;

struct World {
    shape: Shape,
    random: ChaCha8Rng,
    writer: RawWriter,
    clock: u64,
    phases: Vec<Phase>,
    /// Events that each thread has recorded, as the trace counts them.
    recorded: Vec<usize>,
    /// The events among them that concern no object.
    others: Vec<usize>,
    /// Which threads used an address in a tick, and which ticks and addresses an object was recorded with.
    users: HashMap<(u64, u64), HashSet<usize>>,
    stays: Vec<Vec<(u64, u64)>>,
    objects: Vec<Object>,
    live: Vec<usize>,
    /// Free addresses by size class, the latest on top.
    vacant: HashMap<u64, Vec<u64>>,
    next_address: u64,
    lives: Vec<Life>,
    live_bytes: u64,
    peak_bytes: u64,
}

impl World {
    fn new(shape: Shape) -> World {
        let id = ImageId { pid: 100, ordinal: 0 };
        let mut writer = RawWriter::new(ImageHead { id, ..ImageHead::default() }, &[]);
        for thread in 0..shape.threads {
            let tid = 100 + thread as u32;
            writer.add_thread(tid);
            let name = thread.to_string();
            let record = SampleRecord::ThreadName { elapsed_us: 0, pid: 100, tid, name: name.as_bytes() };
            writer.push_sample(&record);
        }
        World {
            random: ChaCha8Rng::seed_from_u64(shape.seed),
            writer,
            clock: 0,
            phases: vec![Phase::Idle; shape.threads],
            recorded: vec![0; shape.threads],
            others: vec![0; shape.threads],
            users: HashMap::new(),
            stays: Vec::new(),
            objects: Vec::new(),
            live: Vec::new(),
            vacant: HashMap::new(),
            next_address: 0x7f00_0000_0000,
            lives: Vec::new(),
            live_bytes: 0,
            peak_bytes: 0,
            shape,
        }
    }

    fn run(mut self) -> World {
        let mut calls = 0;
        while calls < self.shape.calls || self.phases.iter().any(|phase| *phase != Phase::Idle) {
            self.clock += 1;
            let thread = self.random.random_range(0..self.shape.threads);
            match self.phases[thread] {
                Phase::Idle if calls < self.shape.calls => {
                    calls += 1;
                    self.phases[thread] = self.begin(thread);
                }
                Phase::Idle => {}
                phase => self.phases[thread] = self.go_on(thread, phase),
            }
        }
        self
    }

    fn record(&mut self, thread: usize, event: Event, object: Option<usize>) {
        let tick = self.clock / self.shape.tick * self.shape.tick;
        self.writer.push(thread, tick, event);
        self.recorded[thread] += usize::from(!matches!(event, Event::ReallocBegin { .. }));
        let Some(object) = object else { return self.others[thread] += 1 };
        let stay = (tick, self.objects[object].address);
        self.users.entry(stay).or_default().insert(thread);
        self.stays[object].push(stay);
    }

    /// Whether another thread used one of the object's addresses within the same tick.
    fn is_contested(&self, object: usize) -> bool {
        self.stays[object].iter().any(|stay| self.users[stay].len() > 1)
    }

    fn begin(&mut self, thread: usize) -> Phase {
        let chance = self.random.random_range(0..100u32);
        let full = self.live.len() >= self.shape.live;
        if chance < 2 {
            let event = if chance == 0 {
                Event::FreeNull
            } else {
                Event::Failed { call: Call::Malloc, size: 1 << 60 }
            };
            self.record(thread, event, None);
            return Phase::Idle;
        }
        if chance < 45 + u32::from(!full) * 15 {
            return self.allocate();
        }
        let Some(object) = self.choose(thread) else { return Phase::Idle };
        let address = self.objects[object].address;
        if chance < 85 {
            self.record(thread, Event::Free { address }, Some(object));
            self.lives[object].push((thread, self.recorded[thread] - 1, "free", 0));
            return Phase::Free { object };
        }
        self.record(thread, Event::ReallocBegin { address }, Some(object));
        let outcome = match self.random.random_range(0..10u32) {
            0 => Outcome::Failed,
            1 => Outcome::Freed,
            2..5 => Outcome::InPlace,
            _ => Outcome::Moved,
        };
        let size = if outcome == Outcome::Freed { 0 } else { self.size() };
        Phase::Realloc { object, size, outcome }
    }

    fn go_on(&mut self, thread: usize, phase: Phase) -> Phase {
        match phase {
            Phase::Idle => Phase::Idle,
            Phase::Free { object } => {
                self.release(object);
                Phase::Idle
            }
            Phase::Allocated { object } => {
                let Object { address, size, kind, .. } = self.objects[object];
                let event = match kind {
                    0 => Event::Allocate { by: Allocation::Calloc, address, size },
                    1 => Event::Aligned { address, size, alignment_log2: 6 },
                    2 => Event::Allocate { by: Allocation::ReallocNull, address, size },
                    _ => Event::Allocate { by: Allocation::Malloc, address, size },
                };
                self.record(thread, event, Some(object));
                self.lives[object].push((thread, self.recorded[thread] - 1, "allocate", size));
                self.live.push(object);
                Phase::Idle
            }
            Phase::Realloc { object, size, outcome } => {
                match outcome {
                    Outcome::Failed => {}
                    Outcome::Freed => self.release(object),
                    Outcome::InPlace => self.resize(object, size),
                    Outcome::Moved => {
                        // The new block is there before the old one is given back.
                        let address = self.take_address(size);
                        let old = self.objects[object].address;
                        let class = self.class(self.objects[object].size);
                        self.vacant.entry(class).or_default().push(old);
                        self.objects[object].address = address;
                        self.resize(object, size);
                    }
                }
                Phase::Reallocated { object, size, outcome }
            }
            Phase::Reallocated { object, size, outcome } => {
                let address = self.objects[object].address;
                let event = match outcome {
                    Outcome::Failed => Event::Failed { call: Call::Realloc, size },
                    Outcome::Freed => Event::ReallocFreed,
                    _ => Event::ReallocEnd { address, size },
                };
                self.record(thread, event, Some(object));
                let place = self.recorded[thread] - 1;
                match outcome {
                    Outcome::Failed => {
                        self.others[thread] += 1;
                        self.live.push(object);
                    }
                    Outcome::Freed => self.lives[object].push((thread, place, "free", 0)),
                    _ => {
                        self.lives[object].push((thread, place, "realloc", size));
                        self.live.push(object);
                    }
                }
                Phase::Idle
            }
        }
    }

    fn allocate(&mut self) -> Phase {
        let size = self.size();
        let address = self.take_address(size);
        let kind = self.random.random_range(0..10u8);
        let object = self.objects.len();
        self.objects.push(Object { address, size, kind });
        self.lives.push(Life::new());
        self.stays.push(Vec::new());
        self.live_bytes += size;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
        Phase::Allocated { object }
    }

    /// An object that the thread may free or resize: one of its own, or any thread's, whose allocation has
    /// returned.
    fn choose(&mut self, thread: usize) -> Option<usize> {
        let foreign = self.random.random_range(0..100) < self.shape.foreign;
        for _ in 0..8 {
            if self.live.is_empty() {
                return None;
            }
            let at = self.random.random_range(0..self.live.len());
            let object = self.live[at];
            let own = self.lives[object].last().is_some_and(|(by, ..)| *by == thread);
            if foreign || own {
                return Some(self.live.swap_remove(at));
            }
        }
        None
    }

    fn size(&mut self) -> u64 {
        (1 + self.random.random_range(0..self.shape.classes)) * 64 - self.random.random_range(0..60)
    }

    fn class(&self, size: u64) -> u64 {
        size.div_ceil(64)
    }

    fn take_address(&mut self, size: u64) -> u64 {
        let class = self.class(size);
        if let Some(address) = self.vacant.get_mut(&class).and_then(Vec::pop) {
            return address;
        }
        self.next_address += 4096;
        self.next_address
    }

    fn release(&mut self, object: usize) {
        let Object { address, size, .. } = self.objects[object];
        let class = self.class(size);
        self.vacant.entry(class).or_default().push(address);
        self.live_bytes -= size;
    }

    fn resize(&mut self, object: usize, size: u64) {
        self.live_bytes = self.live_bytes - self.objects[object].size + size;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
        self.objects[object].size = size;
    }
}

/// The result of the merge: the totals, each object's life, and what each thread did at each of its places.
struct Merged {
    summary: Summary,
    lives: Vec<Life>,
    /// Failed calls and frees of NULL, by thread.
    others: Vec<usize>,
}

fn merge(world: &World) -> Merged {
    let place = tempfile::tempdir().unwrap();
    world.writer.write(place.path()).unwrap();
    let recording = Recording::open(place.path()).unwrap();
    let output = place.path().join("out.hlt");
    let report = recording.import(recording.main_image(), &output, &mut |_| {}).unwrap();
    assert_eq!(report.problems, [] as [String; 0]);
    let mut merged =
        Merged { summary: report.summary, lives: Vec::new(), others: vec![0; world.shape.threads] };
    let mut events = vec![0; world.shape.threads];
    // The truth's thread of each of the trace's, by its name.
    let mut threads = HashMap::new();
    let mut reader = TraceReader::open(&output).unwrap();
    while let Some(record) = reader.read_record().unwrap() {
        match record {
            Record::ThreadName { thread, name } => _ = threads.insert(thread, name.parse().unwrap()),
            Record::Event(event) => merged.take(threads[&event.thread], &mut events, event.action),
            other => panic!("{other:?}"),
        }
    }
    merged
}

impl Merged {
    fn take(&mut self, thread: usize, events: &mut [usize], action: Action) {
        let at = (thread, events[thread]);
        events[thread] += usize::from(action.is_event());
        if let Some((_, size)) = action.allocated() {
            self.lives.push(vec![(at.0, at.1, "allocate", size)]);
            return;
        }
        let (object, what, size) = match action {
            Action::Realloc { object, size } => (object, "realloc", size),
            Action::Free { object } | Action::ReallocFree { object } => (object, "free", 0),
            Action::FreeMissed { object } => (object, "missed", 0),
            _ => return self.others[thread] += 1,
        };
        self.lives[object as usize].push((at.0, at.1, what, size));
    }

    /// What each thread did at each of its places, whichever object it concerned.
    fn places(&self) -> BTreeSet<(usize, usize, &'static str, u64)> {
        self.lives.iter().flatten().copied().collect()
    }
}

fn shapes(threads: std::ops::Range<usize>, ticks: std::ops::Range<u64>) -> impl Strategy<Value = Shape> {
    (any::<u64>(), threads, ticks, 4..400usize, 0..100u32, 1..30u64).prop_map(
        |(seed, threads, tick, live, foreign, classes)| Shape {
            seed,
            threads,
            calls: 1500,
            tick,
            live,
            foreign,
            classes,
        },
    )
}

/// An order that is possible: nothing was guessed, missed or unseen, each thread did what it did, in its
/// order, and objects that shared no address with another thread's within a tick are those of the truth.
fn check_order(world: &World, merged: &Merged) -> Result<(), TestCaseError> {
    let summary = &merged.summary;
    prop_assert_eq!((summary.order_guessed, summary.frees_missed, summary.unseen_frees), (0, 0, 0));
    prop_assert_eq!(summary.unseen_reallocs, 0);
    let places: BTreeSet<_> = world.lives.iter().flatten().copied().collect();
    prop_assert_eq!(merged.places(), places);
    prop_assert_eq!(&merged.others, &world.others);
    let found: HashSet<&Life> = merged.lives.iter().collect();
    for (object, life) in world.lives.iter().enumerate() {
        if !world.is_contested(object) {
            prop_assert!(found.contains(life), "object {} of {:?}: {:?}", object, world.shape, life);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn one_thread_is_exact(shape in shapes(1..2, 2..4000)) {
        let world = World::new(shape).run();
        let merged = merge(&world);
        check_order(&world, &merged)?;
        prop_assert_eq!(&merged.lives, &world.lives);
        prop_assert_eq!(merged.summary.requested_peak_bytes, world.peak_bytes);
    }

    #[test]
    fn threads_get_a_possible_order(shape in shapes(2..12, 2..400)) {
        let world = World::new(shape).run();
        check_order(&world, &merge(&world))?;
    }

    /// A tick of a thousand calls by threads that share a handful of addresses may be too much for the
    /// search: then the guesses are counted, and no call is lost.
    #[test]
    fn what_is_too_much_is_counted_and_not_lost(shape in shapes(2..6, 1500..4000)) {
        let world = World::new(shape).run();
        let merged = merge(&world);
        let summary = &merged.summary;
        let calls = world.recorded.iter().sum::<usize>() as u64;
        prop_assert_eq!(summary.events, calls);
        if summary.order_guessed == 0 {
            check_order(&world, &merged)?;
        }
    }

    /// A server's proportions: a tick is short compared with the time in which the live set changes.
    #[test]
    fn the_peak_is_within_one_per_cent(seed in any::<u64>(), threads in 2..26usize, foreign in 0..100u32) {
        let shape =
            Shape { seed, threads, calls: 12_000, tick: 200, live: 2500, foreign, classes: 40 };
        let world = World::new(shape).run();
        let merged = merge(&world);
        let (found, truth) = (merged.summary.requested_peak_bytes as f64, world.peak_bytes as f64);
        prop_assert!((found / truth - 1.0).abs() < 0.01, "{} instead of {}", found, truth);
    }
}
