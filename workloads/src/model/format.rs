//! The `.hlm` format: a model as bytes.
//!
//! Numbers are little endian, checksums CRC-32 as in zlib.
//!
//! ```text
//! head     magic            8   89 48 4c 4d 0d 0a 1a 0a   (89 "HLM" CR LF 1a LF: shows what text mode breaks)
//!          version          4   2
//!          head length      4   n, at most 16 MiB
//!          head             n   TOML, see `Facts`: the recordings' numbers, what was checked
//!          checksum         4   of everything before it
//!
//! piece    marker           4   "PIEC"
//!          raw bytes        4   length once expanded, at most 64 MiB
//!          compressed bytes 4
//!          payload checksum 4   of the compressed bytes
//!          checksum         4   of the 16 bytes before it
//!          payload              one zstd frame: sections, one after another
//!
//! end      marker           4   "HEND"
//!          pieces           4   how many there are
//!          checksum         4   of the 8 bytes before it
//! ```
//!
//! A section is a byte that says what it is, the recording's number in the head, and its content; no section
//! is split. Numbers in it have seven bits per byte, least significant first, the high bit set on all but the
//! last.
//!
//! ```text
//! 0 start-up, 1 window, 2 shutdown    number, objects, steps, later steps, and so many steps
//! 3 lives                             size class, count, and for each: ns since the one before, twice, plus 1 if freed
//!
//! step     kind (low 4 bits), 16 if another thread than the step before, 32 if anchored, 64 if at another time
//!          [ns since the step before]  [thread]  [object, of one that is there]  [bytes]  [alignment's power of two]
//! ```
//!
//! A difference of times has its sign in the lowest bit: what happens later is ordered by object, so times go
//! back.
//!
//! A worked example, the step "malloc of 100 bytes by the thread of the previous step, 5 ns after it": `40 0a
//! 64`.
//!
//! Pieces are written as they fill: only one is held besides the model.

use std::io::{Read, Write};

use super::facts::Facts;
use super::parts::{
    Fitted, Kind, LIVES_KEPT, Lives, MOST_RECORDINGS, MOST_STEPS, NO_OBJECT, Part, SIZE_CLASSES, Step,
    WINDOWS,
};

/// The version that is written and read.
pub const FORMAT_VERSION: u32 = 2;
/// The first bytes of a model.
pub const MAGIC: &[u8; 8] = b"\x89HLM\r\n\x1a\n";
const HEAD_MOST_BYTES: u32 = 16 << 20;
const PIECE: &[u8; 4] = b"PIEC";
const END: &[u8; 4] = b"HEND";
const PIECE_MOST_RAW_BYTES: u32 = 64 << 20;
/// A piece is closed when it has this many bytes.
const PIECE_RAW_BYTES: usize = 1 << 20;
const ZSTD_LEVEL: i32 = 12;

/// Why bytes are not a model.
#[derive(Debug)]
pub(super) enum Fault {
    /// They do not begin like a model.
    NotAModel,
    /// They are of this newer version.
    Version(u32),
    /// They are damaged; how, in words.
    Damaged(String),
    /// They cannot be read.
    Io(std::io::Error),
}

fn damaged<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Damaged(what.into()))
}

/// Writes a model.
///
/// # Errors
///
/// Errors from the output; a head or a part that is too long.
pub(super) fn write(out: &mut dyn Write, facts: &Facts, fitted: &[Fitted]) -> std::io::Result<()> {
    let text = toml::to_string(facts).map_err(std::io::Error::other)?;
    if text.len() > HEAD_MOST_BYTES as usize {
        return Err(std::io::Error::other("the model has too many threads for its head"));
    }
    let mut head = MAGIC.to_vec();
    head.extend(FORMAT_VERSION.to_le_bytes());
    head.extend((text.len() as u32).to_le_bytes());
    head.extend(text.as_bytes());
    seal(&mut head);
    out.write_all(&head)?;
    let mut pieces = Pieces { out, raw: Vec::new(), count: 0 };
    for (number, one) in fitted.iter().enumerate() {
        pieces.put_part(0, number, &one.startup)?;
        for window in &one.windows {
            pieces.put_part(1, number, window)?;
        }
        pieces.put_part(2, number, &one.shutdown)?;
        for (class, lives) in one.lives.iter().enumerate().filter(|(_, lives)| !lives.seen.is_empty()) {
            pieces.put_lives(number, class, lives)?;
        }
    }
    pieces.finish()
}

