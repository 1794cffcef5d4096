//! The control page from the command's side: the clock is stored here.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use heaplab_raw::{PAGE_BYTES, PAGE_WORDS};
use memmap2::{MmapOptions, MmapRaw};

use super::RecordError;

/// The page, shared with every recorded process.
pub(super) struct Control {
    mapping: MmapRaw,
}

impl Control {
    /// Makes the file and maps it.
    pub(super) fn create(path: &Path, follow_forks: bool) -> Result<Control, RecordError> {
        let failed = |source| RecordError::Io { what: "make the control page", path: path.into(), source };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_clock_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let words = heaplab_raw::Control::new_page(follow_forks, wall_clock_ns);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut file =
            OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
        let mapping = MmapOptions::new().len(PAGE_BYTES).map_raw(&file).map_err(failed)?;
        Ok(Control { mapping })
    }

    /// The page.
    pub(super) fn page(&self) -> Result<heaplab_raw::Control<'_>, heaplab_raw::Fault> {
        // SAFETY: a mapping of a page's length that lives as long as self. Both sides read and write it
        // by atomic operations alone, and the file is not made shorter.
        let words = unsafe { &*self.mapping.as_mut_ptr().cast::<[AtomicU64; PAGE_WORDS]>() };
        heaplab_raw::Control::open(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heaplab_raw::{State, Tick};

    #[test]
    fn what_is_stored_is_in_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("control");
        let control = Control::create(&path, true).expect("a page");
        control.page().expect("a page").set_tick(Tick::new(1500, State::Recording));
        let file = std::fs::read(&path).expect("a file");
        assert_eq!(file.len(), PAGE_BYTES);
        assert_eq!(file[16..24], [2, 0xdc, 5, 0, 0, 0, 0, 0]);
        assert!(Control::create(&path, true).is_err(), "never over another recording's page");
    }
}
