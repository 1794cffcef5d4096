//! `heaplab validate`: compares prediction with reality.
//!
//! The session makes both runs; here they become tables, validation.csv, validation-cpu.csv and validation.png. Results
//! go to standard output; the program's output, and all progress, to standard error.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heaplab_workloads::model::parse_load;
use heaplab_workloads::simulate::DEFAULT_SEED;

use super::exec::parse_ready;
use super::screen::Screen;
use super::{Outcome, argv_of_process, nanoseconds, parse_duration, stop_on_signals};
use crate::cli::stdout::stdout;
use crate::design::{ExecOptions, RunOptions};
use crate::predict::{PLANNED_FRACTION, validate};
use crate::report::{
    Analysis, Style, draw_validation, print_validation, validation_cpu_csv, validation_csv, write_report,
};
use crate::results::{self, Run, write_whole};
use crate::session::{Validation, validate_recording};

/// A program that is not ready by then is stopped.
const READY_WITHIN: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(super) struct Args {
    /// A recording of the command; if it does not exist, it is made like the samples (until the program exits, its time
    /// is over or its load ends), under the first variant without settings. Or a model of recordings (.hlm) that was
    /// fitted with --check
    #[arg(value_name = "FILE")]
    recording: PathBuf,
    /// Of a model: the load that the command is under, in the model's unit [default: the highest recorded]
    #[arg(long, value_name = "LOAD", value_parser = parse_load)]
    model_load: Option<f64>,
    /// Of a model: the length of its trace [default: that of its recordings]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    model_duration: Option<Duration>,
    /// A variant; once for each [default: ptmalloc2, jemalloc, tcmalloc, mimalloc]. The one that the recording was
    /// made under must be among them
    #[arg(short, long = "allocator", value_name = "VARIANT")]
    allocators: Vec<String>,
    /// Samples of each variant, of the replay and of the program
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    reps: u32,
    /// Where both runs and the validation go [default: FILE.validation]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Continue a validation that was stopped, given with the same arguments: what its two runs have is kept
    #[arg(long)]
    resume: bool,
    /// With --resume: continue a validation by another build of heaplab, or on another kind of machine, too; its runs then
    /// carry a warning
    #[arg(long, requires = "resume")]
    resume_anyway: bool,
    /// Continue with a recording that failed, lost events or explains too little of its process's memory
    #[arg(long)]
    despite_coverage: bool,
    /// A percentile over time to compare in addition to the 99th, which plans use; once for each
    #[arg(long = "percentile", value_name = "PERCENT", value_parser = parse_percentile)]
    percentiles: Vec<f64>,
    /// As in `heaplab exec`: end each sample this long after the program is ready
    #[arg(long = "for", id = "time", value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
    /// As in `heaplab exec`: when the program is ready
    #[arg(long, value_name = "TCP:PORT|LINE:REGEX", value_parser = parse_ready)]
    ready_when: Option<String>,
    /// As in `heaplab exec`: a command at whose exit the sample ends
    #[arg(long, value_name = "COMMAND")]
    load: Option<String>,
    /// As in `heaplab exec`: a command to run before each sample
    #[arg(long, value_name = "COMMAND")]
    prepare: Option<String>,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND", required = true)]
    command: Vec<OsString>,
}

/// Parses a percentile, such as 95 or 99.9, into a fraction.
fn parse_percentile(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end().parse::<f64>().ok();
    match number.filter(|percent| *percent > 0.0 && *percent < 100.0) {
        Some(percent) => Ok(percent / 100.0),
        None => Err(format!("{text:?} is no percentile: write it such as 95, above 0 and below 100")),
    }
}

/// Makes both runs and compares them.
pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let stop = stop_on_signals()?;
    let screen = Screen::new()?;
    let mut percentiles = vec![PLANNED_FRACTION];
    percentiles.extend(args.percentiles.iter().filter(|fraction| **fraction != PLANNED_FRACTION));
    let validation = validation(args);
    let Some((replays, program)) = validate_recording(&validation, &stop, &|notice| screen.show(notice))?
    else {
        return Ok(Outcome::Interrupted);
    };
    report(&validation.directory, &results::load(&replays)?, &results::load(&program)?, &percentiles)
}

fn validation(args: Args) -> Validation {
    let directory = args.output.unwrap_or_else(|| {
        let mut name = args.recording.clone().into_os_string();
        name.push(".validation");
        name.into()
    });
    Validation {
        recording: args.recording,
        set: args.model_load.map(|load| format!("load={load}")).into_iter().collect(),
        duration_ns: args.model_duration.map(nanoseconds),
        directory,
        options: RunOptions {
            seed: DEFAULT_SEED,
            reps: args.reps,
            allocators: args.allocators,
            timeout_ns: Some(nanoseconds(Duration::from_secs(600))),
            ..RunOptions::default()
        },
        exec: ExecOptions {
            command: args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
            name: None,
            prepare: args.prepare,
            ready_when: args.ready_when,
            ready_within_ns: nanoseconds(READY_WITHIN),
            // A recording ends with the last process too.
            until_last: args.time.is_none() && args.load.is_none(),
            load: args.load,
            time_ns: args.time.map(nanoseconds),
        },
        command: args.command,
        despite_coverage: args.despite_coverage,
        resume: args.resume,
        resume_anyway: args.resume_anyway,
        argv: argv_of_process(),
    }
}

fn report(directory: &Path, replay: &Run, exec: &Run, percentiles: &[f64]) -> anyhow::Result<Outcome> {
    let validation = validate(replay, exec, percentiles)?;
    let mut complete = true;
    for run in [replay, exec] {
        let analysis = Analysis::new(run, None)?;
        complete &= analysis.is_complete();
        write_report(&analysis)?;
    }
    let out = &mut stdout();
    print_validation(&validation, out, Style::of_stdout())?;
    let path = directory.join("validation.csv");
    write_whole(&path, &validation_csv(&validation)?)?;
    write_whole(&directory.join("validation-cpu.csv"), &validation_cpu_csv(&validation)?)?;
    writeln!(out, "{}", path.display())?;
    let plot = directory.join("validation.png");
    if draw_validation(&validation, &plot)? {
        writeln!(out, "{}", plot.display())?;
    }
    Ok(if validation.memory.is_empty() {
        Outcome::Failed
    } else if complete {
        Outcome::Done
    } else {
        Outcome::Incomplete
    })
}
