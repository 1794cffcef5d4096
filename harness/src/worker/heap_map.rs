//! The heap map of the memory pass: which pages of the heap are resident, and how many bytes of live objects
//! are in each.
//!
//! Side effects: one read of `smaps`, and mincore of the process's private anonymous mappings. No page of the
//! heap is touched, and the map itself is on the private heap. The caller keeps the clock still.

use std::io;

use procfs::process::{MMPermissions, MMapPath, Process};

use super::job::HeapCell;
use super::memory::{PAGE_BYTES, live_blocks, resident_pages};
use super::tables::Slots;

/// The most cells of a map; the cell size is the smallest power of two with which there are no more than
/// this.
const MOST_CELLS: usize = 2048;
/// Pages that one call asks about.
const PIECE_PAGES: u64 = 16_384;

/// The map at rest.
pub(super) fn draw(slots: &Slots) -> Result<Vec<HeapCell>, String> {
    let regions = heap_regions()?;
    let blocks = live_blocks(slots);
    map_regions(&regions, &blocks).map_err(|error| format!("cannot ask which pages are resident: {error}"))
}

/// The first page, and the page after the last one, of each stretch of private anonymous memory, in address
/// order. Adjacent mappings are one region; regions without a resident page are omitted.
fn heap_regions() -> Result<Vec<(u64, u64)>, String> {
    let maps = Process::myself()
        .and_then(|process| process.smaps())
        .map_err(|error| format!("cannot read /proc/self/smaps: {error}"))?;
    let mut regions: Vec<(u64, u64)> = Vec::new();
    for map in maps.0 {
        let is_heap = matches!(map.pathname, MMapPath::Anonymous | MMapPath::Heap | MMapPath::Other(_))
            && map.perms.contains(MMPermissions::PRIVATE);
        let is_resident = map.extension.map.get("Anonymous").is_some_and(|&bytes| bytes > 0);
        if !is_heap || !is_resident {
            continue;
        }
        let (first, end) = (map.address.0 / PAGE_BYTES, map.address.1 / PAGE_BYTES);
        match regions.last_mut() {
            Some(last) if last.1 == first => last.1 = end,
            _ => regions.push((first, end)),
        }
    }
    Ok(regions)
}

/// `blocks` are the live blocks by address: (address, bytes).
fn map_regions(regions: &[(u64, u64)], blocks: &[(u64, u64)]) -> io::Result<Vec<HeapCell>> {
    let mut cells = Cells::default();
    let mut rest = blocks;
    for (number, &(first, end)) in regions.iter().enumerate() {
        let mut from = first;
        while from < end {
            let to = end.min(from + PIECE_PAGES);
            let resident = resident_pages(from, to)?;
            let (live, after) = live_bytes(rest, from, to);
            rest = after;
            for (page, _) in resident.iter().enumerate().filter(|(_, state)| *state & 1 == 1) {
                cells.push(number as u64, from - first + page as u64, live[page]);
            }
            from = to;
        }
    }
    Ok(cells.finish(regions))
}

/// Live bytes of each page from `from` to `to`, and the blocks that reach beyond.
fn live_bytes(blocks: &[(u64, u64)], from: u64, to: u64) -> (Vec<u64>, &[(u64, u64)]) {
    let mut live = vec![0; (to - from) as usize];
    let begin = blocks.partition_point(|(address, size)| address + size <= from * PAGE_BYTES);
    let blocks = &blocks[begin..];
    let mut done = 0;
    for &(address, size) in blocks {
        let mut at = address.max(from * PAGE_BYTES);
        if at >= to * PAGE_BYTES {
            break;
        }
        let end = (address + size).min(to * PAGE_BYTES);
        while at < end {
            let page_end = (at / PAGE_BYTES + 1) * PAGE_BYTES;
            live[(at / PAGE_BYTES - from) as usize] += end.min(page_end) - at;
            at = page_end;
        }
        // A block that continues is counted again.
        if address + size > to * PAGE_BYTES {
            break;
        }
        done += 1;
    }
    (live, &blocks[done..])
}

/// Cells, filled in address order, and joined in pairs whenever there are too many.
#[derive(Default)]
struct Cells {
    /// A cell has 2 to the power of `level` pages.
    level: u32,
    cells: Vec<HeapCell>,
}

