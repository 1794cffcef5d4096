//! Numbers as logs write them. Anything else gives none: nothing wraps, and nothing is guessed.

/// A number of decimal digits alone, below 2^64.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

/// A number of at most 16 hexadecimal digits of either case, without 0x.
pub(super) fn hexadecimal(digits: &[u8]) -> Option<u64> {
    // Leading zeros aside, 16 digits are 64 bits.
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// A pointer as C's `%p` prints it: hexadecimal with 0x, or `(nil)`.
pub(super) fn pointer(text: &[u8]) -> Option<u64> {
    match text {
        b"(nil)" => Some(0),
        _ => hexadecimal(text.strip_prefix(b"0x")?),
    }
}

/// The power of two that an allocator rounds an alignment up to: itself, or the next one. None above 2^63.
pub(super) fn alignment(asked: u64) -> Option<u64> {
    asked.checked_next_power_of_two()
}

/// The bytes that a calloc at `address` asked for. A product beyond 2^64 can only have failed: none if it did not.
pub(super) fn product(address: u64, count: u64, size: u64) -> Option<u64> {
    count.checked_mul(size).or((address == 0).then_some(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_their_type_does() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(hexadecimal(b"fFffffffffffffff"), Some(u64::MAX));
        for text in [&b"18446744073709551616"[..], b"", b"-1", b"+1", b" 1", b"1 ", b"0x1"] {
            assert_eq!(decimal(text), None);
        }
        for text in [&b"10000000000000000"[..], b"", b"g", b"0x1"] {
            assert_eq!(hexadecimal(text), None);
        }
        assert_eq!(
            (pointer(b"(nil)"), pointer(b"0x0"), pointer(b"0xA"), pointer(b"a")),
            (Some(0), Some(0), Some(10), None)
        );
    }

    #[test]
    fn what_cannot_be_is_none() {
        assert_eq!((alignment(0), alignment(24), alignment(u64::MAX)), (Some(1), Some(32), None));
        assert_eq!(
            (product(8, 3, 4), product(0, 1 << 63, 2), product(8, 1 << 63, 2)),
            (Some(12), Some(u64::MAX), None)
        );
    }
}
