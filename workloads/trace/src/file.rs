//! A trace as a file that appears under its name only when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};

use crate::writer::{SourceCounts, TraceWriter};
use crate::{Header, Record, Summary, TraceError};

/// Writes a trace to a file.
///
/// Until [`finish`](TraceFile::finish) the file has no name, so that it goes however the process ends. Where the file
/// system has no such files, it has a temporary name beside its own, and one that is dropped is removed. An older file of
/// the name stays until the new one is complete.
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
        self.temporary.name(&file, &self.path).map_err(fail)?;
        Ok(summary)
    }
}

/// A file that has not got its name yet.
enum Temporary {
    /// It has none at all.
    Nameless,
    /// It has a temporary one.
    Named(Hidden),
}

impl Temporary {
    /// Creates one in the directory of `target`, because only there a rename is one step.
    fn create(target: &Path) -> io::Result<(Temporary, File)> {
        let directory = match target.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        // A name that cannot be used is reported now, and not when the trace is whole.
        match fs::symlink_metadata(hidden_path(target, u32::MAX)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        // It gets its name by way of this directory.
        if Path::new("/proc/self/fd").exists()
            && let Ok(file) = rustix::fs::open(directory, flags, Mode::from_raw_mode(0o666))
        {
            return Ok((Temporary::Nameless, File::from(file)));
        }
        // NOTE: whatever the reason: file systems without such files give several, and a true one comes again.
        let (hidden, file) =
            Hidden::take(target, |path| OpenOptions::new().write(true).create_new(true).open(path))?;
        Ok((Temporary::Named(hidden), file))
    }

    /// Gives `file` the name `target`, in place of whatever file has it.
    fn name(self, file: &File, target: &Path) -> io::Result<()> {
        let hidden = match self {
            Temporary::Named(hidden) => hidden,
            // A link cannot replace a file, a rename can.
            Temporary::Nameless => {
                let open = format!("/proc/self/fd/{}", file.as_raw_fd());
                let link = |path: &Path| Ok(linkat(CWD, &open, CWD, path, AtFlags::SYMLINK_FOLLOW)?);
                Hidden::take(target, link)?.0
            }
        };
        hidden.rename_to(target)
    }
}

/// A temporary name; removed when dropped, unless it was renamed.
struct Hidden {
    path: PathBuf,
    renamed: bool,
}

impl Hidden {
    /// Has `make` make a file under a temporary name beside `target` that no other file has.
    fn take<T>(target: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(Hidden, T)> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        loop {
            let path = hidden_path(target, SERIAL.fetch_add(1, Ordering::Relaxed))?;
            match make(&path) {
                Ok(made) => return Ok((Hidden { path, renamed: false }, made)),
                // Left by a process of the same number that was killed.
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

/// A temporary name beside `target`.
fn hidden_path(target: &Path, serial: u32) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| io::Error::other("the name of a file is missing"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{serial}.partial", std::process::id()));
    Ok(target.with_file_name(hidden))
}

impl Drop for Hidden {
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
        assert_eq!(
            names(directory.path()),
            ["a.hlt"],
            "what is incomplete has no name that a killed process could leave"
        );
        file.finish().unwrap();
        assert_eq!(names(directory.path()), ["a.hlt"]);
        assert_eq!(crate::verify(&path).unwrap().truncation, None);
    }

    #[test]
    fn a_file_system_without_nameless_files_has_a_temporary_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.hlt");
        let make = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
        let (hidden, file) = Hidden::take(&path, make).unwrap();
        let (dropped, _) = Hidden::take(&path, make).unwrap();
        assert_eq!(names(directory.path()).len(), 2);
        drop(dropped);
        Temporary::Named(hidden).name(&file, &path).unwrap();
        assert_eq!(names(directory.path()), ["a.hlt"]);
    }

    #[test]
    fn a_name_that_cannot_be_had_is_told_before_anything_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(format!("{}.hlt", "x".repeat(245)));
        assert!(TraceFile::create(&path, &Header::default()).is_err());
        assert!(names(directory.path()).is_empty());
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
