//! `run.toml`: all that is needed to repeat a run, and to read its CSV files.
//!
//! Plain data. It is written when a run starts (`finished = false`) and again when it ends.

use heaplab_allocators::registry::DEFAULT_BASELINE;
use serde::{Deserialize, Serialize};

use super::build::RunBuild;
use super::on_machine::OnMachine;
use super::tree::RunTree;
use crate::design::{RunOptions, Shard, wide};

/// Schema of a run's directory. Increases when a file changes in a way that older readers would misread.
pub const SCHEMA: u32 = 2;

/// The content of `run.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFile {
    /// Schema of the directory's files.
    pub schema: u32,
    /// Version of heaplab that measured.
    pub heaplab_version: String,
    /// Its build; empty in a run by a heaplab that did not record it.
    #[serde(default)]
    pub build: Option<RunBuild>,
    /// The run's name, as in every row.
    pub run_id: String,
    /// When the run started, in UTC, as `2030-01-31T12:00:00Z`.
    pub started_utc: String,
    /// The part of the run's units that this directory holds; empty for all.
    #[serde(default)]
    pub shard: Option<Shard>,
    /// The command line that started the run, program name first: for display; `options` hold what was requested.
    pub argv: Vec<String>,
    /// The folder to which relative paths in `options` refer.
    #[serde(default)]
    pub working_directory: String,
    /// Whether every sample of the run was taken.
    #[serde(default)]
    pub finished: bool,
    /// What the machine or the run's circumstances distort, as shown to the user.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What was requested.
    pub options: RunOptions,
    /// The workloads in the order in which they were named.
    #[serde(default)]
    pub workloads: Vec<RunWorkload>,
    /// The trees of processes from which some of them were recorded.
    #[serde(default)]
    pub trees: Vec<RunTree>,
    /// The variants in the order in which they were named.
    #[serde(default)]
    pub variants: Vec<RunVariant>,
    /// What was found about the machine: CPU, kernel, libc, THP, governor, ... In a merged run, what all machines have
    /// in common.
    #[serde(default)]
    pub machine: toml::Table,
    /// The kinds of machines on which a merged run was measured; empty for a run of one machine that was not merged.
    #[serde(default)]
    pub machines: Vec<RunMachine>,
}

/// Machines of one kind: all that is known about them is the same.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunMachine {
    /// Its name in rows: `m1`, `m2`, ...
    pub name: String,
    /// The directories measured on it, as they were named.
    #[serde(default)]
    pub directories: Vec<String>,
    /// Units that are whole.
    #[serde(default)]
    pub units: u64,
    /// What was found about it, as in `machine`.
    #[serde(default)]
    pub facts: toml::Table,
}

impl RunFile {
    /// The variant to which ratios refer unless a command is told otherwise.
    #[must_use]
    pub fn baseline(&self) -> &str {
        self.options.baseline.as_deref().unwrap_or(DEFAULT_BASELINE)
    }

    /// Checks that samples taken now, of these workloads under these variants, measure what the run was started with.
    /// Hashes that are not known, then or now, are not compared.
    ///
    /// # Errors
    ///
    /// A sentence that names what has changed.
    pub fn check_unchanged(&self, workloads: &[RunWorkload], variants: &[RunVariant]) -> Result<(), String> {
        let differs = |then: &Option<String>, now: &Option<String>| matches!((then, now), (Some(then), Some(now)) if then != now);
        for then in &self.workloads {
            let Some(now) = workloads.iter().find(|now| now.name == then.name) else {
                return Err(format!("{} is no workload of it any more", then.name));
            };
            if differs(&then.trace_hash, &now.trace_hash) || differs(&then.program_hash, &now.program_hash) {
                return Err(format!("{} is different from when it was started ({})", then.name, now.source));
            }
            if then.varies_load != now.varies_load {
                return Err(format!("{} had one load for all blocks, and now each has its own", then.name));
            }
        }
        let same = |then: &&RunVariant| variants.iter().find(|now| now.label == then.label);
        let changed = self
            .variants
            .iter()
            .find(|then| same(then).is_some_and(|now| differs(&then.library_hash, &now.library_hash)));
        match changed {
            Some(variant) => {
                Err(format!("the library of {} is a different build from when it was started", variant.label))
            }
            None => Ok(()),
        }
    }
}

