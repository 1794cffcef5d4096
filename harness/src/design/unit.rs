//! Units of work, and the order of the samples in them.
//!
//! A unit is one block of one workload: a sample of every variant in every pass, so that a machine that becomes
//! slower or faster during the run does so for all variants alike. A unit stays whole, wherever it is measured. Its
//! id is a name that depends on nothing else in the run; the order of its samples, and every seed that it needs,
//! derive from the id and the run's seed alone. So a unit is the same in a run of more workloads, in a longer run, in
//! a resumed run, and on another machine.

use std::fmt;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::{Pass, Shard};

/// One sample to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// The block to which it belongs, from 0.
    pub block: u32,
    /// Index of its workload.
    pub workload: usize,
    /// What to measure.
    pub pass: Pass,
    /// Index of its variant.
    pub variant: usize,
}

/// One block of one workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// The workload's name.
    pub workload: String,
    /// The block, from 0.
    pub block: u32,
}

impl Unit {
    /// The seed of this unit in a run with seed `run_seed`: the first 8 bytes, little-endian, of the SHA-256 of the
    /// run's seed (8 bytes, little-endian) and the unit's id.
    ///
    /// ```
    /// use heaplab::design::Unit;
    /// let unit = Unit { workload: "monitor-server".to_owned(), block: 3 };
    /// assert_eq!(unit.to_string(), "monitor-server#3");
    /// assert_ne!(unit.seed(1), unit.seed(2));
    /// ```
    #[must_use]
    pub fn seed(&self, run_seed: u64) -> u64 {
        self.seed_for(run_seed, "")
    }

    /// The seed of a load model in this unit: in the first block the run's own, so that it is the load that
    /// `heaplab simulate` makes; in every later block one of its own.
    #[must_use]
    pub fn load_seed(&self, run_seed: u64) -> u64 {
        if self.block == 0 { run_seed } else { self.seed_for(run_seed, " load") }
    }

    /// The seed of this unit's second layout, in which its load is measured again.
    #[must_use]
    pub fn twin_seed(&self, run_seed: u64) -> u64 {
        self.seed_for(run_seed, " twin")
    }

    /// Like [`Unit::seed`], with a word after the id.
    fn seed_for(&self, run_seed: u64, what: &str) -> u64 {
        let mut hash = Sha256::new();
        hash.update(run_seed.to_le_bytes());
        hash.update(self.to_string());
        hash.update(what);
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        u64::from_le_bytes(first)
    }
}

/// The unit's id.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.workload, self.block)
    }
}

/// Which samples a run consists of: every unit of its workloads, or those of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Design {
    /// Decides the order of variants.
    pub seed: u64,
    /// Names of the workloads.
    pub workloads: Vec<String>,
    /// What is measured for each.
    pub passes: Vec<Pass>,
    /// How many variants there are.
    pub variants: usize,
    /// The variant that measures the harness and that nobody named: it has samples only in the throughput pass.
    pub harness: Option<usize>,
    /// The only shard whose units are taken; none for all.
    pub shard: Option<Shard>,
}

impl Design {
    /// The unit of a workload, by its index, in a block.
    #[must_use]
    pub fn unit(&self, workload: usize, block: u32) -> Unit {
        Unit { workload: self.workloads[workload].clone(), block }
    }

