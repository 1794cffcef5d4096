//! How often the intervals hold the truth, and how often equal variants are called different.
//!
//!     HEAPLAB_BENCH=long cargo bench -p heaplab --bench coverage
//!
//! 1,000 experiments of a machine that is not good: times have a long tail to the right, one in twenty is a spike,
//! and the machine drifts over the blocks by more than the differences that are looked for. The truth is known,
//! because it was put in. Seeded: the same figures on every machine. 100 experiments where it is not to be long,
//! and a few with `--test`.

#[path = "../../workloads/benches/support/length.rs"]
mod length;

use std::process::ExitCode;

use heaplab::capacity::{BlockNeed, Need, fit_connections};
use heaplab::stats::{
    Interval, NOISE_THRESHOLD, NetRatio, Ratio, Shared, Verdict, bca_interval, median, median_interval,
    net_ratio, paired_ratio, separate_ratio, verdict,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Experiments for each figure.
const EXPERIMENTS: usize = 1000;
/// The blocks of an experiment.
const BLOCKS: [usize; 3] = [6, 10, 20];
/// What the variant's time is to that of the baseline, where they differ.
const FACTOR: f64 = 1.10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    if filters.peek().is_some() && !filters.any(|filter| "coverage".contains(filter.as_str())) {
        println!("coverage: not chosen by the arguments {arguments:?}");
        return ExitCode::SUCCESS;
    }
    let part = match arguments.iter().any(|argument| argument == "--test") {
        true => 50,
        false if length::is_long() => 1,
        false => 10,
    };
    println!(
        "{} experiments for each figure, a quarter of them of a connection's memory",
        EXPERIMENTS / part
    );
    print_coverage(part);
    print_line(part);
    print_false_alarms(part);
    ExitCode::SUCCESS
}

/// A machine over the blocks of one run, or of several.
struct Machine {
    random: ChaCha8Rng,
    /// Logarithm of how slow it is now.
    drift: f64,
    /// How far it drifts from block to block.
    step: f64,
}

impl Machine {
    fn new(seed: u64, step: f64) -> Machine {
        Machine { random: ChaCha8Rng::seed_from_u64(seed), drift: 0.0, step }
    }

    /// On to the next block.
    fn go_on(&mut self) {
        self.drift += self.step * self.normal();
    }

    /// Logarithm of one sample's noise, without the drift: a long tail to the right, and spikes.
    fn noise(&mut self, scale: f64) -> f64 {
        let tail = scale * 0.04 * (self.exponential() + self.exponential());
        let spike =
            if self.random.random_range(0..20u8) == 0 { scale * 0.3 * self.exponential() } else { 0.0 };
        tail + spike
    }

    /// One sample of what takes `time` without noise: the block's drift, and a little of its own.
    fn sample(&mut self, time: f64, scale: f64) -> f64 {
        let own = self.step * 0.2 * self.normal();
        time * (self.drift + own + self.noise(scale)).exp()
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.random.random_range(0.0..1.0f64)).ln()
    }

    fn normal(&mut self) -> f64 {
        let angle = self.random.random_range(0.0..std::f64::consts::TAU);
        (2.0 * self.exponential()).sqrt() * angle.cos()
    }
}

/// How far the machine drifts from one block to the next: 6 %, so that 20 blocks wander by a quarter.
const DRIFT: f64 = 0.06;

/// Pairs of a variant and the baseline, one of each block.
fn run(machine: &mut Machine, blocks: usize, factor: f64, scale: f64) -> Vec<(f64, f64)> {
    let block = |machine: &mut Machine| {
        machine.go_on();
        (machine.sample(100.0 * factor, scale), machine.sample(100.0, 1.0))
    };
    (0..blocks).map(|_| block(machine)).collect()
}

/// The harness's part of the baseline's time: little below the most with which it is subtracted.
const HARNESS: f64 = 0.35;

/// The ratio of what is left of a variant's time and the baseline's without the harness's share.
fn run_net(seed: u64, blocks: usize, factor: f64) -> Option<Ratio> {
    let mut machine = Machine::new(seed, DRIFT);
    let block = |machine: &mut Machine| {
        machine.go_on();
        Shared {
            variant: machine.sample(100.0 * factor, 1.0),
            base: machine.sample(100.0, 1.0),
            harness: machine.sample(100.0 * HARNESS, 1.0),
        }
    };
    match net_ratio(&[(0..blocks).map(|_| block(&mut machine)).collect()], seed)? {
        NetRatio::Known(ratio) => Some(ratio),
        NetRatio::Drowned => None,
    }
}

