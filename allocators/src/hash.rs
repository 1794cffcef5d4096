//! A library file's contents as a hash, so that two builds of one version can be distinguished.
//!
//! Side effect: the file is read once; the same file, unchanged, is not read again by this process.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::stamp::Stamp;

/// A file that could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be hashed: {source}", path.display())]
pub struct HashError {
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    pub source: io::Error,
}

static HASHES: LazyLock<Mutex<HashMap<Stamp, String>>> = LazyLock::new(Mutex::default);

/// SHA-256 of the file's contents, in hexadecimal.
pub fn hash_file(path: &Path) -> Result<String, HashError> {
    hash_cached(path).map_err(|source| HashError { path: path.to_path_buf(), source })
}

fn hash_cached(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    if let Some(hash) = HASHES.lock().unwrap_or_else(PoisonError::into_inner).get(&stamp) {
        return Ok(hash.clone());
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let mut hash = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing into a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    HASHES.lock().unwrap_or_else(PoisonError::into_inner).insert(stamp, hash.clone());
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_text_has_its_known_hash_and_a_changed_file_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "abc").expect("a file");
        let hash = hash_file(&path).expect("a hash");
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        std::fs::write(&path, "abcd").expect("a file");
        assert_ne!(hash_file(&path).expect("a hash"), hash);
        assert!(hash_file(Path::new("/no/such")).expect_err("no file").to_string().starts_with("/no/such: "));
    }
}
