//! From a variant to the environment variables of its worker, and which variables belong to allocators at all.
//!
//! Each family takes settings in its own way: glibc by `MALLOC_*` variables and by tunables in one
//! GLIBC_TUNABLES, jemalloc by one configuration string, mimalloc by `MIMALLOC_*`, tcmalloc by `TCMALLOC_*`.
//! Names may be written as the allocator's own or as the variable's.

use crate::family::Family;
use crate::number::parse_number;
use crate::process;
use crate::variant::{Setting, Variant};

/// Why a variant has no environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// LD_PRELOAD separates by spaces and colons and has no quoting.
    #[error("{path}: a path with a space or a colon cannot be preloaded; link it under another name")]
    Unpreloadable {
        /// The library.
        path: String,
    },
    /// A comma within a jemalloc value would start the next option.
    #[error("{name}={value}: jemalloc's options are separated by commas; write {name}=VALUE,OTHER=VALUE")]
    Comma {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
    },
}

/// Variables of every allocator that we know of: removed from a worker's environment, so that whatever the
/// user's shell has set changes nothing.
///
/// ```
/// assert!(heaplab_allocators::is_allocator_variable("MALLOC_ARENA_MAX"));
/// assert!(!heaplab_allocators::is_allocator_variable("HOME"));
/// ```
pub fn is_allocator_variable(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "LD_PRELOAD",
        "GLIBC_TUNABLES",
        "MALLOCSTATS",
        "HEAPPROFILE",
        "HEAPCHECK",
        "SCUDO_OPTIONS",
        "MALLOC_CONF",
    ];
    const PREFIXES: [&str; 7] =
        ["MALLOC_", "_RJEM_", "JE_MALLOC_", "TCMALLOC_", "PERFTOOLS_", "TBB_", "HEAPLAB_CONTROL_"];
    NAMES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        // mimalloc reads its variables regardless of case
        || name.get(..9).is_some_and(|prefix| prefix.eq_ignore_ascii_case("MIMALLOC_"))
}

impl Variant {
    /// The environment of a worker: LD_PRELOAD and the settings' variables. `cpus` is the CPU count for which
    /// the allocator should choose its arenas; none leaves the choice to it.
    ///
    /// All variables that [`crate::is_allocator_variable`] names must be removed before these are set.
    pub fn environment(&self, cpus: Option<u32>) -> Result<Vec<(String, String)>, EnvironmentError> {
        of_variant(self, cpus)
    }

    /// Whether the settings ask for a background thread, whose timed waits are in real time: such a
    /// variant cannot be replayed at virtual pace.
    pub fn sleeps_in_real_time(&self) -> bool {
        let options = jemalloc_options(&self.settings);
        matches!(self.family, Family::Jemalloc | Family::Other)
            && options
                .iter()
                .rev()
                .find(|option| option.name == "background_thread")
                .is_some_and(|o| o.value == "true")
    }
}

fn of_variant(variant: &Variant, cpus: Option<u32>) -> Result<Vec<(String, String)>, EnvironmentError> {
    let mut variables = Vec::new();
    if let Some(library) = &variant.library {
        let path = library.to_string_lossy().into_owned();
        if path.contains([' ', ':']) {
            return Err(EnvironmentError::Unpreloadable { path });
        }
        variables.push(("LD_PRELOAD".into(), path));
    }
    let (settings, foreign) = split_settings(variant, variant.family);
    let settings = settings.as_slice();
    variables.extend(foreign.into_iter().map(|setting| (setting.name, setting.value)));
    match variant.family {
        Family::Ptmalloc2 => variables.extend(glibc_variables(settings, cpus)),
        Family::Jemalloc => {
            let conf = jemalloc_conf(settings, cpus)?;
            // Ours is built with prefixed names, including that of its variable. How a library given by its
            // path was built is unknown, and it reads only one of these.
            let names: &[&str] = match variant.allocator.as_str() {
                "jemalloc" => &["_RJEM_MALLOC_CONF"],
                _ if variant.is_given_by_path() => &["MALLOC_CONF", "_RJEM_MALLOC_CONF", "JE_MALLOC_CONF"],
                _ => &["MALLOC_CONF"],
            };
            if !conf.is_empty() {
                variables.extend(names.iter().map(|name| ((*name).into(), conf.clone())));
            }
        }
        Family::Mimalloc => {
            variables.extend(settings.iter().map(|setting| {
                (format!("MIMALLOC_{}", mimalloc_option(&setting.name).to_uppercase()), setting.value.clone())
            }));
        }
        Family::Tcmalloc => {
            variables.extend(
                settings.iter().map(|setting| (tcmalloc_variable(&setting.name), setting.value.clone())),
            );
        }
        Family::TcmallocGoogle => {
            let is_tunable = |setting: &&Setting| setting.name.starts_with("glibc.");
            variables.extend(glibc_variables(
                &settings.iter().filter(is_tunable).cloned().collect::<Vec<_>>(),
                None,
            ));
            variables.extend(
                settings
                    .iter()
                    .filter(|setting| !is_tunable(setting))
                    .map(|setting| (tcmalloc_variable(&setting.name), setting.value.clone())),
            );
        }
        Family::Scudo => variables.extend(scudo_variable(settings)),
        Family::Tbbmalloc => {
            variables
                .extend(settings.iter().map(|setting| (tbb_variable(&setting.name), setting.value.clone())));
        }
        Family::Snmalloc | Family::Rpmalloc | Family::Floor | Family::Other => {
            variables.extend(settings.iter().map(|setting| (setting.name.clone(), setting.value.clone())));
        }
    }
    Ok(variables)
}

