//! `heaplab trace`: inspect, verify, import and export traces.

mod export;
pub(super) mod import;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use heaplab_trace::{Coverage, FORMAT_VERSION, Header, Summary, TraceReader, Truncation, summary, verify};
use indicatif::HumanBytes;

use super::Outcome;
use crate::cli::stdout::stdout;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print a trace's header and totals
    Info {
        /// The trace
        file: PathBuf,
        /// Output format
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Read all of a trace: checksums, laws, totals, index; exit 1 at the first fault
    Verify {
        /// The trace
        file: PathBuf,
    },
    /// Make a trace from another tool's log (plain, gzip, zstd or zip)
    Import(import::Args),
    /// Write a trace as text: for Android's memory_replay, or as a CSV table
    Export(export::Args),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One row a line, the name first
    Table,
    /// An object
    Json,
}

pub(super) fn main(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Info { file, format } => print_info(&file, format),
        Command::Verify { file } => print_verification(&file),
        Command::Import(args) => import::main(&args),
        Command::Export(args) => export::main(&args),
    }
}

/// What `info` prints; its JSON is this structure.
#[derive(serde::Serialize)]
struct Info<'a> {
    file: String,
    file_bytes: u64,
    format_version: u32,
    header: &'a Header,
    lacks: Vec<String>,
    /// The share of its process's memory that recorded blocks explain, over time.
    explained_share: Option<f64>,
    /// Why nothing should be predicted from it.
    gaps: Vec<String>,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_at_byte: Option<u64>,
    summary: Summary,
}

fn print_info(path: &Path, format: Format) -> anyhow::Result<Outcome> {
    // A complete file has its totals at its end; those of a file that was cut off must be counted.
    let (header, summary, truncation) = match summary(path)? {
        Some(summary) => (TraceReader::open(path)?.header().clone(), summary, None),
        None => {
            let verified = verify(path)?;
            (verified.header, verified.summary, verified.truncation)
        }
    };
    if let Some(cut) = truncation {
        say!("heaplab: warning: {}", describe_cut(path, &cut));
    }
    let coverage = Coverage::of(&header, &summary);
    let info = Info {
        file: path.display().to_string(),
        file_bytes: std::fs::metadata(path)?.len(),
        format_version: FORMAT_VERSION,
        header: &header,
        lacks: header.lacks(),
        explained_share: coverage.share,
        gaps: coverage.sentences(),
        truncated: truncation.is_some(),
        truncated_at_byte: truncation.map(|cut| cut.offset),
        summary,
    };
    let mut out = stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&info)?)?,
        Format::Table => {
            let mut rows = describe(&info);
            rows.extend(list_totals(&info.summary, header.has_times));
            print_rows(&mut out, &rows)?;
        }
    }
    Ok(Outcome::Done)
}

fn print_verification(path: &Path) -> anyhow::Result<Outcome> {
    let verified = verify(path)?;
    if let Some(cut) = verified.truncation {
        say!("heaplab: {}", describe_cut(path, &cut));
        return Ok(Outcome::Failed);
    }
    writeln!(
        stdout(),
        "{}: whole: {} events in {} chunks, {} bytes; every checksum, law and total holds",
        path.display(),
        verified.summary.events,
        verified.chunks,
        verified.file_bytes,
    )?;
    Ok(Outcome::Done)
}

fn describe_cut(path: &Path, cut: &Truncation) -> String {
    format!(
        "{}: cut off: its whole part ends at byte {} of {}; {} chunks with {} events can be used",
        path.display(),
        cut.offset,
        cut.file_bytes,
        cut.chunks,
        cut.events,
    )
}

