//! The functions that every call is forwarded to: those of the next object in the search order.
//!
//! That is a preloaded allocator, or the C library. Functions that every C library has are searched for once, at
//! the first call of any of them, which may come before any constructor has run. A successful search allocates
//! nothing and takes none of an allocator's locks; one that fails allocates its message. So this library's
//! constructor, which runs while no allocator holds a lock, searches for the functions that may be missing: a
//! program's own malloc may hold its lock and call mmap.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::thread::{BUSY, Start};
use crate::{arena, exports, storage};

/// A function that is found at run time.
pub(crate) struct Next<F> {
    address: AtomicPtr<c_void>,
    name: &'static CStr,
    kind: PhantomData<F>,
}

// SAFETY: it holds an address alone.
unsafe impl<F> Sync for Next<F> {}

impl<F: Copy> Next<F> {
    const fn new(name: &'static CStr, first: *mut c_void) -> Next<F> {
        Next { address: AtomicPtr::new(first), name, kind: PhantomData }
    }

    /// The function; for one that [may be missing](Next::find_rare), only if it exists.
    #[inline(always)]
    pub(crate) fn get(&self) -> F {
        let address = self.address.load(Ordering::Relaxed);
        // SAFETY: F is the type of a function pointer (the statics below are all there are), and what
        // dlsym found by that name is such a function.
        unsafe { core::mem::transmute_copy(&address) }
    }

    /// The function, if the search order has one after this library.
    #[inline(always)]
    pub(crate) fn find(&self) -> Option<F> {
        resolve();
        self.found()
    }

    /// Like [`Next::find`], for a function that not every C library or allocator has.
    #[inline(always)]
    pub(crate) fn find_rare(&self) -> Option<F> {
        resolve_rare();
        self.found()
    }

    #[inline(always)]
    fn found(&self) -> Option<F> {
        if self.address.load(Ordering::Relaxed).is_null() { None } else { Some(self.get()) }
    }

    /// Where it is; NULL if there is none.
    pub(crate) fn address(&self) -> *mut c_void {
        self.address.load(Ordering::Relaxed)
    }

    /// Searches for it. If there is none, the present address stays, and its name is returned.
    fn search(&self) -> Option<&'static CStr> {
        let found = search(self.name);
        if found.is_null() {
            return Some(self.name);
        }
        self.address.store(found, Ordering::Relaxed);
        None
    }

    /// Replaces it by another function.
    fn replace(&self, address: *mut c_void) {
        self.address.store(address, Ordering::Relaxed);
    }
}

type Malloc = unsafe extern "C" fn(usize) -> *mut c_void;
type Calloc = unsafe extern "C" fn(usize, usize) -> *mut c_void;
type Realloc = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);
type FreeSized = unsafe extern "C" fn(*mut c_void, usize);
type FreeAlignedSized = unsafe extern "C" fn(*mut c_void, usize, usize);
type PosixMemalign = unsafe extern "C" fn(*mut *mut c_void, usize, usize) -> c_int;
type UsableSize = unsafe extern "C" fn(*mut c_void) -> usize;
type Mallocx = unsafe extern "C" fn(usize, c_int) -> *mut c_void;
type Rallocx = unsafe extern "C" fn(*mut c_void, usize, c_int) -> *mut c_void;
type Xallocx = unsafe extern "C" fn(*mut c_void, usize, usize, c_int) -> usize;
type Dallocx = unsafe extern "C" fn(*mut c_void, c_int);
type Sdallocx = unsafe extern "C" fn(*mut c_void, usize, c_int);
type CreateThread = unsafe extern "C" fn(*mut c_void, *const c_void, Start, *mut c_void) -> c_int;

