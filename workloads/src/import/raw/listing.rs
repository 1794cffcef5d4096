//! Which images a file of the recording holds, where their first pages are, and which processes they are of.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use heaplab_raw::{Image, ImageId};

use super::{index, regular};

/// Where an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// The first image of the file that it is in.
    pub(super) first: ImageId,
    /// Where its first page is in that file.
    pub(super) offset: u64,
    /// The PID of its process where the command ran, if its page says so.
    pub(super) host_process: Option<u32>,
}

/// The images in the file at `path`, which the image `first` started: itself, whatever its page says, and those that
/// the page lists as forked.
pub(super) fn list(path: &Path, first: ImageId) -> io::Result<Vec<(ImageId, Listed)>> {
    let file = regular::open(path)?;
    let page = index::read_page(&file)?;
    let head = Image::open(&page).ok();
    let host_process = head.filter(|head| head.head().id == first).and_then(|head| head.host_process());
    let mut found = Vec::new();
    let mut next = head.and_then(|head| head.last_image());
    // A damaged list may be a ring.
    let mut walked = BTreeSet::new();
    while let Some(offset) = next.filter(|offset| walked.insert(*offset)) {
        let page = index::read_page_at(&file, offset)?;
        let image = Image::open(&page).ok();
        found.extend(image.map(|image| {
            let host_process = image.host_process();
            (image.head().id, Listed { first, offset, host_process })
        }));
        next = image.and_then(|image| image.image_before());
    }
    found.push((first, Listed { first, offset: 0, host_process }));
    Ok(found)
}
