//! Numbers of variable length: seven bits a byte, least significant first, high bit set on all but the last.

use crate::error::RecordFault;

/// Appends `value`: 1 byte below 128, at most 10.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads the number at `*at` and moves `*at` past it.
#[inline]
pub(crate) fn get(bytes: &[u8], at: &mut usize) -> Result<u64, RecordFault> {
    // PERF: most numbers of a trace have one byte.
    match bytes.get(*at) {
        Some(&byte) if byte < 0x80 => {
            *at += 1;
            Ok(u64::from(byte))
        }
        _ => get_long(bytes, at),
    }
}

fn get_long(bytes: &[u8], at: &mut usize) -> Result<u64, RecordFault> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at).ok_or(RecordFault::Cut)?;
        *at += 1;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(RecordFault::Number);
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(RecordFault::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_got(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            let mut at = 0;
            prop_assert_eq!(get(&bytes, &mut at), Ok(value));
            prop_assert_eq!(at, bytes.len());
            prop_assert_eq!(get(&bytes[..bytes.len() - 1], &mut 0), Err(RecordFault::Cut));
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        assert_eq!(get(&[0xff; 11], &mut 0), Err(RecordFault::Number));
        assert_eq!(
            get(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02], &mut 0),
            Err(RecordFault::Number)
        );
    }
}
