//! `heaplab exec`: run the real program under each variant, and measure it from outside.
//!
//! arguments -> variants (proven) -> samples in randomised blocks -> the run's directory -> report. Standard output
//! belongs to the program: all words of heaplab's own go to standard error.

mod rows;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Parser;
use heaplab_allocators::{Injection, Variant, hash_file};
use heaplab_workloads::simulate::DEFAULT_SEED;

use super::run::plan::parse_variants;
use super::run::prepare::prove_variants;
use super::run::record::{check_unchanged, describe_variant, machine_warnings};
use super::run::{parse_timeout, stop_on_signals, stopped, usage};
use super::{Cli, Command, Outcome};
use crate::doctor::Machine;
use crate::exec::{self, Execution, Input, Limits, Ready, find_program};
use crate::measure::Variation;
use crate::plan::{Pace, Pass, Step, steps};
use crate::report::{Analysis, Style, answer, print_table, write_report};
use crate::results::{
    self, RunDirectory, RunExec, RunFile, RunOptions, RunWorkload, SCHEMA, SampleKey, Status,
};

#[derive(clap::Args, Debug, Clone)]
pub(super) struct Args {
    /// An allocator, ALLOCATOR:SETTING=VALUE,..., or NAME=/path/to/library.so; once for each variant
    /// [default: ptmalloc2, jemalloc, tcmalloc, mimalloc]
    #[arg(short, long = "allocator", value_name = "VARIANT")]
    allocators: Vec<String>,
    /// Samples of each variant; 10 make a verdict, fewer than 6 none
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    reps: u32,
    /// Where the results go [default: results/<UTC time>-<program>]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with the run in DIR: take what is missing or failed
    #[arg(long, requires = "output")]
    resume: bool,
    /// What the program is called in results [default: its file's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A sample ends when the program does [default, without --for and --load]
    #[arg(long, conflicts_with_all = ["time", "load"])]
    until_exit: bool,
    /// A sample ends this long after the program was ready, such as 10min: it gets SIGTERM, and SIGKILL 10 s later
    #[arg(long = "for", id = "time", value_name = "TIME", value_parser = parse_timeout)]
    time: Option<Duration>,
    /// The program is ready when it accepts connections on a port of the loopback interface (TCP:PORT), or when it has
    /// written a line (LINE:REGEX) [default: at once]
    #[arg(long, value_name = "TCP:PORT|LINE:REGEX", value_parser = parse_ready)]
    ready_when: Option<ReadyWhen>,
    /// A program that is not ready by then is ended
    #[arg(long, value_name = "TIME", default_value = "1min", value_parser = parse_timeout)]
    ready_within: Duration,
    /// A command of the shell that is started when the program is ready, and whose end ends the sample
    #[arg(long, value_name = "COMMAND")]
    load: Option<String>,
    /// A command of the shell before each sample, unmeasured: it puts back what the last sample changed
    #[arg(long, value_name = "COMMAND")]
    prepare: Option<String>,
    /// A sample that takes longer is ended [default: none is]
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    timeout: Option<Duration>,
    /// Decides the order of the variants
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// The variant that ratios refer to [default: ptmalloc2, if it is among the variants]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "resume")]
    command: Vec<OsString>,
}

/// A condition with the text that it was written as.
#[derive(Debug, Clone)]
pub(super) struct ReadyWhen {
    pub(super) text: String,
    pub(super) ready: Ready,
}

pub(super) fn parse_ready(text: &str) -> Result<ReadyWhen, String> {
    Ok(ReadyWhen { text: text.to_owned(), ready: text.parse()? })
}

/// What is asked for.
struct Plan {
    args: Args,
    argv: Vec<String>,
    name: String,
    file: PathBuf,
    variants: Vec<Variant>,
    limits: Limits,
}

/// Runs, reports, and says what came of it.
pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let stop = stop_on_signals()?;
    let output = args.output.clone();
    let (args, argv) = if args.resume { resumed(&args)? } else { (args, argv_of_process()) };
    let command = args.command.first().context("no command")?;
    let file = match find_program(command, std::env::var_os("PATH")) {
        Ok(file) => file,
        Err(error) => {
            say!("heaplab: {error}");
            return Ok(Outcome::Passed(error.code()));
        }
    };
    let plan = Plan::new(args, argv, file)?;
    if let Some(ready) = plan.args.ready_when.as_ref().filter(|ready| ready.ready.is_met_already()) {
        anyhow::bail!(
            "{}: something listens on this port already, so it would not tell when {} is ready; end it, or choose \
             another port",
            ready.text,
            plan.name
        );
    }
    let variations = prove_variants(&plan.variants, None)?;
    let mut directory = open_directory(&plan, output.as_deref(), &variations)?;
    let all = steps(plan.args.seed, plan.args.reps, 1, &[Pass::Exec], plan.variants.len());
    let missing: Vec<Step> =
        all.iter().filter(|step| !directory.done().contains(&plan.key(step))).copied().collect();
    let Some(last) = take_samples(&plan, &variations, &missing, &mut directory, &stop)? else {
        let path = directory.path().display();
        say!("heaplab: stopped; what was measured is kept. Go on with: heaplab exec --resume -o {path}");
        return Ok(Outcome::Interrupted);
    };
    directory.finish()?;
    let path = directory.path().to_path_buf();
    drop(directory);
    let outcome = report(&path, plan.args.baseline.as_deref())?;
    let single = all.len() == 1;
    Ok(match last.filter(|status| single && *status != 0) {
        Some(status) => Outcome::Passed(u8::try_from(status).unwrap_or(u8::MAX)),
        None => outcome,
    })
}

