//! The manifest of a tree: its processes, what each ran and when, and which trace belongs to which. All times are on
//! the recording's clock; the times of a trace count from its process's `start_s`, or from `trace_start_s` if it starts
//! with the history that the process inherited.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use heaplab_raw::{ImageId, Text};
use heaplab_trace::Coverage;
use heaplab_workloads::import::raw;
use serde::{Deserialize, Serialize};

use super::RecordError;
use super::directory::Directory;
use super::merge::{Recording, number_of};
use super::processes::Process;
use super::watch::Ended;

/// The manifest, as stored in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format's version.
    pub version: u32,
    /// How long the recording took.
    pub seconds: f64,
    /// When the program was asked to stop, by a signal that heaplab passed on: what it does after that is not
    /// load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_to_end_s: Option<f64>,
    /// How many processes were seen; there may have been more.
    pub processes: usize,
    /// By how many bytes the sum of the processes' anonymous memory exceeded the same with shared pages counted once:
    /// seconds and bytes, each valid until the next. None if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<Vec<(f64, u64)>>,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_unknown: Option<String>,
    /// In the order in which they started.
    pub process: Vec<Entry>,
}

/// The version that is written and read.
const VERSION: u32 = 1;

impl Manifest {
    /// How the name of a manifest ends.
    pub const EXTENSION: &str = "tree.toml";

    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// It cannot be read, is not a manifest, or has a different version.
    pub fn read(path: &Path) -> Result<Manifest, RecordError> {
        let failed = |source| RecordError::Io { what: "read the manifest", path: path.into(), source };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let manifest: Manifest =
            toml::from_str(&text).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        match manifest.version {
            VERSION => Ok(manifest),
            other => Err(failed(std::io::Error::other(format!(
                "its version is {other}, and this heaplab reads {VERSION}: record again"
            )))),
        }
    }
}

impl Manifest {
    fn write(&self, path: &Path) -> Result<(), RecordError> {
        let failed = |source| RecordError::Io { what: "write the manifest", path: path.into(), source };
        let text = toml::to_string(self).map_err(|error| failed(std::io::Error::other(error)))?;
        std::fs::write(path, text).map_err(failed)
    }
}

/// An image of a process, or a process without any.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Its PID here.
    pub pid: u32,
    /// The PID that it has for itself, if that is different.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_inside: Option<u32>,
    /// Its parent's PID here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    /// The process that it was forked from, if it did not start as a new program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<u32>,
    /// What it ran.
    pub program: String,
    /// The same with its arguments.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// When it was first seen, or the image started.
    pub start_s: f64,
    /// When its trace starts, if that is before the process: with the history that it inherited at its fork.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_start_s: Option<f64>,
    /// When it was first missing; of a process that was never seen, the end of its trace. None if it still ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_s: Option<f64>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// What killed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed_by_signal: Option<u32>,
    /// Largest anonymous resident memory.
    pub resident_peak_bytes: u64,
    /// The process's share of all processes' memory over time, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_share: Option<f64>,
    /// The file name of its trace, in the manifest's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Events in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// How many of them are history that the process inherited at its fork.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inherited_events: Option<u64>,
    /// Events that are not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Share of its memory that recorded blocks explain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained_share: Option<f64>,
    /// What the trace does not cover, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
    /// Why the program that it ran was not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_recorded: Option<String>,
}

/// How long a process lived at least that was gone before it was seen, in seconds: a tick, to which its times are known.
const SHORTEST_LIFE_S: f64 = 0.001;

/// Writes the manifest of a recording's traces into the folder of the trace `output`, if there is more than one
/// process or image.
pub(super) fn write(
    output: &Path,
    directory: &Directory,
    traces: &[Recording],
    ended: &Ended,
) -> Result<Option<PathBuf>, RecordError> {
    let processes = ended.processes.all();
    let path = output.with_extension(Manifest::EXTENSION);
    if traces.len() < 2 && processes.len() < 2 {
        return remove_older(output, &path).map(|()| None);
    }
    let failed = |source| RecordError::Merge { directory: directory.path().into(), source };
    let recording = &raw::Recording::open(directory.path()).map_err(failed)?;
    let mut entries: Vec<Entry> =
        traces.iter().map(|trace| describe_trace(recording, trace, ended)).collect();
    let has_trace = |process: &&Process| traces.iter().any(|trace| process.images.contains(&trace.image));
    entries.extend(
        processes
            .iter()
            .filter(|process| !has_trace(process))
            .map(|process| describe_process(process, ended)),
    );
    share_with_unseen(&mut entries, traces, ended);
    entries.sort_by(|one, other| one.start_s.total_cmp(&other.start_s));
    let shared = ended.processes.shared();
    let in_seconds = |points: &[(Duration, u64)]| {
        points.iter().map(|(at, bytes)| (at.as_secs_f64(), *bytes)).collect::<Vec<_>>()
    };
    let manifest = Manifest {
        version: VERSION,
        seconds: ended.seconds,
        asked_to_end_s: ended.asked_to_end.map(|asked| asked.as_secs_f64()),
        processes: processes.len(),
        shared: shared.ok().map(in_seconds),
        shared_unknown: shared.err().map(str::to_owned),
        process: entries,
    };
    manifest.write(&path).map(|()| Some(path))
}

