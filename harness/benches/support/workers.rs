//! Samples for benchmarks, taken as `heaplab run` takes them: a worker process for each, which is the
//! benchmark's own program again.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use heaplab::design::{Pace, Pass, ReplayOptions, RunOptions, Step, Touch};
use heaplab::measure::{
    Campaign, Footprints, Load, Loads, MeasureError, Programs, Subject, Taken, Variation,
};
use heaplab::worker::Status;
use heaplab_allocators::registry::DIRECTORY_VARIABLE;
use heaplab_allocators::{Variant, probe};
use heaplab_workloads::program::{Order, ProgramInfo, Windows};
use heaplab_workloads::stream::RecordStream;

use crate::libraries;

/// Does what a worker or a trial run was started for; none in the process that cargo started.
pub(crate) fn serve() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["warm", need] => heaplab::worker::back_memory(need).map_err(anyhow::Error::msg),
        ["worker"] => heaplab::worker::main().map_err(anyhow::Error::msg),
        ["probe", "--", spec] => answer_probe(spec),
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

fn answer_probe(spec: &str) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(&probe::answer(&Variant::parse(spec)?)?)?);
    Ok(())
}

/// Builds the preload libraries and lets this process and its children know where they lie.
///
/// Must be called before the process has a second thread.
#[allow(unsafe_code)] // a variable is the one way by which libraries are found in every process alike
pub(crate) fn find_libraries() {
    let directory = libraries::directory();
    // SAFETY: no other thread could read the environment at the same time.
    unsafe { std::env::set_var(DIRECTORY_VARIABLE, directory) };
}

/// The variant of that text, proven by a trial run.
pub(crate) fn vary(spec: &str) -> anyhow::Result<Variation> {
    let variant = Variant::parse(spec)?;
    let trial = probe::command(&std::env::current_exe()?, &variant);
    let proven = probe::prove(trial, &variant, None)?;
    proven.loaded.matches(&variant.expectation()).map_err(anyhow::Error::msg)?;
    Ok(Variation { variant, proven: Ok(proven) })
}

/// What a sample is taken of, besides the variant.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// The number that [`Workers::add`] gave.
    pub(crate) workload: usize,
    pub(crate) order: Order,
    pub(crate) pass: Pass,
    pub(crate) touch: Touch,
}

/// Compiled workloads, and samples of them at pace `max`.
pub(crate) struct Workers {
    programs: Programs,
    subjects: Vec<Subject>,
    footprints: Footprints,
    machine_cpus: u32,
}

impl Workers {
    pub(crate) fn new() -> anyhow::Result<Workers> {
        let machine_cpus = u32::try_from(std::thread::available_parallelism()?.get())?;
        Ok(Workers {
            programs: Programs::new()?,
            subjects: Vec::new(),
            footprints: Footprints::default(),
            machine_cpus,
        })
    }

    /// Compiles a workload for one order.
    pub(crate) fn add(
        &mut self,
        name: &str,
        stream: &mut dyn RecordStream,
        order: Order,
    ) -> anyhow::Result<(usize, ProgramInfo)> {
        let number = self.subjects.len();
        let cut = Windows::new(order, Windows::EVENTS, false);
        let (_, info) = &**self.programs.compile(number, name, stream, cut, order, &mut |_| {})?;
        self.subjects.push(Subject { name: name.to_owned(), has_times: info.has_times });
        Ok((number, info.clone()))
    }

    /// Takes one sample, and reads a figure of it.
    ///
    /// # Errors
    ///
    /// Also where the sample is not ok, or has no such figure: a benchmark has no use for it.
    pub(crate) fn take<T>(
        &self,
        wanted: Wanted,
        variation: &Variation,
        figure: impl FnOnce(&Taken<'_>) -> Option<T>,
    ) -> anyhow::Result<T> {
        let (options, replay) = options(wanted);
        let campaign = Campaign {
            options: &options,
            replay: &replay,
            subjects: &self.subjects,
            variations: std::slice::from_ref(variation),
            loads: self,
            folder: self.programs.folder(),
            footprints: &self.footprints,
            machine_cpus: self.machine_cpus,
            stop: &AtomicBool::new(false),
        };
        let step = Step { block: 0, workload: wanted.workload, pass: wanted.pass, variant: 0 };
        let label = &variation.variant.label;
        let (mut read, mut figure) = (None, Some(figure));
        campaign.run(
            [step],
            |_| {},
            |taken| {
                if taken.reply.status != Status::Ok {
                    let detail = taken.reply.status_detail.unwrap_or_default();
                    bail!("{label}: status {:?}: {detail}", taken.reply.status);
                }
                read = figure.take().and_then(|figure| figure(&taken));
                Ok(())
            },
        )?;
        read.with_context(|| format!("{label}: the worker did not measure what was wanted"))
    }
}

/// A benchmark has one load.
impl Loads for Workers {
    fn load(&self, step: &Step, order: Order, timed: bool) -> Result<Option<Load>, MeasureError> {
        let workload = || self.subjects[step.workload].name.clone();
        let program = self.programs.get(step.workload, order, timed).cloned();
        let program = program.ok_or_else(|| MeasureError::NoProgram { workload: workload(), order })?;
        Ok(Some(Load { program, seed: None, varies: false }))
    }
}

/// The duration of a replay in ns.
pub(crate) fn wall_ns(taken: &Taken<'_>) -> Option<u64> {
    taken.reply.measured.wall_ns
}

fn options(wanted: Wanted) -> (RunOptions, ReplayOptions) {
    let options = RunOptions {
        passes: vec![wanted.pass],
        reps: 1,
        timeout_ns: Some(300_000_000_000),
        ..RunOptions::default()
    };
    let replay = ReplayOptions {
        order: Some(wanted.order),
        pace: Some(Pace::Max),
        touch: wanted.touch,
        checkpoints: 100,
        ..ReplayOptions::default()
    };
    (options, replay)
}
