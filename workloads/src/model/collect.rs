//! The second reading of a recording: every object, with its whole life, goes to the part in which it was
//! allocated. This holds the live objects, the kept windows, and a sample of lives.

use heaplab_trace::{Action, Event, HugePages, Mark, Record, Tuning};
use rustc_hash::FxHashMap;

use super::draw::Draw;
use super::parts::{
    COURSE, Fitted, Group, Kind, LIVES_KEPT, Lives, NO_OBJECT, OCTAVES, Origin, Outline, Part, SIZE_CLASSES,
    Step, WINDOWS, octave, size_class,
};
use super::survey::Survey;

/// Numbers of parts: start-up, shutdown, and windows from the third on.
pub(super) const STARTUP: u32 = 0;
pub(super) const SHUTDOWN: u32 = 1;
pub(super) const FIRST_WINDOW: u32 = 2;

struct Born {
    part: u32,
    /// Its number in the part, or [`NO_OBJECT`] where the part's window is not kept.
    local: u32,
    birth_ns: u64,
    birth_bytes: u64,
    bytes: u64,
    /// Since when it has had these bytes.
    since_ns: u64,
    /// When the part in which it was allocated ends.
    part_end_ns: u64,
}

/// Sorts records into parts.
pub(super) struct Collector<'a> {
    survey: &'a Survey,
    /// Nothing at this time or later is taken: the model covers only what was before.
    end_ns: u64,
    parts: Vec<Part>,
    is_kept: Vec<bool>,
    live: FxHashMap<u64, Born>,
    lives: Vec<(u64, Lives)>,
    draw: Draw,
    /// By kind of group and octave, in each part of the windows' time.
    byte_ns: Vec<[u128; COURSE]>,
    events: [u64; COURSE],
    steps: usize,
    pub(super) marks: Vec<String>,
}

