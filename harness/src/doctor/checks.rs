//! Judges which readings would spoil a measurement, and names the command that fixes each.
//!
//! Pure: everything comes from [`Readings`].

use serde::Serialize;

use super::machine::Machine;
use super::readings::{AllocatorPresence, FirstWrites, Readings};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Does not affect comparisons, but a reader should know it.
    Note,
    /// Spoils figures.
    Warning,
}

/// One finding: a row of `heaplab doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub what: &'static str,
    /// What was found; `not readable` if there is no such file.
    pub found: String,
    /// Whether it spoils anything.
    pub level: Level,
    /// What it spoils, and the command that fixes it; empty if all is well.
    pub advice: String,
}

const MEMORY_GROUPS: &str = "control groups with memory limits";
const NOT_READABLE: &str = "not readable";
const MIB: u64 = 1 << 20;

fn check(what: &'static str, found: impl ToString, level: Level, advice: &str) -> Check {
    let advice = if level == Level::Ok { String::new() } else { advice.to_owned() };
    Check { what, found: found.to_string(), level, advice }
}

/// Checks a reading that may be missing, in which case it becomes a note without a judgement.
fn judged<T: ToString>(
    what: &'static str,
    reading: &Option<T>,
    advice: &str,
    judge: impl Fn(&T) -> Level,
) -> Check {
    match reading {
        Some(value) => check(what, value.to_string(), judge(value), advice),
        None => check(what, NOT_READABLE, Level::Note, "not judged: this system does not show it"),
    }
}

fn unless(good: bool, level: Level) -> Level {
    if good { Level::Ok } else { level }
}

/// Judges all readings, in the order in which they are printed.
pub fn examine(readings: &Readings) -> Vec<Check> {
    let mut checks = examine_cpu(readings);
    checks.extend(examine_timers(readings));
    checks.extend(examine_memory(readings));
    checks.extend(examine_first_writes(readings));
    checks.extend(examine_limits(readings));
    checks.extend(readings.allocators.iter().map(examine_allocator));
    if let Some(link) = &readings.malloc_conf_link {
        let advice =
            format!("changes every jemalloc, whatever its settings; remove it: rm {}", link.display());
        checks.push(check("jemalloc's system-wide settings", link.display(), Level::Warning, &advice));
    }
    checks
}

fn examine_cpu(readings: &Readings) -> Vec<Check> {
    let machine = &readings.machine;
    let cpus = machine.cpus.unwrap_or(1);
    let virtual_machine = machine.virtual_machine == Some(true);
    let governor = match (&machine.governor, virtual_machine) {
        (None, true) => check("frequency governor", "none: a virtual machine's host decides", Level::Ok, ""),
        (governor, _) => judged(
            "frequency governor",
            governor,
            "times follow the frequency; fix it: cpupower frequency-set -g performance",
            |governor| unless(governor == "performance", Level::Warning),
        ),
    };
    let mut checks = vec![
        judged(
            "CPUs",
            &machine.cpus,
            "threads of the workload take turns with all else on one CPU",
            |&cpus| unless(cpus > 1, Level::Note),
        ),
        governor,
    ];
    if let Some(turbo) = machine.turbo {
        let advice = "the frequency falls as the CPU heats up; switch it off: \
                      echo 0 > /sys/devices/system/cpu/cpufreq/boost (Intel: echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo)";
        checks.push(check("turbo", on_or_off(turbo), unless(!turbo, Level::Note), advice));
    }
    if let Some(smt) = machine.smt {
        let advice = "CPUs that share a core slow each other; switch it off: echo off > /sys/devices/system/cpu/smt/control";
        checks.push(check("SMT", on_or_off(smt), unless(!smt, Level::Note), advice));
    }
    let load = readings.load_percent.map(|load| format!("{}.{:02}", load / 100, load % 100));
    checks.push(judged(
        "load average, 1 minute",
        &load,
        "other processes take CPU time and caches; stop them, or wait until the load is under a quarter of the CPUs: uptime",
        |_| unless(readings.load_percent.is_some_and(|load| load <= cpus * 25), Level::Warning),
    ));
    let steal = readings.steal_permille.map(|steal| format!("{}.{} %", steal / 10, steal % 10));
    checks.push(judged(
        "time taken by the host",
        &steal,
        "the host gives this machine's CPUs to others; measure on a machine of its own, or take more repetitions",
        |_| unless(readings.steal_permille.is_some_and(|steal| steal < 10), Level::Warning),
    ));
    if virtual_machine {
        let advice = "the host backs memory late and moves CPUs; trust ratios within blocks, not times";
        checks.push(check("virtual machine", "yes", Level::Note, advice));
    }
    checks
}

