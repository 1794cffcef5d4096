//! Reads a run's directory, from this or another machine.
//!
//! Samples are held, points and buckets are streamed: memory does not grow with their number. An interrupted run reads
//! as a smaller run. A torn last row, and rows of a sample that never ended, are left out and noted, never guessed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Take};
use std::path::{Path, PathBuf};

use csv::ByteRecord;
use serde::de::DeserializeOwned;

use super::kinds::find_in_rows;
use super::packed;
use super::row_file::{io, whole_length};
use super::whole_file::replace_whole;
use super::{
    HeapMapCell, LatencyBucket, Moment, Pass, ResultsError, RunFile, SCHEMA, Sample, Status, TimelinePoint,
    columns, name_on,
};
use crate::worker::{Checkpoint, HeapCell};

/// The passes whose samples have rows in `timeline.csv`.
pub(super) const TIMELINE_PASSES: [Pass; 2] = [Pass::Memory, Pass::Exec];

/// Samples by the name of the file that has lost rows of theirs.
pub(crate) type Incomplete = BTreeMap<&'static str, BTreeSet<usize>>;

/// A run as its directory holds it.
#[derive(Debug, Clone)]
pub struct Run {
    /// The directory.
    pub directory: PathBuf,
    /// What `run.toml` says.
    pub file: RunFile,
    /// One sample for each block, workload, variant and pass: the last that was taken.
    pub samples: Vec<Sample>,
    /// What was left out or is missing, in sentences for the user.
    pub notes: Vec<String>,
    /// Indexes of the samples that lack rows, by the file that lacks them.
    pub(crate) incomplete: Incomplete,
}

/// The figures of one row of `timeline.csv` about a real program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramFigures {
    /// Time since the program's start.
    pub time_ns: u64,
    /// Anonymous resident bytes of its process tree.
    pub resident_bytes: u64,
    /// All resident bytes.
    pub rss_bytes: Option<u64>,
    /// Proportional share of memory.
    pub pss_bytes: Option<u64>,
    /// Anonymous bytes, with pages that processes share counted once.
    pub once_bytes: Option<u64>,
    /// CPU time used until now.
    pub cpu_ns: Option<u64>,
    /// The largest `resident_bytes` of the readings that the row stands for; none in a run of an earlier heaplab.
    pub stretch_resident_peak_bytes: Option<u64>,
    /// The largest `once_bytes` of them.
    pub stretch_once_peak_bytes: Option<u64>,
}

/// The figures of one row of `latency.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencyFigures<'a> {
    /// `malloc`, ..., or `timer`.
    pub operation: &'a str,
    /// `call`, `touch` or `switched`.
    pub scope: &'a str,
    /// Upper end of the bucket.
    pub value_ns: u64,
    /// Calls in the bucket.
    pub count: u64,
}

/// Reads only `run.toml`.
pub fn read_run_file(directory: &Path) -> Result<RunFile, ResultsError> {
    let path = directory.join("run.toml");
    let text = match std::fs::read_to_string(&path) {
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Err(ResultsError::NoRun { path: directory.to_owned() });
        }
        other => other.map_err(io(&path, "read"))?,
    };
    let invalid =
        |error: toml::de::Error| ResultsError::RunFile { path: path.clone(), detail: error.to_string() };
    // The schema comes first: a later one may lack every other field known here.
    let table: toml::Table = text.parse().map_err(invalid)?;
    match table.get("schema").and_then(toml::Value::as_integer) {
        None => {
            let detail = "it states no schema: it was not written by heaplab run".to_owned();
            Err(ResultsError::RunFile { path, detail })
        }
        Some(found) if found > i64::from(SCHEMA) => {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            Err(ResultsError::NewerSchema { path, found, known: SCHEMA })
        }
        Some(_) => toml::from_str(&text).map_err(invalid),
    }
}

impl Run {
    /// Whether it was measured on several kinds of machines. Each of its workloads is then one workload for each kind,
    /// so that no figure mixes two kinds, and no ratio compares them.
    #[must_use]
    pub fn is_of_several_machines(&self) -> bool {
        self.file.machines.len() > 1
    }

    /// How rows of files identify a workload or a tree of this run: its name there, and its kind of machine if there
    /// are several.
    #[must_use]
    pub fn in_rows(&self, name: &str) -> (String, Option<String>) {
        find_in_rows(&self.file, name)
    }

