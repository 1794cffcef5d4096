//! What is asked of a model, and the trace that answers it.

use std::sync::Arc;

use heaplab_trace::{Header, NAME_MOST_BYTES, Note};
use rustc_hash::FxHashMap;

use super::bursts::{Pool, bursts, pools, summarize};
use super::endless::Endless;
use super::error::ModelError;
use super::facts::{Check, Facts};
use super::gate::{Extent, Verdict, judge};
use super::generate::queue::Staff;
use super::generate::{Asked, Generation, Score};
use super::lives::Continuation;
use super::parts::{COURSE, Fitted, Group, MOST_NS, MOST_THREADS, Outline, WINDOWS};
use super::question::Question;
use super::scaling::{Factors, is_in_flight, line};
use super::schedule::{Tempo, Warp};
use super::survivors::Playable;

/// A load is at most this many times a recorded load, and at least that load divided by this.
const MOST_TIMES: f64 = 10.0;

/// Whether a model goes that far. Loads are decimal fractions: 3 counts as ten times 0.3.
pub(super) fn is_within_reach(times: f64) -> bool {
    let most = MOST_TIMES * (1.0 + 1e-9);
    (1.0 / most..=most).contains(&times)
}

/// The most memory outside malloc that a model may state: 1 PiB.
const MOST_OUTSIDE_BYTES: u64 = 1 << 50;

/// The most windows of which a trace is made: a window takes time even if it has no call. A thousand hours of the shortest
/// windows are fewer, at the recorded load.
const MOST_PLAYED: u64 = 1 << 32;

/// A check that is further off than this counts against the model.
pub(super) const CHECK_LIMIT: f64 = 0.1;

/// The share of the windows' calls that one thread makes at least in a program that does one thing at a time.
const SERIAL_SHARE: f64 = 0.95;

/// The source that the header of a trace made by a model names.
pub const MODEL: &str = "model";
/// The note of a header that says which load a trace has, and how far that goes beyond what was recorded.
pub const EXTRAPOLATION_NOTE: &str = "extrapolation";
/// The note of a header that holds half the width of the band, as a share.
pub const BAND_NOTE: &str = "extrapolation_band";
/// The note of a generated trace that says how many bytes its process has outside malloc.
pub const OUTSIDE_NOTE: &str = "outside_malloc_bytes";

/// A model that can be played.
#[derive(Debug, Clone)]
pub struct Model {
    facts: Facts,
    scores: Vec<Arc<Score>>,
}

/// Checks the laws of a recording's numbers: a file may hold any numbers.
fn check_outline(outline: &Outline) -> Result<(), String> {
    let windows_ns = u64::from(outline.windows).checked_mul(outline.window_ns);
    let times = [Some(outline.startup_ns), windows_ns, Some(outline.shutdown_ns)];
    if times.iter().any(|time| time.is_none_or(|time| time > MOST_NS)) || windows_ns == Some(0) {
        return Err("a recording's times are out of bounds".to_owned());
    }
    if outline.forked_ns > outline.startup_ns {
        return Err("a process was forked after its start-up".to_owned());
    }
    if outline.windows as usize > WINDOWS {
        return Err(format!("a recording of it has more than {WINDOWS} windows"));
    }
    if !(outline.load.is_finite() && outline.load > 0.0 && outline.growth.is_finite()) {
        return Err("a load is not above 0, or growth is no number".to_owned());
    }
    let is_off = |group: &Group| {
        group.course.len() != COURSE || group.course.iter().any(|bytes| !(0.0..=1e18).contains(bytes))
    };
    if outline.groups.iter().any(is_off) || !outline.course_events.is_sorted() {
        return Err("a group's bytes are out of bounds".to_owned());
    }
    if outline.outside_malloc_bytes.is_some_and(|bytes| bytes > MOST_OUTSIDE_BYTES) {
        return Err("memory outside malloc is out of bounds".to_owned());
    }
    if outline.threads.iter().any(|thread| thread.name.len() > NAME_MOST_BYTES) {
        return Err(format!("a thread's name has more than {NAME_MOST_BYTES} bytes"));
    }
    if outline.threads.len() > MOST_THREADS {
        return Err(format!("a recording of it has more than {MOST_THREADS} threads that stay"));
    }
    Ok(())
}

