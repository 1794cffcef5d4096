//! What a validation lacks: samples that failed, and variants without figures.

use std::collections::BTreeSet;

use super::held::{Held, HeldCpu};
use crate::results::{Pass, Run, Status};

/// How many blocks of a run have a failed sample of a variant in a pass.
pub(super) fn count_failed(run: &Run, variant: &str, pass: Pass) -> u64 {
    count_blocks(run, variant, pass, |status| status != Status::Ok)
}

fn count_blocks(run: &Run, variant: &str, pass: Pass, is_counted: fn(Status) -> bool) -> u64 {
    let of = run.samples.iter().filter(|sample| sample.pass == pass && sample.variant == variant);
    let blocks: BTreeSet<u32> =
        of.filter(|sample| is_counted(sample.status)).map(|sample| sample.block).collect();
    blocks.len() as u64
}

/// Sentences: of each variant, which samples failed, and which figures are missing.
pub(super) fn describe_shortfall(
    replays: &Run,
    real: &Run,
    (memory, cpu): (&[Held], &[HeldCpu]),
) -> Vec<String> {
    let passes = [
        (replays, Pass::Memory, "replays for memory"),
        (replays, Pass::Throughput, "replays for CPU time"),
        (real, Pass::Exec, "runs of the program"),
    ];
    let compares_cpu = replays.file.options.passes.contains(&Pass::Throughput);
    let describe = |variant: &str| {
        let failed = passes.iter().filter_map(|(run, pass, name)| {
            let failed = count_failed(run, variant, *pass);
            let all = count_blocks(run, variant, *pass, |_| true);
            (failed > 0).then(|| format!("{failed} of {all} {name} failed"))
        });
        let failed = failed.collect::<Vec<String>>().join(", ");
        // Where nothing was recorded of the memory, it is missing for all variants, which another sentence says.
        let has_memory =
            memory.iter().any(|held| held.variant == variant) || (memory.is_empty() && failed.is_empty());
        let has_cpu = !compares_cpu || cpu.iter().any(|held| held.variant == variant);
        let rest = match (has_memory, has_cpu) {
            (true, true) if failed.is_empty() => return None,
            (true, true) => "its figures are of the others",
            (true, false) => "it has no CPU time",
            (false, true) if compares_cpu => "it has no figures of memory",
            (false, _) => "it has no figures",
        };
        Some(if failed.is_empty() {
            format!("{variant}: {rest}")
        } else {
            format!("{variant}: {failed}; {rest}")
        })
    };
    real.file.variants.iter().filter_map(|variant| describe(&variant.label)).collect()
}
