//! The rows of a run, as a reader of CSV sees them.

use std::collections::HashMap;
use std::path::Path;

/// A row by column name.
pub(crate) type Row = HashMap<String, String>;

/// The rows of a run's samples.csv.
pub(crate) fn read_samples(run: &Path) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(run.join("samples.csv")).expect("the run has a samples.csv");
    reader.deserialize().map(|row| row.expect("a whole row")).collect()
}

/// A cell of a row that must have that column.
pub(crate) fn column<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).unwrap_or_else(|| panic!("samples.csv has a column {name}"))
}
