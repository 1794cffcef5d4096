//! The contents of a report, as data: report.md and report.html are two forms of this one document.
//!
//! Everything in it comes from the run's files; nothing comes from the machine that makes the
//! report.

use serde::Serialize;

use super::analysis::Analysis;
use super::answer::{Answer, question};
use super::costs::{describe_latency, latency_grid};
use super::flaws::describe_growth;
use super::grid::{Grid, Table};
use super::inventory::{machine, variants, workloads};
use super::method::{caveats, measured};
use super::planning::Planned;
use super::plots::Plot;
use super::table::{Columns, TREE_NOTE, describe_table, tree_grids, workload_grid};
use super::units;
use crate::results::metrics::{RESIDENT_MEAN, RESIDENT_PEAK, RESIDENT_SETTLED};
use crate::stats::NOISE_THRESHOLD;

/// A report.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    /// The run's name.
    pub(super) title: &'a str,
    pub(super) question: String,
    pub(super) answer: Answer,
    /// What ratios refer to, and when a difference is reported.
    pub(super) baseline: String,
    /// Everything that the reader must know about missing or distorted figures.
    pub(super) warnings: Vec<String>,
    /// All workloads together; none for a single one.
    pub(super) overview: Option<Overview<'a>>,
    /// Trees of processes with a prediction.
    pub(super) trees: Vec<TreeSection<'a>>,
    pub(super) sections: Vec<Section<'a>>,
    /// Hosts: one section for each plan of the run.
    pub(super) plans: Vec<PlanSection<'a>>,
    pub(super) measured: Vec<String>,
    pub(super) caveats: Vec<String>,
    pub(super) variants: Grid,
    pub(super) workloads: Grid,
    pub(super) machine: Grid,
    /// The command line that repeats the run, as a shell reads it.
    pub(super) command: String,
    pub(super) heaplab_version: &'a str,
    pub(super) seed: u64,
    pub(super) started: &'a str,
}

/// What holds for all workloads together.
#[derive(Debug, Serialize)]
pub(super) struct Overview<'a> {
    /// Means over workloads; none without a baseline.
    pub(super) table: Option<Table>,
    pub(super) plots: Vec<Figure<'a>>,
}

/// A tree of processes.
#[derive(Debug, Serialize)]
pub(super) struct TreeSection<'a> {
    pub(super) name: &'a str,
    pub(super) table: Table,
    pub(super) plots: Vec<Figure<'a>>,
}

/// One workload.
#[derive(Debug, Serialize)]
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    pub(super) table: Table,
    pub(super) plots: Vec<Figure<'a>>,
    /// Percentiles; none if no latency was measured.
    pub(super) latency: Option<Table>,
    /// Where resident memory goes when it is largest; none if no memory was measured.
    pub(super) breakdown: Option<Table>,
    /// The causes of the figures' spread; none if they are not known.
    pub(super) spread: Option<Table>,
    /// Usable sizes that lose the most; none if not known.
    pub(super) sizes: Option<Table>,
    /// Size classes that differ from the baseline's; none if none does.
    pub(super) differences: Option<Table>,
    /// What calls cost by size; none if no latency was measured.
    pub(super) costs: Option<Table>,
    /// What allocators report about their own memory; none if none reports anything.
    pub(super) accounts: Option<Table>,
}

/// How many processes fit on a host.
#[derive(Debug, Serialize)]
pub(super) struct PlanSection<'a> {
    /// The plan's name; none for the unnamed one.
    pub(super) name: Option<&'a str>,
    pub(super) answer: Vec<String>,
    pub(super) tables: Vec<Table>,
    pub(super) plots: Vec<Figure<'a>>,
    pub(super) assumptions: Vec<String>,
    /// What distorts it.
    pub(super) notes: Vec<String>,
}

/// A plot.
#[derive(Debug, Serialize)]
pub(super) struct Figure<'a> {
    /// A description for readers who cannot see it.
    pub(super) title: String,
    /// The PNG's name in `plots/`.
    pub(super) file: String,
    /// The same as an `svg` element.
    pub(super) svg: &'a str,
}

