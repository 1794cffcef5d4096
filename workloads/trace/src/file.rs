//! A trace as a file that appears under its name only when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::writer::{SourceCounts, TraceWriter};
use crate::{Header, Record, Summary, TraceError};

/// Writes a trace to a file.
///
/// Until [`finish`](TraceFile::finish) the file has a temporary name beside its own; one that is
/// dropped before is removed. An older file of the name stays until the new one is complete.
pub struct TraceFile {
    writer: TraceWriter<BufWriter<File>>,
    temporary: Temporary,
    path: PathBuf,
}

impl TraceFile {
    /// Begins the trace that will be at `path`.
    pub fn create(path: &Path, header: &Header) -> Result<TraceFile, TraceError> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(TraceError::NotReplaceable { path: path.to_path_buf() });
        }
        let (temporary, file) = Temporary::create(path).map_err(|source| match path.parent() {
            Some(directory) if source.kind() == io::ErrorKind::NotFound => {
                TraceError::NoDirectory { path: path.to_path_buf(), directory: directory.to_path_buf() }
            }
            _ => TraceError::Io { path: path.to_path_buf(), doing: "create", source },
        })?;
        let writer = TraceWriter::with_path(BufWriter::with_capacity(1 << 16, file), header, path)?;
        Ok(TraceFile { writer, temporary, path: path.to_path_buf() })
    }

    /// See [`TraceWriter::push`].
    pub fn push(&mut self, record: &Record) -> Result<(), TraceError> {
        self.writer.push(record)
    }

    /// See [`TraceWriter::set_source_counts`].
    pub fn set_source_counts(&mut self, counts: SourceCounts) {
        self.writer.set_source_counts(counts);
    }

    /// See [`TraceWriter::summary`].
    pub fn summary(&self) -> Summary {
        self.writer.summary()
    }

    /// Completes the trace, has it stored, and gives it its name.
    pub fn finish(self) -> Result<Summary, TraceError> {
        let (summary, output) = self.writer.close()?;
        let fail = |source| TraceError::Io { path: self.path.clone(), doing: "complete", source };
        let file = output.into_inner().map_err(|error| fail(error.into_error()))?;
        // The name must never stand for bytes that a crash of the machine could still lose.
        file.sync_all().map_err(fail)?;
        self.temporary.rename_to(&self.path).map_err(fail)?;
        Ok(summary)
    }
}

/// A file under a temporary name; removed when dropped, unless it was renamed.
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    /// Creates one in the directory of `target`, because only there a rename is one step.
    fn create(target: &Path) -> io::Result<(Temporary, File)> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = target.file_name().ok_or_else(|| io::Error::other("the name of a file is missing"))?;
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}-{serial}.partial", std::process::id()));
            let path = target.with_file_name(hidden);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Temporary { path, renamed: false }, file)),
                // Left behind by a process of the same number that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
        }
    }

    fn rename_to(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing can be reported from here; a file that cannot be removed is seen by its name.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_name_appears_only_when_the_trace_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.hlt");
        fs::write(&path, "older").unwrap();
        let file = TraceFile::create(&path, &Header::default()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"older");
        file.finish().unwrap();
        assert_eq!(names(directory.path()), ["a.hlt"]);
        assert_eq!(crate::verify(&path).unwrap().truncation, None);
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(TraceFile::create(&directory.path().join("a.hlt"), &Header::default()).unwrap());
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn a_directory_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let error = TraceFile::create(directory.path(), &Header::default()).err().unwrap();
        assert!(
            error.to_string().ends_with("exists and is not a regular file: name another output"),
            "{error}"
        );
    }
}
