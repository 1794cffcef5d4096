//! A program about which everything is known: each call, and so what a library with known faults makes
//! of it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The workload's name.
pub(super) const NAME: &str = "known";
/// The size in which a wasteful library wastes memory, and how many blocks of it live at the peak.
pub(super) const WASTEFUL_BYTES: u64 = 1_016;
pub(super) const WASTEFUL_BLOCKS: u64 = 12_000;
/// The other sizes, and how many blocks of each live at the peak.
const OTHER_BYTES: [u64; 7] = [24, 56, 120, 200, 312, 504, 760];
const OTHER_BLOCKS: u64 = 1_500;
/// Blocks of the other sizes that are allocated and freed after all those, one at a time.
const PASSING_BLOCKS: u64 = 200_000;
/// Time from one event to the next, in ns.
const STEP_NS: u64 = 1_000;

/// Blocks that live at the peak.
pub(super) const LIVE_BLOCKS: u64 = WASTEFUL_BLOCKS + OTHER_BLOCKS * OTHER_BYTES.len() as u64 + 1;

/// Bytes of all blocks ever allocated, each as large as `block_bytes` makes it.
pub(super) fn bytes_of_all(block_bytes: impl Fn(u64) -> u64) -> u64 {
    let others = OTHER_BYTES.len() as u64;
    let passing =
        |place: usize| PASSING_BLOCKS / others + u64::from((place as u64) < PASSING_BLOCKS % others);
    let of_other = |(place, &bytes): (usize, &u64)| (OTHER_BLOCKS + passing(place)) * block_bytes(bytes);
    WASTEFUL_BLOCKS * block_bytes(WASTEFUL_BYTES) + OTHER_BYTES.iter().enumerate().map(of_other).sum::<u64>()
}

/// Writes it as a log that any user could have: `THREAD: CALL ADDRESS [BYTES] BEGIN END`.
pub(super) fn write(path: &Path) -> io::Result<()> {
    let mut log = BufWriter::new(File::create(path)?);
    let mut now = 0;
    let mut line = |call: &str| -> io::Result<()> {
        now += STEP_NS;
        writeln!(log, "1: {call} {now} {}", now + STEP_NS / 2)
    };
    let address = |block: u64| (1 << 32) + block * 4_096;
    let mut block = 0;
    let mut allocate = |bytes: u64| {
        block += 1;
        format!("malloc {:#x} {bytes}", address(block))
    };
    // Sizes take turns, as they do in programs: neighbours have different sizes.
    let turns = WASTEFUL_BLOCKS.max(OTHER_BLOCKS);
    for turn in 0..turns {
        line(&allocate(WASTEFUL_BYTES))?;
        if turn * OTHER_BLOCKS / turns != (turn + 1) * OTHER_BLOCKS / turns {
            for bytes in OTHER_BYTES {
                line(&allocate(bytes))?;
            }
        }
    }
    let passing = address(0);
    for place in 0..PASSING_BLOCKS {
        let bytes = OTHER_BYTES[(place % OTHER_BYTES.len() as u64) as usize];
        line(&format!("malloc {passing:#x} {bytes}"))?;
        line(&format!("free {passing:#x}"))?;
    }
    log.into_inner().map_err(|error| error.into_error()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_holds_what_is_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("known.log");
        write(&path).expect("writable");
        let log = std::fs::read_to_string(&path).expect("readable");
        let (mut bytes, mut live, mut most) = (0, 0u64, 0);
        for line in log.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[1] {
                "malloc" => {
                    bytes += words[3].parse::<u64>().expect("bytes");
                    live += 1;
                }
                _ => live -= 1,
            }
            most = live.max(most);
        }
        assert_eq!((bytes, most), (bytes_of_all(|bytes| bytes), LIVE_BLOCKS));
    }
}