fn on_or_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn examine_timers(readings: &Readings) -> Vec<Check> {
    let steady =
        readings.tsc_is_steady.map(|steady| if steady { "constant, nonstop" } else { "rate varies" });
    let step = readings.timer_step_ns.map(|step| format!("{step} ns"));
    vec![
        judged(
            "TSC",
            &steady,
            "the latency pass times calls with it; leave that pass out: --pass throughput --pass memory",
            |_| unless(readings.tsc_is_steady == Some(true), Level::Warning),
        ),
        judged(
            "clock source",
            &readings.machine.clocksource,
            "the kernel does not trust the TSC, or each clock read is a system call; \
             try: echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
            |source| unless(matches!(source.as_str(), "tsc" | "arch_sys_counter"), Level::Warning),
        ),
        judged("clock's smallest step", &step, "short times are coarse; use longer workloads", |_| {
            unless(readings.timer_step_ns.is_some_and(|step| step <= 1000), Level::Warning)
        }),
    ]
}

fn examine_memory(readings: &Readings) -> Vec<Check> {
    let machine = &readings.machine;
    let bytes = |value: u64| format!("{} MiB", value / MIB);
    let mut checks = vec![
        judged(
            "transparent huge pages",
            &machine.thp,
            "changes resident memory more than allocators do; set what your hosts have, for example: \
             echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
            |thp| unless(thp != "always", Level::Warning),
        ),
        judged(
            "huge page defragmentation",
            &machine.thp_defrag,
            "page faults stall while memory is compacted; set: echo madvise > /sys/kernel/mm/transparent_hugepage/defrag",
            |defrag| unless(defrag != "always", Level::Note),
        ),
        judged(
            "memory available",
            &readings.available_bytes.map(bytes),
            "workers may run out of memory; free some, or choose smaller workloads",
            |_| {
                unless(
                    readings.available_bytes.is_some_and(|available| available >= 2048 * MIB),
                    Level::Warning,
                )
            },
        ),
    ];
    if let Some(used) = readings.swap_used_bytes {
        let advice =
            "swapped pages are not resident: memory figures are too small; switch it off: swapoff -a";
        let found = format!("{} of {}", bytes(used), bytes(machine.swap_bytes.unwrap_or(0)));
        let level = match (used, machine.swap_bytes) {
            (0, Some(0)) => Level::Ok,
            (0, _) => Level::Note,
            _ => Level::Warning,
        };
        checks.push(check("swap in use", found, level, advice));
    }
    checks.push(judged(
        "overcommit",
        &machine.overcommit,
        "allocators reserve more than they use, and are refused; set: sysctl vm.overcommit_memory=0",
        |&overcommit| unless(overcommit != 2, Level::Warning),
    ));
    checks
}

/// What fresh memory costs, and whether it costs less if it was written shortly before.
fn examine_first_writes(readings: &Readings) -> Vec<Check> {
    const LATE: u64 = 2;
    let late = "the host backs memory when it is first written to, and takes back what is free within seconds; heaplab run \
                writes to the memory that a variant uses right before it times it, and flags samples that were slow anyway";
    let show = |ns: u64| format!("{}.{} us", ns / 1000, ns % 1000 / 100);
    let pages = |what, costs: Option<(u64, u64)>, without: &str| match costs {
        None => check(what, "none were given", Level::Note, without),
        Some((first, again)) => check(
            what,
            format!("{}, again {}", show(first), show(again)),
            unless(first <= again.saturating_mul(LATE), Level::Note),
            late,
        ),
    };
    let mut checks = match &readings.first_writes {
        None => Vec::new(),
        Some(Err(why)) => {
            vec![check(
                "first write to a fresh page",
                why,
                Level::Note,
                "not judged: it could not be measured",
            )]
        }
        Some(Ok(FirstWrites { small_ns, huge_ns })) => {
            let without = "transparent huge pages are off or memory is in pieces: variants that ask for huge pages are \
                           measured without; see: cat /sys/kernel/mm/transparent_hugepage/enabled";
            let what = ["first write to a small page (4 KiB)", "first write to a huge page (2 MiB)"];
            vec![pages(what[0], *small_ns, without), pages(what[1], *huge_ns, without)]
        }
    };
    checks.push(match readings.machine.free_page_reporting {
        Some(true) => check("free page reporting", "on", Level::Note, Machine::FREE_PAGES_RETURN),
        Some(false) | None => check("free page reporting", "off", Level::Ok, ""),
    });
    checks.push(match readings.huge_faults {
        Some(_) => check("page faults with huge pages", "counted", Level::Ok, ""),
        None => check(
            "page faults with huge pages",
            NOT_READABLE,
            Level::Note,
            "/proc/vmstat has no thp_fault_alloc: how much memory is warmed in huge pages is what a replay has of them at its end",
        ),
    });
    checks
}

