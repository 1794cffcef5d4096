//! Rows of text in columns, one row a line, the name first. Without a frame, so that other tools can read them.

use std::io::{self, Write};

/// Prints rows under a header; every column but the last is as wide as its widest cell.
pub(super) fn print(out: &mut dyn Write, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let header: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    let width = |at: usize| {
        let cells = rows.iter().chain([&header]).filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    for row in [&header].into_iter().chain(rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
