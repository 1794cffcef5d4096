//! Size classes: exact up to some size, and a number of classes per doubling above it.

/// Up to the exact size each multiple of this is a separate class.
const STEP_BYTES: u64 = 8;

/// A division of all sizes into classes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Classes {
    /// Binary logarithm of the exact size.
    exact_bits: u32,
    /// Binary logarithm of the number of classes per doubling above it.
    part_bits: u32,
}

/// By usable size: allocators' own classes, one by one up to 32 KiB.
pub(super) const USABLE: Classes = Classes { exact_bits: 15, part_bits: 3 };
/// By requested size: finer than any allocator's classes above 1 KiB, so that nearly every class is inside
/// one of theirs.
pub(super) const REQUESTED: Classes = Classes { exact_bits: 10, part_bits: 6 };

impl Classes {
    const fn exact(self) -> usize {
        (1 << self.exact_bits) / STEP_BYTES as usize + 1
    }

    /// The number of classes.
    pub(super) const fn count(self) -> usize {
        self.exact() + ((u64::BITS - self.exact_bits) as usize) * (1 << self.part_bits)
    }

    /// The class of a size.
    #[inline]
    pub(super) fn class_of(self, bytes: u64) -> usize {
        if bytes <= 1 << self.exact_bits {
            return bytes.div_ceil(STEP_BYTES) as usize;
        }
        let below = bytes - 1;
        let bits = u64::BITS - 1 - below.leading_zeros();
        let part = (below >> (bits - self.part_bits)) & ((1 << self.part_bits) - 1);
        self.exact() + (((bits - self.exact_bits) as usize) << self.part_bits) + part as usize
    }

    /// The largest size of a class.
    pub(super) fn largest_of(self, class: usize) -> u64 {
        match class.checked_sub(self.exact()) {
            None => class as u64 * STEP_BYTES,
            Some(beyond) => {
                let bits = self.exact_bits as usize + (beyond >> self.part_bits);
                let part = beyond as u64 & ((1 << self.part_bits) - 1);
                (1u64 << bits)
                    .saturating_add((part + 1).saturating_mul(1 << (bits - self.part_bits as usize)))
            }
        }
    }
}

/// The smallest request of the class whose largest is `largest`.
pub(crate) fn smallest_request(largest: u64) -> u64 {
    let class = REQUESTED.class_of(largest);
    class.checked_sub(1).map_or(0, |before| REQUESTED.largest_of(before) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_its_largest_size_and_not_the_next() {
        for classes in [USABLE, REQUESTED] {
            for class in 1..classes.count() - 1 {
                let largest = classes.largest_of(class);
                let next = (classes.class_of(largest), classes.class_of(largest + 1));
                assert_eq!(next, (class, class + 1), "{largest}");
            }
            assert_eq!(classes.class_of(0), 0);
            assert_eq!(classes.class_of(u64::MAX), classes.count() - 1);
        }
        let largest = |classes: Classes, bytes| classes.largest_of(classes.class_of(bytes));
        assert_eq!([24, 1_032, 40_000].map(|bytes| largest(USABLE, bytes)), [24, 1_032, 40_960]);
        assert_eq!(
            [24, 1_020, 1_025, 4_100].map(|bytes| largest(REQUESTED, bytes)),
            [24, 1_024, 1_040, 4_160]
        );
        assert_eq!([0, 8, 1_024, 1_040].map(smallest_request), [0, 1, 1_017, 1_025]);
    }
}