/// A workload of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunWorkload {
    /// Its name, as in every row.
    pub name: String,
    /// Where its trace comes from: a definition's name, or a file.
    pub source: String,
    /// SHA-256 of its trace in hexadecimal.
    #[serde(default)]
    pub trace_hash: Option<String>,
    /// SHA-256 of its compiled program in hexadecimal; for a real program, of its file.
    #[serde(default)]
    pub program_hash: Option<String>,
    /// The seed of a load model's load, that of the first block if `varies_load`; empty for a recording.
    #[serde(default, with = "wide")]
    pub load_seed: Option<u64>,
    /// Whether each block has a load of its own: samples.csv holds its seed.
    #[serde(default)]
    pub varies_load: bool,
    /// Whether its event times are real; if not, an event's index is used as its time.
    pub has_times: bool,
    /// What its source could not tell, and what that means for the figures, in sentences.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// What its recording does not cover, so that it is used for neither predictions nor plans, in sentences.
    #[serde(default)]
    pub gaps: Vec<String>,
    /// CPUs that the recorded process could use.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// Events of the trace.
    #[serde(default)]
    pub events: Option<u64>,
    /// Threads of the trace.
    #[serde(default)]
    pub threads: Option<u64>,
    /// Trace time from the first event to the last.
    #[serde(default, with = "wide")]
    pub duration_ns: Option<u64>,
    /// Largest sum of requested bytes live at once.
    #[serde(default, with = "wide")]
    pub requested_peak_bytes: Option<u64>,
    /// Whether the trace was cut off and only its whole chunks are used.
    #[serde(default)]
    pub truncated: bool,
    /// The load model that it simulates; the same for all loads of the model.
    #[serde(default)]
    pub model: Option<String>,
    /// Clients of that model.
    #[serde(default)]
    pub connections: Option<u32>,
    /// Requests that they began to send.
    #[serde(default)]
    pub requests: Option<u64>,
    /// Arrivals that are not in the trace, because no open connection was idle.
    #[serde(default)]
    pub refused: Option<u64>,
    /// The allocator that the recorded process ran on; empty if not known, or if nothing was recorded.
    #[serde(default)]
    pub recorded_allocator: Option<String>,
    /// SHA-256 of its library in hexadecimal.
    #[serde(default)]
    pub recorded_library_hash: Option<String>,
    /// CPU time that the recorded process used, user and system, including that of its children for which it waited.
    #[serde(default, with = "wide")]
    pub recorded_cpu_ns: Option<u64>,
    /// How much of that was the recorder's own; empty if not known.
    #[serde(default, with = "wide")]
    pub recorder_cpu_ns: Option<u64>,
    /// How often the recorded process's memory was sampled; empty if the trace does not say.
    #[serde(default, with = "wide")]
    pub recorded_sampling_interval_ns: Option<u64>,
    /// The number of requests of the modelled load for each one in the trace; empty if all are in it.
    #[serde(default)]
    pub thinned: Option<String>,
    /// For a model of recordings: what it was made from, how far this load goes beyond that, and what speaks against
    /// trusting it.
    #[serde(default)]
    pub extrapolation: Option<String>,
    /// Half the width of the band around its memory figures, as a fraction of them: a decimal number.
    #[serde(default)]
    pub extrapolation_band: Option<String>,
    /// For a model of recordings: anonymous memory that its process has outside malloc; empty if that was not measured.
    #[serde(default, with = "wide")]
    pub outside_malloc_bytes: Option<u64>,
    /// Phases of a load model in the order of their start.
    #[serde(default)]
    pub phases: Vec<RunPhase>,
    /// Which workload on which of several kinds of machines it is; none in a run of one kind. Not in the file: a reader
    /// separates the kinds.
    #[serde(skip)]
    pub on: Option<OnMachine>,
}

impl RunWorkload {
    /// CPU time that the recorded process would have used unrecorded: the recorder's share is subtracted if it is
    /// known, and is never more than the whole.
    #[must_use]
    pub fn program_cpu_ns(&self) -> Option<u64> {
        Some(self.recorded_cpu_ns?.saturating_sub(self.recorder_cpu_ns.unwrap_or(0)))
    }
}

