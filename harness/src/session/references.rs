//! The replays that a prediction subtracts: on the build that a workload was recorded under, which is shown
//! the recording's CPU count. If the run shows its allocators a different count, it lacks these replays, and
//! they are added.

use heaplab_allocators::{Setting, Variant};

use super::error::SessionError;
use super::notice::{Listener, Notice};
use super::programs::Compiled;
use super::replays::Replays;
use super::variants::prove_variants;
use crate::measure::Variation;

/// Adds to the run each variant that a prediction needs and the run lacks, and says so.
pub(super) fn add_references(
    replays: &mut Replays,
    variations: &mut Vec<Variation>,
    compiled: &Compiled,
    listener: Listener<'_>,
) -> Result<(), SessionError> {
    let Some(shown) = replays.replay.cpus else { return Ok(()) };
    for (index, recording) in compiled.recordings.iter().enumerate() {
        let cpus = compiled.programs.of_workload(index).first().and_then(|program| program.1.cpus);
        let Some(cpus) = cpus.filter(|&cpus| cpus != shown && !recording.memory.is_empty()) else { continue };
        let hash = recording.allocator.as_ref().map(|allocator| allocator.hash.as_str());
        let is_build = |variation: &&Variation| {
            let proven = variation.proven.as_ref().ok();
            variation.variant.settings.is_empty()
                && proven.is_some_and(|proven| Some(proven.library_hash.as_str()) == hash)
        };
        // If the build is not among the variants, the prediction names it.
        let Some(build) = variations.iter().find(is_build) else { continue };
        let reference = at_cpus(&build.variant, cpus);
        if replays.variants.iter().any(|variant| variant.label == reference.label) {
            continue;
        }
        listener(&Notice::Say(format!(
            "{} is added: {} was recorded on {cpus} CPUs, and its prediction needs a replay as it was recorded",
            reference.label, replays.design.workloads[index]
        )));
        variations.extend(prove_variants(std::slice::from_ref(&reference), None, listener)?);
        replays.variants.push(reference);
        replays.design.variants += 1;
    }
    Ok(())
}

/// The variant, shown this many CPUs.
fn at_cpus(variant: &Variant, cpus: u32) -> Variant {
    let setting = Setting { name: "process.cpus".to_owned(), value: cpus.to_string() };
    let label = format!("{}:{}={cpus}", variant.label, setting.name);
    Variant { label, settings: vec![setting], ..variant.clone() }
}