fn examine_limits(readings: &Readings) -> Vec<Check> {
    let bytes = |value: Option<u64>| value.map_or("none".to_owned(), |value| format!("{} MiB", value / MIB));
    let at_least =
        |value: Option<u64>, least: u64| unless(value.is_none_or(|value| value >= least), Level::Warning);
    let groups = readings.memory_groups.as_ref().map(|made| match made {
        Ok(()) => check(MEMORY_GROUPS, "can be made", Level::Ok, ""),
        Err(why) => check(
            MEMORY_GROUPS,
            "cannot be made",
            Level::Note,
            &format!("heaplab limit, --memory-max and --memory-high are refused: {why}"),
        ),
    });
    let mut checks = vec![
        check(
            "memory limit of the control group",
            bytes(readings.cgroup_memory_bytes),
            at_least(readings.cgroup_memory_bytes, 2048 * MIB),
            "workers are killed when they reach it; run outside the group, or raise its memory.max and that of those above it",
        ),
        judged(
            "mappings per process (vm.max_map_count)",
            &readings.max_map_count,
            "allocators of many small mappings are refused more; set: sysctl vm.max_map_count=262144",
            |&count| unless(count >= 65530, Level::Warning),
        ),
        check(
            "processes and threads (ulimit -u)",
            readings.process_limit.map_or("none".to_owned(), |limit| limit.to_string()),
            at_least(readings.process_limit, 4096),
            "workloads of many threads cannot start them; set: ulimit -u unlimited",
        ),
        check(
            "stack (ulimit -s)",
            bytes(readings.stack_limit_bytes),
            at_least(readings.stack_limit_bytes, MIB),
            "too small for the initial thread; set: ulimit -s 8192",
        ),
        check(
            "virtual size (ulimit -v)",
            bytes(readings.virtual_limit_bytes),
            unless(readings.virtual_limit_bytes.is_none(), Level::Warning),
            "allocators reserve address space that they do not use, and are refused; set: ulimit -v unlimited",
        ),
        judged(
            "address randomization",
            &readings.address_randomization,
            "each process has the same addresses: less spread than your hosts will see; set: sysctl kernel.randomize_va_space=2",
            |&mode| unless(mode == 2, Level::Note),
        ),
        match readings.ptrace_scope {
            None => check("ptrace scope", "no restriction", Level::Ok, ""),
            Some(scope) => check(
                "ptrace scope",
                scope,
                unless(scope < 2, Level::Note),
                "debuggers cannot attach to a worker; nothing that is measured needs them",
            ),
        },
    ];
    checks.extend(groups);
    checks
}

