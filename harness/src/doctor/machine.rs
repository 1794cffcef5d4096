//! The machine as a run records it: what a reader needs to know about where the figures come from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::kernel::{self, chosen_word, read_number, read_text};

/// The facts of `run.toml`'s table `machine`. What could not be read is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Operating system, release and architecture of the kernel.
    pub kernel: Option<String>,
    /// The distribution's own name.
    pub distribution: Option<String>,
    /// The C library and its version.
    pub libc: Option<String>,
    /// The CPU's own name.
    pub cpu_model: Option<String>,
    /// CPUs that this process may use.
    pub cpus: Option<u64>,
    /// Whether several of them share a core.
    pub smt: Option<bool>,
    /// Whether the machine is a virtual one.
    pub virtual_machine: Option<bool>,
    /// Whether the host takes back free memory (free page reporting of a virtio balloon).
    pub free_page_reporting: Option<bool>,
    /// All memory.
    pub memory_bytes: Option<u64>,
    /// All swap.
    pub swap_bytes: Option<u64>,
    /// Size of a page.
    pub page_bytes: Option<u64>,
    /// Transparent huge pages: `always`, `madvise` or `never`.
    pub thp: Option<String>,
    /// When the kernel defragments memory to make a huge page.
    pub thp_defrag: Option<String>,
    /// Frequency governor of the first CPU.
    pub governor: Option<String>,
    /// Whether the CPU may raise its frequency.
    pub turbo: Option<bool>,
    /// The kernel's clock.
    pub clocksource: Option<String>,
    /// `vm.overcommit_memory`.
    pub overcommit: Option<u64>,
}

impl Machine {
    /// How free page reporting affects figures.
    pub const FREE_PAGES_RETURN: &str = "the host takes free memory back within seconds, and getting it again costs CPU time at \
        the first write: it is part of what real programs use here (exec, validate, record), and varies from run to run; \
        compare CPU times of programs on a host that leaves memory to the machine";

    /// Reads this machine.
    pub fn read() -> Machine {
        let cpuinfo = read_text("/proc/cpuinfo").unwrap_or_default();
        let meminfo = read_text("/proc/meminfo").unwrap_or_default();
        Machine {
            kernel: kernel_name(),
            distribution: read_text("/etc/os-release").and_then(|text| distribution(&text)),
            libc: Some(format!("glibc {}", heaplab_allocators::c_library_version())),
            cpu_model: kernel::field(&cpuinfo, "model name").map(str::to_owned),
            cpus: kernel::usable_cpus(),
            smt: read_number("/sys/devices/system/cpu/smt/active").map(|active| active == 1),
            virtual_machine: kernel::field(&cpuinfo, "flags")
                .map(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            free_page_reporting: free_page_reporting(Path::new("/sys/bus/virtio/devices")),
            memory_bytes: kernel::meminfo_bytes(&meminfo, "MemTotal"),
            swap_bytes: kernel::meminfo_bytes(&meminfo, "SwapTotal"),
            page_bytes: procfs_page_bytes(),
            thp: read_text("/sys/kernel/mm/transparent_hugepage/enabled").and_then(|text| chosen_word(&text)),
            thp_defrag: read_text("/sys/kernel/mm/transparent_hugepage/defrag")
                .and_then(|text| chosen_word(&text)),
            governor: read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            turbo: turbo(),
            clocksource: read_text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            overcommit: read_number("/proc/sys/vm/overcommit_memory"),
        }
    }
}

fn kernel_name() -> Option<String> {
    let release = read_text("/proc/sys/kernel/osrelease")?;
    let system = read_text("/proc/sys/kernel/ostype")?;
    Some(format!("{system} {release} {}", std::env::consts::ARCH))
}

/// Whether a balloon among the virtio devices of `folder` reports free pages; none if there is no such folder.
fn free_page_reporting(folder: &Path) -> Option<bool> {
    const BALLOON: &str = "0x0005";
    /// `VIRTIO_BALLOON_F_REPORTING`: features are a text with one digit per bit, the lowest first.
    const REPORTING: usize = 5;
    let reports = |device: std::fs::DirEntry| {
        let text = |name: &str| std::fs::read_to_string(device.path().join(name)).unwrap_or_default();
        text("device").trim() == BALLOON && text("features").as_bytes().get(REPORTING) == Some(&b'1')
    };
    Some(std::fs::read_dir(folder).ok()?.flatten().any(reports))
}

fn procfs_page_bytes() -> Option<u64> {
    Some(procfs::page_size())
}

fn distribution(os_release: &str) -> Option<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// Intel's driver says whether turbo is off, the others whether boost is on.
fn turbo() -> Option<bool> {
    let off = read_number("/sys/devices/system/cpu/intel_pstate/no_turbo").map(|off| off == 0);
    off.or_else(|| read_number("/sys/devices/system/cpu/cpufreq/boost").map(|on| on == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_kernel_memory_and_cpus() {
        let machine = Machine::read();
        assert!(machine.kernel.is_some_and(|kernel| kernel.starts_with("Linux ")));
        assert!(machine.memory_bytes.is_some_and(|bytes| bytes > 0));
        assert!(machine.cpus.is_some_and(|cpus| cpus > 0));
    }

    #[test]
    fn a_machine_can_be_kept_in_a_run_file() {
        let machine = Machine { thp: Some("always".into()), cpus: Some(2), ..Machine::default() };
        let table = toml::Table::try_from(&machine).expect("a table");
        assert_eq!(table.len(), 2, "what was not read is left out");
        assert_eq!(table.try_into::<Machine>().expect("a machine"), machine);
    }

    #[test]
    fn a_balloon_that_reports_free_pages_is_found_by_its_features() {
        let folder = tempfile::tempdir().expect("a directory");
        assert_eq!(free_page_reporting(&folder.path().join("none")), None);
        assert_eq!(free_page_reporting(folder.path()), Some(false), "no device");
        for (name, device, features, reports) in [
            ("virtio0", "0x0002", "111111", false),
            ("virtio1", "0x0005", "111110", false),
            ("virtio2", "0x0005", "000001000", true),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).expect("a directory");
            std::fs::write(path.join("device"), format!("{device}\n")).expect("a file");
            std::fs::write(path.join("features"), format!("{features}\n")).expect("a file");
            assert_eq!(free_page_reporting(folder.path()), Some(reports), "{name}");
        }
    }

    #[test]
    fn a_distributions_name_loses_its_quotes() {
        assert_eq!(distribution("ID=x\nPRETTY_NAME=\"A B 1\"\n").as_deref(), Some("A B 1"));
    }
}
