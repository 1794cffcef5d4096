//! An image's file as a region that is mapped ahead: what is carved from it, and how much room it has.
//!
//! Whoever needs a part of the file carves it by one atomic operation, below the room that the command has made: the
//! process needs no right and no descriptor for it, and nothing that it does there can fail. The first image of a file
//! keeps these words for all of them.

use crate::sync::Ordering;

use crate::Image;
use crate::image::AT_NEXT_OFFSET;

const AT_ROOM: usize = 38;
const AT_SHORTAGE: usize = 39;
const AT_NEXT_COPY: usize = 41;
const AT_LAST_IMAGE: usize = 42;
const AT_IMAGE_BEFORE: usize = 43;

impl Image<'_> {
    /// Carves `bytes` (a multiple of 4 KiB) from the file of which this is the first image, of which the process has
    /// mapped so many; gives their offset. None where there is no room.
    pub fn carve(&self, bytes: u64, mapped_bytes: u64) -> Option<u64> {
        let next = &self.words[AT_NEXT_OFFSET];
        let mut offset = next.load(Ordering::Relaxed);
        loop {
            let end = offset.checked_add(bytes)?;
            if end > self.room().min(mapped_bytes) {
                return None;
            }
            match next.compare_exchange_weak(offset, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(offset),
                Err(found) => offset = found,
            }
        }
    }

    /// Where the next chunk of the file will be.
    pub fn next_offset(&self) -> u64 {
        self.word(AT_NEXT_OFFSET)
    }

    /// Bytes of the file that can be written to.
    pub fn room(&self) -> u64 {
        self.words[AT_ROOM].load(Ordering::Acquire)
    }

    /// Says that so many bytes of the file can be written to; never fewer than before.
    pub fn make_room(&self, bytes: u64) {
        self.words[AT_ROOM].fetch_max(bytes, Ordering::Release);
    }

    /// Why no more room can be made, as errno; none as long as it can.
    pub fn shortage(&self) -> Option<i32> {
        match self.word(AT_SHORTAGE) as i32 {
            0 => None,
            errno => Some(errno),
        }
    }

    /// Says why no more room can be made.
    pub fn set_shortage(&self, errno: i32) {
        self.words[AT_SHORTAGE].store(u64::from(errno as u32), Ordering::Relaxed);
    }

    /// Takes `bytes` of the file of copies; gives their offset.
    pub fn take_copy(&self, bytes: u64) -> u64 {
        self.words[AT_NEXT_COPY].fetch_add(bytes, Ordering::Relaxed)
    }

    /// Length of the file of copies.
    pub fn copied_bytes(&self) -> u64 {
        self.word(AT_NEXT_COPY)
    }

    /// Takes a forked image, whose page is at `offset`, into the list of those in this file.
    pub fn link(&self, image: Image<'_>, offset: u64) {
        let last = &self.words[AT_LAST_IMAGE];
        let mut before = last.load(Ordering::Relaxed);
        loop {
            image.words[AT_IMAGE_BEFORE].store(before, Ordering::Relaxed);
            match last.compare_exchange_weak(before, offset, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(found) => before = found,
            }
        }
    }

    /// Offset of the page of the last forked image of this file; none if there is none.
    pub fn last_image(&self) -> Option<u64> {
        Some(self.words[AT_LAST_IMAGE].load(Ordering::Acquire)).filter(|offset| *offset != 0)
    }

    /// Offset of the page of the forked image before this one; none if it was the first.
    pub fn image_before(&self) -> Option<u64> {
        Some(self.word(AT_IMAGE_BEFORE)).filter(|offset| *offset != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageHead, ImageId, PAGE_WORDS, Text};
    use core::sync::atomic::AtomicU64;
    use std::vec::Vec;

    fn zeros() -> [AtomicU64; PAGE_WORDS] {
        [0; PAGE_WORDS].map(AtomicU64::new)
    }

    #[test]
    fn what_is_carved_lies_in_the_room() {
        let page = zeros();
        let image = Image::publish(&page, &ImageHead::default(), &[]);
        assert_eq!(image.carve(4096, u64::MAX), None, "no room was made yet");
        image.make_room(40_960);
        image.make_room(8192);
        assert_eq!((image.room(), image.next_offset()), (40_960, 4096));
        assert_eq!(
            (image.carve(16 << 10, u64::MAX), image.carve(16 << 10, 36_864)),
            (Some(4096), Some(20_480))
        );
        assert_eq!(image.carve(4096, 36_864), None, "there is room, and it is not mapped");
        let all = u64::MAX;
        assert_eq!((image.carve(8192, all), image.carve(4096, all)), (None, Some(36_864)), "a part may fit");
        assert_eq!(image.carve(all, all), None);
        assert_eq!((image.shortage(), image.take_copy(100), image.take_copy(1)), (None, 0, 100));
        image.set_shortage(28);
        assert_eq!((image.shortage(), image.copied_bytes()), (Some(28), 101));
    }

    #[test]
    fn forked_images_are_found_from_the_last_to_the_first() {
        let (page, forked) = (zeros(), [zeros(), zeros()]);
        let texts: [(Text, &[u8]); 1] = [(Text::Program, b"/usr/sbin/server")];
        let first = Image::publish(&page, &ImageHead::default(), &texts);
        assert_eq!(first.last_image(), None);
        let children: Vec<Image<'_>> = [1, 2]
            .into_iter()
            .zip(&forked)
            .map(|(ordinal, words)| {
                let head = ImageHead { id: ImageId { pid: 9, ordinal }, ..ImageHead::default() };
                let child = Image::publish_fork(words, &head, first);
                first.link(child, u64::from(ordinal) * 4096);
                child
            })
            .collect();
        assert_eq!(first.last_image(), Some(8192));
        assert_eq!((children[1].image_before(), children[0].image_before()), (Some(4096), None));
        let program: Vec<u8> = children[1].text(Text::Program).collect();
        assert_eq!(program, b"/usr/sbin/server", "a fork runs the same program");
        assert_eq!(children[1].head().id, ImageId { pid: 9, ordinal: 2 });
        children[0].set_host_process(77);
        assert_eq!(children.iter().map(|child| child.host_process()).collect::<Vec<_>>(), [Some(77), None]);
    }
}
