//! The pthread key by which the end of a thread is seen: its value is set in every thread that records.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};

/// The key plus one; 0 while there is none.
static KEY: AtomicU32 = AtomicU32::new(0);

/// Makes the key: once, before `main`. `end` is called when a thread exits.
pub(crate) fn make(end: unsafe extern "C" fn(*mut c_void)) {
    let mut key = 0;
    // SAFETY: the destructor lives as long as this library, which is never unloaded: it is preloaded.
    if unsafe { libc::pthread_key_create(&mut key, Some(end)) } == 0 {
        KEY.store(key.wrapping_add(1), Ordering::Release);
    }
}

/// Makes the calling thread's end visible. The caller's state is BUSY: for a key above 31 the C library
/// allocates.
pub(crate) fn watch() {
    let key = KEY.load(Ordering::Acquire);
    if key != 0 {
        // SAFETY: the key exists. The value only has to be other than NULL.
        unsafe { libc::pthread_setspecific(key.wrapping_sub(1), core::ptr::dangling::<c_void>()) };
    }
}
