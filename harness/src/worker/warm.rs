//! Touches memory once before measuring: on a virtual machine the host backs a page when it is first
//! written to (2 to 18 us), and the first variant would pay for all.

use super::memory::PAGE_BYTES;

/// Maps, writes to and unmaps about as much memory as the replay will need, but no more than the system and
/// its control group would give without ending the worker.
pub(super) fn warm_memory(requested_peak_bytes: u64, limit_bytes: Option<u64>) {
    let most = available_bytes().min(limit_bytes.unwrap_or(u64::MAX));
    let bytes = bytes_to_warm(requested_peak_bytes, most) as usize;
    if bytes == 0 {
        return;
    }
    // SAFETY: a new private mapping, written within its length and unmapped again.
    unsafe {
        let pages = libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if pages == libc::MAP_FAILED {
            return;
        }
        for page in (0..bytes).step_by(PAGE_BYTES as usize) {
            pages.cast::<u8>().add(page).write_volatile(1);
        }
        libc::munmap(pages, bytes);
    }
}

/// How much of what can be had is written to. A replay that asks for more than there is ends for want of memory, however
/// warm that is: then none, so that no other process is ended for it.
fn bytes_to_warm(requested_peak_bytes: u64, most: u64) -> u64 {
    if requested_peak_bytes > most {
        return 0;
    }
    requested_peak_bytes.saturating_add(requested_peak_bytes / 2).min(most / 4 * 3)
}

/// Memory that the system could give now; 0 if it does not say.
fn available_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::bytes_to_warm;

    #[test]
    fn what_cannot_be_had_is_not_warmed() {
        assert_eq!(bytes_to_warm(1000, 1_000_000), 1500);
        assert_eq!(bytes_to_warm(900, 1000), 750, "a quarter is left to others");
        assert_eq!(bytes_to_warm(1 << 60, 20 << 30), 0);
        assert_eq!(bytes_to_warm(0, 20 << 30), 0);
        assert_eq!(bytes_to_warm(1, 0), 0);
    }
}
