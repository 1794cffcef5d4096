//! A file that appears under its name only when it is complete.
//!
//! Until then it has a temporary name, always the same for the same file: what a killed process left there is replaced
//! by the next one. The writer holds a lock on it, so that two never write to it at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::ResultsError;
use super::row_file::io;

/// Writes a file so that it appears under its name only when it is complete.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), ResultsError> {
    replace_whole(path, |file| file.write_all(content).map_err(io(path, "write")))
}

/// The same for a file of any length, whose content `write` writes.
pub(super) fn replace_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), ResultsError>,
) -> Result<(), ResultsError> {
    let unfinished = unfinished_path(path);
    let mut file = BufWriter::with_capacity(256 * 1024, take(&unfinished).map_err(io(path, "write"))?);
    let finish = |file: &mut BufWriter<File>| file.flush().and_then(|()| fs::rename(&unfinished, path));
    let written = write(&mut file).and_then(|()| finish(&mut file).map_err(io(path, "write")));
    if written.is_err() {
        // The first error counts; if the file cannot be removed either, the next write replaces it.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// The name that a file has until it is complete.
fn unfinished_path(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".writing-");
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Opens the temporary file, empty and locked. It stays locked until it is closed, by which time it has its own name.
fn take(unfinished: &Path) -> io::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o644).open(unfinished)?;
        match file.lock() {
            // Some cluster file systems have no locks; there the user must avoid two reports of one run at the same
            // time.
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            other => other?,
        }
        // The previous holder of the lock may have given this very file its final name.
        let is_there = match fs::symlink_metadata(unfinished) {
            Ok(found) => found.ino() == file.metadata()?.ino(),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if is_there {
            file.set_len(0)?;
            return Ok(file);
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
    fn what_a_killed_process_left_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("report.md");
        fs::write(place.path().join(".writing-report.md"), "half of a report that was longer").unwrap();
        for content in ["first", "2nd"] {
            write_whole(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(names(place.path()), ["report.md"]);
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_file_is_always_one_writer_s() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("report.md");
        let contents: Vec<String> = ["a", "b", "c"].map(|letter| letter.repeat(100_000)).to_vec();
        std::thread::scope(|scope| {
            for content in &contents {
                scope.spawn(|| {
                    for _ in 0..30 {
                        write_whole(&path, content.as_bytes()).unwrap();
                        assert!(contents.contains(&fs::read_to_string(&path).unwrap()), "a mixture");
                    }
                });
            }
        });
        assert_eq!(names(place.path()), ["report.md"]);
    }

    #[test]
    fn what_cannot_be_written_names_the_file_and_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("report.md");
        fs::create_dir(&folder).unwrap();
        let error = write_whole(&folder, b"text").expect_err("a folder is no file");
        assert!(format!("{:#}", anyhow::Error::from(error)).contains("report.md: cannot write"));
        assert_eq!(names(place.path()), ["report.md"]);
    }
}
