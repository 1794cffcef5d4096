//! What goes between marks, for each kind:
//!
//! - `report RUN`: the command, the answer and the tables;
//! - `command RUN...`: the commands that made the runs;
//! - `machine RUN`: where the run was made;
//! - `table WORKLOAD VARIANT,... HEADER=RUN:METRIC...`: medians, a row for each variant. A column
//!   HEADER=RUN:METRIC:COLUMN has another figure of the metric, and `samples` as COLUMN says how many samples of CPU
//!   time there are, and what is wrong with them;
//! - `value RUN WORKLOAD VARIANT METRIC COLUMN`: a figure of summary.csv: `median`, `interval`, `ratio`,
//!   `ratio_interval` or `verdict`. METRIC is a name there, or `speed` for the metric by which variants are
//!   compared;
//! - `sample RUN COLUMN`: the median of a column of samples.csv over the samples that have it;
//! - `copy FILE HEADING`: the first table under a heading of another document;
//! - `line FILE BEGIN`: the rest of the line that starts with BEGIN in another document;
//! - `once DATE COMMAND`: measured once, as the text around it says; it is not rewritten;
//! - `quoted SOURCE`: not measured by us.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use heaplab::compare::show;
use heaplab::report::{
    Analysis, Answer, Columns, Format, SummaryRow, answer_run, count_samples, print_summary,
};
use heaplab::results::{Pass, Run, Sample, load};
use heaplab::stats::median;

use super::marks::Mark;

/// A run from which documents take figures.
struct Known {
    argv: Vec<String>,
    summary: Vec<SummaryRow>,
    answer: Answer,
    tables: String,
    /// Of CPU time, by workload and variant.
    samples: HashMap<(String, String), String>,
}

/// The committed runs, each read once.
pub(crate) struct Runs {
    root: PathBuf,
    known: HashMap<String, Known>,
}

impl Runs {
    pub(crate) fn new(root: PathBuf) -> Runs {
        Runs { root, known: HashMap::new() }
    }

    fn load(&self, name: &str) -> Result<Run, String> {
        load(&self.root.join(name)).map_err(|error| error.to_string())
    }

    fn get(&mut self, name: &str) -> Result<&Known, String> {
        if !self.known.contains_key(name) {
            let run = self.load(name)?;
            let analysis = Analysis::new(&run, None).map_err(|error| error.to_string())?;
            let mut tables = Vec::new();
            print_summary(&analysis, Format::Markdown, Columns::Deciding, &mut tables)
                .map_err(|error| error.to_string())?;
            let count = |sample: &Sample| {
                let (workload, variant) = (&sample.workload, &sample.variant);
                let count = count_samples(&analysis, workload, variant, Pass::Throughput);
                ((workload.clone(), variant.clone()), count)
            };
            let known = Known {
                argv: run.file.argv.clone(),
                summary: analysis.summary.clone(),
                answer: answer_run(&analysis),
                tables: String::from_utf8(tables).expect("UTF-8"),
                samples: run.samples.iter().map(count).collect(),
            };
            self.known.insert(name.to_owned(), known);
        }
        Ok(&self.known[name])
    }

    fn row(&mut self, run: &str, workload: &str, variant: &str, metric: &str) -> Result<&SummaryRow, String> {
        let rows = &self.get(run)?.summary;
        let of_variant = |row: &&SummaryRow| row.workload == workload && row.variant == variant;
        let find = |metric: &str| rows.iter().filter(of_variant).find(|row| row.metric == metric);
        let found = match metric {
            "speed" => find("allocator_ns_per_event")
                .filter(|row| row.ratio.is_some())
                .or_else(|| find("busy_ns_per_event")),
            metric => find(metric),
        };
        found.ok_or_else(|| format!("{run} has no {metric} of {variant} on {workload}"))
    }

    fn samples(&mut self, run: &str, workload: &str, variant: &str) -> Result<&str, String> {
        let found = self.get(run)?.samples.get(&(workload.to_owned(), variant.to_owned()));
        found.map(String::as_str).ok_or_else(|| format!("{run} has no samples of {variant} on {workload}"))
    }

    /// The command that made a run, as it is typed.
    fn command(&mut self, run: &str) -> Result<String, String> {
        let argv = &self.get(run)?.argv;
        let words = argv.iter().skip(1).map(String::as_str);
        let is_plain =
            |word: &str| word.chars().all(|one| one.is_ascii_alphanumeric() || "-_./:=,+%".contains(one));
        let quoted = |word| if is_plain(word) { Ok(word.into()) } else { shlex::try_quote(word) };
        let words = words.map(quoted).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        Ok(format!("    heaplab {}\n", words.join(" ")))
    }
}

/// What should be between the marks; none for parts that are not rewritten.
pub(crate) fn fill(mark: &Mark, runs: &mut Runs) -> Result<Option<String>, String> {
    let arguments: Vec<&str> = mark.arguments.iter().map(String::as_str).collect();
    let block = |text: String| Some(format!("\n\n{}\n\n", text.trim_end()));
    Ok(match (mark.kind.as_str(), &arguments[..]) {
        ("report", [run]) => {
            let mut text = runs.command(run)?;
            let known = runs.get(run)?;
            text.push('\n');
            for sentence in known.answer.sentences.iter().chain(&known.answer.over_workloads) {
                writeln!(text, "- {sentence}").expect("a text");
            }
            known.answer.confidence.iter().for_each(|said| writeln!(text, "\n{said}").expect("a text"));
            block(format!("{text}\n{}", known.tables))
        }
        ("command", named @ [_, ..]) => {
            block(named.iter().map(|run| runs.command(run)).collect::<Result<String, String>>()?)
        }
        ("machine", [run]) => {
            let told = runs.get(run)?.tables.rsplit_once("Machine: ").map(|(_, machine)| machine.trim_end());
            Some(told.ok_or("the report names no machine")?.trim_end_matches('.').to_owned())
        }
        ("table", [workload, variants, columns @ ..]) if !columns.is_empty() => {
            block(table(runs, workload, variants, columns)?)
        }
        ("value", [run, workload, variant, metric, column]) => {
            Some(value(runs.row(run, workload, variant, metric)?, column)?)
        }
        ("sample", [run, column]) => Some(of_samples(&runs.root.join(run), column)?),
        ("copy", [file, heading]) => block(copy(&runs.root.join(file), heading)?),
        ("line", [file, begin]) => Some(line(&runs.root.join(file), begin)?),
        ("once", [_, _]) | ("quoted", [_]) => None,
        _ => return Err("no such mark".to_owned()),
    })
}

