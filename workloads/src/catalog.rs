//! Workloads by name or by path: what the user names in, a stream of records out.
//!
//! A shipped definition, a stress pattern, a shipped log, and a file of the user's (`.hlt`, `.toml`, or
//! another tool's log) all end as a [`RecordStream`]. Nothing is simulated or read through before the stream is pulled,
//! but for a log: it is imported into a temporary trace first, which lives as long as the stream. Who opens a log
//! more than once imports it once, by [`Workload::import_as`].

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use heaplab_trace::{Header, Record, TraceError, TraceReader};
use tempfile::TempDir;

use crate::import::{self, ImportError, Progress};
use crate::simulate::{self, DefinitionError, Options, Simulation};
use crate::stream::{RecordStream, StreamError};
use crate::stress::{PATTERNS, Stress};

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

/// A name or a file that is no workload, or one that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Neither a workload's name nor a file.
    #[error("unknown workload {name:?}: the workloads are {known}, or name a file (.hlt, .toml, or a log)")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A definition or an override has a fault.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Something was asked for that only a load model can do.
    #[error(
        "{name} is a recording, not a load model: {asked} cannot be set (leave it away, or name a load model: {known})"
    )]
    NotAModel {
        /// The workload.
        name: String,
        /// What was asked for.
        asked: &'static str,
        /// The names of load models that there are.
        known: String,
    },
    /// A file cannot be read.
    #[error("{}: cannot {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// A trace cannot be opened.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A log cannot be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl CatalogError {
    /// Whether the user asked for something that there is not, as opposed to a fault while reading it.
    pub fn is_usage(&self) -> bool {
        match self {
            CatalogError::Unknown { .. } | CatalogError::Definition(_) | CatalogError::NotAModel { .. } => {
                true
            }
            CatalogError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            CatalogError::Trace(_) | CatalogError::Import(_) => false,
        }
    }
}

/// A log that is built in.
struct ShippedLog {
    name: &'static str,
    description: &'static str,
    file_name: &'static str,
    bytes: &'static [u8],
}

const SHIPPED_LOGS: &[ShippedLog] = &[ShippedLog {
    name: "threaded",
    description: "recording of a small threaded C program: clients, workers, bursts, objects that cross threads",
    file_name: "threaded.zip",
    bytes: include_bytes!("../traces/threaded.zip"),
}];

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
    let logs = SHIPPED_LOGS.iter().map(|log| Workload {
        name: log.name.to_string(),
        description: log.description.to_string(),
        source: Source::ShippedLog { bytes: log.bytes, file_name: log.file_name },
    });
    let patterns = PATTERNS.iter().map(|pattern| Workload {
        name: pattern.name.to_string(),
        description: pattern.description.to_string(),
        source: Source::Stress { name: pattern.name },
    });
    models.chain(logs).chain(patterns).collect()
}

/// What runs where no workload is named: each with the options that make it quick.
pub fn quick_suite() -> Vec<(Workload, Options)> {
    let minute = Options { duration_ns: Some(60_000_000_000), ..Options::default() };
    let options = |workload: &Workload| match workload.name.as_str() {
        "monitor-server" => Some(minute.clone()),
        "threaded" => Some(Options::default()),
        _ => None,
    };
    list().into_iter().filter_map(|workload| options(&workload).map(|options| (workload, options))).collect()
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
        Ok(false) if looks_like_path => Err(io_error(path, "open", io::ErrorKind::NotFound.into())),
        Ok(false) => Err(CatalogError::Unknown { name: name_or_path.to_string(), known: names(|_| true) }),
        Err(source) => Err(io_error(path, "open", source)),
    }
}

impl Workload {
    /// Whether it is a load model or a stress pattern, which take options.
    pub fn is_model(&self) -> bool {
        matches!(self.source, Source::Definition { .. } | Source::Stress { .. })
    }