fn examine_allocator(allocator: &AllocatorPresence) -> Check {
    let (found, level) = match &allocator.library {
        Ok(Some(library)) => (library.display().to_string(), Level::Ok),
        Ok(None) => ("the C library's own".to_owned(), Level::Ok),
        Err(_) => ("absent".to_owned(), Level::Warning),
    };
    let what = match allocator.name.as_str() {
        "ptmalloc2" => "ptmalloc2",
        "jemalloc" => "jemalloc",
        "tcmalloc" => "tcmalloc",
        "mimalloc" => "mimalloc",
        _ => "allocator",
    };
    let advice = match &allocator.install_command {
        Some(command) => format!("cannot be measured; install it: {command}"),
        None => String::new(),
    };
    check(what, found, level, &advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Machine;

    /// A machine on which nothing is wrong.
    fn good() -> Readings {
        Readings {
            machine: Machine {
                cpus: Some(8),
                governor: Some("performance".into()),
                thp: Some("madvise".into()),
                thp_defrag: Some("madvise".into()),
                clocksource: Some("tsc".into()),
                swap_bytes: Some(0),
                overcommit: Some(0),
                ..Machine::default()
            },
            load_percent: Some(12),
            steal_permille: Some(0),
            available_bytes: Some(8 << 30),
            swap_used_bytes: Some(0),
            address_randomization: Some(2),
            ptrace_scope: Some(1),
            max_map_count: Some(65530),
            stack_limit_bytes: Some(8 << 20),
            tsc_is_steady: Some(true),
            timer_step_ns: Some(30),
            huge_faults: Some(0),
            memory_groups: Some(Ok(())),
            first_writes: Some(Ok(FirstWrites {
                small_ns: Some((900, 800)),
                huge_ns: Some((400_000, 300_000)),
            })),
            ..Readings::default()
        }
    }

    fn level(readings: &Readings, what: &str) -> (Level, String) {
        let found = examine(readings).into_iter().find(|check| check.what == what);
        found.map(|check| (check.level, check.advice)).expect("a check of this name")
    }

    #[test]
    fn a_good_machine_is_not_blamed() {
        let blamed: Vec<_> = examine(&good()).into_iter().filter(|check| check.level != Level::Ok).collect();
        assert_eq!(blamed, []);
    }

    #[test]
    fn what_is_not_readable_is_said_and_not_judged() {
        let checks = examine(&Readings::default());
        assert!(checks.iter().all(|check| check.level != Level::Warning), "{checks:#?}");
        assert!(checks.iter().any(|check| check.found == NOT_READABLE));
    }

    #[test]
    fn groups_that_cannot_be_made_are_a_note_with_the_reason() {
        let denied = |why: &str| Readings { memory_groups: Some(Err(why.to_owned())), ..good() };
        let (level, advice) = level(&denied("/sys/fs/cgroup: Read-only file system"), MEMORY_GROUPS);
        assert_eq!(level, Level::Note);
        assert!(advice.contains("--memory-max") && advice.ends_with("Read-only file system"), "{advice}");
    }

    /// A check, what spoils it, and a part of the command that fixes it.
    type Spoiler = (&'static str, fn(&mut Readings), &'static str);

    #[test]
    fn each_spoiler_is_a_warning_with_a_command() {
        let spoilers: [Spoiler; 8] = [
            ("frequency governor", |r| r.machine.governor = Some("powersave".into()), "cpupower"),
            ("transparent huge pages", |r| r.machine.thp = Some("always".into()), "echo madvise"),
            ("load average, 1 minute", |r| r.load_percent = Some(401), "uptime"),
            ("swap in use", |r| r.swap_used_bytes = Some(5 << 20), "swapoff -a"),
            ("overcommit", |r| r.machine.overcommit = Some(2), "sysctl vm.overcommit_memory=0"),
            ("clock source", |r| r.machine.clocksource = Some("hpet".into()), "echo tsc"),
            ("virtual size (ulimit -v)", |r| r.virtual_limit_bytes = Some(1 << 30), "ulimit -v unlimited"),
            ("memory limit of the control group", |r| r.cgroup_memory_bytes = Some(1 << 30), "memory.max"),
        ];
        for (what, spoil, command) in spoilers {
            let mut readings = good();
            spoil(&mut readings);
            let (level, advice) = level(&readings, what);
            assert_eq!(level, Level::Warning, "{what}");
            assert!(advice.contains(command), "{what}: {advice}");
        }
    }

    #[test]
    fn memory_that_the_host_backs_late_is_explained() {
        let mut readings = good();
        let small = "first write to a small page (4 KiB)";
        let huge = "first write to a huge page (2 MiB)";
        readings.first_writes =
            Some(Ok(FirstWrites { small_ns: Some((13_000, 900)), huge_ns: Some((6_700_000, 400_000)) }));
        for what in [small, huge] {
            let (level, advice) = level(&readings, what);
            assert_eq!(level, Level::Note);
            assert!(advice.contains("the host backs memory"), "{advice}");
        }
        let found = examine(&readings).into_iter().find(|check| check.what == huge).expect("a row").found;
        assert_eq!(found, "6700.0 us, again 400.0 us");
        readings.first_writes = Some(Ok(FirstWrites { small_ns: Some((900, 900)), huge_ns: None }));
        assert!(level(&readings, huge).1.contains("transparent_hugepage"));
        readings.first_writes = Some(Err("the system refuses 64 bytes".to_owned()));
        assert_eq!(level(&readings, "first write to a fresh page").0, Level::Note);
    }

    #[test]
    fn an_absent_allocator_names_its_package() {
        let mut readings = good();
        readings.allocators.push(AllocatorPresence {
            name: "tcmalloc".into(),
            library: Err("absent".into()),
            install_command: Some("apt-get install libtcmalloc-minimal4".into()),
        });
        let (level, advice) = level(&readings, "tcmalloc");
        assert_eq!(level, Level::Warning);
        assert!(advice.ends_with("apt-get install libtcmalloc-minimal4"));
    }
}
