//! What is read from the machine before it is judged: plain values, none if there was nothing to read.

use std::path::PathBuf;

use heaplab_allocators::registry;

use super::kernel::{self, read_number, read_text};
use super::machine::Machine;
use crate::group::memory_limit;

/// Whether an allocator's library is available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocatorPresence {
    /// Its name.
    pub name: String,
    /// Its library; none for the C library's own.
    pub library: Result<Option<PathBuf>, String>,
    /// How to get it.
    pub install_command: Option<String>,
}

/// CPU time of the first write to a fresh page, and of the first write to a page of memory that was written shortly
/// before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FirstWrites {
    /// A small page, in ns.
    pub small_ns: Option<(u64, u64)>,
    /// A huge page, in ns; none if the kernel gave none.
    pub huge_ns: Option<(u64, u64)>,
}

/// Everything that is judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Readings {
    /// What a run records about the machine.
    pub machine: Machine,
    /// Load of the last minute, in hundredths of a process.
    pub load_percent: Option<u64>,
    /// Time that the host took from this machine, in thousandths of all time.
    pub steal_permille: Option<u64>,
    /// `MemAvailable`.
    pub available_bytes: Option<u64>,
    /// Swap in use.
    pub swap_used_bytes: Option<u64>,
    /// Memory limit of the control group.
    pub cgroup_memory_bytes: Option<u64>,
    /// Whether a control group with a memory limit can be made, or a sentence that says why not; none if not tried.
    pub memory_groups: Option<Result<(), String>>,
    /// `kernel.randomize_va_space`.
    pub address_randomization: Option<u64>,
    /// `kernel.yama.ptrace_scope`.
    pub ptrace_scope: Option<u64>,
    /// `vm.max_map_count`.
    pub max_map_count: Option<u64>,
    /// Soft limit on processes and threads; none if unlimited.
    pub process_limit: Option<u64>,
    /// Soft limit on the size of a stack; none if unlimited.
    pub stack_limit_bytes: Option<u64>,
    /// Soft limit on the virtual size of a process; none if unlimited.
    pub virtual_limit_bytes: Option<u64>,
    /// Whether the TSC counts at one rate through every state of the CPU.
    pub tsc_is_steady: Option<bool>,
    /// The smallest step seen between two readings of the clock.
    pub timer_step_ns: Option<u64>,
    /// The target of the link that holds jemalloc's system-wide settings; a worker's environment cannot keep them
    /// out.
    pub malloc_conf_link: Option<PathBuf>,
    /// What first writes cost; none if not measured, or a sentence that says why it was not possible.
    pub first_writes: Option<Result<FirstWrites, String>>,
    /// Huge pages with which faults were served since the system started.
    pub huge_faults: Option<u64>,
    /// The allocators that are measured if none is named.
    pub allocators: Vec<AllocatorPresence>,
}

impl Readings {
    /// Reads this machine. Takes less than a tenth of a second.
    pub fn read() -> Readings {
        let meminfo = read_text("/proc/meminfo").unwrap_or_default();
        let swap = |name: &str| kernel::meminfo_bytes(&meminfo, name);
        Readings {
            machine: Machine::read(),
            load_percent: read_text("/proc/loadavg").and_then(|text| load_percent(&text)),
            steal_permille: read_text("/proc/stat").and_then(|text| kernel::steal_permille(&text)),
            available_bytes: kernel::meminfo_bytes(&meminfo, "MemAvailable"),
            swap_used_bytes: swap("SwapTotal")
                .zip(swap("SwapFree"))
                .map(|(all, free)| all.saturating_sub(free)),
            cgroup_memory_bytes: memory_limit(),
            memory_groups: None,
            address_randomization: read_number("/proc/sys/kernel/randomize_va_space"),
            ptrace_scope: read_number("/proc/sys/kernel/yama/ptrace_scope"),
            max_map_count: read_number("/proc/sys/vm/max_map_count"),
            process_limit: kernel::soft_limit(|limits| limits.max_processes),
            stack_limit_bytes: kernel::soft_limit(|limits| limits.max_stack_size),
            virtual_limit_bytes: kernel::soft_limit(|limits| limits.max_address_space),
            tsc_is_steady: read_text("/proc/cpuinfo").and_then(|text| tsc_is_steady(&text)),
            timer_step_ns: kernel::timer_step_ns(),
            malloc_conf_link: ["/etc/malloc.conf", "/etc/_rjem_malloc.conf"]
                .iter()
                .find_map(|link| std::fs::read_link(link).ok().map(|_| PathBuf::from(link))),
            first_writes: None,
            huge_faults: read_text("/proc/vmstat").and_then(|text| huge_faults(&text)),
            allocators: registry::DEFAULTS.iter().filter_map(|name| presence(name)).collect(),
        }
    }
}

fn presence(name: &str) -> Option<AllocatorPresence> {
    let entry = registry::find(name)?;
    Some(AllocatorPresence {
        name: name.to_owned(),
        library: entry.locate().map_err(|absent| absent.to_string()),
        install_command: entry.install_command(),
    })
}

/// None if the kernel does not count them.
fn huge_faults(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("thp_fault_alloc "))?.trim().parse().ok()
}

/// The first figure of /proc/loadavg in hundredths.
fn load_percent(text: &str) -> Option<u64> {
    let (whole, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?)
}

/// None if there is no TSC at all.
fn tsc_is_steady(cpuinfo: &str) -> Option<bool> {
    let flags: Vec<&str> = kernel::field(cpuinfo, "flags")?.split_whitespace().collect();
    flags.contains(&"tsc").then(|| flags.contains(&"constant_tsc") && flags.contains(&"nonstop_tsc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_and_timer_flags() {
        assert_eq!(load_percent("4.02 4.77 3.70 1/101 27825"), Some(402));
        assert_eq!(load_percent("none"), None);
        assert_eq!(huge_faults("thp_split 1\nthp_fault_alloc 42\n"), Some(42));
        assert_eq!(huge_faults("pgfault 42\n"), None);
        assert_eq!(tsc_is_steady("flags\t: fpu tsc constant_tsc nonstop_tsc"), Some(true));
        assert_eq!(tsc_is_steady("flags\t: fpu tsc constant_tsc"), Some(false));
        assert_eq!(tsc_is_steady("flags\t: fpu"), None);
    }
}