/// The middle of the noise of one sample in the hour of a run: over its own drift, by many draws.
fn middle_of_hour(machine: &mut Machine, drifts: &[f64]) -> f64 {
    let values = (0..200 * drifts.len()).map(|at| {
        machine.drift = drifts[at % drifts.len()];
        machine.sample(100.0, 1.0)
    });
    median(&values.collect::<Vec<f64>>()).unwrap_or(f64::NAN)
}

/// The truth that a ratio within blocks estimates where the noise of both differs: the middle of the averages of two.
fn middle_of_ratios(factor: f64, scale: f64) -> f64 {
    let mut machine = Machine::new(1, DRIFT);
    let pairs = run(&mut machine, 400_000, 1.0, scale);
    let logs: Vec<f64> =
        pairs.chunks(2).map(|two| two.iter().map(|(a, b)| (a / b).ln()).sum::<f64>() / 2.0).collect();
    factor * median(&logs).unwrap_or(f64::NAN).exp()
}

/// How often an experiment's interval holds its truth, in per cent; an experiment answers with both.
fn coverage(part: usize, mut experiment: impl FnMut(u64) -> (Option<Interval>, f64)) -> f64 {
    let experiments = (EXPERIMENTS / part).max(2);
    let held = (0..experiments).filter(|&seed| {
        let (interval, truth) = experiment(seed as u64);
        interval.is_some_and(|interval| interval.low <= truth && truth <= interval.high)
    });
    held.count() as f64 * 100.0 / experiments as f64
}

fn print_row(name: &str, figure: impl FnMut(usize) -> f64) {
    let cells: Vec<String> = BLOCKS.into_iter().map(figure).map(|part| format!("{part:>9.1} %")).collect();
    println!("{name:<66}{}", cells.concat());
}

fn print_head(name: &str) {
    let cells: Vec<String> = BLOCKS.iter().map(|blocks| format!("{blocks:>11}")).collect();
    println!("\n{name:<66}{}", cells.concat());
}

fn within(ratio: Option<Ratio>) -> Option<Interval> {
    ratio.and_then(|ratio| ratio.interval)
}

fn print_coverage(part: usize) {
    print_head("intervals of 95 % that hold the truth, by blocks");
    let middle = middle_of_hour(&mut Machine::new(1, 0.0), &[0.0; 100]);
    print_row("median of one variant, no drift", |blocks| {
        coverage(part, |seed| {
            let mut machine = Machine::new(seed, 0.0);
            let values: Vec<f64> = (0..blocks).map(|_| machine.sample(100.0, 1.0)).collect();
            (median_interval(&values), middle)
        })
    });
    print_row("median of one variant", |blocks| {
        coverage(part, |seed| {
            let mut machine = Machine::new(seed, DRIFT);
            let mut drifts = Vec::new();
            let block = |_| {
                machine.go_on();
                drifts.push(machine.drift);
                machine.sample(100.0, 1.0)
            };
            let values: Vec<f64> = (0..blocks).map(block).collect();
            (median_interval(&values), middle_of_hour(&mut machine, &drifts))
        })
    });
    for (name, scale) in
        [("ratio within blocks", 1.0), ("ratio within blocks, the variant twice as noisy", 2.0)]
    {
        let truth = middle_of_ratios(FACTOR, scale);
        print_row(name, |blocks| {
            coverage(part, |seed| {
                let pairs = run(&mut Machine::new(seed, DRIFT), blocks, FACTOR, scale);
                (within(paired_ratio(&pairs)), truth)
            })
        });
    }
    print_row("bootstrap: ratio within blocks without a harness of 35 %", |blocks| {
        let truth = (FACTOR - HARNESS) / (1.0 - HARNESS);
        coverage(part, |seed| (within(run_net(seed, blocks, FACTOR)), truth))
    });
    print_row("two runs, on a machine without drift", |blocks| {
        coverage(part, |seed| (two_runs(seed, blocks, 0.0, FACTOR, false), FACTOR))
    });
    print_row("two runs, drifting, as ratios to the baseline within blocks", |blocks| {
        coverage(part, |seed| (two_runs(seed, blocks, DRIFT, FACTOR, true), FACTOR))
    });
    print_row("two runs, drifting, as they are (do not)", |blocks| {
        coverage(part, |seed| (two_runs(seed, blocks, DRIFT, FACTOR, false), FACTOR))
    });
    for (name, statistic) in [
        (
            "bootstrap: saving by the means of two variants (do not)",
            saving as fn(&[Vec<(f64, f64)>]) -> Option<f64>,
        ),
        ("bootstrap: saving by the medians of two variants", middle_saving),
    ] {
        print_row(name, |blocks| {
            coverage(part, |seed| {
                let pairs = run(&mut Machine::new(seed, DRIFT), blocks, FACTOR, 1.0);
                (bca_interval(&[&pairs], seed, statistic), 1.0 - FACTOR)
            })
        });
    }
}

