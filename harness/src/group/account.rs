//! A group's account of its memory, as the kernel keeps it.

use std::path::Path;
use std::time::Duration;

/// What a group has been charged. Empty means that this version of the interface does not report it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// The most that it has been charged.
    pub peak_bytes: Option<u64>,
    /// What it is charged now.
    pub current_bytes: u64,
    /// The part for anonymous memory.
    pub anonymous_bytes: u64,
    /// The part for files, including shared memory.
    pub file_bytes: u64,
    /// The kernel's part: stacks, page tables, sockets.
    pub kernel_bytes: Option<u64>,
    /// How often it went above its soft limit (`memory.high`).
    pub high_events: Option<u64>,
    /// How often it ran into its limit.
    pub max_events: Option<u64>,
    /// How many of its processes were killed for memory.
    pub oom_kills: u64,
    /// Time during which some of its tasks waited for memory.
    pub pressure_ns: Option<u64>,
    /// Pages that were reclaimed from it and read again.
    pub refaults: u64,
}

impl Account {
    /// The larger of each figure: a group that is empty by now keeps what its parts were.
    pub fn larger(&self, other: &Account) -> Account {
        Account {
            peak_bytes: self.peak_bytes.max(other.peak_bytes),
            current_bytes: self.current_bytes.max(other.current_bytes),
            anonymous_bytes: self.anonymous_bytes.max(other.anonymous_bytes),
            file_bytes: self.file_bytes.max(other.file_bytes),
            kernel_bytes: self.kernel_bytes.max(other.kernel_bytes),
            high_events: self.high_events.max(other.high_events),
            max_events: self.max_events.max(other.max_events),
            oom_kills: self.oom_kills.max(other.oom_kills),
            pressure_ns: self.pressure_ns.max(other.pressure_ns),
            refaults: self.refaults.max(other.refaults),
        }
    }

    /// How large a program was when it was killed for memory, and when that was seen.
    pub fn describe_kill(&self, killed_at: Duration) -> String {
        let charged = self.peak_bytes.unwrap_or(self.current_bytes);
        format!(
            "killed for memory by the limit of its control group, which was charged {charged} bytes, {:.2} s after its start",
            killed_at.as_secs_f64()
        )
    }

    /// The account of a group of version 1.
    pub(super) fn read_first(group: &Path) -> Account {
        let stat = read(group, "memory.stat");
        let sum = |names: &[&str]| names.iter().filter_map(|name| field(&stat, name)).sum();
        Account {
            peak_bytes: number(group, "memory.max_usage_in_bytes"),
            current_bytes: number(group, "memory.usage_in_bytes").unwrap_or(0),
            anonymous_bytes: field(&stat, "total_rss").unwrap_or(0),
            file_bytes: field(&stat, "total_cache").unwrap_or(0),
            kernel_bytes: number(group, "memory.kmem.usage_in_bytes"),
            high_events: None,
            max_events: number(group, "memory.failcnt"),
            oom_kills: field(&read(group, "memory.oom_control"), "oom_kill").unwrap_or(0),
            pressure_ns: None,
            refaults: sum(&["total_workingset_refault_anon", "total_workingset_refault_file"]),
        }
    }

    /// The account of a group of version 2.
    pub(super) fn read_second(group: &Path) -> Account {
        let (stat, events) = (read(group, "memory.stat"), read(group, "memory.events"));
        let sum = |names: &[&str]| names.iter().filter_map(|name| field(&stat, name)).sum();
        Account {
            peak_bytes: number(group, "memory.peak"),
            current_bytes: number(group, "memory.current").unwrap_or(0),
            anonymous_bytes: field(&stat, "anon").unwrap_or(0),
            file_bytes: field(&stat, "file").unwrap_or(0),
            kernel_bytes: field(&stat, "kernel"),
            high_events: field(&events, "high"),
            max_events: field(&events, "max"),
            oom_kills: field(&events, "oom_kill").unwrap_or(0),
            pressure_ns: waited_ns(&read(group, "memory.pressure")),
            refaults: sum(&["workingset_refault_anon", "workingset_refault_file"]),
        }
    }
}

/// A file of the group; empty if this kernel does not have it.
fn read(group: &Path, name: &str) -> String {
    std::fs::read_to_string(group.join(name)).unwrap_or_default()
}

fn number(group: &Path, name: &str) -> Option<u64> {
    read(group, name).trim().parse().ok()
}

/// A line `NAME VALUE`.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

/// Read from the line `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`, which is in microseconds.
fn waited_ns(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let total = line.split_whitespace().find_map(|word| word.strip_prefix("total="))?;
    total.parse::<u64>().ok()?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let group = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            std::fs::write(group.path().join(name), text).expect("written");
        }
        group
    }

    #[test]
    fn the_account_of_version_2_is_read() {
        let group = group(&[
            ("memory.peak", "9000\n"),
            ("memory.current", "8000\n"),
            (
                "memory.stat",
                "anon 5000\nfile 1000\nkernel 2000\nworkingset_refault_anon 3\nworkingset_refault_file 4\n",
            ),
            ("memory.events", "low 0\nhigh 11\nmax 12\noom 1\noom_kill 2\noom_group_kill 0\n"),
            ("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=77\nfull avg10=0 total=5\n"),
        ]);
        let wanted = Account {
            peak_bytes: Some(9000),
            current_bytes: 8000,
            anonymous_bytes: 5000,
            file_bytes: 1000,
            kernel_bytes: Some(2000),
            high_events: Some(11),
            max_events: Some(12),
            oom_kills: 2,
            pressure_ns: Some(77_000),
            refaults: 7,
        };
        assert_eq!(Account::read_second(group.path()), wanted);
        // An older kernel has no peak, and a group that is gone has nothing.
        assert_eq!(Account::read_second(Path::new("/no/such/group")), Account::default());
        assert_eq!(wanted.larger(&Account::default()), wanted);
    }

    #[test]
    fn the_account_of_version_1_is_read() {
        let group = group(&[
            ("memory.max_usage_in_bytes", "9000\n"),
            ("memory.usage_in_bytes", "8000\n"),
            ("memory.kmem.usage_in_bytes", "2000\n"),
            ("memory.failcnt", "12\n"),
            (
                "memory.stat",
                "rss 1\ncache 2\ntotal_rss 5000\ntotal_rss_huge 1\ntotal_cache 1000\ntotal_workingset_refault_file 4\n",
            ),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ]);
        let found = Account::read_first(group.path());
        assert_eq!((found.peak_bytes, found.anonymous_bytes, found.file_bytes), (Some(9000), 5000, 1000));
        assert_eq!(
            (found.kernel_bytes, found.max_events, found.oom_kills, found.refaults),
            (Some(2000), Some(12), 2, 4)
        );
        assert_eq!((found.high_events, found.pressure_ns), (None, None));
    }
}
