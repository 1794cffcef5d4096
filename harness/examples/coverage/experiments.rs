//! Experiments on the blocks of long runs: ten of them as if they were all, and forty others as the truth.
//!
//! Runs go in, a document comes out. The intervals are those of summary.csv and of `heaplab compare`: nothing of them is
//! computed here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use heaplab::results::{Pass, Run, Sample, Status, interval_of, load};
use heaplab::stats::{NOISE_THRESHOLD, median_interval, paired_ratio, verdict};
use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The blocks of an experiment: the default of `--reps`.
const BLOCKS: usize = 10;
/// The blocks whose mean is the truth.
const TRUTH: usize = 40;
/// Experiments of a cell, and so many by which chance is told from the rest.
const EXPERIMENTS: usize = 200;
const MANY: usize = 1_000;
/// Fewer blocks than these are no pool.
const LEAST_POOL: usize = 4 * (BLOCKS + TRUTH);

/// A figure of a sample.
struct Figure {
    name: &'static str,
    metric: &'static str,
    value: fn(&Sample) -> Option<u64>,
}

const FIGURES: [Figure; 3] = [
    Figure { name: "peak", metric: "resident_peak_bytes", value: |sample| sample.resident_peak_bytes },
    Figure { name: "mean", metric: "resident_mean_bytes", value: |sample| sample.resident_mean_bytes },
    Figure {
        name: "settled",
        metric: "resident_settled_bytes",
        value: |sample| sample.resident_settled_bytes,
    },
];

/// The variant that ratios are to, and the folders of a pair of runs of the same blocks.
const BASELINE: &str = "ptmalloc2";
const ALONE: &str = "alone";
const BUSY: &str = "busy";

/// Which interval is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// That of the figure, as reports have it.
    Figure,
    /// The median's alone, by order statistics.
    Median,
    /// That of the ratio to the baseline within blocks.
    Ratio,
}

/// One figure of one variant, by block, and the baseline's.
struct Cell {
    metric: &'static str,
    values: Vec<f64>,
    base: Vec<f64>,
}

/// What experiments came to.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    experiments: usize,
    held: usize,
    /// Half of the intervals' widths, added up, as parts of the truth.
    half_widths: f64,
}

impl Held {
    fn add(&mut self, other: Held) {
        self.experiments += other.experiments;
        self.held += other.held;
        self.half_widths += other.half_widths;
    }

    fn percent(&self) -> String {
        format!("{:.1} %", self.held as f64 / self.experiments.max(1) as f64 * 100.0)
    }

    fn half_width(&self) -> String {
        format!("{:.1} %", self.half_widths / self.experiments.max(1) as f64 * 100.0)
    }
}

impl Cell {
    /// Draws blocks without replacement, `count` times, and asks each interval.
    fn hold(&self, asked: Asked, count: usize) -> Result<Held, String> {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut held = Held { experiments: count, ..Held::default() };
        for _ in 0..count {
            let drawn = sample(&mut random, self.values.len(), BLOCKS + TRUTH).into_vec();
            let (blocks, others) = drawn.split_at(BLOCKS);
            let answer = self.ask(asked, blocks, others);
            let ((low, high), truth) = answer.ok_or_else(|| format!("{}: no interval", self.metric))?;
            held.half_widths += (high - low) / 2.0 / truth;
            held.held += usize::from(low <= truth && truth <= high);
        }
        Ok(held)
    }

    /// The ends of the interval of some blocks, and the mean of others.
    fn ask(&self, asked: Asked, blocks: &[usize], others: &[usize]) -> Option<((f64, f64), f64)> {
        let of = |values: &[f64]| blocks.iter().map(|&at| values[at]).collect::<Vec<f64>>();
        let mean = |value: &dyn Fn(usize) -> f64| {
            others.iter().map(|&at| value(at)).sum::<f64>() / others.len() as f64
        };
        let (interval, truth) = match asked {
            Asked::Figure => (interval_of(self.metric, &of(&self.values))?, mean(&|at| self.values[at])),
            Asked::Median => (median_interval(&of(&self.values))?, mean(&|at| self.values[at])),
            Asked::Ratio => {
                let pairs: Vec<(f64, f64)> = of(&self.values).into_iter().zip(of(&self.base)).collect();
                let truth = mean(&|at| (self.values[at] / self.base[at]).ln()).exp();
                (paired_ratio(&pairs)?.interval?, truth)
            }
        };
        Some(((interval.low, interval.high), truth))
    }
}