impl<'a> Document<'a> {
    /// Makes the report of a run. `notes` hold everything that the reader must know about what is
    /// missing.
    pub(super) fn new(
        analysis: &'a Analysis<'_>,
        plots: &'a [Plot],
        planned: &'a [Planned],
        answer: Answer,
        notes: &[String],
    ) -> Document<'a> {
        let file = &analysis.run.file;
        let command: Vec<String> = file.argv.iter().map(|word| quote(word)).collect();
        Document {
            title: &file.run_id,
            question: question(analysis),
            answer,
            baseline: describe_baseline(analysis),
            warnings: file.warnings.iter().chain(notes).cloned().chain(describe_growth(analysis)).collect(),
            overview: overview(analysis, plots),
            trees: tree_grids(analysis)
                .map(|(name, grid)| TreeSection {
                    name,
                    table: Table { intro: TREE_NOTE.to_owned(), grid },
                    plots: figures(plots, Some(name)),
                })
                .collect(),
            sections: analysis.workloads.iter().map(|workload| section(analysis, plots, workload)).collect(),
            plans: planned.iter().map(|planned| plan_section(planned, notes)).collect(),
            measured: measured(analysis),
            caveats: caveats(analysis),
            variants: variants(analysis),
            workloads: workloads(analysis),
            machine: machine(analysis),
            command: command.join(" ").replace(['\n', '\r'], " "),
            heaplab_version: &file.heaplab_version,
            seed: file.options.seed,
            started: &file.started_utc,
        }
    }

    /// Every plot, in the order of the report.
    pub(super) fn figures(&self) -> impl Iterator<Item = &Figure<'a>> {
        let of_all = self.overview.iter().flat_map(|overview| &overview.plots);
        let of_plan = self.plans.iter().flat_map(|plan| &plan.plots);
        let of_all = of_all.chain(self.trees.iter().flat_map(|tree| &tree.plots));
        of_all.chain(self.sections.iter().flat_map(|section| &section.plots)).chain(of_plan)
    }
}

fn describe_baseline(analysis: &Analysis<'_>) -> String {
    match &analysis.baseline {
        Some(baseline) => format!(
            "Ratios are to {baseline} within blocks; a difference is named when its whole interval is beyond {} %.",
            NOISE_THRESHOLD * 100.0
        ),
        None => "The baseline is not in this run, so there are no ratios to it.".to_owned(),
    }
}

fn figures<'a>(plots: &'a [Plot], workload: Option<&str>) -> Vec<Figure<'a>> {
    plots.iter().filter(|plot| plot.workload.as_deref() == workload).map(figure).collect()
}

fn figure(plot: &Plot) -> Figure<'_> {
    Figure {
        title: match &plot.workload {
            Some(workload) => format!("{workload}: {}", plot.kind),
            None => format!("all workloads: {}", plot.kind),
        },
        file: plot.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        svg: &plot.svg.0,
    }
}

fn plan_section<'a>(planned: &'a Planned, notes: &[String]) -> PlanSection<'a> {
    PlanSection {
        name: planned.name.as_deref(),
        answer: planned.answer(),
        tables: planned.tables(),
        plots: planned.plots.iter().map(figure).collect(),
        assumptions: planned.assumptions(),
        notes: planned.notes(notes),
    }
}

fn section<'a>(analysis: &'a Analysis<'_>, plots: &'a [Plot], workload: &'a str) -> Section<'a> {
    let latency = latency_grid(analysis, workload);
    Section {
        name: workload,
        table: Table {
            intro: describe_table(analysis, workload),
            grid: workload_grid(analysis, workload, Columns::All),
        },
        plots: figures(plots, Some(workload)),
        latency: (!latency.rows.is_empty())
            .then(|| Table { intro: describe_latency(analysis, workload), grid: latency }),
        breakdown: breakdown(analysis, workload),
        spread: analysis.spread(workload),
        sizes: analysis.sizes.grid(workload).map(|grid| Table { intro: SIZES_NOTE.to_owned(), grid }),
        differences: analysis.size_difference_table(workload),
        costs: analysis.costs(workload),
        accounts: analysis
            .accounts
            .grid(workload, &analysis.variants)
            .map(|grid| Table { intro: ACCOUNTS_NOTE.to_owned(), grid }),
    }
}

const SIZES_NOTE: &str = "By usable size, at the requested peak: the ten that lose the most inside their blocks, and the \
    worst of each variant. Lost is usable minus requested; the share is of everything that the variant loses in this way.";

