//! Empirical sizes: a CSV of size,weight in, draws of these sizes out.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::error::{DefinitionError, shorten};
use super::random::Random;

/// The longest file that is read. The trace's header keeps it.
const FILE_MOST_BYTES: u64 = 64 << 10;
/// The largest weight.
const WEIGHT_MOST: f64 = 1e15;
/// The optional first line.
const HEAD: &str = "size,weight";

/// Sizes with their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeWeights {
    /// Sizes in bytes in the order of the file, each with the sum of its weight and those before.
    rows: Arc<[(u64, f64)]>,
}

/// Reads the file at `path`, which `key` names.
pub(super) fn read_file(path: &Path, key: &str, origin: &str) -> Result<String, DefinitionError> {
    let refuse = |allowed: String| {
        let (origin, key, found) = (origin.to_string(), key.to_string(), format!("{:?}", path.display()));
        DefinitionError::Value { origin, key, found, allowed }
    };
    let unreadable = |error: io::Error| refuse(format!("a CSV of {HEAD} that can be read ({error})"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MOST_BYTES {
        return Err(refuse(format!("a CSV of at most {FILE_MOST_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| refuse("a CSV, and its bytes are no text".to_string()))
}

impl SizeWeights {
    /// Reads size,weight in each line of `text`; sizes are bytes from `least` to `most`. A first line `size,weight` may
    /// name the columns.
    pub(super) fn parse(
        text: &str,
        origin: &str,
        (least, most): (u64, u64),
    ) -> Result<SizeWeights, DefinitionError> {
        let mut rows = Vec::new();
        let mut sum = 0.0;
        for (index, line) in text.lines().enumerate() {
            if index == 0 && line.trim() == HEAD {
                continue;
            }
            let wrong = |key: &str, found: &str, allowed: String| DefinitionError::Value {
                origin: format!("{origin}, line {}", index + 1),
                key: key.to_string(),
                found: format!("{:?}", shorten(found)),
                allowed,
            };
            let Some((size, weight)) = line.split_once(',') else {
                return Err(wrong("the line", line, format!("two numbers, {HEAD}")));
            };
            let (size, weight) = (size.trim(), weight.trim());
            let bytes = size.parse().ok().filter(|bytes| (least..=most).contains(bytes));
            let allowed =
                format!("a whole number of bytes from {least} to {most}, the distribution's min and max");
            let bytes = bytes.ok_or_else(|| wrong("size", size, allowed))?;
            let number = weight.parse::<f64>().ok().filter(|weight| (0.0..=WEIGHT_MOST).contains(weight));
            let allowed = format!("a number from 0 to {WEIGHT_MOST:e}");
            sum += number.ok_or_else(|| wrong("weight", weight, allowed))?;
            rows.push((bytes, sum));
        }
        if sum > 0.0 {
            return Ok(SizeWeights { rows: rows.into() });
        }
        let (key, origin) = ("the file".to_string(), origin.to_string());
        let found = if rows.is_empty() { "empty" } else { "without a weight above 0" }.to_string();
        let allowed = format!("at least one line of {HEAD} with a weight above 0");
        Err(DefinitionError::Value { origin, key, found, allowed })
    }

    /// A draw, in bytes.
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        let last = self.rows.len() - 1;
        let point = random.unit() * self.rows[last].1;
        self.rows[self.rows.partition_point(|(_, sum)| *sum <= point).min(last)].0
    }

    /// Half of the draws lie at or below this.
    pub(super) fn median_bytes(&self) -> u64 {
        let rows = self.ascending();
        let whole: f64 = self.rows.last().map_or(0.0, |(_, sum)| *sum);
        let mut sum = 0.0;
        let half = rows.iter().find(|(_, weight)| {
            sum += weight;
            sum >= whole / 2.0
        });
        half.or(rows.last()).map_or(1, |(size, _)| *size)
    }

    /// Each size, from the smallest, with the share of draws that are as large or larger, and their part of the mean of
    /// all draws, in bytes.
    pub(super) fn tails(&self) -> Vec<(u64, f64, f64)> {
        let rows = self.ascending();
        let whole: f64 = rows.iter().map(|(_, weight)| weight).sum();
        let (mut share, mut bytes) = (0.0, 0.0);
        let tail = |(size, weight): &(u64, f64)| {
            share += weight / whole;
            bytes += weight / whole * *size as f64;
            (*size, share, bytes)
        };
        let mut tails: Vec<(u64, f64, f64)> = rows.iter().rev().map(tail).collect();
        tails.reverse();
        tails
    }

    /// Sizes with their own weights, from the smallest.
    fn ascending(&self) -> Vec<(u64, f64)> {
        let before = std::iter::once(0.0).chain(self.rows.iter().map(|(_, sum)| *sum));
        let mut rows: Vec<(u64, f64)> =
            self.rows.iter().zip(before).map(|((size, sum), before)| (*size, sum - before)).collect();
        rows.sort_by_key(|(size, _)| *size);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_their_weights() {
        let table =
            SizeWeights::parse("size,weight\n100, 1\n5000,2.5\n70,0\n200,1.5\n", "t.csv", (1, 9999)).unwrap();
        assert_eq!(table.median_bytes(), 200);
        let mut random = Random::new(1, 0);
        let draws: Vec<u64> = (0..50_000).map(|_| table.draw(&mut random)).collect();
        for (size, share) in [(100, 0.2), (5000, 0.5), (70, 0.0), (200, 0.3)] {
            let found = draws.iter().filter(|draw| **draw == size).count() as f64 / 50_000.0;
            assert!((found - share).abs() < 0.01, "{size}: {found}");
        }
    }

    #[test]
    fn each_fault_is_named_with_its_line() {
        for (text, words) in [
            ("", &["t.csv: the file is empty", "at least one line of size,weight"][..]),
            ("size,weight\n", &["the file is empty"]),
            ("16,0\n32,0\n", &["without a weight above 0"]),
            (
                "16,1\n,1\n",
                &["t.csv, line 2: size is \"\"", "from 8 to 1000, the distribution's min and max"],
            ),
            ("16,1\n32,\n", &["line 2: weight is \"\"", "from 0"]),
            ("16,1\n\n32,1\n", &["line 2: the line is \"\"", "two numbers"]),
            ("16\n", &["line 1: the line is \"16\""]),
            ("16,1,1\n", &["weight is \"1,1\""]),
            ("16,-1\n", &["weight is \"-1\""]),
            ("16,nan\n", &["weight is \"nan\""]),
            ("16KiB,1\n", &["size is \"16KiB\"", "whole number of bytes"]),
            ("4,1\n", &["size is \"4\"", "from 8"]),
            ("1001,1\n", &["size is \"1001\""]),
            ("16,1\nsize,weight\n", &["line 2: size is \"size\""]),
        ] {
            let error = SizeWeights::parse(text, "t.csv", (8, 1000)).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
        }
    }
}
