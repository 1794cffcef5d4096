//! A table of text, drawn ruled for a terminal, plain for a pipe, or as markdown.

use std::io::{self, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table as Drawn, TableStyle, Width,
};
use serde::Serialize;

use super::units;

/// Characters of a terminal's line; cells of a wider table are broken into lines.
const MOST_COLUMNS: u16 = 100;
/// A name of up to this many characters stays on one line; the figures beside it give way.
const LONGEST_WHOLE_NAME: usize = 30;
/// Most characters of a line that names take.
const LONGEST_NAME: u16 = 60;
/// Characters between columns.
const BETWEEN: u16 = 2;
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
    /// Draws it for a terminal or a pipe. A table that is too wide for a terminal stands in parts below each other, each
    /// with the names.
    pub(crate) fn print(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        if !style.ruled {
            return self.draw(&(0..self.header.len()).collect::<Vec<usize>>(), &[], out, style);
        }
        let least = self.least_widths();
        for (at, columns) in self.parts(&least).iter().enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            self.draw(columns, &least, out, style)?;
        }
        Ok(())
    }

    /// Draws some of its columns, none narrower than its least width.
    fn draw(&self, columns: &[usize], least: &[u16], out: &mut dyn Write, style: Style) -> io::Result<()> {
        let mut table = Drawn::new();
        let cells = |row: &Vec<String>| -> Vec<String> {
            let cells = columns.iter().filter_map(|at| row.get(*at));
            cells.map(|cell| if style.ruled { units::hold(cell) } else { cell.clone() }).collect()
        };
        table.set_header(cells(&self.header)).add_rows(self.rows.iter().map(cells));
        if style.ruled {
            table
                .load_style(RULED)
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(MOST_COLUMNS + 1);
        } else {
            table.load_style(NOTHING);
        }
        for (at, column) in columns.iter().zip(table.column_iter_mut()) {
            // With a rule a column has room for a line before it.
            column.set_padding((0, if style.ruled { 1 } else { 2 }));
            if let Some(least) = least.get(*at) {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least + 1)));
            }
            if *at >= self.names {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut is_header = style.colour;
        for line in table.lines() {
            let line = line.trim_end();
            // The first column has that room too.
            let line = match style.ruled {
                true => units::release(line.strip_prefix([' ', '─']).unwrap_or(line)),
                false => line.to_owned(),
            };
            is_header &= !line.starts_with('─');
            match is_header {
                true => writeln!(out, "\x1b[1m{line}\x1b[0m")?,
                false => writeln!(out, "{line}")?,
            }
        }
        Ok(())
    }

    /// The width below which no column goes on a terminal: that of its longest word, or name.
    fn least_widths(&self) -> Vec<u16> {
        let longest_word = |cell: &str| cell.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
        let whole_name = |cell: &str| longest_word(cell).max(cell.chars().count().min(LONGEST_WHOLE_NAME));
        let widest = |at: usize| {
            let cells = [&self.header].into_iter().chain(&self.rows).filter_map(|row| row.get(at));
            let is_name = at == 0 && self.names > 0;
            let widths = cells.map(|cell| units::hold(cell)).map(|cell| match is_name {
                true => whole_name(&cell).min(usize::from(LONGEST_NAME)),
                false => longest_word(&cell).min(usize::from(MOST_COLUMNS - LONGEST_NAME - 2 * BETWEEN)),
            });
            widths.max().unwrap_or(0) as u16
        };
        (0..self.header.len()).map(widest).collect()
    }

    /// The columns of each part of a table on a terminal.
    fn parts(&self, least: &[u16]) -> Vec<Vec<usize>> {
        let mut parts: Vec<Vec<usize>> = Vec::new();
        let mut room = 0;
        for (at, width) in least.iter().enumerate() {
            let needed = width + BETWEEN;
            match parts.last_mut().filter(|_| needed <= room) {
                Some(part) => part.push(at),
                None => {
                    // The first column stands in each part.
                    let first = if at == 0 { 0 } else { least[0] + BETWEEN };
                    room = MOST_COLUMNS - first;
                    parts.push(if at == 0 { vec![0] } else { vec![0, at] });
                }
            }
            room = room.saturating_sub(needed);
        }
        parts
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
    use std::collections::HashSet;

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
    fn a_terminal_s_table_breaks_no_word_and_stands_in_parts_where_it_is_too_wide() {
        let cells = [
            "ptmalloc2:MALLOC_ARENA_MAX=2",
            "10, 3 outliers",
            "352 ns to 448 ns",
            "0.882 no difference shown",
        ];
        for columns in [5, 9, 16, 40] {
            let names = |at: usize| if at == 0 { "variant".to_owned() } else { format!("column {at}") };
            let header: Vec<String> = (0..columns).map(names).collect();
            let cell = |at: usize| cells[if at == 0 { 0 } else { 1 + at % 3 }].to_owned();
            let grid = Grid { names: 1, header, rows: vec![(0..columns).map(cell).collect()] };
            let ruled = print(&grid, Style { ruled: true, colour: false });
            assert!(ruled.lines().all(|line| line.chars().count() <= 100), "{ruled}");
            let parts: Vec<&str> = ruled.split("\n\n").collect();
            assert!(parts.iter().all(|part| part.contains("variant") && part.contains(cells[0])), "{ruled}");
            assert_eq!(parts.len() == 1, columns == 5, "{ruled}");
            let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
            let whole: HashSet<String> =
                grid.header.iter().chain(&grid.rows[0]).flat_map(|cell| words(cell)).collect();
            let broken =
                words(&ruled).into_iter().filter(|word| !word.starts_with('─') && !whole.contains(word));
            assert_eq!(broken.count(), 0, "{ruled}");
            assert!(!ruled.contains('\u{a0}') && ruled.contains("448 ns"), "{ruled}");
        }
    }

    #[test]
    fn what_is_longer_than_a_line_is_broken() {
        let long = "/usr/lib".repeat(30);
        let row = vec![long.clone(), long.clone(), "1 MiB".to_owned()];
        let grid =
            Grid { names: 1, header: ["name", "path", "size"].map(str::to_owned).to_vec(), rows: vec![row] };
        let ruled = print(&grid, Style { ruled: true, colour: false });
        assert!(ruled.lines().all(|line| line.chars().count() <= 100), "{ruled}");
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
