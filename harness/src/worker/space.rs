//! The address space of this process: its size, its page tables, and the resident part of the allocator's
//! file.
//!
//! Read once, after the last event. The harness's own memory is on shared mappings, which the allocators under test
//! never make, so its page tables can be separated from theirs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use procfs::process::{MMPermissions, MMapPath, MemoryMaps, Process};

use super::memory::PAGE_BYTES;

/// Pages that one table of the lowest level maps.
const PAGES_OF_A_TABLE: u64 = 512;
/// `/proc/self/pagemap`: a page is present, or swapped out.
const PRESENT_OR_SWAPPED: u64 = 0b11 << 62;

/// The address space at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Space {
    pub(super) virtual_bytes: u64,
    pub(super) page_table_bytes: u64,
    /// The part of these that maps shared mappings; none if the system does not tell.
    pub(super) page_table_harness_bytes: Option<u64>,
    pub(super) mappings: u64,
    /// Resident pages of the library that other processes share; none if it has no separate mapping.
    pub(super) library_file_bytes: Option<u64>,
}

impl Space {
    /// `library` is the file that contains malloc.
    pub(super) fn read(library: Option<&Path>) -> Result<Space, String> {
        let process = Process::myself().map_err(|error| format!("cannot read /proc/self: {error}"))?;
        let status = process.status().map_err(|error| format!("cannot read /proc/self/status: {error}"))?;
        let maps = process.smaps().map_err(|error| format!("cannot read /proc/self/smaps: {error}"))?;
        Ok(Space {
            virtual_bytes: status.vmsize.unwrap_or(0) * 1024,
            page_table_bytes: status.vmpte.unwrap_or(0) * 1024,
            page_table_harness_bytes: page_tables_of_shared(&maps).ok(),
            mappings: maps.0.len() as u64,
            library_file_bytes: library.and_then(|library| resident_of_file(&maps, library)),
        })
    }
}

/// Resident pages of a file that were not written to by this process.
fn resident_of_file(maps: &MemoryMaps, file: &Path) -> Option<u64> {
    // NOTE: by path and not by device: on an overlay the two devices differ.
    let file = std::fs::canonicalize(file).ok()?;
    let of_file = maps.0.iter().filter(|map| matches!(&map.pathname, MMapPath::Path(path) if *path == file));
    let bytes = |name: &str| of_file.clone().filter_map(|map| map.extension.map.get(name)).sum::<u64>();
    (of_file.clone().count() > 0).then(|| bytes("Rss").saturating_sub(bytes("Anonymous")))
}

/// Bytes of the lowest level's tables that map a page of a shared mapping.
fn page_tables_of_shared(maps: &MemoryMaps) -> io::Result<u64> {
    let pagemap = File::open("/proc/self/pagemap")?;
    let mut tables = 0;
    let mut counted = None;
    for map in maps.0.iter().filter(|map| map.perms.contains(MMPermissions::SHARED)) {
        tables += count_tables(&pagemap, map.address, &mut counted)?;
    }
    Ok(tables * PAGE_BYTES)
}

/// Tables that map a page of these addresses, except the one that was `counted` last: neighbours may share
/// it.
fn count_tables(pagemap: &File, address: (u64, u64), counted: &mut Option<u64>) -> io::Result<u64> {
    let (first, end) = (address.0 / PAGE_BYTES, address.1.div_ceil(PAGE_BYTES));
    let mut tables = 0;
    for table in first / PAGES_OF_A_TABLE..end.div_ceil(PAGES_OF_A_TABLE) {
        let from = first.max(table * PAGES_OF_A_TABLE);
        let to = end.min((table + 1) * PAGES_OF_A_TABLE);
        if *counted != Some(table) && has_page(pagemap, from, to)? {
            *counted = Some(table);
            tables += 1;
        }
    }
    Ok(tables)
}

/// Whether any of the pages `from` to `to`, which one table maps, is present.
fn has_page(pagemap: &File, from: u64, to: u64) -> io::Result<bool> {
    let mut entries = [0; PAGES_OF_A_TABLE as usize * 8];
    let entries = &mut entries[..(to - from) as usize * 8];
    pagemap.read_exact_at(entries, from * 8)?;
    let entry = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |entry, byte| entry << 8 | u64::from(*byte));
    Ok(entries.chunks_exact(8).any(|bytes| entry(bytes) & PRESENT_OR_SWAPPED != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_costs_a_table_where_it_is_touched() {
        let table_bytes = (PAGES_OF_A_TABLE * PAGE_BYTES) as usize;
        let base = super::super::mapping::map_shared(8 * table_bytes);
        for table in [1, 4] {
            // SAFETY: within the mapping.
            unsafe { base.add(table * table_bytes).write_volatile(1) };
        }
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        let begin = base.expose_provenance() as u64;
        let address = (begin, begin + 8 * table_bytes as u64);
        let mut counted = None;
        assert_eq!(count_tables(&pagemap, address, &mut counted).unwrap(), 2);
        let rest = (begin + 4 * table_bytes as u64, address.1);
        assert_eq!(count_tables(&pagemap, rest, &mut counted).unwrap(), 0, "counted already");
    }

    #[test]
    fn the_c_library_is_resident_in_part_and_another_file_is_not() {
        let loaded = heaplab_allocators::identify().unwrap();
        let space = Space::read(Some(&loaded.library_path)).unwrap();
        let bytes = space.library_file_bytes.unwrap();
        let size = std::fs::metadata(&loaded.library_path).unwrap().len();
        assert!(bytes > 0 && bytes < size + 64 * PAGE_BYTES, "{bytes} of {size}");
        assert!(space.page_table_bytes >= space.page_table_harness_bytes.unwrap());
        assert_eq!(Space::read(Some(Path::new("/no/such/library.so"))).unwrap().library_file_bytes, None);
    }
}
