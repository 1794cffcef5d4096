//! What a run of replays consists of: workloads under variants, in units. Found and checked, nothing is started.

use std::collections::BTreeSet;

use heaplab_allocators::Variant;
use heaplab_workloads::catalog::Workload;
use heaplab_workloads::simulate::Options;

use super::error::{SessionError, usage};
use super::variants::{add_harness, check_baseline, find_variants};
use super::workloads::find_workloads;
use crate::plan::{Design, ReplayOptions, RunOptions, Step};
use crate::results::SampleKey;

/// What a run of replays consists of, all checked.
pub(super) struct Replays {
    pub(super) options: RunOptions,
    pub(super) replay: ReplayOptions,
    /// The workloads, each with what is asked of a simulation.
    pub(super) workloads: Vec<(Workload, Options)>,
    pub(super) variants: Vec<Variant>,
    pub(super) design: Design,
    /// What was left out, in sentences.
    pub(super) notes: Vec<String>,
}

impl Replays {
    /// Finds what the options name.
    pub(super) fn find(options: &RunOptions) -> Result<Replays, SessionError> {
        let replay = options.replay.clone().ok_or_else(|| usage("this is no run of replays"))?;
        let (mut variants, mut notes) = find_variants(options, &replay)?;
        let harness = add_harness(&mut variants, options, &mut notes);
        check_baseline(options.baseline.as_deref(), &variants)?;
        let workloads = find_workloads(options.seed, &replay)?;
        let design = Design {
            seed: options.seed,
            workloads: workloads.iter().map(|(workload, _)| workload.name.clone()).collect(),
            passes: options.passes.clone(),
            variants: variants.len(),
            harness,
        };
        Ok(Replays { options: options.clone(), replay, workloads, variants, design, notes })
    }

    /// What a step is a sample of.
    pub(super) fn key(&self, step: &Step) -> SampleKey {
        SampleKey {
            block: step.block,
            workload: self.design.workloads[step.workload].clone(),
            variant: self.variants[step.variant].label.clone(),
            pass: step.pass,
        }
    }

    /// Every sample of the first blocks that is not there yet.
    pub(super) fn missing(&self, done: &BTreeSet<SampleKey>) -> Vec<Step> {
        let all = self.design.steps(self.options.reps);
        all.into_iter().filter(|step| !done.contains(&self.key(step))).collect()
    }
}
