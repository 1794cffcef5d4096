//! The sentences that answer "which one?": for each workload the least memory and the fastest,
//! apart, each with its interval and with what can be said against the baseline.

use super::analysis::Analysis;
use super::metrics::{PROGRAM_CPU, PROGRAM_PEAK, RESIDENT_PEAK, WALL_PER_EVENT};
use super::summary::SummaryRow;
use super::units;
use crate::results::Pass;
use crate::stats::{MIN_BLOCKS, NOISE_THRESHOLD, Ratio, Verdict, verdict};

/// One question that a run answers.
struct Question {
    name: &'static str,
    metric: &'static str,
    pass: Pass,
    /// Says that a variant is best: "NAME needs the least memory at the peak".
    best: &'static str,
    show: fn(f64) -> String,
    /// What the figure is of, after its unit.
    each: &'static str,
}

const QUESTIONS: [Question; 4] = [
    Question {
        name: "memory",
        metric: RESIDENT_PEAK,
        pass: Pass::Memory,
        best: "needs the least resident memory at its peak",
        show: units::bytes,
        each: "",
    },
    Question {
        name: "speed",
        metric: WALL_PER_EVENT,
        pass: Pass::Throughput,
        best: "is the fastest",
        show: units::nanoseconds,
        each: " an event",
    },
    Question {
        name: "memory of the program",
        metric: PROGRAM_PEAK,
        pass: Pass::Exec,
        best: "needs the least anonymous resident memory at its peak",
        show: units::bytes,
        each: "",
    },
    Question {
        name: "CPU time of the program",
        metric: PROGRAM_CPU,
        pass: Pass::Exec,
        best: "takes the least CPU time",
        show: units::nanoseconds,
        each: "",
    },
];

/// The answers of a run, a sentence each. Speed and memory are never weighed against each other.
pub fn answer(analysis: &Analysis<'_>) -> Vec<String> {
    let mut sentences = Vec::new();
    if analysis.run.samples.is_empty() {
        return vec!["The run holds no sample: there is nothing to answer.".to_owned()];
    }
    for workload in &analysis.workloads {
        for question in &QUESTIONS {
            let asked = |sample: &crate::results::Sample| {
                sample.pass == question.pass && &sample.workload == workload
            };
            if analysis.run.samples.iter().any(asked) {
                let found = answer_question(analysis, workload, question);
                sentences.push(format!("{workload}, {}: {found}", question.name));
            }
        }
    }
    sentences.extend(QUESTIONS.iter().filter_map(|question| answer_over_workloads(analysis, question)));
    sentences
}

/// One question on one workload.
fn answer_question(analysis: &Analysis<'_>, workload: &str, question: &Question) -> String {
    let row = |variant: &String| analysis.row(workload, variant, question.metric);
    let ranked = analysis.variants.iter().filter(|variant| !analysis.is_floor(variant));
    let mut finished: Vec<&SummaryRow> =
        ranked.filter_map(row).filter(|row| row.failed == 0 && row.median.is_some()).collect();
    finished.sort_by(|a, b| a.median.unwrap_or(f64::MAX).total_cmp(&b.median.unwrap_or(f64::MAX)));
    let Some((&best, rest)) = finished.split_first() else {
        return "no variant finished every sample, so none is named.".to_owned();
    };
    let value = describe_value(best, question);
    let Some(&next) = rest.first() else {
        return format!(
            "only {} finished every sample ({value}): there is nothing to compare it with.",
            best.variant
        );
    };
    if (best.n as usize) < MIN_BLOCKS || (next.n as usize) < MIN_BLOCKS {
        let blocks = best.n.min(next.n);
        return format!(
            "too few blocks for a verdict ({blocks}, and it takes {MIN_BLOCKS}); the least median is that of {}: {value}.",
            best.variant
        );
    }
    let of_next = analysis.ratio(workload, &best.variant, &next.variant, question.metric);
    let baseline =
        analysis.baseline.as_deref().filter(|base| finished.iter().any(|row| row.variant == *base));
    let against = match baseline {
        Some(base) if base != best.variant => base,
        _ => &next.variant,
    };
    let ratio = analysis.ratio(workload, &best.variant, against, question.metric);
    let shown = ratio.as_ref().map(|ratio| verdict(ratio, NOISE_THRESHOLD));
    let measured = describe_ratio(ratio, against);
    match shown {
        Some(Verdict::Smaller) => {
            let close = of_next.is_some_and(|ratio| verdict(&ratio, NOISE_THRESHOLD) != Verdict::Smaller);
            let then = if next.variant == against {
                String::new()
            } else if close {
                format!("; between it and the next, {}, no difference shown", next.variant)
            } else {
                format!("; next is {}", next.variant)
            };
            format!("{} {}: {value}, {measured}{then}.", best.variant, question.best)
        }
        None => format!(
            "no verdict, since zero has no ratio; the least median is that of {}: {value}.",
            best.variant
        ),
        Some(_) => format!(
            "no difference shown between {} (the least median, {value}) and {against}: {measured}.",
            best.variant
        ),
    }
}

/// The geometric mean over workloads; none with fewer than two that all variants finished.
fn answer_over_workloads(analysis: &Analysis<'_>, question: &Question) -> Option<String> {
    let baseline = analysis.baseline.as_deref()?;
    let workloads = analysis.finished_by_all(question.metric);
    if workloads.len() < 2 {
        return None;
    }
    let others =
        analysis.variants.iter().filter(|variant| *variant != baseline && !analysis.is_floor(variant));
    let means = others.filter_map(|variant| {
        let mean = analysis.mean_ratio(&workloads, variant, question.metric)?;
        Some(format!("{variant} {}", units::ratio(mean)))
    });
    let means: Vec<String> = means.collect();
    (!means.is_empty()).then(|| {
        format!(
            "over the {} workloads that every variant finished, {}: geometric mean of the ratio to {baseline}: {}.",
            workloads.len(),
            question.name,
            means.join(", ")
        )
    })
}

fn describe_value(row: &SummaryRow, question: &Question) -> String {
    let middle = format!("{}{}", row.median.map(question.show).unwrap_or_default(), question.each);
    match (row.low, row.high, row.coverage) {
        (Some(low), Some(high), Some(coverage)) => {
            format!(
                "{middle} ({} to {}, {})",
                (question.show)(low),
                (question.show)(high),
                units::percent(coverage)
            )
        }
        _ => middle,
    }
}

fn describe_ratio(ratio: Option<Ratio>, against: &str) -> String {
    let Some(ratio) = ratio else {
        return format!("a ratio to {against} cannot be formed");
    };
    let times = format!("{} times {against}", units::ratio(ratio.estimate));
    match ratio.interval {
        None => times,
        Some(interval) => format!(
            "{times} ({} to {}, {})",
            units::ratio(interval.low),
            units::ratio(interval.high),
            units::percent(interval.coverage)
        ),
    }
}
