//! What distinguishes a file from itself after it was changed or replaced, without reading its contents.
//!
//! A path says nothing about that: a rebuild and a package upgrade put a different file in the same place.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A file as it was at one moment: which one it is, its size, and when it was last written to and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    written: (i64, i64),
    // A copy may keep the time of writing, and overwrite a file in its place; no program can set this time.
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of the file to which a path leads.
    ///
    /// # Errors
    ///
    /// The path leads to no file.
    pub fn read(path: &Path) -> io::Result<Stamp> {
        std::fs::metadata(path).map(|file| Stamp::of(&file))
    }

    pub(crate) fn of(file: &Metadata) -> Stamp {
        Stamp {
            device: file.dev(),
            inode: file.ino(),
            size_bytes: file.size(),
            written: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};

    use super::*;

    #[test]
    fn a_file_that_was_written_or_replaced_has_another_stamp() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("library.so");
        fs::write(&path, "one build").expect("a file");
        let stamp = Stamp::read(&path).expect("a file");
        assert_eq!(Stamp::read(&path).expect("a file"), stamp);
        let written = fs::metadata(&path).expect("a file").modified().expect("a time");
        // As `cp --preserve` does, with contents of the same length.
        let keep_time = |path: &Path| {
            let file = File::options().write(true).open(path).expect("a file");
            file.set_times(FileTimes::new().set_modified(written)).expect("its times are set");
        };
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&path, "two build").expect("a file");
        keep_time(&path);
        let overwritten = Stamp::read(&path).expect("a file");
        assert_ne!(overwritten, stamp);
        let other = directory.path().join("other.so");
        fs::write(&other, "two build").expect("a file");
        keep_time(&other);
        fs::rename(&other, &path).expect("it takes the place");
        assert_ne!(Stamp::read(&path).expect("a file"), overwritten);
        fs::remove_file(&path).expect("it goes");
        assert!(Stamp::read(&path).is_err());
    }
}
