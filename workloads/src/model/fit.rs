//! From recordings to a model: each is read twice, the model is tried on the recordings, and its errors are
//! written down.

use std::path::PathBuf;

use heaplab_trace::Header;

use super::check::check;
use super::choose::choose;
use super::collect::Collector;
use super::error::ModelError;
use super::facts::{Check, CheckKind, Facts};
use super::gate::{GROWTH_LIMIT, MANY_LARGE_OBJECTS};
use super::parts::{Fitted, MOST_RECORDINGS, MOST_STEPS};
use super::play::CHECK_LIMIT;
use super::subject::Subject;
use super::survey::{Survey, stream_error, survey};

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
    /// Whether requests wait while all threads of their pool are busy, if the user says so.
    pub queue: Option<bool>,
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

    /// States how much memory the process had outside malloc at the load of a recording.
    pub fn set_outside_malloc(&mut self, load: f64, bytes: u64) {
        let fitted = self.fitted.iter_mut().map(|one| &mut one.outline);
        for outline in fitted.chain(&mut self.facts.recordings).filter(|outline| outline.load == load) {
            outline.outside_malloc_bytes = Some(bytes);
        }
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
        queue: options.queue,
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