/// The thread that makes nearly all calls of the windows, if one does. What it does one after another at the recorded
/// load, it does one after another at any load.
fn only_thread(windows: &[Playable]) -> Option<u32> {
    let mut by_thread: FxHashMap<u32, u64> = FxHashMap::default();
    for step in windows.iter().flat_map(|window| &window.part.steps) {
        *by_thread.entry(step.thread).or_default() += 1;
    }
    let all: u64 = by_thread.values().sum();
    let (thread, most) = by_thread.into_iter().max_by_key(|(thread, count)| (*count, *thread))?;
    (most as f64 >= SERIAL_SHARE * all as f64).then_some(thread)
}

impl Model {
    /// Prepares the parts to be played.
    ///
    /// # Errors
    ///
    /// What is wrong with them, in words.
    pub fn new(facts: Facts, fitted: Vec<Fitted>) -> Result<Model, String> {
        let shares = [facts.life, facts.startup].into_iter().flatten();
        let is_off = |check: &Check| !(check.peak_off.is_finite() && check.mean_off.is_finite());
        if shares.into_iter().any(|share| !(0.0..=1.0).contains(&share)) || facts.checks.iter().any(is_off) {
            return Err("a share in its head is out of bounds".to_owned());
        }
        if facts.marks.iter().any(|mark| mark.len() > NAME_MOST_BYTES) {
            return Err(format!("a mark's name has more than {NAME_MOST_BYTES} bytes"));
        }
        let mut scores: Vec<Arc<Score>> = Vec::new();
        for fitted in fitted {
            let outline = fitted.outline;
            let threads = outline.threads.len() + outline.passing.len();
            let threads = u32::try_from(threads).map_err(|_| "it has more than 2^32 threads".to_owned())?;
            let playable = |part| Playable::new(part, threads, facts.marks.len());
            let windows = fitted.windows.into_iter().map(playable).collect::<Result<Vec<_>, _>>()?;
            if outline.threads.is_empty() || windows.is_empty() {
                return Err("a recording of it has no windows or no threads".to_owned());
            }
            if windows.iter().any(|window| window.part.number >= outline.windows) {
                return Err("a window's number is out of bounds".to_owned());
            }
            check_outline(&outline)?;
            let windows_ns = u64::from(outline.windows) * outline.window_ns;
            let continuation = Continuation::new(fitted.lives, windows_ns);
            // Without thread numbers nothing is known about who does what.
            let pooled = if facts.has_threads { pools(&outline) } else { Vec::new() };
            let of = |pooled: &[Option<u32>]| {
                let windows = windows.iter().map(|window| &window.part);
                let bursts: Vec<_> =
                    windows.clone().map(|part| bursts(part, pooled, outline.window_ns)).collect();
                let found = summarize(
                    &outline,
                    pooled,
                    &windows.zip(bursts.iter().map(Vec::as_slice)).collect::<Vec<_>>(),
                );
                (bursts, found)
            };
            let (bursts, recorded_pools) = of(&pooled);
            let only = only_thread(&windows).filter(|_| facts.has_threads);
            let alone = only.map(|only| {
                let is_only = |thread| (thread == only).then_some(0);
                of(&(0..=only).map(is_only).collect::<Vec<_>>()).1
            });
            scores.push(Arc::new(Score {
                alone: alone.and_then(|alone| alone.first().copied()),
                endless: Endless::new(&windows, outline.windows, &continuation),
                startup: playable(fitted.startup)?,
                shutdown: playable(fitted.shutdown)?,
                windows,
                continuation,
                marks: facts.marks.clone(),
                pools: recorded_pools,
                pooled,
                bursts,
                outline,
            }));
        }
        if scores.is_empty() {
            return Err("it is of no recording".to_owned());
        }
        scores.sort_by(|one, other| one.outline.load.total_cmp(&other.outline.load));
        Ok(Model { facts, scores })
    }

