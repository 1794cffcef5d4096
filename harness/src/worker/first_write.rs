//! What the first write to a fresh page costs, in the two sizes that a heap has: small pages and transparent huge
//! pages.
//!
//! On a virtual machine the host backs a page when the guest first writes to it, and takes it back within seconds
//! after the guest frees it. A first write that the host must serve costs ten times as much as one to memory that
//! the host already backs. The time is the writing thread's CPU time: it does not include other processes' turns,
//! but it does include the host's work.

use super::clock::thread_cpu_ns;
use super::extent::{Extent, PageCosts, Warmed};
use super::memory::PAGE_BYTES;
use super::usage::Usage;

/// Passes after which we give up on memory that still gets cheaper.
const MOST_PASSES: u32 = 4;

const HUGE_PAGE_BYTES: u64 = Extent::HUGE_PAGE_BYTES;

/// The cost of the first write to fresh pages of both sizes on this machine, and of the second write to memory that
/// was returned in between.
///
/// # Errors
///
/// A sentence, if the system refuses the memory.
pub fn measure_first_writes() -> Result<Warmed, String> {
    const BYTES: u64 = 64 << 20;
    write_until_warm(Extent { small_bytes: BYTES, huge_bytes: BYTES }, PageCosts::default())
}

/// Writes to that much fresh memory, returns it, and repeats that until it gets no cheaper.
///
/// `known` is the cost of warm pages on this machine, if it is known: then one pass may be enough.
///
/// # Errors
///
/// A sentence, if the system refuses the memory.
pub(super) fn write_until_warm(extent: Extent, known: PageCosts) -> Result<Warmed, String> {
    let mut warmed = Warmed::default();
    let mut least = known;
    for pass in 0..MOST_PASSES {
        let (extent, costs) = write_once(extent)?;
        let settled = pass > 0 && warmed.last.is_near(costs);
        warmed.extent = extent;
        if pass == 0 {
            warmed.first = costs;
        }
        warmed.last = costs;
        warmed.is_warm = settled || costs.is_near(least);
        if warmed.is_warm {
            break;
        }
        least = least.least(costs);
    }
    Ok(warmed)
}

/// Writes once to all pages, held at the same time. Returns how much was written to in pages of each size.
fn write_once(extent: Extent) -> Result<(Extent, PageCosts), String> {
    // NOTE: small pages are returned before the huge ones, because locals are dropped in reverse order. The kernel
    // hands out first what was freed last: small pages merge into blocks of 2 MiB of which this process has written
    // to only a part, and at the top of its list they would be the ones that the replay gets.
    let huge = Fresh::map(extent.huge_bytes, HUGE_PAGE_BYTES, libc::MADV_HUGEPAGE)?;
    let small = Fresh::map(extent.small_bytes, PAGE_BYTES, libc::MADV_NOHUGEPAGE)?;
    let (huge_ns, faults) = huge.write();
    let (small_ns, _) = small.write();
    let (small_pages, huge_pages) = (small.bytes / PAGE_BYTES, huge.bytes / HUGE_PAGE_BYTES);
    let each = |ns: u64, pages: u64| (pages > 0).then(|| ns / pages.max(1));
    // Each huge page is one fault; 512 small ones in its place are 512 faults. A quarter may have been small.
    if faults > huge_pages + huge_pages / 4 * (HUGE_PAGE_BYTES / PAGE_BYTES) {
        let pages = small_pages + huge.bytes / PAGE_BYTES;
        let extent = Extent { small_bytes: small.bytes + huge.bytes, huge_bytes: 0 };
        return Ok((extent, PageCosts { small_ns: each(small_ns + huge_ns, pages), huge_ns: None }));
    }
    let costs = PageCosts { small_ns: each(small_ns, small_pages), huge_ns: each(huge_ns, huge_pages) };
    Ok((Extent { small_bytes: small.bytes, huge_bytes: huge.bytes }, costs))
}