/// A figure of a run's samples by workload, variant and block.
type Blocks = BTreeMap<(String, String), BTreeMap<u32, f64>>;

fn blocks(run: &Run, figure: &Figure) -> Blocks {
    let mut blocks = Blocks::new();
    let ok = run.samples.iter().filter(|sample| sample.pass == Pass::Memory && sample.status == Status::Ok);
    for sample in ok {
        if let Some(value) = (figure.value)(sample) {
            let key = (sample.workload.clone(), sample.variant.clone());
            blocks.entry(key).or_default().insert(sample.block, value as f64);
        }
    }
    blocks
}

/// The cells of a workload and a variant, a figure each.
struct Row {
    workload: String,
    variant: String,
    cells: Vec<Cell>,
}

fn rows(run: &Run) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = Vec::new();
    for figure in &FIGURES {
        let of_figure = blocks(run, figure);
        for ((workload, variant), values) in &of_figure {
            let place = format!("{workload}, {variant}, {}", figure.name);
            let base = of_figure.get(&(workload.clone(), BASELINE.to_owned()));
            let base = base.ok_or_else(|| format!("{place}: the run lacks {BASELINE}"))?;
            if values.len() < LEAST_POOL || !values.keys().eq(base.keys()) {
                return Err(format!(
                    "{place}: {} blocks are ok, of {LEAST_POOL} that are needed",
                    values.len()
                ));
            }
            let of = |values: &BTreeMap<u32, f64>| values.values().copied().collect::<Vec<f64>>();
            let cell = Cell { metric: figure.metric, values: of(values), base: of(base) };
            match rows.iter_mut().find(|row| row.workload == *workload && row.variant == *variant) {
                Some(row) => row.cells.push(cell),
                None => {
                    rows.push(Row { workload: workload.clone(), variant: variant.clone(), cells: vec![cell] })
                }
            }
        }
    }
    Ok(rows)
}

/// A table of what experiments came to, with those of all in its last line.
fn table(rows: &[Row], asked: Asked, count: usize, show: fn(&Held) -> String) -> Result<String, String> {
    let names = FIGURES.iter().map(|figure| figure.name).collect::<Vec<_>>().join(" | ");
    let mut text = format!("| workload | variant | {names} |\n|---|---|{}\n", "---:|".repeat(FIGURES.len()));
    let mut sums = [Held::default(); FIGURES.len()];
    for row in rows.iter().filter(|row| asked != Asked::Ratio || row.variant != BASELINE) {
        write!(text, "| {} | {} |", row.workload, row.variant).expect("a text");
        for (cell, sum) in row.cells.iter().zip(&mut sums) {
            let held = cell.hold(asked, count)?;
            sum.add(held);
            write!(text, " {} |", show(&held)).expect("a text");
        }
        text.push('\n');
    }
    let mut all = Held::default();
    sums.iter().for_each(|sum| all.add(*sum));
    let cells = sums.iter().map(show).collect::<Vec<_>>().join(" | ");
    writeln!(text, "| all | all figures: {} | {cells} |", show(&all)).expect("a text");
    Ok(text)
}

/// What the same experiments come to on values of a normal distribution.
fn of_normal(asked: Asked) -> Result<Held, String> {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut held = Held::default();
    for _ in 0..20 {
        let mut normal = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let values: Vec<f64> = (0..LEAST_POOL).map(|_| 100.0 + 5.0 * normal()).collect();
        let cell = Cell { metric: FIGURES[0].metric, base: vec![100.0; values.len()], values };
        held.add(cell.hold(asked, EXPERIMENTS)?);
    }
    Ok(held)
}

/// The same blocks beside other work, over those without it.
fn table_of_load(alone: &Run, busy: &Run) -> Result<String, String> {
    let mut text = "| variant | figure | ratio | interval | verdict |\n|---|---|---:|---:|---|\n".to_owned();
    for figure in &FIGURES {
        let busy = blocks(busy, figure);
        for ((workload, variant), values) in &blocks(alone, figure) {
            let others = busy.get(&(workload.clone(), variant.clone()));
            let pairs = values.iter().filter_map(|(block, value)| Some((*others?.get(block)?, *value)));
            let ratio = paired_ratio(&pairs.collect::<Vec<(f64, f64)>>());
            let ratio = ratio.ok_or_else(|| format!("{workload}, {variant}: no block is in both runs"))?;
            let interval = ratio.interval.ok_or_else(|| format!("{workload}, {variant}: too few blocks"))?;
            let (name, estimate, shown) =
                (figure.name, ratio.estimate, verdict(&ratio, NOISE_THRESHOLD).as_str());
            let (low, high) = (interval.low, interval.high);
            writeln!(text, "| {variant} | {name} | {estimate:.3} | {low:.3} to {high:.3} | {shown} |")
                .expect("a text");
        }
    }
    Ok(text)
}

