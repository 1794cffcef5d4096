//! Four small mallocs and frees in a row, encoded as one group: the first byte says which each is.
//!
//! PERF: a processor predicts what a program calls next worst of all, and a replay branches on it. With the
//! first byte of a group it branches once for four calls, so it mispredicts at most once instead of up to
//! four times.

use super::operation::{Code, MOST_OP_BYTES, Op};

/// Operations of a group.
pub const GROUP_OPS: usize = 4;
/// The first byte of a group, without its pattern. No operation's first byte is like it: it would have no
/// form.
pub const GROUP: u8 = 0x30;

const PATTERN: u8 = (1 << GROUP_OPS) - 1;
const SLOT_BYTES: usize = 3;
const SIZE_BYTES: usize = 2;

/// Which operations of a group allocate, a bit for each, the first one's lowest; none if `kind` begins no group.
#[inline(always)]
pub const fn pattern_of_kind(kind: u8) -> Option<u8> {
    if kind & !PATTERN == GROUP { Some(kind & PATTERN) } else { None }
}

/// The length of a group with that pattern.
#[inline(always)]
pub const fn group_bytes(pattern: u8) -> usize {
    1 + GROUP_OPS * SLOT_BYTES + pattern.count_ones() as usize * SIZE_BYTES
}

/// Appends the group that `ops` begin with. Returns false and appends nothing if they do not begin with a
/// group.
pub fn encode_group(ops: &[Op], out: &mut Vec<u8>) -> bool {
    let is_member = |op: &Op| matches!(op.code, Code::Malloc | Code::Free) && op.fits_short();
    let Some(ops) = ops.first_chunk::<GROUP_OPS>().filter(|ops| ops.iter().all(is_member)) else {
        return false;
    };
    let allocates = |op: &Op| op.code == Code::Malloc;
    let pattern = (0..).zip(ops).fold(0, |pattern, (bit, op)| pattern | u8::from(allocates(op)) << bit);
    out.push(GROUP | pattern);
    for op in ops {
        out.extend(&op.slot.to_le_bytes()[..SLOT_BYTES]);
        if allocates(op) {
            out.extend((op.size as u16).to_le_bytes());
        }
    }
    true
}

/// The operation that begins at `at` in a group, and its length. `bytes` begin with the group's first byte,
/// and the pattern gives `allocates`. The first operation begins at 1, each other where the one before it
/// ends.
#[inline(always)]
pub fn decode_member(allocates: bool, bytes: &[u8; MOST_OP_BYTES], at: usize) -> (Op, usize) {
    let slot = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0]);
    if !allocates {
        return (Op::new(Code::Free, slot, 0), SLOT_BYTES);
    }
    let size = u64::from(u16::from_le_bytes([bytes[at + SLOT_BYTES], bytes[at + SLOT_BYTES + 1]]));
    let mut op = Op::new(Code::Malloc, slot, size);
    op.touch = Op::whole_touch(Code::Malloc, size);
    (op, SLOT_BYTES + SIZE_BYTES)
}

/// The operations of the group in `bytes`, which has that pattern.
pub fn decode_group(pattern: u8, bytes: &[u8; MOST_OP_BYTES]) -> [Op; GROUP_OPS] {
    let mut at = 1;
    std::array::from_fn(|bit| {
        let (op, length) = decode_member(pattern >> bit & 1 != 0, bytes, at);
        at += length;
        op
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::operation::{OP_WAITS, SHORT_TOUCH_BYTES, touch_units};
    use super::*;

    fn malloc(slot: u32, size: u64) -> Op {
        Op { touch: touch_units(size), ..Op::new(Code::Malloc, slot, size) }
    }

    fn decoded(bytes: &[u8]) -> Vec<Op> {
        let mut padded = [0xEE; MOST_OP_BYTES];
        padded[..bytes.len()].copy_from_slice(bytes);
        let pattern = pattern_of_kind(padded[0]).expect("a group");
        assert_eq!(bytes.len(), group_bytes(pattern));
        decode_group(pattern, &padded).to_vec()
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            ops in prop::collection::vec((any::<bool>(), 0u32..1 << 24, 0..=SHORT_TOUCH_BYTES), GROUP_OPS..9)
        ) {
            let ops: Vec<Op> = ops
                .into_iter()
                .map(|(allocates, slot, size)| if allocates { malloc(slot, size) } else { Op::new(Code::Free, slot, 0) })
                .collect();
            let mut bytes = Vec::new();
            prop_assert!(encode_group(&ops, &mut bytes));
            prop_assert!(Op::decode_kind(bytes[0], &[0; MOST_OP_BYTES]).is_none(), "no operation is taken for it");
            prop_assert_eq!(&decoded(&bytes)[..], &ops[..GROUP_OPS]);
        }
    }

    #[test]
    fn only_small_mallocs_and_frees_that_nobody_waits_for_are_in_a_group() {
        let plain = [malloc(1, 10), Op::new(Code::Free, 1, 0), malloc(2, 20), malloc(3, 4096)];
        let mut bytes = Vec::new();
        assert!(encode_group(&plain, &mut bytes));
        assert_eq!(bytes.len(), 19, "one byte less than alone would be 22");
        for other in [
            malloc(3, 4097),
            malloc(1 << 24, 10),
            Op { touch: 0, ..malloc(3, 10) },
            Op { flags: OP_WAITS, ..Op::new(Code::Free, 3, 0) },
            Op::new(Code::FreeNull, 0, 0),
            Op { touch: 1, ..Op::new(Code::Calloc, 3, 10) },
        ] {
            for place in 0..GROUP_OPS {
                let mut ops = plain;
                ops[place] = other;
                let mut bytes = Vec::new();
                assert!(!encode_group(&ops, &mut bytes) && bytes.is_empty(), "{other:?} at {place}");
            }
        }
        assert!(!encode_group(&plain[1..], &mut bytes), "three are too few");
    }
}