fn table(runs: &mut Runs, workload: &str, variants: &str, columns: &[&str]) -> Result<String, String> {
    let mut text = "| variant |".to_owned();
    let split = |column: &&str| -> Result<[String; 4], String> {
        const SHAPE: &str = "a column is HEADER=RUN:METRIC or HEADER=RUN:METRIC:COLUMN";
        let (header, from) = column.split_once('=').ok_or(SHAPE)?;
        let (run, metric) = from.split_once(':').ok_or(SHAPE)?;
        let (metric, column) = metric.split_once(':').unwrap_or((metric, "median"));
        Ok([header, run, metric, column].map(str::to_owned))
    };
    let columns: Vec<[String; 4]> = columns.iter().map(split).collect::<Result<_, String>>()?;
    columns.iter().for_each(|[header, ..]| write!(text, " {header} |").expect("a text"));
    write!(text, "\n|---|{}\n", "---:|".repeat(columns.len())).expect("a text");
    for variant in variants.split(',') {
        write!(text, "| {variant} |").expect("a text");
        for [_, run, metric, column] in &columns {
            let shown = match column.as_str() {
                "samples" => runs.samples(run, workload, variant)?.to_owned(),
                column => value(runs.row(run, workload, variant, metric)?, column)?,
            };
            write!(text, " {shown} |").expect("a text");
        }
        text.push('\n');
    }
    Ok(text)
}

fn value(row: &SummaryRow, column: &str) -> Result<String, String> {
    let shown = |value: Option<f64>| value.map(|value| show(&row.metric, value));
    let factor = |value: Option<f64>| value.map(|value| format!("{value:.3}"));
    let pair = |low: Option<String>, high: Option<String>| Some(format!("{} to {}", low?, high?));
    let found = match column {
        "median" => shown(row.median),
        "interval" => pair(shown(row.low), shown(row.high)),
        "ratio" => factor(row.ratio),
        "ratio_interval" => pair(factor(row.ratio_low), factor(row.ratio_high)),
        "difference" => Some(row.difference().unwrap_or_else(|| "-".to_owned())),
        "verdict" => row.verdict.map(|verdict| verdict.as_str().to_owned()),
        _ => return Err(format!("no column {column}")),
    };
    found.ok_or_else(|| format!("no {column} of {}", row.metric))
}

fn of_samples(run: &Path, column: &str) -> Result<String, String> {
    let mut reader = csv::Reader::from_path(run.join("samples.csv")).map_err(|error| error.to_string())?;
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let at = header.iter().position(|name| name == column).ok_or_else(|| format!("no column {column}"))?;
    let cells =
        reader.records().map(|row| row.expect("a row")[at].to_owned()).filter(|cell| !cell.is_empty());
    let values: Vec<f64> = cells.map(|cell| cell.parse().expect("a number")).collect();
    median(&values).map(|value| show(column, value)).ok_or_else(|| format!("no sample has {column}"))
}

fn copy(file: &Path, heading: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let under = text.lines().skip_while(|line| line.trim_start_matches(['#', ' ']) != heading);
    let rows = under.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let table: String = rows.map(|row| format!("{row}\n")).collect();
    if table.is_empty() { Err(format!("no table under \"{heading}\"")) } else { Ok(table) }
}

fn line(file: &Path, begin: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let found = text.lines().find_map(|line| line.strip_prefix(begin));
    found
        .map(|rest| rest.trim_end_matches('.').to_owned())
        .ok_or_else(|| format!("no line begins \"{begin}\""))
}

/// Whether a document says when and by which command something was measured once, and whether that command
/// exists.
pub(crate) fn check_once(mark: &Mark, document: &str, root: &Path) -> Result<(), String> {
    let ("once", [date, command]) = (mark.kind.as_str(), &mark.arguments[..]) else { return Ok(()) };
    if humantime::parse_rfc3339(&format!("{date}T00:00:00Z")).is_err() {
        return Err(format!("{date} is no day"));
    }
    if let Some(unsaid) = [date, command].into_iter().find(|said| !document.contains(said.as_str())) {
        return Err(format!("the document does not say {unsaid}"));
    }
    let words: Vec<&str> = command.split(' ').collect();
    let bench = words.iter().position(|word| *word == "--bench").and_then(|at| words.get(at + 1));
    let is_there = match (words[0], bench) {
        ("cargo", Some(bench)) => ["harness/benches", "workloads/benches"].iter().any(|place| {
            [format!("{bench}.rs"), format!("{bench}/main.rs")]
                .iter()
                .any(|file| root.join(place).join(file).exists())
        }),
        _ if words.contains(&"heaplab") => true,
        (script, _) => script.starts_with("scripts/") && root.join(script).exists(),
    };
    if is_there { Ok(()) } else { Err(format!("{command} is not there")) }
}