    /// Clients that a load model of a server has under these options; none of anything else.
    ///
    /// # Errors
    ///
    /// A bad definition or override.
    pub fn connections(&self, options: &Options) -> Result<Option<u32>, CatalogError> {
        let Source::Definition { text, origin } = &self.source else { return Ok(None) };
        Ok(Some(Simulation::parameters(text, origin, &options.overrides)?.connections))
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
            Source::Stress { name } => Box::new(Stress::new(name, options)?),
            Source::Trace { path } => Box::new(TraceStream::open(&self.name, path, None)?),
            Source::Log { .. } | Source::ShippedLog { .. } => {
                let directory = temporary_directory()?;
                let path = directory.path().join("imported.hlt");
                self.import_as(options, &path, &mut |_| {})?;
                Box::new(TraceStream::open(&self.name, &path, Some(directory))?)
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

/// A trace file as a stream.
struct TraceStream {
    name: String,
    reader: TraceReader<BufReader<File>>,
    last_time_ns: Option<u64>,
    /// Removed with the stream: where the trace lies if it is temporary.
    _directory: Option<TempDir>,
}

impl TraceStream {
    fn open(name: &str, path: &Path, directory: Option<TempDir>) -> Result<TraceStream, CatalogError> {
        let last_time_ns = heaplab_trace::summary(path)?.map(|summary| summary.last_time_ns);
        let reader = TraceReader::open(path)?;
        Ok(TraceStream { name: name.to_string(), reader, last_time_ns, _directory: directory })
    }
}

impl RecordStream for TraceStream {
    fn header(&self) -> &Header {
        self.reader.header()
    }

    #[inline]
    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        self.reader.read_record().map_err(|error| StreamError::new(&self.name, error))
    }

    fn truncated(&self) -> bool {
        self.reader.truncated().is_some()
    }

    fn expected_last_time_ns(&self) -> Option<u64> {
        self.last_time_ns
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

/// The shipped workloads that `wanted` takes, in words.
fn names(wanted: impl Fn(&Workload) -> bool) -> String {
    let names: Vec<String> = list().into_iter().filter(wanted).map(|workload| workload.name).collect();
    names.join(", ")
}

fn temporary_directory() -> Result<TempDir, CatalogError> {
    tempfile::tempdir()
        .map_err(|source| io_error(&std::env::temp_dir(), "make a temporary directory", source))
}

fn io_error(path: &Path, doing: &'static str, source: io::Error) -> CatalogError {
    CatalogError::Io { path: path.to_path_buf(), doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_model_has_connections_and_nothing_else_has() {
        let of = |name: &str, overrides: &[&str]| {
            let overrides = overrides.iter().map(|text| text.to_string()).collect();
            find(name).unwrap().connections(&Options { overrides, ..Options::default() })
        };
        assert_eq!(of("monitor-server", &[]).unwrap(), Some(130));
        assert_eq!(of("monitor-server", &["connections=7"]).unwrap(), Some(7));
        assert_eq!(of("threaded", &[]).unwrap(), None);
        assert_eq!(of("larson", &[]).unwrap(), None);
        assert!(of("monitor-server", &["connections=none"]).unwrap_err().is_usage());
    }

    fn count(workload: &Workload, options: &Options) -> (Header, u64) {
        let mut stream = workload.open(options).unwrap();
        let mut events = 0;
        while let Some(record) = stream.next().unwrap() {
            events += u64::from(matches!(record, Record::Event(_)));
        }
        assert!(!stream.truncated());
        (stream.header().clone(), events)
    }

    #[test]
    fn each_workload_has_a_name_of_its_own_and_a_description() {
        let workloads = list();
        for workload in &workloads {
            assert!(!workload.description.is_empty(), "{}", workload.name);
            assert_eq!(workloads.iter().filter(|other| other.name == workload.name).count(), 1);
            assert_eq!(find(&workload.name).unwrap(), *workload);
        }
    }

    #[test]
    fn the_quick_suite_runs() {
        let suite = quick_suite();
        let names: Vec<&str> = suite.iter().map(|(workload, _)| workload.name.as_str()).collect();
        assert_eq!(names, ["monitor-server", "threaded"]);
        let (header, events) = count(&suite[0].0, &suite[0].1);
        assert_eq!((header.source.as_str(), header.has_times), ("simulate", true));
        assert!((100_000..2_000_000).contains(&events), "{events}");
        let (header, events) = count(&suite[1].0, &suite[1].1);
        assert_eq!(header.source, "android");
        assert_eq!(events, 150_021);
    }

    #[test]
    fn files_are_found_by_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let text = |path: &Path| path.to_str().unwrap().to_string();
        fs::write(place("mine.toml"), "name = \"my-server\"\nworkers = 2\n").unwrap();
        let model = find(&text(&place("mine.toml"))).unwrap();
        assert_eq!((model.name.as_str(), model.is_model()), ("my-server", true));

        fs::write(place("small.log"), "1: malloc 0x1000 8\n1: free 0x1000\n").unwrap();
        let log = find(&text(&place("small.log"))).unwrap();
        assert_eq!(count(&log, &Options::default()).1, 2);

        import::import(&place("small.log"), &import::Options::default(), &place("small.hlt"), &mut |_| {})
            .unwrap();
        fs::copy(place("small.hlt"), place("without-extension")).unwrap();
        for name in ["small.hlt", "without-extension"] {
            let trace = find(&text(&place(name))).unwrap();
            assert!(matches!(trace.source, Source::Trace { .. }));
            assert_eq!(count(&trace, &Options::default()).1, 2);
        }
    }

    #[test]
    fn a_log_is_imported_once_for_all_that_open_it() {
        let directory = tempfile::tempdir().unwrap();
        let (log, trace) = (directory.path().join("small.log"), directory.path().join("small.hlt"));
        fs::write(&log, "1: malloc 0x1000 8\n1: free 0x2000\n").unwrap();
        let log = find(log.to_str().unwrap()).unwrap();
        let imported = log.import_as(&Options::default(), &trace, &mut |_| {}).unwrap().unwrap();
        assert_eq!(imported.workload.source, Source::Trace { path: trace.clone() });
        assert_eq!(imported.workload.name, "small");
        assert_eq!(imported.warnings, ["1 frees of an object that was never seen: without effect"]);
        assert_eq!(count(&imported.workload, &Options::default()).1, 2);
        assert!(imported.workload.import_as(&Options::default(), &trace, &mut |_| {}).unwrap().is_none());
        let asked = Options { duration_ns: Some(1), ..Options::default() };
        assert!(log.import_as(&asked, &trace, &mut |_| {}).unwrap_err().is_usage());
    }

    #[test]
    fn what_is_not_there_is_said_with_what_there_is() {
        let error = find("monitor-servr").unwrap_err();
        assert!(error.is_usage());
        let known = "monitor-server, monitor-server-vm, monitor-server-gc, monitor-server-night, \
                     monitor-server-1000h, api-gateway, cache-churn, threaded";
        assert!(error.to_string().contains(known), "{error}");
        for path in ["no/such/file", "none.hlt"] {
            let error = find(path).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(path), "{error}");
        }
        assert!(!find("/").unwrap_err().is_usage());
    }

    #[test]
    fn a_recording_takes_no_options_of_a_model() {
        let threaded = find("threaded").unwrap();
        let options = Options { overrides: vec!["workers=3".to_string()], ..Options::default() };
        let error = threaded.open(&options).err().unwrap();
        assert!(error.is_usage() && error.to_string().contains("--set cannot be set"), "{error}");
        let options = Options { duration_ns: Some(1), ..Options::default() };
        assert!(threaded.open(&options).err().unwrap().is_usage());
    }
}
