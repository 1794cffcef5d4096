//! A raw recording's pages, which recorded threads, forked children and the command share.
//!
//! The words and the operations on them are the product's; the parts of the file that they refer to are
//! loom's cells, so that two uses of one part at once are found. Processes are threads here: the memory is
//! the same.

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::full_buffer::{FullBuffer, Place};
use crate::image::{Image, ImageHead, ImageId};
use crate::sync::AtomicU64;
use crate::{PAGE_BYTES, PAGE_WORDS};

const PAGE: u64 = PAGE_BYTES as u64;

/// A page of an image's head, made before it is shared. Boxed: a model's threads have small stacks.
struct Page(Box<[AtomicU64; PAGE_WORDS]>);

impl Page {
    fn zeros() -> Page {
        let words: Vec<AtomicU64> = (0..PAGE_WORDS).map(|_| AtomicU64::new(0)).collect();
        Page(words.into_boxed_slice().try_into().ok().expect("as many as a page has"))
    }

    fn image(&self) -> Image<'_> {
        Image::open(&self.0).expect("it was published")
    }

    fn publish(&self, pid: u32) -> Image<'_> {
        Image::publish(&self.0, &ImageHead { id: ImageId { pid, ordinal: pid }, ..ImageHead::default() }, &[])
    }
}

/// Two buffers of a thread, or other parts of the file: as many as two that extend it can make.
struct Parts([UnsafeCell<u32>; 4]);

// SAFETY: a part is used by the thread that the page names; loom reports if two use it.
unsafe impl Sync for Parts {}
// SAFETY: as above.
unsafe impl Send for Parts {}

impl Parts {
    fn zeros() -> Parts {
        Parts([0; 4].map(UnsafeCell::new))
    }

    fn replace(&self, at: usize, content: u32) -> u32 {
        // SAFETY: the page's words say that the part is the caller's.
        self.0[at].with_mut(|part| unsafe { std::mem::replace(&mut *part, content) })
    }
}

/// A thread fills its two buffers in turns and hands each over; the command copies what is full and empties
/// it. Each content is copied once and in order, and a buffer is empty when it is filled again.
pub(crate) fn full_buffers() {
    let shared = Arc::new((Page::zeros(), Parts::zeros()));
    let place = shared.0.publish(1).take_place().expect("a place");
    let recorded = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || fill_and_hand_over(&shared.0, &shared.1, place))
    };
    let command = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let mut copied = Vec::new();
            collect(&shared.0, &shared.1, &mut copied);
            collect(&shared.0, &shared.1, &mut copied);
            copied
        })
    };
    let kept = recorded.join().expect("it ends");
    let mut copied = command.join().expect("it ends");
    collect(&shared.0, &shared.1, &mut copied);
    assert!(copied.is_sorted(), "{copied:?}");
    copied.extend(kept);
    copied.sort_unstable();
    assert_eq!(copied, (1..=FILLS).collect::<Vec<_>>());
}

const FILLS: u32 = 3;

/// What a thread does with its buffers. It keeps what it could not hand over, and copies that itself.
fn fill_and_hand_over(page: &Page, buffers: &Parts, place: Place) -> Vec<u32> {
    let (mut at, mut kept) = (0, Vec::new());
    for fill in 1..=FILLS {
        assert_eq!(buffers.replace(at, fill), 0, "the buffer is empty");
        if page.image().is_free(place) {
            page.image().hand_over(place, FullBuffer { offset: (at as u64 + 1) * PAGE, bytes: PAGE });
            at = 1 - at;
        } else {
            kept.push(buffers.replace(at, 0));
        }
    }
    kept
}

/// What the command does on each round.
fn collect(page: &Page, buffers: &Parts, copied: &mut Vec<u32>) {
    let full: Vec<(Place, FullBuffer)> = page.image().full().collect();
    for (place, full) in full {
        assert_eq!(full.bytes, PAGE);
        copied.push(buffers.replace((full.offset / PAGE) as usize - 1, 0));
        page.image().set_free(place);
    }
}

/// A file as those who extend it see it: its length, which only grows, and its parts. Where a file system reserves
/// nothing, a part is added by appending zeros, which the kernel places at the end that the file then has.
struct Extended {
    page: Page,
    parts: Parts,
    length: Mutex<u64>,
}

impl Extended {
    fn append(&self) {
        let mut length = self.length.lock().expect("nobody panics");
        assert_eq!(self.parts.replace((*length / PAGE) as usize, 1), 0, "a part is made once");
        *length += PAGE;
    }

    /// What the command and a thread do: extend the file to `to`, and say so.
    fn extend(&self, to: u64) {
        while *self.length.lock().expect("nobody panics") < to {
            self.append();
        }
        self.page.image().make_room(to + PAGE);
    }

    fn carve(&self) -> Option<u64> {
        let offset = self.page.image().carve(PAGE, u64::MAX)?;
        let found = self.parts.replace((offset / PAGE) as usize - 1, 2);
        assert_eq!(found, 1, "the part is there, and nobody's");
        Some(offset)
    }
}

/// Two threads carve their parts of the file, and extend it where they find no room, while the command makes room: no
/// part is carved twice, none before it exists, and none is made again once it was carved.
pub(crate) fn room() {
    let file = Extended { page: Page::zeros(), parts: Parts::zeros(), length: Mutex::new(0) };
    file.page.publish(1);
    let shared = Arc::new(file);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.carve().or_else(|| {
                    shared.extend(shared.page.image().next_offset());
                    shared.carve()
                })
            })
        })
        .collect();
    shared.extend(PAGE);
    let carved: Vec<u64> = threads.into_iter().filter_map(|thread| thread.join().expect("it ends")).collect();
    let missing = 2 - carved.len();
    shared.extend(2 * PAGE);
    let rest: Vec<u64> = (0..missing).filter_map(|_| shared.carve()).collect();
    assert_eq!(carved.len() + rest.len(), 2, "what did not fit before does now");
    assert_eq!(shared.carve(), None);
}

/// Two forked children write their heads and join the list of images; the command, whenever it walks the
/// list, finds whole heads, and both of them at the end. A head is a cell here: its 500 words would be 500
/// places to switch threads.
pub(crate) fn forked_images() {
    let shared = Arc::new((Page::zeros(), [Page::zeros(), Page::zeros()], Parts::zeros()));
    let first = shared.0.publish(1);
    for (child, pid) in shared.1.iter().zip(2..) {
        child.publish(pid);
    }
    let children: Vec<_> = (0..2)
        .map(|at| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.2.replace(at, 1);
                shared.0.image().link(shared.1[at].image(), (at as u64 + 1) * PAGE);
            })
        })
        .collect();
    let walk = || {
        let mut found = Vec::new();
        let mut next = first.last_image();
        while let Some(offset) = next {
            let at = (offset / PAGE) as usize - 1;
            // SAFETY: the child wrote it before it joined the list, and has left it alone since; loom reports
            // otherwise.
            assert_eq!(shared.2.0[at].with(|head| unsafe { *head }), 1, "a whole head");
            found.push(offset / PAGE);
            next = shared.1[at].image().image_before();
        }
        found
    };
    assert!(walk().len() <= 2);
    for child in children {
        child.join().expect("it ends");
    }
    let mut found = walk();
    found.sort_unstable();
    assert_eq!(found, [1, 2]);
}
