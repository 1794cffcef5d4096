//! Prediction compared with reality, as tables: the output of `heaplab validate`.

use std::io::{self, Write};

use serde::Serialize;

use super::grid::{Grid, Style};
use super::units;
use crate::predict::{
    CLEAR_DIFFERENCE, Errors, Figure, Held, HeldCpu, PLANNED_FRACTION, Ranking, Validation, chance_apart,
};
use crate::results::Counting;

/// With at least this many samples of each variant, chance hardly ever separates pairs whose samples do
/// not overlap.
const SAMPLES_ENOUGH: usize = 5;

/// Prints the tables and sentences of a validation.
pub fn print_validation(validation: &Validation, out: &mut dyn Write, style: Style) -> io::Result<()> {
    memory_grid(validation).print(out, style)?;
    writeln!(out)?;
    if !validation.cpu.is_empty() {
        cpu_grid(validation).print(out, style)?;
        writeln!(out)?;
    }
    for sentence in sentences(validation) {
        writeln!(out, "{sentence}")?;
    }
    Ok(())
}

/// The figures of memory as CSV: fractions and bytes as they are.
pub fn validation_csv(validation: &Validation) -> io::Result<Vec<u8>> {
    csv_of(&validation.memory)
}

/// The CPU times as CSV.
pub fn validation_cpu_csv(validation: &Validation) -> io::Result<Vec<u8>> {
    csv_of(&validation.cpu)
}

