//! `heaplab fit`: makes a load model from recordings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use heaplab_trace::{Coverage, TraceError, TraceReader};
use heaplab_workloads::catalog::{self, CatalogError, Source};
use heaplab_workloads::model::{
    Check, CheckKind, Facts, FitOptions, FittedModel, Model, ModelError, Outline, Question, Subject, fit,
    parse_load, parse_share, write_model,
};
use heaplab_workloads::simulate::{DEFAULT_SEED, Options};

use super::screen::Screen;
use super::status::is_usage;
use super::trace::print_rows;
use super::{Outcome, Usage, nanoseconds, require_directory, stop_on_signals};
use crate::cli::stdout::stdout;
use crate::session::{ModelQuestion, ResidentError, check_model};

/// A replay of a check that takes longer is stopped.
const CHECK_WITHIN: Duration = Duration::from_secs(600);

#[derive(clap::Args)]
pub(super) struct Args {
    /// Recordings of one program (.hlt), each at a different load
    #[arg(required = true, value_name = "RECORDING")]
    recordings: Vec<PathBuf>,
    /// The model to write; replaced only when the new one is complete
    #[arg(short, long, value_name = "FILE.hlm")]
    output: PathBuf,
    /// The load of each recording, in the order in which they are named, such as 1,3 [default: 1, of one recording]
    #[arg(long, value_name = "LOAD,...", value_delimiter = ',', value_parser = parse_load, allow_negative_numbers = true)]
    load: Vec<f64>,
    /// What loads are counted in, such as connections or requests/s
    #[arg(long, value_name = "NAME", default_value = "times the recorded load")]
    load_unit: String,
    /// Keep this share of the windows, from 0.01 to 1: a smaller file, and a model that is further off
    #[arg(long, value_name = "SHARE", default_value = "1", value_parser = parse_size)]
    size: f64,
    /// Leave out the names of the program and of its threads
    #[arg(long)]
    anonymous: bool,
    /// Say what recordings do not: life=time or life=allocations (or a number from 0 to 1 between them), startup=SHARE
    /// that grows with the load, queue=yes or queue=no: whether requests wait for a free thread of their pool
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Also replay the model and its recordings: the error in resident memory becomes part of the model's band, and the
    /// model knows how much memory its process has outside malloc
    #[arg(long)]
    check: bool,
    /// With --check: a variant to replay under; once for each [default: ptmalloc2, jemalloc, tcmalloc, mimalloc]
    #[arg(short, long = "allocator", value_name = "VARIANT", requires = "check")]
    allocators: Vec<String>,
}

fn parse_size(text: &str) -> Result<f64, String> {
    let size = parse_share(text).filter(|size| *size >= 0.01);
    size.ok_or_else(|| format!("a size is a share from 0.01 to 1, and `{text}` is not"))
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let loads = loads(&args)?;
    require_directory(&args.output)?;
    let options = options(&args)?;
    let recordings: Vec<(PathBuf, f64)> = args.recordings.iter().cloned().zip(loads).collect();
    let subjects = recordings.iter().map(|(path, load)| subject(path, *load));
    let subjects = subjects.collect::<anyhow::Result<Vec<_>>>()?;
    let mut model = fit(subjects, &options).map_err(as_usage)?;
    let checked = if args.check { check(&mut model, &recordings, &args.allocators) } else { Ok(true) };
    if matches!(&checked, Err(error) if is_usage(error)) {
        return checked.map(|_| Outcome::Done);
    }
    // The model is worth keeping even if its replay failed or was stopped.
    let bytes = write_model(&args.output, &model).map_err(as_usage)?;
    if !matches!(checked, Ok(true)) {
        say!("heaplab: {} is written without the check of its resident memory", args.output.display());
    }
    if !checked? {
        return Ok(Outcome::Interrupted);
    }
    let facts = model.facts();
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut rows = vec![
        ("model", args.output.display().to_string()),
        ("file_bytes", bytes.to_string()),
        ("events_kept", percent(facts.kept)),
        ("growth_is", what_grows(facts)),
    ];
    rows.extend(facts.recordings.iter().map(|one| ("recording", describe(one, &facts.load_unit))));
    for recording in &facts.recordings {
        let Some(bytes) = recording.outside_malloc_bytes else { continue };
        let outside = format!("load {}: {:.1} MiB", recording.load, bytes as f64 / f64::from(1 << 20));
        rows.push(("outside_malloc", outside));
    }
    for check in &facts.checks {
        rows.push((
            "check",
            format!(
                "{} (load {}): peak {:+.1} %, mean {:+.1} % of {} bytes",
                check.what,
                check.load,
                100.0 * check.peak_off,
                100.0 * check.mean_off,
                if check.kind == CheckKind::Resident { "resident" } else { "requested" }
            ),
        ));
    }
    for times in [1.0, 2.0, 3.0] {
        rows.push((
            "gate",
            judge(&Model::new(facts.clone(), model.fitted().to_vec()).map_err(Usage)?, times),
        ));
    }
    print_rows(&mut stdout(), &rows)?;
    facts.warnings.iter().for_each(|warning| say!("heaplab: warning: {warning}"));
    Ok(Outcome::Done)
}

/// The parts of a recording.
fn describe(recording: &Outline, load_unit: &str) -> String {
    let inherited = match recording.forked_ns {
        0 => String::new(),
        forked_ns => format!(" ({:.3} s of it before the fork)", forked_ns as f64 / 1e9),
    };
    format!(
        "load {} {load_unit}: {} events, start-up {:.3} s{inherited}, {} windows of {:.1} ms, shutdown {:.3} s",
        recording.load,
        recording.events,
        recording.startup_ns as f64 / 1e9,
        recording.windows,
        recording.window_ns as f64 / 1e6,
        recording.shutdown_ns as f64 / 1e9,
    )
}

