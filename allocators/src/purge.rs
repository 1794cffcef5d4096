//! Each allocator's own call to give memory back, and whether it gives memory back on timers.
//!
//! Called in the process that is measured. Side effect: the purge itself, on the calling thread's caches and
//! on what all threads share; another thread's cache is out of reach of every one of these calls but mimalloc's.
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
        Family::Mimalloc => {
            let address = symbol::find_in(&object, c"mi_collect")
                .or_else(|| symbol::find_in(&object, c"heaplab_mi_collect"))?;
            // SAFETY: mimalloc's function has this type in every version, and no preconditions.
            unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(bool)>(address)(true) };
            Some(())
        }
        Family::Tcmalloc => {
            let address = symbol::find_in(&object, c"MallocExtension_ReleaseFreeMemory")?;
            // SAFETY: gperftools' function has this type, and no preconditions.
            unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(address)() };
            Some(())
        }
        Family::Floor | Family::Other => None,
    }
}

/// The calling thread's cache, then the dirty and muzzy pages of all arenas.
fn purge_jemalloc(object: &Object) -> Option<()> {
    // 4096 is MALLCTL_ARENAS_ALL of jemalloc 5, and older ones take the number of arenas instead.
    const CALLS: [&CStr; 2] = [c"thread.tcache.flush", c"arena.4096.purge"];
    let mallctl = symbol::mallctl_in(object)?;
    let mut purged = None;
    for name in CALLS {
        // SAFETY: both names take no value and yield none. The first fails where the thread has no cache.
        let failed = unsafe { mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
        purged = (failed == 0).then_some(());
    }
    purged
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
