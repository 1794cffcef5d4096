//! C++'s operators new and delete, in every form.
//!
//! The C++ library's own operators call malloc and free, which this library records: they are passed straight
//! on. Those of an allocator (jemalloc, tcmalloc, mimalloc) do not, and are recorded here: an operator
//! belongs to the allocator if it is in the same object as the next `malloc`. A C program may load a C++
//! library later, where the usual search does not find it: then it is searched for by its name.
//!
//! An operator new that throws passes through here without being recorded.

use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use heaplab_raw::Allocation;

use crate::call::{self, aligned};
use crate::malloc::free;
use crate::{malloc as family, next, record, storage};

/// C++ libraries by name, in case they were loaded so that the usual search does not see them.
const LIBRARIES: [&CStr; 3] = [c"libstdc++.so.6", c"libc++abi.so.1", c"libc++.so.1"];

/// An operator as the next object has it.
struct Operator {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
    /// Whether it is in the same object as malloc.
    is_allocators: AtomicBool,
}

impl Operator {
    const fn new(name: &'static CStr) -> Operator {
        Operator {
            name,
            address: AtomicPtr::new(core::ptr::null_mut()),
            is_allocators: AtomicBool::new(false),
        }
    }

    /// Its address; searches again if there was none yet. NULL if there is none.
    #[inline(always)]
    fn find(&self) -> *mut c_void {
        let address = self.address.load(Ordering::Acquire);
        if address.is_null() { self.search() } else { address }
    }

    #[cold]
    fn search(&self) -> *mut c_void {
        if !next::resolve() {
            return core::ptr::null_mut();
        }
        let mut found = next::search(self.name);
        for library in LIBRARIES {
            if found.is_null() {
                found = next::search_loaded(library, self.name);
            }
        }
        let of_malloc = next::object_of(next::MALLOC.address()).map(|(begin, _)| begin);
        let own = next::object_of(found).map(|(begin, _)| begin);
        self.is_allocators.store(own.is_some() && own == of_malloc, Ordering::Relaxed);
        self.address.store(found, Ordering::Release);
        found
    }
}

/// Exports a form of operator new. `$record` calls the allocator's own and records it; `$without` is done if
/// there is no such operator.
macro_rules! operator_new {
    ($symbol:literal, $rust:ident($($argument:ident: $kind:ty),*), |$call:ident| $record:expr, $without:expr) => {
        /// A form of operator new.
        ///
        /// # Safety
        /// As of the C++ library's.
        #[unsafe(export_name = $symbol)]
        pub(crate) unsafe extern "C-unwind" fn $rust($($argument: $kind),*) -> *mut c_void {
            type Function = unsafe extern "C-unwind" fn($($kind),*) -> *mut c_void;
            static OPERATOR: Operator = {
                match CStr::from_bytes_with_nul(concat!($symbol, "\0").as_bytes()) {
                    Ok(name) => Operator::new(name),
                    Err(_) => panic!("a name without NUL"),
                }
            };
            let address = OPERATOR.find();
            if address.is_null() {
                return $without;
            }
            // SAFETY: what has that name is such a function.
            let function = unsafe { core::mem::transmute::<*mut c_void, Function>(address) };
            if OPERATOR.is_allocators.load(Ordering::Relaxed) {
                // SAFETY: the caller keeps the contract.
                let $call = move || unsafe { function($($argument),*) };
                return $record;
            }
            // SAFETY: the caller keeps the contract.
            unsafe { function($($argument),*) }
        }
    };
}

/// Exports a form of operator delete.
macro_rules! operator_delete {
    ($symbol:literal, $rust:ident($block:ident $(, $argument:ident: $kind:ty)*)) => {
        /// A form of operator delete.
        ///
        /// # Safety
        /// As of the C++ library's.
        #[unsafe(export_name = $symbol)]
        pub(crate) unsafe extern "C-unwind" fn $rust($block: *mut c_void $(, $argument: $kind)*) {
            type Function = unsafe extern "C-unwind" fn(*mut c_void $(, $kind)*);
            static OPERATOR: Operator = {
                match CStr::from_bytes_with_nul(concat!($symbol, "\0").as_bytes()) {
                    Ok(name) => Operator::new(name),
                    Err(_) => panic!("a name without NUL"),
                }
            };
            let address = OPERATOR.find();
            if address.is_null() {
                // SAFETY: the caller keeps the contract; the block is malloc's, as `without` made it.
                return unsafe { free($block) };
            }
            // SAFETY: what has that name is such a function.
            let function = unsafe { core::mem::transmute::<*mut c_void, Function>(address) };
            if OPERATOR.is_allocators.load(Ordering::Relaxed) {
                // SAFETY: the caller keeps the contract.
                return call::free($block, storage::depth(), move || unsafe { function($block $(, $argument)*) });
            }
            // SAFETY: the caller keeps the contract.
            unsafe { function($block $(, $argument)*) }
        }
    };
}

