//! Each allocator's own call that gives memory back, and whether it gives memory back on timers.
//!
//! Called in the process that is measured. Side effect: the purge itself. No call reaches what another thread
//! keeps for itself: jemalloc's flushes the caller's cache, mimalloc's collects the caller's heap, with
//! everything that is free in it. So each thread calls [`purge_thread`], and then one of them calls
//! [`purge`].
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use crate::family::Family;
use crate::identity::serving_object;
use crate::symbol::{self, Object};

/// Asks the allocator that serves this process, which is of `family`, for all the memory that it can give
/// back. None if it has no such call.
pub fn purge(family: Family) -> Option<()> {
    let object = serving_object()?;
    match family {
        Family::Ptmalloc2 => {
            let address = symbol::find_in(&object, c"malloc_trim")?;
            // SAFETY: the C library's function has this type; 0 keeps no bytes at the top.
            unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(usize) -> c_int>(address)(0) };
            Some(())
        }
        Family::Jemalloc => purge_jemalloc(&object),
        Family::Mimalloc => collect_mimalloc(&object),
        Family::Tcmalloc => {
            give_up_cache(&object);
            call_plain(&object, c"MallocExtension_ReleaseFreeMemory")
        }
        Family::TcmallocGoogle => purge_google(&object),
        Family::Scudo => {
            // M_PURGE of Scudo's own <scudo/interface.h>.
            const PURGE: c_int = -101;
            let address = symbol::find_in(&object, c"mallopt")?;
            // SAFETY: the function has this type in every C library.
            let taken = unsafe {
                std::mem::transmute::<*mut c_void, unsafe extern "C" fn(c_int, c_int) -> c_int>(address)(
                    PURGE, 0,
                )
            };
            (taken == 1).then_some(())
        }
        Family::Tbbmalloc => command_tbb(0),
        Family::Snmalloc | Family::Rpmalloc | Family::Floor | Family::Other => None,
    }
}

/// The caches of all CPUs, then all free pages.
fn purge_google(object: &Object) -> Option<()> {
    let release_cpu = symbol::find_in(object, c"heaplab_tcmalloc_google_release_cpu")?;
    let release = symbol::find_in(object, c"heaplab_tcmalloc_google_release")?;
    // NOTE: not the largest number: TCMalloc rounds it up to whole pages, and so to zero.
    const MORE_THAN_THERE_ARE: usize = 1 << 46;
    // SAFETY: the library's functions have these types; a CPU that has no cache, and more bytes than are
    // free, are allowed. The C library counts the CPUs that may exist.
    unsafe {
        for cpu in 0..libc::sysconf(libc::_SC_NPROCESSORS_CONF) {
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn(c_int) -> usize>(release_cpu)(
                cpu as c_int,
            );
        }
        std::mem::transmute::<*mut c_void, unsafe extern "C" fn(usize)>(release)(MORE_THAN_THERE_ARE);
    }
    Some(())
}

/// `scalable_allocation_command`: 0 cleans all buffers, 1 the calling thread's. It is in the library behind
/// the preloaded proxy.
fn command_tbb(command: c_int) -> Option<()> {
    let address = symbol::find(c"scalable_allocation_command")?;
    // SAFETY: oneTBB's function has this type; its second argument must be NULL. It reports whether there was
    // something to do.
    unsafe {
        std::mem::transmute::<*mut c_void, unsafe extern "C" fn(c_int, *mut c_void) -> c_int>(address)(
            command,
            ptr::null_mut(),
        )
    };
    Some(())
}

/// Asks the allocator for what only the calling thread can give back. None if it has no such call: what ptmalloc2 keeps
/// for a thread stays its own until it ends.
pub fn purge_thread(family: Family) -> Option<()> {
    let object = serving_object()?;
    match family {
        Family::Jemalloc => call_jemalloc(&object, c"thread.tcache.flush"),
        Family::Mimalloc => collect_mimalloc(&object),
        Family::Tcmalloc => give_up_cache(&object),
        Family::TcmallocGoogle => call_plain(&object, c"heaplab_tcmalloc_google_idle"),
        Family::Tbbmalloc => command_tbb(1),
        Family::Ptmalloc2
        | Family::Snmalloc
        | Family::Rpmalloc
        | Family::Scudo
        | Family::Floor
        | Family::Other => None,
    }
}

