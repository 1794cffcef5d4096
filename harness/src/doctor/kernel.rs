//! Small readings from the kernel's files and calls. A value that cannot be read is none.

use std::path::Path;
use std::time::Instant;

use procfs::process::{Limit, LimitValue, Limits, Process};

/// The text of a file without surrounding white space.
pub(super) fn read_text(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(path)).ok().map(|text| text.trim().to_owned())
}

/// The number in a file.
pub(super) fn read_number(path: &str) -> Option<u64> {
    read_text(path)?.parse().ok()
}

/// The word in brackets, which is how sysfs marks a choice: `always [madvise] never`.
pub(super) fn chosen_word(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

/// The value after `name :` in the first such line of a file like /proc/cpuinfo.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// A line of /proc/meminfo in bytes.
pub(super) fn meminfo_bytes(text: &str, name: &str) -> Option<u64> {
    let kib: u64 = field(text, name)?.strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Share of time that the host took from this machine since it started, in thousandths.
pub(super) fn steal_permille(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|ticks| ticks.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user already.
    let total: u64 = ticks.iter().take(8).sum();
    (total > 0).then(|| ticks.get(7).map(|steal| steal * 1000 / total)).flatten()
}

/// A resource limit of this process; none if it is unlimited or cannot be read.
pub(super) fn soft_limit(which: fn(Limits) -> Limit) -> Option<u64> {
    let limits = Process::myself().and_then(|process| process.limits()).ok()?;
    match which(limits).soft_limit {
        LimitValue::Value(value) => Some(value),
        LimitValue::Unlimited => None,
    }
}

/// CPUs that this process may use.
pub(super) fn usable_cpus() -> Option<u64> {
    std::thread::available_parallelism().ok().map(|cpus| cpus.get() as u64)
}

/// The smallest step seen between two readings of the clock.
pub(super) fn timer_step_ns() -> Option<u64> {
    const READINGS: usize = 1000;
    let mut smallest = None;
    let mut before = Instant::now();
    for _ in 0..READINGS {
        let now = Instant::now();
        let step = now.duration_since(before).as_nanos() as u64;
        if step > 0 && smallest.is_none_or(|smallest| step < smallest) {
            smallest = Some(step);
        }
        before = now;
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fields_and_sizes() {
        assert_eq!(chosen_word("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(chosen_word("madvise"), None);
        assert_eq!(field("model name\t: A: B\nflags : x", "model name"), Some("A: B"));
        assert_eq!(meminfo_bytes("MemTotal:       24 kB\n", "MemTotal"), Some(24 << 10));
        assert_eq!(meminfo_bytes("MemTotal: lots\n", "MemTotal"), None);
    }

    #[test]
    fn steal_is_a_share_of_all_time() {
        assert_eq!(steal_permille("cpu  50 0 0 40 0 0 0 10 5 0\ncpu0 1"), Some(100));
        assert_eq!(steal_permille("cpu  0 0 0 0 0 0 0 0"), None);
        assert_eq!(steal_permille(""), None);
    }
}
