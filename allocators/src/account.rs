//! What the allocator that serves this process says about its own memory.
//!
//! Called in the process that is measured, with no other thread at work. Side effects: jemalloc refreshes its
//! statistics, for which it takes some memory of its own at the first call; gperftools' tcmalloc prints into
//! a buffer that is not the heap's. Apart from that, only the loader's error texts for missing symbols are
//! allocated from the allocator under test.
#![allow(unsafe_code)]

mod google;
mod gperftools;
mod jemalloc;

use std::ffi::c_void;
use std::ptr;

use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::identity::serving_object;
use crate::symbol::{self, Object};

/// An allocator's own account, in bytes. What it does not report is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Bytes in blocks that it considers in use.
    pub live_bytes: Option<u64>,
    /// Free bytes kept for future blocks: caches, free lists, the free part of pages with live blocks.
    pub cached_bytes: Option<u64>,
    /// Free whole pages that have not been given back.
    pub dirty_bytes: Option<u64>,
    /// Its own tables.
    pub metadata_bytes: Option<u64>,
    /// Bytes of pages that contain blocks, live or free.
    pub active_bytes: Option<u64>,
    /// Everything that it has from the system and has not given back.
    pub system_bytes: Option<u64>,
    /// Blocks by size, if it reports them; in order of size.
    pub classes: Vec<ClassAccount>,
}

/// The blocks of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassAccount {
    /// Their size.
    pub size_bytes: u64,
    /// Bytes of the blocks in use.
    pub live_bytes: Option<u64>,
    /// Bytes of the free blocks that it keeps.
    pub cached_bytes: Option<u64>,
}

/// The account of the allocator that serves this process, which is of `family`. None if it reports nothing.
pub fn account(family: Family) -> Option<Account> {
    let object = serving_object()?;
    match family {
        Family::Ptmalloc2 => mallinfo(&object).map(Mallinfo::of_the_c_library),
        Family::Scudo => mallinfo(&object).map(Mallinfo::of_scudo),
        Family::Jemalloc => jemalloc::account(&object),
        Family::Tcmalloc => gperftools::account(&object),
        Family::TcmallocGoogle => google::account(&object),
        Family::Mimalloc => committed_by_mimalloc(&object),
        Family::Snmalloc => usage_of_snmalloc(&object),
        Family::Rpmalloc => caches_of_rpmalloc(&object),
        Family::Tbbmalloc | Family::Floor | Family::Other => None,
    }
}

/// `struct mallinfo2` of the C library.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Mallinfo {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

fn mallinfo(object: &Object) -> Option<Mallinfo> {
    let address = symbol::find_in(object, c"mallinfo2")?;
    // SAFETY: the function has this type in the C library, and in Scudo, which has it for the C library's callers.
    Some(unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> Mallinfo>(address)() })
}

impl Mallinfo {
    /// Over all arenas. Blocks in their own mappings are only in `hblkhd`; those in threads' caches count as
    /// live.
    fn of_the_c_library(self) -> Account {
        Account {
            live_bytes: Some((self.uordblks + self.hblkhd) as u64),
            cached_bytes: Some(self.fordblks as u64),
            system_bytes: Some((self.arena + self.hblkhd) as u64),
            ..Account::default()
        }
    }

    /// As filled by Scudo's wrappers: mapped, free and allocated bytes.
    fn of_scudo(self) -> Account {
        Account {
            live_bytes: Some(self.uordblks as u64),
            cached_bytes: Some(self.fordblks as u64),
            system_bytes: Some(self.hblkhd as u64),
            ..Account::default()
        }
    }
}

fn committed_by_mimalloc(object: &Object) -> Option<Account> {
    type ProcessInfo = unsafe extern "C" fn(
        *mut usize,
        *mut usize,
        *mut usize,
        *mut usize,
        *mut usize,
        *mut usize,
        *mut usize,
        *mut usize,
    );
    let address = symbol::find_in(object, c"mi_process_info")
        .or_else(|| symbol::find_in(object, c"heaplab_mi_process_info"))?;
    let mut committed = 0;
    let none = ptr::null_mut();
    // SAFETY: mimalloc's function has this type in every version, and writes wherever it is not given NULL.
    unsafe {
        std::mem::transmute::<*mut c_void, ProcessInfo>(address)(
            none,
            none,
            none,
            none,
            none,
            &mut committed,
            none,
            none,
        );
    }
    Some(Account { system_bytes: Some(committed as u64), ..Account::default() })
}

fn usage_of_snmalloc(object: &Object) -> Option<Account> {
    let address = symbol::find_in(object, c"heaplab_snmalloc_statistics")?;
    let (mut current, mut peak) = (0, 0);
    // SAFETY: snmalloc's function has this type, and writes to both.
    unsafe {
        std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut usize, *mut usize)>(address)(
            &mut current,
            &mut peak,
        );
    }
    Some(Account { system_bytes: Some(current as u64), ..Account::default() })
}

/// The caches that all threads share: as it is built, rpmalloc counts neither the caches of a single thread
/// nor what is live.
fn caches_of_rpmalloc(object: &Object) -> Option<Account> {
    /// `rpmalloc_global_statistics_t`: mapped, its peak, cached, huge, its peak, mapped in all, unmapped in all.
    type Statistics = [usize; 7];
    let address = symbol::find_in(object, c"heaplab_rpmalloc_global_statistics")?;
    let mut statistics: Statistics = [0; 7];
    // SAFETY: rpmalloc's function has this type, and writes these seven words.
    unsafe {
        std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut Statistics)>(address)(&mut statistics);
    }
    Some(Account { cached_bytes: Some(statistics[2] as u64), ..Account::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_counts_what_is_live() {
        let before = account(Family::Ptmalloc2).expect("an account");
        let block = vec![1u8; 64 << 20];
        let after = account(Family::Ptmalloc2).expect("an account");
        let grown = after.live_bytes.unwrap().abs_diff(before.live_bytes.unwrap());
        // Tests beside this one allocate and free too.
        assert!((48 << 20..80 << 20).contains(&grown), "{grown}");
        assert!(after.system_bytes >= after.live_bytes);
        assert_eq!((block.len(), after.dirty_bytes), (64 << 20, None));
    }

    #[test]
    fn who_says_nothing_has_no_account() {
        assert_eq!(account(Family::Tbbmalloc), None);
        assert_eq!(account(Family::Jemalloc), None, "it does not serve this process");
    }
}
