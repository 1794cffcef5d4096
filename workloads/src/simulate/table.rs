//! Tables of quantiles: a distribution of sizes in, quick draws of it out.
//!
//! A table has one size for each of equal parts of the draws. What is rarer than one part is not in it: a table whose
//! shares of draws or of bytes are off is not used, and each size is drawn from the distribution itself. The
//! distribution alone decides which. Empirical sizes are always drawn themselves: each stands for what was counted, and
//! where an interpreter has pools for small objects, the rarest may be all that malloc sees.

use super::distribution::{Shape, Sizes, Tails};
use super::random::Random;

/// The largest difference between a table and its distribution: the share of draws, or of bytes, at or above any size.
const MOST_OFF: f64 = 0.02;

/// A distribution of small sizes: for values drawn for every object.
///
/// PERF: a lookup instead of a logarithm, a root, a sine and an exponential: 4 ns instead of 45.
#[derive(Debug, Clone)]
pub(super) enum SizeTable {
    /// Quantiles: a power of two of them.
    Quantiles(Vec<u32>),
    /// The distribution itself, restricted to sizes above this one.
    Exact(Sizes, u64),
}

/// Bits that draw an entry of a [`SizeTable`].
const TABLE_BITS: u32 = 12;
const TABLE_ENTRIES: usize = 1 << TABLE_BITS;

impl SizeTable {
    /// The table of `sizes`, which must be below 4 GiB.
    pub(super) fn new(sizes: &Sizes) -> SizeTable {
        let quantiles = quantiles(sizes, TABLE_ENTRIES);
        if represents(&[Part { quantiles: &quantiles, sizes, share: 1.0 }]) {
            SizeTable::Quantiles(quantiles)
        } else {
            SizeTable::Exact(sizes.clone(), 0)
        }
    }

    /// A draw.
    #[inline]
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        match self {
            SizeTable::Quantiles(sizes) => u64::from(sizes[random.bits(TABLE_BITS) as usize]),
            SizeTable::Exact(sizes, bytes) => loop {
                let size = sizes.draw(random, 1.0);
                if size > *bytes {
                    break size;
                }
            },
        }
    }

    /// The table restricted to sizes above `bytes`, and their share; unrestricted if there are none.
    pub(super) fn above(self, bytes: u64) -> (SizeTable, f64) {
        match self {
            SizeTable::Exact(sizes, _) => {
                let share = Tails::of(&sizes).at(bytes + 1).0;
                let bytes = if share > 0.0 { bytes } else { 0 };
                (SizeTable::Exact(sizes, bytes), share)
            }
            SizeTable::Quantiles(all) => {
                let left: Vec<u32> = all.iter().copied().filter(|size| u64::from(*size) > bytes).collect();
                let share = left.len() as f64 / all.len() as f64;
                if left.is_empty() {
                    return (SizeTable::Quantiles(all), share);
                }
                // The same number of entries, since a draw picks one of a power of two.
                let spread = (0..TABLE_ENTRIES).map(|entry| left[entry * left.len() / TABLE_ENTRIES]);
                (SizeTable::Quantiles(spread.collect()), share)
            }
        }
    }
}

/// The middles of `count` equal parts of the draws of `sizes`, from the smallest.
pub(super) fn quantiles(sizes: &Sizes, count: usize) -> Vec<u32> {
    // From a large, fixed sample: one method for every shape, including an empirical one.
    const SAMPLE: usize = 1 << 16;
    let draws = SAMPLE.div_ceil(count.max(1));
    let mut random = Random::new(0, 0);
    let mut sample: Vec<u64> = (0..count * draws).map(|_| sizes.draw(&mut random, 1.0)).collect();
    sample.sort_unstable();
    (0..count).map(|part| sample[part * draws + draws / 2] as u32).collect()
}

/// A part of a table: the quantiles of one distribution.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// From the smallest.
    pub(super) quantiles: &'a [u32],
    /// What they are of.
    pub(super) sizes: &'a Sizes,
    /// The share of all draws that come from it.
    pub(super) share: f64,
}

