//! Samples of a few variants, block by block, until the caller has enough. It keeps no directory.

use std::cell::{Cell, RefCell};
use std::sync::atomic::AtomicBool;

use super::error::{SessionError, usage};
use super::loads::UnitLoads;
use super::notice::{Listener, Notice};
use super::programs::compile_workloads;
use super::replays::Replays;
use super::variants::prove_variants;
use crate::design::{Pass, RunOptions};
use crate::results::metrics::metrics;
use crate::results::{Rows, Status};

/// How measuring the blocks ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlocksEnded {
    /// The caller had seen enough.
    Enough,
    /// All blocks were measured, but they were not enough.
    Exhausted,
    /// A sample is not ok: the index of its variant, and why.
    Failed(usize, String),
    /// It was stopped.
    Stopped,
}

/// The pass that measures a metric of summary.csv for which one sample is enough; none if a replay has no
/// such metric.
pub fn pass_of_metric(name: &str) -> Option<Pass> {
    let found = metrics().find(|metric| metric.name == name).map(|metric| metric.pass);
    found.filter(|pass| matches!(pass, Pass::Throughput | Pass::Memory))
}

/// Measures blocks of one workload like a run with these options, which name the variants and one pass. After
/// each block, `see` gets the metric's values in the order of the variants, and says whether it has seen
/// enough.
///
/// # Errors
///
/// Those of [`super::measure_replays`], and a metric that an ok sample does not have.
pub fn measure_blocks(
    options: &RunOptions,
    metric: &str,
    stop: &AtomicBool,
    listener: Listener<'_>,
    mut see: impl FnMut(&[f64]) -> bool,
) -> Result<BlocksEnded, SessionError> {
    let replays = Replays::find(options)?;
    let value = metrics().find(|known| known.name == metric).map(|metric| metric.value);
    let value = value.ok_or_else(|| usage(format!("there is no metric {metric} of a replay")))?;
    if replays.workloads.len() != 1 {
        return Err(usage("name one workload: each block is of one"));
    }
    let variations = prove_variants(&replays.variants, replays.replay.cpus, listener)?;
    let Some(compiled) = compile_workloads(&replays, stop, listener)? else {
        return Ok(BlocksEnded::Stopped);
    };
    let harness = replays.design.harness;
    let count = replays.variants.len() - usize::from(harness.is_some());
    // The harness's own sample says nothing about a variant.
    let mut steps =
        replays.design.steps(options.reps).into_iter().filter(|step| Some(step.variant) != harness);
    let ended: RefCell<Option<BlocksEnded>> = RefCell::new(None);
    let number = Cell::new(0);
    let loads = UnitLoads::new(&replays, &compiled, stop, listener);
    let mut block: Vec<Option<f64>> = vec![None; count];
    let finished = compiled.campaign(&replays, &variations, &loads, stop).run(
        std::iter::from_fn(|| if ended.borrow().is_some() { None } else { steps.next() }),
        |step| {
            number.set(number.get() + 1);
            listener(&Notice::Sampling {
                workload: &replays.design.workloads[step.workload],
                pass: step.pass,
                variant: &replays.variants[step.variant].label,
                number: number.get(),
                count: None,
            });
        },
        |taken| -> Result<(), SessionError> {
            let place = taken.step.variant;
            let sample = Rows::new("", None, None, &taken).sample;
            if sample.status != Status::Ok {
                let detail = sample.status_detail.unwrap_or_default();
                *ended.borrow_mut() = Some(BlocksEnded::Failed(place, detail));
                return Ok(());
            }
            let found = value(&sample).ok_or_else(|| {
                usage(format!("{} under {} has no {metric}", sample.workload, sample.variant))
            })?;
            block[place] = Some(found);
            if let Some(values) = block.iter().copied().collect::<Option<Vec<f64>>>() {
                block.fill(None);
                if see(&values) {
                    *ended.borrow_mut() = Some(BlocksEnded::Enough);
                }
            }
            Ok(())
        },
    )?;
    listener(&Notice::StageEnded);
    Ok(match ended.into_inner() {
        Some(ended) => ended,
        None if finished => BlocksEnded::Exhausted,
        None => BlocksEnded::Stopped,
    })
}
