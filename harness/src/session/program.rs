//! A run of the real program: it runs under each variant and is measured from outside, each sample kept as it comes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heaplab_allocators::{Injection, Variant, hash_file};

use super::description::describe_variant;
use super::error::{SessionError, usage};
use super::input::choose_input;
use super::limited::check_group;
use super::notice::{Listener, Notice};
use super::opening::{Described, Ended, Kind, Opening, Start};
use super::program_rows::{disproven, make_rows, refused};
use super::variants::{check_baseline, parse_variants, prove_variants};
use crate::design::{Design, ExecOptions, Pass, RunOptions, Step};
use crate::exec::{
    self, CannotStart, Ending, Execution, GRACE, Input, Limits, Ready, ReportDirectory, find_program,
};
use crate::group::{Group, GroupLimits};
use crate::measure::Variation;
use crate::results::{RunDirectory, RunWorkload, Sample, SampleKey, Status};

/// How a run of a program ended if nothing failed.
#[derive(Debug)]
pub enum ProgramEnded {
    /// The program cannot be started: nothing was measured.
    CannotStart(CannotStart),
    /// It ended like any run.
    Ended {
        /// How.
        ended: Ended,
        /// The exit status of the program, if the run was a single sample and the program ended by itself.
        status: Option<u32>,
    },
}

/// A program and what is asked of it, fully checked.
struct Program {
    options: RunOptions,
    exec: ExecOptions,
    command: Vec<OsString>,
    name: String,
    file: PathBuf,
    variants: Vec<Variant>,
    design: Design,
    limits: Limits,
    /// Whether what it writes to its standard output goes to our standard error.
    to_stderr: bool,
}

/// Takes the samples of a run of a program, and keeps them in its directory.
///
/// For a new run, `command` is what [`ExecOptions::command`] says, in the system's own encoding. With
/// `to_stderr`, the run is a part of something larger: our standard output is used for that, the program's goes to our
/// standard error, and even a single sample does not use up our standard input.
///
/// # Errors
///
/// Those of [`super::measure_replays`].
pub fn measure_program(
    start: Start,
    command: Option<Vec<OsString>>,
    to_stderr: bool,
    stop: &AtomicBool,
    listener: Listener<'_>,
) -> Result<ProgramEnded, SessionError> {
    let opening = start.open(Kind::Program, listener)?;
    let exec = opening.options.exec.clone().ok_or_else(|| usage("this is no run of a program"))?;
    let command = match command {
        Some(command) => command,
        None => recorded_command(&exec)?,
    };
    let file = match find_program(
        command.first().map_or("".as_ref(), |word| word.as_os_str()),
        std::env::var_os("PATH"),
    ) {
        Ok(file) => file,
        Err(error) => return Ok(ProgramEnded::CannotStart(error)),
    };
    let program = Program::find(&opening.options, exec, command, file, to_stderr)?;
    opening.check_variants(&program.variants)?;
    check_group(&opening.options)?;
    let variations = prove_variants(&program.variants, None, listener)?;
    let mut directory = program.open_directory(opening, &variations, listener)?;
    let path = directory.path().to_path_buf();
    let all = program.design.steps(program.options.reps);
    let is_single = all.len() == 1;
    let missing: Vec<Step> =
        all.into_iter().filter(|step| !directory.done().contains(&program.key(step))).collect();
    // What is missing of several samples reads what the others read, even if it is one. With `to_stderr` the run is a
    // part of something larger, which runs the program more often.
    let input = choose_input(is_single && !to_stderr, listener)?;
    let sampling = Sampling::new(&program, &variations, input, stop, listener)?;
    let Some(last) = sampling.take_all(&missing, &mut directory)? else {
        return Ok(ProgramEnded::Ended { ended: Ended::Stopped(Some(path)), status: None });
    };
    directory.finish()?;
    Ok(ProgramEnded::Ended { ended: Ended::Finished(path), status: last.filter(|_| is_single) })
}

/// The command of a resumed run, as its run.toml states it.
fn recorded_command(exec: &ExecOptions) -> Result<Vec<OsString>, SessionError> {
    if let Some(word) = exec.command.iter().find(|word| word.contains(char::REPLACEMENT_CHARACTER)) {
        return Err(usage(format!(
            "{word:?} of the command was not UTF-8, and is not known exactly: the run cannot be resumed; start another"
        )));
    }
    Ok(exec.command.iter().map(OsString::from).collect())
}