impl<'a> Collector<'a> {
    /// A collector for the windows that `is_kept` selects. The numbers of marks continue from those in
    /// `marks`.
    pub(super) fn new(survey: &'a Survey, is_kept: Vec<bool>, marks: Vec<String>) -> Collector<'a> {
        let parts = (0..FIRST_WINDOW as usize + is_kept.len())
            .map(|at| Part { number: (at as u32).saturating_sub(FIRST_WINDOW), ..Part::default() });
        Collector {
            survey,
            end_ns: survey.startup_ns + survey.window_ns * is_kept.len() as u64,
            parts: parts.collect(),
            is_kept,
            live: FxHashMap::default(),
            lives: vec![(0, Lives::default()); SIZE_CLASSES],
            draw: Draw::new(1, 0),
            byte_ns: vec![[0; COURSE]; Origin::COUNT * OCTAVES],
            events: [0; COURSE],
            steps: 0,
            marks,
        }
    }

    /// Steps kept so far.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Whether the model is of the whole recording, rather than of its beginning.
    fn is_whole(&self) -> bool {
        self.is_kept.len() == WINDOWS
    }

    fn part_at(&self, time_ns: u64) -> u32 {
        if time_ns < self.survey.startup_ns {
            STARTUP
        } else if time_ns >= self.end_ns {
            SHUTDOWN
        } else {
            FIRST_WINDOW + ((time_ns - self.survey.startup_ns) / self.survey.window_ns) as u32
        }
    }

    fn begin_of(&self, part: u32) -> u64 {
        match part {
            STARTUP => 0,
            SHUTDOWN => self.end_ns,
            window => self.survey.startup_ns + u64::from(window - FIRST_WINDOW) * self.survey.window_ns,
        }
    }

    fn end_of(&self, part: u32) -> u64 {
        match part {
            STARTUP => self.survey.startup_ns,
            SHUTDOWN => u64::MAX,
            window => self.begin_of(window) + self.survey.window_ns,
        }
    }

    fn keeps(&self, part: u32) -> bool {
        match part {
            STARTUP => true,
            SHUTDOWN => self.is_whole(),
            window => self.is_kept[(window - FIRST_WINDOW) as usize],
        }
    }

    /// Takes a record.
    pub(super) fn take(&mut self, record: &Record) {
        match record {
            Record::Event(event) if self.is_whole() || event.time_ns < self.end_ns => self.take_event(event),
            Record::Mark(mark) if is_played(&mark.name) => {
                let part = self.part_at(mark.time_ns);
                if self.keeps(part) {
                    let number =
                        self.marks.iter().position(|known| *known == mark.name).unwrap_or_else(|| {
                            self.marks.push(mark.name.clone());
                            self.marks.len() - 1
                        });
                    let step = self.step(part, mark.time_ns, 0, Kind::Mark, number as u64, NO_OBJECT);
                    self.parts[part as usize].steps.push(step);
                    self.steps += 1;
                }
            }
            _ => {}
        }
    }

    fn step(&self, part: u32, time_ns: u64, thread: u32, kind: Kind, bytes: u64, object: u32) -> Step {
        let time_ns = time_ns.saturating_sub(self.begin_of(part));
        Step { time_ns, bytes, object, thread, kind, alignment_bits: 0, is_anchored: false }
    }

    fn take_event(&mut self, event: &Event) {
        let thread = self.survey.thread_index[event.thread as usize];
        let now = self.part_at(event.time_ns);
        if now >= FIRST_WINDOW && event.action.is_event() {
            let at = self.place_of(event.time_ns).0;
            self.events[at] += 1;
        }
        let (kind, bytes, alignment) = match event.action {
            Action::Malloc { size, .. } => (Kind::Malloc, size, 1),
            Action::Calloc { size, .. } => (Kind::Calloc, size, 1),
            Action::AlignedAlloc { size, alignment, .. } => (Kind::AlignedAlloc, size, alignment),
            Action::ReallocNull { size, .. } => (Kind::ReallocNull, size, 1),
            Action::Realloc { object, size } => {
                return self.continue_life(event, object, Kind::Realloc, size);
            }
            Action::Touched { object, bytes } => {
                return self.continue_life(event, object, Kind::Touched, bytes);
            }
            Action::ReallocFree { object } => return self.end_life(event, object, Kind::ReallocFree),
            Action::Free { object } | Action::FreeMissed { object } => {
                return self.end_life(event, object, Kind::Free);
            }
            Action::FreeNull => (Kind::FreeNull, 0, 1),
            Action::ThreadStart => (Kind::ThreadStart, 0, 1),
            Action::ThreadEnd => return self.end_thread(event, thread, now),
            // Neither has an effect that a replay could show.
            Action::Ignored { .. } | Action::Work { .. } => return,
        };
        let allocates = kind.allocates();
        let keeps = self.keeps(now);
        let local = if allocates && keeps { self.parts[now as usize].objects } else { NO_OBJECT };
        if keeps {
            let mut step = self.step(now, event.time_ns, thread, kind, bytes, local);
            step.alignment_bits = alignment.trailing_zeros() as u8;
            let part = &mut self.parts[now as usize];
            part.objects += u32::from(allocates);
            part.steps.push(step);
            self.steps += 1;
        }
        if let Some((object, size)) = event.action.allocated() {
            let part_end_ns = self.end_of(now);
            let born = Born {
                part: now,
                local,
                birth_ns: event.time_ns,
                birth_bytes: size,
                bytes: size,
                since_ns: event.time_ns,
                part_end_ns,
            };
            self.live.insert(object, born);
        }
    }

    /// Threads that stay end with the shutdown; threads that come and go end with the part in which they
    /// began.
    fn end_thread(&mut self, event: &Event, thread: u32, now: u32) {
        let staying = self.survey.threads.len() as u32;
        let of = match thread.checked_sub(staying) {
            None => SHUTDOWN,
            Some(passing) => self.part_at(self.survey.passing_since_ns[passing as usize]),
        };
        if (thread < staying && now != SHUTDOWN) || !self.keeps(of) {
            return;
        }
        let step = self.step(of, event.time_ns, thread, Kind::ThreadEnd, 0, NO_OBJECT);
        self.put(of, now, event.time_ns, step);
    }

    /// Stores a step that belongs to the part `of` and happens in the part `now`.
    fn put(&mut self, of: u32, now: u32, time_ns: u64, mut step: Step) {
        self.steps += 1;
        if of == now {
            self.parts[of as usize].steps.push(step);
            return;
        }
        if now == SHUTDOWN {
            step.is_anchored = true;
            step.time_ns = time_ns - self.end_ns;
        }
        self.parts[of as usize].later.push(step);
    }

    fn continue_life(&mut self, event: &Event, object: u64, kind: Kind, bytes: u64) {
        let now = self.part_at(event.time_ns);
        let Some(born) = self.live.get(&object) else { return };
        let (part, local) = (born.part, born.local);
        if kind == Kind::Realloc
            && let Some(born) = self.live.remove(&object)
        {
            self.count_bytes(&born, event.time_ns.min(self.end_ns));
            self.live.insert(object, Born { bytes, since_ns: event.time_ns, ..born });
        }
        if local == NO_OBJECT {
            return;
        }
        let thread = self.survey.thread_index[event.thread as usize];
        let step = self.step(part, event.time_ns, thread, kind, bytes, local);
        self.put(part, now, event.time_ns, step);
    }

    fn end_life(&mut self, event: &Event, object: u64, kind: Kind) {
        let now = self.part_at(event.time_ns);
        let Some(born) = self.live.remove(&object) else { return };
        self.note_life(&born, event.time_ns, now != SHUTDOWN);
        if born.local == NO_OBJECT {
            return;
        }
        let thread = self.survey.thread_index[event.thread as usize];
        let step = self.step(born.part, event.time_ns, thread, kind, 0, born.local);
        self.put(born.part, now, event.time_ns, step);
    }

    /// Counts how long an object lived, or was seen alive.
    fn note_life(&mut self, born: &Born, until_ns: u64, was_freed: bool) {
        let until_ns = until_ns.min(self.end_ns);
        if until_ns <= born.part_end_ns {
            return;
        }
        self.count_bytes(born, until_ns);
        if born.part < FIRST_WINDOW {
            return;
        }
        let lived_ns = until_ns - born.birth_ns;
        let (count, lives) = &mut self.lives[size_class(born.birth_bytes)];
        *count += 1;
        if lives.seen.len() < LIVES_KEPT {
            lives.seen.push((lived_ns, was_freed));
        } else {
            // A sample of all lives, each equally likely (Vitter's algorithm R).
            let at = self.draw.below(*count) as usize;
            if let Some(kept) = lives.seen.get_mut(at) {
                *kept = (lived_ns, was_freed);
            }
        }
    }

    /// Counts a survivor's bytes over the time that it has had them after its part.
    fn count_bytes(&mut self, born: &Born, until_ns: u64) {
        let since_ns = born.since_ns.max(born.part_end_ns);
        if until_ns <= since_ns {
            return;
        }
        let kind = if born.part == STARTUP { Origin::Startup } else { Origin::Survivor };
        let place = kind as usize * OCTAVES + octave(born.birth_bytes);
        let (first, first_ns) = self.place_of(since_ns);
        let (last, last_ns) = self.place_of(until_ns);
        let part_ns = self.course_part_ns();
        for (at, sum) in self.byte_ns[place].iter_mut().enumerate().take(last + 1).skip(first) {
            let from_ns = if at == first { first_ns } else { 0 };
            let to_ns = if at == last { last_ns } else { part_ns };
            *sum += u128::from(born.bytes) * u128::from(to_ns - from_ns);
        }
    }

    /// The groups that have bytes.
    fn groups(&self) -> Vec<Group> {
        let part_ns = self.course_part_ns() as f64;
        let all = self.byte_ns.iter().enumerate().filter(|(_, course)| **course != [0; COURSE]);
        all.map(|(place, course)| Group {
            kind: (place / OCTAVES) as u32,
            octave: (place % OCTAVES) as u32,
            course: course.iter().map(|byte_ns| (*byte_ns as f64 / part_ns).round()).collect(),
        })
        .collect()
    }

    /// A part of the course in ns. The last one is longer by the rest of the division.
    fn course_part_ns(&self) -> u64 {
        ((self.end_ns - self.survey.startup_ns) / COURSE as u64).max(1)
    }

    /// The part of the course in which a time of the windows lies, and the time since that part began.
    fn place_of(&self, time_ns: u64) -> (usize, u64) {
        let (since_ns, part_ns) = (time_ns - self.survey.startup_ns, self.course_part_ns());
        let at = ((since_ns / part_ns) as usize).min(COURSE - 1);
        (at, since_ns - at as u64 * part_ns)
    }

    /// The model of what was read.
    pub(super) fn finish(mut self, load: f64) -> (Fitted, Vec<String>) {
        let mut left: Vec<(u64, Born)> = std::mem::take(&mut self.live).into_iter().collect();
        left.sort_unstable_by_key(|(object, _)| *object);
        for (_, born) in left {
            let end_ns = self.end_ns;
            self.note_life(&born, end_ns, false);
        }
        let survey = self.survey;
        let passing = survey.passing_since_ns.iter().map(|&since| self.part_at(since)).collect();
        let outline = Outline {
            load,
            forked_ns: survey.forked_ns,
            startup_ns: survey.startup_ns,
            window_ns: survey.window_ns,
            windows: self.is_kept.len() as u32,
            shutdown_ns: if self.is_whole() { survey.last_ns - self.end_ns } else { 0 },
            events: survey.events,
            requested_peak_bytes: survey.requested.peak_bytes,
            requested_mean_bytes: survey.requested.mean_bytes as u64,
            large_objects: survey.requested.large_objects,
            windows_events: self.events.iter().sum(),
            groups: self.groups(),
            course_events: running_sum(&self.events),
            threads: survey.threads.clone(),
            passing,
            growth: survey.growth,
            outside_malloc_bytes: None,
        };
        for part in &mut self.parts {
            part.later.sort_by_key(|step| step.object);
        }
        let lives = self.lives.into_iter().map(|(_, mut lives)| {
            lives.seen.sort_unstable();
            lives
        });
        let mut parts = self.parts.into_iter();
        let startup = parts.next().unwrap_or_default();
        let shutdown = parts.next().unwrap_or_default();
        let kept = parts.zip(self.is_kept).filter(|(_, kept)| *kept).map(|(part, _)| part);
        let fitted = Fitted { outline, startup, windows: kept.collect(), shutdown, lives: lives.collect() };
        (fitted, self.marks)
    }
}

/// Whether a mark is one that a replay follows.
fn is_played(mark: &str) -> bool {
    mark == Mark::FORKED || Tuning::from_mark(mark).is_some() || HugePages::from_mark(mark).is_some()
}

fn running_sum(counts: &[u64]) -> Vec<u64> {
    let mut sum = 0;
    let sums = counts.iter().map(|count| {
        sum += count;
        sum
    });
    sums.collect()
}
