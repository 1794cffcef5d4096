//! The sentences that answer "which one?": for each workload the least memory and the fastest,
//! apart, each with its interval and with what can be said against the baseline.

use serde::Serialize;

use super::analysis::Analysis;
use super::summary::SummaryRow;
use super::units;
use crate::results::Pass;
use crate::results::metrics::{ALLOCATOR_PER_EVENT, PROGRAM_CPU, PROGRAM_PEAK, RESIDENT_PEAK};
use crate::stats::{MIN_BLOCKS, NOISE_THRESHOLD, Ratio, Verdict, verdict};

/// One question that a run answers.
struct Question {
    name: &'static str,
    metric: &'static str,
    /// The metric whose ratios decide: another only of speed.
    compared: &'static str,
    pass: Pass,
    /// Says that a variant is best: "NAME needs the least memory at the peak".
    best: &'static str,
    show: fn(f64) -> String,
    /// What the figure is of, after its unit.
    each: &'static str,
    /// How a smaller and a larger figure differ.
    words: [&'static str; 2],
}

const LESS_AND_MORE: [&str; 2] = ["less", "more"];

fn questions(analysis: &Analysis<'_>) -> [Question; 4] {
    [
        Question {
            name: "memory",
            metric: RESIDENT_PEAK,
            compared: RESIDENT_PEAK,
            pass: Pass::Memory,
            best: "needs the least resident memory at its peak",
            show: units::bytes,
            each: "",
            words: LESS_AND_MORE,
        },
        Question {
            name: "speed",
            metric: analysis.speed.time,
            compared: analysis.speed.compared,
            pass: Pass::Throughput,
            best: "is the fastest",
            show: units::nanoseconds,
            each: analysis.speed.each,
            words: ["less time", "more time"],
        },
        Question {
            name: "memory of the program",
            metric: PROGRAM_PEAK,
            compared: PROGRAM_PEAK,
            pass: Pass::Exec,
            best: "needs the least anonymous resident memory at its peak",
            show: units::bytes,
            each: "",
            words: LESS_AND_MORE,
        },
        Question {
            name: "CPU time of the program",
            metric: PROGRAM_CPU,
            compared: PROGRAM_CPU,
            pass: Pass::Exec,
            best: "takes the least CPU time",
            show: units::nanoseconds,
            each: "",
            words: LESS_AND_MORE,
        },
    ]
}

/// What a run answers: a sentence on memory and one on speed, and the same for each workload where there
/// are several. Speed and memory are never weighed against each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Two sentences, or one where a pass was not measured.
    pub sentences: Vec<String>,
    /// The sentences of each workload, where there is more than one.
    pub by_workload: Vec<String>,
    /// How sure the ranges in brackets are, where there are some.
    pub confidence: Option<String>,
}

impl Answer {
    /// All sentences, the most general first, and how sure they are.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.sentences.iter().chain(&self.by_workload).chain(&self.confidence)
    }
}

/// The answers of a run, a sentence each.
pub fn answer(analysis: &Analysis<'_>) -> Answer {
    if analysis.run.samples.is_empty() {
        let nothing = "The run holds no sample: there is nothing to answer.".to_owned();
        return Answer { sentences: vec![nothing], by_workload: Vec::new(), confidence: None };
    }
    let is_tried = |question: &Question, workload: &str| {
        let mut samples = analysis.run.samples.iter();
        samples.any(|sample| sample.pass == question.pass && sample.workload == workload)
    };
    let questions = questions(analysis);
    let mut each = Vec::new();
    for workload in &analysis.workloads {
        for question in questions.iter().filter(|question| is_tried(question, workload)) {
            let found = answer_question(analysis, workload, question);
            each.push(format!("{workload}, {}: {found}", question.name));
        }
    }
    if analysis.workloads.len() < 2 {
        return match each.is_empty() {
            true => {
                let neither =
                    "Neither speed nor memory was measured: there is nothing to compare.".to_owned();
                Answer { sentences: vec![neither], by_workload: Vec::new(), confidence: None }
            }
            false => Answer {
                sentences: each,
                by_workload: Vec::new(),
                confidence: confidence(analysis, &questions),
            },
        };
    }
    let asked = questions
        .iter()
        .filter(|question| analysis.workloads.iter().any(|workload| is_tried(question, workload)));
    let sentences = asked.map(|question| answer_over_workloads(analysis, question)).collect();
    Answer { sentences, by_workload: each, confidence: confidence(analysis, &questions) }
}

/// The least coverage of the intervals that the answers give, said once for all.
fn confidence(analysis: &Analysis<'_>, questions: &[Question]) -> Option<String> {
    let is_asked = |metric: &str| {
        questions.iter().any(|question| [question.metric, question.compared].contains(&metric))
    };
    let rows = analysis.summary.iter().filter(|row| is_asked(&row.metric));
    let least = rows.flat_map(|row| [row.coverage, row.ratio_coverage]).flatten().min_by(f64::total_cmp)?;
    Some(format!(
        "Ranges in brackets are confidence intervals, each of {} or more.",
        units::percent((least * 1000.0).floor() / 1000.0)
    ))
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
    let baseline =
        analysis.baseline.as_deref().filter(|base| finished.iter().any(|row| row.variant == *base));
    let contest = Contest {
        best: &best.variant,
        next: &next.variant,
        against: baseline.filter(|base| *base != best.variant).unwrap_or(&next.variant),
        value,
        least: "the least median",
    };
    contest.decide(question, |against| Standing {
        ratio: analysis.ratio(workload, &best.variant, against, question.compared),
        is_drowned: analysis.is_drowned(&[workload], &best.variant, against, question.compared),
    })
}

