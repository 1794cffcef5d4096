//! The directory of a recording in progress: `FILE.hlt.raw`, next to the trace that will be made from it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use heaplab_raw::{ImageId, parse_image_name};

use super::RecordError;
use crate::users::share;

/// The variable that tells the library where the recording is. The library knows its name too.
pub(super) const DIRECTORY_VARIABLE: &str = "HEAPLAB_RECORD_DIR";

/// Every user with access may create files and remove only their own; others cannot list them.
const SHARED_DIRECTORY: u32 = 0o1733;

/// The directory.
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes it for the trace `output`. An existing one contains what an earlier recording left, and is kept.
    pub(super) fn create(output: &Path) -> Result<Directory, RecordError> {
        let mut path = output.as_os_str().to_owned();
        path.push(".raw");
        let path = PathBuf::from(path);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(RecordError::Unfinished { path });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = output.parent().unwrap_or(output).to_path_buf();
                return Err(RecordError::NoDirectory { output: output.to_path_buf(), directory });
            }
            Err(source) => {
                return Err(RecordError::Io { what: "make the recording's directory", path, source });
            }
        }
        share(&path, SHARED_DIRECTORY).map_err(|source| RecordError::Io {
            what: "let others into the recording's directory",
            path: path.clone(),
            source,
        })?;
        // Recorded processes may have another current directory.
        match path.canonicalize() {
            Ok(path) => Ok(Directory { path }),
            Err(source) => {
                Err(RecordError::Io { what: "find the directory that was just made", path, source })
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Free space that its file system has for us; none if it does not report any, as some file systems without a
    /// disk. Then we learn about it when a file cannot grow.
    pub(super) fn left_bytes(&self) -> Option<u64> {
        let stated = rustix::fs::statvfs(&self.path).ok().filter(|stated| stated.f_blocks > 0)?;
        Some(stated.f_bavail.saturating_mul(stated.f_frsize))
    }

    /// The path of a file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The images that have their own file, in the order in which they started.
    pub(super) fn files(&self) -> Result<Vec<ImageId>, RecordError> {
        let failed = |source| RecordError::Io {
            what: "read the recording's directory",
            path: self.path.clone(),
            source,
        };
        let mut images = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let image = entry.file_name().to_str().and_then(parse_image_name);
            // Others may have made a pipe or a link. One that is gone already was no image.
            let is_file = || entry.file_type().is_ok_and(|kind| kind.is_file());
            images.extend(image.filter(|_| is_file()));
        }
        images.sort_by_key(|image| image.ordinal);
        Ok(images)
    }

    /// The path of an image's file.
    pub(super) fn image_file(&self, image: ImageId) -> PathBuf {
        let (name, length) = heaplab_raw::image_name(image);
        self.file(&String::from_utf8_lossy(&name[..length]))
    }

    /// The path of the file of an image's copies.
    pub(super) fn copies_file(&self, image: ImageId) -> PathBuf {
        let (name, length) = heaplab_raw::copies_name(image);
        self.file(&String::from_utf8_lossy(&name[..length]))
    }

    /// Removes it with everything in it.
    pub(super) fn remove(&self) -> Result<(), RecordError> {
        fs::remove_dir_all(&self.path).map_err(|source| RecordError::Io {
            what: "remove the raw files",
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_recording_is_not_touched() {
        let place = tempfile::tempdir().expect("a directory");
        let output = place.path().join("x.hlt");
        let directory = Directory::create(&output).expect("a directory");
        assert!(directory.path().ends_with("x.hlt.raw"));
        for name in ["12-3.raw", "99-0.raw", "control", "12-x.raw"] {
            fs::write(directory.file(name), b"").expect("a file");
        }
        std::os::unix::fs::symlink(directory.file("12-3.raw"), directory.file("12-4.raw")).expect("a link");
        let images: Vec<_> = directory.files().expect("images");
        assert_eq!(images, [ImageId { pid: 99, ordinal: 0 }, ImageId { pid: 12, ordinal: 3 }]);
        assert!(matches!(Directory::create(&output), Err(RecordError::Unfinished { .. })));
        assert!(directory.left_bytes().is_some_and(|left| left > 0), "a disk says what it has left");
        directory.remove().expect("removed");
        assert!(!directory.path().exists());
    }
}
