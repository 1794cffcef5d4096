//! The workloads of a run as programs: logs imported, and traces compiled for every order that a pass needs.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use heaplab_trace::{Gap, Header, Record};
use heaplab_workloads::catalog::{Source, Workload};
use heaplab_workloads::program::{Order, Windows, least_bytes};
use heaplab_workloads::simulate::Options;
use heaplab_workloads::stream::{RecordStream, StreamError};

use super::error::{SessionError, usage};
use super::notice::{Listener, Notice};
use super::recording::{Recording, read_coverage};
use super::replays::Replays;
use super::trees::own_gaps;
use crate::design::Pass;
use crate::measure::{Campaign, Footprints, Loads, Programs, Subject, Variation};

/// The workloads of a run as programs.
pub(super) struct Compiled {
    pub(super) subjects: Vec<Subject>,
    /// What each workload's source lacks: [`Header::lacks`].
    pub(super) lacks: Vec<Vec<String>>,
    /// Why nothing should be predicted from a workload's recording:
    /// [`Coverage::sentences`](heaplab_trace::Coverage).
    pub(super) gaps: Vec<Vec<String>>,
    pub(super) programs: Programs,
    /// What is known about the recorded processes, one per workload.
    pub(super) recordings: Vec<Recording>,
    /// How much memory their replays use, as that becomes known.
    pub(super) footprints: Footprints,
}

impl Compiled {
    /// The campaign that takes samples of these programs on this machine.
    pub(super) fn campaign<'a>(
        &'a self,
        replays: &'a Replays,
        variations: &'a [Variation],
        loads: &'a dyn Loads,
        stop: &'a AtomicBool,
    ) -> Campaign<'a> {
        Campaign {
            options: &replays.options,
            replay: &replays.replay,
            subjects: &self.subjects,
            variations,
            loads,
            folder: self.programs.folder(),
            machine_cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
            footprints: &self.footprints,
            stop,
        }
    }
}

/// Compiles each workload for every order and cut that its passes need, a load model at its load in the first
/// block; none if the run was stopped.
pub(super) fn compile_workloads(
    replays: &Replays,
    stop: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Option<Compiled>, SessionError> {
    let compiled = Compiled {
        subjects: Vec::new(),
        lacks: Vec::new(),
        gaps: Vec::new(),
        programs: Programs::new()?,
        recordings: Vec::new(),
        footprints: Footprints::default(),
    };
    let mut compiler = Compiler { replays, stop, listener, compiled };
    for (index, (workload, options)) in replays.workloads.iter().enumerate() {
        let imported = compiler.import_once(index, workload, options)?;
        let workload = imported.as_ref().map_or(workload, |(imported, _)| imported);
        if !compiler.compile_workload(index, workload, options)? {
            return Ok(None);
        }
    }
    Ok(Some(compiler.compiled))
}

/// Compiles a run's workloads, one after another.
struct Compiler<'a> {
    replays: &'a Replays,
    stop: &'a AtomicBool,
    listener: Listener<'a>,
    compiled: Compiled,
}