    /// What it says about itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The load used when none is asked for: the highest recorded one.
    pub fn own_load(&self) -> f64 {
        self.scores.iter().map(|score| score.outline.load).fold(0.0, f64::max)
    }

    /// Memory of the process outside malloc at a load: on the line through the two recordings that show what grows with
    /// it, if it does; otherwise as at the nearest. None if it was not measured.
    pub fn outside_malloc_bytes(&self, load: f64) -> Option<u64> {
        let measured = |outline: &Outline| outline.outside_malloc_bytes.map(|bytes| bytes as f64);
        let nearest = measured(&self.nearest(load).outline)?;
        let line = self.pair(load).and_then(|(low, high)| {
            let (at_low, at_high) = measured(low).zip(measured(high))?;
            let slope = (at_high - at_low) / (high.load - low.load);
            (slope > 0.0).then_some(at_low + slope * (load - low.load))
        });
        Some(line.unwrap_or(nearest).max(0.0) as u64)
    }

    /// Begins a trace.
    ///
    /// # Errors
    ///
    /// Something that the model cannot do.
    pub fn play(&self, name: &str, question: &Question, seed: u64) -> Result<Generation, ModelError> {
        let load = question.load.unwrap_or_else(|| self.own_load());
        self.begin(name, self.nearest(load), load, question, seed)
    }

    /// The same, but from the recording at the load `from`, even if others are nearer.
    pub(super) fn play_from(
        &self,
        from: f64,
        question: &Question,
        seed: u64,
    ) -> Result<Generation, ModelError> {
        let load = question.load.unwrap_or_else(|| self.own_load());
        self.begin("check", self.nearest(from), load, question, seed)
    }

    fn begin(
        &self,
        name: &str,
        score: &Arc<Score>,
        load: f64,
        question: &Question,
        seed: u64,
    ) -> Result<Generation, ModelError> {
        let outline = &score.outline;
        let times = load / outline.load;
        if !is_within_reach(times) {
            return Err(ModelError::asked(
                name,
                format!(
                    "a load of {load} is {times:.3} times the nearest that was recorded, {}: at most {MOST_TIMES} times it, and at least a tenth, can be asked for",
                    outline.load
                ),
            ));
        }
        let recorded_ns = u64::from(outline.windows) * outline.window_ns;
        let around_ns = outline.startup_ns + outline.shutdown_ns;
        let duration_ns = question.duration_ns.unwrap_or(recorded_ns + around_ns);
        let windows_ns = duration_ns.checked_sub(around_ns).filter(|rest| *rest >= outline.window_ns);
        let Some(windows_ns) = windows_ns.filter(|_| duration_ns <= MOST_NS) else {
            return Err(ModelError::asked(
                name,
                format!(
                    "a duration of {} s is out of bounds: start-up, a window and shutdown take {:.3} s, and 100,000 hours are the most",
                    duration_ns as f64 / 1e9,
                    (around_ns + outline.window_ns) as f64 / 1e9
                ),
            ));
        };
        let warp = Warp { from_ns: outline.startup_ns + recorded_ns, factor: question.thinned.max(1) };
        let model_end_ns = warp.model_ns(outline.startup_ns + windows_ns);
        // A higher load plays them faster, or several at once.
        let factors = Arc::new(self.factors(question, outline, load));
        let windows = (model_end_ns - outline.startup_ns) / outline.window_ns;
        let played = windows as f64 * factors.lanes.max(1.0);
        if played > MOST_PLAYED as f64 {
            return Err(ModelError::asked(
                name,
                format!(
                    "a duration of {} s is {played:.0} windows of the recording, and {MOST_PLAYED} are the most: thin the trace, or ask for less",
                    duration_ns as f64 / 1e9
                ),
            ));
        }
        let asked = Asked {
            windows_ns: model_end_ns - outline.startup_ns,
            warp,
            staff: self.staff(question, score, &factors, load),
            factors,
            is_serial: self.is_serial(score, load),
            seed,
        };
        // What was before a fork is played once, however long the trace is.
        let counted_ns = |whole_ns: u64| (whole_ns - outline.forked_ns) as f64;
        let lengths = counted_ns(duration_ns) / counted_ns(recorded_ns + around_ns);
        let header = self.header(question, load, lengths, seed);
        Ok(Generation::new(header, Arc::clone(score), asked))
    }

