//! Samples of ptmalloc2 against itself, for `heaplab doctor --aa`: the same plan, workers and blocks as a run, but no
//! directory. Nothing is kept but the headlines' pairs.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use heaplab_allocators::registry::DEFAULT_BASELINE;

use super::error::SessionError;
use super::notice::{Listener, Notice};
use super::programs::compile_workloads;
use super::replays::Replays;
use super::variants::prove_variants;
use crate::measure::Subject;
use crate::plan::{Pass, RunOptions};
use crate::results::metrics::{headline, name_of_headline};
use crate::results::{Rows, Status};

/// A metric of a workload, as pairs of the one and the other, one of each block.
pub struct Pairs {
    /// The workload's name.
    pub workload: String,
    /// The metric's name in summary.csv.
    pub metric: &'static str,
    /// Its values: of the variant, and of the same variant again.
    pub pairs: Vec<(f64, f64)>,
}

/// Measures [`DEFAULT_BASELINE`], and the same again, as a run with these options; none if it was stopped. The options
/// name no other allocator.
///
/// # Errors
///
/// As [`super::measure_replays`]; and a sample that is not ok.
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
    // Only now: a variant is proven by its text, and this is the text of none.
    let again = format!("{DEFAULT_BASELINE} again");
    replays.variants[1].label.clone_from(&again);
    variations[1].variant.label = again;
    let Some(compiled) = compile_workloads(&replays, stop, listener)? else { return Ok(None) };
    let steps = replays.design.steps(options.reps);
    let count = Some(steps.len() as u64);
    let mut values: BTreeMap<(usize, Pass, u32), [Option<f64>; 2]> = BTreeMap::new();
    let mut number = 0;
    let finished = compiled.campaign(&replays, &variations, stop).run(
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
            let sample = Rows::new("", replays.replay.touch, &taken).sample;
            let failed = |why: &str| {
                let what = format!("{}, {} under {}: {why}", sample.workload, sample.pass, sample.variant);
                SessionError::Failed { what, source: "without every sample there is no comparison".into() }
            };
            if sample.status != Status::Ok {
                return Err(failed(sample.status_detail.as_deref().unwrap_or_default()));
            }
            let of_block =
                values.entry((taken.step.workload, taken.step.pass, taken.step.block)).or_default();
            of_block[taken.step.variant] =
                Some(headline(&sample).ok_or_else(|| failed("a sample without its headline"))?);
            Ok(())
        },
    )?;
    listener(&Notice::StageEnded);
    Ok(finished.then(|| pair_up(&compiled.subjects, &values)))
}

fn pair_up(subjects: &[Subject], values: &BTreeMap<(usize, Pass, u32), [Option<f64>; 2]>) -> Vec<Pairs> {
    let mut all: Vec<Pairs> = Vec::new();
    let mut last = None;
    for (&(workload, pass, _), &of_block) in values {
        let (Some(metric), [Some(one), Some(other)]) = (name_of_headline(pass), of_block) else { continue };
        if last != Some((workload, pass)) {
            all.push(Pairs { workload: subjects[workload].name.clone(), metric, pairs: Vec::new() });
            last = Some((workload, pass));
        }
        if let Some(current) = all.last_mut() {
            current.pairs.push((one, other));
        }
    }
    all
}
