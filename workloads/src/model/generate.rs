//! A model as a trace: parts are played in slots, their survivors live on, and everything is put in order of
//! time.
//!
//! This module decides which parts are due when, [`steps`] plays them, [`queue`] says which of their steps must wait,
//! [`ending`] what outlives its part and how often, [`fate`] how long if the recording does not say, and [`living`] what
//! then happens to it.
//!
//! The trace is pulled record by record. Memory holds the model, and what is live or waits at that moment.

mod ending;
mod fate;
mod living;
pub(super) mod queue;
mod steps;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use heaplab_trace::{Header, Record};

use self::ending::{Copying, Ending};
use self::queue::{Delays, Queue, Staff};
use super::bursts::{Burst, Pool};
use super::crew::{Crew, Seats, Turn};
use super::draw::Draw;
use super::endless::Endless;
use super::lives::Continuation;
use super::parts::Outline;
use super::scaling::Factors;
use super::schedule::{Schedule, Tempo, Warp};
use super::survivors::Playable;
use crate::stream::{RecordStream, StreamError};

/// The parts of a recording's model, ready to be played.
#[derive(Debug, Default)]
pub(super) struct Score {
    pub(super) outline: Outline,
    /// What is known of the thread that makes nearly all calls, if there is one.
    pub(super) alone: Option<Pool>,
    pub(super) startup: Playable,
    pub(super) windows: Vec<Playable>,
    pub(super) shutdown: Playable,
    pub(super) continuation: Continuation,
    pub(super) endless: Endless,
    pub(super) marks: Vec<String>,
    /// The role of each thread that belongs to a pool, the bursts of those threads in each window, and what that adds up
    /// to.
    pub(super) pooled: Vec<Option<u32>>,
    pub(super) bursts: Vec<Vec<Burst>>,
    pub(super) pools: Vec<Pool>,
}

impl Score {
    fn playable(&self, part: u32) -> &Playable {
        match part {
            STARTUP => &self.startup,
            SHUTDOWN => &self.shutdown,
            window => &self.windows[(window - FIRST_WINDOW) as usize],
        }
    }
}

/// What is asked of a generation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// The model's time between start-up and shutdown, before it is thinned.
    pub(super) windows_ns: u64,
    pub(super) warp: Warp,
    /// What grows with the load.
    pub(super) factors: Arc<Factors>,
    /// Whether windows do not overlap at a higher load, but take less time.
    pub(super) is_serial: bool,
    /// The pools' threads at the load.
    pub(super) staff: Vec<Staff>,
    pub(super) seed: u64,
}

/// Numbers of parts, as passing threads use them.
const STARTUP: u32 = 0;
const SHUTDOWN: u32 = 1;
const FIRST_WINDOW: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Slot { lane: u32, slot: u64 },
    Playing(u32),
    Living(u32),
    Shutdown,
}

/// An object of a part that is not allocated yet.
const NOT_YET: u64 = u64::MAX;

/// A part that is being played.
#[derive(Debug)]
struct Playing {
    part: u32,
    at: usize,
    /// When it begins, in the trace's time and in the model's.
    begin_ns: u64,
    model_begin_ns: u64,
    objects: Vec<u64>,
    turn: Turn,
    /// Who is who for its survivors, once it has ended.
    ended_as: Option<Arc<Turn>>,
    chance: f64,
    /// An object that lives to the end of the recording stays if this is below its share.
    keeping: f64,
    /// Where in the course of the recording it is, in lengths of the recording; more than 1 beyond its end.
    lengths: f64,
    /// What waits for a thread, where something may.
    delays: Option<Delays>,
}

impl Playing {
    /// Whether something that happens to an object still waits.
    fn waits(&self, object: u32) -> bool {
        self.delays.as_ref().is_some_and(|delays| delays.waits(object))
    }

    /// Who is who for an object that survives the part. None before the part's end.
    fn seats(&self, object: u32) -> Option<Seats> {
        let turn = Arc::clone(self.ended_as.as_ref()?);
        Some(Seats { turn, own: self.delays.as_ref().and_then(|delays| delays.seat(object)) })
    }
}

/// An object that has survived its part, or the end of one of its part's threads.
#[derive(Debug)]
struct Living {
    part: u32,
    object: u64,
    at: u32,
    /// Steps before this are its own; those from here on belong to the shutdown.
    anchored: u32,
    to: u32,
    model_begin_ns: u64,
    seats: Seats,
    /// How many times longer it lives than in the recording.
    stretch: f64,
    /// When it is freed, in the model's time, where the recording does not say.
    freed_ns: Option<u64>,
    thread: u32,
}

