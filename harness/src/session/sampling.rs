//! Takes the samples of a run of replays, and keeps each as it comes.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use super::description::{describe_trees, describe_variant, describe_workloads, recorded_points};
use super::error::SessionError;
use super::goal::{Goal, Pursuit};
use super::limited::check_group;
use super::loads::UnitLoads;
use super::notice::{Listener, Notice};
use super::opening::{Described, Ended, Kind, Opening, Start};
use super::programs::{Compiled, compile_workloads};
use super::references::add_references;
use super::replays::Replays;
use super::variants::prove_variants;
use super::workloads::describe_all;
use crate::design::Step;
use crate::measure::Variation;
use crate::results::{self, Rows, RunDirectory, RunVariant, Sample, Status};

/// An effect of a limit that no clock shows.
const REAL_RECLAIM: &str = "under a limit the kernel takes pages back in real time: at virtual pace that is in the wall time, and not in \
    the time that allocators see";

/// Takes the samples of a run of replays, and keeps them in its directory.
///
/// # Errors
///
/// What was asked for does not exist or is not allowed ([`SessionError::Usage`]), or something failed that is
/// not a sample's fault. What was kept until then stays in the directory.
pub fn measure_replays(
    start: Start,
    stop: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Ended, SessionError> {
    let opening = start.open(Kind::Replays, listener)?;
    let mut replays = Replays::find(&opening.options)?;
    replays.take_shard(opening.shard)?;
    let goal = Goal::of(&replays)?;
    if opening.options.group.is_some() {
        replays.notes.push(REAL_RECLAIM.to_owned());
    }
    replays.notes.iter().for_each(|note| listener(&Notice::Say(note.clone())));
    let mut variations = prove_variants(&replays.variants, replays.replay.cpus, listener)?;
    let Some(compiled) = compile_workloads(&replays, stop, listener)? else {
        return Ok(Ended::Stopped(None));
    };
    add_references(&mut replays, &mut variations, &compiled, listener)?;
    check_group(&opening.options)?;
    opening.check_variants(&replays.variants)?;
    let directory = open_directory(opening, &replays, &compiled, &variations, listener)?;
    let sampling =
        Sampling { replays: &replays, compiled: &compiled, variations: &variations, stop, listener };
    sampling.take(goal.as_ref(), directory)
}

/// Makes the run's directory, or opens the resumed one.
fn open_directory(
    opening: Opening,
    replays: &Replays,
    compiled: &Compiled,
    variations: &[Variation],
    listener: Listener<'_>,
) -> Result<RunDirectory, SessionError> {
    let described = Described {
        workloads: describe_workloads(replays, compiled)?,
        trees: describe_trees(replays, compiled)?,
    };
    let is_new = !opening.is_resumed();
    let name = describe_all(&replays.workloads);
    let mut variants: Vec<RunVariant> = variations.iter().map(describe_variant).collect();
    if let Some(harness) = replays.design.harness {
        variants[harness].is_harness = true;
    }
    let directory = opening.open_directory(&name, replays.notes.clone(), described, variants, listener)?;
    if is_new {
        directory.write_recorded(&recorded_points(compiled, replays.replay.despite_coverage))?;
    }
    Ok(directory)
}

/// A run whose directory is open.
struct Sampling<'a> {
    replays: &'a Replays,
    compiled: &'a Compiled,
    variations: &'a [Variation],
    stop: &'a AtomicBool,
    listener: Listener<'a>,
}

impl Sampling<'_> {
    /// Takes the samples that are missing, or those that the goal asks for.
    fn take(&self, goal: Option<&Goal>, mut directory: RunDirectory) -> Result<Ended, SessionError> {
        let path = directory.path().to_path_buf();
        let finished = match goal {
            None => {
                let missing = self.replays.missing(directory.done());
                let count = Some(missing.len() as u64);
                self.take_steps(missing, count, &mut directory, |_| ())?
            }
            Some(goal) => {
                let mut done = results::load(&path)?.samples;
                done.retain(|sample| directory.done().contains(&sample.key()));
                let pursuit = Pursuit::new(self.replays, goal, &done);
                let steps = std::iter::from_fn(|| pursuit.next_step());
                let finished = self.take_steps(steps, None, &mut directory, |sample| pursuit.add(sample))?;
                if finished {
                    pursuit.describe().into_iter().for_each(|sentence| self.say(sentence));
                }
                finished
            }
        };
        if !finished {
            return Ok(Ended::Stopped(Some(path)));
        }
        directory.finish()?;
        Ok(Ended::Finished(path))
    }

    /// Takes samples, keeps each as it comes, and shows it to `seen`; false if the run was stopped.
    fn take_steps(
        &self,
        steps: impl IntoIterator<Item = Step>,
        count: Option<u64>,
        directory: &mut RunDirectory,
        seen: impl Fn(&Sample),
    ) -> Result<bool, SessionError> {
        let run_id = directory.file().run_id.clone();
        let mut number = 0;
        let begin = |step: &Step| {
            number += 1;
            (self.listener)(&Notice::Sampling {
                workload: &self.replays.design.workloads[step.workload],
                pass: step.pass,
                variant: &self.replays.variants[step.variant].label,
                number,
                count,
            });
        };
        let mut said = HashSet::new();
        let loads = UnitLoads::new(self.replays, self.compiled, self.stop, self.listener);
        let campaign = self.compiled.campaign(self.replays, self.variations, &loads, self.stop);
        let finished = campaign.run(steps, begin, |taken| -> Result<(), SessionError> {
            let options = &self.replays.options;
            let rows = Rows::new(&run_id, options.group.as_ref(), options.count_from, &taken);
            directory.append(&rows)?;
            seen(&rows.sample);
            let sample = &rows.sample;
            if let Some(detail) = sample.status_detail.as_ref().filter(|_| sample.status != Status::Ok) {
                let (workload, pass, variant) = (&sample.workload, sample.pass, &sample.variant);
                // Said once per variant: what fails in one sample usually fails in all.
                if said.insert((variant.clone(), detail.clone())) {
                    self.say(format!("{workload} {pass} under {variant}: {detail}"));
                }
            }
            Ok(())
        });
        (self.listener)(&Notice::StageEnded);
        finished
    }

    fn say(&self, text: String) {
        (self.listener)(&Notice::Say(text));
    }
}