impl Program {
    fn find(
        options: &RunOptions,
        exec: ExecOptions,
        command: Vec<OsString>,
        file: PathBuf,
        to_stderr: bool,
    ) -> Result<Program, SessionError> {
        let variants = parse_variants(&options.allocators)?;
        check_baseline(options.baseline.as_deref(), &variants)?;
        let own = file.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = exec.name.clone().or(own).unwrap_or_else(|| "program".to_owned());
        let ready = exec.ready_when.as_deref().map(str::parse::<Ready>).transpose().map_err(usage)?;
        if let Some(text) =
            exec.ready_when.as_ref().filter(|_| ready.as_ref().is_some_and(Ready::is_met_already))
        {
            return Err(SessionError::Failed {
                what: format!("{text} would not tell when {name} is ready"),
                source: "something listens on this port already; stop it, or choose another port".into(),
            });
        }
        let limits = Limits {
            ready,
            ready_within: Duration::from_nanos(exec.ready_within_ns),
            time: exec.time_ns.map(Duration::from_nanos),
            load: exec.load.clone(),
            timeout: options.timeout_ns.map(Duration::from_nanos),
            until_last: exec.until_last,
            grace: GRACE,
        };
        let design = Design {
            seed: options.seed,
            workloads: vec![name.clone()],
            passes: options.passes.clone(),
            variants: variants.len(),
            harness: None,
            shard: None,
        };
        let options = options.clone();
        Ok(Program { options, exec, command, name, file, variants, design, limits, to_stderr })
    }

    fn key(&self, step: &Step) -> SampleKey {
        SampleKey {
            block: step.block,
            workload: self.name.clone(),
            variant: self.variants[step.variant].label.clone(),
            pass: step.pass,
        }
    }

    /// Makes the run's directory, or opens the resumed one.
    fn open_directory(
        &self,
        opening: Opening,
        variations: &[Variation],
        listener: Listener<'_>,
    ) -> Result<RunDirectory, SessionError> {
        let workloads = vec![RunWorkload {
            name: self.name.clone(),
            source: format!("program {}", self.file.display()),
            // We may be allowed to run a program but not to read it.
            program_hash: hash_file(&self.file).ok(),
            has_times: true,
            ..RunWorkload::default()
        }];
        let mut notes = Vec::new();
        if !opening.is_resumed() && std::env::var_os("LD_PRELOAD").is_some_and(|value| !value.is_empty()) {
            let note = "LD_PRELOAD was set: what it names is not preloaded in the samples".to_owned();
            listener(&Notice::Say(note.clone()));
            notes.push(note);
        }
        let variants = variations.iter().map(describe_variant).collect();
        let described = Described { workloads, trees: Vec::new() };
        opening.open_directory(&self.name, notes, described, variants, listener)
    }
}

/// A run whose directory is open.
struct Sampling<'a> {
    program: &'a Program,
    variations: &'a [Variation],
    /// Where the processes of a sample report which malloc serves them.
    reports: ReportDirectory,
    input: Input,
    stop: &'a AtomicBool,
    listener: Listener<'a>,
}