    /// Streams `timeline.csv`: each row's figures with the index of its sample in [`Run::samples`]. Returns notes on
    /// what was left out.
    pub fn each_timeline_point(
        &self,
        mut take: impl FnMut(usize, Checkpoint),
    ) -> Result<Vec<String>, ResultsError> {
        self.each_row::<TimelinePoint>("timeline.csv", &TIMELINE_PASSES, |place, rows| {
            if self.samples[place].pass != Pass::Memory {
                return Ok(());
            }
            take(
                place,
                Checkpoint {
                    time_ns: rows.number("time_ns")?,
                    requested_bytes: rows.number("requested_bytes")?,
                    // For an allocator that does not report usable sizes, nothing is known to be lost.
                    usable_bytes: rows.optional("usable_bytes")?.unwrap_or(rows.number("requested_bytes")?),
                    resident_bytes: rows.number("resident_bytes")?,
                    inherited_bytes: rows.optional("inherited_bytes")?,
                },
            );
            Ok(())
        })
    }

    /// Streams `timeline.csv` for real programs: each row's figures with the index of its sample in [`Run::samples`].
    /// Returns notes on what was left out.
    pub fn each_program_point(
        &self,
        mut take: impl FnMut(usize, ProgramFigures),
    ) -> Result<Vec<String>, ResultsError> {
        self.each_row::<TimelinePoint>("timeline.csv", &TIMELINE_PASSES, |place, rows| {
            if self.samples[place].pass != Pass::Exec {
                return Ok(());
            }
            take(
                place,
                ProgramFigures {
                    time_ns: rows.number("time_ns")?,
                    resident_bytes: rows.number("resident_bytes")?,
                    rss_bytes: rows.optional("rss_bytes")?,
                    pss_bytes: rows.optional("pss_bytes")?,
                    once_bytes: rows.optional("once_bytes")?,
                    cpu_ns: rows.optional("program_cpu_ns")?,
                    stretch_resident_peak_bytes: rows.optional("stretch_resident_peak_bytes")?,
                    stretch_once_peak_bytes: rows.optional("stretch_once_peak_bytes")?,
                },
            );
            Ok(())
        })
    }

