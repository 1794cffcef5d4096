//! `heaplab compare`: the variants of a run side by side, or two runs over time.

use std::path::{Path, PathBuf};

use super::{Outcome, Usage};
use crate::cli::stdout::stdout;
use crate::compare::{
    Better, CompareError, Finding, Question, better, compare_runs, compare_variants, print_runs,
    print_size_summary, print_sizes, print_variants,
};
use crate::design::{parse_percent, show_percent};
use crate::report::{Analysis, Format, ReportError, SizeDifference, compare_classes_of_runs};
use crate::results::{self, Run};
use crate::stats::NOISE_THRESHOLD;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A run's directory; with a second, the old run
    directory: PathBuf,
    /// The new run's directory: each variant is compared with itself in the old run
    new: Option<PathBuf>,
    /// A metric by its name in summary.csv; once for each [default: resident_peak_bytes, and the first that was measured of
    /// allocator_ns_per_event, busy_ns_per_event and wall_ns_per_event; of programs program_cpu_ns, and
    /// program_once_peak_bytes or program_resident_peak_bytes]
    #[arg(long = "metric", value_name = "METRIC", value_delimiter = ',')]
    metrics: Vec<String>,
    /// One run: the variant that ratios refer to [default: ptmalloc2, if the run has it]. Two runs: compare ratios to
    /// this variant within blocks, so that a change of the machine cancels [default: figures as they are]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    /// A difference is named when its whole interval is beyond this [default: 2%]
    #[arg(long, value_name = "PCT", value_parser = parse_percent)]
    threshold: Option<f64>,
    /// Exit with 4 if anything is worse by more than this (its whole interval is), with 3 if that cannot be decided for
    /// every comparison (the limit lies inside an interval) or there is none, otherwise with 0
    #[arg(long, value_name = "PCT", value_parser = parse_percent)]
    fail_over: Option<f64>,
    /// Exit as `git bisect run` expects of a step: 0 for good, 1 for worse by more than --fail-over, 125 for what cannot be
    /// decided, and 255, which ends the search, for an error
    #[arg(long, requires = "fail_over")]
    bisect: bool,
    /// Print every size class that was compared instead: usable bytes per call, with the memory pass's blocks
    #[arg(long, conflicts_with_all = ["metrics", "fail_over"])]
    by_size: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The status that `git bisect run` expects for a commit that cannot be tested.
const SKIP: u8 = 125;
/// The status that stops `git bisect run`: any other status for an error would mark a commit as bad.
pub(super) const ABORT: u8 = 255;

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let is_step = args.bisect;
    let result = compare(args);
    if !is_step {
        return result;
    }
    Ok(match result {
        Ok(Outcome::Done) => Outcome::Done,
        Ok(Outcome::Changed) => Outcome::Failed,
        Ok(Outcome::Incomplete) => Outcome::Passed(SKIP),
        Ok(_) => Outcome::Passed(ABORT),
        Err(error) => {
            say!("heaplab: {error:#}");
            Outcome::Passed(ABORT)
        }
    })
}

fn compare(args: Args) -> anyhow::Result<Outcome> {
    let is_undirected = |metric: &&String| better(metric) == Better::Neither;
    if let Some(metric) = args.metrics.iter().find(is_undirected).filter(|_| args.fail_over.is_some()) {
        let text = format!(
            "--fail-over cannot judge {metric}: neither more nor less of it is worse; name another metric, or compare it \
             without --fail-over"
        );
        return Err(Usage(text).into());
    }
    let threshold = args.threshold.unwrap_or(NOISE_THRESHOLD);
    let question = Question { metrics: args.metrics.clone(), threshold };
    let first = results::load(&args.directory)?;
    match &args.new {
        None => of_variants(&args, &question, &first),
        Some(new) => of_runs(&args, &question, &first, &results::load(new)?),
    }
}

fn of_variants(args: &Args, question: &Question, run: &Run) -> anyhow::Result<Outcome> {
    let analysis = analyse(run, args.baseline.as_deref())?;
    if args.fail_over.is_some() && analysis.baseline.is_none() {
        let text = "--fail-over needs a baseline, and ptmalloc2 is not in this run: name one with --baseline";
        return Err(Usage(text.to_owned()).into());
    }
    let sizes = judged(&analysis.size_differences, question);
    if args.by_size {
        return show_sizes(&sizes, args.format, &[run]);
    }
    let comparison = compare_variants(&analysis, question).map_err(as_usage)?;
    say_all(&comparison.notes);
    if comparison.rows.is_empty() {
        say!("heaplab: {}: there is nothing to compare", describe_lack(run));
        return Ok(Outcome::Incomplete);
    }
    let mut out = stdout();
    print_variants(&comparison, args.format, &mut out)?;
    if matches!(args.format, Format::Table) {
        let baseline = analysis.baseline.as_deref().unwrap_or_default();
        print_size_summary(&sizes, &format!("than under {baseline}"), &mut out)?;
    }
    let lack = comparison.describe_lack().map(|lack| format!("{}: {lack}", run.directory.display()));
    Ok(judge(args.fail_over, lack, |limit| comparison.findings(limit), analysis.is_complete()))
}

