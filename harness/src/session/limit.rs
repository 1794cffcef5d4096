//! The smallest memory limits of a program or a replay, per variant: each sample runs in its own control
//! group.

use std::ffi::OsString;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::error::{SessionError, usage};
use super::limit_search::{Found, find_smallest};
use super::limited::check_group;
use super::loads::UnitLoads;
use super::notice::{Listener, Notice};
use super::program::ProgramTrials;
use super::programs::{Compiled, compile_workloads};
use super::replays::Replays;
use super::variants::prove_variants;
use crate::design::{Pass, RunOptions, Step, show_percent};
use crate::group::{Group, GroupLimits};
use crate::measure::Variation;
use crate::results::{Rows, Sample, Status};
use crate::stats::median;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct LimitQuestion {
    /// The run that its samples belong to; all of its `reps` samples must hold under a limit.
    pub options: RunOptions,
    /// The program and its arguments; none for a replay.
    pub command: Option<Vec<OsString>>,
    /// The fraction by which a program may be slowed down, if that is asked for too.
    pub slowdown: Option<f64>,
}

/// The smallest limits of a variant. Empty means not asked for, or not found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LimitRow {
    /// Workload's name.
    pub workload: String,
    /// Variant's label.
    pub variant: String,
    /// Samples taken in all.
    pub trials: u64,
    /// Samples that had to hold under a limit.
    pub n: u64,
    /// The most that its group is charged without a limit; the median.
    pub free_peak_bytes: Option<u64>,
    /// The smallest limit under which every sample finished.
    pub limit_bytes: Option<u64>,
    /// The largest limit under which one did not: the smallest limit lies between the two.
    pub failed_bytes: Option<u64>,
    /// The fraction by which it may be slowed down.
    pub slowdown: Option<f64>,
    /// The smallest limit under which it is slowed down by no more than that.
    pub slowed_limit_bytes: Option<u64>,
    /// The largest limit under which it is slowed down by more.
    pub slowed_failed_bytes: Option<u64>,
    /// Why there is no limit.
    pub fault: Option<String>,
    /// Whether it is the limit of a replay, and so of a heap alone.
    pub is_replay: bool,
    /// Whether its samples could swap, because the system does not limit the swap of a group.
    pub may_swap: bool,
}

