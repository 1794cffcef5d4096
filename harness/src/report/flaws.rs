//! Which figures of a table do not come only from complete, undisturbed samples, and how a table marks them.

use std::io::{self, Write};

use super::analysis::Analysis;
use super::growth::Growth;
use super::units;
use crate::results::{Pass, SampleKey};

/// Marks a figure that does not come only from whole samples; explained below the table.
pub(super) const MARK: &str = "*";
/// Marks in the column of samples that memory still grew.
pub(super) const GROWING: &str = "growing";

/// Prints which figures do not come only from complete samples. One paragraph per cause, one line per workload.
pub(super) fn print_remarks(
    analysis: &Analysis<'_>,
    causes: &[Cause],
    mark: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    for cause in causes {
        let marked = find_marked(analysis, *cause);
        if marked.is_empty() {
            continue;
        }
        writeln!(out, "{mark} {}", cause.sentence())?;
        for (workload, marked) in marked {
            writeln!(out, "    {workload}: {marked}")?;
        }
    }
    Ok(())
}

/// The variants that a cause concerns, in words, of each workload that has any.
pub(super) fn find_marked<'a>(analysis: &'a Analysis<'_>, cause: Cause) -> Vec<(&'a str, String)> {
    let of_workload = |workload: &'a String| {
        let marked = analysis.variants.iter().flat_map(|variant| {
            REMARKED.into_iter().filter_map(move |pass| {
                let flaw = Flaws::of(analysis, workload, variant, pass).describe(cause)?;
                Some(format!("{variant} {flaw}"))
            })
        });
        (workload.as_str(), marked.collect::<Vec<String>>().join(", "))
    };
    analysis.workloads.iter().map(of_workload).filter(|(_, marked)| !marked.is_empty()).collect()
}

/// Under which variants memory still grew, and by how much, in a sentence; none if under none.
pub(super) fn describe_growth(analysis: &Analysis<'_>) -> Option<String> {
    let marked = find_marked(analysis, Cause::Growing);
    let of = marked.iter().map(|(workload, marked)| format!("{workload} ({marked})"));
    let of = of.collect::<Vec<String>>().join("; ");
    (!marked.is_empty()).then(|| format!("{} {of}", Cause::Growing.sentence()))
}

/// How many samples one pass took of a variant, how many of them failed, and how many were disturbed, in a few words.
#[must_use]
pub fn count_samples(analysis: &Analysis<'_>, workload: &str, variant: &str, pass: Pass) -> String {
    Flaws::of(analysis, workload, variant, pass).count()
}

/// How many samples one pass took of a variant, and which of them are not whole.
pub(super) struct Flaws {
    all: u64,
    failed: u64,
    /// Samples on memory that the host had not backed.
    cold: u64,
    /// How much memory still grows at the end.
    growth: Option<Growth>,
}

impl Flaws {
    pub(super) fn of(analysis: &Analysis<'_>, workload: &str, variant: &str, pass: Pass) -> Flaws {
        let is_its = |key: &SampleKey| key.workload == workload && key.variant == variant && key.pass == pass;
        Flaws {
            all: analysis.run.samples.iter().filter(|sample| is_its(&sample.key())).count() as u64,
            failed: analysis.figures.failed(workload, variant, pass),
            cold: analysis.cold_blocks(workload, variant, pass).len() as u64,
            growth: Growth::of(analysis, workload, variant, pass),
        }
    }

    /// The number of samples, for a column.
    pub(super) fn count(&self) -> String {
        let mut parts = vec![match *self {
            Flaws { all: 0, .. } => "-".to_owned(),
            Flaws { all, failed, .. } => units::samples(all - failed, failed),
        }];
        parts.extend((self.cold > 0).then(|| format!("{} cold", self.cold)));
        parts.extend(self.growth.map(|_| GROWING.to_owned()));
        parts.join(", ")
    }

    pub(super) fn mark(&self) -> &'static str {
        if Cause::ALL.into_iter().any(|cause| self.describe(cause).is_some()) { MARK } else { "" }
    }

    /// What readers should know about the samples for this cause, if anything.
    fn describe(&self, cause: Cause) -> Option<String> {
        let of_all = |count: u64| (count > 0).then(|| format!("({count} of {})", self.all));
        match cause {
            Cause::Failed => of_all(self.failed),
            Cause::Cold => of_all(self.cold),
            Cause::Growing => self.growth.map(Growth::describe),
        }
    }
}

/// The passes that a terminal table's columns come from.
const REMARKED: [Pass; 3] = [Pass::Throughput, Pass::Memory, Pass::Exec];

/// Why a figure is marked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause {
    Failed,
    Cold,
    Growing,
}

impl Cause {
    pub(super) const ALL: [Cause; 3] = [Cause::Failed, Cause::Cold, Cause::Growing];

    fn sentence(self) -> &'static str {
        match self {
            Cause::Failed => "samples failed, and these figures are of the others:",
            Cause::Cold => {
                "the host supplied memory or took the CPU away during some samples, which slows them:"
            }
            Cause::Growing => {
                "memory still grew in the last third of the time, and a longer run has other figures:"
            }
        }
    }
}
