//! One CSV file to which rows are appended, each batch in one write.
//!
//! A batch is written whole or, if the system reports an error, cut off again, so that the rows
//! before it stay valid. A process that is killed during a write can leave a torn last row:
//! [`whole_length`] finds where the whole rows end. For that to work, no cell contains a line end:
//! line ends in a text become spaces.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::ResultsError;

/// The files of rows, in the order in which they are created; `run.toml` comes after them.
pub(super) const FILES: [&str; 7] =
    ["samples.csv", "timeline.csv", "latency.csv", "heapmap.csv", "sizes.csv", "stats.csv", "requests.csv"];

/// An open CSV file at its end.
#[derive(Debug)]
pub(super) struct RowFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole rows, including the header.
    length_bytes: u64,
}

impl RowFile {
    /// Creates the file, with its header and no rows.
    pub(super) fn create(path: PathBuf, columns: &[&str]) -> Result<RowFile, ResultsError> {
        let file =
            OpenOptions::new().append(true).create_new(true).open(&path).map_err(io(&path, "create"))?;
        let mut rows = RowFile { path, file, length_bytes: 0 };
        rows.write(format!("{}\n", columns.join(",")).as_bytes())?;
        Ok(rows)
    }

    /// Opens a file that has these columns, and cuts off a torn last row.
    pub(super) fn open(path: PathBuf, columns: &[&str]) -> Result<RowFile, ResultsError> {
        let mut file =
            OpenOptions::new().read(true).append(true).open(&path).map_err(io(&path, "open for writing"))?;
        let length_bytes = whole_length(&mut file).map_err(io(&path, "read"))?.whole_bytes;
        let header = format!("{}\n", columns.join(","));
        let mut found = vec![0; header.len().min(usize::try_from(length_bytes).unwrap_or(usize::MAX))];
        file.read_exact(&mut found).map_err(io(&path, "read"))?;
        if found != header.as_bytes() {
            return Err(ResultsError::OtherColumns { path });
        }
        let rows = RowFile { path, file, length_bytes };
        rows.file.set_len(length_bytes).map_err(io(&rows.path, "cut off the torn last row of"))?;
        Ok(rows)
    }

    /// Locks the run in `directory` through this file, which is its first and has just been created.
    pub(super) fn lock(&self, directory: &Path) -> Result<RunLock, ResultsError> {
        let file = self.file.try_clone().map_err(io(&self.path, "lock"))?;
        lock_file(file, &self.path, directory)
    }

    /// Appends rows in one write.
    pub(super) fn append<T: Serialize>(&mut self, rows: &[T]) -> Result<(), ResultsError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        for row in rows {
            writer.serialize(row).map_err(|error| self.unwritable(std::io::Error::other(error)))?;
        }
        let text = writer.into_inner().map_err(|error| self.unwritable(error.into_error()))?;
        self.write(&without_inner_line_ends(text))
    }

    fn write(&mut self, text: &[u8]) -> Result<(), ResultsError> {
        match self.file.write_all(text) {
            Ok(()) => {
                self.length_bytes += text.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Part of a row may be in the file. If it cannot be cut off either, the reader
                // finds a torn last row and says so.
                let _ = self.file.set_len(self.length_bytes);
                Err(self.unwritable(error))
            }
        }
    }

    fn unwritable(&self, source: std::io::Error) -> ResultsError {
        ResultsError::Io { path: self.path.clone(), action: "write", source }
    }
}

/// Replaces line ends inside quotes with spaces. A quote in a cell is doubled, so counting quotes
/// tells inside from outside.
fn without_inner_line_ends(mut text: Vec<u8>) -> Vec<u8> {
    let mut quoted = false;
    for byte in &mut text {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if quoted => *byte = b' ',
            _ => {}
        }
    }
    text
}

/// Where the whole rows of a file end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WholeLength {
    /// Bytes up to and including the last line end.
    pub(super) whole_bytes: u64,
    /// Bytes after it: a row torn by an interruption.
    pub(super) torn_bytes: u64,
}

/// Finds the last line end, searching from the end. Leaves the position at the file's start.
pub(super) fn whole_length(file: &mut File) -> std::io::Result<WholeLength> {
    const STEP_BYTES: u64 = 64 * 1024;
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    let mut block = Vec::new();
    let whole_bytes = loop {
        if end == 0 {
            break 0;
        }
        let start = end.saturating_sub(STEP_BYTES);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        (&mut *file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
            break start + at as u64 + 1;
        }
        end = start;
    };
    file.seek(SeekFrom::Start(0))?;
    Ok(WholeLength { whole_bytes, torn_bytes: length - whole_bytes })
}

