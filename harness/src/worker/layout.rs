//! The layout of a replay's first blocks: a few blocks that a program could have allocated at start-up, drawn
//! from a seed.
//!
//! An additional library, locale or option allocates at a program's start-up, shifts every later block, and
//! can decide whether a heap's end is free or not. A run whose samples all start the same shows nothing of
//! that spread.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The largest number of blocks.
const MOST_BLOCKS: u32 = 24;
/// Block sizes are this, doubled up to `DOUBLINGS` times, and a part more.
const LEAST_BYTES: usize = 16;
const DOUBLINGS: u32 = 8;

/// The blocks of `seed`: their sizes, and whether each is freed before the replay.
fn draw(seed: u64) -> impl Iterator<Item = (usize, bool)> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let count = random.random_range(0..=MOST_BLOCKS);
    (0..count).map(move |_| {
        let bytes = LEAST_BYTES << random.random_range(0..=DOUBLINGS);
        (bytes + random.random_range(0..bytes), random.random())
    })
}

/// Allocates the blocks of `seed` on the heap under test and frees about half of them. The rest stay until the worker
/// exits.
pub(super) fn vary(seed: u64) {
    let mut freed = [std::ptr::null_mut(); MOST_BLOCKS as usize];
    for (place, (bytes, is_freed)) in freed.iter_mut().zip(draw(seed)) {
        // SAFETY: any size may be asked for; a block is written to within its size, and only if it is there.
        let block = unsafe {
            let block: *mut u8 = libc::malloc(bytes).cast();
            if !block.is_null() {
                block.write_bytes(1, bytes);
            }
            block
        };
        if is_freed {
            *place = block;
        }
    }
    for block in freed {
        // SAFETY: each is null, or a block of its own that nothing else knows.
        unsafe { libc::free(block.cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_few_blocks_everywhere() {
        let drawn = |seed| draw(seed).collect::<Vec<(usize, bool)>>();
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        let all: Vec<Vec<(usize, bool)>> = (0..1000).map(drawn).collect();
        let counts: Vec<usize> = all.iter().map(Vec::len).collect();
        assert_eq!((counts.iter().min(), counts.iter().max()), (Some(&0), Some(&(MOST_BLOCKS as usize))));
        assert!(all.iter().flatten().all(|(bytes, _)| (16..8192).contains(bytes)));
        let freed = all.iter().flatten().filter(|(_, freed)| *freed).count() as f64;
        assert!((0.45..0.55).contains(&(freed / counts.iter().sum::<usize>() as f64)));
    }
}