impl Compiler<'_> {
    /// The trace of a workload that is a log, from which every program is compiled, and its file: the file
    /// loses its name as soon as it is complete, so that it disappears when the run ends, however it ends.
    fn import_once(
        &self,
        index: usize,
        workload: &Workload,
        options: &Options,
    ) -> Result<Option<(Workload, File)>, SessionError> {
        let folder = self.compiled.programs.folder();
        // A directory is a raw recording, which may have further traces beside this one.
        let directory = matches!(&workload.source, Source::Log { path } if path.is_dir())
            .then(|| tempfile::Builder::new().prefix("heaplab-").tempdir_in(folder))
            .transpose()
            .map_err(SessionError::failed(format!("cannot make a directory in {}", folder.display())))?;
        let place = directory.as_ref().map_or(folder, |directory| directory.path());
        let trace = place.join(format!("heaplab-{}-{index}.hlt", std::process::id()));
        let name = workload.name.as_str();
        let mut show = |progress| (self.listener)(&Notice::Importing { workload: name, progress });
        let imported = workload.import_as(options, &trace, &mut show);
        (self.listener)(&Notice::StageEnded);
        let Some(imported) = imported? else { return Ok(None) };
        for warning in &imported.warnings {
            self.say(format!("{name}: {warning}"));
        }
        let file =
            File::open(&trace).map_err(SessionError::failed(format!("cannot open {}", trace.display())))?;
        std::fs::remove_file(&trace)
            .map_err(SessionError::failed(format!("cannot remove {}", trace.display())))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Some((Workload { source: Source::Trace { path }, ..imported.workload }, file)))
    }

    /// Compiles one workload; false if the run was stopped.
    fn compile_workload(
        &mut self,
        index: usize,
        workload: &Workload,
        options: &Options,
    ) -> Result<bool, SessionError> {
        let first = workload.open(options)?;
        let has_times = first.header().has_times;
        let replay = &self.replays.replay;
        if let Some(pace) = replay.pace.filter(|pace| pace.needs_times() && !has_times) {
            return Err(usage(format!(
                "pace {pace} needs times, and {} has none: omit --pace, or use --pace max",
                workload.name
            )));
        }
        let lacks = first.header().lacks();
        for lack in &lacks {
            self.say(format!("{}: its trace lacks {lack}", workload.name));
        }
        self.check_room(workload, has_times)?;
        let mut recording = Recording::default();
        let mut opened = Some(first);
        let mut made = BTreeSet::new();
        for &pass in &self.replays.options.passes {
            let order = replay.order(pass);
            let timed = replay.pace(pass, has_times).needs_times();
            if !made.insert((order == Order::Strict, timed)) {
                continue;
            }
            let stream = match opened.take() {
                Some(stream) => stream,
                None => workload.open(options)?,
            };
            // A later program of the same trace gives the same.
            recording = Recording::of(stream.header());
            let stream = Stoppable { stream, stop: self.stop, recording: &mut recording };
            let cut = Windows::new(order, replay.window_events, timed);
            if !self.compile_stream(index, &workload.name, stream, cut, order)? {
                return Ok(false);
            }
        }
        if let Some(warning) = recording.requests.and_then(|requests| requests.warning()) {
            self.say(format!("{}: {warning}", workload.name));
        }
        self.compiled.subjects.push(Subject { name: workload.name.clone(), has_times });
        self.compiled.lacks.push(lacks);
        let gaps = self.find_gaps(workload)?;
        self.compiled.gaps.push(gaps);
        self.compiled.recordings.push(recording);
        Ok(true)
    }

    /// Checks that there is room for the programs of a trace, which states how much it holds. How much a load
    /// model produces is unknown until it has been simulated.
    fn check_room(&self, workload: &Workload, has_times: bool) -> Result<(), SessionError> {
        let Source::Trace { path } = &workload.source else { return Ok(()) };
        // A trace that was cut off states no totals.
        let totals = heaplab_trace::summary(path).ok().flatten();
        let replay = &self.replays.replay;
        let of_pass =
            |&pass: &Pass| (replay.order(pass) == Order::Strict, replay.pace(pass, has_times).needs_times());
        let programs = self.replays.options.passes.iter().map(of_pass).collect::<BTreeSet<_>>().len() as u64;
        let least = totals.map_or(0, |totals| least_bytes(&totals));
        Ok(self.compiled.programs.check_room(&workload.name, programs, least)?)
    }

    /// What a workload's recording does not cover; also reports the consequences.
    fn find_gaps(&self, workload: &Workload) -> Result<Vec<String>, SessionError> {
        let Source::Trace { path } = &workload.source else { return Ok(Vec::new()) };
        let coverage = read_coverage(path)?;
        let is_member = self.replays.trees.iter().any(|tree| tree.has(&workload.name));
        let gaps: Vec<String> = match is_member {
            true => own_gaps(&coverage).iter().map(Gap::to_string).collect(),
            false => coverage.sentences(),
        };
        let consequence = if self.replays.replay.despite_coverage {
            "predictions rest on it anyway"
        } else {
            "the heap is replayed, and nothing is predicted of the process (--despite-coverage does)"
        };
        for gap in &gaps {
            self.say(format!("{}: {gap}; {consequence}", workload.name));
        }
        Ok(gaps)
    }

    /// Compiles one stream; false if the run was stopped.
    fn compile_stream(
        &mut self,
        index: usize,
        name: &str,
        mut stream: Stoppable<'_>,
        cut: Windows,
        order: Order,
    ) -> Result<bool, SessionError> {
        let listener = self.listener;
        let mut show = |events| listener(&Notice::Compiling { workload: name, order, events });
        let done = self.compiled.programs.compile(index, name, &mut stream, cut, order, &mut show);
        stream.recording.requests = stream.stream.requests();
        listener(&Notice::StageEnded);
        match done {
            Err(_) if self.stop.load(Ordering::Relaxed) => Ok(false),
            Err(error) => Err(error.into()),
            Ok(program) => {
                if program.1.truncated {
                    let events = program.1.events;
                    self.say(format!(
                        "{name} is cut off: its {events} events up to the last whole chunk are used"
                    ));
                }
                Ok(true)
            }
        }
    }

    fn say(&self, text: String) {
        (self.listener)(&Notice::Say(text));
    }
}

/// A stream that ends with an error when the run must stop, and that notes the recorded process's memory as
/// it is read.
pub(super) struct Stoppable<'a> {
    pub(super) stream: Box<dyn RecordStream + Send>,
    pub(super) stop: &'a AtomicBool,
    pub(super) recording: &'a mut Recording,
}

impl RecordStream for Stoppable<'_> {
    fn header(&self) -> &Header {
        self.stream.header()
    }

    #[inline]
    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(StreamError::new("the run", "stopped"));
        }
        let record = self.stream.next()?;
        if let Some(record) = &record {
            self.recording.note(record);
        }
        Ok(record)
    }

    fn truncated(&self) -> bool {
        self.stream.truncated()
    }
}