fn read(path: &Path) -> Result<Run, String> {
    let run = load(path).map_err(|error| error.to_string())?;
    if run.file.finished { Ok(run) } else { Err(format!("{}: the run is not finished", path.display())) }
}

/// The runs of a folder in order of their names, but for the pair that tells what other work changes.
fn pools(folder: &Path) -> Result<Vec<Run>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| {
        path.join("run.toml").is_file() && ![ALONE, BUSY].iter().any(|name| path.ends_with(name))
    });
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// The document of a folder of runs.
pub(crate) fn document(folder: &Path) -> Result<String, String> {
    let runs = pools(folder)?;
    let mut all = Vec::new();
    for run in &runs {
        all.extend(rows(run)?);
    }
    let commands: String = runs
        .iter()
        .map(|run| format!("    heaplab {}\n", run.file.argv.get(1..).unwrap_or_default().join(" ")))
        .collect();
    let blocks = all.iter().flat_map(|row| &row.cells).map(|cell| cell.values.len()).min().unwrap_or(0);
    let normal = of_normal(Asked::Median)?.percent();
    let normal_ratio = of_normal(Asked::Ratio)?.percent();
    let figures = table(&all, Asked::Figure, EXPERIMENTS, Held::percent)?;
    let many = table(&all, Asked::Figure, MANY, Held::percent)?;
    let widths = table(&all, Asked::Figure, MANY, Held::half_width)?;
    let medians = table(&all, Asked::Median, MANY, Held::percent)?;
    let ratios = table(&all, Asked::Ratio, MANY, Held::percent)?;
    let load = table_of_load(&read(&folder.join(ALONE))?, &read(&folder.join(BUSY))?)?;
    let least = least(&all)?;
    Ok(format!(
        "# Do memory intervals cover other loads and layouts?

For readers who want to know how far an interval can be trusted. Made by

    scripts/coverage

Each run has {blocks} blocks. Each block has its own layout and, if the workload is a load model, its own load:

{commands}
An experiment draws {TRUTH} blocks at random, and takes their mean as the truth. From {BLOCKS} other blocks, the default of a
run, the code that reports use computes an interval. The truth has an error of its own, a sixth of the standard
deviation of one block, because it comes from {TRUTH} blocks. This error is not subtracted: it makes the truth harder to
cover. Within an experiment no block is drawn twice; experiments share blocks, because there are only {blocks}.

## Intervals of figures

How often the interval contains the truth, in {EXPERIMENTS} experiments per cell; the last line covers all of them. By chance
alone a cell of {EXPERIMENTS} is off by 1.3 % (one standard error).

{figures}
## Intervals of figures, more experiments

The same of {MANY} experiments a cell. The least of any cell: {least}.

{many}
Where a cell says 100 %, blocks differ by less than 0.5 %, and no interval of resident memory is narrower than that.

## Widths

Half of the intervals' mean width, in percent of the truth:

{widths}
## The median's interval alone

How often an interval of order statistics alone would contain the truth, in {MANY} experiments per cell. It contains the
median in 97.9 % of cases, and for normally distributed values the mean of {TRUTH} blocks in {normal}.

{medians}
## Ratios within blocks

How often the interval of the ratio to {BASELINE} contains the geometric mean of {TRUTH} other blocks' ratios, in {MANY}
experiments per cell. If logarithms of ratios are normally distributed, an interval that contains the median ratio in
exactly 95.1 % of cases contains such a mean in {normal_ratio}.

{ratios}
## What other work changes

The same blocks, with the same loads and layouts, were measured with two busy loops per CPU and without them. The table has
the ratios within blocks. The machine also did other work during both runs. mimalloc asks for huge pages, of which the
kernel had more free at some times than at others; without them (`mimalloc:allow_thp=0`) nothing changes.

{load}"
    ))
}

/// The lowest share of any cell.
fn least(rows: &[Row]) -> Result<String, String> {
    let mut least: Option<Held> = None;
    for cell in rows.iter().flat_map(|row| &row.cells) {
        let held = cell.hold(Asked::Figure, MANY)?;
        least = Some(least.filter(|least| least.held <= held.held).unwrap_or(held));
    }
    least.map(|held| held.percent()).ok_or_else(|| "there is no run".to_owned())
}
