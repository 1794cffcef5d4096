//! `heaplab validate`: prediction against reality.
//!
//! recording (made if it is not there) -> replays (`heaplab run`) and the real program (`heaplab exec`), each a run of
//! its own in a directory -> tables, validation.csv, validation-cpu.csv, validation.png. Results go to standard output; the program's words, and all
//! progress, to standard error.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use heaplab_allocators::registry::DEFAULT_BASELINE;
use heaplab_allocators::{Injection, Variant};

use super::Outcome;
use super::exec::{ReadyWhen, parse_ready};
use super::run::{parse_timeout, stop_on_signals, stopped};
use crate::cli::stdout::stdout;
use crate::exec::{self, Ending, Input, Limits, find_program};
use crate::predict::validate;
use crate::report::{
    Analysis, Style, draw_validation, print_validation, validation_cpu_csv, validation_csv, write_report,
};
use crate::results::{self, Run, write_whole};

/// A recording is merged behind the program's end: this long it may take.
const MERGING: Duration = Duration::from_secs(600);

#[derive(clap::Args, Debug, Clone)]
pub(super) struct Args {
    /// A recording of the command; if it is not there, it is made as the samples are (until the program's end, its time or
    /// its load's end), under the first variant without settings
    #[arg(value_name = "FILE.hlt")]
    recording: PathBuf,
    /// A variant; once for each [default: ptmalloc2, jemalloc, tcmalloc, mimalloc]. That which the recording was made
    /// under must be among them
    #[arg(short, long = "allocator", value_name = "VARIANT")]
    allocators: Vec<String>,
    /// Samples of each variant, of the replay and of the program
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    reps: u32,
    /// Where both runs and the validation go [default: FILE.validation]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with a validation that was stopped, given with the same arguments: what its two runs have is kept
    #[arg(long)]
    resume: bool,
    /// As of `heaplab exec`: a sample ends this long after the program was ready
    #[arg(long = "for", id = "time", value_name = "TIME", value_parser = parse_timeout)]
    time: Option<Duration>,
    /// As of `heaplab exec`: when the program is ready
    #[arg(long, value_name = "TCP:PORT|LINE:REGEX", value_parser = parse_ready)]
    ready_when: Option<ReadyWhen>,
    /// As of `heaplab exec`: a command whose end ends the sample
    #[arg(long, value_name = "COMMAND")]
    load: Option<String>,
    /// As of `heaplab exec`: a command before each sample
    #[arg(long, value_name = "COMMAND")]
    prepare: Option<String>,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND", required = true)]
    command: Vec<OsString>,
}

/// Records if need be, replays, runs, and holds one against the other.
pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    // The replays take minutes: what cannot be run after them is said before.
    find_program(args.command.first().context("no command")?, std::env::var_os("PATH"))?;
    let stop = stop_on_signals()?;
    if !args.recording.exists() {
        if !record(&args, &stop)? {
            return Ok(Outcome::Interrupted);
        }
        anyhow::ensure!(
            args.recording.exists(),
            "{}: nothing was recorded: see above",
            args.recording.display()
        );
    }
    let directory = args.output.clone().unwrap_or_else(|| {
        let mut name = args.recording.clone().into_os_string();
        name.push(".validation");
        name.into()
    });
    std::fs::create_dir_all(&directory).with_context(|| format!("{}: cannot create", directory.display()))?;
    let (replay, exec) = (directory.join("replay"), directory.join("exec"));
    let mut command = own_command("run")?;
    if !add_common(&mut command, &args, &replay) {
        // Timers of allocators cost the program their time: so they must in the replay whose CPU time is compared.
        command.arg(&args.recording).args(["--pass", "throughput,memory", "--pace", "virtual"]);
    }
    run(&mut command, "replaying")?;
    if stopped(&stop) {
        return Ok(Outcome::Interrupted);
    }
    let mut command = own_command("exec")?;
    if !add_common(&mut command, &args, &exec) {
        add_program(&mut command, &args);
    }
    run(&mut command, "running")?;
    if stopped(&stop) {
        return Ok(Outcome::Interrupted);
    }
    report(&directory, &results::load(&replay)?, &results::load(&exec)?)
}

