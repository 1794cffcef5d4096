//! Each allocator's own call to give memory back, and whether it gives memory back on timers.
//!
//! Called in the process that is measured. Side effect: the purge itself. No call reaches what another thread keeps
//! for itself: jemalloc's flushes the caller's cache, mimalloc's collects the caller's heap, with all that is
//! free in it. So each thread makes [`purge_thread`], and then one of them [`purge`].
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use crate::family::Family;
use crate::identity::serving_object;
use crate::symbol::{self, Object};

/// Asks the allocator that serves this process, which is of `family`, for all the memory that it can give back.
/// None where it has no such call.
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
            let address = symbol::find_in(&object, c"MallocExtension_ReleaseFreeMemory")?;
            // SAFETY: gperftools' function has this type, and no preconditions.
            unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(address)() };
            Some(())
        }
        Family::Floor | Family::Other => None,
    }
}

/// Asks the allocator for what only the calling thread can give back. None where it has no such call: what
/// ptmalloc2 and gperftools' tcmalloc keep for a thread stays theirs until it ends.
pub fn purge_thread(family: Family) -> Option<()> {
    let object = serving_object()?;
    match family {
        Family::Jemalloc => call_jemalloc(&object, c"thread.tcache.flush"),
        Family::Mimalloc => collect_mimalloc(&object),
        Family::Ptmalloc2 | Family::Tcmalloc | Family::Floor | Family::Other => None,
    }
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
    // It fails where the thread has no cache, and there is then nothing to flush.
    call_jemalloc(object, c"thread.tcache.flush");
    call_jemalloc(object, PURGE)
}

/// A name of `mallctl` that takes no value and yields none.
fn call_jemalloc(object: &Object, name: &CStr) -> Option<()> {
    let mallctl = symbol::mallctl_in(object)?;
    // SAFETY: by the caller's word the name takes no value and yields none.
    let failed = unsafe { mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
    (failed == 0).then_some(())
}

/// Whether an allocator of this family and version gives memory back on timers, so that it reads a clock.
///
/// ptmalloc2 and gperftools' tcmalloc have none; jemalloc decays since version 4.1, mimalloc purges in every
/// version. Of an allocator of another family nothing is known, and the answer is no.
pub fn has_timers(family: Family, version: &str) -> bool {
    match family {
        Family::Mimalloc => true,
        Family::Jemalloc => {
            let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
            (numbers.next(), numbers.next()) >= (Some(4), Some(1))
        }
        Family::Ptmalloc2 | Family::Tcmalloc | Family::Floor | Family::Other => false,
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
