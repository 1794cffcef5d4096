//! Recorded trees of processes: a manifest named as a workload stands for the traces of its processes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use heaplab_trace::{Coverage, Gap, Summary};
use heaplab_workloads::catalog::{self, Source, Workload};

use super::error::{SessionError, usage};
use super::recording::{Recording, read_coverage};
use crate::record::{Entry, Manifest};
use crate::results::{RunTree, RunTreeMember};

/// At least this share of a tree's memory must be explained by recorded blocks, unless the unexplained rest
/// is this small.
const LEAST_EXPLAINED_SHARE: f64 = 0.25;
const ALLOWED_BYTES: f64 = (8 << 20) as f64;

/// A tree that was named, and the workloads that it stands for.
pub(super) struct Tree {
    name: String,
    source: String,
    manifest: Manifest,
    /// The workload of each process of the manifest that has a trace with events.
    members: Vec<(usize, Workload)>,
}

impl Tree {
    /// Whether a workload is named by the manifest of a tree.
    pub(super) fn is_named_by(name: &str) -> bool {
        Path::new(name).file_name().is_some_and(|file| {
            file.to_string_lossy().strip_suffix(Manifest::EXTENSION).is_some_and(|stem| stem.ends_with('.'))
        })
    }

    /// The manifest of a recording's tree, which lies beside its trace; none if there was only one process.
    /// For a manifest, this is the manifest itself.
    pub(super) fn beside(recording: &Path) -> Option<PathBuf> {
        if Tree::is_named_by(&recording.to_string_lossy()) {
            return Some(recording.to_owned());
        }
        Some(recording.with_extension(Manifest::EXTENSION)).filter(|manifest| manifest.exists())
    }

    /// Reads the manifest that a workload is named by.
    pub(super) fn read(name: &str) -> Result<Tree, SessionError> {
        let path = Path::new(name);
        let failed = || SessionError::failed(format!("cannot use the tree {name}"));
        let manifest = Manifest::read(path).map_err(|error| failed()(error))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = path.parent().unwrap_or(Path::new(""));
        let has_events = |entry: &&Entry| entry.events.is_some_and(|events| events > 0);
        let mut members = Vec::new();
        for (at, entry) in manifest.process.iter().enumerate() {
            let Some(trace) = Some(entry).filter(has_events).and_then(|entry| entry.trace.as_ref()) else {
                continue;
            };
            // A file elsewhere is not part of the recording.
            if Path::new(trace).components().count() != 1 {
                return Err(usage(format!("{name}: the trace {trace} does not lie beside the manifest")));
            }
            members.push((at, catalog::find(&folder.join(trace).to_string_lossy())?));
        }
        if members.is_empty() {
            return Err(usage(format!(
                "{name}: none of its processes has a trace: there is nothing to replay"
            )));
        }
        let name = file.trim_end_matches(".toml").to_owned();
        Ok(Tree { name, source: path.display().to_string(), manifest, members })
    }

