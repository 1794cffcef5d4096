//! Shared anonymous mappings: the memory of tables, stacks and the private heap, which counts in no `RssAnon`.

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;

/// Maps `bytes` zeroed bytes that are shared and backed by nothing; null when the system refuses.
pub(super) fn map_shared(bytes: usize) -> *mut u8 {
    map(bytes, 0)
}

fn map(bytes: usize, more_flags: libc::c_int) -> *mut u8 {
    // SAFETY: a new anonymous mapping at an address of the system's choice touches nothing that exists.
    let pages = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | more_flags,
            -1,
            0,
        )
    };
    if pages == libc::MAP_FAILED { ptr::null_mut() } else { pages.cast() }
}

/// A type for which any bytes, and so all zeros, are a value.
///
/// # Safety
///
/// The all-zero bit pattern must be a valid value, and a shared reference must suffice to use it from
/// several threads.
pub(super) unsafe trait Zeroed {}

// SAFETY: zero is a value of each, and atomics are made for sharing.
unsafe impl Zeroed for std::sync::atomic::AtomicPtr<libc::c_void> {}
// SAFETY: as above.
unsafe impl Zeroed for std::sync::atomic::AtomicU32 {}
// SAFETY: as above.
unsafe impl Zeroed for std::sync::atomic::AtomicU64 {}

/// A table of zeroed values on a shared mapping, which lives as long as the process.
pub(super) struct Table<T> {
    first: *const T,
    length: usize,
    owns: PhantomData<T>,
}

// SAFETY: a table is a slice of values that may be shared, at a fixed address.
unsafe impl<T: Zeroed> Send for Table<T> {}
// SAFETY: as above.
unsafe impl<T: Zeroed> Sync for Table<T> {}

impl<T: Zeroed> Table<T> {
    /// A table of `length` zeroed values, whose pages are allocated when they are first written to.
    ///
    /// # Errors
    ///
    /// The number of bytes, if the system refuses them.
    pub(super) fn new(length: usize) -> Result<Table<T>, usize> {
        Self::mapped(length, 0)
    }

    /// A table of `length` zeroed values, whose pages are already allocated: for one that a replay fills
    /// completely.
    ///
    /// # Errors
    ///
    /// Those of [`Table::new`].
    pub(super) fn populated(length: usize) -> Result<Table<T>, usize> {
        Self::mapped(length, libc::MAP_POPULATE)
    }

    fn mapped(length: usize, more_flags: libc::c_int) -> Result<Table<T>, usize> {
        let bytes = length.max(1).checked_mul(size_of::<T>()).ok_or(usize::MAX)?;
        let first = map(bytes, more_flags).cast_const().cast::<T>();
        if first.is_null() { Err(bytes) } else { Ok(Table { first, length, owns: PhantomData }) }
    }
}

impl<T: Zeroed> Deref for Table<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds `length` values from `first` on, page-aligned, zeroed, and is never unmapped.
        unsafe { std::slice::from_raw_parts(self.first, self.length) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::worker::usage::Usage;

    #[test]
    fn a_populated_table_is_written_without_page_faults() {
        // One value in each of 4,096 pages. Other tests of this process fault too, but not as often.
        let pages = 4096;
        let faults = |table: &Table<AtomicU64>| {
            let before = Usage::read().faults_minor;
            table.iter().step_by(512).for_each(|value| value.store(1, Ordering::Relaxed));
            Usage::read().faults_minor - before
        };
        let populated = faults(&Table::populated(pages * 512).unwrap());
        assert!(populated < pages as u64 / 2, "{populated}");
    }
}
