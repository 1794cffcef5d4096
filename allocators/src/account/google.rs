//! The account of Google's TCMalloc, by its properties, which are queried by name and length.

use std::ffi::c_void;

use super::Account;
use crate::symbol::{self, Object};

type GetProperty = unsafe extern "C" fn(*const u8, usize, *mut usize) -> bool;

/// Where free blocks are: per CPU or per thread, and on their way back.
const CACHES: [&str; 5] = [
    "tcmalloc.cpu_free",
    "tcmalloc.thread_cache_free",
    "tcmalloc.central_cache_free",
    "tcmalloc.transfer_cache_free",
    "tcmalloc.sharded_transfer_cache_free",
];

pub(super) fn account(object: &Object) -> Option<Account> {
    let address = symbol::find_in(object, c"heaplab_tcmalloc_google_property")?;
    // SAFETY: the library's function has this type.
    let get = unsafe { std::mem::transmute::<*mut c_void, GetProperty>(address) };
    let read = |name: &str| {
        let mut value = 0;
        // SAFETY: the name has that length, and one word is written.
        unsafe { get(name.as_ptr(), name.len(), &mut value) }.then_some(value as u64)
    };
    Some(Account {
        live_bytes: read("generic.current_allocated_bytes"),
        cached_bytes: Some(CACHES.iter().filter_map(|name| read(name)).sum()),
        dirty_bytes: read("tcmalloc.pageheap_free_bytes"),
        metadata_bytes: read("tcmalloc.metadata_bytes"),
        active_bytes: None,
        system_bytes: read("generic.physical_memory_used"),
        classes: Vec::new(),
    })
}
