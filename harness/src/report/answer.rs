//! The sentences that answer "which one?": for each workload the least memory and the fastest, separately,
//! each with its interval and the comparison with the baseline.

use serde::Serialize;

use super::analysis::Analysis;
use super::planned_memory::{Entrant, PlannedMemory};
use super::units;
use crate::results::metrics::{
    ALLOCATOR_PER_EVENT, PROGRAM_CPU, PROGRAM_ONCE_PEAK, PROGRAM_PEAK, RESIDENT_PEAK,
};
use crate::results::{Counting, Pass, Sample};
use crate::stats::{MIN_BLOCKS, NOISE_THRESHOLD, Ratio, Verdict, verdict};

/// One question that a run answers.
struct Question {
    name: &'static str,
    metric: &'static str,
    /// The metric whose ratios decide: a different one only for speed.
    compared: &'static str,
    pass: Pass,
    /// Says that a variant is best: "NAME needs the least memory at the peak".
    best: &'static str,
    show: fn(f64) -> String,
    /// What the figure measures, stated after its unit.
    each: &'static str,
    /// Words for a smaller and a larger figure.
    words: [&'static str; 2],
}

impl Question {
    fn is_memory(&self) -> bool {
        [RESIDENT_PEAK, PROGRAM_PEAK, PROGRAM_ONCE_PEAK].contains(&self.metric)
    }
}

const LESS_AND_MORE: [&str; 2] = ["less", "more"];

fn questions(analysis: &Analysis<'_>) -> [Question; 4] {
    let (peak, best) = match analysis.program_counting(None) {
        Counting::Process => (PROGRAM_PEAK, "needs the least anonymous resident memory at its peak"),
        Counting::Once => (
            PROGRAM_ONCE_PEAK,
            "needs the least anonymous memory at its peak, with pages that its processes share counted once",
        ),
        Counting::Sum => {
            (PROGRAM_PEAK, "needs the least anonymous resident memory at its peak, its processes' added up")
        }
    };
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
            metric: peak,
            compared: peak,
            pass: Pass::Exec,
            best,
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

/// A run's answers: for each workload a sentence about memory and one about speed, as far as they were measured. Speed
/// and memory are never weighed against each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The sentences of each workload.
    pub sentences: Vec<String>,
    /// Means over several programs; none for several loads of one program, which are not a sample of programs.
    pub over_workloads: Vec<String>,
    /// The kind of memory, if it is the figure for planning.
    pub planned: Option<String>,
    /// The confidence of the ranges in brackets, if there are any.
    pub confidence: Option<String>,
    /// Whether both speed and memory were answered, so that the reader weighs them.
    pub is_of_both: bool,
}

impl Answer {
    /// All sentences and their confidence.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.sentences.iter().chain(&self.over_workloads).chain(&self.planned).chain(&self.confidence)
    }

    /// The most general sentences: means, if there are any.
    pub fn shortest(self) -> Vec<String> {
        if self.over_workloads.is_empty() { self.sentences } else { self.over_workloads }
    }

    fn nothing(why: &str) -> Answer {
        Answer {
            sentences: vec![why.to_owned()],
            over_workloads: Vec::new(),
            planned: None,
            confidence: None,
            is_of_both: false,
        }
    }
}

