//! loom's atomics with std's way of making them: in a constant, and by default.
//!
//! NOTE: loom's own is made at the first use, which must happen before it is shared.

use std::cell::OnceCell;

pub(crate) use loom::sync::atomic::Ordering;

/// A waiter looks once before it sleeps: more looks are more of the same.
pub(crate) const LOOKS: u32 = 1;

pub(crate) fn spin_loop() {}

macro_rules! atomic {
    ($name:ident, $of:ty) => {
        #[derive(Default)]
        pub(crate) struct $name {
            first: $of,
            inner: OnceCell<loom::sync::atomic::$name>,
        }

        // SAFETY: loom runs one thread at a time, and the cell is filled before it is shared.
        unsafe impl Sync for $name {}
        // SAFETY: as above.
        unsafe impl Send for $name {}

        #[allow(dead_code)] // not every file uses every operation
        impl $name {
            pub(crate) const fn new(first: $of) -> $name {
                $name { first, inner: OnceCell::new() }
            }

            fn inner(&self) -> &loom::sync::atomic::$name {
                self.inner.get_or_init(|| loom::sync::atomic::$name::new(self.first))
            }

            pub(crate) fn load(&self, order: Ordering) -> $of {
                self.inner().load(order)
            }

            pub(crate) fn store(&self, value: $of, order: Ordering) {
                self.inner().store(value, order);
            }

            pub(crate) fn swap(&self, value: $of, order: Ordering) -> $of {
                self.inner().swap(value, order)
            }

            pub(crate) fn fetch_add(&self, value: $of, order: Ordering) -> $of {
                self.inner().fetch_add(value, order)
            }

            pub(crate) fn fetch_max(&self, value: $of, order: Ordering) -> $of {
                self.inner().fetch_max(value, order)
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $of,
                new: $of,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$of, $of> {
                self.inner().compare_exchange(current, new, success, failure)
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
