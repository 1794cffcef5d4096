//! The initial thread's stack: makes the same number of its pages resident in every worker.
//!
//! The kernel starts a stack at a random address up to 8 KiB below the arguments and environment, so one
//! process has a page more of it resident than another. Those pages are anonymous memory, but not the
//! allocator's: without this, neither what a worker measures nor the constant subtracted from it would be
//! reproducible to the byte.

use procfs::process::{MMapPath, Process};

use super::memory::PAGE_BYTES;

/// The stack is made resident in steps of this. A release build takes at most 68 KiB of it, a debug build 440
/// KiB.
const STEP_BYTES: u64 = if cfg!(debug_assertions) { 512 << 10 } else { 128 << 10 };
/// What the calling thread may need below its present position.
const ROOM_BYTES: u64 = STEP_BYTES / 2;

/// Makes the initial thread's stack resident from its highest address down to a fixed distance. Called by that thread.
pub(super) fn settle() -> Result<(), String> {
    let unread = |error: &dyn std::fmt::Display| format!("cannot read where the stack lies: {error}");
    let process = Process::myself().map_err(|error| unread(&error))?;
    let maps = process.maps().map_err(|error| unread(&error))?;
    let stack = maps.iter().find(|map| map.pathname == MMapPath::Stack);
    let Some((_, end)) = stack.map(|map| map.address) else {
        return Err(unread(&"/proc/self/maps names no stack"));
    };
    let limit = process.limits().map_err(|error| unread(&error))?.max_stack_size.soft_limit;
    let most = match limit {
        procfs::process::LimitValue::Value(bytes) => bytes / PAGE_BYTES * PAGE_BYTES,
        procfs::process::LimitValue::Unlimited => u64::MAX,
    };
    let here = 0u8;
    let used = end - (&raw const here).addr() as u64;
    touch(end, depth(used, most));
    Ok(())
}

/// How many bytes below the highest address are made resident, where `used` are in use and `most` are allowed.
fn depth(used: u64, most: u64) -> u64 {
    (used + ROOM_BYTES).next_multiple_of(STEP_BYTES).min(most.max(used / PAGE_BYTES * PAGE_BYTES))
}

fn touch(end: u64, depth: u64) {
    for page in (end - depth..end).step_by(PAGE_BYTES as usize) {
        let byte = page as *mut u8;
        // SAFETY: the address lies in the calling thread's stack, or below it as far as the kernel lets it grow. The byte
        // keeps its value, and no other thread knows this stack.
        unsafe { byte.write_volatile(byte.read_volatile()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_that_begins_some_pages_lower_is_as_deep() {
        const KIB: u64 = 1 << 10;
        for used in [5 * KIB, 9 * KIB, 13 * KIB + 16, STEP_BYTES - ROOM_BYTES] {
            assert_eq!(depth(used, u64::MAX), STEP_BYTES, "{used}");
        }
        assert_eq!(depth(STEP_BYTES - ROOM_BYTES + 1, u64::MAX), 2 * STEP_BYTES);
        assert_eq!(depth(10 * KIB, 64 * KIB), 64 * KIB, "no deeper than `ulimit -s`");
        assert_eq!(depth(70 * KIB + 1, 64 * KIB), 68 * KIB, "what is in use is resident");
    }
}