/// The answers of a run, one sentence each. Memory is the figure of the run's plan if it has one, otherwise the peak.
pub(super) fn answer(analysis: &Analysis<'_>, planned: Option<&PlannedMemory>) -> Answer {
    if analysis.run.samples.is_empty() {
        return Answer::nothing("The run holds no sample: there is nothing to answer.");
    }
    let questions = questions(analysis);
    let asked = || questions.iter().filter(|question| is_tried(analysis, question, None));
    let mut sentences = Vec::new();
    for workload in &analysis.workloads {
        for question in questions.iter().filter(|question| is_tried(analysis, question, Some(workload))) {
            let of_plan = planned.filter(|_| question.is_memory()).and_then(|planned| {
                let entrants = planned.entrants(workload);
                let ratio = |own: &str, base: &str| planned.ratio(workload, own, base);
                let scope = describe_left_out(analysis, workload, question, &entrants);
                (!entrants.is_empty()).then(|| (scope, answer_planned(analysis, entrants, ratio)))
            });
            let (scope, found) = of_plan.unwrap_or_else(|| answer_question(analysis, workload, question));
            sentences.push(format!("{workload}, {}{scope}: {found}", question.name));
        }
    }
    if sentences.is_empty() {
        return Answer::nothing("Neither speed nor memory was measured: there is nothing to compare.");
    }
    let has_means = analysis.workloads.len() > 1 && !analysis.is_of_one_model();
    let over_workloads = if has_means {
        asked().map(|question| answer_over_workloads(analysis, question)).collect()
    } else {
        Vec::new()
    };
    Answer {
        sentences,
        over_workloads,
        planned: planned.map(PlannedMemory::describe),
        confidence: confidence(analysis, &questions),
        is_of_both: asked().any(Question::is_memory) && asked().any(|question| !question.is_memory()),
    }
}

/// Whether there are samples that can answer a question, for one workload or for any.
fn is_tried(analysis: &Analysis<'_>, question: &Question, workload: Option<&str>) -> bool {
    let is_of = |sample: &Sample| workload.is_none_or(|workload| sample.workload == workload);
    analysis.run.samples.iter().any(|sample| sample.pass == question.pass && is_of(sample))
}

/// What a run was made to find out, in a sentence.
pub(super) fn question(analysis: &Analysis<'_>) -> String {
    let of = match &analysis.workloads[..] {
        [] => "its workloads".to_owned(),
        [only] => only.clone(),
        many if analysis.is_of_one_model() => {
            format!("{} at {} loads", analysis.model_of(&many[0]).unwrap_or_default(), many.len())
        }
        many => format!("these {} workloads", many.len()),
    };
    let questions = questions(analysis);
    let asks = |is_memory: bool| {
        let mut alike = questions.iter().filter(|question| question.is_memory() == is_memory);
        alike.find(|question| is_tried(analysis, question, None))
    };
    let (memory, speed) = (asks(true).is_some(), asks(false));
    let is_cpu = speed.is_some_and(|question| question.pass == Pass::Exec);
    let count = ranked(analysis).count();
    if count < 2 {
        return match (speed.is_some(), memory) {
            (true, false) => format!("How fast does the one variant of this run serve {of}?"),
            (false, true) => format!("How much memory does {of} need under the one variant of this run?"),
            _ if is_cpu => {
                format!("How much memory and CPU time does {of} need under the one variant of this run?")
            }
            _ => format!("How fast does the one variant of this run serve {of}, and with how much memory?"),
        };
    }
    match (speed.is_some(), memory) {
        (true, false) => format!("Which of {count} variants runs {of} fastest?"),
        (false, true) => format!("Under which of {count} variants does {of} need the least memory?"),
        _ if is_cpu => format!(
            "Under which of {count} variants does {of} need the least memory, and under which the least CPU time?"
        ),
        _ => format!("Which of {count} variants runs {of} fastest, and which with the least memory?"),
    }
}

/// The smallest coverage of the intervals in the answers, stated once for all.
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

/// One question on one workload: which variants the answer is of, if not of all, and the answer.
fn answer_question(analysis: &Analysis<'_>, workload: &str, question: &Question) -> (String, String) {
    let finished = ranked(analysis).filter_map(|variant| {
        let row = analysis.row(workload, variant, question.metric).filter(|row| row.failed == 0)?;
        Some(Entrant { variant, n: row.n as usize, median: row.median?, interval: row.low.zip(row.high) })
    });
    let finished: Vec<Entrant<'_>> = finished.collect();
    let scope = describe_left_out(analysis, workload, question, &finished);
    let found = decide(analysis, finished, question, |own, base| Standing {
        ratio: analysis.ratio(workload, own, base, question.compared),
        is_drowned: analysis.is_drowned(&[workload], own, base, question.compared),
    });
    (scope, found)
}