impl Cells {
    /// Adds a resident page of a region.
    fn push(&mut self, region: u64, page: u64, live_bytes: u64) {
        let offset_bytes = (page >> self.level << self.level) * PAGE_BYTES;
        match self.cells.last_mut() {
            Some(last) if last.region == region && last.offset_bytes == offset_bytes => {
                last.resident_bytes += PAGE_BYTES;
                last.live_bytes += live_bytes;
            }
            _ => self.cells.push(HeapCell {
                region,
                offset_bytes,
                span_bytes: 0,
                resident_bytes: PAGE_BYTES,
                live_bytes,
            }),
        }
        // NOTE: a heap of more regions than cells stays as it is when cells are whole regions.
        while self.cells.len() > MOST_CELLS && self.level < 40 {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        self.level += 1;
        let cell_bytes = PAGE_BYTES << self.level;
        let mut joined: Vec<HeapCell> = Vec::with_capacity(self.cells.len());
        for cell in &self.cells {
            let offset_bytes = cell.offset_bytes / cell_bytes * cell_bytes;
            match joined.last_mut() {
                Some(last) if last.region == cell.region && last.offset_bytes == offset_bytes => {
                    last.resident_bytes += cell.resident_bytes;
                    last.live_bytes += cell.live_bytes;
                }
                _ => joined.push(HeapCell { offset_bytes, ..*cell }),
            }
        }
        self.cells = joined;
    }

    /// The cells with their spans; the last of a region ends with it.
    fn finish(mut self, regions: &[(u64, u64)]) -> Vec<HeapCell> {
        for cell in &mut self.cells {
            let (first, end) = regions[cell.region as usize];
            let region_bytes = (end - first) * PAGE_BYTES;
            cell.span_bytes = (PAGE_BYTES << self.level).min(region_bytes - cell.offset_bytes);
        }
        self.cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four pages of a private mapping; the first and third are touched.
    fn mapped() -> u64 {
        let bytes = 4 * PAGE_BYTES as usize;
        // SAFETY: a new private mapping, of which two bytes within are written.
        unsafe {
            let base = libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(base, libc::MAP_FAILED);
            libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE);
            base.cast::<u8>().write_volatile(1);
            base.cast::<u8>().add(2 * PAGE_BYTES as usize).write_volatile(1);
            base.expose_provenance() as u64
        }
    }

    #[test]
    fn live_bytes_count_in_resident_pages_alone() {
        let base = mapped();
        let first = base / PAGE_BYTES;
        // One block over the first two pages, one of which is resident; one in the third.
        let blocks = [(base + 4000, 200), (base + 2 * PAGE_BYTES + 8, 1000)];
        let cells = map_regions(&[(first, first + 4)], &blocks).unwrap();
        let cell = |page: u64, live_bytes| HeapCell {
            region: 0,
            offset_bytes: page * PAGE_BYTES,
            span_bytes: PAGE_BYTES,
            resident_bytes: PAGE_BYTES,
            live_bytes,
        };
        assert_eq!(cells, [cell(0, 96), cell(2, 1000)]);
    }

    #[test]
    fn a_region_of_the_process_is_found_with_its_resident_pages() {
        let base = mapped();
        let page = base / PAGE_BYTES;
        let regions = heap_regions().unwrap();
        assert!(regions.iter().any(|&(first, end)| first <= page && page + 3 < end), "{regions:?}");
        assert!(
            regions.windows(2).all(|pair| pair[0].1 < pair[1].0),
            "in order, and none adjoin: {regions:?}"
        );
    }

    #[test]
    fn a_block_over_two_pieces_counts_in_both() {
        let blocks = [(PAGE_BYTES - 100, 300), (3 * PAGE_BYTES, 50)];
        let (live, rest) = live_bytes(&blocks, 0, 1);
        assert_eq!((live, rest), (vec![100], &blocks[..]));
        let (live, rest) = live_bytes(rest, 1, 4);
        assert_eq!((live, rest), (vec![200, 0, 50], &[][..]));
        assert_eq!(live_bytes(&blocks, 9, 10), (vec![0], &[][..]));
    }

    #[test]
    fn too_many_cells_are_joined_and_nothing_is_lost() {
        let mut cells = Cells::default();
        let regions = [(0, 5_000), (8_000, 8_003)];
        for page in (0..5_000).step_by(2) {
            cells.push(0, page, 7);
        }
        cells.push(1, 2, 1);
        let cells = cells.finish(&regions);
        assert!(cells.len() <= MOST_CELLS && cells.len() > MOST_CELLS / 4, "{}", cells.len());
        assert_eq!(cells.iter().map(|cell| cell.resident_bytes).sum::<u64>(), 2_501 * PAGE_BYTES);
        assert_eq!(cells.iter().map(|cell| cell.live_bytes).sum::<u64>(), 2_500 * 7 + 1);
        assert!(cells.iter().all(|cell| cell.resident_bytes <= cell.span_bytes));
        assert!(cells.is_sorted_by_key(|cell| (cell.region, cell.offset_bytes)));
        assert_eq!(cells.last().unwrap().span_bytes, 3 * PAGE_BYTES);
    }
}