struct Pieces<'a> {
    out: &'a mut dyn Write,
    raw: Vec<u8>,
    count: u32,
}

impl Pieces<'_> {
    fn put_part(&mut self, what: u8, recording: usize, part: &Part) -> std::io::Result<()> {
        self.raw.push(what);
        let counts =
            [recording, part.number as usize, part.objects as usize, part.steps.len(), part.later.len()];
        counts.into_iter().for_each(|count| put(&mut self.raw, count as u64));
        put_steps(&mut self.raw, &part.steps);
        put_steps(&mut self.raw, &part.later);
        self.close_if(PIECE_RAW_BYTES)
    }

    fn put_lives(&mut self, recording: usize, class: usize, lives: &Lives) -> std::io::Result<()> {
        self.raw.push(3);
        [recording, class, lives.seen.len()].into_iter().for_each(|number| put(&mut self.raw, number as u64));
        let mut before = 0;
        for (lived_ns, was_freed) in &lives.seen {
            put(&mut self.raw, 2 * (lived_ns - before) + u64::from(*was_freed));
            before = *lived_ns;
        }
        self.close_if(PIECE_RAW_BYTES)
    }

    fn close_if(&mut self, least: usize) -> std::io::Result<()> {
        if self.raw.len() < least {
            return Ok(());
        }
        if self.raw.len() > PIECE_MOST_RAW_BYTES as usize {
            return Err(std::io::Error::other(
                "a part of the model is too long: keep fewer events, or record for less time",
            ));
        }
        let compressed = zstd::bulk::compress(&self.raw, ZSTD_LEVEL)?;
        let mut head = PIECE.to_vec();
        for number in [self.raw.len() as u32, compressed.len() as u32, crc32fast::hash(&compressed)] {
            head.extend(number.to_le_bytes());
        }
        seal(&mut head);
        self.out.write_all(&head)?;
        self.out.write_all(&compressed)?;
        self.raw.clear();
        self.count += 1;
        Ok(())
    }

    fn finish(mut self) -> std::io::Result<()> {
        self.close_if(1)?;
        let mut end = END.to_vec();
        end.extend(self.count.to_le_bytes());
        seal(&mut end);
        self.out.write_all(&end)?;
        self.out.flush()
    }
}

const OTHER_THREAD: u8 = 16;
const ANCHORED: u8 = 32;
const OTHER_TIME: u8 = 64;

fn put_steps(out: &mut Vec<u8>, steps: &[Step]) {
    let mut before = (0, 0);
    for step in steps {
        let (other_thread, other_time) = (step.thread != before.1, step.time_ns != before.0);
        let kind = Kind::ALL.iter().position(|kind| *kind == step.kind).unwrap_or(0) as u8;
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        out.push(
            kind | flag(other_thread, OTHER_THREAD)
                | flag(step.is_anchored, ANCHORED)
                | flag(other_time, OTHER_TIME),
        );
        if other_time {
            put_signed(out, step.time_ns.wrapping_sub(before.0) as i64);
        }
        if other_thread {
            put(out, u64::from(step.thread));
        }
        if step.kind.has_object() && !step.kind.allocates() {
            put(out, u64::from(step.object));
        }
        if step.kind.has_bytes() {
            put(out, step.bytes);
        }
        if step.kind == Kind::AlignedAlloc {
            out.push(step.alignment_bits);
        }
        before = (step.time_ns, step.thread);
    }
}

