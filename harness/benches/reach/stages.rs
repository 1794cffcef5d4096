//! How fast a log becomes a trace and a trace a program, and how much memory that takes at one length and
//! at four times that.
//!
//! Each stage runs in a process of its own, so that its peak (VmHWM) is its own; the made-up trace
//! has as many live objects at both lengths.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use heaplab_workloads::catalog::{self, Source};
use heaplab_workloads::import::{self, import};
use heaplab_workloads::program::{Order, ProgramFile, Windows, compile};
use heaplab_workloads::simulate::Options;

use crate::generated::Generated;
use crate::{Choices, log, median};

/// The first argument of a process that runs one stage.
const STAGE: &str = "stage";

/// Runs the stage that this process was started for; none if it was started for something else.
pub(crate) fn serve() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, stage, input, output] = &arguments[..] else { return None };
    if first != STAGE {
        return None;
    }
    match run_stage(stage, Path::new(input), Path::new(output)) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("reach: {stage}: {error:#}");
            Some(ExitCode::FAILURE)
        }
    }
}

/// Prints events, ns and the peak of resident memory in KiB.
fn run_stage(stage: &str, input: &Path, output: &Path) -> anyhow::Result<()> {
    #[allow(clippy::disallowed_methods)] // no worker: nobody supplies the clock
    let begin = Instant::now();
    let events = match stage {
        "import" => import(input, &import::Options::default(), output, &mut |_| {})?.summary.events,
        _ => {
            let order = if stage == "strict" { Order::Strict } else { Order::Causal };
            let mut stream = catalog::find(&input.to_string_lossy())?.open(&Options::default())?;
            let cut = Windows::new(order, Windows::EVENTS, false);
            let file = ProgramFile::create_in(output.parent().context("no folder")?)?;
            compile(&mut stream, &file, order, cut, &mut |_| {})?.events
        }
    };
    let ns = begin.elapsed().as_nanos();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    println!("{events} {ns} {}", line.trim().trim_end_matches(" kB"));
    Ok(())
}

/// A stage's rate in millions of events a second, and its peak memory in MiB.
fn measure(stage: &str, input: &Path, output: &Path) -> anyhow::Result<(f64, f64)> {
    let child = Command::new(std::env::current_exe()?)
        .args([STAGE, stage])
        .args([input, output])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(child.status.success(), "stage {stage} of {}: {}", input.display(), child.status);
    let text = String::from_utf8(child.stdout)?;
    let figures = text.split_ascii_whitespace().map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    let [events, ns, kib] = figures[..] else { anyhow::bail!("stage {stage} said {text:?}") };
    Ok((events / ns * 1e3, kib / 1024.0))
}

fn print_stage(stage: &str, what: &str, input: &Path, output: &Path, reps: usize) -> anyhow::Result<()> {
    let taken =
        (0..reps).map(|_| measure(stage, input, output)).collect::<anyhow::Result<Vec<(f64, f64)>>>()?;
    let rate = median(taken.iter().map(|one| one.0).collect());
    let most = taken.iter().map(|one| one.1).fold(0.0, f64::max);
    println!("{what:<32} {rate:>8.2} million events/s {most:>10.1} MiB at most");
    Ok(())
}

/// Both stages at two lengths, and with the trace that was named.
pub(crate) fn print(choices: &Choices) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let place = |name: &str| directory.path().join(name);
    let (trace, program) = (place("out.hlt"), place("out.program"));
    println!("\nimport, and compile from a trace file");
    println!("promised: 1.5 and 5 million events a second, in memory that does not grow with the length");
    // The longest shows what a table that doubled once hides; its rate is that of one repetition.
    for (length, reps) in [(1, choices.reps), (4, choices.reps), (16, 1)] {
        let text = place("made-up.log");
        let mut out = BufWriter::new(File::create(&text)?);
        log::write(&mut Generated::new(choices.shape(length)), &mut out)?;
        out.flush()?;
        let events = choices.shape(length).events;
        print_stage("import", &format!("import, {events} events"), &text, &trace, reps)?;
        for order in ["causal", "strict"] {
            let what = format!("compile {order}, {events} events");
            print_stage(order, &what, &trace, &program, reps)?;
        }
    }
    if let Some(name) = &choices.trace {
        let workload = catalog::find(name)?;
        let input = match &workload.source {
            Source::Log { path } => {
                print_stage("import", &format!("import, {}", workload.name), path, &trace, choices.reps)?;
                trace.clone()
            }
            Source::Trace { path } => path.clone(),
            // A model or a built-in log has no file to be timed.
            _ => return Ok(()),
        };
        for order in ["causal", "strict"] {
            let what = format!("compile {order}, {}", workload.name);
            print_stage(order, &what, &input, &program, choices.reps)?;
        }
    }
    Ok(())
}
