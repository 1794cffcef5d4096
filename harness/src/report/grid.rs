//! A table of text, drawn framed for a terminal, plain for a pipe, or as markdown.

use std::io::{self, Write};

use serde::Serialize;

/// How a table is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With a frame; without one there is one row a line, the name first.
    pub framed: bool,
    /// With a bold first line.
    pub colour: bool,
}

impl Style {
    /// The style for standard output: framed on a terminal, coloured unless NO_COLOR is set.
    pub fn of_stdout() -> Style {
        let framed = io::IsTerminal::is_terminal(&io::stdout());
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style { framed, colour: framed && !refused }
    }
}

/// Rows of cells under a header. Leading columns are names, all others figures.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Grid {
    /// Leading columns that hold names, and stand left.
    pub(crate) names: usize,
    /// Names of the columns.
    pub(crate) header: Vec<String>,
    /// Cells; each row as long as the header.
    pub(crate) rows: Vec<Vec<String>>,
}

/// A table and what must be known to read it.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    pub(super) intro: String,
    pub(super) grid: Grid,
}

impl Grid {
    /// Draws it for a terminal or a pipe.
    pub(crate) fn print(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let widths = self.widths();
        let rule = |left: &str, cross: &str, right: &str| {
            let bars: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            format!("{left}{}{right}", bars.join(cross))
        };
        let line = |row: &[String]| {
            let cells =
                row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at < self.names {
                    true => format!("{cell:<width$}"),
                    false => format!("{cell:>width$}"),
                });
            let cells: Vec<String> = cells.collect();
            if style.framed {
                format!("│ {} │", cells.join(" │ "))
            } else {
                cells.join("  ").trim_end().to_owned()
            }
        };
        if style.framed {
            writeln!(out, "{}", rule("┌", "┬", "┐"))?;
        }
        let header = line(&self.header);
        if style.colour {
            writeln!(out, "\x1b[1m{header}\x1b[0m")?
        } else {
            writeln!(out, "{header}")?
        }
        if style.framed {
            writeln!(out, "{}", rule("├", "┼", "┤"))?;
        }
        for row in &self.rows {
            writeln!(out, "{}", line(row))?;
        }
        if style.framed {
            writeln!(out, "{}", rule("└", "┴", "┘"))?;
        }
        Ok(())
    }

    /// Draws it as a markdown table.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let escape = |row: &Vec<String>| row.iter().map(|cell| escape_markdown(cell)).collect();
        let mut text = line(escape(&self.header));
        let marks = (0..self.header.len()).map(|at| if at < self.names { "---" } else { "---:" }.to_owned());
        text += &line(marks.collect());
        text.extend(self.rows.iter().map(|row| line(escape(row))));
        text
    }

    fn widths(&self) -> Vec<usize> {
        let width = |at: usize| {
            let cells = self.rows.iter().chain([&self.header]).filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.header.len()).map(width).collect()
    }
}

/// Text that markdown shows as it is: labels hold `|`, `_`, `*` or `<` when their settings do.
pub(crate) fn escape_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '|' | '*' | '_' | '`' | '<' | '[' | ']' => escaped.extend(['\\', letter]),
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(letter),
        }
    }
    escaped
}
