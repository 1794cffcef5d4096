//! glibc's tunables, as the dynamic loader lists them for a given environment.
//!
//! `ld.so --list-tunables` prints the value of each tunable, including those set by `MALLOC_*` variables. The
//! parent runs it, once per variant: a line is `glibc.malloc.arena_max: 0x2 (min: 0x1, max: ...)`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Proof, Verdict};
use crate::environment;
use crate::identity::c_library_version;
use crate::number::parse_number;
use crate::symbol;
use crate::variant::Setting;

/// Judges each option by the loader's list under the variant's variables.
pub(crate) fn judge_options(options: &[Setting], variables: &[(String, String)]) -> Vec<Proof> {
    if options.is_empty() {
        return Vec::new();
    }
    let listed = loader_path().ok_or("the dynamic loader was not found".to_string());
    let listed = listed.and_then(|loader| list_tunables(&loader, variables));
    let judge_one = |option: &Setting| match &listed {
        Ok(listed) => match judge(option, listed) {
            Verdict::Taken => {
                let effect = huge_pages::judge(option).or_else(|| judge_range(option));
                effect.or_else(|| judge_presence(option)).unwrap_or(Verdict::Taken)
            }
            other => other,
        },
        Err(reason) => Verdict::Unprovable { reason: reason.clone() },
    };
    options.iter().map(|option| Proof::new(option, judge_one(option))).collect()
}

/// The loader of this process, which its workers share: they run the same file.
fn loader_path() -> Option<PathBuf> {
    symbol::find(c"__tls_get_addr").and_then(|address| symbol::object_of(address)).map(|object| object.path)
}

