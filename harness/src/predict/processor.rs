//! CPU time of a process under a variant: the recorded time, without the recorder's share, plus the variant's
//! difference.

use std::collections::BTreeMap;

use super::prediction::find_base;
use super::samples::replayed_cpu_ns;
use crate::results::{Pass, Run, RunWorkload, Status};

/// CPU times that the recorded process would have used under `variant`, in ns, by block; none if the
/// recording does not contain its CPU time. If speed was not measured for both the variant and the build recorded
/// under, it is only the recorded time itself, without the recorder's share, as if of one block.
pub fn predict_cpu_times_ns(run: &Run, workload: &RunWorkload, variant: &str) -> BTreeMap<u32, f64> {
    let Some(recorded_ns) = workload.program_cpu_ns().map(|time| time as f64) else { return BTreeMap::new() };
    let beyond = beyond_base(run, &workload.name, variant).filter(|beyond| !beyond.is_empty());
    let beyond = beyond.unwrap_or_else(|| BTreeMap::from([(0, 0.0)]));
    beyond.into_iter().map(|(block, beyond_ns)| (block, (recorded_ns + beyond_ns).max(0.0))).collect()
}

/// The CPU time of each replay of a workload minus that of the variant recorded under, by block.
pub(super) fn beyond_base(run: &Run, workload: &str, variant: &str) -> Option<BTreeMap<u32, f64>> {
    let base = find_base(run, workload).ok()?;
    let of = |variant: &str| -> BTreeMap<u32, f64> {
        let samples = run.samples.iter().filter(|sample| {
            sample.status == Status::Ok
                && sample.pass == Pass::Throughput
                && (&*sample.workload, &*sample.variant) == (workload, variant)
        });
        samples.filter_map(|sample| Some((sample.block, replayed_cpu_ns(sample)? as f64))).collect()
    };
    let (own, base) = (of(variant), of(&base));
    Some(own.iter().filter_map(|(block, own)| Some((*block, own - base.get(block)?))).collect())
}
