//! Functions of the malloc family that follow from a few others, for allocators that lack them or have wrong
//! ones.

use core::ffi::c_void;

/// Exports what follows from one function of the allocator:
///
/// - `aligned by ALIGN`: `posix_memalign`, `aligned_alloc`, `memalign`, `valloc` and `pvalloc`, from
///   `ALIGN(alignment, size)`, which is called only with powers of two and sets errno when it returns NULL;
/// - `pages by ALIGN`: of these, only `pvalloc`;
/// - `arrays by REALLOC`: `reallocarray`;
/// - `frees by FREE`: `cfree`, `free_sized` and `free_aligned_sized`, which ignore what is passed with the
///   block.
macro_rules! family {
    (aligned by $align:path) => {
        /// `posix_memalign(3)`: leaves errno and, if it fails, `result` unchanged.
        ///
        /// # Safety
        /// `result` can be written to.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn posix_memalign(
            result: *mut *mut core::ffi::c_void,
            alignment: usize,
            size: usize,
        ) -> core::ffi::c_int {
            if !alignment.is_power_of_two() || alignment < size_of::<*mut core::ffi::c_void>() {
                return libc::EINVAL;
            }
            // SAFETY: errno's address is valid in every thread.
            let errno = unsafe { libc::__errno_location() };
            // SAFETY: as above.
            let before = unsafe { *errno };
            #[allow(unused_unsafe)] // for some allocators it is a safe function
            // SAFETY: a power of two.
            let object = unsafe { $align(alignment, size) };
            // SAFETY: as above, and the caller's `result` can be written to.
            unsafe {
                *errno = before;
                if object.is_null() {
                    return libc::ENOMEM;
                }
                *result = object;
            }
            0
        }

        /// `aligned_alloc(3)`: EINVAL unless the alignment is a power of two.
        #[unsafe(no_mangle)]
        pub extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut core::ffi::c_void {
            if !alignment.is_power_of_two() {
                return family::refuse_with(libc::EINVAL);
            }
            #[allow(unused_unsafe)] // as above
            // SAFETY: a power of two.
            unsafe {
                $align(alignment, size)
            }
        }

        /// `memalign(3)`: like [`aligned_alloc`].
        #[unsafe(no_mangle)]
        pub extern "C" fn memalign(alignment: usize, size: usize) -> *mut core::ffi::c_void {
            aligned_alloc(alignment, size)
        }

        /// `valloc(3)`.
        #[unsafe(no_mangle)]
        pub extern "C" fn valloc(size: usize) -> *mut core::ffi::c_void {
            aligned_alloc(family::page_bytes(), size)
        }

        family! { pages by $align }
    };
    (pages by $align:path) => {
        /// `pvalloc(3)`: whole pages.
        #[unsafe(no_mangle)]
        pub extern "C" fn pvalloc(size: usize) -> *mut core::ffi::c_void {
            let page_bytes = family::page_bytes();
            match size.max(1).checked_next_multiple_of(page_bytes) {
                #[allow(unused_unsafe)] // for some allocators it is a safe function
                // SAFETY: the size of a page is a power of two.
                Some(bytes) => unsafe { $align(page_bytes, bytes) },
                None => family::refuse(),
            }
        }
    };
    (arrays by $realloc:path) => {
        /// `reallocarray(3)`: ENOMEM if the product overflows, with the object left as it is.
        ///
        /// # Safety
        /// As for `realloc`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn reallocarray(
            object: *mut core::ffi::c_void,
            count: usize,
            size: usize,
        ) -> *mut core::ffi::c_void {
            match count.checked_mul(size) {
                // SAFETY: the caller keeps the contract.
                Some(bytes) => unsafe { $realloc(object, bytes) },
                None => family::refuse(),
            }
        }
    };
    (frees by $free:path) => {
        /// `cfree`, an old name of `free`.
        ///
        /// # Safety
        /// As for `free`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn cfree(object: *mut core::ffi::c_void) {
            // SAFETY: the caller keeps the contract.
            unsafe { $free(object) }
        }

        /// C23's `free_sized`.
        ///
        /// # Safety
        /// As for `free`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn free_sized(object: *mut core::ffi::c_void, _size: usize) {
            // SAFETY: the caller keeps the contract.
            unsafe { $free(object) }
        }

        /// C23's `free_aligned_sized`.
        ///
        /// # Safety
        /// As for `free`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn free_aligned_sized(
            object: *mut core::ffi::c_void,
            _alignment: usize,
            _size: usize,
        ) {
            // SAFETY: the caller keeps the contract.
            unsafe { $free(object) }
        }
    };
}

/// NULL with ENOMEM.
#[cold]
#[inline(never)]
pub(crate) fn refuse() -> *mut c_void {
    refuse_with(libc::ENOMEM)
}

/// NULL with this errno.
pub(crate) fn refuse_with(errno: i32) -> *mut c_void {
    // SAFETY: errno's address is valid in every thread.
    unsafe { *libc::__errno_location() = errno };
    core::ptr::null_mut()
}

/// Bytes of a page.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: sysconf has no preconditions.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
