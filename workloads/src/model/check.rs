//! Tries a model on the recordings that it was made of: what it predicts of them, and how far that is off.
//!
//! Each trial makes the model that it needs and drops it, so that at most as many copies of a recording's parts are held as
//! trials run at a time.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::collect::Collector;
use super::error::ModelError;
use super::facts::{Check, CheckKind, Facts};
use super::parts::{Fitted, Part, WINDOWS};
use super::play::{Model, is_within_reach};
use super::question::Question;
use super::requested::{Span, requested_in, requested_since};
use super::subject::Subject;
use super::survey::{Requested, Survey, stream_error};

/// Seeds with which the model is tried on its own recordings.
const SEEDS: u64 = 3;
/// The most trials that run at a time: each holds a model.
const MOST_AT_ONCE: usize = 4;

/// What the trials know.
struct Tried<'a> {
    facts: &'a Facts,
    fitted: &'a [Fitted],
    subjects: &'a [Subject<'a>],
    surveys: &'a [Survey],
}

/// Trials of one recording or, of different loads, of one recording by another.
#[derive(Clone, Copy)]
enum Trial {
    /// The recording from its own whole model.
    Itself(usize),
    /// From every second window.
    Alternate(usize),
    /// Its second half from its first, and its last quarter from what was before.
    Parts(usize),
    /// The second recording from the first.
    OtherLoad(usize, usize),
}

/// Tries the model on its recordings, in as many threads as there are CPUs. Checks have the order of the recordings.
pub(super) fn check(
    facts: &Facts,
    fitted: &[Fitted],
    subjects: &[Subject<'_>],
    surveys: &[Survey],
) -> Result<Vec<Check>, ModelError> {
    let of_recording = |at| [Trial::Itself(at), Trial::Alternate(at), Trial::Parts(at)];
    let mut trials: Vec<Trial> = (0..fitted.len()).flat_map(of_recording).collect();
    let last = fitted.len() - 1;
    let reach = |from: usize, to: usize| is_within_reach(subjects[to].load / subjects[from].load);
    let others = [(0, last), (last, 0)].into_iter().filter(|&(from, to)| from != to && reach(from, to));
    trials.extend(others.map(|(from, to)| Trial::OtherLoad(from, to)));
    let tried = Tried { facts, fitted, subjects, surveys };
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((at, trial)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            trials.get(at).map(|trial| (at, *trial))
        } {
            done.push((at, tried.run(trial)));
        }
        done
    };
    let mut done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..cpus.min(MOST_AT_ONCE).min(trials.len())).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    let checks = done.into_iter().map(|(_, checks)| checks).collect::<Result<Vec<Vec<Check>>, _>>()?;
    Ok(checks.into_iter().flatten().collect())
}

/// The subject of a prediction.
struct Of {
    /// The load of the recording that predicts.
    from: f64,
    /// The load of the recording that is predicted.
    load: f64,
    /// Its bytes from `since_ns` on.
    recorded: Requested,
    since_ns: u64,
}

