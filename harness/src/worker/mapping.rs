//! Shared anonymous mappings: the memory of tables, stacks and the private heap, which counts in no `RssAnon`.

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;

/// Maps `bytes` zeroed bytes that are shared and backed by nothing; null when the system refuses.
pub(super) fn map_shared(bytes: usize) -> *mut u8 {
    // SAFETY: a new anonymous mapping at an address of the system's choice touches nothing that exists.
    let pages = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
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
    /// A table of `length` zeroed values.
    ///
    /// # Errors
    ///
    /// The number of bytes, when the system does not give them.
    pub(super) fn new(length: usize) -> Result<Table<T>, usize> {
        let bytes = length.max(1).checked_mul(size_of::<T>()).ok_or(usize::MAX)?;
        let first = map_shared(bytes).cast_const().cast::<T>();
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
