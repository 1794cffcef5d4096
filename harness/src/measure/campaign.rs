//! A run's samples, one after another, in randomised blocks.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heaplab_allocators::probe::Proven;
use heaplab_allocators::registry::FLOOR;
use heaplab_allocators::{Stamp, Variant, has_timers};
use heaplab_workloads::program::{Order, ProgramInfo};

use super::child::{End, Ends, run_worker};
use super::constant::measure_constant;
use super::error::MeasureError;
use super::footprints::{Footprints, was_cold};
use super::programs::{Load, Loads};
use crate::design::{Pace, Pass, ReplayOptions, RunOptions, Step, Touch, Unit};
use crate::group::Group;
use crate::worker::{Job, Need, PageCosts, Reply, Status};

/// A variable whose only purpose is its length.
const PADDING_VARIABLE: &str = "HEAPLAB_PADDING";
/// The longest padding of a worker's environment, in bytes.
const MOST_PADDING: u64 = 4096;

/// In the first this many blocks, the load of a model is measured again under a different layout. Fewer say too little
/// about the spread by layout, and more would take the time of blocks that narrow intervals.
const TWIN_BLOCKS: u32 = 6;

/// A replay may miss the trace's largest live bytes by this fraction (one over the number) without a remark.
const PEAK_TOLERANCE: u64 = 100;

/// A variant and what its trial run proved.
pub struct Variation {
    /// The allocator and its settings.
    pub variant: Variant,
    /// What serves, and which settings it accepted; or why that is not known.
    pub proven: Result<Proven, Unproven>,
}

/// Why a variant's trial run showed nothing: each of its samples is a row with this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// The status of those rows.
    pub status: Status,
    /// What happened.
    pub reason: String,
}

/// A workload of the run, as far as taking samples needs to know it.
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Whether its times are real.
    pub has_times: bool,
}

/// One sample, as taken.
pub struct Taken<'a> {
    /// Which step of the design it is.
    pub step: Step,
    /// Its workload.
    pub subject: &'a Subject,
    /// Its variant.
    pub variation: &'a Variation,
    /// The program's figures.
    pub info: ProgramInfo,
    /// The seed with which its load was simulated; none for a recording.
    pub load_seed: Option<u64>,
    /// What the same load showed under a different layout; none if not measured.
    pub twin: Option<Reply>,
    /// The order in which it was replayed.
    pub order: Order,
    /// The pace.
    pub pace: Pace,
    /// What it wrote to.
    pub touch: Touch,
    /// CPU count that the allocator saw.
    pub cpus: u32,
    /// What was subtracted from resident figures.
    pub resident_constant_bytes: u64,
    /// What the worker replied, or what its end means.
    pub reply: Reply,
    /// Whether the host backed memory during the replay, judged by its kernel time; none if not judged.
    pub was_cold: Option<bool>,
}

/// What all samples of a run have in common.
pub struct Campaign<'a> {
    /// What is asked of the run.
    pub options: &'a RunOptions,
    /// What is asked of its replays.
    pub replay: &'a ReplayOptions,
    /// Its workloads, compiled.
    pub subjects: &'a [Subject],
    /// Its variants.
    pub variations: &'a [Variation],
    /// What each unit replays.
    pub loads: &'a dyn Loads,
    /// The folder for temporary files.
    pub folder: &'a Path,
    /// CPU count of this machine.
    pub machine_cpus: u32,
    /// How much memory replays have used so far.
    pub footprints: &'a Footprints,
    /// Set when the run should stop.
    pub stop: &'a AtomicBool,
}