/// `std::nothrow`, of which only the address is passed.
type Nothrow = *const c_void;

operator_new!("_Znwm", new(size: usize), |call| plain(size, call), or_abort(family::malloc(size.max(1))));
operator_new!("_Znam", new_array(size: usize), |call| plain(size, call), or_abort(family::malloc(size.max(1))));
operator_new!(
    "_ZnwmRKSt9nothrow_t",
    new_nothrow(size: usize, tag: Nothrow),
    |call| plain(size, call),
    family::malloc(size.max(1))
);
operator_new!(
    "_ZnamRKSt9nothrow_t",
    new_array_nothrow(size: usize, tag: Nothrow),
    |call| plain(size, call),
    family::malloc(size.max(1))
);
operator_new!(
    "_ZnwmSt11align_val_t",
    new_aligned(size: usize, alignment: usize),
    |call| with_alignment(alignment, size, call),
    or_abort(family::memalign(alignment, size.max(1)))
);
operator_new!(
    "_ZnamSt11align_val_t",
    new_array_aligned(size: usize, alignment: usize),
    |call| with_alignment(alignment, size, call),
    or_abort(family::memalign(alignment, size.max(1)))
);
operator_new!(
    "_ZnwmSt11align_val_tRKSt9nothrow_t",
    new_aligned_nothrow(size: usize, alignment: usize, tag: Nothrow),
    |call| with_alignment(alignment, size, call),
    family::memalign(alignment, size.max(1))
);
operator_new!(
    "_ZnamSt11align_val_tRKSt9nothrow_t",
    new_array_aligned_nothrow(size: usize, alignment: usize, tag: Nothrow),
    |call| with_alignment(alignment, size, call),
    family::memalign(alignment, size.max(1))
);

operator_delete!("_ZdlPv", delete(block));
operator_delete!("_ZdaPv", delete_array(block));
operator_delete!("_ZdlPvm", delete_sized(block, size: usize));
operator_delete!("_ZdaPvm", delete_array_sized(block, size: usize));
operator_delete!("_ZdlPvRKSt9nothrow_t", delete_nothrow(block, tag: Nothrow));
operator_delete!("_ZdaPvRKSt9nothrow_t", delete_array_nothrow(block, tag: Nothrow));
operator_delete!("_ZdlPvSt11align_val_t", delete_aligned(block, alignment: usize));
operator_delete!("_ZdaPvSt11align_val_t", delete_array_aligned(block, alignment: usize));
operator_delete!("_ZdlPvmSt11align_val_t", delete_sized_aligned(block, size: usize, alignment: usize));
operator_delete!("_ZdaPvmSt11align_val_t", delete_array_sized_aligned(block, size: usize, alignment: usize));
operator_delete!(
    "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    delete_aligned_nothrow(block, alignment: usize, tag: Nothrow)
);
operator_delete!(
    "_ZdaPvSt11align_val_tRKSt9nothrow_t",
    delete_array_aligned_nothrow(block, alignment: usize, tag: Nothrow)
);

#[inline(always)]
fn plain(size: usize, function: impl FnOnce() -> *mut c_void) -> *mut c_void {
    call::allocate(size, storage::depth(), Allocation::Malloc, function)
}

fn with_alignment(alignment: usize, size: usize, function: impl FnOnce() -> *mut c_void) -> *mut c_void {
    record::after(storage::depth(), function, |&block| aligned(block, alignment, size))
}

/// Without a C++ library nothing can be thrown.
fn or_abort(block: *mut c_void) -> *mut c_void {
    if block.is_null() {
        // SAFETY: without preconditions.
        unsafe { libc::abort() };
    }
    block
}