const ACCOUNTS_NOTE: &str = "What allocators report about their own memory, in the first block: when the program's \
    live bytes were at their peak, and after everything was freed. said to be live: what the allocator itself counts as \
    live. live, metadata, cached, dirty and in none of these add up to resident: live is what the replay holds, in usable \
    bytes; cached memory is free and kept for later blocks, for an allocator that reports only the pages with blocks the \
    rest of these; dirty are whole free pages. Each is cut where less is resident. from the system: what the allocator \
    obtained, resident or not.";

/// Where resident memory goes when it is largest: medians over blocks.
fn breakdown(analysis: &Analysis<'_>, workload: &str) -> Option<Table> {
    let header =
        ["variant", "resident", "requested", "lost inside blocks", "held", "requested, untouched", "when"];
    let has_times = analysis.has_times(workload);
    let mut rows = Vec::new();
    for variant in &analysis.variants {
        let of = |name: &str| analysis.median(workload, variant, &format!("at_resident_peak_{name}"));
        let (Some(resident), Some(at_ns)) = (of("resident_bytes"), of("ns")) else { continue };
        let cell = |name: &str| of(name).map_or_else(|| "-".to_owned(), units::bytes);
        rows.push(vec![
            variant.clone(),
            units::bytes(resident),
            cell("requested_bytes"),
            cell("internal_bytes"),
            cell("held_bytes"),
            cell("untouched_bytes"),
            if has_times { units::nanoseconds(at_ns) } else { units::count(at_ns) },
        ]);
    }
    let when = if has_times { "trace time" } else { "the event's index: the trace has no times" };
    let intro = format!(
        "Where resident memory goes when it is largest: held are caches, free pages and metadata, that is, pages \
         without a live block; when is {when}. Medians over blocks."
    );
    let grid = Grid { names: 1, header: header.map(str::to_owned).to_vec(), rows };
    (!grid.rows.is_empty()).then_some(Table { intro, grid })
}

/// Geometric means over the workloads that every variant finished.
fn overview<'a>(analysis: &Analysis<'_>, plots: &'a [Plot]) -> Option<Overview<'a>> {
    if analysis.workloads.len() < 2 {
        return None;
    }
    let baseline = analysis.baseline.as_deref().filter(|_| !analysis.is_of_one_model());
    let table = baseline.map(|baseline| Table {
        intro: format!(
            "Geometric mean of the ratios to {baseline} over the workloads that every variant finished, with its \
             interval over blocks; lower is better."
        ),
        grid: mean_grid(analysis, baseline),
    });
    Some(Overview { table, plots: figures(plots, None) })
}

fn mean_grid(analysis: &Analysis<'_>, baseline: &str) -> Grid {
    let metrics = [analysis.speed.compared, RESIDENT_PEAK, RESIDENT_MEAN, RESIDENT_SETTLED];
    let finished: Vec<Vec<&str>> = metrics.iter().map(|metric| analysis.finished_by_all(metric)).collect();
    let of_speed = analysis.speed.compared_name();
    let named = ["variant", &of_speed, "peak", "mean", "settled"];
    let counts = [None].into_iter().chain(finished.iter().map(|workloads| Some(workloads.len())));
    let header = named.into_iter().zip(counts).map(|(name, count)| match count {
        Some(count) => format!("{name} ({})", units::counted(count as u64, "workload")),
        None => name.to_owned(),
    });
    let others =
        analysis.variants.iter().filter(|variant| *variant != baseline && !analysis.is_floor(variant));
    let rows = others.map(|variant| {
        let means = metrics.iter().zip(&finished).map(|(metric, workloads)| {
            let mean = analysis.ratio_over(workloads, variant, baseline, metric);
            mean.map_or_else(
                || "-".to_owned(),
                |mean| match mean.interval {
                    Some(interval) => format!(
                        "{} ({} to {})",
                        units::ratio(mean.estimate),
                        units::ratio(interval.low),
                        units::ratio(interval.high)
                    ),
                    None => units::ratio(mean.estimate),
                },
            )
        });
        [variant.clone()].into_iter().chain(means).collect()
    });
    Grid { names: 1, header: header.collect(), rows: rows.collect() }
}

/// Quotes a word so that a POSIX shell reads it back unchanged.
fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_are_quoted_as_a_shell_needs_them() {
        let quoted = ["run", "a b", "it's", "", "ptmalloc2:MALLOC_ARENA_MAX=2", "$HOME"].map(super::quote);
        assert_eq!(quoted, ["run", "'a b'", "'it'\\''s'", "''", "ptmalloc2:MALLOC_ARENA_MAX=2", "'$HOME'"]);
    }
}
