//! CPU time of a process under a variant: what was recorded, without the recorder's share, and by how much the variant's
//! own differs.

use std::collections::HashMap;

use super::prediction::find_base;
use super::samples::replayed_cpu_ns;
use crate::results::{Pass, Run, RunWorkload, Status};

/// CPU times that the recorded process would have used under `variant`, in ns, one of each block; none where the recording
/// does not say what it used. Where speed was not measured of the variant and of the build recorded under, it is the
/// recorded time itself, without the recorder's share, alone.
pub fn predict_cpu_times_ns(run: &Run, workload: &RunWorkload, variant: &str) -> Vec<f64> {
    let Some(recorded_ns) = workload.program_cpu_ns().map(|time| time as f64) else { return Vec::new() };
    let beyond = beyond_base(run, &workload.name, variant).filter(|beyond| !beyond.is_empty());
    let beyond = beyond.unwrap_or_else(|| vec![0.0]);
    beyond.into_iter().map(|beyond_ns| (recorded_ns + beyond_ns).max(0.0)).collect()
}

/// What each replay of a workload used beyond that of the variant recorded under, in the same block.
pub(super) fn beyond_base(run: &Run, workload: &str, variant: &str) -> Option<Vec<f64>> {
    let base = find_base(run, workload).ok()?;
    let of = |variant: &str| -> HashMap<u32, f64> {
        let samples = run.samples.iter().filter(|sample| {
            sample.status == Status::Ok
                && sample.pass == Pass::Throughput
                && (&*sample.workload, &*sample.variant) == (workload, variant)
        });
        samples.filter_map(|sample| Some((sample.block, replayed_cpu_ns(sample)? as f64))).collect()
    };
    let (own, base) = (of(variant), of(&base));
    Some(own.iter().filter_map(|(block, own)| Some(own - base.get(block)?)).collect())
}
