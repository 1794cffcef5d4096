//! Workloads by name or by path: what the user names in, a stream of records out.
//!
//! A shipped definition, a stress pattern, a shipped recording, and a file of the user's (`.hlt`, `.hlm`, `.toml`, or
//! another tool's log) all end as a [`RecordStream`]. Nothing is simulated or read through before the stream is pulled,
//! but for a log: it is imported into a temporary trace first, which lives as long as the stream. Who opens a log
//! more than once imports it once, by [`Workload::import_as`].

mod builtin;
mod error;
mod stream;

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::import::{self, Progress};
use crate::model::{self, Model, ModelError, Question};
use crate::simulate::{self, Options, Simulation};
use crate::stream::RecordStream;
use crate::stress::{PATTERNS, Stress};

pub use builtin::Suite;
pub use error::CatalogError;

use builtin::{ShippedLog, ShippedModel, ShippedTrace};
use error::io_error;
use stream::TraceStream;

/// Where a workload's records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A load model, to be simulated.
    Definition {
        /// The definition, TOML.
        text: Cow<'static, str>,
        /// Its name in messages: the shipped one's, or the file's path.
        origin: String,
    },
    /// A model of recordings.
    Model {
        /// Where it lies; one that is built in has its name here, and its bytes.
        path: PathBuf,
        /// The file, if it is built in.
        bytes: Option<&'static [u8]>,
        /// What its loads are counted in.
        load_unit: String,
    },
    /// A stress pattern.
    Stress {
        /// Its name.
        name: &'static str,
    },
    /// A trace file.
    Trace {
        /// Where it lies.
        path: PathBuf,
    },
    /// A trace that is built in.
    ShippedTrace {
        /// The file.
        bytes: &'static [u8],
    },
    /// A log of another tool that is built in.
    ShippedLog {
        /// The file, as it was before it was built in.
        bytes: &'static [u8],
        /// The name that it had.
        file_name: &'static str,
    },
    /// A log of another tool.
    Log {
        /// Where it lies.
        path: PathBuf,
    },
}

/// A named source of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its name in results.
    pub name: String,
    /// What it stands for, in a line.
    pub description: String,
    /// Where its records come from.
    pub source: Source,
}

/// What became of a log.
#[derive(Debug)]
pub struct Imported {
    /// The workload as a trace.
    pub workload: Workload,
    /// What the user should know of the log: see [`import::ImportReport::warnings`].
    pub warnings: Vec<String>,
}

/// The first bytes of a `.hlt` file.
const TRACE_MAGIC: &[u8] = b"\x89HLT\r\n\x1a\n";
/// The longest definition that is read.
const MAX_DEFINITION_BYTES: u64 = 1 << 20;

/// Every workload that is shipped: load models, recordings, stress patterns.
pub fn list() -> Vec<Workload> {
    let models = simulate::SHIPPED.iter().map(|(name, text)| {
        let description = Simulation::describe(text, name).map(|(_, description)| description);
        Workload {
            name: name.to_string(),
            // A test proves that each shipped definition is good.
            description: description.unwrap_or_default(),
            source: Source::Definition { text: Cow::Borrowed(text), origin: name.to_string() },
        }
    });
    let fitted = builtin::MODELS.iter().map(ShippedModel::workload);
    let logs = builtin::LOGS.iter().map(ShippedLog::workload);
    let traces = builtin::TRACES.iter().map(ShippedTrace::workload);
    let patterns = PATTERNS.iter().map(|pattern| Workload {
        name: pattern.name.to_string(),
        description: pattern.description.to_string(),
        source: Source::Stress { name: pattern.name },
    });
    models.chain(logs).chain(traces).chain(fitted).chain(patterns).collect()
}

/// The workload of that name, or else the file at that path.
///
/// # Errors
///
/// Neither is there (the message lists the names), the file cannot be read, or it is a bad definition.
pub fn find(name_or_path: &str) -> Result<Workload, CatalogError> {
    if let Some(workload) = list().into_iter().find(|workload| workload.name == name_or_path) {
        return Ok(workload);
    }
    let path = Path::new(name_or_path);
    let looks_like_path = path.extension().is_some() || path.components().count() > 1;
    match path.try_exists() {
        Ok(true) => find_file(path),
        Ok(false) if looks_like_path => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            Err(CatalogError::NoFile { path: path.to_path_buf(), similar: similar(&stem) })
        }
        Ok(false) => Err(CatalogError::Unknown {
            name: name_or_path.to_string(),
            similar: similar(name_or_path),
            known: names(|_| true),
        }),
        Err(source) => Err(io_error(path, "open", source)),
    }
}

