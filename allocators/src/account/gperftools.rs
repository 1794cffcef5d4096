//! The account of gperftools' tcmalloc: its properties, and the free blocks of each size from the text that it prints.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::{Account, ClassAccount};
use crate::symbol::{self, Object};

type GetProperty = unsafe extern "C" fn(*const c_char, *mut usize) -> c_int;
type GetStats = unsafe extern "C" fn(*mut c_char, c_int);

/// Where free blocks are.
const CACHES: [&CStr; 3] = [
    c"tcmalloc.thread_cache_free_bytes",
    c"tcmalloc.central_cache_free_bytes",
    c"tcmalloc.transfer_cache_free_bytes",
];
/// More than the text has: a line of 60 bytes for each of about 170 sizes, and for each of the page heap's.
const TEXT_BYTES: usize = 64 << 10;

pub(super) fn account(object: &Object) -> Option<Account> {
    let address = symbol::find_in(object, c"MallocExtension_GetNumericProperty")?;
    // SAFETY: gperftools' function has this type.
    let get = unsafe { std::mem::transmute::<*mut c_void, GetProperty>(address) };
    let read = |name: &CStr| {
        let mut value = 0;
        // SAFETY: the name ends with NUL, and one word is written.
        (unsafe { get(name.as_ptr(), &mut value) } != 0).then_some(value as u64)
    };
    let unmapped = read(c"tcmalloc.pageheap_unmapped_bytes").unwrap_or(0);
    Some(Account {
        live_bytes: read(c"generic.current_allocated_bytes"),
        cached_bytes: Some(CACHES.iter().filter_map(|name| read(name)).sum()),
        dirty_bytes: read(c"tcmalloc.pageheap_free_bytes"),
        metadata_bytes: None,
        active_bytes: None,
        system_bytes: read(c"generic.heap_size").map(|heap| heap.saturating_sub(unmapped)),
        classes: print(object).map(|text| parse_classes(&text)).unwrap_or_default(),
    })
}

/// What it prints about itself, into our memory.
fn print(object: &Object) -> Option<String> {
    let address = symbol::find_in(object, c"MallocExtension_GetStats")?;
    let mut text = vec![0u8; TEXT_BYTES];
    // SAFETY: gperftools' function has this type, and writes a text of at most that length with its NUL.
    unsafe {
        std::mem::transmute::<*mut c_void, GetStats>(address)(text.as_mut_ptr().cast(), TEXT_BYTES as c_int);
    }
    let length = text.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// The free blocks of each size, from lines such as
/// `class   2 [       16 bytes ] :     8167 objs;   0.1 MiB;   0.1 cum MiB`.
fn parse_classes(text: &str) -> Vec<ClassAccount> {
    let class = |line: &str| {
        let (_, rest) = line.strip_prefix("class ")?.split_once('[')?;
        let (size, rest) = rest.split_once(" bytes ] :")?;
        let size: u64 = size.trim().parse().ok()?;
        let count: u64 = rest.split_once(" objs")?.0.trim().parse().ok()?;
        Some(ClassAccount {
            size_bytes: size,
            live_bytes: None,
            cached_bytes: Some(size.checked_mul(count)?),
        })
    };
    text.lines().filter_map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_classes_are_read_and_others_left() {
        let text = "Total size of freelists for per-thread caches,\n\
                    class   2 [       16 bytes ] :     8167 objs;   0.1 MiB;   0.1 cum MiB\n\
                    class   9 [       96 bytes ] :        2 objs;   0.0 MiB\n\
                    PageHeap: 3 sizes;    0.1 MiB free;    0.0 MiB unmapped\n\
                    class   x [ bytes ] : objs\n";
        let classes: Vec<_> =
            parse_classes(text).iter().map(|class| (class.size_bytes, class.cached_bytes)).collect();
        assert_eq!(classes, [(16, Some(16 * 8167)), (96, Some(192))]);
    }
}
