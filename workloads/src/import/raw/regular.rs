//! Files that others may have put in a recording's place: whoever may write into its directory, or a recorded process
//! that names a library. Only regular files are read: a pipe would be waited for, and a device may have no end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

/// How a library's file begins.
const LIBRARY_MAGIC: [u8; 4] = *b"\x7fELF";
/// No library is longer.
const LIBRARY_MOST_BYTES: u64 = 1 << 30;

/// Opens a file of a recording for reading. Links are not followed: a recording has none.
///
/// # Errors
///
/// It cannot be opened, or [is none](is_irregular).
pub(super) fn open(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::NOFOLLOW)
}

/// Whether an error of [`open`] says that there is something other than a regular file.
pub(super) fn is_irregular(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// SHA-256 of a library's content, in hexadecimal.
///
/// # Errors
///
/// It cannot be read, or is no library.
pub fn hash_library(path: &Path) -> io::Result<String> {
    let mut file = open_with(path, OFlags::empty())?;
    let length = file.metadata()?.len();
    let mut magic = [0; LIBRARY_MAGIC.len()];
    file.read_exact(&mut magic)?;
    if magic != LIBRARY_MAGIC || length > LIBRARY_MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a library"));
    }
    struct Hash(Sha256);
    impl io::Write for Hash {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hash = Hash(Sha256::new_with_prefix(magic));
    // It may grow while it is read.
    io::copy(&mut file.take(length - magic.len() as u64), &mut hash)?;
    Ok(hash.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path) {
        Ok(file) => file,
        // A link, and a socket.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::LOOP | Errno::NXIO)) => {
            return Err(irregular());
        }
        Err(error) => return Err(error),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}
