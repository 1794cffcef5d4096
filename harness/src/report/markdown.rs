//! report.md: the question, the answer, the evidence, and how to make it again.
//!
//! Everything in it comes from the run's files; nothing from the machine that reports.

use super::analysis::{Analysis, word};
use super::answer::answer;
use super::grid::{Grid, escape_markdown};
use super::metrics::{
    EVENTS_PER_SECOND, PEAK_RATIO, RESIDENT_MEAN, RESIDENT_PEAK, RESIDENT_SETTLED, WALL_PER_EVENT,
};
use super::plots::Plot;
use super::table::workload_grid;
use super::units;
use crate::stats::{MIN_BLOCKS, NOISE_THRESHOLD};

/// The text of report.md. `notes` are all that the reader must know of what is missing.
pub(super) fn markdown(analysis: &Analysis<'_>, plots: &[Plot], notes: &[String]) -> String {
    let file = &analysis.run.file;
    let mut text = format!("# {}\n\n", escape_markdown(&file.run_id));
    text += &format!("{}\n\n## Answer\n\n", question(analysis));
    text += &bullets(&answer(analysis));
    text += &format!(
        "\nSpeed and memory are answered apart: which of them counts is for the reader to say. {}\n",
        describe_baseline(analysis)
    );
    let warnings: Vec<String> = file.warnings.iter().chain(notes).cloned().collect();
    if !warnings.is_empty() {
        text += &format!("\n## Read this first\n\n{}", bullets(&warnings));
    }
    for workload in &analysis.workloads {
        text += &format!("\n## {}\n\n", escape_markdown(workload));
        text += &workload_grid(analysis, workload).markdown();
        for plot in plots.iter().filter(|plot| &plot.workload == workload) {
            let name = plot.path.file_name().unwrap_or_default().to_string_lossy();
            text += &format!("\n![{}: {}](plots/{name})\n", escape_markdown(workload), plot.kind);
        }
        let latency = latency_grid(analysis, workload);
        if !latency.rows.is_empty() {
            text += &format!(
                "\nLatency, median over blocks of each sample's percentile{}:\n\n{}",
                resolution(analysis, workload),
                latency.markdown()
            );
        }
    }
    text += &over_workloads(analysis);
    text += &measured(analysis);
    text += &circumstances(analysis);
    text
}

fn question(analysis: &Analysis<'_>) -> String {
    let of = match analysis.workloads.len() {
        1 => escape_markdown(&analysis.workloads[0]),
        count => format!("these {count} workloads"),
    };
    format!(
        "Which of {} variants runs {of} fastest, and which with the least memory?",
        analysis.variants.iter().filter(|variant| !analysis.is_floor(variant)).count()
    )
}

fn describe_baseline(analysis: &Analysis<'_>) -> String {
    match &analysis.baseline {
        Some(baseline) => format!(
            "Ratios are to {} within blocks; a difference is named when its whole interval is beyond {} %.",
            escape_markdown(baseline),
            NOISE_THRESHOLD * 100.0
        ),
        None => "The baseline is not in this run, so there are no ratios to it.".to_owned(),
    }
}

fn latency_grid(analysis: &Analysis<'_>, workload: &str) -> Grid {
    let header = ["operation", "variant", "p50", "p99", "p99.9", "p99.99", "max"].map(str::to_owned).to_vec();
    let least = analysis.latencies.resolution_ns(workload);
    let mut rows = Vec::new();
    for operation in ["malloc", "calloc", "aligned_alloc", "realloc", "free", "timer"] {
        for scope in ["call", "touch"] {
            for variant in &analysis.variants {
                let cells = ["p50_ns", "p99_ns", "p99_9_ns", "p99_99_ns", "max_ns"].map(|what| {
                    let value = analysis.median(workload, variant, &format!("{operation}_{scope}_{what}"));
                    let under = |value: f64| operation != "timer" && least.is_some_and(|least| value < least);
                    value.map(|value| {
                        let mark = if under(value) { " (under resolution)" } else { "" };
                        format!("{}{mark}", units::nanoseconds(value))
                    })
                });
                if cells.iter().any(Option::is_some) {
                    let name =
                        if scope == "touch" { format!("{operation} + touch") } else { operation.to_owned() };
                    let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
                    rows.push([name, variant.clone()].into_iter().chain(cells).collect());
                }
            }
        }
    }
    Grid { names: 2, header, rows }
}

fn resolution(analysis: &Analysis<'_>, workload: &str) -> String {
    let least = analysis.latencies.resolution_ns(workload);
    least.map_or_else(String::new, |least| {
        format!(
            " (below {}, three times the timer's median, values are under resolution)",
            units::nanoseconds(least)
        )
    })
}

/// Geometric means over the workloads that every variant finished.
fn over_workloads(analysis: &Analysis<'_>) -> String {
    let Some(baseline) = analysis.baseline.as_deref().filter(|_| analysis.workloads.len() > 1) else {
        return String::new();
    };
    let metrics = [WALL_PER_EVENT, RESIDENT_PEAK, RESIDENT_MEAN, RESIDENT_SETTLED];
    let finished: Vec<Vec<&str>> = metrics.iter().map(|metric| analysis.finished_by_all(metric)).collect();
    let named = ["variant", "time/event", "peak", "mean", "settled"].iter();
    let counts = [None].into_iter().chain(finished.iter().map(|workloads| Some(workloads.len())));
    let header = named.zip(counts).map(|(name, count)| match count {
        Some(count) => format!("{name} ({count} workloads)"),
        None => (*name).to_owned(),
    });
    let others =
        analysis.variants.iter().filter(|variant| *variant != baseline && !analysis.is_floor(variant));
    let rows = others.map(|variant| {
        let means = metrics.iter().zip(&finished).map(|(metric, workloads)| {
            analysis.mean_ratio(workloads, variant, metric).map_or_else(|| "-".to_owned(), units::ratio)
        });
        [variant.clone()].into_iter().chain(means).collect()
    });
    let grid = Grid { names: 1, header: header.collect(), rows: rows.collect() };
    format!(
        "\n## Over all workloads\n\nGeometric mean of the ratios to {}, over the workloads that every variant \
         finished.\n\n{}",
        escape_markdown(baseline),
        grid.markdown()
    )
}

