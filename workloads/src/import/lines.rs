//! A byte stream cut into lines, without an allocation per line.
//!
//! A line ends at a line feed, and a carriage return before it is not part of it. Lines have a maximum length,
//! so that a file without line feeds cannot fill memory; where longer lines are allowed, the rest is read and
//! discarded.
//!
//! A log whose program was killed may end inside a line, and what is left of the line may still be valid: a call with
//! the first digits of its address. So a last line without a line feed is left out, and a warning says so.

use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::ImportError;

const BLOCK_BYTES: usize = 256 << 10;
/// The longest line that is accepted.
const LINE_MOST_BYTES: usize = 64 << 10;
/// How much of a malformed line is shown.
const SHOWN_BYTES: usize = 80;

pub(super) struct Lines<'a> {
    input: &'a mut dyn Read,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Where the part of the buffer that has been read and not handed out begins.
    start: usize,
    end: usize,
    /// Where in the buffer the line handed out last is.
    last: Range<usize>,
    /// Its number; 0 before the first.
    number: u64,
    /// Whether the stream ended inside the next line.
    is_cut: bool,
    /// Whether only a part of it was handed out, so that the rest must still be skipped.
    inside_long: bool,
    exhausted: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(input: &'a mut dyn Read, path: &Path) -> Lines<'a> {
        Lines {
            input,
            path: path.to_path_buf(),
            buffer: vec![0; BLOCK_BYTES],
            start: 0,
            end: 0,
            last: 0..0,
            number: 0,
            is_cut: false,
            inside_long: false,
            exhausted: false,
        }
    }

    /// The next line, without its line ending; none after the last one that has a line feed. A line that is too long is an
    /// error.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, ImportError> {
        match self.take_line()? {
            Some(Taken::Whole) => Ok(Some(self.last())),
            Some(Taken::Part) => Err(self.malformed("a line of at most 64 KiB")),
            None => Ok(None),
        }
    }

    /// Like [`next`](Lines::next), but returns the first 64 KiB of a line that is too long: for kinds of log
    /// with lines that an import does not need.
    #[inline]
    pub(super) fn next_or_part(&mut self) -> Result<Option<&[u8]>, ImportError> {
        Ok(self.take_line()?.map(|_| self.last()))
    }

    /// How many of the next lines there are before the first for which `is_end` holds; none if that does not begin within
    /// the next `most_bytes`. Nothing is handed out.
    pub(super) fn count_until(
        &mut self,
        most_bytes: usize,
        is_end: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<usize>, ImportError> {
        while self.end - self.start < most_bytes + SHOWN_BYTES && !self.exhausted {
            self.read_block()?;
        }
        let (mut ahead, mut begin) = (&self.buffer[self.start..self.end], 0);
        for count in 0.. {
            let Some(length) = ahead.iter().position(|&byte| byte == b'\n') else { break };
            if begin > most_bytes {
                break;
            }
            if is_end(without_return(&ahead[..length])) {
                return Ok(Some(count));
            }
            (ahead, begin) = (&ahead[length + 1..], begin + length + 1);
        }
        Ok(None)
    }

    /// The log that the lines come from.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the user should know once everything has been read.
    pub(super) fn warnings(&self) -> Vec<String> {
        let warning = || {
            format!(
                "line {}, the last, has no line feed, as if the log had been cut off inside it: it is left out (if it is complete, end it with a line feed)",
                self.number + 1
            )
        };
        self.is_cut.then(warning).into_iter().collect()
    }

    /// The error that the line handed out last is not `expected`.
    pub(super) fn malformed(&self, expected: &'static str) -> ImportError {
        let line = self.last();
        let mut found = String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES)]).into_owned();
        if line.len() > SHOWN_BYTES {
            found.push_str("...");
        }
        ImportError::Malformed { path: self.path.clone(), line: self.number, expected, found }
    }

    fn last(&self) -> &[u8] {
        without_return(&self.buffer[self.last.clone()])
    }

    /// Makes the next line the last one handed out; says whether it is complete.
    #[inline]
    fn take_line(&mut self) -> Result<Option<Taken>, ImportError> {
        if self.inside_long {
            self.skip_rest()?;
        }
        let Some((length, consumed)) = self.find_end()? else { return Ok(None) };
        if length == consumed && self.exhausted {
            self.start += consumed;
            self.is_cut = true;
            return Ok(None);
        }
        self.last = self.start..self.start + length;
        self.start += consumed;
        self.number += 1;
        self.inside_long = length == consumed;
        Ok(Some(if self.inside_long { Taken::Part } else { Taken::Whole }))
    }

    /// Moves past a line that was handed out in part.
    fn skip_rest(&mut self) -> Result<(), ImportError> {
        self.inside_long = false;
        loop {
            let held = &self.buffer[self.start..self.end];
            if let Some(length) = held.iter().position(|&byte| byte == b'\n') {
                self.start += length + 1;
                return Ok(());
            }
            self.start = self.end;
            if self.exhausted {
                return Ok(());
            }
            self.read_block()?;
        }
    }

    /// Length of the next line, without and with its line feed, if it has one. A line that is too long ends
    /// at the limit.
    fn find_end(&mut self) -> Result<Option<(usize, usize)>, ImportError> {
        let mut searched = 0;
        loop {
            let held = &self.buffer[self.start..self.end];
            if let Some(length) = held[searched..].iter().position(|&byte| byte == b'\n') {
                return Ok(Some((searched + length, searched + length + 1)));
            }
            searched = held.len();
            if searched > LINE_MOST_BYTES {
                return Ok(Some((searched, searched)));
            }
            if self.exhausted {
                return Ok((searched > 0).then_some((searched, searched)));
            }
            self.read_block()?;
        }
    }

    fn read_block(&mut self) -> Result<(), ImportError> {
        // What is left is less than a line, so moving it costs little compared with reading.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => break result,
            }
        };
        let read =
            read.map_err(|source| ImportError::Io { path: self.path.clone(), doing: "read", source })?;
        self.end += read;
        self.exhausted = read == 0;
        Ok(())
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// How much of a line was read.
enum Taken {
    Whole,
    Part,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn all(text: &[u8], step: usize) -> Vec<String> {
        let mut input = Dribble(text, step);
        let mut lines = Lines::new(&mut input, Path::new("log"));
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
        found
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        for step in [1, 2, 3, 100] {
            assert_eq!(all(b"a\r\nbb\n\nlast\n", step), ["a", "bb", "", "last"]);
            assert_eq!(all(b"a\n", step), ["a"]);
            assert_eq!(all(b"", step), [""; 0]);
        }
    }

