//! What the directories of a merge hold, by unit: what is duplicated, what is missing, and the order of a run
//! that was never divided.

use std::collections::{BTreeMap, HashMap};

use super::machines::Kinds;
use super::sources::Source;
use crate::design::{Design, Pass, Unit};
use crate::results::{RunFile, SampleRows, index_rows};
use crate::session::error::{SessionError, usage};

/// How many units a message names before it only counts the rest.
const NAMED: usize = 8;

/// A sample that is copied.
#[derive(Clone, Copy)]
pub(super) struct Copied<'a> {
    /// The directory that it comes from.
    pub(super) source: usize,
    pub(super) rows: &'a SampleRows,
}

/// A unit on one kind of machines: block first, in the order of a run.
type Place = (u32, usize, usize);

/// What a directory holds for a unit.
struct Holding {
    source: usize,
    /// In the order of the unit's steps.
    samples: Vec<SampleRows>,
}

/// Everything that the directories hold.
pub(super) struct Inventory<'a> {
    design: Design,
    blocks: u32,
    held: BTreeMap<Place, Vec<Holding>>,
    /// How many samples a unit has; the same for all.
    samples_of_unit: usize,
    kinds: &'a Kinds,
}

impl<'a> Inventory<'a> {
    /// Reads where the rows of every directory are. A row that belongs to no sample of the plan is refused.
    pub(super) fn take(sources: &[Source], kinds: &'a Kinds) -> Result<Inventory<'a>, SessionError> {
        let file = &sources[0].file;
        let design = design_of(file);
        let workloads: HashMap<&str, usize> =
            design.workloads.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let steps = design.steps_of_unit(0, 0);
        let mut held: BTreeMap<Place, Vec<Holding>> = BTreeMap::new();
        for (at, source) in sources.iter().enumerate() {
            for rows in index_rows(&source.directory)? {
                let workload = workloads.get(rows.key.workload.as_str()).copied();
                let variant = file.variants.iter().position(|variant| variant.label == rows.key.variant);
                let is_planned =
                    |variant| steps.iter().any(|step| step.variant == variant && step.pass == rows.key.pass);
                let (Some(workload), true) = (workload, variant.is_some_and(is_planned)) else {
                    return Err(foreign(source, &rows));
                };
                let unit = design.unit(workload, rows.key.block);
                let is_held = source.file.shard.is_none_or(|shard| shard.holds(&unit.to_string()));
                if rows.key.block >= file.options.reps
                    && file.options.replay.as_ref().is_none_or(|replay| replay.until.is_none())
                    || !is_held
                {
                    return Err(foreign(source, &rows));
                }
                let holdings = held.entry((rows.key.block, workload, kinds.kind(at))).or_default();
                match holdings.iter_mut().find(|holding| holding.source == at) {
                    Some(holding) => holding.samples.push(rows),
                    None => holdings.push(Holding { source: at, samples: vec![rows] }),
                }
            }
        }
        let samples_of_unit = steps.len();
        let mut inventory = Inventory { design, blocks: file.options.reps, held, samples_of_unit, kinds };
        inventory.order_samples(file);
        Ok(inventory)
    }

    /// Puts the samples of each unit in the order in which an uninterrupted run takes them.
    fn order_samples(&mut self, file: &RunFile) {
        for (&(block, workload, _), holdings) in &mut self.held {
            let steps = self.design.steps_of_unit(workload, block);
            let place = |rows: &SampleRows| {
                steps.iter().position(|step| {
                    step.pass == rows.key.pass && file.variants[step.variant].label == rows.key.variant
                })
            };
            for holding in holdings {
                holding.samples.sort_by_key(place);
            }
        }
    }

    /// Refuses units that were measured twice on one kind of machines: which samples would count?
    pub(super) fn refuse_twice(&self, sources: &[Source], kinds: &Kinds) -> Result<(), SessionError> {
        let twice = || self.held.iter().filter(|(_, holdings)| holdings.len() > 1);
        let Some((place, holdings)) = twice().next() else { return Ok(()) };
        let path = |at: usize| sources[holdings[at].source].directory.display();
        let count = twice().count();
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let machines = if kinds.count() > 1 { ", measured on the same kind of machine" } else { "" };
        Err(usage(format!(
            "{} and {} both hold unit {}{more}{machines}: omit one of them",
            path(0),
            path(1),
            self.unit(place)
        )))
    }

    /// What is missing on every machine, in a sentence; none if nothing is.
    pub(super) fn describe_missing(&self) -> Option<String> {
        let missing: Vec<Unit> = self.missing().collect();
        (!missing.is_empty()).then(|| {
            let named: Vec<String> = missing.iter().take(NAMED).map(Unit::to_string).collect();
            let more = missing.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!(
                "{} of {} units are missing or not whole: {}{more}",
                missing.len(),
                self.units(),
                named.join(", ")
            )
        })
    }

    /// What each kind of machine has, if there are several, in sentences.
    pub(super) fn describe_machines(&self, kinds: &Kinds) -> Vec<String> {
        if kinds.count() < 2 {
            return Vec::new();
        }
        let sentence = |kind| {
            let (has, all) = (self.whole_units(kind), self.units());
            let advice = if has < all {
                ": measure all of them on each kind for verdicts that can be compared"
            } else {
                ""
            };
            format!("{} has {has} of {all} units{advice}", kinds.label(kind))
        };
        (0..kinds.count()).map(sentence).collect()
    }

    fn missing(&self) -> impl Iterator<Item = Unit> + '_ {
        let places = (0..self.blocks)
            .flat_map(|block| (0..self.design.workloads.len()).map(move |workload| (block, workload)));
        let is_missing = |&(block, workload): &(u32, usize)| {
            !(0..self.kinds.count()).any(|kind| self.is_whole_at(&(block, workload, kind)))
        };
        places.filter(is_missing).map(|(block, workload)| self.design.unit(workload, block))
    }

