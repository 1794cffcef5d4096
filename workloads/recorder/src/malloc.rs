//! The malloc family, as the program calls it: forwarded and recorded.

use core::ffi::{c_int, c_void};

use heaplab_raw::{Allocation, Call, Event};

use crate::call::{self, aligned};
use crate::{next, record, storage, system};

/// The body of an exported function of one or two arguments: calls the function that it names with these
/// arguments, followed by the depth of the stack at the call. It has no frame, and says so to who unwinds from it.
macro_rules! told_depth {
    (1, $function:ident) => {{
        #[cfg(target_arch = "x86_64")]
        core::arch::naked_asm!(".cfi_startproc", "mov rsi, rsp", "jmp {}", ".cfi_endproc", sym $function);
        #[cfg(target_arch = "aarch64")]
        core::arch::naked_asm!(".cfi_startproc", "mov x1, sp", "b {}", ".cfi_endproc", sym $function);
    }};
    (2, $function:ident) => {{
        #[cfg(target_arch = "x86_64")]
        core::arch::naked_asm!(".cfi_startproc", "mov rdx, rsp", "jmp {}", ".cfi_endproc", sym $function);
        #[cfg(target_arch = "aarch64")]
        core::arch::naked_asm!(".cfi_startproc", "mov x2, sp", "b {}", ".cfi_endproc", sym $function);
    }};
}

/// `malloc(3)`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc(size: usize) -> *mut c_void {
    told_depth!(1, malloc_at)
}

extern "C" fn malloc_at(size: usize, depth: u64) -> *mut c_void {
    // SAFETY: the exported function passes the depth.
    let depth = unsafe { storage::depth_of_call(depth) };
    // SAFETY: malloc takes any size.
    call::allocate(size, depth, Allocation::Malloc, move || unsafe { next::MALLOC.get()(size) })
}

/// `free(3)`.
///
/// # Safety
/// As of the next allocator's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free(block: *mut c_void) {
    told_depth!(1, free_at)
}

/// # Safety
/// As of [`free`].
unsafe extern "C" fn free_at(block: *mut c_void, depth: u64) {
    // SAFETY: the exported function passes the depth.
    let depth = unsafe { storage::depth_of_call(depth) };
    // SAFETY: the caller keeps the contract.
    call::free(block, depth, move || unsafe { next::FREE.get()(block) });
}

/// `calloc(3)`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    told_depth!(2, calloc_at)
}

extern "C" fn calloc_at(count: usize, size: usize, depth: u64) -> *mut c_void {
    // SAFETY: the exported function passes the depth.
    let depth = unsafe { storage::depth_of_call(depth) };
    let bytes = count.saturating_mul(size);
    // SAFETY: calloc takes any two numbers.
    call::allocate(bytes, depth, Allocation::Calloc, move || unsafe { next::CALLOC.get()(count, size) })
}

/// `realloc(3)`.
///
/// # Safety
/// As of the next allocator's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    told_depth!(2, realloc_at)
}

/// # Safety
/// As of [`realloc`].
unsafe extern "C" fn realloc_at(block: *mut c_void, size: usize, depth: u64) -> *mut c_void {
    // SAFETY: the exported function passes the depth.
    let depth = unsafe { storage::depth_of_call(depth) };
    // SAFETY: the caller keeps the contract.
    call::resize(block, size, depth, move || unsafe { next::REALLOC.get()(block, size) })
}

/// `reallocarray(3)`, as the C library does it: by `realloc`.
///
/// # Safety
/// As of [`realloc`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: the caller keeps the contract.
        Some(bytes) => unsafe { realloc(block, bytes) },
        None => {
            // SAFETY: errno's address is valid in every thread.
            unsafe { *libc::__errno_location() = libc::ENOMEM };
            record::note(Event::Failed { call: Call::Realloc, size: u64::MAX });
            core::ptr::null_mut()
        }
    }
}

/// `cfree`, an old name of [`free`].
///
/// # Safety
/// As of [`free`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cfree(block: *mut c_void) {
    let function = next::CFREE.find_rare().unwrap_or(next::FREE.get());
    // SAFETY: the caller keeps the contract.
    call::free(block, storage::depth(), || unsafe { function(block) });
}

/// C23's `free_sized`; `free` if the next allocator has none.
///
/// # Safety
/// As of [`free`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free_sized(block: *mut c_void, size: usize) {
    match next::FREE_SIZED.find_rare() {
        // SAFETY: the caller keeps the contract.
        Some(function) => call::free(block, storage::depth(), || unsafe { function(block, size) }),
        // SAFETY: the caller keeps the contract.
        None => unsafe { free(block) },
    }
}

/// C23's `free_aligned_sized`; `free` if the next allocator has none.
///
/// # Safety
/// As of [`free`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free_aligned_sized(block: *mut c_void, alignment: usize, size: usize) {
    match next::FREE_ALIGNED_SIZED.find_rare() {
        // SAFETY: the caller keeps the contract.
        Some(function) => call::free(block, storage::depth(), || unsafe { function(block, alignment, size) }),
        // SAFETY: the caller keeps the contract.
        None => unsafe { free(block) },
    }
}

/// `posix_memalign(3)`.
///
/// # Safety
/// `result` can be written to.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_memalign(
    result: *mut *mut c_void,
    alignment: usize,
    size: usize,
) -> c_int {
    record::after(
        storage::depth(),
        // SAFETY: the caller keeps the contract.
        || unsafe { next::POSIX_MEMALIGN.get()(result, alignment, size) },
        |&status| {
            // SAFETY: where it succeeded, the block is there.
            let block = if status == 0 { unsafe { *result } } else { core::ptr::null_mut() };
            aligned(block, alignment, size)
        },
    )
}

/// `aligned_alloc(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    record::after(
        storage::depth(),
        // SAFETY: it takes any two numbers.
        || unsafe { next::ALIGNED_ALLOC.get()(alignment, size) },
        |&block| aligned(block, alignment, size),
    )
}

/// `memalign(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    record::after(
        storage::depth(),
        // SAFETY: it takes any two numbers.
        || unsafe { next::MEMALIGN.get()(alignment, size) },
        |&block| aligned(block, alignment, size),
    )
}

/// `valloc(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn valloc(size: usize) -> *mut c_void {
    record::after(
        storage::depth(),
        // SAFETY: it takes any size.
        || unsafe { next::VALLOC.get()(size) },
        |&block| aligned(block, system::page_bytes(), size),
    )
}

/// `pvalloc(3)`: the size is recorded as requested, not as rounded to pages.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pvalloc(size: usize) -> *mut c_void {
    record::after(
        storage::depth(),
        // SAFETY: it takes any size.
        || unsafe { next::PVALLOC.get()(size) },
        |&block| aligned(block, system::page_bytes(), size),
    )
}

/// `malloc_usable_size(3)`: passed through.
///
/// # Safety
/// As of the next allocator's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    // SAFETY: the caller keeps the contract.
    unsafe { next::USABLE_SIZE.get()(block) }
}