    /// Streams `latency.csv`: each row's figures with the index of its sample in [`Run::samples`]. Returns notes on
    /// what was left out.
    pub fn each_latency_bucket(
        &self,
        mut take: impl FnMut(usize, LatencyFigures<'_>),
    ) -> Result<Vec<String>, ResultsError> {
        self.each_row::<LatencyBucket>("latency.csv", &[Pass::Latency], |place, rows| {
            take(
                place,
                LatencyFigures {
                    operation: rows.text("operation")?,
                    scope: rows.text("scope")?,
                    value_ns: rows.number("value_ns")?,
                    count: rows.number("count")?,
                },
            );
            Ok(())
        })
    }

    /// Streams `heapmap.csv`: each row's figures with the index of its sample in [`Run::samples`]. Returns notes on
    /// what was left out. Runs of an earlier heaplab have no such file.
    pub fn each_heap_cell(
        &self,
        mut take: impl FnMut(usize, Moment, HeapCell),
    ) -> Result<Vec<String>, ResultsError> {
        if !packed::is_there(&self.directory.join("heapmap.csv")) {
            return Ok(Vec::new());
        }
        self.each_row::<HeapMapCell>("heapmap.csv", &[Pass::Memory], |place, rows| {
            let moment = rows.moment()?;
            let cell = HeapCell {
                region: rows.number("region")?,
                offset_bytes: rows.number("offset_bytes")?,
                span_bytes: rows.number("span_bytes")?,
                resident_bytes: rows.number("resident_bytes")?,
                live_bytes: rows.number("live_bytes")?,
            };
            if cell.live_bytes > cell.resident_bytes || cell.resident_bytes > cell.span_bytes {
                let detail = "live, resident and span bytes do not ascend: the row was changed".to_owned();
                return Err(rows.error(detail));
            }
            take(place, moment, cell);
            Ok(())
        })
    }

    /// Streams the rows of ok samples of these passes.
    pub(super) fn each_row<T: DeserializeOwned>(
        &self,
        name: &str,
        passes: &[Pass],
        mut take: impl FnMut(usize, &Rows) -> Result<(), ResultsError>,
    ) -> Result<Vec<String>, ResultsError> {
        let mut notes = Vec::new();
        let places = self.ok_places(name, passes);
        let path = self.directory.join(name);
        if !packed::is_there(&path) {
            if !places.is_empty() {
                notes.push(format!("{name} is missing: what it held is not in this report"));
            }
            return Ok(notes);
        }
        let mut rows = Rows::open::<T>(&path, &mut notes)?;
        let mut owner = Owner { by_machine: self.is_of_several_machines(), ..Owner::default() };
        let mut orphans = 0u64;
        while rows.next()? {
            match owner.find(&rows, &places)? {
                Some(place) => take(place, &rows)?,
                None => orphans += 1,
            }
        }
        if orphans > 0 {
            notes.push(format!(
                "{orphans} rows of {name} belong to no sample that is ok and whole, and were left out"
            ));
        }
        Ok(notes)
    }

    /// Whether a file lacks rows of a sample.
    pub(super) fn lacks_rows(&self, name: &str, place: usize) -> bool {
        self.incomplete.get(name).is_some_and(|places| places.contains(&place))
    }

    /// The indexes of the ok samples of these passes of which a file has every row, by block, workload and variant.
    fn ok_places(&self, name: &str, passes: &[Pass]) -> HashMap<(u32, &str, &str), usize> {
        let ok = |sample: &Sample| passes.contains(&sample.pass) && sample.status == Status::Ok;
        let places = self.samples.iter().enumerate();
        let places = places.filter(|(place, sample)| ok(sample) && !self.lacks_rows(name, *place));
        places.map(|(place, sample)| ((sample.block, &*sample.workload, &*sample.variant), place)).collect()
    }
}

/// Rewrites a file of points or buckets with only the rows of ok samples, if it holds others.
pub(super) fn keep_rows_of_ok_samples<T: DeserializeOwned>(
    run: &Run,
    name: &str,
    passes: &[Pass],
) -> Result<(), ResultsError> {
    let path = run.directory.join(name);
    if path.exists() && run.each_row::<T>(name, passes, |_, _| Ok(()))?.is_empty() {
        return Ok(());
    }
    let failed = |error: csv::Error| io(&path, "write")(std::io::Error::other(error));
    replace_whole(&path, |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(columns::<T>()).map_err(failed)?;
        run.each_row::<T>(name, passes, |_, rows| {
            let fields = columns::<T>().iter().map(|column| match rows.text(column) {
                Err(ResultsError::MissingColumn { .. }) => Ok(""),
                other => other,
            });
            let fields = fields.collect::<Result<Vec<&str>, ResultsError>>()?;
            writer.write_record(fields).map_err(failed)
        })?;
        writer.flush().map_err(io(&path, "write"))
    })
}

/// The rows of one CSV file, one at a time in the same buffer.
pub(super) struct Rows {
    path: PathBuf,
    reader: csv::Reader<BufReader<Take<File>>>,
    header: ByteRecord,
    record: ByteRecord,
    /// The header's columns. PERF: a row has few, and comparing names is faster than hashing one.
    names: Vec<String>,
}

impl Rows {
    /// Opens a file and compares its header with the fields of `T`. Notes a torn last row.
    pub(super) fn open<T: DeserializeOwned>(
        path: &Path,
        notes: &mut Vec<String>,
    ) -> Result<Rows, ResultsError> {
        let mut file = packed::open(path).map_err(io(path, "read"))?;
        let length = whole_length(&mut file).map_err(io(path, "read"))?;
        if length.torn_bytes > 0 {
            notes.push(torn_note(path));
        }
        let source = BufReader::with_capacity(256 * 1024, file.take(length.whole_bytes));
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(source);
        let header = reader.byte_headers().map_err(|error| row_error(path, 1, describe(&error)))?.clone();
        let names: Vec<String> =
            header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let is_missing = |column: &&&str| {
            !Sample::LATER_COLUMNS.contains(*column) && !names.iter().any(|name| name == **column)
        };
        if let Some(column) = columns::<T>().iter().find(is_missing) {
            return Err(ResultsError::MissingColumn { path: path.to_owned(), column: (*column).to_owned() });
        }
        Ok(Rows { path: path.to_owned(), reader, header, record: ByteRecord::new(), names })
    }

