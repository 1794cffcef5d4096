//! The order of the samples: randomised blocks.
//!
//! A block holds every variant once for each workload and pass, in an order that the seed decides, so
//! that a machine that grows slower or faster over the run does so for all variants alike.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Pass;

/// One sample to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// The block that it belongs to, from 0.
    pub block: u32,
    /// Index of its workload.
    pub workload: usize,
    /// What to measure.
    pub pass: Pass,
    /// Index of its variant.
    pub variant: usize,
}

/// All samples of a run in the order in which they are taken.
#[must_use]
pub fn steps(seed: u64, blocks: u32, workloads: usize, passes: &[Pass], variants: usize) -> Vec<Step> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut steps = Vec::new();
    for block in 0..blocks {
        for workload in 0..workloads {
            for &pass in passes {
                let mut order: Vec<usize> = (0..variants).collect();
                order.shuffle(&mut random);
                steps.extend(order.into_iter().map(|variant| Step { block, workload, pass, variant }));
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_block_holds_every_variant_once() {
        let all = steps(7, 5, 2, &[Pass::Throughput, Pass::Memory], 4);
        assert_eq!(all.len(), 5 * 2 * 2 * 4);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        for group in all.chunks(4) {
            assert!(group.iter().all(|step| (step.block, step.workload, step.pass)
                == (group[0].block, group[0].workload, group[0].pass)));
        }
    }

    #[test]
    fn the_seed_decides_the_order() {
        let order = |seed| steps(seed, 6, 1, &[Pass::Memory], 4);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let firsts: HashSet<usize> = order(1).chunks(4).map(|block| block[0].variant).collect();
        assert!(firsts.len() > 1, "one variant is not always the first");
    }
}