/// Reads a model.
///
/// # Errors
///
/// Anything that is damaged.
pub(super) fn read(input: &mut dyn Read) -> Result<(Facts, Vec<Fitted>), Fault> {
    let facts = read_head(input)?;
    if facts.recordings.len() > MOST_RECORDINGS {
        return damaged(format!("it is of more than {MOST_RECORDINGS} recordings"));
    }
    let mut fitted: Vec<Fitted> = facts
        .recordings
        .iter()
        .map(|outline| Fitted { outline: outline.clone(), ..Fitted::default() })
        .collect();
    let mut pieces = 0u32;
    let mut steps_left = MOST_STEPS;
    loop {
        let marker = take(input, 4)?;
        if marker == END {
            let rest = take(input, 8)?;
            check_seal(&[marker, rest.clone()].concat(), "the end")?;
            if u32_at(&rest, 0) != pieces {
                return damaged("pieces of it are missing");
            }
            break;
        }
        if marker != PIECE {
            return damaged("neither a piece nor the end begins where one should");
        }
        let rest = take(input, 16)?;
        check_seal(&[marker, rest.clone()].concat(), "a piece's head")?;
        let (raw_bytes, compressed_bytes) = (u32_at(&rest, 0), u32_at(&rest, 4));
        if raw_bytes > PIECE_MOST_RAW_BYTES || compressed_bytes > PIECE_MOST_RAW_BYTES + (1 << 20) {
            return damaged("a piece's length is out of bounds");
        }
        let compressed = take(input, compressed_bytes as usize)?;
        if crc32fast::hash(&compressed) != u32_at(&rest, 8) {
            return damaged("the checksum of a piece does not fit");
        }
        let raw = zstd::bulk::decompress(&compressed, raw_bytes as usize)
            .map_err(|error| Fault::Damaged(format!("a piece does not decompress: {error}")))?;
        if raw.len() != raw_bytes as usize {
            return damaged("a piece has another length than its head states");
        }
        read_sections(&raw, &mut fitted, &mut steps_left)?;
        pieces += 1;
    }
    let mut more = [0];
    match input.read(&mut more) {
        Ok(0) => Ok((facts, fitted)),
        Ok(_) => damaged("bytes stand after its end"),
        Err(error) => Err(Fault::Io(error)),
    }
}

/// Reads only what a model says about itself.
///
/// # Errors
///
/// A damaged head.
pub(super) fn read_head(input: &mut dyn Read) -> Result<Facts, Fault> {
    let mut head = match take(input, 16) {
        Ok(head) if &head[..8] == MAGIC => head,
        Ok(_) | Err(Fault::Damaged(_)) => return Err(Fault::NotAModel),
        Err(other) => return Err(other),
    };
    let version = u32_at(&head, 8);
    if version != FORMAT_VERSION {
        return Err(Fault::Version(version));
    }
    let length = u32_at(&head, 12);
    if length > HEAD_MOST_BYTES {
        return damaged("its head's length is out of bounds");
    }
    head.extend(take(input, length as usize + 4)?);
    check_seal(&head, "its head")?;
    let text =
        std::str::from_utf8(&head[16..head.len() - 4]).map_err(|error| Fault::Damaged(error.to_string()))?;
    toml::from_str(text).map_err(|error| Fault::Damaged(format!("its head is not understood: {error}")))
}

fn read_sections(raw: &[u8], fitted: &mut [Fitted], steps_left: &mut usize) -> Result<(), Fault> {
    let mut bytes = Bytes { raw, at: 0, steps_left };
    while bytes.at < raw.len() {
        let what = bytes.byte()?;
        let number = bytes.number()? as usize;
        let Some(one) = fitted.get_mut(number) else {
            return damaged("a section is of a recording that is not in its head");
        };
        match what {
            0 => one.startup = bytes.part()?,
            1 if one.windows.len() >= WINDOWS => {
                return damaged(format!("it has more than {WINDOWS} windows"));
            }
            1 => one.windows.push(bytes.part()?),
            2 => one.shutdown = bytes.part()?,
            3 => {
                let class = bytes.number()? as usize;
                if class >= SIZE_CLASSES {
                    return damaged("a size class is out of bounds");
                }
                one.lives.resize(one.lives.len().max(SIZE_CLASSES), Lives::default());
                one.lives[class] = bytes.lives()?;
            }
            _ => return damaged(format!("a section of kind {what} has no meaning in this version")),
        }
    }
    Ok(())
}

struct Bytes<'a> {
    raw: &'a [u8],
    at: usize,
    /// How many steps the rest of the model may have.
    steps_left: &'a mut usize,
}

