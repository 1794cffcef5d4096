//! From recordings to a model: each is read twice, the model is tried on the recordings, and its errors are
//! written down.

use std::path::{Path, PathBuf};

use heaplab_trace::{Header, Record};
use rustc_hash::FxHashMap;

use super::choose::choose;
use super::collect::Collector;
use super::error::ModelError;
use super::facts::{Check, CheckKind, Facts};
use super::gate::{GROWTH_LIMIT, MANY_LARGE_OBJECTS};
use super::parts::{Fitted, MOST_RECORDINGS, MOST_STEPS, Part, WINDOWS};
use super::play::{CHECK_LIMIT, Model, is_within_reach};
use super::question::Question;
use super::subject::Subject;
use super::survey::{Chain, Requested, Survey, survey};
use crate::stream::{RecordStream, StreamError};

/// Seeds with which the model is tried on its own recordings.
const SEEDS: u64 = 3;

/// How a model is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What loads are counted in.
    pub load_unit: String,
    /// The share of the events that is kept, above 0 and at most 1.
    pub size: f64,
    /// Whether names are omitted.
    pub is_anonymous: bool,
    /// How lives are counted, if the user says so.
    pub life: Option<f64>,
    /// How much of start-up grows with the load, if the user says so.
    pub startup: Option<f64>,
}

/// A model that was fitted, to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedModel {
    facts: Facts,
    fitted: Vec<Fitted>,
}

impl FittedModel {
    /// What it says about itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Adds checks of its resident memory. The gate's band includes their errors from then on.
    pub fn add_checks(&mut self, checks: Vec<Check>) {
        self.facts.warnings.extend(checks.iter().filter_map(warn_of_check));
        self.facts.checks.extend(checks);
    }

    /// One for each recording, in order of load.
    pub fn fitted(&self) -> &[Fitted] {
        &self.fitted
    }
}

/// Fits a model.
///
/// # Errors
///
/// A recording from which no model can be made, impossible loads, recordings that do not belong together.
pub fn fit(mut subjects: Vec<Subject<'_>>, options: &Options) -> Result<FittedModel, ModelError> {
    check_loads(&subjects)?;
    subjects.sort_by(|one, other| one.load.total_cmp(&other.load));
    let mut marks = Vec::new();
    let mut fitted = Vec::new();
    let mut surveys = Vec::new();
    let mut headers: Vec<(PathBuf, Header)> = Vec::new();
    for subject in &subjects {
        let mut stream = (subject.open)()?;
        let header = stream.header().clone();
        if let Some((other, first)) = headers.first()
            && program_of(first) != program_of(&header)
        {
            return Err(ModelError::unfit(
                &subject.path,
                format!("it is of another program than {}: fit recordings of one program", other.display()),
            ));
        }
        let survey = survey(&subject.path, &mut stream)?;
        headers.push((subject.path.clone(), header));
        let kept = choose(&survey, subject, options.size)?;
        let taken: usize = fitted.iter().map(steps_of).sum();
        let (one, more) = collect(subject, &survey, kept, marks, MOST_STEPS - taken)?;
        marks = more;
        fitted.push(one);
        surveys.push(survey);
    }
    let Some((_, header)) = headers.into_iter().next() else {
        return Err(ModelError::asked("fit", "there is no recording to fit to"));
    };
    let mut facts = Facts {
        program: if options.is_anonymous { String::new() } else { header.program.clone() },
        load_unit: options.load_unit.clone(),
        has_threads: header.has_threads,
        has_alignment: header.has_alignment,
        cpus: header.cpus,
        allocator: header.allocator,
        life: options.life,
        startup: options.startup,
        kept: kept_share(&fitted),
        marks,
        ..Facts::default()
    };
    if options.is_anonymous {
        fitted.iter_mut().flat_map(|one| &mut one.outline.threads).for_each(|thread| thread.name.clear());
    }
    facts.recordings = fitted.iter().map(|one| one.outline.clone()).collect();
    facts.checks = check(&facts, &fitted, &subjects, &surveys)?;
    facts.warnings = warn(&facts, &surveys);
    Ok(FittedModel { facts, fitted })
}