fn argv_of_process() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// The arguments of the run in the directory, which its run.toml holds.
fn resumed(args: &Args) -> anyhow::Result<(Args, Vec<String>)> {
    let directory = args.output.as_deref().context("--resume needs -o")?;
    if !args.command.is_empty() {
        return Err(usage("to go on with a run, give no other arguments than --resume -o"));
    }
    let run = results::read_run_file(directory)?;
    match Cli::try_parse_from(&run.argv).map(|cli| cli.command) {
        Ok(Command::Exec(recorded)) => Ok((Args { resume: true, ..recorded }, run.argv)),
        _ => anyhow::bail!("{}: its argv is not a `heaplab exec`", directory.join("run.toml").display()),
    }
}

impl Plan {
    fn new(args: Args, argv: Vec<String>, file: PathBuf) -> anyhow::Result<Plan> {
        let variants = parse_variants(&args.allocators)?;
        if let Some(baseline) = &args.baseline
            && !variants.iter().any(|variant| variant.label == *baseline)
        {
            let labels: Vec<&str> = variants.iter().map(|variant| variant.label.as_str()).collect();
            return Err(usage(format!(
                "baseline {baseline:?} is none of the variants {}",
                labels.join(", ")
            )));
        }
        let limits = Limits {
            ready: args.ready_when.as_ref().map(|ready| ready.ready.clone()),
            ready_within: args.ready_within,
            time: args.time,
            load: args.load.clone(),
            timeout: args.timeout,
            grace: exec::GRACE,
        };
        let own = file.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = args.name.clone().or(own).unwrap_or_else(|| "program".to_owned());
        Ok(Plan { args, argv, name, file, variants, limits })
    }

    fn key(&self, step: &Step) -> SampleKey {
        SampleKey {
            block: step.block,
            workload: self.name.clone(),
            variant: self.variants[step.variant].label.clone(),
            pass: step.pass,
        }
    }
}

/// Makes the run's directory, or opens the one to go on with.
fn open_directory(
    plan: &Plan,
    output: Option<&Path>,
    variations: &[Variation],
) -> anyhow::Result<RunDirectory> {
    let workloads = vec![RunWorkload {
        name: plan.name.clone(),
        source: format!("program {}", plan.file.display()),
        // A program that may be run may be one that must not be read.
        program_hash: hash_file(&plan.file).ok(),
        has_times: true,
        ..RunWorkload::default()
    }];
    if let Some(directory) = output.filter(|_| plan.args.resume) {
        let run = RunDirectory::resume(directory)?;
        check_unchanged(directory, run.file(), &workloads, variations)?;
        return Ok(run);
    }
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = plan.name.chars().map(plain).collect();
    let run_id = format!("{}-{name}", now.replace(['-', ':'], ""));
    let directory = output.map_or_else(|| Path::new("results").join(&run_id), Path::to_path_buf);
    let mut warnings = machine_warnings();
    if std::env::var_os("LD_PRELOAD").is_some_and(|value| !value.is_empty()) {
        warnings.push("LD_PRELOAD was set: what it names is not preloaded in the samples".to_owned());
    }
    for warning in &warnings {
        say!("heaplab: {warning}");
    }
    let args = &plan.args;
    let command = args.command.iter().map(|word| word.to_string_lossy().into_owned());
    let file = RunFile {
        schema: SCHEMA,
        heaplab_version: env!("CARGO_PKG_VERSION").to_owned(),
        run_id,
        started_utc: now,
        argv: plan.argv.clone(),
        seed: args.seed,
        finished: false,
        warnings,
        options: RunOptions {
            passes: vec![Pass::Exec],
            reps: args.reps,
            order: None,
            pace: Some(Pace::Times(1.0).to_string()),
            touch: String::new(),
            cpus: None,
            checkpoints: 0,
            window_events: 0,
            timeout_s: args.timeout.map_or(0, |timeout| timeout.as_secs()),
            exec: Some(RunExec {
                command: command.collect(),
                prepare: args.prepare.clone(),
                ready_when: args.ready_when.as_ref().map(|ready| ready.text.clone()),
                load: args.load.clone(),
                time_ns: args.time.map(|time| time.as_nanos() as u64),
            }),
        },
        workloads,
        variants: variations.iter().map(describe_variant).collect(),
        machine: toml::Table::try_from(Machine::read()).context("the machine's facts")?,
    };
    Ok(RunDirectory::create(&directory, file)?)
}