fn of_runs(args: &Args, question: &Question, old: &Run, new: &Run) -> anyhow::Result<Outcome> {
    let (old, new) = (analyse(old, None)?, analyse(new, None)?);
    let sizes = judged(&compare_classes_of_runs(old.run, new.run, &old.workloads, &old.variants)?, question);
    if args.by_size {
        return show_sizes(&sizes, args.format, &[old.run, new.run]);
    }
    let comparison = compare_runs(&old, &new, args.baseline.as_deref(), question).map_err(as_usage)?;
    say_all(&comparison.notes);
    if comparison.rows.is_empty() {
        let mut variants = old.variants.iter().chain(&new.variants).peekable();
        let is_unjudged = |variant: &String| {
            Some(variant) == args.baseline.as_ref() || comparison.unjudged.contains(variant)
        };
        if variants.peek().is_some() && variants.all(is_unjudged) {
            comparison.describe_lack().iter().for_each(|lack| say!("heaplab: {lack}"));
            return Ok(Outcome::Incomplete);
        }
        for run in [old.run, new.run] {
            say!("heaplab: {}", describe_lack(run));
        }
        say!("heaplab: there is nothing to compare");
        return Ok(Outcome::Incomplete);
    }
    if args.baseline.is_none() {
        say!(
            "heaplab: two runs share no blocks: an interval covers the noise within each run, and not what changed on \
             the machine between them; --baseline VARIANT compares ratios within blocks"
        );
    }
    let mut out = stdout();
    print_runs(&comparison, args.format, &mut out)?;
    if matches!(args.format, Format::Table) {
        use std::io::Write;
        let (made, shown) = comparison.counts();
        writeln!(out, "\na difference is shown in {shown} of {made} comparisons")?;
        print_size_summary(&sizes, "than in the old run", &mut out)?;
    }
    let complete = old.is_complete() && new.is_complete();
    Ok(judge(args.fail_over, comparison.describe_lack(), |limit| comparison.findings(limit), complete))
}

fn judged(sizes: &[SizeDifference], question: &Question) -> Vec<SizeDifference> {
    sizes.iter().map(|size| size.judged(question.threshold)).collect()
}

fn show_sizes(sizes: &[SizeDifference], format: Format, runs: &[&Run]) -> anyhow::Result<Outcome> {
    if sizes.is_empty() {
        let names: Vec<String> = runs.iter().map(|run| run.directory.display().to_string()).collect();
        say!(
            "heaplab: {}: no size class can be compared: that takes a memory pass under two variants, or in two runs, of \
             allocators that tell usable sizes",
            names.join(", ")
        );
        return Ok(Outcome::Incomplete);
    }
    print_sizes(sizes, format, &mut stdout())?;
    Ok(Outcome::Done)
}

fn analyse<'r>(run: &'r Run, baseline: Option<&str>) -> anyhow::Result<Analysis<'r>> {
    Analysis::new(run, baseline).map_err(|error| match error {
        ReportError::UnknownBaseline { .. } => Usage(error.to_string()).into(),
        other => anyhow::Error::from(other),
    })
}

/// Both kinds are names that the user gave and the run does not contain.
fn as_usage(error: CompareError) -> anyhow::Error {
    Usage(error.to_string()).into()
}

fn say_all(notes: &[String]) {
    notes.iter().for_each(|note| say!("heaplab: {note}"));
}

fn describe_lack(run: &Run) -> String {
    let directory: &Path = &run.directory;
    let what = if run.samples.is_empty() { "holds no sample" } else { "measured none of these metrics" };
    format!("{} {what}", directory.display())
}

/// Says what exceeded the limit and what cannot be judged; the exit status follows from it. `lack` says why nothing is
/// judged.
fn judge(
    limit: Option<f64>,
    lack: Option<String>,
    find: impl Fn(f64) -> Vec<Finding>,
    complete: bool,
) -> Outcome {
    let findings = limit.map(find).unwrap_or_default();
    if let Some(lack) = lack.filter(|_| limit.is_some()) {
        say!("heaplab: {lack}");
        return Outcome::Incomplete;
    }
    let percent = limit.map(show_percent).unwrap_or_default();
    let mut over = false;
    for finding in &findings {
        match finding {
            Finding::Over(sentence) => {
                over = true;
                say!("heaplab: more than {percent} worse: {sentence}");
            }
            Finding::Open(sentence) => say!("heaplab: cannot be judged: {sentence}"),
        }
    }
    match (over, complete && findings.is_empty()) {
        (true, _) => Outcome::Changed,
        (false, true) => Outcome::Done,
        (false, false) => Outcome::Incomplete,
    }
}