impl Bytes<'_> {
    fn byte(&mut self) -> Result<u8, Fault> {
        let Some(byte) = self.raw.get(self.at) else { return damaged("a section is cut off") };
        self.at += 1;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u64, Fault> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        damaged("a number has more than 64 bits")
    }

    /// A difference, which may be negative, as a number to add.
    fn signed(&mut self) -> Result<u64, Fault> {
        let number = self.number()?;
        Ok((number >> 1) ^ (number & 1).wrapping_neg())
    }

    fn number32(&mut self) -> Result<u32, Fault> {
        u32::try_from(self.number()?).or_else(|_| damaged("a number has more than 32 bits"))
    }

    /// A count of things that take at least a byte each, so that a hostile count allocates no memory.
    fn count(&mut self) -> Result<usize, Fault> {
        let count = self.number()?;
        if count > (self.raw.len() - self.at) as u64 {
            return damaged("a count is larger than its section");
        }
        Ok(count as usize)
    }

    fn part(&mut self) -> Result<Part, Fault> {
        let (number, objects) = (self.number32()?, self.number32()?);
        let (steps, later) = (self.count()?, self.count()?);
        Ok(Part { number, objects, steps: self.steps(steps)?, later: self.steps(later)? })
    }

    fn steps(&mut self, count: usize) -> Result<Vec<Step>, Fault> {
        if count > self.raw.len() - self.at {
            return damaged("a count is larger than its section");
        }
        let Some(left) = self.steps_left.checked_sub(count) else {
            return damaged(format!("it has more than {MOST_STEPS} steps"));
        };
        *self.steps_left = left;
        let mut steps = Vec::with_capacity(count);
        let (mut time_ns, mut thread, mut next) = (0u64, 0, 0u32);
        for _ in 0..count {
            let first = self.byte()?;
            let Some(kind) = Kind::ALL.get(usize::from(first & 15)).copied().filter(|_| first < 128) else {
                return damaged("a step's kind has no meaning in this version");
            };
            if first & OTHER_TIME != 0 {
                time_ns = time_ns.wrapping_add(self.signed()?);
            }
            if first & OTHER_THREAD != 0 {
                thread = self.number32()?;
            }
            let object = match (kind.has_object(), kind.allocates()) {
                (_, true) => {
                    next = next.wrapping_add(1);
                    next.wrapping_sub(1)
                }
                (true, false) => self.number32()?,
                _ => NO_OBJECT,
            };
            let bytes = if kind.has_bytes() { self.number()? } else { 0 };
            let alignment_bits = if kind == Kind::AlignedAlloc { self.byte()? } else { 0 };
            let is_anchored = first & ANCHORED != 0;
            steps.push(Step { time_ns, bytes, object, thread, kind, alignment_bits, is_anchored });
        }
        Ok(steps)
    }

    fn lives(&mut self) -> Result<Lives, Fault> {
        let count = self.count()?;
        if count > LIVES_KEPT {
            return damaged(format!("a size class has more than {LIVES_KEPT} lives"));
        }
        let mut seen = Vec::with_capacity(count);
        let mut lived_ns = 0u64;
        for _ in 0..count {
            let number = self.number()?;
            lived_ns = lived_ns.saturating_add(number / 2);
            seen.push((lived_ns, number % 2 == 1));
        }
        Ok(Lives { seen })
    }
}

fn take(input: &mut dyn Read, length: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    // The buffer grows with what arrives, not with what was promised.
    input.take(length as u64).read_to_end(&mut bytes).map_err(Fault::Io)?;
    if bytes.len() < length { damaged("it was cut off") } else { Ok(bytes) }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The sign in the lowest bit: a small difference is short either way.
fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn seal(out: &mut Vec<u8>) {
    let checksum = crc32fast::hash(out);
    out.extend(checksum.to_le_bytes());
}

fn check_seal(bytes: &[u8], of: &str) -> Result<(), Fault> {
    let (content, checksum) = bytes.split_at(bytes.len() - 4);
    if crc32fast::hash(content) != u32_at(checksum, 0) {
        return damaged(format!("the checksum of {of} does not fit"));
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
