//! C++'s operators new and delete, in every form.
//!
//! The C++ library's own operators call malloc and free, which this library records: they are passed straight
//! on. Those of an allocator (jemalloc, tcmalloc, mimalloc) do not, and are recorded here: an operator
//! belongs to the allocator if it is in the same object as the next `malloc`.
//! One that throws is a failed call.
//!
//! All forms are searched for before `main`, and never afterwards: a search takes the loader's lock, which a
//! thread may hold while it waits for another that uses an operator. A form that the program does not have then
//! is [withdrawn](crate::exports), so libraries that it loads later use their own.

use core::ffi::{CStr, c_void};
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use heaplab_raw::Allocation;

use crate::call::{self, aligned};
use crate::malloc::free;
use crate::thread::BUSY;
use crate::{exports, malloc as family, next, record, storage};

/// Whether [`prepare`] has run.
static IS_PREPARED: AtomicBool = AtomicBool::new(false);

/// Searches for all forms, before `main`, and withdraws those that the program does not have.
pub(crate) fn prepare() {
    let thread = storage::thread();
    storage::set_thread(&BUSY);
    let allocator = next::range_of(next::MALLOC.address());
    let is_missing = FORMS.map(|operator| operator.search(&allocator).is_null());
    let missing = FORMS.into_iter().zip(is_missing).filter(|(_, is_missing)| *is_missing);
    exports::withdraw(missing.map(|(operator, _)| operator.name));
    next::forget_failures();
    IS_PREPARED.store(true, Ordering::Release);
    storage::set_thread(thread);
}

/// An operator as the next object has it.
struct Operator {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
    /// Whether it is in the same object as malloc.
    is_allocators: AtomicBool,
}

impl Operator {
    const fn new(name: &'static [u8]) -> Operator {
        let name = match CStr::from_bytes_with_nul(name) {
            Ok(name) => name,
            Err(_) => panic!("a name without NUL"),
        };
        Operator {
            name,
            address: AtomicPtr::new(core::ptr::null_mut()),
            is_allocators: AtomicBool::new(false),
        }
    }

    /// Its address; NULL if there is none.
    #[inline(always)]
    fn find(&self) -> *mut c_void {
        let address = self.address.load(Ordering::Acquire);
        if address.is_null() { self.find_early() } else { address }
    }

    /// The operator may be called before this library is prepared, by a constructor of another.
    #[cold]
    fn find_early(&self) -> *mut c_void {
        let thread = storage::thread();
        if IS_PREPARED.load(Ordering::Acquire) || thread.is(&BUSY) || !next::resolve() {
            return self.address.load(Ordering::Acquire);
        }
        storage::set_thread(&BUSY);
        let found = self.search(&next::range_of(next::MALLOC.address()));
        storage::set_thread(thread);
        found
    }

    /// Searches for it; the next malloc is in `allocator`.
    fn search(&self, allocator: &Range<u64>) -> *mut c_void {
        let found = next::search(self.name);
        self.is_allocators.store(allocator.contains(&(found as u64)), Ordering::Relaxed);
        self.address.store(found, Ordering::Release);
        found
    }
}