/// The settings that are meant for an allocator of `family`, and those that are the library's own variables:
/// a library given by its path may have some besides its family's.
pub(crate) fn split_settings(variant: &Variant, family: Family) -> (Vec<Setting>, Vec<Setting>) {
    let is_foreign = |setting: &Setting| {
        let is_variable = setting.name.contains(|c: char| c.is_ascii_uppercase());
        let is_familys = match family {
            Family::Jemalloc => setting.name.ends_with("MALLOC_CONF"),
            Family::Mimalloc => setting.name.to_ascii_uppercase().starts_with("MIMALLOC_"),
            Family::Tcmalloc | Family::TcmallocGoogle => setting.name.starts_with("TCMALLOC_"),
            Family::Scudo => setting.name == SCUDO_OPTIONS,
            Family::Tbbmalloc => setting.name.starts_with("TBB_"),
            Family::Snmalloc | Family::Rpmalloc => false,
            Family::Ptmalloc2 | Family::Floor | Family::Other => true,
        };
        variant.is_given_by_path() && is_variable && !is_familys
    };
    let settings = variant.settings.iter().filter(|setting| !process::is_of_process(&setting.name)).cloned();
    settings.partition(|setting| !is_foreign(setting))
}

/// glibc's variables that are other names of a tunable.
const GLIBC_ALIASES: [(&str, &str); 8] = [
    ("MALLOC_CHECK_", "glibc.malloc.check"),
    ("MALLOC_TOP_PAD_", "glibc.malloc.top_pad"),
    ("MALLOC_PERTURB_", "glibc.malloc.perturb"),
    ("MALLOC_MMAP_MAX_", "glibc.malloc.mmap_max"),
    ("MALLOC_MMAP_THRESHOLD_", "glibc.malloc.mmap_threshold"),
    ("MALLOC_TRIM_THRESHOLD_", "glibc.malloc.trim_threshold"),
    ("MALLOC_ARENA_MAX", "glibc.malloc.arena_max"),
    ("MALLOC_ARENA_TEST", "glibc.malloc.arena_test"),
];

/// Settings of ptmalloc2 as tunables; a variable that is not another name of one stays as it is.
pub(crate) fn glibc_options(settings: &[Setting]) -> Vec<Setting> {
    let option = |name: &str, value: &str| Setting { name: name.into(), value: value.into() };
    settings
        .iter()
        .flat_map(|setting| match setting.name.as_str() {
            "GLIBC_TUNABLES" => setting
                .value
                .split(':')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| option(name, value))
                .collect(),
            name => match GLIBC_ALIASES.iter().find(|(alias, _)| *alias == name) {
                Some((_, tunable)) => vec![option(tunable, &setting.value)],
                None if is_short(name) => vec![option(&format!("glibc.malloc.{name}"), &setting.value)],
                None => vec![setting.clone()],
            },
        })
        .collect()
}

/// Whether a name is written as the allocator's own, not as a variable's or a tunable's.
fn is_short(name: &str) -> bool {
    !name.contains('.') && !name.contains(|c: char| c.is_ascii_uppercase())
}