    /// The recording whose load is nearest, in proportion.
    fn nearest(&self, load: f64) -> &Arc<Score> {
        let distance = |score: &Arc<Score>| libm::log(load / score.outline.load).abs();
        let nearest = self.scores.iter().min_by(|one, other| distance(one).total_cmp(&distance(other)));
        nearest.unwrap_or(&self.scores[0])
    }

    /// The two recordings that show what grows at a load: those around it, or the last two on its side.
    fn pair(&self, load: f64) -> Option<(&Outline, &Outline)> {
        self.pair_of_scores(load).map(|(low, high)| (&low.outline, &high.outline))
    }

    fn pair_of_scores(&self, load: f64) -> Option<(&Score, &Score)> {
        let above = self.scores.partition_point(|score| score.outline.load < load);
        let at = above.clamp(1, self.scores.len().max(2) - 1);
        let (low, high) = (self.scores.get(at - 1)?, self.scores.get(at)?);
        (low.outline.load < high.outline.load).then_some((&**low, &**high))
    }

    /// Whether windows are played one after the other at a load: where one thread makes the calls, unless recordings at two
    /// loads show that its requests overlap, and that there are more of them in flight at the higher one.
    fn is_serial(&self, from: &Score, load: f64) -> bool {
        let overlap = self.pair_of_scores(load).is_some_and(|(low, high)| {
            let seen = [low, high].map(|score| score.alone.and_then(|alone| alone.takes_one));
            seen.contains(&Some(false))
                && !seen.contains(&Some(true))
                && is_in_flight(&low.outline, &high.outline)
        });
        from.alone.is_some() && !overlap
    }

    /// The threads of a recording's pools at a load, and how busy they are there: in proportion to the load, or as two
    /// recordings show.
    fn staff(&self, question: &Question, from: &Score, factors: &Factors, load: f64) -> Vec<Staff> {
        let times = load / from.outline.load;
        let stated = question.queue.or(self.facts.queue);
        let threads =
            |outline: &Outline| outline.threads.iter().filter(|thread| thread.role > 0).count() as f64;
        let more = self.pair(load).map_or(0.0, |(low, high)| {
            let ends = [low, high].map(|outline| (outline.load, threads(outline)));
            threads(&from.outline) * (line(ends, from.outline.load, load) - 1.0)
        });
        let more = more.round().clamp(0.0, MOST_THREADS as f64) as u32;
        let first = from.pools.iter().map(|pool| pool.role).min();
        let busy_of = |score: &Score| -> FxHashMap<u32, f64> {
            let busy = score.pools.iter().filter(|pool| pool.busy > 0.0);
            busy.map(|pool| (pool.role, pool.busy)).collect()
        };
        let seen = self
            .pair_of_scores(load)
            .map(|(low, high)| [low, high].map(|score| (score.outline.load, busy_of(score))));
        let of_pool = |pool: &Pool| {
            // How many times as many are busy as in the recording. Nothing is known of a pool that only one of two has.
            let told = seen.as_ref().and_then(|[(low, of_low), (high, of_high)]| {
                let ends = [(*low, *of_low.get(&pool.role)?), (*high, *of_high.get(&pool.role)?)];
                let by_line = line(ends, from.outline.load, load);
                // Not further than in proportion.
                Some(if times < 1.0 { by_line.max(times) } else { by_line.min(times) })
            });
            let busy = told.unwrap_or(times);
            // All threads together grow, whichever pool they are told to be of: the busiest pool has those that are added.
            let more = if Some(pool.role) == first { more } else { 0 };
            Staff {
                role: pool.role,
                threads: pool.threads.saturating_add(more),
                busy: pool.busy * busy,
                takes_one: stated.or(pool.takes_one),
                // The windows are played as often as their events grow.
                busy_share: busy / factors.lanes,
            }
        };
        from.pools.iter().map(of_pool).collect()
    }

