//! Where the processes of a program report which malloc serves them: files in a directory that is always removed, by a
//! watcher if heaplab is killed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::group::{Watcher, wait_for_heaplab};
use crate::users::share;

/// The hidden command that runs the watcher of such a directory; the directory's path follows.
pub const WATCH_REPORTS_COMMAND: &str = "watch-reports";

/// A directory of reports.
#[derive(Debug)]
pub struct ReportDirectory {
    directory: TempDir,
    /// Ends after the directory is removed: fields are dropped in order.
    _watcher: Watcher,
}

impl ReportDirectory {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// It cannot be made, or its watcher cannot be started.
    pub fn create() -> io::Result<ReportDirectory> {
        let directory = tempfile::Builder::new().prefix("heaplab-").tempdir()?;
        share(directory.path(), 0o711)?;
        let watcher = Watcher::start(WATCH_REPORTS_COMMAND, directory.path())?;
        Ok(ReportDirectory { directory, _watcher: watcher })
    }

    /// Makes a file in which the program's processes report, including those that have switched to another user.
    ///
    /// # Errors
    ///
    /// With the path.
    pub fn create_file(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.directory.path().join(name);
        let made = File::create(&path).and_then(|_| share(&path, 0o622));
        made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(path)
    }
}

/// Runs the process of the watcher.
///
/// # Errors
///
/// The pipe cannot be read, or the directory not be removed.
pub fn watch_reports(directory: &Path) -> io::Result<()> {
    wait_for_heaplab()?;
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