fn describe(info: &Info<'_>) -> Vec<(&'static str, String)> {
    let header = info.header;
    let mut rows = vec![
        ("file", info.file.clone()),
        ("file_bytes", with_unit(info.file_bytes)),
        ("format_version", info.format_version.to_string()),
        ("source", header.source.clone()),
        ("program", header.program.clone()),
        ("cpus", header.cpus.map(|cpus| cpus.to_string()).unwrap_or_default()),
        (
            "allocator",
            header.allocator.as_ref().map(|by| format!("{} {}", by.name, by.version)).unwrap_or_default(),
        ),
    ];
    rows.extend(header.notes.iter().map(|note| ("note", format!("{}: {}", note.name, shorten(&note.value)))));
    rows.push(("lacks", info.lacks.join("; ")));
    let explained = info.explained_share.map(|share| format!("{share:.3}"));
    rows.push(("explained_share", explained.unwrap_or_default()));
    rows.extend(info.gaps.iter().map(|gap| ("gap", gap.clone())));
    rows.retain(|(_, value)| !value.is_empty());
    let truncated = info.truncated_at_byte.map_or("no".to_string(), |byte| format!("yes, at byte {byte}"));
    rows.push(("truncated", truncated));
    rows
}

/// Shortens a note to what fits into a row; a definition's text is a page long.
fn shorten(value: &str) -> String {
    const MOST_CHARS: usize = 200;
    if value.lines().count() <= 1 && value.chars().count() <= MOST_CHARS {
        return value.to_string();
    }
    format!("{} lines, {} bytes (whole in --format json)", value.lines().count(), value.len())
}

/// The totals, under their JSON names: exact integers, with a human unit in brackets.
pub(super) fn list_totals(summary: &Summary, has_times: bool) -> Vec<(&'static str, String)> {
    let count = |count: u64| count.to_string();
    let time = |ns: u64| if has_times { format!("{ns} ({:.3} s)", ns as f64 / 1e9) } else { ns.to_string() };
    let mut rows = vec![
        ("events", count(summary.events)),
        ("threads", count(summary.threads)),
        ("malloc", count(summary.malloc)),
        ("calloc", count(summary.calloc)),
        ("aligned_alloc", count(summary.aligned_alloc)),
        ("realloc", count(summary.realloc)),
        ("realloc_null", count(summary.realloc_null)),
        ("free", count(summary.free)),
        ("free_null", count(summary.free_null)),
        ("thread_starts", count(summary.thread_starts)),
        ("thread_ends", count(summary.thread_ends)),
        ("failed", count(summary.failed)),
        ("unseen_frees", count(summary.unseen_frees)),
        ("unseen_reallocs", count(summary.unseen_reallocs)),
        ("cross_thread", count(summary.cross_thread)),
        ("objects", count(summary.objects)),
        ("live_at_end", count(summary.live_at_end)),
        ("live_at_end_bytes", with_unit(summary.live_at_end_bytes)),
        ("requested_peak_bytes", with_unit(summary.requested_peak_bytes)),
        ("first_time_ns", time(summary.first_time_ns)),
        ("last_time_ns", time(summary.last_time_ns)),
        ("resident_samples", count(summary.resident_samples)),
        ("times_raised", count(summary.times_raised)),
        ("frees_hoisted", count(summary.frees_hoisted)),
        ("frees_missed", count(summary.frees_missed)),
        ("lost", count(summary.lost)),
        ("order_guessed", count(summary.order_guessed)),
    ];
    // Only recordings know it, and 0 would say that nothing was written.
    if summary.touched > 0 {
        rows.extend([
            ("touched", count(summary.touched)),
            ("touched_bytes", with_unit(summary.touched_bytes)),
            ("touched_of_bytes", with_unit(summary.touched_of_bytes)),
        ]);
    }
    // Only recordings know it.
    if summary.resident_peak_bytes > 0 {
        rows.extend([
            ("resident_mean_bytes", with_unit(summary.resident_mean_bytes)),
            ("explained_mean_bytes", with_unit(summary.explained_mean_bytes)),
            ("resident_peak_bytes", with_unit(summary.resident_peak_bytes)),
            ("explained_at_peak_bytes", with_unit(summary.explained_at_peak_bytes)),
        ]);
    }
    rows
}

fn with_unit(bytes: u64) -> String {
    if bytes < 1024 { bytes.to_string() } else { format!("{bytes} ({})", HumanBytes(bytes)) }
}

pub(super) fn print_rows(out: &mut dyn Write, rows: &[(&'static str, String)]) -> io::Result<()> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        // A name or a path may contain characters that forge a row or control a terminal.
        let value: String = value.chars().flat_map(show).collect();
        writeln!(out, "{name:width$}  {value}")?;
    }
    Ok(())
}

fn show(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}