/// Adds the errors of the model's resident memory under allocators; false if that was stopped.
fn check(
    model: &mut FittedModel,
    recordings: &[(PathBuf, f64)],
    allocators: &[String],
) -> anyhow::Result<bool> {
    let (stop, screen) = (stop_on_signals()?, Screen::new()?);
    let place = tempfile::tempdir()?;
    let path = place.path().join("model.hlm");
    write_model(&path, model)?;
    let question = ModelQuestion {
        model: &path,
        recordings,
        allocators,
        seed: DEFAULT_SEED,
        timeout_ns: nanoseconds(CHECK_WITHIN),
    };
    let Some(found) = check_model(&question, &stop, &|notice| screen.show(notice))? else {
        return Ok(false);
    };
    let as_check = |error: ResidentError| Check {
        what: format!("the model under {}", error.variant),
        peak_off: error.peak_off,
        mean_off: error.mean_off,
        load: error.load,
        kind: CheckKind::Resident,
    };
    model.add_checks(found.errors.into_iter().map(as_check).collect());
    found.outside_malloc.iter().for_each(|(load, bytes)| model.set_outside_malloc(*load, *bytes));
    for why in &found.notes {
        say!("heaplab: warning: memory outside malloc is not known, so heaps alone are predicted: {why}");
    }
    Ok(true)
}

/// How it is known what grows with the load.
fn what_grows(facts: &Facts) -> String {
    match (facts.life, facts.is_told()) {
        (Some(life), _) => format!("stated: lives {life} (1 in time, 0 in allocations)"),
        (None, true) => "told from recordings at several loads".to_owned(),
        (None, false) => "assumed: all but what start-up leaves; one load cannot tell".to_owned(),
    }
}

/// The gate's verdict for this many times the highest recorded load.
fn judge(model: &Model, times: f64) -> String {
    // Three times 0.1 is 0.3.
    let load = (times * model.own_load() * 1e9).round() / 1e9;
    let verdict = model.judge(&Question { load: Some(load), ..Question::default() }, 1.0);
    let said = match verdict.passes() {
        true => "passes".to_owned(),
        false => format!("does not pass: {}", verdict.reasons.join(", and ")),
    };
    format!("load {load}: {said} (band of {:.0} % to each side)", 100.0 * verdict.band)
}

/// The load of each recording.
fn loads(args: &Args) -> anyhow::Result<Vec<f64>> {
    match (args.load.len(), args.recordings.len()) {
        (0, 1) => Ok(vec![1.0]),
        (given, wanted) if given == wanted => Ok(args.load.clone()),
        (0, wanted) => {
            Err(Usage(format!("{wanted} recordings need --load with {wanted} loads, such as --load 1,3"))
                .into())
        }
        (given, wanted) => {
            Err(Usage(format!("--load has {given} loads for {wanted} recordings: give one for each")).into())
        }
    }
}

fn options(args: &Args) -> anyhow::Result<FitOptions> {
    let given = Options { overrides: args.overrides.clone(), ..Options::default() };
    let asked = Question::new("fit", &args.load_unit, &given).map_err(as_usage)?;
    if asked.load.is_some() || asked.thinned != 1 {
        return Err(
            Usage("fit --set takes life, startup and queue; a load is given by --load".to_owned()).into()
        );
    }
    Ok(FitOptions {
        load_unit: args.load_unit.clone(),
        size: args.size,
        is_anonymous: args.anonymous,
        life: asked.life,
        startup: asked.startup,
        queue: asked.queue,
    })
}

/// A recording, if its coverage allows making a model from it.
fn subject(path: &Path, load: f64) -> anyhow::Result<Subject<'static>> {
    let workload = catalog::find(&path.display().to_string()).map_err(of_catalog)?;
    if workload.is_model() {
        return Err(Usage(format!("{} is a load model: fit takes recordings (.hlt)", workload.name)).into());
    }
    if let Source::Trace { path } = &workload.source {
        check_coverage(path)?;
    }
    let open = move || {
        workload.open(&Options::default()).map_err(|error| match error {
            CatalogError::Trace(error) => ModelError::Trace(error),
            other => ModelError::Asked {
                name: workload.name.clone(),
                why: format!("{:#}", anyhow::Error::from(other)),
            },
        })
    };
    Ok(Subject { path: path.to_path_buf(), load, open: Box::new(open) })
}

/// Refuses a recording that failed, lost events or was cut off. Other gaps are warnings.
fn check_coverage(path: &Path) -> anyhow::Result<()> {
    let failed = |error: TraceError| as_usage(ModelError::Trace(error));
    let header = TraceReader::open(path).map_err(failed)?.header().clone();
    let Some(summary) = heaplab_trace::summary(path).map_err(failed)? else {
        return Err(Usage(format!("{}: it was cut off: record it again", path.display())).into());
    };
    for gap in Coverage::of(&header, &summary).gaps {
        if gap.is_missing_events() {
            return Err(Usage(format!("{}: {gap}", path.display())).into());
        }
        say!("heaplab: warning: {}: {gap}", path.display());
    }
    Ok(())
}

fn of_catalog(error: CatalogError) -> anyhow::Error {
    if error.is_usage() || matches!(error, CatalogError::Trace(_)) {
        return Usage(format!("{:#}", anyhow::Error::from(error))).into();
    }
    error.into()
}

fn as_usage(error: ModelError) -> anyhow::Error {
    if error.is_usage() { Usage(format!("{:#}", anyhow::Error::from(error))).into() } else { error.into() }
}
