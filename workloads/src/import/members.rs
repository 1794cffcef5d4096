//! What a gzip or zstd file holds: one member after another, as one stream.
//!
//! Two faults that come from files, not from compressors, are accepted. Zeros after a member are the padding
//! of tapes and of preallocated files. A file that was cut off ends where it was cut; a flag tells the
//! reader.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use flate2::bufread::GzDecoder;

/// How the members are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

/// The content of all members of a file.
pub(super) struct Members<R: BufRead> {
    compression: Compression,
    state: State<R>,
    /// Whether there was any content: a file that was cut off before its first byte is no log.
    has_content: bool,
    cut_off: Rc<Cell<bool>>,
}

enum State<R: BufRead> {
    Between(R),
    Gzip(Box<GzDecoder<R>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
    Over,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R, compression: Compression, cut_off: Rc<Cell<bool>>) -> Members<R> {
        Members { compression, state: State::Between(input), has_content: false, cut_off }
    }

    /// The next member of `input`, if it has one.
    fn open(&self, mut input: R) -> io::Result<State<R>> {
        if !skip_zeros(&mut input)? {
            return Ok(State::Over);
        }
        Ok(match self.compression {
            Compression::Gzip => State::Gzip(Box::new(GzDecoder::new(input))),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                State::Zstd(Box::new(decoder.single_frame()))
            }
        })
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.state {
                State::Over => return Ok(0),
                State::Between(_) => Ok(0),
                State::Gzip(decoder) => decoder.read(buffer),
                State::Zstd(decoder) => decoder.read(buffer),
            };
            match read {
                Ok(0) => {
                    self.state = match std::mem::replace(&mut self.state, State::Over) {
                        State::Between(input) => self.open(input)?,
                        State::Gzip(decoder) => State::Between(decoder.into_inner()),
                        State::Zstd(decoder) => State::Between(decoder.finish()),
                        State::Over => State::Over,
                    };
                }
                Ok(read) => {
                    self.has_content = true;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.has_content => {
                    self.cut_off.set(true);
                    self.state = State::Over;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Goes to the next byte that is not zero; false if there is none.
fn skip_zeros(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let held = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            held => held?,
        };
        if held.is_empty() {
            return Ok(false);
        }
        let zeros = held.iter().take_while(|byte| **byte == 0).count();
        let all = zeros == held.len();
        input.consume(zeros);
        if !all {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use super::*;

    const COMPRESSIONS: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

    fn compress(compression: Compression, content: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
                encoder.include_checksum(true).unwrap();
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    /// The content, and whether the file was cut off. The file arrives a few bytes at a time.
    fn read(compression: Compression, file: &[u8], step: usize) -> io::Result<(Vec<u8>, bool)> {
        let cut_off = Rc::new(Cell::new(false));
        let input = BufReader::with_capacity(step, file);
        let mut content = Vec::new();
        Members::new(input, compression, Rc::clone(&cut_off)).read_to_end(&mut content)?;
        Ok((content, cut_off.get()))
    }

    /// Text that does not compress to nothing.
    fn text() -> Vec<u8> {
        let mut state = 1u32;
        let line = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("1: malloc {:#x} {}\n", *state, *state >> 20).into_bytes()
        };
        (0..40_000).flat_map(|_| line(&mut state)).collect()
    }

    #[test]
    fn members_and_zeros_between_and_after_them_are_one_stream() {
        for compression in COMPRESSIONS {
            let (one, two) = (compress(compression, b"one "), compress(compression, b"two"));
            let empty = compress(compression, b"");
            for step in [1, 7, 4096] {
                let whole = |parts: &[&[u8]]| read(compression, &parts.concat(), step).unwrap();
                assert_eq!(whole(&[&one, &empty, &two]), (b"one two".to_vec(), false));
                assert_eq!(whole(&[&one, &[0; 1000], &two, &[0; 5000]]), (b"one two".to_vec(), false));
                let garbage = [one.as_slice(), b"garbage"].concat();
                let error = read(compression, &garbage, step);
                assert!(error.is_err() || error.is_ok_and(|(_, cut_off)| cut_off), "{compression:?}");
            }
        }
    }

    #[test]
    fn what_stands_before_a_cut_is_read_and_the_cut_is_told() {
        let text = text();
        for compression in COMPRESSIONS {
            let file = compress(compression, &text);
            for kept in [file.len() - 1, file.len() - 4, file.len() * 3 / 4] {
                let (content, cut_off) = read(compression, &file[..kept], 512).unwrap();
                assert!(cut_off, "{compression:?}: {kept} of {}", file.len());
                assert!(text.starts_with(&content), "{compression:?}: {kept} of {}", file.len());
            }
            let (content, _) = read(compression, &file[..file.len() - 1], 512).unwrap();
            assert!(!content.is_empty());
            let error = read(compression, &file[..12], 512).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{compression:?}: no content at all");
        }
    }

    #[test]
    fn damage_is_no_cut() {
        for compression in COMPRESSIONS {
            let mut file = compress(compression, &text());
            let middle = file.len() / 2;
            file[middle..middle + 64].fill(0xff);
            let found = read(compression, &file, 512);
            assert!(
                found.is_err(),
                "{compression:?}: {:?}",
                found.map(|(content, cut)| (content.len(), cut))
            );
        }
    }
}