impl Tried<'_> {
    fn run(&self, trial: Trial) -> Result<Vec<Check>, ModelError> {
        let whole = |load| Question { load: Some(load), ..Question::default() };
        match trial {
            Trial::Itself(at) => {
                let (load, of) = self.whole(at);
                let what = format!("the model, with {SEEDS} seeds");
                let model = self.model(&self.fitted[at])?;
                Ok(vec![predict(CheckKind::Itself, what, &model, &whole(load), &of)?])
            }
            Trial::Alternate(at) => {
                let (load, of) = self.whole(at);
                let mut alternate = self.fitted[at].clone();
                let mut number = 0;
                alternate.windows.retain(|_| {
                    number += 1;
                    number % 2 == 0
                });
                if alternate.windows.is_empty() {
                    return Ok(Vec::new());
                }
                let what = "every second window predicts all".to_owned();
                let model = self.model(&alternate)?;
                Ok(vec![predict(CheckKind::Alternate, what, &model, &whole(load), &of)?])
            }
            Trial::Parts(at) => self.predict_parts(at),
            Trial::OtherLoad(from, to) => {
                let (load, of_load) = (self.subjects[to].load, self.subjects[from].load);
                let of = Of { from: of_load, load, recorded: self.surveys[to].requested, since_ns: 0 };
                let what = format!("the load {of_load} predicts {load}");
                let model = self.model(&self.fitted[from])?;
                Ok(vec![predict(CheckKind::OtherLoad, what, &model, &whole(load), &of)?])
            }
        }
    }

    /// Which of the first windows of a recording the model keeps: one at least, as a model of none cannot predict.
    fn kept_of(&self, at: usize, windows: usize) -> Vec<bool> {
        let mut kept = vec![false; windows];
        for part in &self.fitted[at].windows {
            if let Some(kept) = kept.get_mut(part.number as usize) {
                *kept = true;
            }
        }
        if !kept.contains(&true) {
            kept[windows / 2] = true;
        }
        kept
    }

    /// A recording's load, and the whole of it as a subject.
    fn whole(&self, at: usize) -> (f64, Of) {
        let load = self.subjects[at].load;
        (load, Of { from: load, load, recorded: self.surveys[at].requested, since_ns: 0 })
    }

    /// A model of some parts of a recording. Only the outlines of the other loads are used: without their parts they say
    /// only what grows.
    fn model(&self, parts: &Fitted) -> Result<Model, ModelError> {
        let others = self.fitted.iter().filter(|other| other.outline.load != parts.outline.load);
        let others = others.map(|other| {
            let windows = vec![Part::default()];
            Fitted { outline: other.outline.clone(), windows, ..Fitted::default() }
        });
        let all = others.chain([parts.clone()]).collect();
        Model::new(self.facts.clone(), all).map_err(|what| ModelError::asked("fit", what))
    }

    /// The ends of a recording, predicted from what was before.
    fn predict_parts(&self, at: usize) -> Result<Vec<Check>, ModelError> {
        const PARTS: [(CheckKind, usize, &str); 2] = [
            (CheckKind::FirstHalf, WINDOWS / 2, "the first half predicts the second"),
            (CheckKind::LastQuarter, WINDOWS / 4 * 3, "the first three quarters predict the last"),
        ];
        let (subject, survey, outline) = (&self.subjects[at], &self.surveys[at], &self.fitted[at].outline);
        let load = subject.load;
        let length = outline.startup_ns + u64::from(outline.windows) * outline.window_ns;
        let since = PARTS.map(|(_, windows, _)| outline.startup_ns + windows as u64 * outline.window_ns);
        let mut collectors = PARTS.map(|(_, windows, _)| {
            Collector::new(survey, self.kept_of(at, windows), self.facts.marks.clone())
        });
        let mut stream = (subject.open)()?;
        let spans = since.map(|since_ns| Span { since_ns, until_ns: length });
        let recorded = requested_in(stream.as_mut(), spans, |record| {
            collectors.iter_mut().for_each(|collector| collector.take(record));
        })
        .map_err(|error| stream_error(&subject.path, &error))?;
        let mut checks = Vec::new();
        let question = Question { load: Some(load), duration_ns: Some(length), ..Question::default() };
        for (number, ((kind, _, what), collector)) in PARTS.into_iter().zip(collectors).enumerate() {
            let (first, _) = collector.finish(load);
            let of = Of { from: load, load, recorded: recorded[number], since_ns: since[number] };
            checks.push(predict(kind, what.to_owned(), &self.model(&first)?, &question, &of)?);
        }
        Ok(checks)
    }
}

/// Makes a prediction, with several seeds for the recording itself, and keeps its largest errors.
fn predict(
    kind: CheckKind,
    what: String,
    model: &Model,
    question: &Question,
    of: &Of,
) -> Result<Check, ModelError> {
    let mut worst = [0.0_f64; 2];
    for seed in 1..=if kind == CheckKind::Itself { SEEDS } else { 1 } {
        let found = requested_since(&mut model.play_from(of.from, question, seed)?, of.since_ns)?;
        let off = |found: f64, recorded: f64| found / recorded.max(1.0) - 1.0;
        let peak_off = off(found.peak_bytes as f64, of.recorded.peak_bytes as f64);
        for (worst, off) in worst.iter_mut().zip([peak_off, off(found.mean_bytes, of.recorded.mean_bytes)]) {
            if off.abs() > worst.abs() {
                *worst = off;
            }
        }
    }
    let [peak_off, mean_off] = worst;
    Ok(Check { what, peak_off, mean_off, load: of.load, kind })
}
