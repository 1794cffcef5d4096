//! The directories of a merge, which must share one plan: the same question, programs, builds and heaplab.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use crate::design::RunOptions;
use crate::results::{ResultsError, RunFile, read_run_file};
use crate::session::error::{SessionError, usage};

/// A directory to merge.
pub(super) struct Source {
    /// As the user named it.
    pub(super) directory: PathBuf,
    pub(super) file: RunFile,
}

impl Source {
    /// The name of the run, without its time and shard.
    pub(super) fn name(&self) -> &str {
        let name = self.file.run_id.split_once('-').map_or(self.file.run_id.as_str(), |(_, name)| name);
        let shard = self.file.shard.map(|shard| format!("-{shard}").replace('/', "_"));
        shard.and_then(|shard| name.strip_suffix(shard.as_str())).unwrap_or(name)
    }
}

/// Reads what each directory holds. Refuses directories that are not runs of replays, are duplicates, or do
/// not share one plan.
pub(super) fn read_sources(directories: &[PathBuf]) -> Result<Vec<Source>, SessionError> {
    let mut sources: Vec<Source> = Vec::new();
    let mut seen: HashMap<PathBuf, &PathBuf> = HashMap::new();
    for directory in directories {
        let file = read_run_file(directory).map_err(refuse_no_run)?;
        let path = directory.display();
        let real =
            fs::canonicalize(directory).map_err(SessionError::failed(format!("{path}: cannot be read")))?;
        if let Some(other) = seen.insert(real, directory) {
            return Err(usage(format!(
                "{} and {path} are the same directory: name it once",
                other.display()
            )));
        }
        if file.options.replay.is_none() {
            return Err(usage(format!(
                "{path} is a run of a real program: only replays have units to merge"
            )));
        }
        if !file.machines.is_empty() {
            return Err(usage(format!(
                "{path} was merged already: name the directories that it was merged of"
            )));
        }
        if let Some(first) = sources.first()
            && let Some(what) = find_difference(&first.file, &file)
        {
            return Err(usage(format!(
                "{} and {path} are of different plans: {what}",
                first.directory.display()
            )));
        }
        sources.push(Source { directory: directory.clone(), file });
    }
    if sources.is_empty() {
        return Err(usage("there is nothing to merge: name the directories of a run's shards"));
    }
    Ok(sources)
}

/// A directory without a run is the user's mistake.
fn refuse_no_run(error: ResultsError) -> SessionError {
    match error {
        ResultsError::NoRun { .. } | ResultsError::RunFile { .. } | ResultsError::NewerSchema { .. } => {
            usage(error.to_string())
        }
        other => other.into(),
    }
}

/// What differs between two plans, in words; none where samples of both belong together.
fn find_difference(one: &RunFile, other: &RunFile) -> Option<String> {
    let differs = |what: String, one: &dyn std::fmt::Display, other: &dyn std::fmt::Display| {
        let (one, other) = (one.to_string(), other.to_string());
        (one != other).then(|| format!("{what} is {one} in the one and {other} in the other"))
    };
    differs("the version of heaplab".to_owned(), &one.heaplab_version, &other.heaplab_version)
        .or_else(|| {
            let differs = one.build.as_ref()?.find_difference(other.build.as_ref()?)?;
            Some(format!("the builds of heaplab that measured are {differs}"))
        })
        .or_else(|| differs("the schema".to_owned(), &one.schema, &other.schema))
        .or_else(|| find_other_option(&one.options, &other.options))
        .or_else(|| {
            let names = |file: &RunFile| list(file.workloads.iter().map(|workload| workload.name.as_str()));
            differs("the list of workloads".to_owned(), &names(one), &names(other))
        })
        .or_else(|| {
            let labels = |file: &RunFile| list(file.variants.iter().map(|variant| variant.label.as_str()));
            differs("the list of variants".to_owned(), &labels(one), &labels(other))
        })
        .or_else(|| (one.trees != other.trees).then(|| "the trees of processes are not the same".to_owned()))
        .or_else(|| {
            let known = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "not known".to_owned());
            one.workloads.iter().zip(&other.workloads).find_map(|(one, other)| {
                let name = &one.name;
                differs(
                    format!("the hash of the program of {name}"),
                    &known(&one.program_hash),
                    &known(&other.program_hash),
                )
                .or_else(|| {
                    differs(
                        format!("the hash of the trace of {name}"),
                        &known(&one.trace_hash),
                        &known(&other.trace_hash),
                    )
                })
            })
        })
        .or_else(|| {
            let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "not known".to_owned());
            one.variants.iter().zip(&other.variants).find_map(|(one, other)| {
                let label = &one.label;
                differs(format!("the version of {label}"), &known(&one.version), &known(&other.version))
                    .or_else(|| {
                        differs(
                            format!("the hash of the library of {label}"),
                            &known(&one.library_hash),
                            &known(&other.library_hash),
                        )
                    })
                    .or_else(|| {
                        (one.is_harness != other.is_harness)
                            .then(|| format!("{label} was named in one alone"))
                    })
            })
        })
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<&str>>().join(", ")
}

/// The first option that differs, by its name in run.toml.
fn find_other_option(one: &RunOptions, other: &RunOptions) -> Option<String> {
    if one == other {
        return None;
    }
    let table = |options: &RunOptions| toml::Table::try_from(options).unwrap_or_default();
    let (one, other) = (table(one), table(other));
    Some(find_other_value("options", &one, &other).unwrap_or_else(|| "the options differ".to_owned()))
}

fn find_other_value(path: &str, one: &toml::Table, other: &toml::Table) -> Option<String> {
    let text = |value: Option<&toml::Value>| value.map_or_else(|| "empty".to_owned(), toml::Value::to_string);
    one.keys().chain(other.keys()).find_map(|key| match (one.get(key), other.get(key)) {
        (one, other) if one == other => None,
        (Some(toml::Value::Table(one)), Some(toml::Value::Table(other))) => {
            find_other_value(&format!("{path}.{key}"), one, other)
        }
        (one, other) => {
            Some(format!("{path}.{key} is {} in the one and {} in the other", text(one), text(other)))
        }
    })
}
