//! What must be there before the first sample: variants proven, workloads compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use heaplab_allocators::probe::{self, prove};
use heaplab_allocators::{Proof, Variant};

use heaplab_trace::{Header, Record, RecordedAllocator};
use heaplab_workloads::catalog::{Source, Workload};
use heaplab_workloads::program::{Order, Windows};
use heaplab_workloads::simulate::{MAX_PHASES, Options, SIMULATE, THINNED_NOTE, is_phase};
use heaplab_workloads::stream::{RecordStream, StreamError};
use indicatif::{ProgressBar, ProgressStyle};

use super::plan::{Plan, as_usage};
use super::{stopped, usage};
use crate::cli::trace::import::Bar;
use crate::measure::{Footprints, Programs, Subject, Variation};
use crate::results::RunPhase;
use crate::worker::CPUS_VARIABLE;

/// The workloads of a run as programs.
pub(super) struct Compiled {
    pub(super) subjects: Vec<Subject>,
    /// What each workload's source could not tell: [`Header::lacks`].
    pub(super) lacks: Vec<Vec<String>>,
    pub(super) programs: Programs,
    /// What is known of the processes that were recorded, a workload each.
    pub(super) recordings: Vec<Recording>,
    /// What their replays use of memory, as it comes to be known.
    pub(super) footprints: Footprints,
}

/// What a trace tells of the process that it was recorded of, or of the load that was modelled.
#[derive(Default)]
pub(super) struct Recording {
    /// The allocator that served it.
    pub(super) allocator: Option<RecordedAllocator>,
    /// Its anonymous resident memory: time since the first event in ns, and bytes.
    pub(super) memory: Vec<(u64, u64)>,
    /// CPU time that its process used, with those of its children that it waited for.
    pub(super) cpu_ns: Option<u64>,
    first_event_ns: Option<u64>,
    /// How often that was looked at, if the trace says so.
    pub(super) looks_every_ns: Option<u64>,
    /// Of how many requests of a load model one is in the trace, if not each is.
    pub(super) thinned: Option<String>,
    /// The phases of a load model.
    pub(super) phases: Vec<RunPhase>,
    is_model: bool,
}

impl Recording {
    fn of(header: &Header) -> Recording {
        let is_model = header.source == SIMULATE;
        let mut notes = header.notes.iter().filter(|note| is_model && note.name == THINNED_NOTE);
        let thinned = notes.next().map(|note| note.value.clone());
        let number =
            |name: &str| header.notes.iter().find(|note| note.name == name)?.value.parse::<u64>().ok();
        let cpu_ns = number("cpu_user_ns").zip(number("cpu_system_ns"));
        Recording {
            allocator: header.allocator.clone(),
            looks_every_ns: header.resident_looks_every_ns(),
            cpu_ns: cpu_ns.and_then(|(user, system)| user.checked_add(system)),
            thinned,
            is_model,
            ..Recording::default()
        }
    }

    /// Takes down what a record tells. Memory before the first event belongs to no time of the replay.
    fn note(&mut self, record: &Record) {
        match record {
            Record::Event(event) => {
                self.first_event_ns.get_or_insert(event.time_ns);
            }
            Record::Resident(sample) => {
                let time = self.first_event_ns.and_then(|first| sample.time_ns.checked_sub(first));
                self.memory.extend(time.map(|time| (time, sample.resident_bytes)));
            }
            // TOML's integers end at 2^63 - 1, and no definition has more phases.
            Record::Mark(mark)
                if self.is_model
                    && is_phase(mark)
                    && mark.time_ns <= i64::MAX as u64
                    && self.phases.len() < MAX_PHASES =>
            {
                self.phases.push(RunPhase { time_ns: mark.time_ns, name: mark.name.clone() });
            }
            Record::Mark(_) | Record::ThreadName { .. } => {}
        }
    }
}

/// Runs each variant once without a workload: what serves, and which settings it took.
pub(in crate::cli) fn prove_variants(
    variants: &[Variant],
    cpus: Option<u32>,
) -> anyhow::Result<Vec<Variation>> {
    let program = std::env::current_exe().context("cannot find the running program")?;
    let mut variations = Vec::new();
    let try_out = |variant: &Variant| {
        let mut command = probe::command(&program, variant);
        if let Some(cpus) = cpus {
            command.env(CPUS_VARIABLE, cpus.to_string());
        }
        prove(command, variant, cpus).map_err(|error| error.to_string())
    };
    for variant in variants {
        let mut variation = Variation { variant: variant.clone(), proven: try_out(variant) };
        let family = variation.proven.as_ref().ok().map(|proven| proven.loaded.family);
        if let Some(known) = family.and_then(|family| variant.recognised(family)) {
            // What it is, only loading it told; its settings then go another way.
            variation = Variation { proven: try_out(&known), variant: known };
        }
        variations.push(variation);
    }
    say_doubts(&variations);
    Ok(variations)
}