    fn is_whole_at(&self, place: &Place) -> bool {
        let holdings = self.held.get(place).map_or(&[][..], Vec::as_slice);
        holdings.iter().any(|holding| holding.samples.len() == self.samples_of_unit)
    }

    /// Whether no unit is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.missing().next().is_none()
    }

    /// Units of the plan.
    pub(super) fn units(&self) -> usize {
        self.blocks as usize * self.design.workloads.len()
    }

    /// Units that are complete on one kind of machine.
    pub(super) fn whole_units(&self, kind: usize) -> usize {
        self.held.keys().filter(|place| place.2 == kind && self.is_whole_at(place)).count()
    }

    /// Every sample, in the order of a run that was never divided, with a unit's machines one after another.
    pub(super) fn in_order(&self) -> impl Iterator<Item = Copied<'_>> {
        self.held
            .values()
            .flatten()
            .flat_map(|holding| holding.samples.iter().map(|rows| Copied { source: holding.source, rows }))
    }

    fn unit(&self, place: &Place) -> Unit {
        self.design.unit(place.1, place.0)
    }
}

/// What a run was meant to consist of, according to its run.toml.
fn design_of(file: &RunFile) -> Design {
    Design {
        seed: file.options.seed,
        workloads: file.workloads.iter().map(|workload| workload.name.clone()).collect(),
        passes: file.options.passes.clone(),
        variants: file.variants.len(),
        harness: file.variants.iter().position(|variant| variant.is_harness),
        shard: None,
    }
}

fn foreign(source: &Source, rows: &SampleRows) -> SessionError {
    let (path, key) = (source.directory.display(), &rows.key);
    let unit = Unit { workload: key.workload.clone(), block: key.block };
    let shard = source.file.shard.map(|shard| format!(", shard {shard}")).unwrap_or_default();
    let pass: Pass = key.pass;
    usage(format!(
        "{path} holds a sample of {unit} ({pass} under {}), which is not in its plan{shard}: its rows were changed",
        key.variant
    ))
}