/// A trace that is made as it is read.
#[derive(Debug)]
pub struct Generation {
    header: Header,
    score: Arc<Score>,
    asked: Asked,
    schedule: Schedule,
    crew: Crew,
    /// None where windows play one at a time: then no thread has more to do than in the recording.
    queue: Option<Queue>,
    draw: Draw,
    /// For each window, the number at which [`Generation::keep`] starts, and how often the window was played.
    played: Vec<(f64, u32)>,
    /// How many times faster than recorded a window is played.
    pace: f64,
    /// Plays of a window over which [`Generation::keep`] spreads what stays.
    spread: f64,
    heap: BinaryHeap<Reverse<(u64, u64, What)>>,
    number: u64,
    now_ns: u64,
    current: Option<(u64, Playing)>,
    ending: Option<Ending>,
    copying: Option<Copying>,
    playing: Vec<Option<Playing>>,
    playing_free: Vec<u32>,
    living: Vec<Option<Living>>,
    living_free: Vec<u32>,
    out: VecDeque<Record>,
    next_object: u64,
    /// When the shutdown begins, in the model's time and in the trace's.
    model_end_ns: u64,
    end_ns: u64,
}

impl Generation {
    pub(super) fn new(header: Header, score: Arc<Score>, asked: Asked) -> Generation {
        let numbers: Vec<u32> = score.windows.iter().map(|window| window.part.number).collect();
        let outline = &score.outline;
        let model_end_ns = outline.startup_ns.saturating_add(asked.windows_ns);
        let mut draw = Draw::new(asked.seed, 0);
        let played = numbers.iter().map(|_| (draw.unit(), 0)).collect();
        let tempo = Tempo::new(asked.factors.lanes, asked.is_serial, asked.factors.law.is_progress);
        let schedule = Schedule::new(outline, &numbers, tempo);
        let mut crew = Crew::new(outline);
        asked.staff.iter().for_each(|one| crew.grow(one.role, one.threads));
        let may_wait = asked.staff.iter().any(Staff::may_wait);
        let is_shared = schedule.lanes() > 1 && may_wait;
        let mut made = Generation {
            header,
            queue: is_shared.then(|| Queue::new(&score.pooled, &asked.staff, &crew)),
            pace: tempo.pace,
            spread: asked.factors.lanes.ceil().max(1.0),
            schedule,
            crew,
            draw,
            played,
            heap: BinaryHeap::new(),
            number: 0,
            now_ns: 0,
            current: None,
            ending: None,
            copying: None,
            playing: Vec::new(),
            playing_free: Vec::new(),
            living: Vec::new(),
            living_free: Vec::new(),
            out: VecDeque::new(),
            next_object: 0,
            model_end_ns,
            end_ns: asked.warp.trace_ns(model_end_ns),
            asked,
            score,
        };
        made.begin();
        made
    }

    fn begin(&mut self) {
        let mut turn = self.crew.as_recorded(STARTUP);
        let startup_ns = self.score.outline.startup_ns;
        // The initial thread is there before a window begins, whatever a file says about the first call of start-up.
        let first_ns = self.score.startup.part.steps.first().map_or(0, |step| step.time_ns.min(startup_ns));
        self.crew.resolve(&mut turn, None, 0, first_ns, &mut self.out);
        self.play(STARTUP, 0, 0, turn, (1.0, 0.0), 0.0);
        for lane in 0..self.schedule.lanes() {
            self.push(startup_ns, What::Slot { lane, slot: 0 });
        }
        self.push(self.end_ns, What::Shutdown);
    }

    fn push(&mut self, time_ns: u64, what: What) {
        // Where lives are shorter than in the recording, the end of a life may be due before what preceded
        // it.
        self.heap.push(Reverse((time_ns.max(self.now_ns), self.number, what)));
        self.number += 1;
    }

    fn playable(&self, part: u32) -> &Playable {
        self.score.playable(part)
    }

    fn play(
        &mut self,
        part: u32,
        begin_ns: u64,
        model_begin_ns: u64,
        turn: Turn,
        (chance, keeping): (f64, f64),
        lengths: f64,
    ) {
        let playable = self.playable(part);
        let Some(first) = playable.part.steps.first() else { return };
        let time_ns = begin_ns.saturating_add(self.paced(part, first.time_ns));
        let objects = playable.part.objects;
        let may_wait = part >= FIRST_WINDOW && self.queue.is_some();
        let playing = Playing {
            part,
            at: 0,
            begin_ns,
            model_begin_ns,
            objects: vec![NOT_YET; objects as usize],
            turn,
            ended_as: None,
            chance,
            keeping,
            lengths,
            delays: may_wait.then(|| Delays::new(objects)),
        };
        let place = match self.playing_free.pop() {
            Some(place) => place,
            None => {
                self.playing.push(None);
                self.playing.len() as u32 - 1
            }
        };
        self.playing[place as usize] = Some(playing);
        self.push(time_ns, What::Playing(place));
    }