fn measured(analysis: &Analysis<'_>) -> String {
    let options = &analysis.run.file.options;
    let passes: Vec<String> = options.passes.iter().map(word).collect();
    let asked = |value: &Option<String>| value.clone().unwrap_or_else(|| "each pass's default".to_owned());
    let cpus = options.cpus.map_or_else(|| "each trace's own".to_owned(), |cpus| cpus.to_string());
    let mut items = vec![
        format!(
            "passes: {}; {} blocks, each with every variant once, in seeded random order",
            passes.join(", "),
            options.reps
        ),
        format!("order: {}; pace: {}; touch: {}", asked(&options.order), asked(&options.pace), options.touch),
        format!("CPUs that allocators were shown: {cpus}"),
        format!(
            "{} checkpoints; windows of at most {} events; time-out {} s",
            options.checkpoints, options.window_events, options.timeout_s
        ),
    ];
    items.extend([
        format!(
            "intervals are exact order-statistic intervals of the median; those of ratios invert Wilcoxon's signed-rank \
             test on the ratios within blocks; both state the coverage that they reach, and need {MIN_BLOCKS} blocks"
        ),
        format!(
            "`{WALL_PER_EVENT}`, `{EVENTS_PER_SECOND}`: throughput pass, nothing timed inside; `{RESIDENT_PEAK}`: \
             anonymous resident memory less the harness's constant; `{PEAK_RATIO}`: resident over requested at the \
             requested peak"
        ),
    ]);
    let caveats = [
        "A replay makes the recorded calls at its own pace: what the program does between calls is not in it.",
        "Absolute times belong to this machine and this hour; ratios within blocks are what carries over.",
        "`floor` measures the harness and is never ranked.",
        "\"No difference shown\" does not prove that there is none.",
    ]
    .map(str::to_owned);
    let caveats = [&list_lacks(analysis)[..], &caveats].concat();
    format!("\n## What was measured, and how\n\n{}\n### Caveats\n\n{}", bullets(&items), bullets(&caveats))
}

/// What cannot be known of a workload, because its trace's source could not tell it.
fn list_lacks(analysis: &Analysis<'_>) -> Vec<String> {
    let workloads = analysis.run.file.workloads.iter();
    let sentence = |name: &str, lack: &String| format!("{name}: its trace lacks {lack}");
    workloads.flat_map(|workload| workload.lacks.iter().map(|lack| sentence(&workload.name, lack))).collect()
}

/// Variants, workloads, machine, and the command that makes it again.
fn circumstances(analysis: &Analysis<'_>) -> String {
    let file = &analysis.run.file;
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let count = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let header = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let variants = file.variants.iter().map(|variant| {
        let version = variant.version.clone().or_else(|| measured_version(analysis, &variant.label));
        vec![
            variant.label.clone(),
            known(&version),
            variant.settings.join(" "),
            known(&variant.library_path),
            known(&variant.library_hash),
        ]
    });
    let variants = Grid {
        names: 5,
        header: header(&["variant", "version", "settings", "library", "SHA-256"]),
        rows: variants.collect(),
    };
    let workloads = file.workloads.iter().map(|workload| {
        let peak =
            workload.requested_peak_bytes.map_or_else(|| "-".to_owned(), |peak| units::bytes(peak as f64));
        let times = if workload.has_times { "real" } else { "none: the event's index stands for it" };
        vec![
            workload.name.clone(),
            workload.source.clone(),
            count(workload.events),
            count(workload.threads),
            peak,
            times.to_owned(),
            known(&workload.trace_hash),
        ]
    });
    let names =
        ["workload", "source", "events", "threads", "requested peak", "times", "SHA-256 of the trace"];
    let workloads = Grid { names: 2, header: header(&names), rows: workloads.collect() };
    let machine = file.machine.iter().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        vec![name.clone(), value]
    });
    let machine = Grid { names: 2, header: header(&["machine", ""]), rows: machine.collect() };
    let command: Vec<String> = file.argv.iter().map(|word| quote(word)).collect();
    format!(
        "\n## Variants\n\n{}\n## Workloads\n\n{}\n## Machine\n\n{}\n## To repeat\n\n    {}\n\nheaplab {}, seed {}, begun {}.\n",
        variants.markdown(),
        workloads.markdown(),
        machine.markdown(),
        command.join(" ").replace(['\n', '\r'], " "),
        escape_markdown(&file.heaplab_version),
        file.seed,
        escape_markdown(&file.started_utc)
    )
}

/// The version that samples state, where run.toml does not.
fn measured_version(analysis: &Analysis<'_>, variant: &str) -> Option<String> {
    analysis
        .run
        .samples
        .iter()
        .filter(|sample| sample.variant == variant)
        .find_map(|sample| sample.allocator_version.clone())
}

fn bullets(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| format!("- {}\n", escape_lines(sentence))).collect()
}

/// Sentences keep their backquotes; only what would break the list or hide text is changed.
fn escape_lines(sentence: &str) -> String {
    sentence.replace(['\n', '\r'], " ").replace('<', "\\<")
}

/// A word as a POSIX shell reads it back.
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
