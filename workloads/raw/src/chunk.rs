//! The head of a chunk: whose records these are, and from where on they count.
//!
//! A chunk decodes alone: its head has the tick and the address that the first record's differences are to.
//! It is written once, before the first record; the checksum word last.
//!
//! ```text
//! word  0  magic              "HLRCHNK\n"
//!       1  version u32, length u32     length in bytes, head included; a multiple of 4 KiB
//!       2  pid u32, ordinal u32        of the image
//!       3  thread u32, tid u32         ordinal of the thread in the image from 0; the kernel's identifier
//!       4  sequence u32, 0 u32         how many chunks the thread had before
//!       5  tick                        the word of the control page
//!       6  last address                0 in a thread's first chunk
//!       7  checksum                    of words 0 to 6, see `checksum`
//! ```
//!
//! After the head stand records until a zero byte where a record would begin, or the end of the chunk.

use crate::image::ImageId;
use crate::{Fault, PAGE_BYTES, RAW_VERSION, Tick};

/// Bytes of a chunk's head; the records begin there.
pub const CHUNK_HEAD_BYTES: usize = 64;
/// Words of a chunk's head.
pub const CHUNK_HEAD_WORDS: usize = CHUNK_HEAD_BYTES / 8;
/// Length of a chunk.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Length of a thread's first chunk: a program of hundreds of idle threads stays small.
pub const FIRST_CHUNK_BYTES: usize = 16 << 10;

const MAGIC: u64 = u64::from_le_bytes(*b"HLRCHNK\n");
const CHUNK_MOST_BYTES: u32 = 1 << 30;

/// What stands at the head of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHead {
    /// The image that it belongs to.
    pub image: ImageId,
    /// Length in bytes, this head included.
    pub bytes: u32,
    /// Ordinal of the thread in the image, from 0 in the order in which threads first record.
    pub thread: u32,
    /// The kernel's identifier of the thread.
    pub tid: u32,
    /// How many chunks the thread had before.
    pub sequence: u32,
    /// The tick that the records begin at.
    pub tick: Tick,
    /// The address that the first record's difference is to.
    pub last_address: u64,
}

impl ChunkHead {
    /// The head as words.
    pub fn to_words(&self) -> [u64; CHUNK_HEAD_WORDS] {
        let mut words = [
            MAGIC,
            pair(RAW_VERSION, self.bytes),
            pair(self.image.pid, self.image.ordinal),
            pair(self.thread, self.tid),
            pair(self.sequence, 0),
            self.tick.0,
            self.last_address,
            0,
        ];
        words[7] = checksum(&words[..7]);
        words
    }

    /// Reads a head; `Fault::Magic` where none was written.
    pub fn from_words(words: &[u64; CHUNK_HEAD_WORDS]) -> Result<ChunkHead, Fault> {
        if words[0] != MAGIC {
            return Err(Fault::Magic { of: "the mark of a chunk" });
        }
        if words[1] as u32 != RAW_VERSION {
            return Err(Fault::Version { of: "the chunk", found: words[1] as u32 });
        }
        if words[7] != checksum(&words[..7]) {
            return Err(Fault::Checksum { of: "the chunk's head" });
        }
        let bytes = (words[1] >> 32) as u32;
        if bytes == 0 || bytes > CHUNK_MOST_BYTES || !(bytes as usize).is_multiple_of(PAGE_BYTES) {
            return Err(Fault::Value { what: "the chunk's length", found: u64::from(bytes) });
        }
        Ok(ChunkHead {
            image: ImageId { pid: words[2] as u32, ordinal: (words[2] >> 32) as u32 },
            bytes,
            thread: words[3] as u32,
            tid: (words[3] >> 32) as u32,
            sequence: words[4] as u32,
            tick: Tick(words[5]),
            last_address: words[6],
        })
    }
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// Of words: each is added, multiplied by the odd number nearest to 2^64 over the golden ratio, and turned.
/// It tells a head from zeros, from half a head and from other content; it is no proof against malice.
pub fn checksum(words: &[u64]) -> u64 {
    words.iter().fold(words.len() as u64, |sum, word| {
        (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use proptest::prelude::*;

    fn head() -> ChunkHead {
        ChunkHead {
            image: ImageId { pid: 4211, ordinal: 1 },
            bytes: CHUNK_BYTES as u32,
            thread: 3,
            tid: 4214,
            sequence: 9,
            tick: Tick::new(5_000_000, State::Recording),
            last_address: 0x7f00_1234_5670,
        }
    }

    #[test]
    fn a_head_comes_back() {
        assert_eq!(ChunkHead::from_words(&head().to_words()), Ok(head()));
    }

    #[test]
    fn a_page_of_zeros_and_a_length_of_no_chunk_are_refused() {
        assert!(matches!(ChunkHead::from_words(&[0; CHUNK_HEAD_WORDS]), Err(Fault::Magic { .. })));
        let odd = ChunkHead { bytes: 100, ..head() };
        assert!(matches!(ChunkHead::from_words(&odd.to_words()), Err(Fault::Value { found: 100, .. })));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_found(word in 0..CHUNK_HEAD_WORDS, bit in 0..64u32) {
            let mut words = head().to_words();
            words[word] ^= 1 << bit;
            prop_assert!(ChunkHead::from_words(&words).is_err());
        }
    }
}