/// Finds the smallest limit of each variant; none if it was stopped.
///
/// # Errors
///
/// Those of [`super::measure_replays`], and if no control group can be made.
pub fn find_limits(
    question: &LimitQuestion,
    stop: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Option<Vec<LimitRow>>, SessionError> {
    let mut options = question.options.clone();
    options.group = Some(GroupLimits::default());
    check_group(&options)?;
    let memory: procfs::Meminfo = procfs::Current::current()
        .map_err(SessionError::failed("cannot read how much memory this machine has"))?;
    let has_swap = memory.swap_total > 0;
    let without_swap =
        GroupLimits { max_bytes: Some(memory.mem_total), swap_max_bytes: Some(0), ..GroupLimits::default() };
    let machine = Machine {
        memory_bytes: memory.mem_total,
        swap_max_bytes: (has_swap && Group::create(&without_swap).is_ok()).then_some(0),
        has_swap,
    };
    if let Some(command) = &question.command {
        let mut trials = ProgramTrials::find(&options, command, stop, listener)?;
        return search_all(question, machine, trials.labels(), listener, |variant, _, limits| {
            trials.take(variant, limits)
        });
    }
    let mut replays = Replays::find(&options)?;
    if replays.workloads.len() != 1 {
        return Err(usage("a limit is of one workload: name one"));
    }
    let variations = prove_variants(&replays.variants, replays.replay.cpus, listener)?;
    let Some(compiled) = compile_workloads(&replays, stop, listener)? else { return Ok(None) };
    let labels = replays.variants.iter().map(|variant| variant.label.clone()).collect();
    search_all(question, machine, labels, listener, |variant, block, limits| {
        replays.options.group = Some(limits);
        let step = Step { block, workload: 0, pass: Pass::Memory, variant };
        replay_once(&replays, &compiled, &variations, step, stop)
    })
}

/// One replay under the limits of `replays`; none if it was stopped.
fn replay_once(
    replays: &Replays,
    compiled: &Compiled,
    variations: &[Variation],
    step: Step,
    stop: &AtomicBool,
) -> Result<Option<Sample>, SessionError> {
    let silent = |_: &Notice<'_>| {};
    let loads = UnitLoads::new(replays, compiled, stop, &silent);
    let mut found = None;
    let campaign = compiled.campaign(replays, variations, &loads, stop);
    campaign.run(
        [step],
        |_| {},
        |taken| -> Result<(), SessionError> {
            let limits = replays.options.group.as_ref();
            found = Some(Rows::new("", limits, None, &taken).sample);
            Ok(())
        },
    )?;
    Ok(found)
}

/// Searches the limits of every variant. `take` takes a sample of a variant, in a block, under limits.
fn search_all(
    question: &LimitQuestion,
    machine: Machine,
    labels: Vec<String>,
    listener: Listener<'_>,
    mut take: impl FnMut(usize, u32, GroupLimits) -> Result<Option<Sample>, SessionError>,
) -> Result<Option<Vec<LimitRow>>, SessionError> {
    let mut rows = Vec::new();
    for (variant, label) in labels.into_iter().enumerate() {
        let row = LimitRow {
            variant: label,
            n: question.options.reps.into(),
            slowdown: question.slowdown,
            is_replay: question.command.is_none(),
            may_swap: machine.has_swap && machine.swap_max_bytes.is_none(),
            ..LimitRow::default()
        };
        let mut search = Search { question, machine, listener, row, variant, take: &mut take };
        if !search.run()? {
            return Ok(None);
        }
        rows.push(search.row);
    }
    Ok(Some(rows))
}

/// What the machine has.
#[derive(Debug, Clone, Copy)]
struct Machine {
    memory_bytes: u64,
    has_swap: bool,
    /// The swap that groups are given; none if there is none, or if it cannot be limited.
    swap_max_bytes: Option<u64>,
}

/// The search of one variant.
struct Search<'a, F> {
    question: &'a LimitQuestion,
    machine: Machine,
    listener: Listener<'a>,
    row: LimitRow,
    variant: usize,
    take: &'a mut F,
}