    #[test]
    fn many_lines_cross_many_blocks() {
        let text: String = (0..100_000).map(|number| format!("{number}\n")).collect();
        let found = all(text.as_bytes(), usize::MAX);
        assert_eq!((found.len(), found[99_999].as_str()), (100_000, "99999"));
    }

    #[test]
    fn the_rest_of_a_long_line_is_let_go() {
        let text = [b"a\n".to_vec(), vec![b'x'; 1 << 20], b"\nlast\n".to_vec()].concat();
        for step in [1000, 70_000, usize::MAX] {
            let mut input = Dribble(&text, step);
            let mut lines = Lines::new(&mut input, Path::new("log"));
            assert_eq!(lines.next_or_part().unwrap().unwrap(), b"a");
            let part = lines.next_or_part().unwrap().unwrap();
            assert!(part.len() > LINE_MOST_BYTES && part.iter().all(|&byte| byte == b'x'));
            assert_eq!(lines.next_or_part().unwrap().unwrap(), b"last");
            assert!(lines.next_or_part().unwrap().is_none());
        }
    }

    #[test]
    fn a_last_line_without_a_line_feed_is_left_out() {
        for (text, whole, number) in [(&b"a\nb"[..], &["a"][..], 2), (b"a\n\r", &["a"], 2), (b"b", &[], 1)] {
            for step in [1, 100] {
                let mut input = Dribble(text, step);
                let mut lines = Lines::new(&mut input, Path::new("log"));
                for line in whole {
                    assert_eq!(lines.next().unwrap().unwrap(), line.as_bytes());
                    assert_eq!(lines.warnings(), [""; 0]);
                }
                assert!(lines.next().unwrap().is_none() && lines.next().unwrap().is_none());
                let [warning] = &lines.warnings()[..] else { panic!("{text:?}") };
                assert!(
                    warning.starts_with(&format!("line {number}, the last, has no line feed")),
                    "{warning}"
                );
            }
        }
    }

    #[test]
    fn lines_ahead_are_counted_and_stay() {
        for step in [1, 3, 100] {
            let mut input = Dribble(b"a\nbb\r\nccc\nbb", step);
            let mut lines = Lines::new(&mut input, Path::new("log"));
            let mut count =
                |most_bytes, wanted: &[u8]| lines.count_until(most_bytes, |line| line == wanted).unwrap();
            assert_eq!((count(2, b"bb"), count(1, b"bb"), count(0, b"a")), (Some(1), None, Some(0)));
            assert_eq!((count(100, b"ccc"), count(100, b"d")), (Some(2), None));
            for line in ["a", "bb", "ccc"] {
                assert_eq!(lines.next().unwrap().unwrap(), line.as_bytes());
            }
            assert_eq!(lines.count_until(100, |line| line == b"bb").unwrap(), None, "it has no line feed");
            assert!(lines.next().unwrap().is_none());
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let text = vec![b'x'; 1 << 20];
        let mut input = text.as_slice();
        let error = Lines::new(&mut input, Path::new("log")).next().unwrap_err().to_string();
        assert!(error.starts_with("log:1: expected a line of at most 64 KiB, found \"xxx"), "{error}");
    }
}