    /// Reads the next row; false at the end.
    pub(super) fn next(&mut self) -> Result<bool, ResultsError> {
        let read = self.reader.read_byte_record(&mut self.record);
        if !read.map_err(|error| self.error(describe(&error)))? {
            return Ok(false);
        }
        if self.record.len() == self.header.len() {
            return Ok(true);
        }
        Err(self.error(format!("{} cells instead of {}", self.record.len(), self.header.len())))
    }

    /// The whole row.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ResultsError> {
        self.record.deserialize(Some(&self.header)).map_err(|error| self.error(describe(&error)))
    }

    fn cell(&self, column: &str) -> Result<&[u8], ResultsError> {
        let at = self.names.iter().position(|name| name == column);
        let cell = at.and_then(|at| self.record.get(at));
        cell.ok_or_else(|| ResultsError::MissingColumn { path: self.path.clone(), column: column.to_owned() })
    }

    pub(super) fn text(&self, column: &str) -> Result<&str, ResultsError> {
        std::str::from_utf8(self.cell(column)?)
            .map_err(|_| self.error(format!("column `{column}` is not UTF-8")))
    }

    pub(super) fn number<N: std::str::FromStr>(&self, column: &str) -> Result<N, ResultsError> {
        let text = self.text(column)?;
        text.parse()
            .map_err(|_| self.error(format!("column `{column}`: \"{text}\" is not a number of its range")))
    }

    /// A number, or none if the cell is empty or an earlier heaplab wrote the file without the column.
    pub(super) fn optional<N: std::str::FromStr>(&self, column: &str) -> Result<Option<N>, ResultsError> {
        let is_known = self.names.iter().any(|name| name == column);
        if !is_known && Sample::LATER_COLUMNS.contains(&column) {
            return Ok(None);
        }
        if self.text(column)?.is_empty() { Ok(None) } else { self.number(column).map(Some) }
    }

    /// The cell `moment`.
    pub(super) fn moment(&self) -> Result<Moment, ResultsError> {
        match self.text("moment")? {
            "peak" => Ok(Moment::Peak),
            "resident_peak" => Ok(Moment::ResidentPeak),
            "drained" => Ok(Moment::Drained),
            other => Err(self
                .error(format!("column `moment`: \"{other}\" is none of peak, resident_peak and drained"))),
        }
    }

    pub(super) fn error(&self, detail: String) -> ResultsError {
        row_error(&self.path, self.record.position().map_or(0, csv::Position::line), detail)
    }
}

/// Finds the sample of a row. PERF: rows of one sample are consecutive, so the last answer is usually right, and two
/// short comparisons replace a hash of three strings.
#[derive(Default)]
struct Owner {
    /// Whether the run is of several kinds of machines.
    by_machine: bool,
    machine: Vec<u8>,
    block: Vec<u8>,
    workload: Vec<u8>,
    variant: Vec<u8>,
    place: Option<usize>,
}

impl Owner {
    fn find(
        &mut self,
        rows: &Rows,
        places: &HashMap<(u32, &str, &str), usize>,
    ) -> Result<Option<usize>, ResultsError> {
        let (block, workload, variant) = (rows.cell("block")?, rows.cell("workload")?, rows.cell("variant")?);
        // Files of an earlier heaplab have no such column.
        let machine = if self.by_machine { rows.cell("machine")? } else { &[] };
        if self.block != block
            || self.workload != workload
            || self.variant != variant
            || self.machine != machine
        {
            let on = self.by_machine.then(|| rows.text("machine")).transpose()?;
            let name = name_on(rows.text("workload")?, on.filter(|machine| !machine.is_empty()));
            let key = (rows.number("block")?, name.as_str(), rows.text("variant")?);
            self.place = places.get(&key).copied();
            self.machine = machine.to_vec();
            self.block = block.to_vec();
            self.workload = workload.to_vec();
            self.variant = variant.to_vec();
        }
        Ok(self.place)
    }
}

fn torn_note(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("the last row of {name} is cut off, and was left out")
}

fn row_error(path: &Path, line: u64, detail: String) -> ResultsError {
    ResultsError::Row { path: path.to_owned(), line, detail }
}

/// Describes a csv error without the position, which our own message already has.
fn describe(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        _ => error.to_string(),
    }
}
