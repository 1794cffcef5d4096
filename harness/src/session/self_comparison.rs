//! Samples of ptmalloc2 against itself, for `heaplab doctor --aa`: the same plan, workers and blocks as a
//! run, but no directory. Only the headlines' pairs are kept.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use heaplab_allocators::registry::DEFAULT_BASELINE;

use super::error::SessionError;
use super::loads::UnitLoads;
use super::notice::{Listener, Notice};
use super::programs::compile_workloads;
use super::replays::Replays;
use super::variants::prove_variants;
use crate::design::{Pass, RunOptions};
use crate::measure::Subject;
use crate::results::metrics::{harness_per_event, headline, name_of_headline};
use crate::results::{Rows, Sample, Status};
use crate::stats::Shared;

/// A metric of a workload: in each block the one value, the other, and for speed the harness's share of both.
pub struct Pairs {
    /// The workload's name.
    pub workload: String,
    /// The metric's name in summary.csv.
    pub metric: &'static str,
    /// Its values: of the variant again, and of the variant as the base.
    pub blocks: Vec<Shared>,
}

/// What a block holds for a workload and pass.
#[derive(Debug, Clone, Copy, Default)]
struct OfBlock {
    one: Option<f64>,
    other: Option<f64>,
}

/// Measures [`DEFAULT_BASELINE`], and the same again, like a run with these options; none if it was stopped.
/// The options name no other allocator.
///
/// # Errors
///
/// Those of [`super::measure_replays`], and a sample that is not ok.
pub fn measure_itself(
    options: &RunOptions,
    stop: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Option<Vec<Pairs>>, SessionError> {
    let options = RunOptions { allocators: vec![DEFAULT_BASELINE.to_owned()], ..options.clone() };
    let mut replays = Replays::find(&options)?;
    replays.variants.push(replays.variants[0].clone());
    replays.design.variants = replays.variants.len();
    let mut variations = prove_variants(&replays.variants, replays.replay.cpus, listener)?;
    // Only now, because a variant is proven by its text, and no variant has this text.
    let again = format!("{DEFAULT_BASELINE} again");
    let last = replays.variants.len() - 1;
    replays.variants[last].label.clone_from(&again);
    variations[last].variant.label = again;
    let Some(compiled) = compile_workloads(&replays, stop, listener)? else { return Ok(None) };
    let steps = replays.design.steps(options.reps);
    let count = Some(steps.len() as u64);
    let mut values: BTreeMap<(usize, Pass, u32), OfBlock> = BTreeMap::new();
    let mut of_floor: Vec<(usize, Sample)> = Vec::new();
    let mut number = 0;
    let loads = UnitLoads::new(&replays, &compiled, stop, listener);
    let finished = compiled.campaign(&replays, &variations, &loads, stop).run(
        steps,
        |step| {
            number += 1;
            listener(&Notice::Sampling {
                workload: &replays.design.workloads[step.workload],
                pass: step.pass,
                variant: &replays.variants[step.variant].label,
                number,
                count,
            });
        },
        |taken| -> Result<(), SessionError> {
            let sample = Rows::new("", None, None, &taken).sample;
            let failed = |why: &str| {
                let what = format!("{}, {} under {}: {why}", sample.workload, sample.pass, sample.variant);
                SessionError::Failed { what, source: "without every sample there is no comparison".into() }
            };
            if sample.status != Status::Ok {
                return Err(failed(sample.status_detail.as_deref().unwrap_or_default()));
            }
            let of_block =
                values.entry((taken.step.workload, taken.step.pass, taken.step.block)).or_default();
            let value = Some(headline(&sample).ok_or_else(|| failed("a sample without its headline"))?);
            match taken.step.variant {
                0 => of_block.one = value,
                variant if Some(variant) == replays.design.harness => {
                    of_floor.push((taken.step.workload, sample.clone()));
                }
                _ => of_block.other = value,
            }
            Ok(())
        },
    )?;
    listener(&Notice::StageEnded);
    Ok(finished.then(|| pair_up(&compiled.subjects, &values, &of_floor)))
}

fn pair_up(
    subjects: &[Subject],
    values: &BTreeMap<(usize, Pass, u32), OfBlock>,
    of_floor: &[(usize, Sample)],
) -> Vec<Pairs> {
    let mut all: Vec<Pairs> = Vec::new();
    let mut last = None;
    for (&(workload, pass, block), of_block) in values {
        let (Some(metric), Some(base), Some(variant)) =
            (name_of_headline(pass), of_block.one, of_block.other)
        else {
            continue;
        };
        if last != Some((workload, pass)) {
            all.push(Pairs { workload: subjects[workload].name.clone(), metric, blocks: Vec::new() });
            last = Some((workload, pass));
        }
        if let Some(current) = all.last_mut() {
            let of_workload = of_floor.iter().filter(|of| of.0 == workload && pass == Pass::Throughput);
            let shares = harness_per_event(of_workload.map(|of| &of.1));
            let harness = shares.get(&block).copied().unwrap_or(0.0);
            current.blocks.push(Shared { variant, base, harness });
        }
    }
    all
}