    /// How the recording's parts scale to a load: as the user says, by two recordings, or by assumption.
    fn factors(&self, question: &Question, from: &Outline, load: f64) -> Factors {
        let times = load / from.load;
        let (life, startup) = (question.life.or(self.facts.life), question.startup.or(self.facts.startup));
        let stated = Factors::stated(times, life.unwrap_or(1.0), startup.unwrap_or(0.0));
        let Some((low, high)) = self.pair(load) else { return stated };
        let mut told = Factors::told(low, high, from, load);
        let [of_startup, survivors] = stated.live;
        if startup.is_some() {
            told.live[0] = of_startup;
        }
        if life.is_some() {
            told.live[1] = survivors;
            told.law = stated.law;
        }
        told
    }

    /// The gate's verdict on a load and a length, which is given as a multiple of the recording's.
    pub fn judge(&self, question: &Question, lengths: f64) -> Verdict {
        let load = question.load.unwrap_or_else(|| self.own_load());
        let is_life_stated = question.life.or(self.facts.life).is_some();
        let is_startup_stated = question.startup.or(self.facts.startup).is_some();
        let pair = self.pair(load).filter(|_| !is_life_stated);
        let nearest = self.nearest(load);
        let (from, endless) = (&nearest.outline, nearest.endless);
        let factors = self.factors(question, from, load);
        let factors = &factors;
        let is_serial = self.is_serial(nearest, load);
        let tempo = Tempo::new(factors.lanes, is_serial, factors.law.is_progress);
        let staff = &self.staff(question, nearest, factors, load)[..];
        let asked = Extent {
            from,
            endless,
            factors,
            staff,
            tempo,
            pair,
            is_life_stated,
            is_startup_stated,
            load,
            lengths,
        };
        judge(&self.facts, &asked)
    }

    fn header(&self, question: &Question, load: f64, lengths: f64, seed: u64) -> Header {
        let facts = &self.facts;
        let note = |name: &str, value: String| Note { name: name.to_owned(), value };
        let verdict = self.judge(question, lengths);
        let mut notes = vec![
            note("load", format!("{load} {}", facts.load_unit)),
            note("seed", seed.to_string()),
            note(EXTRAPOLATION_NOTE, self.describe(question, load, lengths, &verdict)),
            note(BAND_NOTE, format!("{:.4}", verdict.band)),
        ];
        notes.extend(self.outside_malloc_bytes(load).map(|bytes| note(OUTSIDE_NOTE, bytes.to_string())));
        if question.thinned > 1 && lengths > 1.0 {
            notes.push(note(crate::simulate::THINNED_NOTE, question.thinned.to_string()));
        }
        Header {
            source: MODEL.to_owned(),
            program: facts.program.clone(),
            has_times: true,
            has_threads: facts.has_threads,
            has_alignment: facts.has_alignment,
            cpus: facts.cpus,
            allocator: facts.allocator.clone(),
            notes,
        }
    }

    /// What a report says about it, in sentences.
    fn describe(&self, question: &Question, load: f64, lengths: f64, verdict: &Verdict) -> String {
        let facts = &self.facts;
        let loads: Vec<String> = self.scores.iter().map(|score| score.outline.load.to_string()).collect();
        let mut said = format!(
            "made by a model of {} at {} {}, for {load} and {lengths:.2} times its length; ",
            if loads.len() == 1 { "a recording" } else { "recordings" },
            loads.join(" and "),
            facts.load_unit,
        );
        said += &match verdict.passes() {
            true => "the gate lets it pass".to_owned(),
            false => format!("DO NOT TRUST ITS MEMORY: {}", verdict.reasons.join(", and ")),
        };
        let is_stated = question.life.or(facts.life).is_some();
        if load != self.nearest(load).outline.load && !facts.is_told() && !is_stated {
            said += "; one load cannot tell what grows with it: that all does but for start-up is assumed";
        }
        for warning in &facts.warnings {
            said += "; ";
            said += warning;
        }
        said
    }
}