impl Workload {
    /// Whether it is a load model or a stress pattern, which take options.
    pub fn is_model(&self) -> bool {
        matches!(self.source, Source::Definition { .. } | Source::Model { .. } | Source::Stress { .. })
    }

    /// Clients that a load model of a server has under these options; none of anything else.
    ///
    /// # Errors
    ///
    /// A bad definition or override.
    pub fn connections(&self, options: &Options) -> Result<Option<u32>, CatalogError> {
        match &self.source {
            Source::Definition { text, origin } => {
                Ok(Some(Simulation::parameters(text, origin, &options.overrides)?.connections))
            }
            Source::Model { path, bytes, load_unit } if load_unit == "connections" => {
                let question = Question::new(&self.name, load_unit, options)?;
                let own = || Ok::<f64, ModelError>(read_model_of(path, *bytes)?.own_load());
                let load = question.load.map_or_else(own, Ok)?;
                // A load between two numbers of connections is none that a plan could ask for.
                Ok((load.fract() == 0.0 && load <= f64::from(u32::MAX)).then_some(load as u32))
            }
            _ => Ok(None),
        }
    }

    /// The same with the name and the description that it has under these options. What was overridden is part of both,
    /// so that no figure of it can be taken for one of the model as it is: `monitor-server:connections=390,workers=8`.
    /// An override of the name itself is the whole name.
    ///
    /// # Errors
    ///
    /// A bad definition or override.
    pub fn named_by(self, options: &Options) -> Result<Workload, CatalogError> {
        if options.overrides.is_empty() || !self.is_model() {
            return Ok(self);
        }
        let key = |set: &str| set.split('=').next().unwrap_or_default().trim().to_owned();
        let sets = |name: &str| options.overrides.iter().any(|set| key(set) == name);
        let is_change = |set: &&str| !matches!(key(set).as_str(), "name" | "description");
        let changes: Vec<&str> = options.overrides.iter().map(|set| set.trim()).filter(is_change).collect();
        let mut named = match &self.source {
            Source::Definition { text, origin } => {
                let definition = Simulation::parameters(text, origin, &options.overrides)?;
                Workload { name: definition.name, description: definition.description, ..self }
            }
            _ => self,
        };
        if !changes.is_empty() && !sets("name") {
            named.name = format!("{}:{}", named.name, changes.join(","));
        }
        if !changes.is_empty() && !sets("description") {
            named.description = format!("{}; with {}", named.description, changes.join(", "));
        }
        Ok(named)
    }

    /// Begins its trace. A recording has no use for a seed; a duration and overrides it refuses.
    ///
    /// # Errors
    ///
    /// A bad override, a file that is not what it was, a log that cannot be imported.
    pub fn open(&self, options: &Options) -> Result<Box<dyn RecordStream + Send>, CatalogError> {
        if !self.is_model() {
            self.refuse_model_options(options)?;
        }
        Ok(match &self.source {
            Source::Definition { text, origin } => Box::new(Simulation::new(text, origin, options)?),
            Source::Model { path, bytes, load_unit } => {
                let question = Question::new(&self.name, load_unit, options)?;
                let model = read_model_of(path, *bytes)?;
                Box::new(model.play(&self.name, &question, options.seed)?)
            }
            Source::Stress { name } => Box::new(Stress::new(name, options)?),
            Source::Trace { path } => Box::new(TraceStream::open(&self.name, path)?),
            Source::ShippedTrace { bytes } => Box::new(TraceStream::built_in(&self.name, bytes)?),
            Source::Log { .. } | Source::ShippedLog { .. } => {
                let directory = temporary_directory()?;
                let path = directory.path().join("imported.hlt");
                self.import_as(options, &path, &mut |_| {})?;
                // Open, it outlives its name, which goes with the directory.
                Box::new(TraceStream::open(&self.name, &path)?)
            }
        })
    }