/// Declares the functions, and a function that searches for all of them: those that every allocator has come
/// with a substitute that serves until they are found.
macro_rules! functions {
    ($search:ident: $($place:ident: $kind:ty = $name:literal $(, $first:expr)?;)*) => {
        $(pub(crate) static $place: Next<$kind> = Next::new($name, functions!(@first $($first)?));)*

        /// Searches for all; yields those that do not exist.
        fn $search() -> impl Iterator<Item = &'static CStr> {
            [$($place.search()),*].into_iter().flatten()
        }
    };
    (@first) => { ptr::null_mut() };
    (@first $first:expr) => { $first as *mut c_void };
}

functions! {
    search_for_all:
    MALLOC: Malloc = c"malloc", first_malloc;
    FREE: Free = c"free", first_free;
    CALLOC: Calloc = c"calloc", first_calloc;
    REALLOC: Realloc = c"realloc", first_realloc;
    POSIX_MEMALIGN: PosixMemalign = c"posix_memalign", first_posix_memalign;
    ALIGNED_ALLOC: Calloc = c"aligned_alloc", first_aligned_alloc;
    MEMALIGN: Calloc = c"memalign", first_aligned;
    VALLOC: Malloc = c"valloc", first_valloc;
    PVALLOC: Malloc = c"pvalloc", first_pvalloc;
    USABLE_SIZE: UsableSize = c"malloc_usable_size", first_usable_size;
    PTHREAD_CREATE: CreateThread = c"pthread_create";
    BRK: unsafe extern "C" fn(*mut c_void) -> c_int = c"brk";
    SBRK: unsafe extern "C" fn(isize) -> *mut c_void = c"sbrk";
    MALLOC_TRIM: unsafe extern "C" fn(usize) -> c_int = c"malloc_trim";
    MALLOPT: unsafe extern "C" fn(c_int, c_int) -> c_int = c"mallopt";
}

functions! {
    search_for_rare:
    THRD_CREATE: unsafe extern "C" fn(*mut c_void, Start, *mut c_void) -> c_int = c"thrd_create";
    CFREE: Free = c"cfree";
    FREE_SIZED: FreeSized = c"free_sized";
    FREE_ALIGNED_SIZED: FreeAlignedSized = c"free_aligned_sized";
    MALLOCX: Mallocx = c"mallocx";
    RALLOCX: Rallocx = c"rallocx";
    XALLOCX: Xallocx = c"xallocx";
    DALLOCX: Dallocx = c"dallocx";
    SDALLOCX: Sdallocx = c"sdallocx";
}

/// `free` and `realloc` as found, if the arena has served blocks, which must not reach these functions.
static FOUND_FREE: Next<Free> = Next::new(c"free", ptr::null_mut());
static FOUND_REALLOC: Next<Realloc> = Next::new(c"realloc", ptr::null_mut());
static FOUND_USABLE_SIZE: Next<UsableSize> = Next::new(c"malloc_usable_size", ptr::null_mut());

const FRESH: u32 = 0;
const SEARCHING: u32 = 1;
const FOUND: u32 = 2;
static PROGRESS: AtomicU32 = AtomicU32::new(FRESH);

/// Finds the functions, once: false to a call from within the search, which must do without.
#[inline(always)]
pub(crate) fn resolve() -> bool {
    PROGRESS.load(Ordering::Acquire) == FOUND || resolve_now()
}

#[cold]
fn resolve_now() -> bool {
    let thread = storage::thread();
    if PROGRESS.compare_exchange(FRESH, SEARCHING, Ordering::AcqRel, Ordering::Acquire).is_err() {
        if thread.is(&BUSY) {
            return PROGRESS.load(Ordering::Acquire) == FOUND;
        }
        while PROGRESS.load(Ordering::Acquire) != FOUND {
            crate::system::give_way();
        }
        return true;
    }
    storage::set_thread(&BUSY);
    search_for_all().for_each(drop);
    if arena::calls() > 0 {
        FOUND_FREE.replace(FREE.address());
        FOUND_REALLOC.replace(REALLOC.address());
        FOUND_USABLE_SIZE.replace(USABLE_SIZE.address());
        FREE.replace(free_or_arena as *mut c_void);
        REALLOC.replace(realloc_or_arena as *mut c_void);
        USABLE_SIZE.replace(usable_size_or_arena as *mut c_void);
    }
    PROGRESS.store(FOUND, Ordering::Release);
    storage::set_thread(thread);
    true
}

