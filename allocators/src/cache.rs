//! The loader's cache: where the system's shared libraries are, by name.
//!
//! Reads /etc/ld.so.cache itself, because `ldconfig -p` is not on every user's PATH. The layout (the GNU C
//! library's `dl-cache.h`, "new format"; integers in the machine's order):
//!
//! ```text
//! offset  0  "glibc-ld.so.cache1.1"          20 bytes
//!        20  entries: u32, string bytes: u32, flags: u8, 3 bytes, extensions: u32, 12 bytes
//!        48  entries, 24 bytes each: flags: i32, name: u32, path: u32, os: u32, hwcap: u64
//!            strings, ended by NUL; names and paths are offsets from 0
//! ```
//!
//! An older cache carries this after another table, so the magic is searched for. The cache is written by
//! the system but read as hostile: offsets out of range are skipped.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const CACHE: &str = "/etc/ld.so.cache";
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER_BYTES: usize = 48;
const ENTRY_BYTES: usize = 24;

/// The path of the shared library called `name` that this machine's programs can load; none if the
/// loader's cache has none.
pub fn find_library(name: &str) -> Option<PathBuf> {
    let cache = std::fs::read(CACHE).unwrap_or_default();
    paths_of(&cache, name).into_iter().find(|path| has_own_format(path))
}

/// All paths that the cache has for `name`, best first.
fn paths_of(cache: &[u8], name: &str) -> Vec<PathBuf> {
    let Some(start) = cache.windows(MAGIC.len()).position(|window| window == MAGIC) else {
        return Vec::new();
    };
    let table = &cache[start..];
    let entries = read_u32(table, MAGIC.len()).unwrap_or(0) as usize;
    let Some(body) = table.get(HEADER_BYTES..) else {
        return Vec::new();
    };
    body.chunks_exact(ENTRY_BYTES)
        .take(entries)
        .filter(|entry| read_text(table, read_u32(entry, 4)) == Some(name))
        .filter_map(|entry| read_text(table, read_u32(entry, 8)))
        .map(PathBuf::from)
        .collect()
}

fn read_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_ne_bytes(field.try_into().ok()?))
}

fn read_text(table: &[u8], offset: Option<u32>) -> Option<&str> {
    let rest = table.get(offset? as usize..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// Whether a library has this program's own ELF class and machine: the cache also names those of others.
fn has_own_format(path: &Path) -> bool {
    match (read_format(path), read_format(Path::new("/proc/self/exe"))) {
        (Some(library), Some(own)) => library == own,
        _ => false,
    }
}

/// ELF class, byte order and machine.
fn read_format(path: &Path) -> Option<[u8; 4]> {
    let mut head = [0; 20];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    head.starts_with(b"\x7fELF").then_some([head[4], head[5], head[18], head[19]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A cache of the given names and paths.
    fn cache_of(libraries: &[(&str, &str)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let mut entries = Vec::new();
        let base = HEADER_BYTES + libraries.len() * ENTRY_BYTES;
        for (name, path) in libraries {
            let mut place = |text: &str| {
                let offset = (base + strings.len()) as u32;
                strings.extend_from_slice(text.as_bytes());
                strings.push(0);
                offset.to_ne_bytes()
            };
            let (name, path) = (place(name), place(path));
            entries.extend_from_slice(&[3, 3, 0, 0]);
            entries.extend_from_slice(&name);
            entries.extend_from_slice(&path);
            entries.extend_from_slice(&[0; 12]);
        }
        let mut cache = MAGIC.to_vec();
        cache.extend_from_slice(&(libraries.len() as u32).to_ne_bytes());
        cache.resize(HEADER_BYTES, 0);
        cache.extend(entries);
        cache.extend(strings);
        cache
    }

    #[test]
    fn finds_every_path_of_a_name_in_order() {
        let cache = cache_of(&[("liba.so.1", "/one/a"), ("libb.so", "/b"), ("liba.so.1", "/two/a")]);
        assert_eq!(paths_of(&cache, "liba.so.1"), [PathBuf::from("/one/a"), PathBuf::from("/two/a")]);
        assert_eq!(paths_of(&cache, "liba.so"), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_cache_behind_an_older_table_is_found() {
        let mut cache = b"ld.so-1.7.0\0\0\0\0\0older table".to_vec();
        cache.extend(cache_of(&[("libb.so", "/b")]));
        assert_eq!(paths_of(&cache, "libb.so"), [PathBuf::from("/b")]);
    }

    #[test]
    fn this_machines_cache_has_the_c_library() {
        assert!(find_library("libc.so.6").expect("the C library is in the cache").is_absolute());
    }

    proptest! {
        #[test]
        fn a_damaged_cache_never_panics(
            cut in 0usize..200, place in 0usize..200, byte: u8, count: u32,
        ) {
            let mut cache = cache_of(&[("liba.so.1", "/one/a"), ("libb.so", "/b")]);
            cache[20..24].copy_from_slice(&count.to_ne_bytes());
            let place = place % cache.len();
            cache[place] = byte;
            cache.truncate(cut);
            paths_of(&cache, "libb.so");
        }
    }
}