fn check_loads(subjects: &[Subject<'_>]) -> Result<(), ModelError> {
    if subjects.len() > MOST_RECORDINGS {
        let why =
            format!("a model is of at most {MOST_RECORDINGS} recordings, and {} are named", subjects.len());
        return Err(ModelError::asked("fit", why));
    }
    for (at, subject) in subjects.iter().enumerate() {
        if !(subject.load.is_finite() && subject.load > 0.0) {
            return Err(ModelError::asked(
                "--load",
                format!("a load is above 0, and {} is not", subject.load),
            ));
        }
        if subjects[..at].iter().any(|other| other.load == subject.load) {
            return Err(ModelError::asked(
                "--load",
                format!("two recordings have the load {}: a model takes one for each load", subject.load),
            ));
        }
    }
    Ok(())
}

/// What was recorded: the executable, regardless of its arguments.
fn program_of(header: &Header) -> String {
    let executable =
        header.notes.iter().find(|note| note.name == "executable").map(|note| note.value.as_str());
    let word = || header.program.split_whitespace().next().unwrap_or_default();
    executable.unwrap_or_else(word).to_owned()
}

fn stream_error(path: &Path, error: &StreamError) -> ModelError {
    ModelError::unfit(path, Chain(error).to_string())
}

fn collect(
    subject: &Subject<'_>,
    survey: &Survey,
    kept: Vec<bool>,
    marks: Vec<String>,
    most_steps: usize,
) -> Result<(Fitted, Vec<String>), ModelError> {
    let mut stream = (subject.open)()?;
    let mut collector = Collector::new(survey, kept, marks);
    while let Some(record) = stream.next().map_err(|error| stream_error(&subject.path, &error))? {
        collector.take(&record);
        if collector.steps() > most_steps {
            return Err(ModelError::unfit(
                &subject.path,
                format!(
                    "the model has more than {MOST_STEPS} calls: keep fewer windows, such as --size 0.25"
                ),
            ));
        }
    }
    Ok(collector.finish(subject.load))
}

fn kept_share(fitted: &[Fitted]) -> f64 {
    let events: u64 = fitted.iter().map(|one| one.outline.events).sum();
    fitted.iter().map(steps_of).sum::<usize>() as f64 / events.max(1) as f64
}

fn steps_of(one: &Fitted) -> usize {
    let parts = one.windows.iter().chain([&one.startup, &one.shutdown]);
    parts.map(|part| part.steps.len() + part.later.len()).sum()
}

/// Tries the model on its recordings.
fn check(
    facts: &Facts,
    fitted: &[Fitted],
    subjects: &[Subject<'_>],
    surveys: &[Survey],
) -> Result<Vec<Check>, ModelError> {
    let mut checks = Vec::new();
    let bad = |what: String| ModelError::asked("fit", what);
    // Only the outline of the other load is used: without its parts it says only what grows.
    let of = |parts: &Fitted, all: &[Fitted]| {
        let others = all.iter().filter(|other| other.outline.load != parts.outline.load).map(|other| {
            let windows = vec![Part::default()];
            Fitted { outline: other.outline.clone(), windows, ..Fitted::default() }
        });
        Model::new(facts.clone(), others.chain([parts.clone()]).collect()).map_err(bad)
    };
    let mut add = |kind, what: String, model: &Model, question: &Question, of: &Of| {
        let trials = (1..=if kind == CheckKind::Itself { SEEDS } else { 1 })
            .map(|seed| {
                let found = requested_since(&mut model.play_from(of.from, question, seed)?, of.since_ns)?;
                let off = |found: f64, recorded: f64| found / recorded.max(1.0) - 1.0;
                let recorded = &of.recorded;
                let peak_off = off(found.peak_bytes as f64, recorded.peak_bytes as f64);
                Ok((peak_off, off(found.mean_bytes, recorded.mean_bytes)))
            })
            .collect::<Result<Vec<(f64, f64)>, ModelError>>()?;
        let worst = |offs: &mut dyn Iterator<Item = f64>| {
            offs.fold(0.0, |worst: f64, off| if off.abs() > worst.abs() { off } else { worst })
        };
        let peak_off = worst(&mut trials.iter().map(|trial| trial.0));
        let mean_off = worst(&mut trials.iter().map(|trial| trial.1));
        checks.push(Check { what, peak_off, mean_off, load: of.load, kind });
        Ok::<(), ModelError>(())
    };
    for ((one, survey), subject) in fitted.iter().zip(surveys).zip(subjects) {
        let load = subject.load;
        let at = Question { load: Some(load), ..Question::default() };
        let on = Of { from: load, load, recorded: survey.requested, since_ns: 0 };
        add(CheckKind::Itself, format!("the model, with {SEEDS} seeds"), &of(one, fitted)?, &at, &on)?;
        let mut alternate = one.clone();
        let mut number = 0;
        alternate.windows.retain(|_| {
            number += 1;
            number % 2 == 0
        });
        if !alternate.windows.is_empty() {
            let what = "every second window predicts all".to_owned();
            add(CheckKind::Alternate, what, &of(&alternate, fitted)?, &at, &on)?;
        }
        let outline = &one.outline;
        let length = outline.startup_ns + u64::from(outline.windows) * outline.window_ns;
        let whole = Question { duration_ns: Some(length), ..at };
        for (kind, windows, what) in [
            (CheckKind::FirstHalf, WINDOWS / 2, "the first half predicts the second"),
            (CheckKind::LastQuarter, WINDOWS / 4 * 3, "the first three quarters predict the last"),
        ] {
            let (first, _) = collect(subject, survey, vec![true; windows], facts.marks.clone(), MOST_STEPS)?;
            let since_ns = outline.startup_ns + windows as u64 * outline.window_ns;
            let recorded = requested_between((subject.open)()?.as_mut(), since_ns, length)?;
            let on = Of { from: load, load, recorded, since_ns };
            add(kind, what.to_owned(), &of(&first, fitted)?, &whole, &on)?;
        }
    }
    for (from, to) in [(0, fitted.len() - 1), (fitted.len() - 1, 0)] {
        let (load, of_load) = (subjects[to].load, subjects[from].load);
        if from == to || !is_within_reach(load / of_load) {
            continue;
        }
        let question = Question { load: Some(load), ..Question::default() };
        let on = Of { from: of_load, load, recorded: surveys[to].requested, since_ns: 0 };
        let what = format!("the load {of_load} predicts {load}");
        add(CheckKind::OtherLoad, what, &of(&fitted[from], fitted)?, &question, &on)?;
    }
    Ok(checks)
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

/// Requested bytes of a trace.
///
/// # Errors
///
/// Those of the stream.
pub fn requested(stream: &mut dyn RecordStream) -> Result<Requested, ModelError> {
    requested_between(stream, 0, u64::MAX)
}

fn requested_since(stream: &mut dyn RecordStream, since_ns: u64) -> Result<Requested, ModelError> {
    requested_between(stream, since_ns, u64::MAX)
}

/// The same, for the time from `since_ns` until `until_ns` or the end of the trace.
fn requested_between(
    stream: &mut dyn RecordStream,
    since_ns: u64,
    until_ns: u64,
) -> Result<Requested, ModelError> {
    let mut sizes: FxHashMap<u64, u64> = FxHashMap::default();
    let (mut live, mut time_ns, mut byte_ns) = (0u64, since_ns, 0u128);
    let mut found = Requested::default();
    let failed = |error: StreamError| ModelError::asked("fit", Chain(&error).to_string());
    while let Some(record) = stream.next().map_err(failed)? {
        let Record::Event(event) = record else { continue };
        let now_ns = event.time_ns.clamp(since_ns, until_ns);
        byte_ns += u128::from(live) * u128::from(now_ns - time_ns);
        time_ns = now_ns;
        if let Some((object, size)) = event.action.allocated() {
            sizes.insert(object, size);
            live = live.saturating_add(size);
        } else if let heaplab_trace::Action::Realloc { object, size } = event.action {
            live = live.saturating_sub(sizes.insert(object, size).unwrap_or(0)).saturating_add(size);
        } else if let Some(object) = event.action.freed() {
            live = live.saturating_sub(sizes.remove(&object).unwrap_or(0));
        }
        if (since_ns..=until_ns).contains(&event.time_ns) {
            found.peak_bytes = found.peak_bytes.max(live);
        }
    }
    found.mean_bytes = byte_ns as f64 / (time_ns - since_ns).max(1) as f64;
    Ok(found)
}

/// Adds the reasons not to trust the model.
fn warn(facts: &Facts, surveys: &[Survey]) -> Vec<String> {
    let mut warnings = Vec::new();
    for survey in surveys {
        if survey.growth.abs() > GROWTH_LIMIT {
            warnings.push(format!(
                "the live set still changes by {:+.0} % over the recording's length: longer times are continued in proportion",
                100.0 * survey.growth
            ));
        }
        let requested = &survey.requested;
        if (1..MANY_LARGE_OBJECTS).contains(&requested.large_objects) {
            warnings.push(format!(
                "{} objects of a quarter of the peak or more decide the peak",
                requested.large_objects
            ));
        }
    }
    warnings.extend(facts.checks.iter().filter_map(warn_of_check));
    warnings.dedup();
    warnings
}

/// A warning of a check that is far off.
fn warn_of_check(check: &Check) -> Option<String> {
    if check.peak_off.abs() <= CHECK_LIMIT && check.mean_off.abs() <= CHECK_LIMIT {
        return None;
    }
    let cause = match check.kind {
        CheckKind::Resident | CheckKind::OtherLoad => "",
        _ => "windows differ too much: ",
    };
    Some(format!(
        "{cause}{} (load {}) with an error of {:+.0} % in the peak and {:+.0} % in the mean",
        check.what,
        check.load,
        100.0 * check.peak_off,
        100.0 * check.mean_off
    ))
}
