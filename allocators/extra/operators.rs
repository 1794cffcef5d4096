//! C++'s operators `new` and `delete`, for an allocator that has none of its own.
//!
//! `new` asks the allocator; if it has no memory, the C++ library's own operator of the same name takes over:
//! it calls this malloc again, then the program's new-handler, and throws. `delete` in all its forms is one
//! jump to the allocator's free: the size and the alignment that come with it need not be read.

use core::ffi::{CStr, c_void};

/// Exports all operators: `allocate(size)` and `align(alignment, size)` are the allocator's, as malloc and memalign;
/// `free` is its free.
macro_rules! operators {
    (allocate: $allocate:path, align: $align:path, free: $free:ident) => {
        operators! { @new $allocate;
            /// `operator new(size_t)`.
            _Znwm,
            /// `operator new[](size_t)`.
            _Znam,
            /// `operator new(size_t, nothrow)`.
            _ZnwmRKSt9nothrow_t,
            /// `operator new[](size_t, nothrow)`.
            _ZnamRKSt9nothrow_t,
        }
        operators! { @new_aligned $align;
            /// `operator new(size_t, align_val_t)`.
            _ZnwmSt11align_val_t,
            /// `operator new[](size_t, align_val_t)`.
            _ZnamSt11align_val_t,
            /// `operator new(size_t, align_val_t, nothrow)`.
            _ZnwmSt11align_val_tRKSt9nothrow_t,
            /// `operator new[](size_t, align_val_t, nothrow)`.
            _ZnamSt11align_val_tRKSt9nothrow_t,
        }
        forward! {
            /// `operator delete(void*)`.
            _ZdlPv => $free,
            /// `operator delete[](void*)`.
            _ZdaPv => $free,
            /// `operator delete(void*, nothrow)`.
            _ZdlPvRKSt9nothrow_t => $free,
            /// `operator delete[](void*, nothrow)`.
            _ZdaPvRKSt9nothrow_t => $free,
            /// `operator delete(void*, size_t)`.
            _ZdlPvm => $free,
            /// `operator delete[](void*, size_t)`.
            _ZdaPvm => $free,
            /// `operator delete(void*, align_val_t)`.
            _ZdlPvSt11align_val_t => $free,
            /// `operator delete[](void*, align_val_t)`.
            _ZdaPvSt11align_val_t => $free,
            /// `operator delete(void*, align_val_t, nothrow)`.
            _ZdlPvSt11align_val_tRKSt9nothrow_t => $free,
            /// `operator delete[](void*, align_val_t, nothrow)`.
            _ZdaPvSt11align_val_tRKSt9nothrow_t => $free,
            /// `operator delete(void*, size_t, align_val_t)`.
            _ZdlPvmSt11align_val_t => $free,
            /// `operator delete[](void*, size_t, align_val_t)`.
            _ZdaPvmSt11align_val_t => $free,
        }
    };
    (@new $allocate:path; $(#[$doc:meta] $name:ident,)*) => {$(
        #[$doc]
        ///
        /// # Safety
        /// As in C++. The second argument, if any, is ignored.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(size: usize, tag: *const c_void) -> *mut c_void {
            // SAFETY: malloc takes any size; C++ wants a distinct block even for size 0.
            let block = unsafe { $allocate(size.max(1)) };
            if !block.is_null() {
                return block;
            }
            const NAME: &CStr = operators!(@text $name);
            type Operator = unsafe extern "C-unwind" fn(usize, *const c_void) -> *mut c_void;
            // SAFETY: the C++ library's operator of this name has this type.
            unsafe {
                match operators::next(NAME) {
                    Some(address) => core::mem::transmute::<*mut c_void, Operator>(address)(size, tag),
                    None => operators::fail(NAME),
                }
            }
        }
    )*};
    (@new_aligned $align:path; $(#[$doc:meta] $name:ident,)*) => {$(
        #[$doc]
        ///
        /// # Safety
        /// As in C++: the alignment is a power of two.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(size: usize, alignment: usize, tag: *const c_void) -> *mut c_void {
            // SAFETY: the caller keeps the contract.
            let block = unsafe { $align(alignment, size.max(1)) };
            if !block.is_null() {
                return block.cast();
            }
            const NAME: &CStr = operators!(@text $name);
            type Operator = unsafe extern "C-unwind" fn(usize, usize, *const c_void) -> *mut c_void;
            // SAFETY: the C++ library's operator of this name has this type.
            unsafe {
                match operators::next(NAME) {
                    Some(address) => {
                        core::mem::transmute::<*mut c_void, Operator>(address)(size, alignment, tag)
                    }
                    None => operators::fail(NAME),
                }
            }
        }
    )*};
    (@text $name:ident) => {
        match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
            Ok(name) => name,
            Err(_) => panic!("a name has no NUL"),
        }
    };
}

/// The C++ library's operator of this name, which this library's own hides.
pub(crate) fn next(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends with NUL; RTLD_NEXT is a valid handle.
    let address = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// No memory, and no C++ library that could report it: NULL if the caller asked for that, otherwise abort.
pub(crate) fn fail(name: &CStr) -> *mut c_void {
    if !name.to_bytes().ends_with(b"nothrow_t") {
        // SAFETY: it takes nothing, and does not return.
        unsafe { libc::abort() };
    }
    core::ptr::null_mut()
}