/// Exports a form of operator new. `$record` calls the allocator's own and records it; `$without` is done if
/// there is no such operator.
macro_rules! operator_new {
    ($place:ident, $symbol:literal, $rust:ident($($argument:ident: $kind:ty),*), |$call:ident| $record:expr, $without:expr) => {
        static $place: Operator = Operator::new(concat!($symbol, "\0").as_bytes());

        /// A form of operator new.
        ///
        /// # Safety
        /// As of the C++ library's.
        #[unsafe(export_name = $symbol)]
        pub(crate) unsafe extern "C-unwind" fn $rust($($argument: $kind),*) -> *mut c_void {
            type Function = unsafe extern "C-unwind" fn($($kind),*) -> *mut c_void;
            let address = $place.find();
            if address.is_null() {
                return $without;
            }
            // SAFETY: what has that name is such a function.
            let function = unsafe { core::mem::transmute::<*mut c_void, Function>(address) };
            if $place.is_allocators.load(Ordering::Relaxed) {
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
    ($place:ident, $symbol:literal, $rust:ident($block:ident $(, $argument:ident: $kind:ty)*)) => {
        static $place: Operator = Operator::new(concat!($symbol, "\0").as_bytes());

        /// A form of operator delete.
        ///
        /// # Safety
        /// As of the C++ library's.
        #[unsafe(export_name = $symbol)]
        pub(crate) unsafe extern "C-unwind" fn $rust($block: *mut c_void $(, $argument: $kind)*) {
            type Function = unsafe extern "C-unwind" fn(*mut c_void $(, $kind)*);
            let address = $place.find();
            if address.is_null() {
                // SAFETY: the caller keeps the contract; the block is malloc's, as `without` made it.
                return unsafe { free($block) };
            }
            // SAFETY: what has that name is such a function.
            let function = unsafe { core::mem::transmute::<*mut c_void, Function>(address) };
            if $place.is_allocators.load(Ordering::Relaxed) {
                // SAFETY: the caller keeps the contract.
                return freed($block, move || unsafe { function($block $(, $argument)*) });
            }
            // SAFETY: the caller keeps the contract.
            unsafe { function($block $(, $argument)*) }
        }
    };
}

/// `std::nothrow`, of which only the address is passed.
type Nothrow = *const c_void;

operator_new!(
    NEW,
    "_Znwm",
    new(size: usize),
    |call| plain(size, call),
    or_abort(family::malloc(size.max(1)))
);
operator_new!(
    NEW_ARRAY,
    "_Znam",
    new_array(size: usize),
    |call| plain(size, call),
    or_abort(family::malloc(size.max(1)))
);
operator_new!(
    NEW_NOTHROW,
    "_ZnwmRKSt9nothrow_t",
    new_nothrow(size: usize, tag: Nothrow),
    |call| plain(size, call),
    family::malloc(size.max(1))
);
operator_new!(
    NEW_ARRAY_NOTHROW,
    "_ZnamRKSt9nothrow_t",
    new_array_nothrow(size: usize, tag: Nothrow),
    |call| plain(size, call),
    family::malloc(size.max(1))
);
operator_new!(
    NEW_ALIGNED,
    "_ZnwmSt11align_val_t",
    new_aligned(size: usize, alignment: usize),
    |call| with_alignment(alignment, size, call),
    or_abort(family::memalign(alignment, size.max(1)))
);
operator_new!(
    NEW_ARRAY_ALIGNED,
    "_ZnamSt11align_val_t",
    new_array_aligned(size: usize, alignment: usize),
    |call| with_alignment(alignment, size, call),
    or_abort(family::memalign(alignment, size.max(1)))
);
operator_new!(
    NEW_ALIGNED_NOTHROW,
    "_ZnwmSt11align_val_tRKSt9nothrow_t",
    new_aligned_nothrow(size: usize, alignment: usize, tag: Nothrow),
    |call| with_alignment(alignment, size, call),
    family::memalign(alignment, size.max(1))
);
operator_new!(
    NEW_ARRAY_ALIGNED_NOTHROW,
    "_ZnamSt11align_val_tRKSt9nothrow_t",
    new_array_aligned_nothrow(size: usize, alignment: usize, tag: Nothrow),
    |call| with_alignment(alignment, size, call),
    family::memalign(alignment, size.max(1))
);

operator_delete!(DELETE, "_ZdlPv", delete(block));
operator_delete!(DELETE_ARRAY, "_ZdaPv", delete_array(block));
operator_delete!(DELETE_SIZED, "_ZdlPvm", delete_sized(block, size: usize));
operator_delete!(DELETE_ARRAY_SIZED, "_ZdaPvm", delete_array_sized(block, size: usize));
operator_delete!(DELETE_NOTHROW, "_ZdlPvRKSt9nothrow_t", delete_nothrow(block, tag: Nothrow));
operator_delete!(DELETE_ARRAY_NOTHROW, "_ZdaPvRKSt9nothrow_t", delete_array_nothrow(block, tag: Nothrow));
operator_delete!(DELETE_ALIGNED, "_ZdlPvSt11align_val_t", delete_aligned(block, alignment: usize));
operator_delete!(
    DELETE_ARRAY_ALIGNED,
    "_ZdaPvSt11align_val_t",
    delete_array_aligned(block, alignment: usize)
);
operator_delete!(
    DELETE_SIZED_ALIGNED,
    "_ZdlPvmSt11align_val_t",
    delete_sized_aligned(block, size: usize, alignment: usize)
);
operator_delete!(
    DELETE_ARRAY_SIZED_ALIGNED,
    "_ZdaPvmSt11align_val_t",
    delete_array_sized_aligned(block, size: usize, alignment: usize)
);
operator_delete!(
    DELETE_ALIGNED_NOTHROW,
    "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    delete_aligned_nothrow(block, alignment: usize, tag: Nothrow)
);
operator_delete!(
    DELETE_ARRAY_ALIGNED_NOTHROW,
    "_ZdaPvSt11align_val_tRKSt9nothrow_t",
    delete_array_aligned_nothrow(block, alignment: usize, tag: Nothrow)
);

/// All of them.
static FORMS: [&Operator; 20] = [
    &NEW,
    &NEW_ARRAY,
    &NEW_NOTHROW,
    &NEW_ARRAY_NOTHROW,
    &NEW_ALIGNED,
    &NEW_ARRAY_ALIGNED,
    &NEW_ALIGNED_NOTHROW,
    &NEW_ARRAY_ALIGNED_NOTHROW,
    &DELETE,
    &DELETE_ARRAY,
    &DELETE_SIZED,
    &DELETE_ARRAY_SIZED,
    &DELETE_NOTHROW,
    &DELETE_ARRAY_NOTHROW,
    &DELETE_ALIGNED,
    &DELETE_ARRAY_ALIGNED,
    &DELETE_SIZED_ALIGNED,
    &DELETE_ARRAY_SIZED_ALIGNED,
    &DELETE_ALIGNED_NOTHROW,
    &DELETE_ARRAY_ALIGNED_NOTHROW,
];

/// PERF: out of line, as the others, so that an operator that is passed on saves no register.
#[inline(never)]
fn plain(size: usize, function: impl FnOnce() -> *mut c_void) -> *mut c_void {
    let depth = storage::depth();
    let thrown = Thrown { depth, size, is_aligned: false };
    call::allocate(size, depth, Allocation::Malloc, move || returning(function, thrown))
}

#[inline(never)]
fn with_alignment(alignment: usize, size: usize, function: impl FnOnce() -> *mut c_void) -> *mut c_void {
    let depth = storage::depth();
    let thrown = Thrown { depth, size, is_aligned: true };
    record::after(depth, move || returning(function, thrown), |&block| aligned(block, alignment, size))
}

#[inline(never)]
fn freed(block: *mut c_void, function: impl FnOnce()) {
    call::free(block, storage::depth(), function);
}

/// Calls `function`; if it throws, `thrown` is dropped.
#[inline(always)]
fn returning(function: impl FnOnce() -> *mut c_void, thrown: Thrown) -> *mut c_void {
    let block = function();
    core::mem::forget(thrown);
    block
}

/// What an exception that leaves an operator does.
struct Thrown {
    depth: u64,
    size: usize,
    is_aligned: bool,
}

impl Drop for Thrown {
    #[inline(always)]
    fn drop(&mut self) {
        record::leave_thrown(self.depth, self.size as u64, self.is_aligned);
    }
}

/// Without a C++ library nothing can be thrown.
fn or_abort(block: *mut c_void) -> *mut c_void {
    if block.is_null() {
        // SAFETY: without preconditions.
        unsafe { libc::abort() };
    }
    block
}