    /// The workloads that it stands for.
    pub(super) fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.members.iter().map(|(_, workload)| workload)
    }

    /// Whether a workload is one of its processes.
    pub(super) fn has(&self, workload: &str) -> bool {
        self.workloads().any(|member| member.name == workload)
    }

    /// The tree as stored in `run.toml`. `recording_of` returns what a member's trace says about its process.
    pub(super) fn describe<'a>(
        &self,
        recording_of: impl Fn(&str) -> Option<&'a Recording>,
        despite_coverage: bool,
    ) -> Result<RunTree, SessionError> {
        let mut missing = self.describe_unrecorded();
        let mut explained = Explained::default();
        let mut members = Vec::new();
        for (at, workload) in &self.members {
            let entry = &self.manifest.process[*at];
            let Source::Trace { path } = &workload.source else { continue };
            let flaws: Vec<String> = own_gaps(&read_coverage(path)?).iter().map(Gap::to_string).collect();
            for flaw in flaws {
                missing.insert(entry.pid, format!("process {}: {flaw}", entry.pid));
            }
            let end_s = self.end_of(entry);
            let totals =
                heaplab_trace::summary(path).map_err(SessionError::failed("cannot read a recording"))?;
            explained.add(&totals.unwrap_or_default(), end_s - entry.start_s);
            let recording = recording_of(&workload.name);
            // A trace's times count from the start of its image, or of the first image that it descends from.
            let start_ns = nanos(entry.start_s);
            let trace_start_ns = nanos(entry.trace_start_s.unwrap_or(entry.start_s));
            let since_start_ns = recording.and_then(Recording::first_event_ns).unwrap_or(0);
            let first_event_ns = trace_start_ns.saturating_add(since_start_ns);
            members.push(RunTreeMember {
                pid: entry.pid,
                workload: workload.name.clone(),
                forked_from: entry.forked_from,
                inherits: entry.trace_start_s.is_some(),
                start_ns,
                first_event_ns,
                end_ns: nanos(end_s).max(first_event_ns).max(start_ns),
                share: entry.memory_share,
            });
        }
        let missing_share = self.share_of(missing.keys().copied());
        let shared: Vec<(u64, u64)> =
            self.manifest.shared.iter().flatten().map(|&(at, bytes)| (nanos(at), bytes)).collect();
        let refused = (missing_share > RunTree::MOST_MISSING_SHARE)
            .then(|| {
                format!(
                    "processes with {:.1} % of its memory are not in the recording: record them too",
                    missing_share * 100.0
                )
            })
            .or_else(|| {
                // If every trace has the blocks that its process inherited, shared memory is counted as often
                // as it is explained.
                let inherits = |member: &RunTreeMember| member.forked_from.is_none() || member.inherits;
                let shared = if members.iter().all(inherits) { &[] } else { &*shared };
                explained.describe_gap(shared, self.manifest.seconds)
            });
        Ok(RunTree {
            name: self.name.clone(),
            source: self.source.clone(),
            refused: refused.filter(|_| !despite_coverage),
            missing: missing.into_values().collect(),
            missing_share,
            shared_unknown: self.manifest.shared.is_none().then(|| {
                let why = self.manifest.shared_unknown.clone();
                why.unwrap_or_else(|| "the manifest does not say it".to_owned())
            }),
            shared,
            asked_to_end_ns: self.manifest.asked_to_end_s.map(nanos),
            members,
            on: None,
        })
    }

    /// Processes that are not replayed, or not with all of their images, by number.
    fn describe_unrecorded(&self) -> BTreeMap<u32, String> {
        let is_member = |at: usize| self.members.iter().any(|(member, _)| *member == at);
        let entries = self.manifest.process.iter().enumerate();
        let missing = entries.filter(|(at, entry)| entry.not_recorded.is_some() || !is_member(*at));
        missing
            .map(|(_, entry)| {
                let why = entry.not_recorded.as_deref().unwrap_or("its trace has no events");
                (entry.pid, format!("process {} ({}): {why}", entry.pid, entry.program))
            })
            .collect()
    }

    /// The share of the tree's memory that these processes had. All images of a process state the process's
    /// share.
    fn share_of(&self, processes: impl Iterator<Item = u32>) -> f64 {
        let processes: BTreeSet<u32> = processes.collect();
        let share = |pid: &u32| {
            let of = self.manifest.process.iter().filter(|entry| entry.pid == *pid);
            of.filter_map(|entry| entry.memory_share).fold(0.0, f64::max)
        };
        processes.iter().map(share).sum()
    }

    /// When an image ended: with its process, or when the process's next image begins.
    fn end_of(&self, entry: &Entry) -> f64 {
        let end_s = entry.end_s.unwrap_or(self.manifest.seconds);
        let others = self.manifest.process.iter().filter(|other| other.pid == entry.pid);
        others.map(|other| other.start_s).filter(|start_s| *start_s > entry.start_s).fold(end_s, f64::min)
    }
}

/// The gaps that count against a single trace of a tree. Unexplained memory is judged for the whole tree,
/// because a forked child's inherited heap is explained by its parent's blocks; and the manifest says what
/// was not recorded.
pub(super) fn own_gaps(coverage: &Coverage) -> Vec<Gap> {
    coverage.gaps.iter().filter(|gap| gap.is_missing_events()).cloned().collect()
}

/// Bytes times seconds of all processes.
#[derive(Default)]
struct Explained {
    explained: f64,
    resident: f64,
}

impl Explained {
    fn add(&mut self, totals: &Summary, lived_s: f64) {
        self.explained += totals.explained_mean_bytes as f64 * lived_s.max(0.0);
        self.resident += totals.resident_mean_bytes as f64 * lived_s.max(0.0);
    }

    /// Why too little of the tree's memory is explained, if so, with shared pages counted once.
    fn describe_gap(&self, shared: &[(u64, u64)], seconds: f64) -> Option<String> {
        let ends = shared.iter().skip(1).map(|point| point.0).chain([nanos(seconds)]);
        let held = |(&(since, bytes), end): (&(u64, u64), u64)| {
            bytes as f64 * end.saturating_sub(since) as f64 / 1e9
        };
        let once = self.resident - shared.iter().zip(ends).map(held).sum::<f64>();
        let is_little =
            once - self.explained > ALLOWED_BYTES * seconds && self.explained < LEAST_EXPLAINED_SHARE * once;
        is_little.then(|| {
            format!(
                "recorded blocks explain {:.0} % of its memory: the rest is outside malloc",
                self.explained / once * 100.0
            )
        })
    }
}

/// The seconds of a manifest in ns, whatever is written there.
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).clamp(0.0, i64::MAX as f64) as u64
}