/// Writes the manifest of a recording whose command did not finish, beside the trace `output`, using only
/// what its raw files in `directory` say. None if there is one image.
///
/// # Errors
///
/// The raw files cannot be read, or the manifest cannot be written.
pub fn write_of_raw(
    directory: &Path,
    output: &Path,
    images: &[raw::Imported],
) -> Result<Option<PathBuf>, RecordError> {
    let path = output.with_extension(Manifest::EXTENSION);
    if images.len() < 2 {
        return Ok(None);
    }
    let failed = |source| RecordError::Merge { directory: directory.into(), source };
    let recording = &raw::Recording::open(directory).map_err(failed)?;
    let mut entries: Vec<Entry> = images.iter().map(|image| describe_imported(recording, image)).collect();
    entries.sort_by(|one, other| one.start_s.total_cmp(&other.start_s));
    let weight =
        |entry: &Entry, mean: u64| mean as f64 * (entry.end_s.unwrap_or(0.0) - entry.start_s).max(0.0);
    let mean_of = |entry: &Entry| {
        let of_trace = |image: &&raw::Imported| name_of(&image.path) == entry.trace;
        images.iter().find(of_trace).map_or(0, |image| image.report.summary.resident_mean_bytes)
    };
    let weights: Vec<f64> = entries.iter().map(|entry| weight(entry, mean_of(entry))).collect();
    let all: f64 = weights.iter().sum();
    let of_process = |pid: u32| -> f64 {
        entries.iter().zip(&weights).filter(|(entry, _)| entry.pid == pid).map(|(_, weight)| weight).sum()
    };
    let shares: Vec<f64> = entries.iter().map(|entry| of_process(entry.pid) / all).collect();
    for (entry, share) in entries.iter_mut().zip(shares) {
        entry.memory_share = share.is_finite().then_some(share);
    }
    let ends = entries.iter().filter_map(|entry| entry.end_s);
    let manifest = Manifest {
        version: VERSION,
        seconds: ends.fold(0.0, f64::max),
        asked_to_end_s: None,
        processes: entries.iter().map(|entry| entry.pid).collect::<BTreeSet<_>>().len(),
        shared: None,
        shared_unknown: Some("raw files do not say it".to_owned()),
        process: entries,
    };
    manifest.write(&path).map(|()| Some(path))
}

/// What raw files say about an image.
fn describe_imported(recording: &raw::Recording, imported: &raw::Imported) -> Entry {
    let raw::Imported { image, path, report } = imported;
    let trace = Recording {
        image: *image,
        path: path.clone(),
        file_bytes: 0,
        summary: report.summary,
        coverage: Coverage::of(&report.header, &report.summary),
        problems: report.problems.clone(),
        inherited: report.inherited,
    };
    describe_image(recording, &trace, None)
}

/// Removes the manifest of the recording that this one has replaced: it names the trace, which now belongs to
/// a single process.
fn remove_older(output: &Path, manifest: &Path) -> Result<(), RecordError> {
    let names_trace = |older: Manifest| {
        older.process.iter().any(|entry| {
            entry.trace.as_deref().is_some_and(|trace| output.file_name() == Some(trace.as_ref()))
        })
    };
    if !manifest.exists() || !Manifest::read(manifest).is_ok_and(names_trace) {
        return Ok(());
    }
    std::fs::remove_file(manifest).map_err(|source| RecordError::Io {
        what: "remove the manifest of the recording that this one replaced",
        path: manifest.into(),
        source,
    })
}

fn describe_trace(recording: &raw::Recording, trace: &Recording, ended: &Ended) -> Entry {
    let process = ended.processes.all().iter().find(|process| process.images.contains(&trace.image));
    describe_image(recording, trace, process.map(|process| describe_process(process, ended)))
}

