//! `recorded.csv`: memory of the processes from which the workloads were recorded.
//!
//! Written once, when a run starts: a replay knows nothing about memory outside malloc, and a prediction for the
//! whole process needs it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::reader::Rows;
use super::row_file::io;
use super::{ResultsError, Run, RunDirectory, RunWorkload, columns, write_whole};
use crate::stats::TimeWeighted;

const FILE: &str = "recorded.csv";

/// One moment of a recorded process: a row of `recorded.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPoint {
    /// Workload's name.
    pub workload: String,
    /// Trace time since the first event.
    pub time_ns: u64,
    /// Anonymous resident bytes of the recorded process.
    pub resident_bytes: u64,
}

/// Resident memory of a process at one moment; it holds until the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryPoint {
    /// When it was: since the first event of the trace, or since the program's start.
    pub time_ns: u64,
    /// Anonymous resident bytes.
    pub resident_bytes: u64,
}

impl From<(u64, u64)> for MemoryPoint {
    fn from((time_ns, resident_bytes): (u64, u64)) -> MemoryPoint {
        MemoryPoint { time_ns, resident_bytes }
    }
}

impl From<MemoryPoint> for (u64, u64) {
    fn from(point: MemoryPoint) -> (u64, u64) {
        (point.time_ns, point.resident_bytes)
    }
}

impl FromIterator<MemoryPoint> for TimeWeighted {
    fn from_iter<I: IntoIterator<Item = MemoryPoint>>(points: I) -> TimeWeighted {
        points.into_iter().map(|point| (point.time_ns, point.resident_bytes)).collect()
    }
}

/// Recorded memory of workloads, by name, in order of time.
pub type Recorded = HashMap<String, Vec<MemoryPoint>>;

impl RunDirectory {
    /// Writes what was recorded from the workloads' processes, if anything.
    pub fn write_recorded(&self, points: &[RecordedPoint]) -> Result<(), ResultsError> {
        if points.is_empty() {
            return Ok(());
        }
        let path = self.path().join(FILE);
        let failed = |error: csv::Error| io(&path, "write")(std::io::Error::other(error));
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        writer.write_record(columns::<RecordedPoint>()).map_err(failed)?;
        for point in points {
            writer.serialize(point).map_err(failed)?;
        }
        let content = writer.into_inner().map_err(|error| io(&path, "write")(error.into_error()))?;
        write_whole(&path, &content)
    }
}

impl Run {
    /// What was recorded from the workloads' processes; nothing if no workload is such a recording.
    pub fn recorded(&self) -> Result<Recorded, ResultsError> {
        let path = self.directory.join(FILE);
        let mut recorded = Recorded::new();
        if !path.exists() {
            return Ok(recorded);
        }
        let mut notes = Vec::new();
        let mut rows = Rows::open::<RecordedPoint>(&path, &mut notes)?;
        while rows.next()? {
            let point = MemoryPoint {
                time_ns: rows.number("time_ns")?,
                resident_bytes: rows.number("resident_bytes")?,
            };
            let workload = rows.text("workload")?;
            match recorded.get_mut(workload) {
                Some(points) => points.push(point),
                None => {
                    recorded.insert(workload.to_owned(), vec![point]);
                }
            }
        }
        if self.is_of_several_machines() {
            // There is one workload for each kind of machine, but it was recorded once.
            let measured = self.file.workloads.iter();
            let of = |workload: &RunWorkload| {
                let points = recorded.get(&workload.on.as_ref()?.name)?;
                Some((workload.name.clone(), points.clone()))
            };
            recorded = measured.filter_map(of).collect();
        }
        recorded.values_mut().for_each(|points| points.sort_by_key(|point| point.time_ns));
        Ok(recorded)
    }
}