/// A phase of a load model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunPhase {
    /// When it starts, in trace time.
    pub time_ns: u64,
    /// Its name.
    pub name: String,
}

/// A variant of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunVariant {
    /// Its label, as in every row.
    pub label: String,
    /// Allocator's name.
    pub allocator: String,
    /// The version that the allocator itself states.
    #[serde(default)]
    pub version: Option<String>,
    /// Settings as `NAME=VALUE`.
    #[serde(default)]
    pub settings: Vec<String>,
    /// The library that is preloaded; empty for none.
    #[serde(default)]
    pub library_path: Option<String>,
    /// SHA-256 of the library in hexadecimal.
    #[serde(default)]
    pub library_hash: Option<String>,
    /// Whether it measures the harness's share and nobody named it: it then has samples only in the throughput pass.
    #[serde(default)]
    pub is_harness: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_not_continued_with_other_files() {
        let workload = |hash: &str| RunWorkload {
            name: "server".to_owned(),
            source: "server.hlt".to_owned(),
            trace_hash: Some(hash.to_owned()),
            ..RunWorkload::default()
        };
        let variant = |hash: Option<&str>| RunVariant {
            label: "jemalloc".to_owned(),
            library_hash: hash.map(str::to_owned),
            ..RunVariant::default()
        };
        let text = "schema = 2\nheaplab_version = \"1\"\nrun_id = \"r\"\nstarted_utc = \"\"\nargv = []\n[options]\n\
                    seed = \"1\"\npasses = []\nreps = 1\n";
        let mut run: RunFile = toml::from_str(text).unwrap();
        run.workloads = vec![workload("a")];
        run.variants = vec![variant(Some("1"))];
        let check = |workloads: &[RunWorkload], hash| run.check_unchanged(workloads, &[variant(hash)]);
        assert_eq!(check(&[workload("a")], Some("1")), Ok(()));
        assert_eq!(check(&[workload("a")], None), Ok(()), "what is not known is not compared");
        let says = |checked: Result<(), String>, what: &str| checked.is_err_and(|said| said.contains(what));
        assert!(says(
            check(&[workload("b")], Some("1")),
            "server is different from when it was started (server.hlt)"
        ));
        assert!(says(check(&[], Some("1")), "no workload of it any more"));
        assert!(says(check(&[workload("a")], Some("2")), "library of jemalloc is a different build"));
    }

    #[test]
    fn the_recorders_share_is_subtracted_from_what_was_recorded() {
        let program = |recorded_cpu_ns, recorder_cpu_ns| {
            RunWorkload { recorded_cpu_ns, recorder_cpu_ns, ..RunWorkload::default() }.program_cpu_ns()
        };
        assert_eq!(program(Some(1000), Some(150)), Some(850));
        assert_eq!(program(Some(1000), None), Some(1000));
        assert_eq!(program(Some(1000), Some(1001)), Some(0), "never below zero");
        assert_eq!(program(None, Some(150)), None);
    }

    #[test]
    fn numbers_beyond_those_of_toml_are_written_as_text() {
        for (number, written) in [
            (Some(0), "duration_ns = 0\n"),
            (Some(i64::MAX as u64), "duration_ns = 9223372036854775807\n"),
            (Some(i64::MAX as u64 + 1), "duration_ns = \"9223372036854775808\"\n"),
            (Some(u64::MAX), "duration_ns = \"18446744073709551615\"\n"),
            (None, ""),
        ] {
            let workload =
                RunWorkload { duration_ns: number, requested_peak_bytes: number, ..RunWorkload::default() };
            let text = toml::to_string(&workload).unwrap();
            assert!(text.contains(written), "{text}");
            assert_eq!(toml::from_str::<RunWorkload>(&text).unwrap(), workload);
        }
        for (text, problem) in [("-1", "-1 is below 0"), ("\"x\"", "\"x\" is not a number of 64 bits")] {
            let text = format!("name = \"a\"\nsource = \"b\"\nhas_times = true\nduration_ns = {text}\n");
            let error = toml::from_str::<RunWorkload>(&text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