fn glibc_variables(settings: &[Setting], cpus: Option<u32>) -> Vec<(String, String)> {
    let is_variable = |setting: &&Setting| {
        setting.name != "GLIBC_TUNABLES" && !setting.name.contains('.') && !is_short(&setting.name)
    };
    let mut variables: Vec<_> = settings
        .iter()
        .filter(is_variable)
        .map(|setting| (setting.name.clone(), setting.value.clone()))
        .collect();
    let others: Vec<Setting> = settings.iter().filter(|setting| !is_variable(setting)).cloned().collect();
    let tunables: Vec<_> =
        glibc_options(&others).iter().map(|option| format!("{}={}", option.name, option.value)).collect();
    if !tunables.is_empty() {
        variables.push(("GLIBC_TUNABLES".into(), tunables.join(":")));
    }
    let options = glibc_options(settings);
    let chosen = options.iter().any(|option| option.name == "glibc.malloc.arena_max");
    if let (Some(cpus), false) = (cpus, chosen) {
        let test = options.iter().rev().find(|option| option.name == "glibc.malloc.arena_test");
        let test =
            test.and_then(|option| parse_number(&option.value)).and_then(|test| u64::try_from(test).ok());
        variables.push(("MALLOC_ARENA_MAX".into(), count_arenas(cpus, test).to_string()));
    }
    variables
}

/// The arenas that glibc makes at most on this many CPUs, with 64 bits, under this `arena_test`: 8 for each CPU, a limit
/// that it sets when there are more than `arena_test`.
fn count_arenas(cpus: u32, arena_test: Option<u64>) -> u64 {
    // 0 is not taken; 8 is the default.
    let test = arena_test.filter(|test| *test > 0).unwrap_or(8);
    (u64::from(cpus) * 8).max(test.saturating_add(1))
}

/// Settings of jemalloc as options of its configuration string.
pub(crate) fn jemalloc_options(settings: &[Setting]) -> Vec<Setting> {
    settings
        .iter()
        .flat_map(|setting| {
            if !setting.name.ends_with("MALLOC_CONF") {
                return vec![setting.clone()];
            }
            let pairs = setting.value.split(',').filter(|pair| !pair.is_empty());
            pairs
                .map(|pair| pair.split_once(':').unwrap_or((pair, "")))
                .map(|(name, value)| Setting { name: name.into(), value: value.into() })
                .collect()
        })
        .collect()
}

fn jemalloc_conf(settings: &[Setting], cpus: Option<u32>) -> Result<String, EnvironmentError> {
    let mut options = jemalloc_options(settings);
    if let Some(comma) = options.iter().find(|option| option.value.contains(',')) {
        return Err(EnvironmentError::Comma { name: comma.name.clone(), value: comma.value.clone() });
    }
    let chosen = options.iter().any(|option| matches!(option.name.as_str(), "narenas" | "percpu_arena"));
    if let (Some(cpus), false) = (cpus, chosen) {
        // jemalloc: 4 arenas per CPU, and 1 if there is one CPU.
        let narenas = if cpus > 1 { u64::from(cpus) * 4 } else { 1 };
        options.push(Setting { name: "narenas".into(), value: narenas.to_string() });
    }
    let pairs = options.iter().map(|option| format!("{}:{}", option.name, option.value));
    Ok(pairs.collect::<Vec<_>>().join(","))
}

/// The name of a mimalloc option as mimalloc prints it.
pub(crate) fn mimalloc_option(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    lower.strip_prefix("mimalloc_").map(str::to_string).unwrap_or(lower)
}

/// The name of tcmalloc's variable.
pub(crate) fn tcmalloc_variable(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("TCMALLOC_") { upper } else { format!("TCMALLOC_{upper}") }
}

/// Scudo's one variable: its options, separated by colons.
pub(crate) const SCUDO_OPTIONS: &str = "SCUDO_OPTIONS";

/// Settings of Scudo as options of its variable.
pub(crate) fn scudo_options(settings: &[Setting]) -> Vec<Setting> {
    let split = |setting: &Setting| {
        if setting.name != SCUDO_OPTIONS {
            return vec![setting.clone()];
        }
        let pairs = setting.value.split([':', ',', ' ']).filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| Setting { name: name.into(), value: value.into() })
            .collect()
    };
    settings.iter().flat_map(split).collect()
}

