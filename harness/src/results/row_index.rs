//! Where each sample's rows are in the files of a run's directory, as byte positions.
//!
//! A merge copies rows unchanged: what is not parsed cannot be altered. There is one pass over each file, and memory
//! grows with the number of samples, not of their points.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use csv::ByteRecord;
use serde::de::DeserializeOwned;

use super::packed;
use super::row_file::{FILES, io, whole_length};
use super::{
    HeapMapCell, LatencyBucket, Pass, RequestRow, ResultsError, Sample, SampleKey, SizeRow, StatsRow,
    TimelinePoint, columns,
};

/// Consecutive rows in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A sample's rows in the files of its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleRows {
    /// What the sample measures.
    pub key: SampleKey,
    /// Whether its status is ok: points of other samples do not count.
    pub is_ok: bool,
    /// Its rows in each of [`FILES`]: one row in the first.
    pub(super) spans: [Vec<Span>; FILES.len()],
}

/// The samples of a directory, each with its rows: the last one, if a sample was taken again.
///
/// # Errors
///
/// A file cannot be read or has columns other than those that this heaplab writes, or a row is not valid.
pub fn index_rows(directory: &Path) -> Result<Vec<SampleRows>, ResultsError> {
    let mut samples: Vec<SampleRows> = Vec::new();
    let mut places: HashMap<SampleKey, usize> = HashMap::new();
    each_group::<Sample>(&directory.join(FILES[0]), |group, span| {
        let key = group.key(Some(parse_pass(&group.cell("pass")?).ok_or_else(|| group.error("pass"))?))?;
        let mut spans: [Vec<Span>; FILES.len()] = Default::default();
        spans[0].push(span);
        let rows = SampleRows { key: key.clone(), is_ok: group.cell("status")? == "ok", spans };
        match places.get(&key) {
            Some(&place) => samples[place] = rows,
            None => {
                places.insert(key, samples.len());
                samples.push(rows);
            }
        }
        Ok(())
    })?;
    let mut find = |at: usize, passes: &[Pass], group: &Group<'_>, span: Span| -> Result<(), ResultsError> {
        for &pass in passes {
            if let Some(&place) = places.get(&group.key(Some(pass))?)
                && samples[place].is_ok
            {
                samples[place].spans[at].push(span);
                return Ok(());
            }
        }
        // A sample that never ended: it is taken again, or missing.
        Ok(())
    };
    let path = |at: usize| directory.join(FILES[at]);
    each_group::<TimelinePoint>(&path(1), |group, span| find(1, &[Pass::Memory], group, span))?;
    each_group::<LatencyBucket>(&path(2), |group, span| find(2, &[Pass::Latency], group, span))?;
    each_group::<HeapMapCell>(&path(3), |group, span| find(3, &[Pass::Memory], group, span))?;
    each_group::<SizeRow>(&path(4), |group, span| find(4, &[Pass::Memory], group, span))?;
    each_group::<StatsRow>(&path(5), |group, span| find(5, &[Pass::Memory], group, span))?;
    each_group::<RequestRow>(&path(6), |group, span| find(6, &[Pass::Memory], group, span))?;
    Ok(samples)
}

fn parse_pass(text: &str) -> Option<Pass> {
    Pass::ALL.into_iter().chain([Pass::Exec]).find(|pass| pass.to_string() == text)
}

/// The first row of a group: rows that start alike, up to the variant's label.
struct Group<'a> {
    path: &'a Path,
    line: u64,
    columns: &'static [&'static str],
    record: ByteRecord,
}

impl Group<'_> {
    fn cell(&self, column: &str) -> Result<String, ResultsError> {
        let at = self.columns.iter().position(|name| *name == column);
        let cell = at.and_then(|at| self.record.get(at)).ok_or_else(|| self.error(column))?;
        String::from_utf8(cell.to_vec()).map_err(|_| self.error(column))
    }

    fn key(&self, pass: Option<Pass>) -> Result<SampleKey, ResultsError> {
        Ok(SampleKey {
            block: self.cell("block")?.parse().map_err(|_| self.error("block"))?,
            workload: self.cell("workload")?,
            variant: self.cell("variant")?,
            pass: pass.unwrap_or_default(),
        })
    }

    fn error(&self, column: &str) -> ResultsError {
        row_error(self.path, self.line, format!("column `{column}` cannot be read"))
    }
}

fn row_error(path: &Path, line: u64, detail: String) -> ResultsError {
    ResultsError::Row { path: path.to_owned(), line, detail }
}

/// Calls back with each group of rows of one file and where it is. In samples.csv, each row is a group. A torn last row
/// is left out.
fn each_group<T: DeserializeOwned>(
    path: &Path,
    mut take: impl FnMut(&Group<'_>, Span) -> Result<(), ResultsError>,
) -> Result<(), ResultsError> {
    let mut file = packed::open(path).map_err(io(path, "read"))?;
    let whole = whole_length(&mut file).map_err(io(path, "read"))?.whole_bytes;
    let mut reader = BufReader::with_capacity(256 * 1024, file.take(whole));
    let columns = columns::<T>();
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).map_err(io(path, "read"))?;
    if line != format!("{}\n", columns.join(",")).as_bytes() {
        return Err(ResultsError::OtherColumns { path: path.to_owned() });
    }
    let one_row_each = path.ends_with(FILES[0]);
    let (mut number, mut offset) = (1, line.len() as u64);
    let mut open: Option<(Group<'_>, Vec<u8>, Span)> = None;
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(io(path, "read"))? as u64;
        if length == 0 {
            break;
        }
        number += 1;
        match &mut open {
            // PERF: rows of one sample are consecutive and start alike; only the first of them is parsed.
            Some((_, start, span)) if !one_row_each && line.starts_with(start) => span.length += length,
            _ => {
                if let Some((group, _, span)) = open.take() {
                    take(&group, span)?;
                }
                let (record, start) = split_row(&line, columns.len()).ok_or_else(|| {
                    row_error(path, number, format!("not a row of {} cells", columns.len()))
                })?;
                let group = Group { path, line: number, columns, record };
                open = Some((group, line[..start].to_vec(), Span { offset, length }));
            }
        }
        offset += length;
    }
    match open {
        Some((group, _, span)) => take(&group, span),
        None => Ok(()),
    }
}

/// The cells of a row, and how many of its bytes name the run, block, workload and variant, including the comma after
/// them.
fn split_row(line: &[u8], cells: usize) -> Option<(ByteRecord, usize)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
    let mut record = ByteRecord::new();
    let is_row = reader.read_byte_record(&mut record).ok()? && record.len() == cells;
    let (mut quoted, mut commas) = (false, 0);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => commas += 1,
            _ => {}
        }
        if commas == 4 {
            return is_row.then_some((record, at + 1));
        }
    }
    None
}
