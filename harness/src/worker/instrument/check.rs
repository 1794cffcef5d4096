//! The check pass: every object is filled with its own pattern, which is verified when it is freed or
//! reallocated; blocks must be aligned and callocs zero. This finds an allocator that hands out a block
//! twice, or loses bytes in a realloc, and a replay that mixes up objects.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use heaplab_workloads::program::operation::{Code, Op};

use super::Instrument;
use crate::worker::state::{Local, State};
use crate::worker::{Status, answer};

/// Patterns handed out so far.
static SEEDS: AtomicU64 = AtomicU64::new(1);

/// Fills and verifies. Asks for the usable size of each block only if the allocator tells it: otherwise the C library
/// would answer, which knows nothing of the block.
pub(crate) struct Checked<const ASKS: bool>;

impl<const ASKS: bool> Instrument for Checked<ASKS> {
    fn placed(state: &State, _local: &mut Local, op: &Op, block: *mut c_void) {
        if block.is_null() {
            return;
        }
        check_alignment(op, block);
        if ASKS {
            check_usable_size(op, block);
        }
        let note = &state.slots.notes[op.slot as usize];
        // SAFETY: the block has `size` bytes and is this object's alone; malloc'd bytes may be unset, but are
        // written before they are read, except where the allocator itself promises their value.
        let bytes = unsafe {
            let size = op.size as usize;
            if op.code == Code::Malloc || op.code == Code::AlignedAlloc || op.code == Code::ReallocNull {
                block.cast::<u8>().write_bytes(0, size);
            } else if op.code == Code::Realloc && op.size > op.old_size {
                let old = op.old_size as usize;
                block.cast::<u8>().add(old).write_bytes(0, size - old);
            }
            std::slice::from_raw_parts_mut(block.cast::<u8>(), size)
        };
        if op.code == Code::Calloc
            && let Some(place) = bytes.iter().position(|byte| *byte != 0)
        {
            fault(op, &format!("calloc returned a block whose byte {place} is not zero"));
        }
        if op.code == Code::Realloc {
            let kept = bytes.len().min(op.old_size as usize);
            verify(op, &bytes[..kept], note.load(Ordering::Relaxed), "after a realloc");
        }
        let seed = SEEDS.fetch_add(1, Ordering::Relaxed);
        note.store(seed, Ordering::Relaxed);
        state.slots.sizes[op.slot as usize].store(op.size + 1, Ordering::Relaxed);
        fill(bytes, seed);
    }

    fn leaving(state: &State, _local: &mut Local, op: &Op, block: *mut c_void) {
        if block.is_null() {
            return;
        }
        let size = state.slots.sizes[op.slot as usize].swap(0, Ordering::Relaxed).saturating_sub(1);
        // SAFETY: the object's block has that many bytes, and `placed` wrote them all.
        let bytes = unsafe { std::slice::from_raw_parts(block.cast::<u8>(), size as usize) };
        verify(op, bytes, state.slots.notes[op.slot as usize].load(Ordering::Relaxed), "while it was live");
    }
}

/// Alignment as promised by the standard and the request.
fn check_alignment(op: &Op, block: *mut c_void) {
    let asked = if op.code == Code::AlignedAlloc { 1u64 << (op.alignment_log2 & 63) } else { 1 };
    // A block smaller than 16 bytes need only be aligned for types that fit into it.
    let natural = if op.size >= 16 {
        16
    } else if op.size >= 8 {
        8
    } else {
        1
    };
    let alignment = asked.max(natural);
    if !(block.addr() as u64).is_multiple_of(alignment) {
        fault(op, &format!("the block at {block:p} is not aligned to {alignment}"));
    }
}

/// A block must have at least the requested bytes.
fn check_usable_size(op: &Op, block: *mut c_void) {
    // SAFETY: the block was just returned by the allocator, which has this function.
    let usable = unsafe { libc::malloc_usable_size(block) } as u64;
    if usable < op.size {
        fault(op, &format!("malloc_usable_size says {usable}"));
    }
}

/// The pattern's eight bytes at a word's index: different for each object and place.
fn word(seed: u64, index: usize) -> [u8; 8] {
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index as u64).to_ne_bytes()
}

fn fill(bytes: &mut [u8], seed: u64) {
    for (index, chunk) in bytes.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&word(seed, index)[..chunk.len()]);
    }
}

fn verify(op: &Op, bytes: &[u8], seed: u64, when: &str) {
    for (index, chunk) in bytes.chunks(8).enumerate() {
        if *chunk != word(seed, index)[..chunk.len()] {
            fault(
                op,
                &format!("bytes {} to {} were overwritten {when}", index * 8, index * 8 + chunk.len() - 1),
            );
        }
    }
}

fn fault(op: &Op, what: &str) -> ! {
    answer::fail(Status::CheckFailed, &format!("object of {} bytes in slot {}: {what}", op.size, op.slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_differ_between_objects_and_places() {
        let (mut one, mut other) = ([0; 29], [0; 29]);
        fill(&mut one, 1);
        fill(&mut other, 2);
        assert_ne!(one, other);
        assert_ne!(one[..8], one[8..16]);
        assert_eq!(one[24..], word(1, 3)[..5]);
    }
}
