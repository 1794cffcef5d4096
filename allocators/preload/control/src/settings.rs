//! Which fault is active.

use core::cell::Cell;
use core::ffi::CStr;
use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The sizes that waste memory.
const WASTEFUL_BYTES: core::ops::RangeInclusive<usize> = 1_001..=1_024;

/// Written once, by the constructor.
pub(crate) static SETTINGS: Settings = Settings {
    waste_percent: AtomicUsize::new(0),
    steps: AtomicUsize::new(0),
    keep: AtomicUsize::new(0),
    unmap: AtomicUsize::new(0),
};

thread_local! {
    /// Where a thread's steps continue: those of two calls must not run side by side in the CPU. It has no
    /// destructor, so nothing is allocated or registered for it.
    static CARRIED: Cell<u64> = const { Cell::new(1) };
}

pub(crate) struct Settings {
    waste_percent: AtomicUsize,
    steps: AtomicUsize,
    keep: AtomicUsize,
    unmap: AtomicUsize,
}

/// Reads them from the environment.
pub(crate) extern "C" fn read() {
    let fields = [
        (c"HEAPLAB_CONTROL_WASTE", &SETTINGS.waste_percent),
        (c"HEAPLAB_CONTROL_STEPS", &SETTINGS.steps),
        (c"HEAPLAB_CONTROL_KEEP", &SETTINGS.keep),
        (c"HEAPLAB_CONTROL_UNMAP", &SETTINGS.unmap),
    ];
    for (name, field) in fields {
        // SAFETY: the name ends with NUL; nobody changes the environment before `main`.
        let text = unsafe { libc::getenv(name.as_ptr()) };
        if !text.is_null() {
            // SAFETY: the environment's text ends with NUL.
            field.store(number(unsafe { CStr::from_ptr(text) }.to_bytes()), Relaxed);
        }
    }
}

/// The number that a text of digits gives; 0 if it has any other character.
fn number(text: &[u8]) -> usize {
    let mut digits = text.iter().map(|byte| byte.is_ascii_digit().then(|| usize::from(byte - b'0')));
    digits.try_fold(0usize, |sum, digit| sum.checked_mul(10)?.checked_add(digit?)).unwrap_or(0)
}

impl Settings {
    /// The bytes to request from the C library for a block of `size`.
    #[inline]
    pub(crate) fn with_waste(&self, size: usize) -> usize {
        if !WASTEFUL_BYTES.contains(&size) {
            return size;
        }
        size.saturating_add(size.saturating_mul(self.waste_percent.load(Relaxed)) / 100)
    }

    /// Takes the time that each call loses.
    #[inline]
    pub(crate) fn take_steps(&self) {
        let steps = self.steps.load(Relaxed);
        if steps == 0 {
            return;
        }
        CARRIED.with(|carried| {
            let mut value = carried.get();
            for _ in 0..steps {
                // Each waits for the previous one, and none can be skipped.
                value = black_box(value.wrapping_mul(6_364_136_223_846_793_005));
            }
            carried.set(value);
        });
    }

    /// Whether freed blocks are kept.
    #[inline]
    pub(crate) fn keeps(&self) -> bool {
        self.keep.load(Relaxed) != 0
    }

    /// Whether each block has its own mapping.
    #[inline]
    pub(crate) fn unmaps(&self) -> bool {
        self.unmap.load(Relaxed) != 0
    }

    /// Whether a block that changes its size must not be moved by the C library.
    #[inline]
    pub(crate) fn moves(&self) -> bool {
        self.keeps() || self.unmaps()
    }
}
