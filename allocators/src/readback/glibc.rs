//! glibc's tunables, as the dynamic loader lists them for a given environment.
//!
//! `ld.so --list-tunables` prints the value of each tunable, including those set by `MALLOC_*` variables. The
//! parent runs it, once per variant: a line is `glibc.malloc.arena_max: 0x2 (min: 0x1, max: ...)`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::jemalloc::parse_number;
use super::{Proof, Verdict};
use crate::environment;
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
            Verdict::Taken => huge_pages::judge(option).unwrap_or(Verdict::Taken),
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
    let found = rest.split(" (").next().unwrap_or(rest).trim();
    match (parse_number(found), parse_number(&option.value)) {
        (Some(found), Some(asked)) if found == asked => Verdict::Taken,
        _ => Verdict::Differs { found: found.into() },
    }
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
        let reserved = count_reserved().unwrap_or(0);
        let reason = without_effect(parse_number(&option.value)?, &mode, reserved)?;
        Some(Verdict::WithoutEffect { reason })
    }

    /// Huge pages of all sizes that the system has or may make on demand.
    fn count_reserved() -> Option<u64> {
        let mut count = 0;
        for size in std::fs::read_dir("/sys/kernel/mm/hugepages").ok()? {
            for name in ["nr_hugepages", "nr_overcommit_hugepages"] {
                let text = std::fs::read_to_string(size.as_ref().ok()?.path().join(name)).ok()?;
                count += text.trim().parse::<u64>().ok()?;
            }
        }
        Some(count)
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
            _ => Some("the system has reserved no huge pages (vm.nr_hugepages is 0)".into()),
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
    fn a_variable_that_is_no_tunable_is_unknown() {
        assert_eq!(verdicts(&[("MALLOC_NONSENSE", "1")], &[("MALLOC_NONSENSE", "1")]), [Verdict::Unknown]);
    }
}