    /// Does the next thing that is due; false at the end.
    fn advance(&mut self) -> bool {
        // One by one: at a high load there are millions, and memory is to hold what is live, not what is yet to come.
        if let Some(copying) = self.copying.take() {
            self.copy(copying);
            return true;
        }
        if let Some(ending) = self.ending.take() {
            self.end_part(ending);
            return true;
        }
        if let Some((number, playing)) = self.current.take() {
            let due_ns = self.due_ns(&playing);
            match self.heap.peek() {
                Some(Reverse((time_ns, other, _))) if (*time_ns, *other) < (due_ns, number) => {
                    let place = self.playing_free.pop().unwrap_or_else(|| {
                        self.playing.push(None);
                        self.playing.len() as u32 - 1
                    });
                    self.playing[place as usize] = Some(playing);
                    self.heap.push(Reverse((due_ns, number, What::Playing(place))));
                }
                _ => {
                    self.step(number, playing);
                    return true;
                }
            }
        }
        let Some(Reverse((time_ns, number, what))) = self.heap.pop() else { return false };
        self.now_ns = time_ns;
        match what {
            What::Playing(place) => {
                self.playing_free.push(place);
                self.current = self.playing[place as usize].take().map(|playing| (number, playing));
            }
            What::Living(place) => self.live_on(place, time_ns),
            What::Slot { lane, slot } => self.begin_slot(lane, slot, time_ns),
            What::Shutdown => {
                let turn = self.crew.as_recorded(SHUTDOWN);
                self.play(SHUTDOWN, self.end_ns, self.model_end_ns, turn, (1.0, 0.0), 0.0);
            }
        }
        true
    }

    /// A time within a part, as it is played.
    #[inline]
    fn paced(&self, part: u32, time_ns: u64) -> u64 {
        if part < FIRST_WINDOW || self.pace == 1.0 { time_ns } else { (time_ns as f64 / self.pace) as u64 }
    }

    fn begin_slot(&mut self, lane: u32, slot: u64, time_ns: u64) {
        let outline = &self.score.outline;
        let (startup_ns, window_ns) = (outline.startup_ns, outline.window_ns);
        let pace = self.pace;
        let begin_of = |slot: u64| {
            let since_ns = slot.saturating_mul(window_ns);
            startup_ns.saturating_add(if pace == 1.0 { since_ns } else { (since_ns as f64 / pace) as u64 })
        };
        let next_ns = begin_of(slot + 1);
        let drawn = self.schedule.draw(lane, slot, &mut self.draw);
        if let Some((window, at)) =
            drawn.filter(|(window, _)| !self.score.windows[*window as usize].part.steps.is_empty())
        {
            let part = FIRST_WINDOW + window;
            // Passing threads refer to it by its number in the recording.
            let number = FIRST_WINDOW + self.score.windows[window as usize].part.number;
            let turn = self.crew.rotate(number, &mut self.draw);
            let chances = (self.draw.unit(), self.keep(window));
            let lengths = self.lengths(at);
            self.play(part, time_ns, begin_of(slot), turn, chances, lengths);
        }
        if next_ns < self.model_end_ns {
            self.push(self.asked.warp.trace_ns(next_ns), What::Slot { lane, slot: slot + 1 });
        }
    }

    /// A place in the course of the recording, given in windows, in lengths of the recording.
    fn lengths(&self, at: u64) -> f64 {
        let windows = u64::from(self.score.outline.windows);
        // A thinned trace plays one window of many beyond the recorded time.
        let at = at + at.saturating_sub(windows).saturating_mul(self.asked.warp.factor - 1);
        at as f64 / windows as f64
    }

    /// A number from 0 to 1. Successive plays of a window spread it evenly: if three lanes play a window and
    /// a third of its objects must stay, those of one lane stay, whichever it is.
    fn keep(&mut self, window: u32) -> f64 {
        let (from, times) = &mut self.played[window as usize];
        let keeping = (*from + f64::from(*times) / self.spread).fract();
        *times = times.wrapping_add(1);
        keeping
    }
}

impl RecordStream for Generation {
    fn header(&self) -> &Header {
        &self.header
    }

    #[inline]
    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        loop {
            if let Some(record) = self.out.pop_front() {
                return Ok(Some(record));
            }
            if !self.advance() {
                return Ok(None);
            }
        }
    }

    fn expected_last_time_ns(&self) -> Option<u64> {
        Some(self.end_ns.saturating_add(self.score.outline.shutdown_ns))
    }
}
