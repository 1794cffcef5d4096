//! The parts of an ELF program with 64 bits. Whatever a file holds, each is read in bounded time.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// A part that is loaded.
const LOADED: u64 = 1;
/// What the loader needs to know.
const DYNAMIC: u64 = 2;
/// The path of the loader.
pub(super) const INTERPRETER: u64 = 3;
/// Bytes that are read of the dynamic part, and of a name.
const DYNAMIC_MOST_BYTES: u64 = 64 << 10;
const NAME_MOST_BYTES: usize = 256;

/// A part of the file.
pub(super) struct Part {
    pub(super) kind: u64,
    offset: u64,
    address: u64,
    bytes: u64,
}

impl Part {
    /// Its content, at most so many bytes of it.
    pub(super) fn read(&self, file: &File, most: u64) -> Option<Vec<u8>> {
        let mut content = vec![0; self.bytes.min(most) as usize];
        file.read_exact_at(&mut content, self.offset).ok()?;
        Some(content)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The parts that the program's head lists.
pub(super) fn parts<'a>(file: &'a File, head: &[u8; 64]) -> impl Iterator<Item = Part> + use<'a> {
    let (table, entry_bytes, entries) = (number(&head[32..40]), number(&head[54..56]), number(&head[56..58]));
    (0..entries).map_while(move |entry| {
        let mut header = [0; 56];
        file.read_exact_at(&mut header, table.checked_add(entry * entry_bytes)?).ok()?;
        let [offset, address, bytes] = [8, 16, 32].map(|at| number(&header[at..at + 8]));
        Some(Part { kind: number(&header[..4]), offset, address, bytes })
    })
}

/// The names of the libraries that a program needs.
pub(super) fn needed(file: &File, head: &[u8; 64]) -> Vec<Vec<u8>> {
    const NEEDED: u64 = 1;
    const NAMES: u64 = 5;
    let dynamic = parts(file, head).find(|part| part.kind == DYNAMIC);
    let Some(content) = dynamic.and_then(|part| part.read(file, DYNAMIC_MOST_BYTES)) else {
        return Vec::new();
    };
    let (entries, _) = content.as_chunks::<16>();
    let entries = || entries.iter().map(|entry| (number(&entry[..8]), number(&entry[8..])));
    let Some((_, names)) = entries().find(|(tag, _)| *tag == NAMES) else { return Vec::new() };
    let mut loaded = parts(file, head).filter(|part| part.kind == LOADED);
    let holds = |part: &Part| names.checked_sub(part.address).is_some_and(|at| at < part.bytes);
    let Some(begin) = loaded.find(holds).and_then(|part| part.offset.checked_add(names - part.address))
    else {
        return Vec::new();
    };
    let name = |at: u64| {
        let mut name = [0; NAME_MOST_BYTES];
        let length = file.read_at(&mut name, begin.checked_add(at)?).ok()?;
        Some(name[..length].split(|&byte| byte == 0).next()?.to_vec())
    };
    entries().filter(|(tag, _)| *tag == NEEDED).filter_map(|(_, at)| name(at)).collect()
}
