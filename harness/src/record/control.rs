//! The control page from the command's side: the clock is stored here.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::RecordError;
use super::page::SharedPage;
use crate::users::share;

/// The page, shared with every recorded process.
pub(super) struct Control {
    page: SharedPage,
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
        share(path, 0o666).map_err(failed)?;
        Ok(Control { page: SharedPage::map(&file).map_err(failed)? })
    }

    /// The page.
    pub(super) fn page(&self) -> Result<heaplab_raw::Control<'_>, heaplab_raw::Fault> {
        heaplab_raw::Control::open(self.page.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heaplab_raw::{PAGE_BYTES, State, Tick};

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
