//! A table of text, drawn ruled for a terminal, plain for a pipe, or as markdown.

use std::io::{self, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table as Drawn, TableStyle, Width,
};
use serde::Serialize;

/// Characters of a terminal's line; cells of a wider table are broken into lines.
const MOST_COLUMNS: u16 = 100;
/// A name of up to this many characters stays on one line; the figures beside it give way.
const LONGEST_WHOLE_NAME: usize = 30;
/// On a terminal a line under the header; lines between columns would take the room of a column.
const RULED: TableStyle = NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));

/// How a table is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// For a terminal: with a rule, and no wider than the terminal; otherwise one row per line, the name
    /// first.
    pub ruled: bool,
    /// With a bold first line.
    pub colour: bool,
}

impl Style {
    /// The style for standard output: ruled on a terminal, coloured unless NO_COLOR is set.
    pub fn of_stdout() -> Style {
        let ruled = io::IsTerminal::is_terminal(&io::stdout());
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style { ruled, colour: ruled && !refused }
    }
}

/// Rows of cells under a header. Leading columns are names, all others figures.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Grid {
    /// Leading columns with names, aligned left.
    pub(crate) names: usize,
    /// Names of the columns.
    pub(crate) header: Vec<String>,
    /// Cells; each row as long as the header.
    pub(crate) rows: Vec<Vec<String>>,
}

/// A table and the notes on how to read it.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    pub(super) intro: String,
    pub(super) grid: Grid,
}

impl Grid {
    /// Draws it for a terminal or a pipe.
    pub(crate) fn print(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let mut table = Drawn::new();
        table.set_header(&self.header).add_rows(&self.rows);
        if style.ruled {
            table
                .load_style(RULED)
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(MOST_COLUMNS + 1);
        } else {
            table.load_style(NOTHING);
        }
        for (at, column) in table.column_iter_mut().enumerate() {
            // With a rule a column has room for a line before it.
            let padding = if style.ruled { 1 } else { 2 };
            column.set_padding((0, padding));
            if style.ruled && at == 0 && self.names > 0 {
                let longest = self.rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
                let width = longest.min(LONGEST_WHOLE_NAME) as u16 + padding;
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
            }
            if at >= self.names {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut is_header = style.colour;
        for line in table.lines() {
            let line = line.trim_end();
            // The first column has that room too.
            let line = match style.ruled {
                true => line.strip_prefix([' ', '─']).unwrap_or(line),
                false => line,
            };
            is_header &= !line.starts_with('─');
            match is_header {
                true => writeln!(out, "\x1b[1m{line}\x1b[0m")?,
                false => writeln!(out, "{line}")?,
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn print(grid: &Grid, style: Style) -> String {
        let mut out = Vec::new();
        grid.print(&mut out, style).expect("a vector takes all");
        String::from_utf8(out).expect("UTF-8")
    }

    fn grid(columns: usize) -> Grid {
        let header = (0..columns).map(|at| format!("column {at}")).collect();
        let row = |name: &str| -> Vec<String> {
            (0..columns)
                .map(|at| if at == 0 { name.to_owned() } else { "1.234 (1.200 to 1.250)".to_owned() })
                .collect()
        };
        Grid { names: 1, header, rows: vec![row("ptmalloc2"), row("jemalloc:narenas=4")] }
    }

    #[test]
    fn a_wide_table_is_broken_into_lines_on_a_terminal_and_never_in_a_pipe() {
        let ruled = print(&grid(7), Style { ruled: true, colour: false });
        assert!(ruled.lines().all(|line| line.chars().count() <= 100), "{ruled}");
        assert!(ruled.lines().count() > 5, "{ruled}");
        let plain = print(&grid(7), Style { ruled: false, colour: false });
        assert_eq!(plain.lines().count(), 3);
        assert!(plain.lines().all(|line| line == line.trim_end()));
        assert!(
            plain.lines().nth(2).expect("a row").starts_with("jemalloc:narenas=4  1.234 (1.200 to 1.250)  ")
        );
    }

    #[test]
    fn names_stand_left_and_figures_right() {
        let grid = Grid {
            names: 1,
            header: ["variant", "peak"].map(str::to_owned).to_vec(),
            rows: vec![["a", "9 MiB"].map(str::to_owned).to_vec()],
        };
        let ruled = "variant   peak\n────────────────\na        9 MiB\n";
        assert_eq!(print(&grid, Style { ruled: true, colour: false }), ruled);
        let bold = ruled.replace("variant   peak", "\x1b[1mvariant   peak\x1b[0m");
        assert_eq!(print(&grid, Style { ruled: true, colour: true }), bold);
        assert_eq!(print(&grid, Style { ruled: false, colour: false }), "variant   peak\na        9 MiB\n");
    }
}
