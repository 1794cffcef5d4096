//! What the kernel reports about this process's memory, and where resident bytes go.
//!
//! `statm` is read at each checkpoint (a few microseconds); `smaps_rollup`, which walks every page table
//! (about 20 ms per GB), only at the peak, at the end and after the drain.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use heaplab_trace::HugePages;
use heaplab_workloads::program::layout::{
    WINDOW_HUGE_PAGES_ADVISED, WINDOW_HUGE_PAGES_ALLOWED, WINDOW_HUGE_PAGES_OFF,
};
use procfs::process::Process;

use super::job::Breakdown;
use super::tables::Slots;

pub(super) const PAGE_BYTES: u64 = 4096;

/// Why memory cannot be measured on a system with pages of this size; none if it can.
///
/// `statm` counts pages, and mincore takes page addresses: with pages of 64 KB every figure would be a
/// sixteenth of what it is.
pub(super) fn refuse_pages(page_bytes: i64) -> Option<String> {
    (page_bytes != PAGE_BYTES as i64).then(|| {
        format!(
            "this system's pages have {page_bytes} bytes, and the memory pass counts in pages of {PAGE_BYTES}"
        )
    })
}

/// Sets huge pages as the recorded process had them from the window with these flags on.
pub(super) fn follow_huge_pages(flags: u32) -> io::Result<()> {
    let (disable, but): (libc::c_ulong, libc::c_ulong) = if flags & WINDOW_HUGE_PAGES_OFF != 0 {
        (1, 0)
    } else if flags & WINDOW_HUGE_PAGES_ADVISED != 0 {
        (1, HugePages::EXCEPT_ADVISED as libc::c_ulong)
    } else if flags & WINDOW_HUGE_PAGES_ALLOWED != 0 {
        (0, 0)
    } else {
        return Ok(());
    };
    // SAFETY: takes numbers, and changes no memory that is there.
    match unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, disable, but, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Anonymous resident memory, read cheaply.
pub(super) struct Statm(File);

impl Statm {
    pub(super) fn open() -> io::Result<Statm> {
        File::open("/proc/self/statm").map(Statm)
    }

    /// Resident pages minus shared ones (of files and shared mappings), in bytes.
    pub(super) fn anonymous_bytes(&self) -> io::Result<u64> {
        let mut text = [0; 256];
        let length = self.0.read_at(&mut text, 0)?;
        let mut fields = std::str::from_utf8(&text[..length])
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(|field| field.parse::<u64>().unwrap_or(0));
        match (fields.nth(1), fields.next()) {
            (Some(resident), Some(shared)) => Ok(resident.saturating_sub(shared) * PAGE_BYTES),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "/proc/self/statm has too few fields")),
        }
    }
}

/// Sums over all mappings of the process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rollup {
    pub(super) anonymous_bytes: u64,
    pub(super) lazyfree_bytes: u64,
    pub(super) anon_huge_bytes: u64,
    /// Pages of the kernel's reserve of huge pages, which count in no resident size.
    pub(super) reserved_huge_bytes: u64,
    /// Proportional share of anonymous memory; none before Linux 5.4.
    pub(super) anonymous_share_bytes: Option<u64>,
}

impl Rollup {
    pub(super) fn read() -> Result<Rollup, String> {
        let rollup = Process::myself()
            .and_then(|process| process.smaps_rollup())
            .map_err(|error| format!("cannot read /proc/self/smaps_rollup: {error}"))?;
        let maps = rollup.memory_map_rollup.0;
        let sum = |name: &str| maps.iter().filter_map(|map| map.extension.map.get(name)).sum::<u64>();
        Ok(Rollup {
            anonymous_bytes: sum("Anonymous"),
            lazyfree_bytes: sum("LazyFree"),
            anon_huge_bytes: sum("AnonHugePages"),
            reserved_huge_bytes: sum("Private_Hugetlb") + sum("Shared_Hugetlb"),
            anonymous_share_bytes: maps
                .iter()
                .filter_map(|map| map.extension.map.get("Pss_Anon").copied())
                .reduce(|sum, bytes| sum + bytes),
        })
    }
}

