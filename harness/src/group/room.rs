//! How much memory this process's control groups allow it: its own, and every one above that, each of which may have
//! a limit that holds for all below it, such as that of a systemd slice or of a batch job.
//!
//! A container may hide the groups above its own: their limits cannot be seen from within.

use std::path::Path;

use super::place::{Version, levels};

/// Version 1 writes "none" as the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;

/// The least limit of any level at which processes are killed, in bytes; none without a limit.
pub fn memory_limit() -> Option<u64> {
    levels().iter().filter_map(|(group, version)| limit(group, *version)).min()
}

/// What the levels' limits leave, in bytes; none without a limit. Files that the kernel can drop count as left.
pub fn memory_room() -> Option<u64> {
    levels().iter().filter_map(|(group, version)| room(group, *version)).min()
}

fn limit(group: &Path, version: Version) -> Option<u64> {
    let file = match version {
        Version::First => "memory.limit_in_bytes",
        Version::Second => "memory.max",
    };
    number(group, file).filter(|limit| *limit < UNLIMITED)
}

fn room(group: &Path, version: Version) -> Option<u64> {
    // Above memory.high, which version 1 does not have, whoever allocates is made to wait.
    let limit = limit(group, version).into_iter().chain(number(group, "memory.high")).min()?;
    let (usage, inactive) = match version {
        Version::First => ("memory.usage_in_bytes", "total_inactive_file "),
        Version::Second => ("memory.current", "inactive_file "),
    };
    // Both exist wherever a limit does.
    let used = number(group, usage).unwrap_or(0);
    let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let droppable = stat.lines().find_map(|line| line.strip_prefix(inactive)?.trim().parse().ok());
    Some(limit.saturating_sub(used.saturating_sub(droppable.unwrap_or(0))))
}

fn number(group: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::place::levels_of;
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A hierarchy `slice/job` below a mount, with these files.
    fn hierarchy(files: &[(&str, String)]) -> tempfile::TempDir {
        let mount = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(mount.path().join("slice/job")).expect("directories");
        for (name, text) in files {
            std::fs::write(mount.path().join(name), text).expect("written");
        }
        mount
    }

    fn least(mount: &Path, version: Version, of: fn(&Path, Version) -> Option<u64>) -> Option<u64> {
        levels_of(mount, &mount.join("slice/job")).iter().filter_map(|group| of(group, version)).min()
    }

    #[test]
    fn a_group_above_limits_what_is_left() {
        let bytes = |mib: u64| format!("{}\n", mib * MIB);
        let mount = hierarchy(&[
            ("slice/job/memory.max", "max\n".to_owned()),
            ("slice/job/memory.high", "max\n".to_owned()),
            ("slice/job/memory.current", bytes(50)),
            ("slice/memory.max", bytes(1000)),
            ("slice/memory.high", "max\n".to_owned()),
            ("slice/memory.current", bytes(700)),
            ("slice/memory.stat", format!("anon 1\ninactive_file {}\n", 100 * MIB)),
        ]);
        let least = |of| least(mount.path(), Version::Second, of);
        assert_eq!(least(limit), Some(1000 * MIB));
        assert_eq!(least(room), Some(400 * MIB));
        std::fs::write(mount.path().join("slice/job/memory.high"), bytes(60)).expect("written");
        assert_eq!((least(limit), least(room)), (Some(1000 * MIB), Some(10 * MIB)), "nobody is killed there");
        std::fs::write(mount.path().join("slice/memory.current"), bytes(1200)).expect("written");
        assert_eq!(least(room), Some(0));
    }

    #[test]
    fn version_1_writes_no_limit_as_a_large_number() {
        let none = "9223372036854771712\n".to_owned();
        let mount = hierarchy(&[
            ("memory.limit_in_bytes", none.clone()),
            ("memory.usage_in_bytes", "5\n".to_owned()),
            ("slice/job/memory.limit_in_bytes", none),
        ]);
        assert_eq!(least(mount.path(), Version::First, room), None);
        std::fs::write(mount.path().join("memory.limit_in_bytes"), "100\n").expect("written");
        std::fs::write(mount.path().join("memory.stat"), "total_inactive_file 2\n").expect("written");
        assert_eq!(least(mount.path(), Version::First, room), Some(97));
    }
}