/// The calling thread's cache of gperftools' tcmalloc, which gets a new one with its next call.
fn give_up_cache(object: &Object) -> Option<()> {
    call_plain(object, c"MallocExtension_MarkThreadIdle")
}

/// A function of the allocator's that takes nothing, yields nothing and may be called at any time.
fn call_plain(object: &Object, name: &CStr) -> Option<()> {
    let address = symbol::find_in(object, name)?;
    // SAFETY: by the caller's contract it is such a function.
    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(address)() };
    Some(())
}

/// The calling thread's heap, and what no thread owns.
fn collect_mimalloc(object: &Object) -> Option<()> {
    let address =
        symbol::find_in(object, c"mi_collect").or_else(|| symbol::find_in(object, c"heaplab_mi_collect"))?;
    // SAFETY: mimalloc's function has this type in every version, and no preconditions.
    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(bool)>(address)(true) };
    Some(())
}

/// The calling thread's cache, then the dirty and muzzy pages of all arenas.
fn purge_jemalloc(object: &Object) -> Option<()> {
    // 4096 is MALLCTL_ARENAS_ALL of jemalloc 5, and older ones take the number of arenas instead.
    const PURGE: &CStr = c"arena.4096.purge";
    // It fails if the thread has no cache, in which case there is nothing to flush.
    call_jemalloc(object, c"thread.tcache.flush");
    call_jemalloc(object, PURGE)
}

/// A name of `mallctl` that takes no value and yields none.
fn call_jemalloc(object: &Object, name: &CStr) -> Option<()> {
    let mallctl = symbol::mallctl_in(object)?;
    // SAFETY: by the caller's contract the name takes no value and yields none.
    let failed = unsafe { mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
    (failed == 0).then_some(())
}

/// Whether an allocator of this family and version gives memory back on timers, so that it reads a clock.
///
/// ptmalloc2 and gperftools' tcmalloc have none; jemalloc decays since version 4.1, mimalloc purges in every
/// version, Scudo releases every 5 s. Google's TCMalloc has timers, but only a thread that the program starts
/// would act on them, and they read the processor's counter rather than a clock. Nothing is known about
/// allocators of other families, and the answer is no.
pub fn has_timers(family: Family, version: &str) -> bool {
    match family {
        Family::Mimalloc => true,
        Family::Jemalloc => {
            let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
            (numbers.next(), numbers.next()) >= (Some(4), Some(1))
        }
        Family::Scudo => true,
        Family::Ptmalloc2
        | Family::Tcmalloc
        | Family::TcmallocGoogle
        | Family::Snmalloc
        | Family::Rpmalloc
        | Family::Tbbmalloc
        | Family::Floor
        | Family::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_librarys_purge_is_there_and_others_are_not() {
        assert_eq!(purge(Family::Ptmalloc2), Some(()));
        assert_eq!(purge(Family::Jemalloc), None);
        assert_eq!(purge(Family::Floor), None);
        assert_eq!(purge_thread(Family::Jemalloc), None);
        assert_eq!(purge_thread(Family::Ptmalloc2), None);
    }

    #[test]
    fn timers_by_family_and_version() {
        assert!(has_timers(Family::Jemalloc, "5.3.1-0-g81034ce1"));
        assert!(!has_timers(Family::Jemalloc, "4.0.4-0-g0"));
        assert!(!has_timers(Family::Jemalloc, ""));
        assert!(has_timers(Family::Mimalloc, "2.0.9"));
        assert!(!has_timers(Family::Tcmalloc, "2.10"));
    }
}