/// The blocks of live objects of a memory pass at rest, by address: (address, requested bytes).
pub(super) fn live_blocks(slots: &Slots) -> Vec<(u64, u64)> {
    let mut blocks: Vec<(u64, u64)> = Vec::new();
    for (pointer, size) in slots.pointers.iter().zip(slots.sizes.iter()) {
        let size = size.load(Ordering::Relaxed);
        let address = pointer.load(Ordering::Relaxed).addr() as u64;
        // NOTE: an object of no bytes may have no block: NULL is a valid answer to malloc(0).
        if size > 0 && address > 0 {
            blocks.push((address, size - 1));
        }
    }
    blocks.sort_unstable();
    blocks
}

/// How far the pages of live blocks may exceed resident memory: one over this number of them, and these bytes more. A
/// page that was only read has no memory of its own, and the harness's constant is that of another process.
const UNCOUNTED_SHARE: u64 = 8;
const UNCOUNTED_BYTES: u64 = 256 << 10;

/// Where resident and requested bytes go, over the live objects of a memory pass at rest.
///
/// # Errors
///
/// Live blocks that the kernel cannot tell about, and those in memory that no resident size here counts: shared
/// mappings, and the kernel's reserve of huge pages.
pub(super) fn break_down(
    slots: &Slots,
    usable_bytes: Option<u64>,
    resident_bytes: u64,
) -> Result<Breakdown, String> {
    let blocks = live_blocks(slots);
    let requested_bytes: u64 = blocks.iter().map(|block| block.1).sum();
    let (mut untouched_bytes, mut live_pages) = (0, 0);
    let mut rest = &blocks[..];
    while !rest.is_empty() {
        let count = adjoining(rest);
        let (group, after) = rest.split_at(count);
        rest = after;
        let (untouched, pages) = inspect(group)
            .map_err(|error| format!("cannot ask which pages of live blocks are resident: {error}"))?;
        untouched_bytes += untouched;
        live_pages += pages;
    }
    let live_bytes = live_pages * PAGE_BYTES;
    if live_bytes.saturating_sub(resident_bytes) > live_bytes / UNCOUNTED_SHARE + UNCOUNTED_BYTES {
        return Err(format!(
            "live blocks have {live_bytes} resident bytes, and private memory only {resident_bytes}: the allocator \
             uses shared mappings, which are not counted"
        ));
    }
    Ok(Breakdown {
        resident_bytes,
        requested_bytes,
        internal_bytes: usable_bytes.map(|usable| usable.saturating_sub(requested_bytes)),
        untouched_bytes,
        held_bytes: resident_bytes.saturating_sub(live_bytes),
    })
}

fn page_of(address: u64) -> u64 {
    address / PAGE_BYTES
}

/// The page after a block's last one; a block of no bytes still occupies its page.
fn end_page(block: (u64, u64)) -> u64 {
    page_of(block.0 + block.1.max(1) - 1) + 1
}

/// How many blocks, starting with the first, are on consecutive pages, so that one call asks about all.
fn adjoining(blocks: &[(u64, u64)]) -> usize {
    let mut end = end_page(blocks[0]);
    let mut count = 1;
    for block in &blocks[1..] {
        if page_of(block.0) > end {
            break;
        }
        end = end.max(end_page(*block));
        count += 1;
    }
    count
}

/// A byte for each page from `first` to the one before `end`; its lowest bit says whether the page is
/// resident. All of them must be mapped.
pub(super) fn resident_pages(first: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut resident = vec![0u8; (end - first) as usize];
    // SAFETY: the call reads no memory of the range, and fails where nothing is mapped; the vector has a byte
    // for each page.
    let error = unsafe {
        libc::mincore(
            std::ptr::with_exposed_provenance_mut((first * PAGE_BYTES) as usize),
            ((end - first) * PAGE_BYTES) as usize,
            resident.as_mut_ptr(),
        )
    };
    if error == 0 { Ok(resident) } else { Err(io::Error::last_os_error()) }
}

