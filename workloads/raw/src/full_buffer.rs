//! Buffers that are full: told by their threads on the image's first page, copied by the command.
//!
//! A thread that fills a buffer stores where that is at its place, and goes on in another one. The command copies
//! the buffer to the file of copies, makes the buffer zeros, its begin first, and then the place. So a buffer is
//! whole until its copy is, and a thread whose place is not 0 knows that nobody came by yet.
//!
//! ```text
//! a place                  0: none. Else offset in the file | length in pages
//! 64 KiB at 0x5000, full:  10 50 00 00 00 00 00 00
//! ```

use crate::sync::{AtomicU64, Ordering};

use crate::{Image, PAGE_BYTES, PAGE_WORDS};

const AT_NEXT_PLACE: usize = 37;
const AT_FULL: usize = 448;
const PLACES: usize = PAGE_WORDS - AT_FULL;

/// A place of the page where a thread says that a buffer of its own is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

/// A buffer that is full: a chunk of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullBuffer {
    /// Where it begins in the file: a multiple of 4 KiB.
    pub offset: u64,
    /// Its length: a multiple of 4 KiB, less than 16 MiB.
    pub bytes: u64,
}

impl Place {
    /// The place as a number from 1 on, to be kept where 0 is none.
    pub fn number(self) -> u32 {
        self.0 + 1
    }

    /// The place of a number; none of 0 and of what is no number of a place.
    pub fn from_number(number: u32) -> Option<Place> {
        number.checked_sub(1).filter(|&at| (at as usize) < PLACES).map(Place)
    }
}

impl<'a> Image<'a> {
    /// Takes a place for a thread's full buffers; none where all are taken.
    pub fn take_place(&self) -> Option<Place> {
        let at = self.words[AT_NEXT_PLACE].fetch_add(1, Ordering::Relaxed);
        (at < PLACES as u64).then_some(Place(at as u32))
    }

    /// Whether the buffer that was handed over at `place`, if any was, is zeros again.
    pub fn is_free(&self, place: Place) -> bool {
        self.place(place).load(Ordering::Acquire) == 0
    }

    /// Says that a buffer is full; the thread whose place it is, where the place is free.
    pub fn hand_over(&self, place: Place, full: FullBuffer) {
        let page_bytes = PAGE_BYTES as u64;
        self.place(place)
            .store(full.offset & !(page_bytes - 1) | (full.bytes / page_bytes), Ordering::Release);
    }

    /// The buffers that are full.
    pub fn full(&self) -> impl Iterator<Item = (Place, FullBuffer)> + use<'a> {
        let page_bytes = PAGE_BYTES as u64;
        self.words[AT_FULL..].iter().enumerate().filter_map(move |(at, word)| {
            let word = word.load(Ordering::Acquire);
            let full = FullBuffer {
                offset: word & !(page_bytes - 1),
                bytes: (word & (page_bytes - 1)) * page_bytes,
            };
            (word != 0).then_some((Place(at as u32), full))
        })
    }

    /// Says that the buffer of `place` was copied, and is zeros: the command.
    pub fn set_free(&self, place: Place) {
        self.place(place).store(0, Ordering::Release);
    }

    fn place(&self, place: Place) -> &'a AtomicU64 {
        &self.words[AT_FULL + place.0 as usize % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageHead, Text};
    use std::vec::Vec;

    #[test]
    fn a_full_buffer_is_as_drawn_until_it_is_copied() {
        let words: [AtomicU64; PAGE_WORDS] = core::array::from_fn(|_| AtomicU64::new(0));
        let image = Image::publish(&words, &ImageHead::default(), &[(Text::Command, &[1; 5000])]);
        assert_eq!(image.full().count(), 0, "a long command line does not reach there");
        let places: Vec<Place> = core::iter::from_fn(|| image.take_place()).collect();
        assert_eq!(places.len(), PLACES);
        let (place, full) = (places[1], FullBuffer { offset: 0x5000, bytes: 64 << 10 });
        assert!(image.is_free(place));
        image.hand_over(place, full);
        assert_eq!(words[AT_FULL + 1].load(Ordering::Relaxed).to_le_bytes(), [0x10, 0x50, 0, 0, 0, 0, 0, 0]);
        assert_eq!(image.full().collect::<Vec<_>>(), [(place, full)]);
        assert!(!image.is_free(place) && image.is_free(places[0]));
        image.set_free(place);
        assert!(image.is_free(place) && image.full().count() == 0);
        assert_eq!(Place::from_number(place.number()), Some(place));
        assert_eq!([0, 65, u32::MAX].map(Place::from_number), [None; 3]);
    }
}