/// Private memory that nobody has written to, unmapped when it goes out of scope.
struct Fresh {
    mapping: *mut libc::c_void,
    mapped_bytes: usize,
    /// Its first page of the requested size.
    first: *mut u8,
    bytes: u64,
}

impl Fresh {
    /// Maps whole pages of `page_bytes`, and gives the kernel `advice` about them.
    fn map(bytes: u64, page_bytes: u64, advice: libc::c_int) -> Result<Fresh, String> {
        let bytes = bytes.next_multiple_of(page_bytes);
        if bytes == 0 {
            return Ok(Fresh {
                mapping: std::ptr::null_mut(),
                mapped_bytes: 0,
                first: std::ptr::null_mut(),
                bytes,
            });
        }
        let mapped_bytes = (bytes + page_bytes) as usize;
        // SAFETY: a new private mapping at an address of the system's choice.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            let reason = std::io::Error::last_os_error();
            return Err(format!("the system refuses {mapped_bytes} bytes: {reason}"));
        }
        // NOTE: a kernel without transparent huge pages refuses the advice, and its pages are small anyway.
        // SAFETY: advice on the mapping, which changes no content.
        unsafe { libc::madvise(mapping, mapped_bytes, advice) };
        let offset = (mapping.addr() as u64).next_multiple_of(page_bytes) - mapping.addr() as u64;
        // SAFETY: the mapping has a page more than is used, so that its first whole page lies in it.
        let first = unsafe { mapping.cast::<u8>().add(offset as usize) };
        Ok(Fresh { mapping, mapped_bytes, first, bytes })
    }

    /// Writes a byte to each small page. Returns this thread's CPU time in that, and its page faults.
    fn write(&self) -> (u64, u64) {
        let (begin_ns, begin) = (thread_cpu_ns(), Usage::read().faults_minor);
        for at in (0..self.bytes).step_by(PAGE_BYTES as usize) {
            // SAFETY: within the mapping, which is writable and ours alone.
            unsafe { self.first.add(at as usize).write_volatile(1) };
        }
        (thread_cpu_ns() - begin_ns, Usage::read().faults_minor - begin)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if self.mapped_bytes > 0 {
            // SAFETY: the mapping, to which nothing refers any more.
            unsafe { libc::munmap(self.mapping, self.mapped_bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_written_to_and_given_back() {
        let asked = Extent { small_bytes: 3 * PAGE_BYTES - 1, huge_bytes: 0 };
        let warmed = write_until_warm(asked, PageCosts::default()).unwrap();
        assert_eq!(warmed.extent, Extent { small_bytes: 3 * PAGE_BYTES, huge_bytes: 0 });
        assert!(warmed.first.small_ns.is_some_and(|ns| ns > 0), "{warmed:?}");
        assert_eq!(warmed.last.huge_ns, None, "no huge page was asked for");
        let small = Fresh::map(64 * PAGE_BYTES, PAGE_BYTES, libc::MADV_NOHUGEPAGE).unwrap();
        // Tests that run at the same time fault too, so there is no upper bound.
        assert!(small.write().1 >= 64);
    }

    #[test]
    fn what_is_mapped_for_huge_pages_begins_at_one() {
        let huge = Fresh::map(5, HUGE_PAGE_BYTES, libc::MADV_HUGEPAGE).unwrap();
        assert_eq!((huge.first.addr() as u64 % HUGE_PAGE_BYTES, huge.bytes), (0, HUGE_PAGE_BYTES));
        assert!(huge.first.addr() + huge.bytes as usize <= huge.mapping.addr() + huge.mapped_bytes);
    }

    #[test]
    fn more_than_there_is_of_addresses_is_an_error() {
        let asked = Extent { small_bytes: 1 << 50, huge_bytes: 0 };
        let why = write_until_warm(asked, PageCosts::default()).unwrap_err();
        assert!(why.contains("refuses"), "{why}");
    }
}