fn ranked<'a>(analysis: &'a Analysis<'_>) -> impl Iterator<Item = &'a String> {
    analysis.variants.iter().filter(|variant| !analysis.is_floor(variant))
}

/// Names the variants that cannot be the best because samples of theirs failed, although the table may show a better
/// figure for them. Empty if there are none, or if the answer says by itself that at most one variant finished.
fn describe_left_out(
    analysis: &Analysis<'_>,
    workload: &str,
    question: &Question,
    finished: &[Entrant<'_>],
) -> String {
    let is_out = |variant: &&String| finished.iter().all(|entrant| entrant.variant != variant.as_str());
    let out = ranked(analysis).filter(is_out).filter_map(|variant| {
        let failed = analysis.figures.failed(workload, variant, question.pass);
        (failed > 0).then(|| format!("{variant}, {}", units::counted(failed, "sample")))
    });
    let out: Vec<String> = out.collect();
    if out.is_empty() || finished.len() < 2 {
        return String::new();
    }
    format!(", of the variants whose samples are all ok (failed: {})", out.join("; "))
}

/// Answers the question about memory with a plan's figures.
fn answer_planned(
    analysis: &Analysis<'_>,
    entrants: Vec<Entrant<'_>>,
    ratio: impl Fn(&str, &str) -> Option<Ratio>,
) -> String {
    let question = Question {
        name: "memory",
        metric: RESIDENT_PEAK,
        compared: RESIDENT_PEAK,
        pass: Pass::Memory,
        best: "needs the least",
        show: units::bytes,
        each: "",
        words: LESS_AND_MORE,
    };
    decide(analysis, entrants, &question, |own, base| Standing { ratio: ratio(own, base), is_drowned: false })
}

/// Names the best of those that finished, if a difference is shown.
fn decide(
    analysis: &Analysis<'_>,
    mut finished: Vec<Entrant<'_>>,
    question: &Question,
    standing: impl Fn(&str, &str) -> Standing,
) -> String {
    finished.sort_by(|a, b| a.median.total_cmp(&b.median));
    let Some((best, rest)) = finished.split_first() else {
        return "no variant finished every sample, so none is named.".to_owned();
    };
    let value = describe_value(best, question);
    let Some(next) = rest.first() else {
        return format!(
            "only {} finished every sample ({value}): there is nothing to compare it with.",
            best.variant
        );
    };
    if best.n < MIN_BLOCKS || next.n < MIN_BLOCKS {
        let blocks = best.n.min(next.n);
        return format!(
            "too few blocks for a verdict ({blocks}, and it takes {MIN_BLOCKS}); {} has the lowest median: {value}.",
            best.variant
        );
    }
    let baseline =
        analysis.baseline.as_deref().filter(|base| finished.iter().any(|entrant| entrant.variant == *base));
    let contest = Contest {
        best: best.variant,
        others: rest.iter().map(|entrant| entrant.variant).collect(),
        against: baseline.filter(|base| *base != best.variant).unwrap_or(next.variant),
        value,
        least: "the lowest median",
    };
    contest.decide(question, |against| standing(best.variant, against))
}

/// One question on all workloads that every variant finished: geometric means of ratios.
fn answer_over_workloads(analysis: &Analysis<'_>, question: &Question) -> String {
    let workloads = analysis.finished_by_all(question.metric);
    let of =
        format!("{}, mean over the {} workloads that every variant finished", question.name, workloads.len());
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
    let ranked: Vec<&String> = ranked(analysis).collect();
    let over = |variant: &str, base: &str| analysis.ratio_over(&workloads, variant, base, question.compared);
    let drowned =
        |variant: &str, base: &str| analysis.is_drowned(&workloads, variant, base, question.compared);
    // Any variant can serve as the common measure for the order.
    let measure = analysis.baseline.as_deref().or(ranked.first().map(|first| first.as_str()));
    let mut means: Vec<(&str, f64)> = Vec::new();
    for variant in &ranked {
        match measure.and_then(|measure| over(variant, measure)) {
            Some(mean) => means.push((variant, mean.estimate)),
            None if measure.is_some_and(|base| drowned(variant, base)) => {
                return format!("{of}: no difference is shown: {DROWNED}.");
            }
            None => return format!("{of}: no mean, since zero has no ratio."),
        }
    }
    means.sort_by(|a, b| a.1.total_cmp(&b.1));
    let others: Vec<&str> = means.iter().skip(1).map(|(variant, _)| *variant).collect();
    let (Some(&(best, _)), Some(&next)) = (means.first(), others.first()) else {
        return format!("{of}: only one variant was measured, and there is nothing to compare it with.");
    };
    let contest = Contest {
        best,
        others,
        against: analysis.baseline.as_deref().filter(|base| *base != best).unwrap_or(next),
        value: "in the geometric mean".to_owned(),
        least: "the lowest figure",
    };
    format!(
        "{of}: {}",
        contest.decide(question, |against| Standing {
            ratio: over(best, against),
            is_drowned: drowned(best, against),
        })
    )
}

/// The best of several variants, and what it is compared with.
struct Contest<'a> {
    best: &'a str,
    /// The others, the best of them first.
    others: Vec<&'a str>,
    /// The baseline or, if that is itself the best, the runner-up.
    against: &'a str,
    /// Its figure in words.
    value: String,
    /// What makes it the best if no difference is shown.
    least: &'static str,
}