static RARE_PROGRESS: AtomicU32 = AtomicU32::new(FRESH);

/// Finds the functions that may be missing, once: when the library is loaded, or when one of them is called
/// before.
#[inline(always)]
pub(crate) fn resolve_rare() {
    if RARE_PROGRESS.load(Ordering::Acquire) != FOUND {
        resolve_rare_now();
    }
}

#[cold]
fn resolve_rare_now() {
    resolve();
    if RARE_PROGRESS.compare_exchange(FRESH, SEARCHING, Ordering::AcqRel, Ordering::Acquire).is_err() {
        return; // a call from within the search, or from another thread while the library is loaded
    }
    let thread = storage::thread();
    storage::set_thread(&BUSY);
    exports::withdraw(search_for_rare());
    forget_failures();
    storage::set_thread(thread);
    RARE_PROGRESS.store(FOUND, Ordering::Release);
}

/// Frees what dlsym has allocated to report the name that it did not find: 105 bytes of the program's heap
/// that would stay as long as the thread.
pub(crate) fn forget_failures() {
    // SAFETY: dlerror has no preconditions. The first call gives the message out, the second frees it.
    unsafe {
        libc::dlerror();
        libc::dlerror();
    }
}

/// What the name means in the objects after this library; NULL if nothing.
pub(crate) fn search(name: &CStr) -> *mut c_void {
    // SAFETY: the name ends with a NUL.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

/// The object that contains an address: where it starts, and its path; none if no object contains it.
pub(crate) fn object_of(address: *const c_void) -> Option<(*const c_void, *const c_char)> {
    let mut info = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    // SAFETY: the loader fills the structure.
    let found = unsafe { libc::dladdr(address, &mut info) } != 0;
    (found && !info.dli_fname.is_null()).then_some((info.dli_fbase.cast_const(), info.dli_fname))
}

/// The addresses of the object that contains an address; none if no object contains it.
///
/// PERF: dladdr goes through all symbols of the object, which takes 20 us in a C++ library.
pub(crate) fn range_of(address: *const c_void) -> Range<u64> {
    struct Search {
        address: u64,
        found: Range<u64>,
    }

    unsafe extern "C" fn compare(
        object: *mut libc::dl_phdr_info,
        _bytes: usize,
        search: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader describes an object, and passes the search on.
        let (object, search) = unsafe { (&*object, &mut *search.cast::<Search>()) };
        // SAFETY: the object's program headers, of that number.
        let segments = unsafe { core::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
        let mut range = Range { start: u64::MAX, end: 0 };
        for segment in segments.iter().filter(|segment| segment.p_type == libc::PT_LOAD) {
            let begin = object.dlpi_addr.wrapping_add(segment.p_vaddr);
            range.start = range.start.min(begin);
            range.end = range.end.max(begin.wrapping_add(segment.p_memsz));
        }
        let is_found = range.contains(&search.address);
        if is_found {
            search.found = range;
        }
        is_found.into()
    }

    let mut search = Search { address: address as u64, found: 0..0 };
    // SAFETY: `compare` gets the search.
    unsafe { libc::dl_iterate_phdr(Some(compare), (&raw mut search).cast()) };
    search.found
}

unsafe extern "C" fn first_malloc(size: usize) -> *mut c_void {
    if resolve() {
        // SAFETY: found; the caller keeps malloc's contract, as in all that follow.
        return unsafe { MALLOC.get()(size) };
    }
    arena::allocate(size, 16)
}

unsafe extern "C" fn first_calloc(count: usize, size: usize) -> *mut c_void {
    if resolve() {
        // SAFETY: as above.
        return unsafe { CALLOC.get()(count, size) };
    }
    count.checked_mul(size).map_or(ptr::null_mut(), |bytes| arena::allocate(bytes, 16))
}

unsafe extern "C" fn first_realloc(block: *mut c_void, size: usize) -> *mut c_void {
    if resolve() {
        // SAFETY: as above.
        return unsafe { REALLOC.get()(block, size) };
    }
    let moved = arena::allocate(size, 16);
    if !block.is_null() && !moved.is_null() {
        // SAFETY: during the search every block is the arena's.
        unsafe { copy_from_arena(block, moved, size) };
    }
    moved
}

unsafe extern "C" fn first_free(block: *mut c_void) {
    if resolve() {
        // SAFETY: as above.
        unsafe { FREE.get()(block) };
    }
}

unsafe extern "C" fn first_aligned(alignment: usize, size: usize) -> *mut c_void {
    if resolve() {
        // SAFETY: as above.
        return unsafe { MEMALIGN.get()(alignment, size) };
    }
    if alignment.is_power_of_two() { arena::allocate(size, alignment.max(16)) } else { ptr::null_mut() }
}

unsafe extern "C" fn first_aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    if resolve() {
        // SAFETY: as above.
        return unsafe { ALIGNED_ALLOC.get()(alignment, size) };
    }
    // SAFETY: as above.
    unsafe { first_aligned(alignment, size) }
}

unsafe extern "C" fn first_valloc(size: usize) -> *mut c_void {
    if resolve() {
        // SAFETY: as above.
        return unsafe { VALLOC.get()(size) };
    }
    arena::allocate(size, 4096)
}

unsafe extern "C" fn first_pvalloc(size: usize) -> *mut c_void {
    if resolve() {
        // SAFETY: as above.
        return unsafe { PVALLOC.get()(size) };
    }
    arena::allocate(size, 4096)
}

unsafe extern "C" fn first_posix_memalign(result: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    if resolve() {
        // SAFETY: as above.
        return unsafe { POSIX_MEMALIGN.get()(result, alignment, size) };
    }
    // SAFETY: as above.
    let block = unsafe { first_aligned(alignment, size) };
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's place can be written to.
    unsafe { *result = block };
    0
}

unsafe extern "C" fn first_usable_size(block: *mut c_void) -> usize {
    if resolve() {
        // SAFETY: as above.
        return unsafe { USABLE_SIZE.get()(block) };
    }
    // SAFETY: during the search every block is the arena's.
    if block.is_null() { 0 } else { unsafe { arena::size_of_block(block) } }
}

unsafe extern "C" fn free_or_arena(block: *mut c_void) {
    if !arena::holds(block) {
        // SAFETY: as above.
        unsafe { FOUND_FREE.get()(block) };
    }
}

unsafe extern "C" fn realloc_or_arena(block: *mut c_void, size: usize) -> *mut c_void {
    if !arena::holds(block) {
        // SAFETY: as above.
        return unsafe { FOUND_REALLOC.get()(block, size) };
    }
    // SAFETY: as above; the arena holds the block.
    unsafe {
        let moved = MALLOC.get()(size);
        if !moved.is_null() {
            copy_from_arena(block, moved, size);
        }
        moved
    }
}

unsafe extern "C" fn usable_size_or_arena(block: *mut c_void) -> usize {
    if arena::holds(block) {
        // SAFETY: the arena holds the block.
        return unsafe { arena::size_of_block(block) };
    }
    // SAFETY: as above.
    unsafe { FOUND_USABLE_SIZE.get()(block) }
}

/// # Safety
/// The arena holds `block`, and `moved` has `size` bytes.
unsafe fn copy_from_arena(block: *mut c_void, moved: *mut c_void, size: usize) {
    // SAFETY: the caller keeps the contract.
    unsafe {
        let bytes = arena::size_of_block(block).min(size);
        ptr::copy_nonoverlapping(block.cast::<u8>(), moved.cast::<u8>(), bytes);
    }
}
