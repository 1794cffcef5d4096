//! What a run of replays consists of: workloads under variants, in units. They are found and checked here,
//! but nothing is started.

use std::collections::BTreeSet;

use heaplab_allocators::Variant;
use heaplab_workloads::catalog::Workload;
use heaplab_workloads::simulate::Options;

use super::error::{SessionError, usage};
use super::trees::Tree;
use super::variants::{add_harness, check_baseline, check_variants, find_variants};
use super::workloads::{find_workloads, pinned_seed};
use crate::design::{Design, ReplayOptions, RunOptions, Shard, Step, Unit};
use crate::results::SampleKey;

/// What a run of replays consists of, fully checked.
pub(super) struct Replays {
    pub(super) options: RunOptions,
    pub(super) replay: ReplayOptions,
    /// The workloads, each with the options of its simulation in the first block.
    pub(super) workloads: Vec<(Workload, Options)>,
    /// Whether the user chose the seed of the loads.
    pub(super) is_seed_pinned: bool,
    /// The trees that some of them are processes of.
    pub(super) trees: Vec<Tree>,
    pub(super) variants: Vec<Variant>,
    pub(super) design: Design,
    /// What was omitted, in sentences.
    pub(super) notes: Vec<String>,
}

impl Replays {
    /// Finds what the options name.
    pub(super) fn find(options: &RunOptions) -> Result<Replays, SessionError> {
        let replay = options.replay.clone().ok_or_else(|| usage("this is no run of replays"))?;
        let (mut variants, mut notes) = find_variants(options, &replay)?;
        let harness = add_harness(&mut variants, options, &mut notes);
        check_baseline(options.baseline.as_deref(), &variants)?;
        let pinned = pinned_seed(&replay.set)?;
        let workloads = find_workloads(pinned.unwrap_or(options.seed), &replay)?;
        let named = replay.workloads.iter().filter(|name| Tree::is_named_by(name));
        let trees = named.map(|name| Tree::read(name)).collect::<Result<_, _>>()?;
        let design = Design {
            seed: options.seed,
            workloads: workloads.iter().map(|(workload, _)| workload.name.clone()).collect(),
            passes: options.passes.clone(),
            variants: variants.len(),
            harness,
            shard: None,
        };
        let is_seed_pinned = pinned.is_some();
        Ok(Replays {
            options: options.clone(),
            replay,
            workloads,
            is_seed_pinned,
            trees,
            variants,
            design,
            notes,
        })
    }

    /// Whether each block of a workload has a different load.
    pub(super) fn varies_load(&self, workload: usize) -> bool {
        self.workloads[workload].0.is_model() && !self.replay.fixed && !self.is_seed_pinned
    }

    /// The seed of a workload's load in a block; none for a recording.
    pub(super) fn load_seed(&self, workload: usize, block: u32) -> Option<u64> {
        let (of, options) = &self.workloads[workload];
        let drawn = || self.design.unit(workload, block).load_seed(self.options.seed);
        of.is_model().then(|| if self.varies_load(workload) { drawn() } else { options.seed })
    }

    /// Confines the run to the units of a shard.
    pub(super) fn take_shard(&mut self, shard: Option<Shard>) -> Result<(), SessionError> {
        if shard.is_some() {
            check_countable(&self.replay, "--shard")?;
        }
        self.design.shard = shard;
        Ok(())
    }

    /// The key of a step's sample.
    pub(super) fn key(&self, step: &Step) -> SampleKey {
        SampleKey {
            block: step.block,
            workload: self.design.workloads[step.workload].clone(),
            variant: self.variants[step.variant].label.clone(),
            pass: step.pass,
        }
    }

    /// Every sample of the first blocks that has not been taken yet.
    pub(super) fn missing(&self, done: &BTreeSet<SampleKey>) -> Vec<Step> {
        let all = self.design.steps(self.options.reps);
        all.into_iter().filter(|step| !done.contains(&self.key(step))).collect()
    }
}

/// The units of a run, or of one shard of it, in the order in which they are taken. Nothing is started or
/// compiled, and no allocator's library needs to exist; a name that no allocator has is refused.
///
/// # Errors
///
/// What was asked for does not exist or is not allowed ([`SessionError::Usage`]), or a workload cannot be
/// read.
pub fn list_units(options: &RunOptions, shard: Option<Shard>) -> Result<Vec<Unit>, SessionError> {
    let replay = options.replay.clone().ok_or_else(|| usage("this is no run of replays"))?;
    check_countable(&replay, "--list-units")?;
    check_variants(options, &replay)?;
    let workloads = find_workloads(options.seed, &replay)?;
    let design = Design {
        seed: options.seed,
        workloads: workloads.into_iter().map(|(workload, _)| workload.name).collect(),
        passes: options.passes.clone(),
        variants: 0,
        harness: None,
        shard,
    };
    Ok(design.units(options.reps).collect())
}

/// Refuses options with which the units are not known before any is measured.
fn check_countable(replay: &ReplayOptions, option: &str) -> Result<(), SessionError> {
    match replay.until {
        None => Ok(()),
        Some(_) => Err(usage(format!(
            "{option} and --until contradict each other: with --until, what is measured decides how many units there are"
        ))),
    }
}