/// How the best compares with another.
struct Standing {
    ratio: Option<Ratio>,
    /// There is no ratio, because the harness's share hides the rest.
    is_drowned: bool,
}

const DROWNED: &str = "the harness's share is too large a part of both";

impl Contest<'_> {
    /// Names the best if a difference is shown, with its comparison to another.
    fn decide(&self, question: &Question, standing: impl Fn(&str) -> Standing) -> String {
        let Contest { best, others, against, value, least } = self;
        let Standing { ratio: of_against, is_drowned } = standing(against);
        let shown = of_against.as_ref().map(|ratio| verdict(ratio, NOISE_THRESHOLD));
        let measured = describe_ratio(of_against, against, question);
        match shown {
            Some(Verdict::Smaller) => {
                let rest = others.iter().copied().filter(|other| other != against);
                let is_behind = |other: &&str| {
                    standing(other)
                        .ratio
                        .is_some_and(|ratio| verdict(&ratio, NOISE_THRESHOLD) == Verdict::Smaller)
                };
                let level: Vec<&str> = rest.filter(|other| !is_behind(other)).collect();
                if !level.is_empty() {
                    return format!(
                        "{best} has {least}, {value}, {measured}; no difference from {} is shown.",
                        list_some(&level)
                    );
                }
                // The second is named already if it is what the best was compared with.
                let next = others.first().filter(|next| *next != against);
                let then = next.map(|next| format!("; next is {next}")).unwrap_or_default();
                format!("{best} {}: {value}, {measured}{then}.", question.best)
            }
            None if is_drowned => {
                format!("{best} has {least}, {value}, but no difference from {against} is shown: {DROWNED}.")
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
                format!(
                    "{best} has {least}, {value}, but no difference from {against} is shown, because the interval of \
                     their ratio is not wholly beyond {:.0} %: {measured}.",
                    NOISE_THRESHOLD * 100.0
                )
            }
        }
    }
}

/// The first of several names, and how many others there are: "a, b, c and 4 others".
fn list_some(names: &[&str]) -> String {
    const MOST: usize = 3;
    if names.len() <= MOST + 1 {
        return units::names(names);
    }
    let others = format!("{} others", names.len() - MOST);
    units::names(&[&names[..MOST], &[&*others]].concat())
}

fn describe_value(entrant: &Entrant<'_>, question: &Question) -> String {
    let middle = format!("{}{}", (question.show)(entrant.median), question.each);
    match entrant.interval {
        Some((low, high)) => format!("{middle} ({} to {})", (question.show)(low), (question.show)(high)),
        None => middle,
    }
}

/// A ratio in words: `15 % less than jemalloc (14 to 16 %)`, `2.31 times jemalloc (2.2 to 2.4)`.
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