    /// Imports the log that this workload is as the trace `trace`, and gives the workload that this trace is: who
    /// opens a workload more than once imports it once. None if it is no log.
    ///
    /// # Errors
    ///
    /// A log that cannot be imported, a trace that cannot be written, options that a recording does not take.
    pub fn import_as(
        &self,
        options: &Options,
        trace: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Imported>, CatalogError> {
        if !self.is_model() {
            self.refuse_model_options(options)?;
        }
        let any = import::Options::default();
        let report = match &self.source {
            Source::Log { path } => import::import(path, &any, trace, progress)?,
            Source::ShippedLog { bytes, file_name } => {
                let directory = temporary_directory()?;
                let path = directory.path().join(file_name);
                fs::write(&path, bytes).map_err(|source| io_error(&path, "write", source))?;
                import::import(&path, &any, trace, progress)?
            }
            _ => return Ok(None),
        };
        let source = Source::Trace { path: trace.to_path_buf() };
        Ok(Some(Imported { workload: Workload { source, ..self.clone() }, warnings: report.warnings }))
    }

    fn refuse_model_options(&self, options: &Options) -> Result<(), CatalogError> {
        let asked = if !options.overrides.is_empty() {
            "--set"
        } else if options.duration_ns.is_some() {
            "a duration"
        } else {
            return Ok(());
        };
        Err(CatalogError::NotAModel { name: self.name.clone(), asked, known: names(Workload::is_model) })
    }
}

fn find_file(path: &Path) -> Result<Workload, CatalogError> {
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    if path.extension().is_some_and(|extension| extension == "toml") {
        return find_definition(path);
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(|source| io_error(path, "open", source))?;
    let read = file.take(TRACE_MAGIC.len() as u64).read_to_end(&mut head);
    read.map_err(|source| io_error(path, "read", source))?;
    if head == model::MAGIC || path.extension().is_some_and(|extension| extension == "hlm") {
        let facts = model::read_facts(path)?;
        let source = Source::Model { path: path.to_path_buf(), bytes: None, load_unit: facts.load_unit };
        return Ok(Workload { name: stem, description: "model of recordings".to_owned(), source });
    }
    let is_trace = head == TRACE_MAGIC || path.extension().is_some_and(|extension| extension == "hlt");
    let path = path.to_path_buf();
    let (description, source) = match is_trace {
        true => ("trace file", Source::Trace { path }),
        false => ("log of another tool", Source::Log { path }),
    };
    Ok(Workload { name: stem, description: description.to_string(), source })
}

fn find_definition(path: &Path) -> Result<Workload, CatalogError> {
    let mut text = String::new();
    let file = File::open(path).map_err(|source| io_error(path, "open", source))?;
    let read = file.take(MAX_DEFINITION_BYTES + 1).read_to_string(&mut text);
    read.map_err(|source| io_error(path, "read", source))?;
    if text.len() as u64 > MAX_DEFINITION_BYTES {
        let source = io::Error::other(format!("a definition has at most {MAX_DEFINITION_BYTES} bytes"));
        return Err(io_error(path, "read", source));
    }
    let origin = path.display().to_string();
    let (name, description) = Simulation::describe(&text, &origin)?;
    Ok(Workload { name, description, source: Source::Definition { text: Cow::Owned(text), origin } })
}

/// The shipped workloads of whose names `name` is a word or the begin of one, and those that differ from it by a slip of
/// the keys: one letter in four.
fn similar(name: &str) -> Vec<String> {
    const SHORTEST: usize = 3;
    let letters = name.chars().count();
    let is_similar = |known: &String| {
        let begins_word = known.starts_with(name) || known.contains(&format!("-{name}"));
        letters >= SHORTEST && (begins_word || strsim::osa_distance(known, name) <= letters / 4)
    };
    list().into_iter().map(|workload| workload.name).filter(is_similar).collect()
}

/// The shipped workloads that `wanted` takes, in words.
fn names(wanted: impl Fn(&Workload) -> bool) -> String {
    let names: Vec<String> = list().into_iter().filter(wanted).map(|workload| workload.name).collect();
    names.join(", ")
}

fn read_model_of(path: &Path, bytes: Option<&'static [u8]>) -> Result<Model, ModelError> {
    match bytes {
        Some(bytes) => model::read_model_bytes(&path.display().to_string(), bytes),
        None => model::read_model(path),
    }
}

fn temporary_directory() -> Result<TempDir, CatalogError> {
    tempfile::tempdir()
        .map_err(|source| io_error(&std::env::temp_dir(), "make a temporary directory", source))
}

#[cfg(test)]
mod tests;