/// Says which settings are unproven, each reason once.
fn say_doubts(variations: &[Variation]) {
    let mut doubts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Variation { variant, proven } in variations {
        for reason in proven.iter().flat_map(|proven| &proven.proofs).filter_map(Proof::doubt) {
            let labels = doubts.entry(reason).or_default();
            if labels.last() != Some(&variant.label.as_str()) {
                labels.push(&variant.label);
            }
        }
    }
    for (reason, labels) in doubts {
        say!("heaplab: unproven settings, because {reason}: {}", labels.join(", "));
    }
}

/// Compiles each workload for every order and cut that its passes need; none if the run was stopped.
pub(super) fn compile_workloads(plan: &Plan, stop: &AtomicBool) -> anyhow::Result<Option<Compiled>> {
    let mut compiled = Compiled {
        subjects: Vec::new(),
        lacks: Vec::new(),
        programs: Programs::new()?,
        recordings: Vec::new(),
        footprints: Footprints::default(),
    };
    for (index, (workload, options)) in plan.workloads.iter().enumerate() {
        let imported = import_once(&compiled.programs, index, workload, options)?;
        let workload = imported.as_ref().unwrap_or(workload);
        let mut subject: Option<Subject> = None;
        let mut made = BTreeSet::new();
        let mut recording = Recording::default();
        for &pass in &plan.settings.passes {
            let mut stream = None;
            let has_times = match &subject {
                Some(subject) => subject.has_times,
                None => {
                    let opened = workload.open(options).map_err(as_usage)?;
                    let has_times = opened.header().has_times;
                    compiled.lacks.push(say_lacks(&workload.name, opened.header()));
                    stream = Some(opened);
                    has_times
                }
            };
            if let Some(pace) = plan.settings.pace.filter(|pace| pace.needs_times() && !has_times) {
                return Err(usage(format!(
                    "pace {pace} needs times, and {} has none: leave --pace away, or use --pace max",
                    workload.name
                )));
            }
            subject.get_or_insert_with(|| Subject { name: workload.name.clone(), has_times });
            let order = plan.settings.order(pass);
            let timed = plan.settings.pace(pass, has_times).needs_times();
            if !made.insert((order == Order::Strict, timed)) {
                continue;
            }
            let stream = match stream {
                Some(stream) => stream,
                None => workload.open(options).map_err(as_usage)?,
            };
            let cut = Windows::new(order, plan.settings.window_events, timed);
            // A later program of the same trace tells the same.
            recording = Recording::of(stream.header());
            let stream = Stoppable { stream, stop, recording: &mut recording };
            if !compile_one(&mut compiled.programs, index, &workload.name, stream, cut, order, stop)? {
                return Ok(None);
            }
        }
        compiled.subjects.extend(subject);
        compiled.recordings.push(recording);
        if let (Some(_), Source::Trace { path }) = (&imported, &workload.source) {
            std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(Some(compiled))
}

/// The trace of a workload that is a log, in the run's temporary place: every program is compiled from it.
fn import_once(
    programs: &Programs,
    index: usize,
    workload: &Workload,
    options: &Options,
) -> anyhow::Result<Option<Workload>> {
    let trace = programs.directory().join(format!("{index}.hlt"));
    let bar = Bar::new(&format!("import {}", workload.name))?;
    let imported = workload.import_as(options, &trace, &mut |progress| bar.show(progress));
    bar.finish();
    let Some(imported) = imported.map_err(as_usage)? else { return Ok(None) };
    for warning in &imported.warnings {
        say!("heaplab: {}: {warning}", workload.name);
    }
    Ok(Some(imported.workload))
}

/// Says what cannot be measured with a trace, because its source could not tell it.
fn say_lacks(name: &str, header: &Header) -> Vec<String> {
    let lacks = header.lacks();
    for lack in &lacks {
        say!("heaplab: {name}: its trace lacks {lack}");
    }
    lacks
}

/// Compiles one stream; false if the run was stopped.
fn compile_one(
    programs: &mut Programs,
    index: usize,
    name: &str,
    mut stream: Stoppable<'_>,
    cut: Windows,
    order: Order,
    stop: &AtomicBool,
) -> anyhow::Result<bool> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("compile {msg}: {human_pos} events, {per_sec}")?);
    bar.set_message(format!("{name} ({order})"));
    let done = programs.compile(index, name, &mut stream, cut, order, &mut |events| bar.set_position(events));
    bar.finish_and_clear();
    match done {
        Err(_) if stopped(stop) => Ok(false),
        Err(error) => Err(error.into()),
        Ok((_, info)) => {
            if info.truncated {
                say!(
                    "heaplab: {name} is cut off: its {} events up to the last whole chunk are used",
                    info.events
                );
            }
            Ok(true)
        }
    }
}

/// A stream that ends with an error when the run is to stop, and of which the recorded process's memory is taken down.
struct Stoppable<'a> {
    stream: Box<dyn RecordStream + Send>,
    stop: &'a AtomicBool,
    recording: &'a mut Recording,
}

impl RecordStream for Stoppable<'_> {
    fn header(&self) -> &Header {
        self.stream.header()
    }

    #[inline]
    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        if stopped(self.stop) {
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
