//! Samples of ptmalloc2 against itself, for `heaplab doctor --aa`: the same plan, workers and blocks as a run, but no
//! directory. Nothing is kept but the headlines' pairs.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use heaplab_allocators::registry::DEFAULT_BASELINE;

use super::plan::{Plan, bare_args};
use super::{prepare, record, stop_on_signals};
use crate::plan::{Pass, steps};
use crate::results::metrics::{headline, name_of_headline};
use crate::results::{Rows, Status};

/// A metric of a workload, as pairs of the one and the other, one of each block.
pub(in crate::cli) struct Pairs {
    pub(in crate::cli) workload: String,
    pub(in crate::cli) metric: &'static str,
    pub(in crate::cli) pairs: Vec<(f64, f64)>,
}

/// Measures speed and peak memory of ptmalloc2 and of ptmalloc2 again; none if it was stopped.
///
/// Without workloads it is the quick suite.
pub(in crate::cli) fn measure_itself(workloads: &[String], reps: u32) -> anyhow::Result<Option<Vec<Pairs>>> {
    let stop = stop_on_signals()?;
    let args = super::Args {
        workloads: workloads.to_vec(),
        allocators: vec![DEFAULT_BASELINE.to_owned()],
        passes: vec![Pass::Throughput, Pass::Memory],
        reps,
        ..bare_args()?
    };
    let mut plan = Plan::new(&args)?;
    plan.variants.push(plan.variants[0].clone());
    let settings = &plan.settings;
    let mut variations = prepare::prove_variants(&plan.variants, settings.cpus)?;
    // Only now: a variant is proven by its text, and this is the text of none.
    let again = format!("{DEFAULT_BASELINE} again");
    plan.variants[1].label.clone_from(&again);
    variations[1].variant.label = again;
    let Some(compiled) = prepare::compile_workloads(&plan, &stop)? else { return Ok(None) };
    let all = steps(settings.seed, reps, compiled.subjects.len(), &settings.passes, plan.variants.len());
    let bar = record::progress_bar(Some(all.len() as u64))?;
    let mut values: BTreeMap<(usize, Pass, u32), [Option<f64>; 2]> = BTreeMap::new();
    let campaign = record::campaign(&plan, &compiled, &variations, &stop);
    let finished = campaign.run(
        all,
        |_| (),
        |taken| -> anyhow::Result<()> {
            let sample = Rows::new("", settings.touch, &taken).sample;
            if sample.status != Status::Ok {
                let why = sample.status_detail.unwrap_or_default();
                bail!("{}, {} under {}: {why}", sample.workload, sample.pass, sample.variant);
            }
            let of_block =
                values.entry((taken.step.workload, taken.step.pass, taken.step.block)).or_default();
            of_block[taken.step.variant] = Some(headline(&sample).context("a sample without its headline")?);
            bar.inc(1);
            Ok(())
        },
    )?;
    bar.finish_and_clear();
    Ok(finished.then(|| pair_up(&compiled.subjects, &values)))
}

fn pair_up(
    subjects: &[crate::measure::Subject],
    values: &BTreeMap<(usize, Pass, u32), [Option<f64>; 2]>,
) -> Vec<Pairs> {
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