impl<'a> Sampling<'a> {
    fn new(
        program: &'a Program,
        variations: &'a [Variation],
        input: Input,
        stop: &'a AtomicBool,
        listener: Listener<'a>,
    ) -> Result<Sampling<'a>, SessionError> {
        let reports =
            ReportDirectory::create().map_err(SessionError::failed("cannot make a temporary directory"))?;
        Ok(Sampling { program, variations, reports, input, stop, listener })
    }

    fn create_report_file(&self, name: &str) -> Result<PathBuf, SessionError> {
        self.reports.create_file(name).map_err(SessionError::failed("cannot make a file of reports"))
    }

    /// Takes samples and keeps each as it comes. None if the run was stopped, otherwise the exit status of
    /// the last program that ended by itself.
    fn take_all(
        &self,
        steps: &[Step],
        directory: &mut RunDirectory,
    ) -> Result<Option<Option<u32>>, SessionError> {
        let run_id = directory.file().run_id.clone();
        let name = &self.program.name;
        let mut last = None;
        for (at, step) in steps.iter().enumerate() {
            let variation = &self.variations[step.variant];
            let label = &variation.variant.label;
            (self.listener)(&Notice::Sampling {
                workload: name,
                pass: step.pass,
                variant: label,
                number: at as u64 + 1,
                count: Some(steps.len() as u64),
            });
            let report_file = self.create_report_file(&format!("reports-{at}"))?;
            let Some(taken) = self.take_one(variation, &report_file)? else { return Ok(None) };
            let options = &self.program.options;
            let rows =
                make_rows(&run_id, name, step, variation, options.group.as_ref(), options.count_from, &taken);
            directory.append(&rows)?;
            if let Some(detail) = &rows.sample.status_detail {
                let word = if rows.sample.status == Status::Ok { "note" } else { "not ok" };
                (self.listener)(&Notice::Say(format!("{name} under {label}: {word}: {detail}")));
            }
            last = taken.exit_status;
            if self.stop.load(Ordering::Relaxed) && at + 1 < steps.len() {
                return Ok(None);
            }
        }
        Ok(Some(last))
    }

    /// Takes one sample; a variant that cannot be measured and a preparation that fails also count as
    /// samples.
    fn take_one(&self, variation: &Variation, report_file: &Path) -> Result<Option<Execution>, SessionError> {
        let program = self.program;
        let proven = match &variation.proven {
            Ok(proven) => proven,
            Err(unproven) => return Ok(Some(refused(unproven.reason.clone()))),
        };
        if let Some(what) = proven.unknown_setting() {
            return Ok(Some(refused(what)));
        }
        if variation.variant.cpus().is_some() {
            let what = "process.cpus is for replays: a real program sees this machine's CPUs";
            return Ok(Some(refused(what.to_owned())));
        }
        let injection = match Injection::new(&variation.variant, report_file) {
            Ok(injection) => injection,
            Err(error) => return Ok(Some(refused(error.to_string()))),
        };
        let label = &variation.variant.label;
        if let Some(prepare) = &program.exec.prepare {
            match exec::prepare(prepare, label, self.stop).map_err(SessionError::failed("--prepare"))? {
                None => return Ok(None),
                Some(0) => {}
                Some(status) => {
                    return Ok(Some(refused(format!("--prepare exited with status {status}: {prepare}"))));
                }
            }
        }
        if let Err(what) = proven.find_library() {
            return Ok(Some(Execution { ending: Ending::NotInjected, ..refused(what) }));
        }
        let limits = program.options.group.as_ref();
        let group = limits
            .map(Group::create)
            .transpose()
            .map_err(SessionError::failed("each sample's own control group"))?;
        let started = exec::Program {
            command: &program.command,
            file: &program.file,
            variant: &variation.variant,
            injection: &injection,
            report_file,
            input: self.input.clone(),
            limits: &program.limits,
            group: group.as_ref(),
            to_stderr: program.to_stderr,
            announcement: None,
        };
        let taken = exec::take_sample(&started, self.stop)
            .map_err(SessionError::failed(format!("{} under {label}", program.name)))?;
        // The probe reports paths: another file may have taken the library's place while the program ran.
        Ok(taken.map(|taken| match proven.find_library() {
            Ok(_) => taken,
            Err(what) => disproven(taken, what),
        }))
    }
}

/// Takes samples of a program one at a time, each under its own limits, and keeps nothing of them.
pub(super) struct ProgramTrials<'a> {
    program: Program,
    variations: Vec<Variation>,
    input: Input,
    stop: &'a AtomicBool,
    listener: Listener<'a>,
}

impl<'a> ProgramTrials<'a> {
    pub(super) fn find(
        options: &RunOptions,
        command: &[OsString],
        stop: &'a AtomicBool,
        listener: Listener<'a>,
    ) -> Result<ProgramTrials<'a>, SessionError> {
        let exec = options.exec.clone().ok_or_else(|| usage("this is no run of a program"))?;
        let name = command.first().map_or("".as_ref(), |word| word.as_os_str());
        let file = find_program(name, std::env::var_os("PATH"))?;
        let program = Program::find(options, exec, command.to_vec(), file, true)?;
        let variations = prove_variants(&program.variants, None, listener)?;
        let input = choose_input(false, listener)?;
        Ok(ProgramTrials { program, variations, input, stop, listener })
    }

    pub(super) fn labels(&self) -> Vec<String> {
        self.variations.iter().map(|variation| variation.variant.label.clone()).collect()
    }

    /// Takes a sample; none if it was stopped.
    pub(super) fn take(
        &mut self,
        variant: usize,
        limits: GroupLimits,
    ) -> Result<Option<Sample>, SessionError> {
        self.program.options.group = Some(limits);
        let input = self.input.clone();
        let sampling = Sampling::new(&self.program, &self.variations, input, self.stop, self.listener)?;
        let report_file = sampling.create_report_file("reports")?;
        let variation = &self.variations[variant];
        let Some(taken) = sampling.take_one(variation, &report_file)? else { return Ok(None) };
        let step = Step { block: 0, workload: 0, pass: Pass::Exec, variant };
        Ok(Some(make_rows("", &self.program.name, &step, variation, Some(&limits), None, &taken).sample))
    }
}
