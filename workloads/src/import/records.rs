//! A byte stream read in pieces of known length, with the offset of each: the reader of binary logs.
//!
//! A log may end inside a piece, because its writer was killed. That piece is omitted, and a warning says so.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::ImportError;

const BLOCK_BYTES: usize = 256 << 10;
/// How much of a malformed piece is shown.
const SHOWN_BYTES: usize = 24;

pub(super) struct Records<'a> {
    input: BufReader<&'a mut dyn Read>,
    path: PathBuf,
    /// Offset of the next byte.
    offset: u64,
    /// The start of the piece inside which the stream ended.
    cut_off: Option<u64>,
}

impl<'a> Records<'a> {
    pub(super) fn new(input: &'a mut dyn Read, path: &Path) -> Records<'a> {
        let input = BufReader::with_capacity(BLOCK_BYTES, input);
        Records { input, path: path.to_path_buf(), offset: 0, cut_off: None }
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next byte; none at the end.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<Option<u8>, ImportError> {
        let mut byte = [0];
        Ok(self.fill(&mut byte)?.then_some(byte[0]))
    }

    /// Fills `piece`; false if the stream ended first; what was read is then omitted.
    #[inline]
    pub(super) fn fill(&mut self, piece: &mut [u8]) -> Result<bool, ImportError> {
        let begin = self.offset;
        let mut filled = 0;
        while filled < piece.len() {
            let held = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(ImportError::Io { path: self.path.clone(), doing: "read", source });
                }
                Ok([]) => {
                    if filled > 0 {
                        self.cut(begin);
                    }
                    return Ok(false);
                }
                Ok(held) => held,
            };
            let length = held.len().min(piece.len() - filled);
            piece[filled..filled + length].copy_from_slice(&held[..length]);
            self.input.consume(length);
            filled += length;
            self.offset += length as u64;
        }
        Ok(true)
    }

    /// Notes that the stream ended inside the piece that began at `begin`; for nested pieces, the outermost
    /// is noted last.
    pub(super) fn cut(&mut self, begin: u64) {
        self.cut_off = Some(begin);
    }

    /// What the user should know once everything has been read.
    pub(super) fn warnings(&self) -> Vec<String> {
        let warning = |begin| format!("the log ends inside what begins at byte {begin}: that is left out");
        self.cut_off.map(warning).into_iter().collect()
    }

    /// The error that `found`, which begins at `offset`, is not what was `expected`.
    pub(super) fn malformed(&self, offset: u64, expected: &'static str, found: &[u8]) -> ImportError {
        let mut shown: Vec<String> =
            found.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
        if found.len() > SHOWN_BYTES {
            shown.push("...".to_string());
        }
        let found = if shown.is_empty() { "nothing".to_string() } else { shown.join(" ") };
        ImportError::MalformedBytes { path: self.path.clone(), offset, expected, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_counted_and_a_part_of_one_is_left_away() {
        let mut input = &b"abcdefg"[..];
        let mut records = Records::new(&mut input, Path::new("log"));
        let mut piece = [0; 3];
        assert!(records.fill(&mut piece).unwrap());
        assert_eq!((&piece, records.offset()), (b"abc", 3));
        assert_eq!(records.byte().unwrap(), Some(b'd'));
        assert_eq!(records.warnings(), [""; 0]);
        assert!(records.fill(&mut piece).unwrap());
        assert!(!records.fill(&mut piece).unwrap(), "at the end");
        assert_eq!(records.warnings(), [""; 0]);

        let mut input = &b"ab"[..];
        let mut records = Records::new(&mut input, Path::new("log"));
        assert!(!records.fill(&mut piece).unwrap());
        assert_eq!(records.warnings(), ["the log ends inside what begins at byte 0: that is left out"]);
        let error = records.malformed(4, "a name", b"\x00\xff").to_string();
        assert_eq!(error, "log: byte 4 of the content: expected a name, found 00 ff");
    }
}