impl<F: FnMut(usize, u32, GroupLimits) -> Result<Option<Sample>, SessionError>> Search<'_, F> {
    /// False if it was stopped.
    fn run(&mut self) -> Result<bool, SessionError> {
        let Some(free) = self.samples(None)? else { return Ok(false) };
        if let Some(failed) = free.iter().find(|sample| sample.status != Status::Ok) {
            let why = failed.status_detail.clone().unwrap_or_default();
            self.row.fault = Some(format!("not ok without any limit: {why}"));
            return Ok(true);
        }
        let of = |figure: fn(&Sample) -> Option<u64>| -> Option<f64> {
            median(&free.iter().filter_map(figure).map(|value| value as f64).collect::<Vec<f64>>())
        };
        let seen = |sample: &Sample| sample.group_peak_bytes.or(sample.resident_peak_bytes);
        self.row.free_peak_bytes = of(seen).map(|bytes| bytes as u64);
        let wall_ns = of(|sample| sample.wall_ns);
        let Some(guess) = self.row.free_peak_bytes else {
            self.row.fault = Some("its memory was not seen: it ended too soon".to_owned());
            return Ok(true);
        };
        let most = self.machine.memory_bytes;
        let Some(found) = find_smallest(guess, most, |limit| self.holds(limit, None))? else {
            return Ok(self.row.fault.is_some());
        };
        let Some(smallest) = self.note_limit(found) else { return Ok(true) };
        let Some(slowdown) = self.question.slowdown else { return Ok(true) };
        let Some(wall_ns) = wall_ns else {
            self.row.fault = Some("how long it takes without a limit is not known".to_owned());
            return Ok(true);
        };
        let longest_ns = wall_ns * (1.0 + slowdown);
        let guess = guess.max(smallest);
        let Some(found) = find_smallest(guess, most, |limit| match limit < smallest {
            // It does not finish there, so it is not fast enough either.
            true => Ok(Some(false)),
            false => self.holds(limit, Some(longest_ns)),
        })?
        else {
            return Ok(self.row.fault.is_some());
        };
        match found {
            Some(found) => {
                (self.row.slowed_limit_bytes, self.row.slowed_failed_bytes) =
                    (Some(found.held_bytes), found.failed_bytes);
            }
            None => {
                self.row.fault = Some(format!(
                    "it took more than {} longer even under a limit of this machine's whole memory: its times vary too much",
                    show_percent(slowdown)
                ));
            }
        }
        Ok(true)
    }

    /// The smallest limit, if one was found.
    fn note_limit(&mut self, found: Option<Found>) -> Option<u64> {
        match found {
            Some(found) => {
                (self.row.limit_bytes, self.row.failed_bytes) = (Some(found.held_bytes), found.failed_bytes);
            }
            None => self.row.fault = Some("not ok under a limit of this machine's whole memory".to_owned()),
        }
        self.row.limit_bytes
    }

    /// Whether every sample finishes under a limit, and the median one within a time; none if it was stopped, or if a
    /// sample failed for another reason than the limit.
    fn holds(&mut self, limit: u64, longest_ns: Option<f64>) -> Result<Option<bool>, SessionError> {
        let Some(samples) = self.samples(Some(limit))? else { return Ok(None) };
        if let Some(failed) = samples.iter().find(|sample| sample.status != Status::Ok) {
            if is_of_limit(failed) {
                return Ok(Some(false));
            }
            let why = failed.status_detail.as_deref().unwrap_or("for an unknown reason");
            self.row.fault =
                Some(format!("a sample failed under {limit} bytes without reaching this limit: {why}"));
            return Ok(None);
        }
        let times: Vec<f64> =
            samples.iter().filter_map(|sample| sample.wall_ns).map(|time| time as f64).collect();
        let slow = longest_ns.is_some_and(|longest| median(&times).is_none_or(|time| time > longest));
        Ok(Some(!slow))
    }

    /// Takes samples under a limit, until one is not ok; none if it was stopped.
    fn samples(&mut self, limit: Option<u64>) -> Result<Option<Vec<Sample>>, SessionError> {
        // What is swapped out would need memory where there is no swap, as in most containers.
        let swap_max_bytes = limit.and(self.machine.swap_max_bytes);
        let limits = GroupLimits { max_bytes: limit, swap_max_bytes, ..GroupLimits::default() };
        let mut samples = Vec::new();
        for block in 0..self.question.options.reps {
            let Some(sample) = (self.take)(self.variant, block, limits)? else { return Ok(None) };
            self.row.trials += 1;
            self.row.workload.clone_from(&sample.workload);
            let is_ok = sample.status == Status::Ok;
            samples.push(sample);
            if !is_ok {
                break;
            }
        }
        let under =
            limit.map_or_else(|| "without a limit".to_owned(), |limit| format!("under {limit} bytes"));
        let ok = samples.iter().filter(|sample| sample.status == Status::Ok).count();
        let mut text =
            format!("{} {under}: {ok} of {} finished", self.row.variant, self.question.options.reps);
        if let Some(why) = samples
            .iter()
            .find_map(|sample| sample.status_detail.as_ref().filter(|_| sample.status != Status::Ok))
        {
            text += &format!("; {why}");
        }
        (self.listener)(&Notice::Say(text));
        Ok(Some(samples))
    }
}

/// Whether the limit may be why a sample failed: its group reached it, or the allocator found no memory.
fn is_of_limit(failed: &Sample) -> bool {
    let reached = failed.group_max_events.is_some_and(|events| events > 0)
        || failed.group_oom_kills.is_some_and(|kills| kills > 0);
    let could_run = !matches!(
        failed.status,
        Status::Refused
            | Status::NotInjected
            | Status::UnknownSetting
            | Status::CheckFailed
            | Status::CrashAtStart
    );
    failed.status == Status::Oom || (reached && could_run)
}