fn scudo_variable(settings: &[Setting]) -> Option<(String, String)> {
    let options = scudo_options(settings);
    let pairs: Vec<String> =
        options.iter().map(|option| format!("{}={}", option.name, option.value)).collect();
    (!pairs.is_empty()).then(|| (SCUDO_OPTIONS.into(), pairs.join(":")))
}

/// The name of tbbmalloc's variable.
pub(crate) fn tbb_variable(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("TBB_") { upper } else { format!("TBB_MALLOC_{upper}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(allocator: &str, family: Family, settings: &[(&str, &str)]) -> Variant {
        let settings =
            settings.iter().map(|(name, value)| Setting { name: (*name).into(), value: (*value).into() });
        let library = (family != Family::Ptmalloc2).then(|| "/l.so".into());
        Variant {
            label: String::new(),
            allocator: allocator.into(),
            family,
            settings: settings.collect(),
            library,
        }
    }

    /// The environment as `NAME=VALUE` lines, without LD_PRELOAD.
    fn lines(allocator: &str, family: Family, settings: &[(&str, &str)], cpus: Option<u32>) -> Vec<String> {
        let variables = of_variant(&variant(allocator, family, settings), cpus).expect("an environment");
        let own = variables.iter().filter(|(name, _)| name != "LD_PRELOAD");
        own.map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn ptmalloc2_takes_variables_and_tunables() {
        let settings = [("MALLOC_TOP_PAD_", "0"), ("glibc.malloc.tcache_count", "0"), ("mxfast", "16")];
        assert_eq!(
            lines("ptmalloc2", Family::Ptmalloc2, &settings, None),
            ["MALLOC_TOP_PAD_=0", "GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.mxfast=16"]
        );
    }

    #[test]
    fn cpus_set_the_arenas_unless_the_user_did() {
        let glibc = |settings: &[(&str, &str)]| lines("ptmalloc2", Family::Ptmalloc2, settings, Some(32));
        assert_eq!(glibc(&[]), ["MALLOC_ARENA_MAX=256"]);
        assert_eq!(lines("ptmalloc2", Family::Ptmalloc2, &[], Some(1)), ["MALLOC_ARENA_MAX=9"]);
        assert_eq!(glibc(&[("MALLOC_ARENA_MAX", "2")]), ["MALLOC_ARENA_MAX=2"]);
        let test = |value| glibc(&[("MALLOC_ARENA_TEST", value)]).join(" ");
        assert_eq!(test("400"), "MALLOC_ARENA_TEST=400 MALLOC_ARENA_MAX=401");
        assert_eq!(test("2"), "MALLOC_ARENA_TEST=2 MALLOC_ARENA_MAX=256");
        let short = glibc(&[("arena_test", "0x200")]);
        assert_eq!(short, ["GLIBC_TUNABLES=glibc.malloc.arena_test=0x200", "MALLOC_ARENA_MAX=513"]);
        assert_eq!(glibc(&[("arena_max", "2")]), ["GLIBC_TUNABLES=glibc.malloc.arena_max=2"]);
        assert_eq!(
            glibc(&[("GLIBC_TUNABLES", "glibc.malloc.mxfast=1:glibc.malloc.arena_max=2")]),
            ["GLIBC_TUNABLES=glibc.malloc.mxfast=1:glibc.malloc.arena_max=2"]
        );
        let jemalloc =
            |settings: &[(&str, &str)], cpus| lines("jemalloc", Family::Jemalloc, settings, Some(cpus));
        assert_eq!(jemalloc(&[], 32), ["_RJEM_MALLOC_CONF=narenas:128"]);
        assert_eq!(jemalloc(&[], 1), ["_RJEM_MALLOC_CONF=narenas:1"]);
        assert_eq!(jemalloc(&[("narenas", "3")], 32), ["_RJEM_MALLOC_CONF=narenas:3"]);
        assert_eq!(jemalloc(&[("percpu_arena", "percpu")], 32), ["_RJEM_MALLOC_CONF=percpu_arena:percpu"]);
    }

    #[test]
    fn jemalloc_takes_options_and_whole_strings() {
        let settings = [("MALLOC_CONF", "dirty_decay_ms:0,slab_sizes:1-64:17"), ("narenas", "4")];
        let conf = "MALLOC_CONF=dirty_decay_ms:0,slab_sizes:1-64:17,narenas:4";
        assert_eq!(lines("jemalloc-system", Family::Jemalloc, &settings, None), [conf]);
        assert_eq!(lines("jemalloc", Family::Jemalloc, &settings, None), [format!("_RJEM_{conf}")]);
        let comma = variant("jemalloc", Family::Jemalloc, &[("narenas", "4,b")]);
        assert!(of_variant(&comma, None).is_err());
    }

    #[test]
    fn mimalloc_tcmalloc_and_others() {
        let both = [("purge_delay", "0"), ("MIMALLOC_ARENA_RESERVE", "1M")];
        assert_eq!(
            lines("mimalloc", Family::Mimalloc, &both, Some(8)),
            ["MIMALLOC_PURGE_DELAY=0", "MIMALLOC_ARENA_RESERVE=1M"]
        );
        let both = [("TCMALLOC_RELEASE_RATE", "10"), ("heap_limit_mb", "5")];
        assert_eq!(
            lines("tcmalloc", Family::Tcmalloc, &both, None),
            ["TCMALLOC_RELEASE_RATE=10", "TCMALLOC_HEAP_LIMIT_MB=5"]
        );
        assert_eq!(
            lines("mine", Family::Other, &[("Foo", "1"), ("process.thp", "never")], Some(8)),
            ["Foo=1"]
        );
    }

    #[test]
    fn google_tcmalloc_scudo_and_tbbmalloc() {
        let both = [("glibc.pthread.rseq", "0"), ("numa_aware", "1")];
        assert_eq!(
            lines("tcmalloc-google", Family::TcmallocGoogle, &both, Some(8)),
            ["GLIBC_TUNABLES=glibc.pthread.rseq=0", "TCMALLOC_NUMA_AWARE=1"]
        );
        let both =
            [("release_to_os_interval_ms", "0"), ("SCUDO_OPTIONS", "zero_contents=1:may_return_null=0")];
        assert_eq!(
            lines("scudo", Family::Scudo, &both, None),
            ["SCUDO_OPTIONS=release_to_os_interval_ms=0:zero_contents=1:may_return_null=0"]
        );
        assert_eq!(lines("scudo", Family::Scudo, &[], None), [] as [String; 0]);
        assert_eq!(
            lines("tbbmalloc", Family::Tbbmalloc, &[("use_huge_pages", "1")], None),
            ["TBB_MALLOC_USE_HUGE_PAGES=1"]
        );
    }

    #[test]
    fn a_library_given_by_its_path_is_told_as_its_family_is() {
        let settings = [("dirty_decay_ms", "0"), ("FOO", "1")];
        assert_eq!(
            lines("je", Family::Other, &settings, Some(8)),
            ["dirty_decay_ms=0", "FOO=1"].map(String::from)
        );
        assert_eq!(
            lines("je", Family::Jemalloc, &settings, Some(8)),
            [
                "FOO=1",
                "MALLOC_CONF=dirty_decay_ms:0,narenas:32",
                "_RJEM_MALLOC_CONF=dirty_decay_ms:0,narenas:32",
                "JE_MALLOC_CONF=dirty_decay_ms:0,narenas:32",
            ]
        );
        assert_eq!(lines("mi", Family::Mimalloc, &[("purge_delay", "0")], None), ["MIMALLOC_PURGE_DELAY=0"]);
    }

    #[test]
    fn a_path_that_cannot_be_preloaded_is_refused() {
        let mut variant = variant("mine", Family::Other, &[]);
        variant.library = Some("/a b.so".into());
        assert!(of_variant(&variant, None).expect_err("a space").to_string().starts_with("/a b.so: "));
    }

    #[test]
    fn variables_of_allocators() {
        for name in [
            "MALLOC_CONF",
            "_RJEM_MALLOC_CONF",
            "mimalloc_verbose",
            "TCMALLOC_X",
            "GLIBC_TUNABLES",
            "LD_PRELOAD",
        ] {
            assert!(is_allocator_variable(name), "{name}");
        }
        for name in ["PATH", "MALLO", "HEAPLAB_PRELOAD_DIR", "é"] {
            assert!(!is_allocator_variable(name), "{name}");
        }
    }
}
