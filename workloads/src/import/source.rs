//! The file that a log is in, and the container around it: plain, gzip, zstd, or zip with one member.
//!
//! The container is recognised by the file's first bytes, never by its name. Content is streamed. A
//! compressed file that was cut off is read up to the cut. A zip file has its directory at its end, so it
//! must be complete.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use zip::ZipArchive;

use super::ImportError;
use super::members::{Compression, Members};

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const ZIP: &[u8] = b"PK\x03\x04";
const ZIP_EMPTY: &[u8] = b"PK\x05\x06";
const TRACE: &[u8] = b"\x89HLT\r\n\x1a\n";

/// An open log file.
pub(super) struct Source {
    file: Counted,
    path: PathBuf,
    total_bytes: u64,
    /// Whether the content ended because a compressed file was cut off.
    cut_off: Rc<Cell<bool>>,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Source, ImportError> {
        let fail = |source| ImportError::Io { path: path.to_path_buf(), doing: "open", source };
        let file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_dir() {
            return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let file = Counted { file, read_bytes: Rc::new(Cell::new(0)) };
        Ok(Source {
            file,
            path: path.to_path_buf(),
            total_bytes: metadata.len(),
            cut_off: Rc::new(Cell::new(false)),
        })
    }

    /// Bytes read of the file, kept up to date.
    pub(super) fn position(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.file.read_bytes)
    }

    /// Whether a compressed file was found to be cut off, kept up to date.
    pub(super) fn cut_off(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.cut_off)
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Calls `consume` with the decompressed content. A callback, because the member of a
    /// zip file borrows the file's directory.
    pub(super) fn read<T>(
        mut self,
        consume: impl FnOnce(&mut dyn Read) -> Result<T, ImportError>,
    ) -> Result<T, ImportError> {
        let path = self.path;
        let fail = |source| ImportError::Io { path: path.clone(), doing: "read", source };
        // The head is chained in front again instead of seeking, so that a pipe can be read too.
        let mut head = Vec::new();
        self.file.by_ref().take(TRACE.len() as u64).read_to_end(&mut head).map_err(fail)?;
        if head.starts_with(TRACE) {
            return Err(ImportError::AlreadyTrace { path });
        }
        if head.starts_with(ZIP) || head.starts_with(ZIP_EMPTY) {
            self.file.seek(SeekFrom::Start(0)).map_err(fail)?;
            return read_zip(self.file, &path, consume);
        }
        let mut content = head.as_slice().chain(self.file);
        let compression = if head.starts_with(GZIP) {
            Compression::Gzip
        } else if head.starts_with(ZSTD) {
            Compression::Zstd
        } else {
            return consume(&mut content);
        };
        consume(&mut Members::new(BufReader::new(content), compression, self.cut_off))
    }
}

fn read_zip<T>(
    file: Counted,
    path: &Path,
    consume: impl FnOnce(&mut dyn Read) -> Result<T, ImportError>,
) -> Result<T, ImportError> {
    let fail = |problem: String| ImportError::Container { path: path.to_path_buf(), problem };
    let mut archive = ZipArchive::new(BufReader::new(file))
        .map_err(|error| fail(format!("cannot read the zip file: {error}")))?;
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let member = archive
            .by_index_raw(index)
            .map_err(|error| fail(format!("cannot read the zip file: {error}")))?;
        if member.is_file() {
            members.push((index, String::from_utf8_lossy(member.name_raw()).into_owned()));
        }
    }
    let [(index, _)] = members[..] else {
        return Err(fail(describe_members(&members)));
    };
    let mut member = archive
        .by_index(index)
        .map_err(|error| fail(format!("cannot read the log in the zip file: {error}")))?;
    consume(&mut member)
}

/// Says that a zip file does not hold exactly one log, with the names of what it holds.
fn describe_members(members: &[(usize, String)]) -> String {
    const NAMED_MOST: usize = 8;
    let mut names: Vec<String> =
        members.iter().take(NAMED_MOST).map(|(_, name)| name.escape_debug().to_string()).collect();
    if members.len() > NAMED_MOST {
        names.push("...".to_string());
    }
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    format!("the zip file holds {} files{names}, not one log: unpack it and import the log", members.len())
}

/// A file that counts the bytes read from it.
struct Counted {
    file: File,
    read_bytes: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read_bytes.set(self.read_bytes.get() + read as u64);
        Ok(read)
    }
}

impl Seek for Counted {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}