fn list_tunables(loader: &Path, variables: &[(String, String)]) -> Result<String, String> {
    let mut command = Command::new(loader);
    command.arg("--list-tunables").stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(environment::is_allocator_variable) {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let output = command.output().map_err(|error| format!("{}: {error}", loader.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && text.contains("glibc.malloc.") {
        Ok(text)
    } else {
        Err(format!("{} does not list tunables", loader.display()))
    }
}

fn judge(option: &Setting, listed: &str) -> Verdict {
    let mark = format!("{}: ", option.name);
    let Some(rest) = listed.lines().find_map(|line| line.strip_prefix(&mark)) else {
        return Verdict::Unknown;
    };
    let (found, range) = rest.split_once(" (").unwrap_or((rest, ""));
    let Some((value, asked)) = parse_number(found.trim()).zip(parse_number(&option.value)) else {
        return Verdict::Differs { found: found.trim().into() };
    };
    // A value of -1 is stored as the largest unsigned one.
    if value != asked && (asked >= 0 || value as u64 as i64 as i128 != asked) {
        return Verdict::Differs { found: found.trim().into() };
    }
    // The default of some is below the least value that the loader takes.
    let least = range.strip_prefix("min: ").and_then(|range| range.split(',').next()).and_then(parse_number);
    match least {
        Some(least) if value < least => Verdict::WithoutEffect {
            reason: format!("the loader takes values from {least} on, and leaves the default"),
        },
        _ => Verdict::Taken,
    }
}

/// What the loader lists everywhere, and works only where something else is there.
fn judge_presence(option: &Setting) -> Option<Verdict> {
    let lacks = match option.name.as_str() {
        "glibc.malloc.check" if c_library_minor() >= 34 => {
            "malloc checks nothing without libc_malloc_debug.so.0, which would have to be preloaded"
        }
        "glibc.mem.tagging" if !cfg!(target_arch = "aarch64") => "this processor's memory has no tags",
        _ => return None,
    };
    // The default changes nothing anywhere.
    (parse_number(&option.value)? != 0).then(|| Verdict::WithoutEffect { reason: lacks.to_owned() })
}

/// The 36 of version 2.36.
fn c_library_minor() -> u32 {
    c_library_version().split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0)
}

/// The largest values that malloc takes, where the loader takes larger ones too.
fn judge_range(option: &Setting) -> Option<Verdict> {
    let (version, minor) = (c_library_version(), c_library_minor());
    let most = match option.name.as_str() {
        // From 2.42 on, threads can keep large blocks too.
        "glibc.malloc.tcache_max" if minor >= 42 => 4 << 20,
        "glibc.malloc.tcache_max" => 1032,
        "glibc.malloc.tcache_count" => 65535,
        "glibc.malloc.mxfast" => 160,
        _ => return None,
    };
    // A negative value is stored as a large one.
    let is_taken = (0..=most).contains(&parse_number(&option.value)?);
    let reason = format!("malloc takes values up to {most} in version {version}, and leaves the default");
    (!is_taken).then_some(Verdict::WithoutEffect { reason })
}

/// `glibc.malloc.hugetlb`, which is accepted everywhere but has an effect only if the system has such pages.
mod huge_pages {
    use super::{Setting, Verdict, parse_number};

    /// The verdict if it has no effect on this system.
    pub(super) fn judge(option: &Setting) -> Option<Verdict> {
        if option.name != "glibc.malloc.hugetlb" {
            return None;
        }
        let mode = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
        let value = parse_number(&option.value)?;
        let reserved = size_bytes(value).and_then(count_reserved).unwrap_or(0);
        let reason = without_effect(value, &mode, reserved)?;
        Some(Verdict::WithoutEffect { reason })
    }

    /// The size that a value asks for: from 3 on it is the value, below it is the system's.
    fn size_bytes(value: i128) -> Option<u64> {
        if value > 2 {
            return u64::try_from(value).ok();
        }
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Hugepagesize:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    }

    /// Huge pages of a size that the system has or may make on demand.
    fn count_reserved(bytes: u64) -> Option<u64> {
        let place = format!("/sys/kernel/mm/hugepages/hugepages-{}kB", bytes / 1024);
        let count = |name: &str| -> Option<u64> {
            std::fs::read_to_string(format!("{place}/{name}")).ok()?.trim().parse().ok()
        };
        count("nr_hugepages")?.checked_add(count("nr_overcommit_hugepages")?)
    }

    /// Why a value changes nothing; none if it does.
    pub(super) fn without_effect(value: i128, mode: &str, reserved: u64) -> Option<String> {
        let chosen = mode.split(['[', ']']).nth(1).unwrap_or("not known");
        match value {
            0 => None,
            1 if chosen == "madvise" => None,
            1 => Some(format!(
                "it asks by madvise, which glibc does only where the system's setting of transparent huge pages is \
                 madvise, and it is {chosen}"
            )),
            _ if reserved > 0 => None,
            _ => Some("the system has reserved no huge pages of that size (vm.nr_hugepages is 0)".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_that_there_are_not_change_nothing() {
        let reason = |value, mode, reserved| huge_pages::without_effect(value, mode, reserved);
        assert_eq!(reason(0, "always madvise [never]", 0), None);
        assert_eq!(reason(1, "always [madvise] never", 0), None);
        assert!(reason(1, "[always] madvise never", 9).is_some_and(|why| why.ends_with("and it is always")));
        assert!(
            reason(2, "always [madvise] never", 0).is_some_and(|why| why.contains("reserved no huge pages"))
        );
        assert_eq!(reason(2, "", 8), None);
    }

    fn verdicts(settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Vec<Verdict> {
        let settings: Vec<Setting> = settings
            .iter()
            .map(|(name, value)| Setting { name: (*name).into(), value: (*value).into() })
            .collect();
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        judge_options(&settings, &variables).into_iter().map(|proof| proof.verdict).collect()
    }

    #[test]
    fn the_real_loader_tells_what_it_took() {
        let settings = [
            ("glibc.malloc.arena_max", "2"),
            ("glibc.malloc.mxfast", "0x40"),
            ("glibc.malloc.nonsense", "1"),
        ];
        let variables = [("MALLOC_ARENA_MAX", "2"), ("GLIBC_TUNABLES", "glibc.malloc.mxfast=0x40")];
        assert_eq!(verdicts(&settings, &variables), [Verdict::Taken, Verdict::Taken, Verdict::Unknown]);
    }

    #[test]
    fn a_value_out_of_range_was_not_taken() {
        let settings = [("glibc.malloc.perturb", "300")];
        let found = verdicts(&settings, &[("MALLOC_PERTURB_", "300")]);
        assert!(matches!(&found[0], Verdict::Differs { .. }), "{found:?}");
    }

    #[test]
    fn what_malloc_ignores_has_no_effect() {
        let verdict = |name: &str, value: &str| {
            let variable = format!("{name}={value}");
            verdicts(&[(name, value)], &[("GLIBC_TUNABLES", variable.as_str())]).remove(0)
        };
        for (name, value) in [
            ("glibc.malloc.tcache_max", "8388608"),
            ("glibc.malloc.tcache_count", "65536"),
            ("glibc.malloc.mxfast", "161"),
            ("glibc.malloc.mxfast", "-1"),
            ("glibc.malloc.arena_max", "0"),
            ("glibc.malloc.arena_test", "0"),
            ("glibc.malloc.check", "3"),
        ] {
            let found = verdict(name, value);
            assert!(matches!(found, Verdict::WithoutEffect { .. }), "{name}={value}: {found:?}");
        }
        for (name, value) in [
            ("glibc.malloc.tcache_max", "1032"),
            ("glibc.malloc.tcache_count", "65535"),
            ("glibc.malloc.mxfast", "160"),
            ("glibc.malloc.trim_threshold", "-1"),
            ("glibc.malloc.top_pad", "0"),
            ("glibc.malloc.check", "0"),
        ] {
            assert_eq!(verdict(name, value), Verdict::Taken, "{name}={value}");
        }
    }

    #[test]
    fn a_variable_that_is_no_tunable_is_unknown() {
        assert_eq!(verdicts(&[("MALLOC_NONSENSE", "1")], &[("MALLOC_NONSENSE", "1")]), [Verdict::Unknown]);
    }
}
