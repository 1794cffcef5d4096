//! The table of a profile: a CSV in, checked rows out, scaled to a heap.

use std::fs::File;
use std::io::Read;

use crate::simulate::DefinitionError;
use crate::stress::parameter::{refuse, shorten};

/// The built-in table: invented by us in the shape of a server's heap, not measured.
const BUILT_IN: &str = include_str!("profile.csv");
/// The longest file that is read.
const FILE_MOST_BYTES: u64 = 16 << 20;
/// The largest size of an object.
const SIZE_MOST_BYTES: u64 = 1 << 40;
/// The largest rate and live count.
const NUMBER_MOST: f64 = 1e15;

/// A size of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    /// Bytes.
    pub(super) size: u64,
    /// Allocations in some unit of time, the same for all rows.
    pub(super) rate: f64,
    /// Live objects.
    pub(super) live: f64,
}

/// The text of the file at `path`, or of the built-in table if it is empty, and its name in messages.
pub(super) fn read_file(path: &str) -> Result<(String, String), DefinitionError> {
    if path.is_empty() {
        return Ok((BUILT_IN.to_string(), "the built-in profile".to_string()));
    }
    let unreadable =
        |error: std::io::Error| refuse("file", path, format!("a CSV that can be read ({error})"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MOST_BYTES {
        return Err(refuse("file", path, format!("a CSV of at most {FILE_MOST_BYTES} bytes")));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| refuse("file", path, "a CSV, and its bytes are no text"))?;
    Ok((text, path.to_string()))
}

/// Reads size,allocation rate,live count in each line of `text`.
pub(super) fn parse(text: &str, origin: &str) -> Result<Vec<Row>, DefinitionError> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |key: &str, found: &str, allowed: String| DefinitionError::Value {
            origin: format!("{origin}, line {}", index + 1),
            key: key.to_string(),
            found: format!("{:?}", shorten(found)),
            allowed,
        };
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [size, rate, live] = fields[..] else {
            let allowed = "three numbers, size,allocation rate,live count, and no header".to_string();
            return Err(wrong("the line", line, allowed));
        };
        let bytes = size.parse().ok().filter(|bytes| (1..=SIZE_MOST_BYTES).contains(bytes));
        let number = |key: &str, text: &str| {
            let number = text.parse::<f64>().ok().filter(|number| (0.0..=NUMBER_MOST).contains(number));
            number.ok_or_else(|| wrong(key, text, format!("a number from 0 to {NUMBER_MOST:e}")))
        };
        let allowed = format!("a whole number of bytes from 1 to {SIZE_MOST_BYTES}");
        rows.push(Row {
            size: bytes.ok_or_else(|| wrong("size", size, allowed))?,
            rate: number("allocation rate", rate)?,
            live: number("live count", live)?,
        });
    }
    if rows.is_empty() {
        let allowed = "at least one line of size,allocation rate,live count".to_string();
        let (origin, key) = (origin.to_string(), "the file".to_string());
        return Err(DefinitionError::Value { origin, key, found: "empty".to_string(), allowed });
    }
    Ok(rows)
}

/// Omits sizes above `cap_bytes` and scales live counts and rates so that `heap_bytes` are live; none if
/// nothing is live in what is left.
pub(super) fn scale(mut rows: Vec<Row>, heap_bytes: f64, cap_bytes: f64) -> Option<Vec<Row>> {
    rows.retain(|row| row.size as f64 <= cap_bytes && (row.rate > 0.0 || row.live > 0.0));
    let live_bytes: f64 = rows.iter().map(|row| row.size as f64 * row.live).sum();
    if live_bytes <= 0.0 {
        return None;
    }
    let factor = heap_bytes / live_bytes;
    for row in &mut rows {
        row.rate *= factor;
        row.live *= factor;
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_table_is_read_and_scaled() {
        let rows = parse("16,2.5,100\n 64 , 1e3 ,0\n4096,0,10\n1000000,1,1\n", "t.csv").unwrap();
        assert_eq!(rows[1], Row { size: 64, rate: 1000.0, live: 0.0 });
        let rows = scale(rows, 85_120.0, 5000.0).unwrap();
        assert_eq!(rows.len(), 3, "the largest is above the cap");
        assert_eq!((rows[0].live, rows[0].rate, rows[2].live), (200.0, 5.0, 20.0));
        assert_eq!(scale(rows, 1000.0, 15.0), None);
    }

    #[test]
    fn each_fault_is_named_with_its_line() {
        for (text, words) in [
            ("", &["t.csv: the file is empty", "size,allocation rate,live count"][..]),
            ("16,1,1\n32,,1\n", &["t.csv, line 2: allocation rate is \"\"", "from 0 to 1e15"]),
            ("16,1,1\n\n32,1,1", &["t.csv, line 2: the line is \"\"", "three numbers"]),
            ("16,1\n", &["line 1: the line is \"16,1\"", "three numbers"]),
            ("16,1,1,1\n", &["line 1", "three numbers"]),
            ("16,-1,1\n", &["allocation rate is \"-1\"", "from 0"]),
            ("16,1,-0.5\n", &["live count is \"-0.5\"", "from 0"]),
            ("-16,1,1\n", &["size is \"-16\"", "from 1 to"]),
            ("0,1,1\n", &["size is \"0\"", "from 1 to"]),
            ("1.5,1,1\n", &["size is \"1.5\"", "whole number"]),
            ("size,rate,live\n", &["line 1: size is \"size\"", "whole number"]),
            ("16,nan,1\n", &["allocation rate is \"nan\"", "from 0"]),
            ("16,1,inf\n", &["live count is \"inf\"", "from 0"]),
            ("16,1e300,1\n", &["allocation rate is \"1e300\"", "from 0"]),
        ] {
            let error = parse(text, "t.csv").unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_built_in_table_is_good() {
        let (text, origin) = read_file("").unwrap();
        assert!(parse(&text, &origin).unwrap().len() > 20);
        let error = read_file("no/such.csv").unwrap_err().to_string();
        assert!(error.contains("no/such.csv") && error.contains("can be read"), "{error}");
    }
}