/// Gives processes that were never seen a share of the memory too, by what they requested and how long that was there.
/// `entries` are those of `traces`, and of processes that have none.
fn share_with_unseen(entries: &mut [Entry], traces: &[Recording], ended: &Ended) {
    let seen_byte_s = ended.processes.tree_byte_us() as f64 / 1e6;
    if seen_byte_s == 0.0 {
        return;
    }
    // Every process that was seen has a share.
    let mut unseen_byte_s: BTreeMap<u32, f64> = BTreeMap::new();
    for (entry, trace) in entries.iter().zip(traces).filter(|(entry, _)| entry.memory_share.is_none()) {
        let lived_s = entry.end_s.map_or(0.0, |end_s| end_s - entry.start_s).max(SHORTEST_LIFE_S);
        *unseen_byte_s.entry(entry.pid).or_default() += trace.summary.requested_peak_bytes as f64 * lived_s;
    }
    let all_byte_s = seen_byte_s + unseen_byte_s.values().sum::<f64>();
    for entry in entries {
        let unseen = || unseen_byte_s.get(&entry.pid).copied();
        let byte_s = entry.memory_share.map(|share| share * seen_byte_s).or_else(unseen);
        entry.memory_share = byte_s.map(|byte_s| byte_s / all_byte_s);
    }
}

/// An image and its trace, with what the command saw of its process.
fn describe_image(recording: &raw::Recording, trace: &Recording, of_process: Option<Entry>) -> Entry {
    let number = number_of(recording, trace.image);
    let facts = recording.facts_of(trace.image, |page| {
        let text = |text| String::from_utf8_lossy(&page.text(text).collect::<Vec<u8>>()).into_owned();
        let command = text(Text::Command).trim_end_matches('\0').replace('\0', " ");
        (page.head().parent, page.head().tick.elapsed_us(), text(Text::Program), command)
    });
    let (parent, start_us, program, command) = facts.unwrap_or_default();
    let forked_from = parent.filter(|_| recording.is_forked(trace.image));
    let parent =
        of_process.as_ref().and_then(|entry| entry.parent).or(parent.map(|parent: ImageId| parent.pid));
    let start_s = trace.inherited.map_or(start_us, |inherited| inherited.forked_us) as f64 / 1e6;
    let trace_start_s = trace.inherited.map(|inherited| inherited.begin_us as f64 / 1e6);
    // Without a process that was seen, it ends with its trace. Sums are of whole ns: it must not end before it starts.
    let begin_us = trace.inherited.map_or(start_us, |inherited| inherited.begin_us);
    let last_ns = begin_us.saturating_mul(1000).saturating_add(trace.summary.last_time_ns);
    let end_s = of_process.as_ref().map_or(Some((last_ns as f64 / 1e9).max(start_s)), |entry| entry.end_s);
    Entry {
        pid: number,
        pid_inside: (number != trace.image.pid).then_some(trace.image.pid),
        parent,
        forked_from: forked_from.map(|parent| number_of(recording, parent)),
        program,
        command,
        start_s,
        trace_start_s,
        end_s,
        exit_status: of_process.as_ref().and_then(|entry| entry.exit_status),
        killed_by_signal: of_process.as_ref().and_then(|entry| entry.killed_by_signal),
        resident_peak_bytes: trace.summary.resident_peak_bytes,
        memory_share: of_process.as_ref().and_then(|entry| entry.memory_share),
        trace: name_of(&trace.path),
        events: Some(trace.summary.events),
        inherited_events: trace.inherited.map(|inherited| inherited.events),
        lost: Some(trace.summary.lost),
        explained_share: trace.coverage.share,
        gaps: trace.coverage.sentences(),
        not_recorded: of_process.and_then(|entry| entry.not_recorded),
    }
}

fn name_of(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

fn describe_process(process: &Process, ended: &Ended) -> Entry {
    let member = &process.member;
    let status = process.status;
    Entry {
        pid: member.number,
        pid_inside: (member.inner != member.number).then_some(member.inner),
        parent: (member.parent != std::process::id()).then_some(member.parent),
        forked_from: None,
        program: process.program.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        command: String::new(),
        start_s: process.began.as_secs_f64(),
        trace_start_s: None,
        end_s: process.ended.map(|ended| ended.as_secs_f64()),
        exit_status: status.filter(|status| status & 0x7f == 0).map(|status| (status >> 8 & 0xff) as i32),
        killed_by_signal: status.map(|status| status & 0x7f).filter(|signal| *signal != 0),
        resident_peak_bytes: process.peak_bytes,
        memory_share: ended.processes.share_of(process),
        trace: None,
        events: None,
        inherited_events: None,
        lost: None,
        explained_share: None,
        gaps: Vec::new(),
        not_recorded: process.not_recorded.clone().or_else(|| {
            let is_silent = process.images.is_empty();
            is_silent.then(|| "it allocated nothing, or exited at once".to_owned())
        }),
    }
}
