//! The variants of a run: the named ones, those of sweeps, and what a trial run of each proves.

use std::collections::BTreeMap;

use heaplab_allocators::probe::{self, prove};
use heaplab_allocators::registry::{DEFAULTS, FLOOR};
use heaplab_allocators::{Proof, Sweep, SweepError, Variant, VariantError};

use super::error::{SessionError, chain, usage};
use super::notice::{Listener, Notice};
use crate::design::{Pace, Pass, ReplayOptions, RunOptions};
use crate::measure::{Unproven, Variation};
use crate::worker::{CPUS_VARIABLE, Status};

/// The named variants, then those of the sweeps, each once; with notes on the omitted ones.
pub(super) fn find_variants(
    options: &RunOptions,
    replay: &ReplayOptions,
) -> Result<(Vec<Variant>, Vec<String>), SessionError> {
    find_variants_with(options, replay, Variant::parse)
}

/// Refuses variants, sweeps and a baseline that no host could measure. No library needs to exist.
pub(super) fn check_variants(options: &RunOptions, replay: &ReplayOptions) -> Result<(), SessionError> {
    let (variants, _) = find_variants_with(options, replay, Variant::parse_elsewhere)?;
    check_baseline(options.baseline.as_deref(), &variants)
}

/// A function that parses the text of a variant.
type Parse = fn(&str) -> Result<Variant, VariantError>;

fn find_variants_with(
    options: &RunOptions,
    replay: &ReplayOptions,
    parse: Parse,
) -> Result<(Vec<Variant>, Vec<String>), SessionError> {
    let mut variants = match options.allocators.as_slice() {
        [] if !replay.sweeps.is_empty() => Vec::new(),
        specs => parse_variants_with(specs, parse)?,
    };
    let mut notes = Vec::new();
    let may_be_virtual = options.passes.iter().any(|&pass| replay.pace(pass, true) == Pace::Virtual);
    for name in &replay.sweeps {
        for spec in &find_sweep(name)?.variants {
            let variant = parse_variant(spec, parse).map_err(|error| match error {
                SessionError::Usage(text) => usage(format!("sweep {name}: {text}")),
                error => SessionError::failed(format!("sweep {name}"))(error),
            })?;
            if variant.sleeps_in_real_time() && may_be_virtual {
                notes.push(format!(
                    "{spec} of the sweep {name} is left out: its background thread sleeps in real time, which virtual \
                     pace does not have; measure it with --pace real"
                ));
            } else if !variants.iter().any(|other| other.label == variant.label) {
                variants.push(variant);
            }
        }
    }
    Ok((variants, notes))
}

/// Adds `floor`, which measures the harness's share of busy time, if that is measured and the user did not
/// name it. Returns its index.
pub(super) fn add_harness(
    variants: &mut Vec<Variant>,
    options: &RunOptions,
    notes: &mut Vec<String>,
) -> Option<usize> {
    let is_named = variants.iter().any(|variant| variant.label == FLOOR);
    if is_named || !options.passes.contains(&Pass::Throughput) {
        return None;
    }
    match Variant::parse(FLOOR) {
        Ok(floor) => {
            variants.push(floor);
            Some(variants.len() - 1)
        }
        Err(error) => {
            notes.push(format!("the harness's share of busy time is not measured: {}", chain(&error)));
            None
        }
    }
}

fn find_sweep(name: &str) -> Result<Sweep, SessionError> {
    Sweep::find(name).map_err(|error| match &error {
        SweepError::Io { source, .. } if source.kind() != std::io::ErrorKind::NotFound => {
            SessionError::failed("cannot read a sweep")(error)
        }
        _ => usage(chain(&error)),
    })
}

/// The named variants, or the default ones.
pub(super) fn parse_variants(specs: &[String]) -> Result<Vec<Variant>, SessionError> {
    parse_variants_with(specs, Variant::parse)
}

fn parse_variants_with(specs: &[String], parse: Parse) -> Result<Vec<Variant>, SessionError> {
    let named: Vec<&str> = match specs {
        [] => DEFAULTS.to_vec(),
        specs => specs.iter().map(String::as_str).collect(),
    };
    let mut variants: Vec<Variant> = Vec::new();
    for spec in named {
        let variant = parse_variant(spec, parse)?;
        if variants.iter().any(|other| other.label == variant.label) {
            return Err(usage(format!("variant {:?} is named twice", variant.label)));
        }
        variants.push(variant);
    }
    Ok(variants)
}

fn parse_variant(spec: &str, parse: Parse) -> Result<Variant, SessionError> {
    parse(spec).map_err(|error| match error {
        VariantError::Absent(absent) => SessionError::failed(format!("variant {spec}"))(absent),
        other => usage(other.to_string()),
    })
}

/// Refuses a baseline that is not one of the variants.
pub(super) fn check_baseline(baseline: Option<&str>, variants: &[Variant]) -> Result<(), SessionError> {
    match baseline {
        Some(named) if !variants.iter().any(|variant| variant.label == named) => {
            Err(usage(format!("baseline {named:?} is not one of the variants {}", list_labels(variants))))
        }
        _ => Ok(()),
    }
}

/// The labels of variants, for a message.
pub(super) fn list_labels(variants: &[Variant]) -> String {
    variants.iter().map(|variant| variant.label.as_str()).collect::<Vec<_>>().join(", ")
}

/// Runs each variant once without a workload, to see which allocator serves and which settings it accepted.
pub(super) fn prove_variants(
    variants: &[Variant],
    cpus: Option<u32>,
    listener: Listener<'_>,
) -> Result<Vec<Variation>, SessionError> {
    let program = std::env::current_exe().map_err(SessionError::failed("cannot find the running program"))?;
    let mut variations = Vec::new();
    let try_out = |variant: &Variant| {
        let mut command = probe::command(&program, variant);
        if let Some(cpus) = cpus {
            command.env(CPUS_VARIABLE, cpus.to_string());
        }
        prove(command, variant, cpus).map_err(|error| Unproven {
            status: if error.is_crash_at_start() { Status::CrashAtStart } else { Status::Error },
            reason: error.to_string(),
        })
    };
    for variant in variants {
        let mut variation = Variation { variant: variant.clone(), proven: try_out(variant) };
        let family = variation.proven.as_ref().ok().map(|proven| proven.loaded.family);
        if let Some(known) = family.and_then(|family| variant.recognised(family)) {
            // Only loading it showed what it is; its settings are then passed in a different way.
            variation = Variation { proven: try_out(&known), variant: known };
        }
        variations.push(variation);
    }
    tell_doubts(&variations, listener);
    Ok(variations)
}

/// Reports which settings are unproven, each reason once.
fn tell_doubts(variations: &[Variation], listener: Listener<'_>) {
    let mut doubts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Variation { variant, proven } in variations {
        for reason in proven.iter().flat_map(|proven| &proven.proofs).filter_map(Proof::doubt) {
            let labels = doubts.entry(reason).or_default();
            if labels.last() != Some(&variant.label.as_str()) {
                labels.push(&variant.label);
            }
        }
    }
    for (reason, labels) in doubts {
        listener(&Notice::Say(format!("unproven settings, because {reason}: {}", labels.join(", "))));
    }
}
