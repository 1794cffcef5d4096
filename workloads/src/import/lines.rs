//! A byte stream cut into lines, without an allocation for each.
//!
//! A line ends at a line feed, a carriage return before it is not part of it, and the last one may
//! end at the end of the stream. A line has a greatest length, so that a file without line feeds
//! cannot fill memory.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::ImportError;

const BLOCK_BYTES: usize = 256 << 10;
/// The longest line that is taken for one.
const LINE_MOST_BYTES: usize = 64 << 10;
/// What of a malformed line is shown.
const SHOWN_BYTES: usize = 80;

pub(super) struct Lines<'a> {
    input: &'a mut dyn Read,
    path: PathBuf,
    buffer: Vec<u8>,
    /// What of the buffer was read and not handed out.
    start: usize,
    end: usize,
    /// The number of the line that was handed out last; 0 before the first.
    number: u64,
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
            number: 0,
            exhausted: false,
        }
    }

    /// The next line, without its end; none behind the last.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, ImportError> {
        let Some((length, behind)) = self.find_end()? else { return Ok(None) };
        let start = self.start;
        self.start += behind;
        self.number += 1;
        Ok(Some(without_return(&self.buffer[start..start + length])))
    }

    /// The line that [`next`](Lines::next) will give.
    pub(super) fn peek(&mut self) -> Result<Option<&[u8]>, ImportError> {
        let Some((length, _)) = self.find_end()? else { return Ok(None) };
        Ok(Some(without_return(&self.buffer[self.start..self.start + length])))
    }

    /// The error that the line handed out last is not `expected`.
    pub(super) fn malformed(&self, line: &[u8], expected: &'static str) -> ImportError {
        let mut found = String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES)]).into_owned();
        if line.len() > SHOWN_BYTES {
            found.push_str("...");
        }
        ImportError::Malformed { path: self.path.clone(), line: self.number, expected, found }
    }

    /// Length of the next line, and of it with its line feed.
    fn find_end(&mut self) -> Result<Option<(usize, usize)>, ImportError> {
        let mut searched = 0;
        loop {
            let held = &self.buffer[self.start..self.end];
            if let Some(length) = held[searched..].iter().position(|&byte| byte == b'\n') {
                return Ok(Some((searched + length, searched + length + 1)));
            }
            searched = held.len();
            if searched > LINE_MOST_BYTES {
                let head = held[..SHOWN_BYTES].to_vec();
                self.number += 1;
                return Err(self.malformed(&head, "a line of at most 64 KiB"));
            }
            if self.exhausted {
                return Ok((searched > 0).then_some((searched, searched)));
            }
            self.read_block()?;
        }
    }

    fn read_block(&mut self) -> Result<(), ImportError> {
        // What is left is less than a line, so that moving it costs nothing beside the reading.
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
            assert_eq!(all(b"a\r\nbb\n\nlast", step), ["a", "bb", "", "last"]);
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
    fn a_line_without_end_is_refused() {
        let text = vec![b'x'; 1 << 20];
        let mut input = text.as_slice();
        let error = Lines::new(&mut input, Path::new("log")).next().unwrap_err().to_string();
        assert!(error.starts_with("log:1: expected a line of at most 64 KiB, found \"xxx"), "{error}");
    }
}
