//! What is known about settings: a line on what each does, and a value to try.
//!
//! A table for people. No setting is refused for not being in it: whether an allocator knows a setting is
//! proven by reading it back (see [`crate::readback`]). A test tries every example under the real allocator.

use crate::family::Family;

/// A setting that is worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownSetting {
    /// The allocators that have it; none for a setting of the process, which any variant may have.
    pub family: Option<Family>,
    /// Its name, as it follows a variant's colon.
    pub name: &'static str,
    /// What it does, in a line.
    pub what: &'static str,
    /// A value that is not the default.
    pub example: &'static str,
}

const fn glibc(name: &'static str, example: &'static str, what: &'static str) -> KnownSetting {
    KnownSetting { family: Some(Family::Ptmalloc2), name, what, example }
}

const fn jemalloc(name: &'static str, example: &'static str, what: &'static str) -> KnownSetting {
    KnownSetting { family: Some(Family::Jemalloc), name, what, example }
}

const fn mimalloc(name: &'static str, example: &'static str, what: &'static str) -> KnownSetting {
    KnownSetting { family: Some(Family::Mimalloc), name, what, example }
}

const fn tcmalloc(name: &'static str, example: &'static str, what: &'static str) -> KnownSetting {
    KnownSetting { family: Some(Family::Tcmalloc), name, what, example }
}

const fn google(name: &'static str, example: &'static str, what: &'static str) -> KnownSetting {
    KnownSetting { family: Some(Family::TcmallocGoogle), name, what, example }
}

const fn scudo(name: &'static str, example: &'static str, what: &'static str) -> KnownSetting {
    KnownSetting { family: Some(Family::Scudo), name, what, example }
}

const fn tbbmalloc(name: &'static str, example: &'static str, what: &'static str) -> KnownSetting {
    KnownSetting { family: Some(Family::Tbbmalloc), name, what, example }
}

