//! The large files of a run, compressed for keeping or sending: `timeline.csv` as `timeline.csv.zst`, and so on.
//!
//! Every command reads a packed file through an unnamed file that holds its unpacked content. Rows are never appended
//! to a packed file: a run that is resumed is unpacked first. `samples.csv` is never packed, because it is the file
//! that a writer locks.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::ResultsError;
use super::row_file::{FILES, RunLock, io as failed, lock_run};
use super::whole_file::{replace_whole, write_whole};

/// The highest level that needs no special window for unpacking.
const LEVEL: i32 = 19;
/// Largest ratio of unpacked to packed length: rows of numbers shrink to a twentieth, a hostile file to a
/// hundred-thousandth.
const LARGEST_RATIO: u64 = 1000;

/// Total lengths before and after packing, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packing {
    /// How many files.
    pub files: usize,
    /// Their length unpacked.
    pub unpacked_bytes: u64,
    /// Their length packed.
    pub packed_bytes: u64,
}

/// Whether a run has this file, packed or not.
pub(super) fn is_there(path: &Path) -> bool {
    path.exists() || packed_path(path).exists()
}

/// Opens a file of a run for reading; a packed one is unpacked into an unnamed temporary file.
pub(super) fn open(path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && packed_path(path).exists() => {
            let mut file = tempfile::tempfile()?;
            io::copy(&mut unpacker(&packed_path(path))?, &mut file)?;
            file.rewind()?;
            Ok(file)
        }
        opened => opened,
    }
}

/// Packs the large files of a run that nobody writes to. Files that are already packed stay so.
pub fn pack(directory: &Path) -> Result<Packing, ResultsError> {
    let _lock = lock(directory)?;
    let mut all = Packing::default();
    for path in large_files(directory).filter(|path| path.exists()) {
        let packed = packed_path(&path);
        let content = fs::read(&path).map_err(failed(&path, "read"))?;
        let bytes = compress(&content).map_err(failed(&path, "pack"))?;
        write_whole(&packed, &bytes)?;
        let mut unpacked = Vec::new();
        unpacker(&packed)
            .and_then(|mut source| source.read_to_end(&mut unpacked))
            .map_err(failed(&packed, "read"))?;
        if unpacked != content {
            let source = io::Error::other("it does not unpack to what was packed");
            return Err(failed(&packed, "pack")(source));
        }
        fs::remove_file(&path).map_err(failed(&path, "remove"))?;
        all.add(content.len() as u64, bytes.len() as u64);
    }
    Ok(all)
}

/// Unpacks every packed file of a run that nobody writes to.
pub fn unpack(directory: &Path) -> Result<Packing, ResultsError> {
    let _lock = lock(directory)?;
    unpack_locked(directory)
}

/// Like [`unpack`], for a run that this process writes to.
pub(super) fn unpack_locked(directory: &Path) -> Result<Packing, ResultsError> {
    let mut all = Packing::default();
    for path in large_files(directory).filter(|path| packed_path(path).exists()) {
        let packed = packed_path(&path);
        let packed_bytes = fs::metadata(&packed).map_err(failed(&packed, "read"))?.len();
        // If both exist, a packing was interrupted, and the unpacked file is whole.
        if !path.exists() {
            let mut unpacked_bytes = 0;
            replace_whole(&path, |file| {
                let copied = unpacker(&packed).and_then(|mut source| io::copy(&mut source, file));
                unpacked_bytes = copied.map_err(failed(&packed, "unpack"))?;
                Ok(())
            })?;
            all.add(unpacked_bytes, packed_bytes);
        }
        fs::remove_file(&packed).map_err(failed(&packed, "remove"))?;
    }
    Ok(all)
}

impl Packing {
    fn add(&mut self, unpacked_bytes: u64, packed_bytes: u64) {
        self.files += 1;
        self.unpacked_bytes += unpacked_bytes;
        self.packed_bytes += packed_bytes;
    }
}

fn large_files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    FILES.iter().skip(1).map(|name| directory.join(name))
}

fn packed_path(path: &Path) -> PathBuf {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".zst");
    packed.into()
}

/// Locks the run, so that nobody writes to it meanwhile.
pub(super) fn lock(directory: &Path) -> Result<RunLock, ResultsError> {
    if !directory.join("run.toml").exists() {
        return Err(ResultsError::NoRun { path: directory.to_owned() });
    }
    lock_run(directory)
}

fn compress(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(content.len() as u64))?;
    io::copy(&mut &*content, &mut encoder)?;
    encoder.finish()
}

/// The content of a packed file; an error if it is longer than rows can be.
fn unpacker(packed: &Path) -> io::Result<impl Read> {
    let file = File::open(packed)?;
    let most = file.metadata()?.len().saturating_mul(LARGEST_RATIO);
    Ok(Bounded { inner: zstd::Decoder::new(file)?, left: most })
}

/// A reader that fails if more than a limit is read.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it unpacks to more than {LARGEST_RATIO} times its length, which no run's file does"),
            )
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_read_as_before() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let path = directory.path().join("timeline.csv");
        let content = "run_id,block\nr,0\n".repeat(1000);
        let packed = compress(content.as_bytes()).expect("compressed");
        assert!(packed.len() * 20 < content.len());
        fs::write(packed_path(&path), packed).expect("written");
        assert!(is_there(&path) && !path.exists());
        let mut read = String::new();
        open(&path).expect("opened").read_to_string(&mut read).expect("read");
        assert_eq!(read, content);
    }

    #[test]
    fn a_file_that_was_cut_off_changed_or_made_to_fill_the_disk_is_an_error() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let path = directory.path().join("sizes.csv");
        let content: String = (0..5000).map(|row| format!("r,{row},{}\n", row * 7919 % 1013)).collect();
        let whole = compress(content.as_bytes()).expect("compressed");
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 0x10;
        let bomb = compress(&vec![0; 64 << 20]).expect("compressed");
        for bad in [&whole[..whole.len() / 2], &changed, &bomb, b"run_id,block\n"] {
            fs::write(packed_path(&path), bad).expect("written");
            open(&path).expect_err("an error");
        }
        fs::write(packed_path(&path), &whole).expect("written");
        open(&path).expect("whole again");
    }
}