/// Memory of a connection, from three loads whose samples have noise of 1 %; one in twenty is a spike of 30 % and more.
fn print_line(part: usize) {
    const CONNECTION: f64 = 700_000.0;
    let need = |machine: &mut Machine, blocks: usize, connections: u32| {
        let mut bytes = || {
            let spike =
                if machine.random.random_range(0..20u8) == 0 { 0.3 + machine.exponential() } else { 0.0 };
            (5e7 + CONNECTION * f64::from(connections)) * (0.01 * machine.normal() + spike).exp()
        };
        let mut block = || BlockNeed { resident_p99_bytes: bytes(), page_table_bytes: 0.0 };
        Need {
            load: Some(("model".to_owned(), f64::from(connections))),
            blocks: (0..blocks as u32).map(|at| (at, block())).collect(),
            ..Need::default()
        }
    };
    // Two intervals of 10,000 fits each: a quarter of the experiments, or it takes minutes.
    print_row("bootstrap: memory of a connection, spikes in it (250 experiments)", |blocks| {
        coverage(part * 4, |seed| {
            let mut machine = Machine::new(seed, 0.0);
            let needs = [40, 80, 160].map(|connections| need(&mut machine, blocks, connections));
            let row = fit_connections(&needs, 0, seed).remove(0);
            let ends = row.connection_low_bytes.zip(row.connection_high_bytes).zip(row.coverage);
            (ends.map(|((low, high), coverage)| Interval { low, high, coverage }), CONNECTION)
        })
    });
}

/// Saving of the first of each pair against the second, by means.
fn saving(groups: &[Vec<(f64, f64)>]) -> Option<f64> {
    let (one, other) = groups[0].iter().fold((0.0, 0.0), |(a, b), pair| (a + pair.0, b + pair.1));
    Some(1.0 - one / other)
}

/// The same by the medians of each.
fn middle_saving(groups: &[Vec<(f64, f64)>]) -> Option<f64> {
    let (one, other): (Vec<f64>, Vec<f64>) = groups[0].iter().copied().unzip();
    Some(1.0 - median(&one)? / median(&other)?)
}

/// The interval of a variant's change between two runs, of which the second comes a hundred blocks later.
fn two_runs(seed: u64, blocks: usize, drift: f64, factor: f64, against_baseline: bool) -> Option<Interval> {
    let mut machine = Machine::new(seed, drift);
    let old = run(&mut machine, blocks, 1.0, 1.0);
    (0..100).for_each(|_| machine.go_on());
    let new = run(&mut machine, blocks, factor, 1.0);
    let values = |pairs: &[(f64, f64)]| -> Vec<f64> {
        pairs.iter().map(|(value, base)| if against_baseline { value / base } else { *value }).collect()
    };
    within(separate_ratio(&values(&new), &values(&old)))
}

fn print_false_alarms(part: usize) {
    let called = |noise: f64, ratio: Option<Ratio>| {
        let said = ratio.map(|ratio| verdict(&ratio, noise));
        matches!(said, Some(Verdict::Smaller | Verdict::Larger))
    };
    let rate = |found: &mut dyn FnMut(u64) -> bool| {
        let experiments = (EXPERIMENTS / part).max(2);
        (0..experiments as u64).filter(|&seed| found(seed)).count() as f64 * 100.0 / experiments as f64
    };
    print_head("equal variants that are called different, by blocks");
    for (name, noise) in [("beyond the noise threshold of 2 %", NOISE_THRESHOLD), ("at all", 0.0)] {
        print_row(&format!("within blocks, {name}"), |blocks| {
            rate(&mut |seed| {
                called(noise, paired_ratio(&run(&mut Machine::new(seed, DRIFT), blocks, 1.0, 1.0)))
            })
        });
    }
    print_row("within blocks, stopped when within 2 % (at most 100 blocks), at all", |blocks| {
        rate(&mut |seed| {
            let pairs = run(&mut Machine::new(seed, DRIFT), 100, 1.0, 1.0);
            let narrow = |count: &usize| {
                within(paired_ratio(&pairs[..*count]))
                    .is_some_and(|found| (found.high / found.low).sqrt() <= 1.02)
            };
            let count = (blocks..100).find(narrow).unwrap_or(100);
            called(0.0, paired_ratio(&pairs[..count]))
        })
    });
    print_row("two runs without drift, beyond 2 %", |blocks| {
        rate(&mut |seed| {
            let found = two_runs(seed, blocks, 0.0, 1.0, false);
            found.is_some_and(|found| {
                found.low > 1.0 + NOISE_THRESHOLD || found.high < 1.0 / (1.0 + NOISE_THRESHOLD)
            })
        })
    });
}