fn csv_of(rows: &[impl Serialize]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

fn memory_grid(validation: &Validation) -> Grid {
    let header = [
        "variant",
        "memory",
        "predicted",
        "real",
        "spread",
        "error",
        "over progress",
        "if nothing changes",
        "error of the heap",
        "replays",
        "runs",
    ];
    let row = |held: &Held| {
        vec![
            held.variant.clone(),
            counted(held.counting, &describe_figure(held.figure)),
            units::bytes(held.predicted_bytes),
            units::bytes(held.real_bytes),
            format!("{:.1} %", held.real_spread * 100.0),
            signed(held.error),
            held.progress_error.map_or_else(|| "-".to_owned(), signed),
            held.null_error.map_or_else(|| "-".to_owned(), signed),
            held.heap_error.map_or_else(|| "-".to_owned(), signed),
            units::samples(held.replay_samples, held.replay_failed),
            units::samples(held.program_samples, held.program_failed),
        ]
    };
    Grid {
        names: 2,
        header: header.map(str::to_owned).to_vec(),
        rows: validation.memory.iter().map(row).collect(),
    }
}

/// A figure's name with how memory is counted.
fn counted(counting: Counting, figure: &str) -> String {
    match counting {
        Counting::Process => figure.to_owned(),
        Counting::Once => format!("once: {figure}"),
        Counting::Sum => format!("sum: {figure}"),
    }
}

fn describe_figure(figure: Figure) -> String {
    match figure {
        Figure::Percentile(_) => format!("{}th percentile", figure.to_string().trim_start_matches('p')),
        other => other.to_string(),
    }
}

fn cpu_grid(validation: &Validation) -> Grid {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let row = |held: &HeldCpu| {
        vec![
            held.variant.clone(),
            "CPU time".to_owned(),
            or_dash(held.predicted_ns.map(units::nanoseconds)),
            units::nanoseconds(held.real_ns),
            format!("{:.1} %", held.real_spread * 100.0),
            or_dash(held.error.map(signed)),
            or_dash(held.null_error.map(signed)),
            units::nanoseconds(held.replayed_ns),
            units::samples(held.replay_samples, held.replay_failed),
            units::samples(held.program_samples, held.program_failed),
        ]
    };
    let rows = validation.cpu.iter().map(row);
    let header = [
        "variant",
        "",
        "predicted",
        "real",
        "spread",
        "error",
        "if nothing changes",
        "of the replay alone",
        "replays",
        "runs",
    ];
    Grid { names: 2, header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
}

fn signed(part: f64) -> String {
    // What rounds to zero has no sign.
    let percent = (part * 1000.0).round() / 10.0;
    if percent == 0.0 { "0.0 %".to_owned() } else { format!("{percent:+.1} %") }
}

/// The conclusions from the tables: what failed, errors, rankings, and the parts.
fn sentences(validation: &Validation) -> Vec<String> {
    let mut sentences = validation.shortfall.clone();
    let mut figures: Vec<(Counting, Figure)> = Vec::new();
    for held in &validation.memory {
        if !figures.contains(&(held.counting, held.figure)) {
            figures.push((held.counting, held.figure));
        }
    }
    for (counting, figure) in figures {
        let name = match figure {
            Figure::Peak => "peak".to_owned(),
            Figure::Mean => "time-weighted mean".to_owned(),
            Figure::Percentile(PLANNED_FRACTION) => {
                format!("{}, which plans use", describe_figure(figure))
            }
            Figure::Percentile(_) => describe_figure(figure),
        };
        let name = counted(counting, &name);
        let errors = validation.errors(figure, counting);
        sentences.extend(errors.map(|errors| describe_errors(&name, errors)));
        let ranking = validation.rank_memory(figure, counting);
        sentences.extend(ranking.map(|ranking| describe_ranking(&name, ranking)));
    }
    sentences.extend(validation.cpu_errors().map(|errors| describe_errors("CPU time", errors)));
    sentences.extend(validation.rank_cpu().map(|ranking| describe_ranking("CPU time", ranking)));
    if (1..SAMPLES_ENOUGH).contains(&validation.real_samples) {
        sentences.push(format!(
            "with {} of the program under each variant, {} that do not differ seem to by chance; with --reps \
             {SAMPLES_ENOUGH}, 1 in {:.0}",
            if validation.real_samples == 1 {
                "1 sample".to_owned()
            } else {
                format!("{} samples", validation.real_samples)
            },
            match validation.real_samples {
                1 => "all pairs".to_owned(),
                samples => format!("1 in {:.0} pairs", chance_apart(samples)),
            },
            chance_apart(SAMPLES_ENOUGH)
        ));
    }
    sentences.extend(validation.parts.iter().cloned());
    sentences
}

fn describe_errors(name: &str, errors: Errors) -> String {
    let null = errors.null.map(|null| format!("; {:.1} % if nothing changed", null * 100.0));
    format!(
        "{name}: median error {:.1} %, worst {:.1} %{} (an error within the spread of the real runs counts as 0)",
        errors.median * 100.0,
        errors.worst * 100.0,
        null.unwrap_or_default()
    )
}

fn describe_ranking(name: &str, ranking: Ranking) -> String {
    let Ranking { tau, right_pairs, clear_pairs } = ranking;
    let differ =
        format!("(by more than {:.0} %, with samples that do not overlap)", CLEAR_DIFFERENCE * 100.0);
    let order = format!("order of the variants by {name}");
    match (clear_pairs, right_pairs) {
        // NOTE: without a real difference, tau compares the prediction with chance.
        (0, _) => format!("{order}: no two of them really differ {differ}, so there is no order to predict"),
        (1, right) => {
            let right = if right == 1 { "right" } else { "wrong" };
            format!(
                "{order}: Kendall's tau {tau:.2}; the one pair that really differs {differ} is in the {right} order"
            )
        }
        _ => format!(
            "{order}: Kendall's tau {tau:.2}; {right_pairs} of the {clear_pairs} pairs that really differ {differ} are \
             in the right order"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rounds_to_zero_has_no_sign() {
        assert_eq!([-0.0004, 0.0, 0.0004, -0.0006].map(signed), ["0.0 %", "0.0 %", "0.0 %", "-0.1 %"]);
    }

    #[test]
    fn a_validation_reads_aloud() {
        let held = |variant: &str, predicted_bytes: f64, real_bytes: f64| Held {
            variant: variant.to_owned(),
            figure: Figure::Peak,
            predicted_bytes,
            real_bytes,
            real_least_bytes: real_bytes * 0.99,
            real_most_bytes: real_bytes * 1.01,
            real_spread: 0.01,
            error: (predicted_bytes - real_bytes) / real_bytes,
            null_error: Some((100e6 - real_bytes) / real_bytes),
            heap_error: Some(0.5),
            counting: Counting::Process,
            progress_error: None,
            replay_samples: 8,
            replay_failed: 0,
            program_samples: 3,
            program_failed: u64::from(variant == "jemalloc") * 5,
        };
        let validation = Validation {
            program: "server".to_owned(),
            memory: vec![held("ptmalloc2", 100e6, 104e6), held("jemalloc", 60e6, 59.9e6)],
            cpu: vec![HeldCpu {
                variant: "ptmalloc2".to_owned(),
                replayed_ns: 2e8,
                predicted_ns: Some(3.3e9),
                real_ns: 3e9,
                real_least_ns: 2.9e9,
                real_most_ns: 3.1e9,
                real_spread: 0.033,
                error: Some(0.1),
                null_error: None,
                replay_samples: 8,
                replay_failed: 0,
                program_samples: 3,
                program_failed: 0,
            }],
            real_samples: 3,
            shortfall: vec!["jemalloc: 5 of 8 runs of the program failed".to_owned()],
            parts: vec!["order: as it was".to_owned()],
            ..Validation::default()
        };
        let mut out = Vec::new();
        print_validation(&validation, &mut out, Style { ruled: false, colour: false }).expect("in memory");
        insta::assert_snapshot!(String::from_utf8(out).expect("UTF-8"), @r"
        variant    memory  predicted      real  spread   error  over progress  if nothing changes  error of the heap  replays    runs
        ptmalloc2  peak     95.4 MiB  99.2 MiB   1.0 %  -3.8 %              -              -3.8 %            +50.0 %        8       3
        jemalloc   peak     57.2 MiB  57.1 MiB   1.0 %  +0.2 %              -             +66.9 %            +50.0 %        8  3 of 8

        variant              predicted    real  spread    error  if nothing changes  of the replay alone  replays  runs
        ptmalloc2  CPU time     3.30 s  3.00 s   3.3 %  +10.0 %                   -               200 ms        8     3

        jemalloc: 5 of 8 runs of the program failed
        peak: median error 1.9 %, worst 3.8 %; 35.4 % if nothing changed (an error within the spread of the real runs counts as 0)
        order of the variants by peak: Kendall's tau 1.00; the one pair that really differs (by more than 10 %, with samples that do not overlap) is in the right order
        with 3 samples of the program under each variant, 1 in 10 pairs that do not differ seem to by chance; with --reps 5, 1 in 126
        order: as it was
        ");
        let ranking = |clear_pairs, right_pairs| {
            describe_ranking("peak", Ranking { tau: 1.0 / 3.0, clear_pairs, right_pairs })
        };
        assert_eq!(
            ranking(0, 0),
            "order of the variants by peak: no two of them really differ (by more than 10 %, with samples that do not \
             overlap), so there is no order to predict"
        );
        assert!(ranking(1, 0).ends_with("is in the wrong order"), "{}", ranking(1, 0));
        assert!(ranking(3, 2).contains("tau 0.33; 2 of the 3 pairs that"), "{}", ranking(3, 2));
        let csv = String::from_utf8(validation_csv(&validation).expect("in memory")).expect("UTF-8");
        assert!(csv.starts_with("variant,figure,predicted_bytes,"), "{csv}");
        assert_eq!(csv.lines().count(), 3);
    }
}