/// The lock of a run, which is held until this is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct RunLock(File);

impl Drop for RunLock {
    fn drop(&mut self) {
        // Closing alone would not do: a child that another thread forked has the file open, and so the lock, until it
        // executes its program. Where this fails, the lock ends with the last of them.
        let _ = self.0.unlock();
    }
}

/// Locks the run in `directory`, of which nothing is changed. A torn row that another process is writing is not cut off.
pub(super) fn lock_run(directory: &Path) -> Result<RunLock, ResultsError> {
    let path = directory.join(FILES[0]);
    // Some network file systems lock only what can be written.
    let file =
        OpenOptions::new().read(true).write(true).open(&path).map_err(io(&path, "open for writing"))?;
    lock_file(file, &path, directory)
}

fn lock_file(file: File, path: &Path, directory: &Path) -> Result<RunLock, ResultsError> {
    match file.try_lock() {
        Ok(()) => Ok(RunLock(file)),
        Err(TryLockError::WouldBlock) => Err(ResultsError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(path, "lock")(source)),
    }
}

/// Gives an I/O error its path.
pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> ResultsError {
    let path = path.to_owned();
    move |source| ResultsError::Io { path, action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let file = OpenOptions::new().append(true).open("/dev/full").expect("every Linux has it");
        let mut rows = RowFile { path: PathBuf::from("/somewhere/samples.csv"), file, length_bytes: 0 };
        let message = format!("{:#}", anyhow::Error::from(rows.append(&[("a", 1)]).expect_err("no space")));
        assert!(message.starts_with("/somewhere/samples.csv: cannot write: No space left"), "{message}");
    }

    #[test]
    fn a_lock_ends_with_its_owner_though_a_forked_child_still_has_the_file() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let rows = RowFile::create(dir.path().join(FILES[0]), &["a"]).expect("creates");
        let lock = rows.lock(dir.path()).expect("free");
        let inherited = rows.file.try_clone().expect("a second descriptor of the same open file");
        drop(rows);
        assert!(matches!(lock_run(dir.path()), Err(ResultsError::InUse { .. })), "it is locked");
        drop(lock);
        let _lock = lock_run(dir.path()).expect("released");
        drop(inherited);
    }

    #[test]
    fn a_torn_row_is_cut_off_and_rows_go_on_behind_the_whole_ones() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("rows.csv");
        for torn in ["", "3,4", "\"3"] {
            std::fs::write(&path, format!("a,b\n1,2\n{torn}")).expect("writable");
            let mut rows = RowFile::open(path.clone(), &["a", "b"]).expect("opens");
            rows.append(&[(5, 6)]).expect("appends");
            assert_eq!(std::fs::read_to_string(&path).expect("readable"), "a,b\n1,2\n5,6\n");
        }
    }

    #[test]
    fn rows_of_other_columns_are_not_mixed_and_nothing_is_cut_off() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("rows.csv");
        for content in ["a,b\n1,2\n3", "a\n1\n", "", "a,b,c"] {
            std::fs::write(&path, content).expect("writable");
            let error = RowFile::open(path.clone(), &["a", "b", "c"]).expect_err("other columns");
            assert!(error.to_string().contains("rows.csv: its columns are not those"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).expect("readable"), content);
        }
    }

    #[test]
    fn every_row_is_one_line() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("rows.csv");
        let mut rows = RowFile::create(path.clone(), &["a", "b"]).expect("creates");
        rows.append(&[("it said \"no\r\nmore\"", 1), ("x,\n", 2)]).expect("appends");
        let text = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(text, "a,b\n\"it said \"\"no  more\"\"\",1\n\"x, \",2\n");
    }

    #[test]
    fn the_whole_length_is_found_behind_a_long_torn_row() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("rows.csv");
        std::fs::write(&path, format!("a\n{}", "x".repeat(200_000))).expect("writable");
        let found = whole_length(&mut File::open(&path).expect("opens")).expect("readable");
        assert_eq!(found, WholeLength { whole_bytes: 2, torn_bytes: 200_000 });
    }
}