/// Records the program, loaded and ended as the samples are. False if it was stopped.
fn record(args: &Args, stop: &AtomicBool) -> anyhow::Result<bool> {
    let mut command: Vec<OsString> =
        vec![std::env::current_exe().context("cannot find the running program")?.into()];
    command.extend(["record", "-o"].map(OsString::from));
    command.push(args.recording.clone().into());
    command.push("--".into());
    command.extend(args.command.iter().cloned());
    if let Some(prepare) = &args.prepare {
        match exec::prepare(prepare, "", stop).context("--prepare")? {
            None => return Ok(false),
            Some(0) => {}
            Some(status) => anyhow::bail!("--prepare ended with status {status}: {prepare}"),
        }
    }
    say!("heaplab: recording");
    let reports = tempfile::NamedTempFile::new().context("a file for reports")?;
    let variant = recorded_under(args)?;
    let injection = Injection::without_probe(&variant).with_context(|| variant.label.clone())?;
    let program = exec::Program {
        command: &command,
        file: Path::new(&command[0]),
        variant: &variant,
        injection: &injection,
        report_file: reports.path(),
        input: Input::Empty,
        limits: &Limits {
            ready: args.ready_when.as_ref().map(|ready| ready.ready.clone()),
            ready_within: Duration::from_secs(60),
            time: args.time,
            load: args.load.clone(),
            timeout: None,
            grace: MERGING,
        },
        to_stderr: true,
    };
    let taken = exec::take_sample(&program, stop).context("recording")?;
    // There is no probe: the recording says which library served.
    if taken.as_ref().is_some_and(|taken| matches!(taken.ending, Ending::Ok | Ending::NotInjected)) {
        return Ok(true);
    }
    // It was cut short: nothing is to be predicted from it the next time.
    match std::fs::remove_file(&args.recording) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{}: cannot remove", args.recording.display()));
        }
        _ => {}
    }
    match taken {
        None => Ok(false),
        Some(taken) => anyhow::bail!("recording: {}", taken.detail.unwrap_or_default()),
    }
}

/// The variant that the program is recorded under, whatever malloc it is linked to: the first without settings.
fn recorded_under(args: &Args) -> anyhow::Result<Variant> {
    for text in &args.allocators {
        let variant = Variant::parse(text)?;
        if variant.settings.is_empty() {
            return Ok(variant);
        }
    }
    Ok(Variant::parse(DEFAULT_BASELINE)?)
}

/// What both runs are given. True where one was begun and goes on: it knows what it was to do.
fn add_common(command: &mut Command, args: &Args, output: &Path) -> bool {
    command.arg("-o").arg(output);
    if args.resume && output.join("run.toml").exists() {
        command.arg("--resume");
        return true;
    }
    for variant in &args.allocators {
        command.args(["-a", variant]);
    }
    command.arg("--reps").arg(args.reps.to_string());
    false
}

/// The program, and when a sample of it ends.
fn add_program(command: &mut Command, args: &Args) {
    let options = [
        ("--for", args.time.map(|time| format!("{}ms", time.as_millis()))),
        ("--ready-when", args.ready_when.as_ref().map(|ready| ready.text.clone())),
        ("--load", args.load.clone()),
        ("--prepare", args.prepare.clone()),
    ];
    for (name, value) in options {
        command.args(value.iter().flat_map(|value| [name, value]));
    }
    command.arg("--").args(&args.command);
}

fn own_command(name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find the running program")?);
    command.arg(name);
    Ok(command)
}

/// Runs a command of ours, its results to standard error. Samples that are not ok (3) are told by the tables.
fn run(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().context("standard error")?;
    command.stdout(Stdio::from(stderr)).stdin(Stdio::null());
    let status = command.status().with_context(|| format!("{what}: cannot start"))?;
    match status.code() {
        Some(0 | 3 | 130) => Ok(()),
        _ => anyhow::bail!("{what} failed ({status}): see above"),
    }
}

fn report(directory: &Path, replay: &Run, exec: &Run) -> anyhow::Result<Outcome> {
    let validation = validate(replay, exec)?;
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