impl Campaign<'_> {
    /// Takes the samples of `steps`, and passes each to `keep`. Returns false if it was stopped.
    ///
    /// # Errors
    ///
    /// [`MeasureError`], and the errors of `keep`.
    pub fn run<E: From<MeasureError>>(
        &self,
        steps: impl IntoIterator<Item = Step>,
        mut begin: impl FnMut(&Step),
        mut keep: impl FnMut(Taken<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let constant = if self.options.passes.contains(&Pass::Memory) {
            measure_constant(self.folder).map_err(MeasureError::Constant)?
        } else {
            0
        };
        for step in steps {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            begin(&step);
            match self.take(&step, constant)? {
                Some(taken) => keep(taken)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn take(&self, step: &Step, constant: u64) -> Result<Option<Taken<'_>>, MeasureError> {
        let (subject, variation) = (&self.subjects[step.workload], &self.variations[step.variant]);
        let order = self.replay.order(step.pass);
        let pace = self.replay.pace(step.pass, subject.has_times);
        let Some(load) = self.loads.load(step, order, pace.needs_times())? else { return Ok(None) };
        let (file, info) = &*load.program;
        let own = variation.variant.cpus();
        let cpus = own.or(self.replay.cpus).or(info.cpus).unwrap_or(self.machine_cpus);
        let mut taken = Taken {
            step: *step,
            subject,
            variation,
            info: info.clone(),
            load_seed: load.seed,
            twin: None,
            order,
            pace,
            touch: self.touch(step.pass, variation),
            cpus,
            resident_constant_bytes: constant,
            reply: Reply::default(),
            was_cold: None,
        };
        let library_stamp = match accept(variation, pace) {
            Ok(stamp) => stamp,
            Err((status, detail)) => {
                taken.reply.status = status;
                taken.reply.status_detail = Some(detail);
                return Ok(Some(taken));
            }
        };
        let shown_cpus = (cpus != self.machine_cpus).then_some(cpus);
        let mut environment = match variation.variant.environment(shown_cpus) {
            Ok(environment) => environment,
            Err(error) => {
                taken.reply.status_detail = Some(error.to_string());
                return Ok(Some(taken));
            }
        };
        let unit = Unit { workload: subject.name.clone(), block: step.block };
        let layout_seed = (!self.replay.fixed).then(|| unit.seed(self.options.seed));
        // A longer environment moves the stack and what follows it.
        let bare = environment.clone();
        environment.extend(layout_seed.map(|seed| (PADDING_VARIABLE.to_owned(), padding(seed))));
        let mut job = Job {
            program: file.path(),
            info: info.clone(),
            variant: variation.variant.clone(),
            library_stamp: Some(library_stamp),
            pass: step.pass,
            pace,
            touch: taken.touch,
            checkpoints: self.replay.checkpoints,
            resident_constant_bytes: constant,
            // One map shows what all would: memory in strict order hardly varies.
            draws_heap_map: step.block == 0,
            group_processes: None,
            need: None,
            layout_seed,
        };
        let mut known = PageCosts::default();
        if needs_warm_memory(step.pass, pace) {
            match self.find_need(&job, step, &environment, shown_cpus)? {
                Some(need) => job.need = need,
                None => return Ok(None),
            }
            known = job.need.map_or(known, |need| need.known);
        }
        let warmable = job.need.is_some() || !needs_warm_memory(step.pass, pace);
        match self.run_in_group(&job, &environment, shown_cpus)? {
            End::Stopped => Ok(None),
            End::Reply(reply) => {
                taken.reply = *reply;
                self.footprints.note(step.workload, &variation.variant.label, &taken.reply);
                if !warmable && taken.reply.status == Status::Ok {
                    let why =
                        "memory was not warmed: how much is used is not known, because the rehearsal failed";
                    taken.reply.warnings.push(why.to_owned());
                }
                taken.was_cold = was_cold(&taken.reply, known);
                add_warnings(&mut taken);
                if has_twin(step, &load, &taken) {
                    let seed = unit.twin_seed(self.options.seed);
                    let job = Job { draws_heap_map: false, layout_seed: Some(seed), ..job };
                    if !self.take_twin(&job, bare, shown_cpus, &mut taken)? {
                        return Ok(None);
                    }
                }
                Ok(Some(taken))
            }
        }
    }

    /// Runs a worker, under the run's limits in a control group of its own.
    fn run_in_group(
        &self,
        job: &Job,
        environment: &[(String, String)],
        shown_cpus: Option<u32>,
    ) -> Result<End, MeasureError> {
        let limits = self.options.group.as_ref();
        let group = limits.map(Group::create).transpose().map_err(MeasureError::Group)?;
        let job = Job { group_processes: group.as_ref().map(Group::processes_file), ..job.clone() };
        let ends = Ends { group: group.as_ref(), ..self.ends() };
        run_worker(&job, environment, shown_cpus, &ends).map_err(MeasureError::Start)
    }

    /// Measures the same load again under the job's layout; false if the run was stopped. If it fails, the sample says
    /// so and otherwise stays unchanged.
    fn take_twin(
        &self,
        job: &Job,
        mut environment: Vec<(String, String)>,
        shown_cpus: Option<u32>,
        taken: &mut Taken<'_>,
    ) -> Result<bool, MeasureError> {
        environment.extend(job.layout_seed.map(|seed| (PADDING_VARIABLE.to_owned(), padding(seed))));
        match self.run_in_group(job, &environment, shown_cpus)? {
            End::Stopped => return Ok(false),
            End::Reply(reply) if reply.status == Status::Ok => taken.twin = Some(*reply),
            End::Reply(reply) => {
                let why = reply.status_detail.unwrap_or_default();
                taken.reply.warnings.push(format!("the same load under a second layout failed: {why}"));
            }
        }
        Ok(true)
    }

    /// What the replay of a variant writes to. In a pass for speed, `floor` shows the harness's share: what would be
    /// touched there, and how cold it is, depends on where `floor` puts blocks, which is not the harness's work.
    fn touch(&self, pass: Pass, variation: &Variation) -> Touch {
        let is_share = pass == Pass::Throughput && variation.variant.allocator == FLOOR;
        if is_share { Touch::None } else { self.replay.touch }
    }

    fn ends(&self) -> Ends<'_> {
        Ends { timeout: self.timeout(), stop: self.stop, group: None }
    }

    fn timeout(&self) -> Option<Duration> {
        self.options.timeout_ns.map(Duration::from_nanos)
    }

    /// The memory to back before a sample. If no replay of the variant has shown it yet, a rehearsal that is not kept
    /// does; none if the run was stopped meanwhile, and no need if the rehearsal fails.
    fn find_need(
        &self,
        job: &Job,
        step: &Step,
        environment: &[(String, String)],
        shown_cpus: Option<u32>,
    ) -> Result<Option<Option<Need>>, MeasureError> {
        let variant = &job.variant.label;
        if self.footprints.lacks(step.workload, variant) {
            let rehearsal = Job { pass: Pass::Throughput, pace: Pace::Max, ..job.clone() };
            let end = run_worker(&rehearsal, environment, shown_cpus, &self.ends());
            match end.map_err(MeasureError::Start)? {
                End::Stopped => return Ok(None),
                // If a rehearsal fails, the sample is likely to fail too, and says why.
                End::Reply(reply) => self.footprints.note(step.workload, variant, &reply),
            }
        }
        Ok(Some(self.footprints.need(step.workload, variant)))
    }
}

/// Whether the load of a sample is measured again under a different layout.
fn has_twin(step: &Step, load: &Load, taken: &Taken<'_>) -> bool {
    let told =
        matches!(step.pass, Pass::Throughput | Pass::Memory) && taken.variation.variant.allocator != FLOOR;
    load.varies && step.block < TWIN_BLOCKS && told && taken.reply.status == Status::Ok
}

/// Characters by which the environment is lengthened.
fn padding(seed: u64) -> String {
    "x".repeat((seed % MOST_PADDING) as usize)
}

/// Whether a sample's figures depend on how fast memory becomes available.
fn needs_warm_memory(pass: Pass, pace: Pace) -> bool {
    matches!(pass, Pass::Throughput | Pass::Latency) || matches!(pace, Pace::Times(_))
}

/// The library's file that a worker must find; or why none needs to be started for a sample.
fn accept(variation: &Variation, pace: Pace) -> Result<Stamp, (Status, String)> {
    if pace == Pace::Virtual && variation.variant.sleeps_in_real_time() {
        let what =
            "its background thread sleeps in real time, which virtual pace does not have; use --pace real";
        return Err((Status::Refused, what.to_owned()));
    }
    let proven = variation.proven.as_ref().map_err(|unproven| (unproven.status, unproven.reason.clone()))?;
    if let Some(what) = proven.unknown_setting() {
        return Err((Status::UnknownSetting, what));
    }
    let not_injected = |what| (Status::NotInjected, format!("{}: {what}", variation.variant.allocator));
    proven.find_library().map_err(not_injected)
}

/// Adds what a reader of the sample must know although it is ok.
fn add_warnings(taken: &mut Taken<'_>) {
    let reply = &mut taken.reply;
    if reply.status != Status::Ok {
        return;
    }
    if let Ok(proven) = &taken.variation.proven {
        reply.warnings.extend(proven.warning());
        let timed = has_timers(proven.loaded.family, &proven.loaded.version);
        if timed && taken.pace == Pace::Virtual && reply.measured.clock_reads == Some(0) {
            reply.warnings.push("the allocator has timers and never read the supplied clock".to_owned());
        }
    }
    if taken.was_cold == Some(true) {
        reply.warnings.push(
            "kernel time is far above what page faults cost on warm memory: the host backed memory during the \
             replay, or took the CPU away"
                .to_owned(),
        );
    }
    let (peak, reached) = (taken.info.requested_peak_bytes, reply.measured.requested_peak_reached_bytes);
    if taken.step.pass == Pass::Memory
        && let Some(reached) = reached
        && reached.abs_diff(peak) > peak / PEAK_TOLERANCE
    {
        reply.warnings.push(format!(
            "the replay reached {reached} requested bytes where the trace has {peak}: more than 1 % off"
        ));
    }
}
