//! Has `floor`'s memory faulted in before a replay on it, so that its figures contain no page faults.
//!
//! The library exports two functions for this, which no other allocator has. The amount comes from earlier samples, in
//! which it counted its own use: the kernel's count would include memory that was faulted in and never used, and would
//! grow each time.

use std::ffi::{CStr, c_int, c_void};

use super::extent::Extent;

const POPULATE: &CStr = c"heaplab_floor_populate";
const USED: &CStr = c"heaplab_floor_used";

/// Faults in that much. Returns a sentence if the kernel refuses; does nothing under another allocator.
pub(super) fn populate_floor(extent: Extent) -> Option<String> {
    let address = find(POPULATE)?;
    // SAFETY: floor's function of that name has this signature.
    let populate = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(usize) -> c_int>(address) };
    let bytes = extent.small_bytes + extent.huge_bytes;
    (populate(bytes as usize) != 0).then(|| {
        format!("floor's {} MiB could not be faulted in: its figures include page faults", bytes >> 20)
    })
}

/// How much `floor` has used so far; none under another allocator.
pub(super) fn floor_extent() -> Option<Extent> {
    let address = find(USED)?;
    // SAFETY: floor's function of that name has this signature.
    let used = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> usize>(address) };
    Some(Extent { small_bytes: used() as u64, huge_bytes: 0 })
}

fn find(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: looks the name up among the loaded libraries.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}