    /// The units of the first `blocks` blocks, in the order in which they are taken.
    pub fn units(&self, blocks: u32) -> impl Iterator<Item = Unit> + '_ {
        (0..blocks).flat_map(move |block| {
            self.workloads_of_block(block).map(move |workload| self.unit(workload, block))
        })
    }

    /// The samples of the first `blocks` blocks, in the order in which they are taken.
    #[must_use]
    pub fn steps(&self, blocks: u32) -> Vec<Step> {
        (0..blocks).flat_map(|block| self.steps_of_block(block)).collect()
    }

    /// The samples of one block, one workload after another.
    pub fn steps_of_block(&self, block: u32) -> impl Iterator<Item = Step> + '_ {
        self.workloads_of_block(block).flat_map(move |workload| self.steps_of_unit(workload, block))
    }

    /// The workloads whose units of a block are taken.
    fn workloads_of_block(&self, block: u32) -> impl Iterator<Item = usize> + '_ {
        let is_held = move |workload: &usize| {
            self.shard.is_none_or(|shard| shard.holds(&self.unit(*workload, block).to_string()))
        };
        (0..self.workloads.len()).filter(is_held)
    }

    /// The samples of one unit, in the order in which they are taken.
    pub fn steps_of_unit(&self, workload: usize, block: u32) -> Vec<Step> {
        let mut random = ChaCha8Rng::seed_from_u64(self.unit(workload, block).seed(self.seed));
        let mut steps = Vec::new();
        for &pass in &self.passes {
            let is_wanted = |variant: &usize| pass == Pass::Throughput || self.harness != Some(*variant);
            let mut order: Vec<usize> = (0..self.variants).filter(is_wanted).collect();
            order.shuffle(&mut random);
            steps.extend(order.into_iter().map(|variant| Step { block, workload, pass, variant }));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn design(seed: u64, workloads: &[&str], passes: &[Pass]) -> Design {
        let workloads = workloads.iter().map(|&name| name.to_owned()).collect();
        Design { seed, workloads, passes: passes.to_vec(), variants: 4, harness: None, shard: None }
    }

    #[test]
    fn every_unit_holds_every_variant_once_in_each_pass() {
        let all = design(7, &["a", "b"], &[Pass::Throughput, Pass::Memory]).steps(5);
        assert_eq!(all.len(), 5 * 2 * 2 * 4);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        for group in all.chunks(4) {
            assert!(group.iter().all(|step| (step.block, step.workload, step.pass)
                == (group[0].block, group[0].workload, group[0].pass)));
        }
    }

    #[test]
    fn what_measures_the_harness_is_in_the_throughput_pass_alone() {
        let passes = [Pass::Throughput, Pass::Memory];
        let with = Design { harness: Some(4), variants: 5, ..design(7, &["a"], &passes) };
        let of = |pass: Pass| {
            let steps = with.steps(3).into_iter().filter(move |step| step.pass == pass);
            steps.map(|step| step.variant).collect::<Vec<usize>>()
        };
        assert_eq!(of(Pass::Throughput).iter().filter(|&&variant| variant == 4).count(), 3);
        assert_eq!((of(Pass::Memory).len(), of(Pass::Memory).contains(&4)), (3 * 4, false));
    }

    #[test]
    fn shards_hold_what_the_whole_run_does_and_in_its_order() {
        let passes = [Pass::Throughput, Pass::Memory];
        let whole = design(7, &["a", "b", "c"], &passes);
        let mut left = whole.steps(5);
        for number in 1..=4 {
            let shard = Design { shard: Some(format!("{number}/4").parse().unwrap()), ..whole.clone() };
            let held = shard.steps(5);
            let in_order: Vec<Step> = whole.steps(5).into_iter().filter(|step| held.contains(step)).collect();
            assert_eq!(held, in_order, "shard {number}");
            assert_eq!(shard.units(5).count() * 2 * 4, held.len(), "units are whole");
            left.retain(|step| !held.contains(step));
        }
        assert_eq!(left, [], "every sample is in a shard");
    }

    #[test]
    fn the_seed_decides_the_order() {
        let order = |seed| design(seed, &["a"], &[Pass::Memory]).steps(6);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let firsts: HashSet<usize> = order(1).chunks(4).map(|block| block[0].variant).collect();
        assert!(firsts.len() > 1, "one variant is not always the first");
    }

    #[test]
    fn a_unit_is_the_same_whatever_else_is_in_the_run() {
        let variants = |design: &Design, name: &str, block: u32| -> Vec<usize> {
            let of_unit = |step: &Step| design.workloads[step.workload] == name && step.block == block;
            design.steps(8).into_iter().filter(of_unit).map(|step| step.variant).collect()
        };
        let alone = design(1, &["b"], &[Pass::Memory]);
        let among = design(1, &["a", "b", "c"], &[Pass::Memory]);
        for block in 0..8 {
            assert_eq!(variants(&alone, "b", block), variants(&among, "b", block), "block {block}");
        }
        let orders: HashSet<Vec<usize>> = (0..8).map(|block| variants(&among, "a", block)).collect();
        assert!(orders.len() > 1, "blocks differ");
    }

    #[test]
    fn each_block_has_a_load_of_its_own_and_the_first_has_the_run_s() {
        let unit = |block| Unit { workload: "a".to_owned(), block };
        assert_eq!(unit(0).load_seed(7), 7);
        let seeds: HashSet<u64> = (0..100)
            .flat_map(|block| [unit(block).load_seed(7), unit(block).seed(7), unit(block).twin_seed(7)])
            .collect();
        assert_eq!(seeds.len(), 300, "what is drawn for a unit is drawn for nothing else");
        assert_ne!(unit(1).load_seed(7), unit(1).load_seed(8));
    }

    /// Runs measured elsewhere, or by an earlier version, have this order.
    #[test]
    fn the_order_is_that_of_the_documented_hash() {
        let unit = Unit { workload: "monitor-server".to_owned(), block: 3 };
        assert_eq!(unit.seed(1), 15_101_240_429_685_206_614);
        let order: Vec<usize> = design(1, &["monitor-server"], &[Pass::Memory])
            .steps(2)
            .iter()
            .map(|step| step.variant)
            .collect();
        assert_eq!(order, [3, 1, 0, 2, 0, 1, 2, 3]);
    }
}
