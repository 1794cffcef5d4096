//! Makes the host back the memory that a replay is going to use, in the page sizes that it is going to use.
//!
//! On a virtual machine the host backs a page when it is first written to, and the guest returns freed memory
//! to it within seconds: a variant that uses fresh memory would pay for what another finds ready. So right
//! before a timed replay, a separate process ([`main`]) writes to the same amount of memory and exits. The
//! worker does not do this itself, because that would show in its counters of resident memory, and in the
//! addresses that it gets later.

use std::process::{Command, Stdio};

use heaplab_allocators::follow_parent;

use super::extent::{Extent, Need, Warmed};
use super::first_write::write_until_warm;
use crate::group::memory_room;

/// Tells the process which worker it belongs to.
const PARENT_VARIABLE: &str = "HEAPLAB_WORKER";

/// Writes to the memory described by the argument, a [`Need`] as JSON; answers with a [`Warmed`] on stdout.
///
/// # Errors
///
/// A need that cannot be read, and memory that the system refuses.
pub fn main(need: &str) -> Result<(), String> {
    super::offer_to_killer();
    let parent = std::env::var(PARENT_VARIABLE).ok().and_then(|parent| parent.parse().ok());
    let parent = parent.ok_or("a process that warms memory is started by a worker, not by hand")?;
    follow_parent(parent).map_err(|_| "the worker has ended".to_owned())?;
    let need: Need = serde_json::from_str(need).map_err(|error| format!("the need is not valid: {error}"))?;
    let warmed = write_until_warm(need.extent, need.known)?;
    serde_json::to_writer(std::io::stdout(), &warmed).map_err(|error| error.to_string())
}

/// Has that much memory backed, and waits until it is; if only a part is possible, the second value says why.
pub(super) fn back_memory(need: Need) -> (Option<Warmed>, Option<String>) {
    let available = match available_bytes() {
        Ok(available) => available,
        Err(error) => return (None, Some(format!("memory was not warmed: /proc/meminfo: {error}"))),
    };
    let extent = fit(need.extent, available / 4 * 3);
    let total = |extent: Extent| extent.small_bytes + extent.huge_bytes;
    let shortfall = (total(extent) < total(need.extent)).then(|| {
        format!(
            "only {} of the {} MiB that the replay uses could be warmed: {} MiB of memory are available, of which a \
             quarter is left to others",
            total(extent) >> 20,
            total(need.extent) >> 20,
            available >> 20
        )
    });
    match ask_child(Need { extent, ..need }) {
        Ok(warmed) => (Some(warmed), shortfall),
        Err(why) => (None, Some(format!("memory was not warmed: {why}"))),
    }
}

/// Runs this binary again, which writes to the memory and exits.
fn ask_child(need: Need) -> Result<Warmed, String> {
    let argument = serde_json::to_string(&need).map_err(|error| error.to_string())?;
    // NOTE: nothing is done between fork and exec, so that the standard library need not copy this process's page
    // tables: afterwards every page of the heap would be copied at its next write.
    let child = Command::new("/proc/self/exe")
        .args(["warm", &argument])
        .env_clear()
        .env(PARENT_VARIABLE, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .map_err(|error| format!("no process can be started for it: {error}"))?;
    if !child.status.success() {
        let said = String::from_utf8_lossy(&child.stderr);
        return Err(format!("its process ended with {}: {}", child.status, said.trim()));
    }
    serde_json::from_slice(&child.stdout)
        .map_err(|error| format!("its process's answer is not valid: {error}"))
}

/// As much of both sizes as `most` bytes allow, in the requested proportion.
fn fit(extent: Extent, most: u64) -> Extent {
    let total = extent.small_bytes.saturating_add(extent.huge_bytes);
    if total <= most {
        return extent;
    }
    let part = |bytes: u64| (u128::from(bytes) * u128::from(most) / u128::from(total)) as u64;
    Extent { small_bytes: part(extent.small_bytes), huge_bytes: part(extent.huge_bytes) }
}

/// Memory that the system could provide now without killing a process, and that the limits of our control groups leave:
/// the process that warms memory is in the same groups.
fn available_bytes() -> Result<u64, String> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(|error| error.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    let available = kib.map(|kib| kib * 1024).ok_or_else(|| "it has no MemAvailable".to_owned())?;
    Ok(memory_room().map_or(available, |room| room.min(available)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_cut_in_proportion() {
        let asked = Extent { small_bytes: 100, huge_bytes: 300 };
        assert_eq!(fit(asked, 400), asked);
        assert_eq!(fit(asked, 200), Extent { small_bytes: 50, huge_bytes: 150 });
        assert_eq!(fit(asked, 0), Extent::default());
        let all = Extent { small_bytes: u64::MAX, huge_bytes: 0 };
        assert_eq!(fit(all, 7), Extent { small_bytes: 7, huge_bytes: 0 });
    }

    #[test]
    fn a_process_that_gives_no_answer_is_said_and_so_is_what_is_missing() {
        // The test binary itself takes "warm" as the name of tests, of which it has none.
        let need = Need { extent: Extent { small_bytes: 4096, huge_bytes: 0 }, ..Need::default() };
        let (warmed, why) = back_memory(need);
        assert_eq!(warmed, None);
        let why = why.unwrap();
        assert!(why.starts_with("memory was not warmed: its process's answer is not valid"), "{why}");
    }

    #[test]
    fn the_system_says_how_much_can_be_had() {
        assert!(available_bytes().unwrap() > 1 << 20);
    }
}