/// One question on all workloads that every variant finished: geometric means of ratios.
fn answer_over_workloads(analysis: &Analysis<'_>, question: &Question) -> String {
    let workloads = analysis.finished_by_all(question.metric);
    let of = format!("{}, over the {} workloads that every variant finished", question.name, workloads.len());
    if analysis.run.is_of_several_machines() {
        return format!("{}: there is no mean over several kinds of machines.", question.name);
    }
    if workloads.len() < 2 {
        return format!(
            "{}: {} of {} workloads was finished by every variant, so there is no mean over workloads.",
            question.name,
            if workloads.is_empty() { "none" } else { "only one" },
            analysis.workloads.len()
        );
    }
    let ranked: Vec<&String> =
        analysis.variants.iter().filter(|variant| !analysis.is_floor(variant)).collect();
    let over = |variant: &str, base: &str| analysis.ratio_over(&workloads, variant, base, question.compared);
    let drowned =
        |variant: &str, base: &str| analysis.is_drowned(&workloads, variant, base, question.compared);
    // Any variant serves as the common measure by which they are put in order.
    let measure = analysis.baseline.as_deref().or(ranked.first().map(|first| first.as_str()));
    let mut means: Vec<(&str, f64)> = Vec::new();
    for variant in &ranked {
        match measure.and_then(|measure| over(variant, measure)) {
            Some(mean) => means.push((variant, mean.estimate)),
            None if measure.is_some_and(|base| drowned(variant, base)) => {
                return format!("{of}: no difference shown: {DROWNED}.");
            }
            None => return format!("{of}: no mean, since zero has no ratio."),
        }
    }
    means.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (Some(&(best, _)), Some(&(next, _))) = (means.first(), means.get(1)) else {
        return format!("{of}: only one variant was measured, and there is nothing to compare it with.");
    };
    let contest = Contest {
        best,
        next,
        against: analysis.baseline.as_deref().filter(|base| *base != best).unwrap_or(next),
        value: "in the geometric mean".to_owned(),
        least: "the least",
    };
    format!(
        "{of}: {}",
        contest.decide(question, |against| Standing {
            ratio: over(best, against),
            is_drowned: drowned(best, against),
        })
    )
}

/// The best of several variants, and what it is held against.
struct Contest<'a> {
    best: &'a str,
    next: &'a str,
    /// The baseline, or where that is the best itself, the next.
    against: &'a str,
    /// Its figure in words.
    value: String,
    /// What makes it the best where no difference is shown.
    least: &'static str,
}

/// How the best stands to another.
struct Standing {
    ratio: Option<Ratio>,
    /// There is no ratio, because the harness's share hides the rest.
    is_drowned: bool,
}

const DROWNED: &str = "the harness's share is too large a part of both";

impl Contest<'_> {
    /// Names the best if a difference is shown, by how it stands to another.
    fn decide(&self, question: &Question, standing: impl Fn(&str) -> Standing) -> String {
        let Contest { best, next, against, value, least } = self;
        let Standing { ratio: of_against, is_drowned } = standing(against);
        let shown = of_against.as_ref().map(|ratio| verdict(ratio, NOISE_THRESHOLD));
        let measured = describe_ratio(of_against, against, question);
        match shown {
            Some(Verdict::Smaller) => {
                let of_next = standing(next).ratio;
                let close = of_next.is_some_and(|ratio| verdict(&ratio, NOISE_THRESHOLD) != Verdict::Smaller);
                let then = if next == against {
                    String::new()
                } else if close {
                    format!("; between it and the next, {next}, no difference shown")
                } else {
                    format!("; next is {next}")
                };
                format!("{best} {}: {value}, {measured}{then}.", question.best)
            }
            None if is_drowned => {
                format!("no difference shown between {best} ({least}, {value}) and {against}: {DROWNED}.")
            }
            None => {
                format!("no verdict, since zero has no ratio; {best} has {least}: {value}.")
            }
            Some(Verdict::TooFew) => {
                format!(
                    "too few blocks for a verdict (it takes {MIN_BLOCKS}); {best} has {least}: {value}, {measured}."
                )
            }
            Some(_) => {
                format!("no difference shown between {best} ({least}, {value}) and {against}: {measured}.")
            }
        }
    }
}

fn describe_value(row: &SummaryRow, question: &Question) -> String {
    let middle = format!("{}{}", row.median.map(question.show).unwrap_or_default(), question.each);
    match row.low.zip(row.high) {
        Some((low, high)) => format!("{middle} ({} to {})", (question.show)(low), (question.show)(high)),
        None => middle,
    }
}

/// How a ratio reads: `15 % less than jemalloc (14 to 16 %)`, `2.31 times jemalloc (2.2 to 2.4)`.
fn describe_ratio(ratio: Option<Ratio>, against: &str, question: &Question) -> String {
    let Some(ratio) = ratio else {
        return format!("a ratio to {against} cannot be formed");
    };
    let difference = units::difference(ratio.estimate, question.words);
    let than = if difference.ends_with("times") { "" } else { " than" };
    let without =
        if question.compared == ALLOCATOR_PER_EVENT { ", the harness's share subtracted" } else { "" };
    match ratio.interval {
        None => format!("{difference}{than} {against}{without}"),
        Some(interval) => {
            let words = question.words;
            let range = units::difference_range(ratio.estimate, interval.low, interval.high, words);
            format!("{difference}{than} {against} ({range}){without}")
        }
    }
}