/// The settings that are worth knowing, by family.
#[rustfmt::skip] // one setting per line
pub const KNOWN: [KnownSetting; 44] = [
    glibc("MALLOC_ARENA_MAX", "2", "most arenas; threads beyond that share them (8 for each CPU)"),
    glibc("MALLOC_ARENA_TEST", "2", "so many arenas are made before the limit by the CPU count applies (8)"),
    glibc("MALLOC_TRIM_THRESHOLD_", "65536", "free bytes at the end of the heap from which on it is given back; set, it no longer adapts (128 KiB)"),
    glibc("MALLOC_MMAP_THRESHOLD_", "65536", "blocks of so many bytes or more get a mapping of their own; set, it no longer adapts (128 KiB)"),
    glibc("MALLOC_MMAP_MAX_", "16", "most blocks that have a mapping of their own at once; set, the thresholds no longer adapt (65536)"),
    glibc("MALLOC_TOP_PAD_", "1048576", "bytes more than needed that each growth of the heap takes; set, the thresholds no longer adapt (128 KiB)"),
    glibc("MALLOC_PERTURB_", "165", "fills blocks at malloc and at free: finds faults, costs time (0: no)"),
    glibc("glibc.malloc.tcache_count", "0", "freed blocks of each size that a thread keeps for itself; 0 for none (7)"),
    glibc("glibc.malloc.tcache_max", "512", "largest block that a thread keeps for itself; before glibc 2.42 at most the default (1032 bytes)"),
    glibc("glibc.malloc.tcache_unsorted_limit", "8", "freed blocks that are sorted into the thread's own at one search; 0 for all (0)"),
    glibc("glibc.malloc.mxfast", "0", "largest block of the fast bins, which do not join with their neighbours (128 bytes)"),
    glibc("glibc.malloc.hugetlb", "1", "1: asks for transparent huge pages by madvise; 2: maps huge pages that the system has reserved (0)"),
    jemalloc("narenas", "2", "number of arenas (4 for each CPU)"),
    jemalloc("percpu_arena", "percpu", "an arena for each CPU instead of some for the threads: percpu, or phycpu for physical ones (disabled)"),
    jemalloc("dirty_decay_ms", "0", "time over which unused pages are given back; 0 at once, -1 never (10000)"),
    jemalloc("muzzy_decay_ms", "1000", "time over which pages that were given back lazily are given back for good (0)"),
    jemalloc("background_thread", "true", "threads of its own give pages back; they sleep in real time, so not at virtual pace (false)"),
    jemalloc("thp", "always", "transparent huge pages for its memory: always, never, or as the system has it (default)"),
    jemalloc("metadata_thp", "always", "transparent huge pages for its own tables: always, or auto when there are many (disabled)"),
    jemalloc("tcache", "false", "whether threads keep freed blocks for themselves (true)"),
    jemalloc("tcache_max", "4096", "largest block that a thread keeps for itself (32768 bytes)"),
    jemalloc("retain", "false", "whether address space is kept for later instead of unmapped (true)"),
    jemalloc("oversize_threshold", "0", "blocks of so many bytes or more lie in an arena of their own; 0 for none (8 MiB)"),
    mimalloc("purge_delay", "0", "milliseconds after which free pages are given back; 0 at once, -1 never (1000; before 3.3, 10)"),
    mimalloc("purge_decommits", "0", "whether pages are given back at once (MADV_DONTNEED) or when the system needs them (1)"),
    mimalloc("arena_eager_commit", "0", "whether an arena's memory is committed when it is made; 2: where the system overcommits (2)"),
    mimalloc("arena_reserve", "64MiB", "address space that is reserved at a time (1 GiB)"),
    mimalloc("allow_large_os_pages", "1", "maps huge pages of 2 MiB that the system has reserved, where there are any (0)"),
    mimalloc("allow_thp", "0", "whether it may have transparent huge pages; 0 forbids them to the process (1)"),
    mimalloc("page_full_retain", "0", "full pages of each size that a thread keeps at hand (2)"),
    tcmalloc("TCMALLOC_RELEASE_RATE", "10", "how eagerly free pages are given back, 0 never to 10 (1)"),
    tcmalloc("TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES", "8388608", "most bytes that all threads together keep for themselves (32 MiB)"),
    tcmalloc("TCMALLOC_AGGRESSIVE_DECOMMIT", "1", "gives every free page back at once (0)"),
    tcmalloc("TCMALLOC_TRANSFER_NUM_OBJ", "512", "most blocks that move between a thread and the rest at a time (32)"),
    tcmalloc("TCMALLOC_HEAP_LIMIT_MB", "4096", "largest heap, in MB; more is out of memory (no limit)"),
    tcmalloc("TCMALLOC_DISABLE_MEMORY_RELEASE", "1", "never gives memory back (0)"),
    google("glibc.pthread.rseq", "0", "0 leaves the kernel's restartable sequences to it, and so caches per CPU; 1: caches per thread (1)"),
    scudo("release_to_os_interval_ms", "0", "time after which free pages are given back; 0 at every free, -1 never (5000)"),
    scudo("pattern_fill_contents", "1", "whether every block is filled with a pattern (0)"),
    scudo("zero_contents", "1", "whether every block is zeroed (0)"),
    tbbmalloc("use_huge_pages", "1", "maps huge pages that the system has reserved (0)"),
    tbbmalloc("set_huge_size_threshold", "1048576", "blocks of so many bytes or more are given back when they are freed (64 MiB)"),
    KnownSetting { family: None, name: crate::process::CPUS, example: "8", what: "CPU count that the allocator of a replay is shown (that of --cpus, or of the trace)" },
    KnownSetting { family: None, name: crate::process::THP, example: "never", what: "transparent huge pages for the whole process: never, or madvise for memory that asks (as the system has it)" },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_setting_stands_once_and_says_what_it_does() {
        let mut names = HashSet::new();
        for setting in KNOWN {
            assert!(names.insert(setting.name), "{}", setting.name);
            assert!(setting.what.ends_with(')') && setting.what.len() < 130, "{}", setting.name);
            assert!(!setting.what.contains('\n') && !setting.example.is_empty(), "{}", setting.name);
        }
    }
}