/// Bytes of these blocks on pages that are not resident, and the number of their distinct pages that are.
fn inspect(blocks: &[(u64, u64)]) -> io::Result<(u64, u64)> {
    let first = page_of(blocks[0].0);
    let end = blocks.iter().map(|block| end_page(*block)).max().unwrap_or(first);
    let resident = resident_pages(first, end)?;
    let is_resident = |page: u64| resident[(page - first) as usize] & 1 == 1;
    let (mut untouched, mut pages, mut counted) = (0, 0, first);
    for &(address, size) in blocks {
        for page in page_of(address)..end_page((address, size)) {
            if !is_resident(page) {
                let from = address.max(page * PAGE_BYTES);
                let to = (address + size).min((page + 1) * PAGE_BYTES);
                untouched += to.saturating_sub(from);
            } else if page >= counted {
                pages += 1;
            }
            counted = counted.max(page + 1);
        }
    }
    Ok((untouched, pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_group_are_counted_once() {
        // Two pages, of which the second is touched; three blocks, one of them over both pages.
        let bytes = 4 * PAGE_BYTES as usize;
        let base = super::super::mapping::map_shared(bytes);
        let first = (base.expose_provenance() as u64).next_multiple_of(PAGE_BYTES);
        // SAFETY: within the mapping.
        unsafe { base.add(PAGE_BYTES as usize).write_volatile(1) };
        let blocks = [(first, 100), (first + 4000, 200), (first + 5000, 50)];
        assert_eq!(adjoining(&blocks), 3);
        assert_eq!(inspect(&blocks).unwrap(), (100 + 96, 1));
    }

    #[test]
    fn pages_of_another_size_are_refused() {
        // SAFETY: takes a number, gives a number.
        assert_eq!(refuse_pages(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }), None);
        let why = refuse_pages(65_536).unwrap();
        assert!(why.contains("65536") && why.contains("4096"), "{why}");
    }

    #[test]
    fn an_object_without_a_block_is_on_no_page() {
        let slots = Slots::new(1, true).unwrap();
        slots.sizes[0].store(1, Ordering::Relaxed);
        let expected = Breakdown { resident_bytes: 9, held_bytes: 9, ..Breakdown::default() };
        assert_eq!(break_down(&slots, None, 9).unwrap(), expected);
    }

    #[test]
    fn a_gap_of_a_page_ends_a_group() {
        let page = |page: u64| page * PAGE_BYTES;
        assert_eq!(adjoining(&[(page(1), 10), (page(2), 10), (page(4), 1)]), 2);
        assert_eq!(adjoining(&[(page(1), page(3)), (page(2), 10), (page(4), 1)]), 3);
        assert_eq!(end_page((page(1), 0)), 2);
    }

    #[test]
    fn statm_sees_what_is_touched() {
        const BYTES: usize = 32 << 20;
        let statm = Statm::open().unwrap();
        let growth = || {
            let before = statm.anonymous_bytes().unwrap();
            // SAFETY: a new private mapping.
            let block = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    BYTES,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            assert_ne!(block, libc::MAP_FAILED);
            // SAFETY: the mapping has that many bytes.
            unsafe { block.cast::<u8>().write_bytes(1, BYTES) };
            let grown = statm.anonymous_bytes().unwrap().saturating_sub(before);
            assert!(Rollup::read().unwrap().anonymous_bytes >= BYTES as u64);
            // SAFETY: the mapping, which nothing refers to.
            assert_eq!(unsafe { libc::munmap(block, BYTES) }, 0);
            grown
        };
        // Tests that run at the same time return memory: not in every round.
        let expected = BYTES as u64..BYTES as u64 + (4 << 20);
        let rounds: Vec<u64> = (0..20).map(|_| growth()).collect();
        assert!(rounds.iter().any(|grown| expected.contains(grown)), "{rounds:?}");
    }
}