/// Whether a table of these parts may replace their distributions.
pub(super) fn represents(parts: &[Part<'_>]) -> bool {
    let is_empirical = |part: &Part<'_>| matches!(part.sizes.shape, Shape::Empirical(_)) && part.share > 0.0;
    !parts.iter().any(is_empirical) && largest_difference(parts) <= MOST_OFF
}

/// The largest difference between the table and the distributions in the share of draws, or of bytes, that one part has
/// at or above any size.
fn largest_difference(parts: &[Part<'_>]) -> f64 {
    let tails: Vec<Tails> = parts.iter().map(|part| Tails::of(part.sizes)).collect();
    let entries: usize = parts.iter().map(|part| part.quantiles.len()).sum();
    let mean: f64 = parts.iter().zip(&tails).map(|(part, tails)| part.share * tails.at(0).1).sum();
    let mut largest: f64 = 0.0;
    for (part, tails) in parts.iter().zip(&tails) {
        let mut compare = |from: u64, count: usize, bytes: u64| {
            let (share, mean_bytes) = tails.at(from);
            let of_draws = count as f64 / entries as f64 - part.share * share;
            let of_bytes = bytes as f64 / entries as f64 - part.share * mean_bytes;
            largest = largest.max(of_draws.abs()).max(of_bytes.abs() / mean);
        };
        // Between two sizes of the table only the distribution changes, in one direction: it is furthest off right
        // above the one or at the other.
        let (mut count, mut bytes) = (0, 0);
        for same in part.quantiles.chunk_by(|one, other| one == other).rev() {
            let size = u64::from(same[0]);
            compare(size + 1, count, bytes);
            count += same.len();
            bytes += size * same.len() as u64;
            compare(size, count, bytes);
        }
        compare(0, count, bytes);
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::super::weights::SizeWeights;
    use super::*;

    const DRAWS: usize = 200_000;

    fn sizes(shape: Shape) -> Sizes {
        Sizes { shape, median_bytes: 10_000, min_bytes: 1, max_bytes: 64 << 20 }
    }

    fn empirical(text: &str) -> Sizes {
        let table = SizeWeights::parse(text, "sizes.csv", (1, 64 << 20)).unwrap();
        Sizes { median_bytes: table.median_bytes(), ..sizes(Shape::Empirical(table)) }
    }

    #[test]
    fn a_table_draws_as_its_distribution_does() {
        let table = SizeTable::new(&sizes(Shape::Lognormal { sigma: 0.8 }));
        assert!(matches!(table, SizeTable::Quantiles(_)));
        let expected = 10_000.0 * libm::exp(0.32);
        let mut random = Random::new(1, 0);
        let mean = (0..DRAWS).map(|_| table.draw(&mut random) as f64).sum::<f64>() / DRAWS as f64;
        assert!((mean / expected - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn what_a_table_cannot_hold_is_drawn_exactly() {
        for shape in [Shape::Pareto { alpha: 1.1 }, Shape::Lognormal { sigma: 2.5 }] {
            let table = SizeTable::new(&sizes(shape.clone()));
            assert!(matches!(table, SizeTable::Exact(..)), "{shape:?}");
        }
        for share in [1e-4, 1e-2] {
            let table = SizeTable::new(&empirical(&format!("48,{}\n1000000,{share}\n", 1.0 - share)));
            let mut random = Random::new(1, 0);
            let draws = 40 * DRAWS;
            let large = (0..draws).filter(|_| table.draw(&mut random) == 1_000_000).count();
            assert!((large as f64 / draws as f64 / share - 1.0).abs() < 0.1, "{share}: {large}");
        }
    }

    #[test]
    fn what_a_table_holds_stays_in_it() {
        for shape in [Shape::Fixed, Shape::Exponential, Shape::Lognormal { sigma: 1.0 }] {
            let table = SizeTable::new(&sizes(shape.clone()));
            assert!(matches!(table, SizeTable::Quantiles(_)), "{shape:?}");
        }
    }

    #[test]
    fn a_restriction_leaves_the_share_that_is_larger() {
        let restricted = |text: &str, bytes: u64| SizeTable::new(&empirical(text)).above(bytes);
        let (table, share) = restricted("48,99990\n1000000,10\n", 256);
        assert!((share - 1e-4).abs() < 1e-12, "{share}");
        assert_eq!(table.draw(&mut Random::new(1, 0)), 1_000_000);
        let (table, share) = restricted("48,3\n512,1\n", 256);
        assert!((share - 0.25).abs() < 0.01, "{share}");
        assert_eq!(table.draw(&mut Random::new(1, 0)), 512);
        for text in ["48,99990\n100000,10\n", "48,1\n"] {
            let (table, share) = restricted(text, 100_000);
            assert_eq!(share, 0.0, "{text}");
            assert!(table.draw(&mut Random::new(1, 0)) >= 48);
        }
    }
}
