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

/// Sets a column of a variant's samples of one pass in the run's samples.csv.
pub(crate) fn set_column(
    directory: &Path,
    (variant, pass): (&str, &str),
    name: &str,
    value: impl Fn(&csv::StringRecord) -> String,
) {
    let path = directory.join("samples.csv");
    let mut reader = csv::Reader::from_path(&path).expect("readable");
    let header = reader.headers().expect("a first line").clone();
    let place = |name: &str| header.iter().position(|column| column == name).expect("a column");
    let mut rows = vec![header.clone()];
    for row in reader.records() {
        let row = row.expect("a row");
        let other = &row[place("variant")] != variant || &row[place("pass")] != pass;
        let cells = row.iter().enumerate().map(|(column, cell)| match column == place(name) && !other {
            true => value(&row),
            false => cell.to_owned(),
        });
        rows.push(cells.collect());
    }
    let mut writer = csv::Writer::from_path(&path).expect("writable");
    rows.iter().for_each(|row| writer.write_record(row).expect("writable"));
    writer.flush().expect("writable");
}