/// Takes the samples of `steps` and keeps each as it comes. None if the run was stopped, else the exit status of the
/// last program that ended by itself.
fn take_samples(
    plan: &Plan,
    variations: &[Variation],
    steps: &[Step],
    directory: &mut RunDirectory,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Option<u32>>> {
    let reports = tempfile::Builder::new().prefix("heaplab-").tempdir().context("a directory for reports")?;
    let input = choose_input(steps.len());
    let run_id = directory.file().run_id.clone();
    let mut last = None;
    for (at, step) in steps.iter().enumerate() {
        let variation = &variations[step.variant];
        let label = &variation.variant.label;
        say!("heaplab: {} under {label}, sample {} of {}", plan.name, at + 1, steps.len());
        let report_file = reports.path().join(format!("reports-{at}"));
        std::fs::File::create(&report_file).context("a file for reports")?;
        let Some(taken) = take_one(plan, variation, &report_file, &input, stop)? else { return Ok(None) };
        let rows = rows::rows(&run_id, &plan.name, step, variation, &taken);
        directory.append(&rows)?;
        if let Some(detail) = &rows.sample.status_detail {
            let word = if rows.sample.status == Status::Ok { "note" } else { "not ok" };
            say!("heaplab: {} under {label}: {word}: {detail}", plan.name);
        }
        last = taken.exit_status;
        if stopped(stop) && at + 1 < steps.len() {
            return Ok(None);
        }
    }
    Ok(Some(last))
}

/// Takes one sample; a variant that cannot be measured, and a preparation that fails, are samples too.
fn take_one(
    plan: &Plan,
    variation: &Variation,
    report_file: &Path,
    input: &Input,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Execution>> {
    let unknown = variation.proven.as_ref().map(|proven| proven.unknown_setting());
    match unknown {
        Ok(None) => {}
        Ok(Some(what)) => return Ok(Some(rows::refused(what))),
        Err(what) => return Ok(Some(rows::refused(what.clone()))),
    }
    let injection = match Injection::new(&variation.variant, report_file) {
        Ok(injection) => injection,
        Err(error) => return Ok(Some(rows::refused(error.to_string()))),
    };
    let label = &variation.variant.label;
    if let Some(prepare) = &plan.args.prepare {
        match exec::prepare(prepare, label, stop).context("--prepare")? {
            None => return Ok(None),
            Some(0) => {}
            Some(status) => {
                return Ok(Some(rows::refused(format!("--prepare ended with status {status}: {prepare}"))));
            }
        }
    }
    let program = exec::Program {
        command: &plan.args.command,
        file: &plan.file,
        variant: &variation.variant,
        injection: &injection,
        report_file,
        input: input.clone(),
        limits: &plan.limits,
        to_stderr: false,
    };
    exec::take_sample(&program, stop).with_context(|| format!("{} under {label}", plan.name))
}

/// Every sample must read the same: one alone reads our standard input itself, several read a file from its begin.
fn choose_input(samples: usize) -> Input {
    if samples == 1 {
        return Input::Inherited;
    }
    match std::fs::read_link("/proc/self/fd/0").and_then(|path| Ok((std::fs::metadata(&path)?, path))) {
        Ok((metadata, path)) if metadata.is_file() => Input::File(path),
        Ok((metadata, _)) if metadata.is_dir() => Input::Empty,
        _ => {
            use std::os::unix::fs::FileTypeExt;
            let kind = std::fs::metadata("/proc/self/fd/0").map(|metadata| metadata.file_type());
            if kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket()) {
                say!(
                    "heaplab: standard input is a pipe, which only one sample could read: all get none; give a file"
                );
            }
            Input::Empty
        }
    }
}

/// Reports on a finished run, from its files, to standard error.
fn report(path: &Path, baseline: Option<&str>) -> anyhow::Result<Outcome> {
    let run = results::load(path)?;
    let analysis = Analysis::new(&run, baseline)?;
    let report = write_report(&analysis)?;
    for note in &report.notes {
        say!("heaplab: {note}");
    }
    let out = &mut std::io::stderr().lock();
    print_table(&analysis, out, Style { framed: false, colour: false })?;
    for sentence in answer(&analysis).all() {
        writeln!(out, "{sentence}")?;
    }
    for plot in &report.plots {
        writeln!(out, "{}", plot.path.display())?;
    }
    writeln!(out, "{}", path.display())?;
    Ok(if analysis.is_complete() { Outcome::Done } else { Outcome::Incomplete })
}
