//! Settings of allocators that show no values: whether the library contains their names.
//!
//! Each reads a setting by its literal name. A name that its library does not contain as a complete string is
//! unknown to this version; about a name that it contains, no more can be said.

use std::path::PathBuf;

use super::tcmalloc::holds_name;
use super::{Proof, Verdict};
use crate::symbol;
use crate::variant::Setting;

/// Looks for each setting's name in these libraries. Tunables of the C library are not the allocator's: the
/// parent asks the loader.
pub(super) fn read(settings: &[Setting], libraries: &[PathBuf]) -> Vec<Proof> {
    if settings.is_empty() {
        return Vec::new();
    }
    let contents: Vec<Vec<u8>> =
        libraries.iter().map(|path| std::fs::read(path).unwrap_or_default()).collect();
    let judge = |setting: &Setting| {
        let is_held = contents.iter().any(|contents| holds_name(contents, &setting.name));
        Proof::new(setting, if is_held { Verdict::Known } else { Verdict::Unknown })
    };
    settings.iter().filter(|setting| !setting.name.starts_with("glibc.")).map(judge).collect()
}

/// The library behind tbbmalloc's preloaded proxy, which reads the variables.
pub(super) fn libraries_of_tbb() -> Vec<PathBuf> {
    let of = |name| symbol::find(name).and_then(|address| symbol::object_of(address));
    [c"scalable_malloc", c"malloc"].into_iter().filter_map(of).map(|object| object.path).collect()
}

/// What the caches of Google's TCMalloc say about the tunable that leaves restartable sequences to it.
///
/// The loader may have the value and the caches may still be per thread, if the kernel has no such sequences.
pub(crate) fn judge_rseq(proof: &mut Proof, version: &str) {
    let wants_cpus = proof.name == "glibc.pthread.rseq" && proof.value == "0";
    if wants_cpus && proof.verdict == Verdict::Taken && !version.ends_with("caches per CPU") {
        let reason = "the caches are per thread: the kernel did not register restartable sequences";
        proof.verdict = Verdict::WithoutEffect { reason: reason.into() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_library_holds_is_known_and_no_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lib.so");
        std::fs::write(&path, b"\0may_return_null\0").expect("writable");
        let setting = |name: &str| Setting { name: name.into(), value: "1".into() };
        let settings = ["may_return_null", "may_return", "glibc.pthread.rseq"].map(setting);
        let verdicts: Vec<Verdict> =
            read(&settings, &[path]).into_iter().map(|proof| proof.verdict).collect();
        assert_eq!(verdicts, [Verdict::Known, Verdict::Unknown]);
    }

    #[test]
    fn a_tunable_that_brings_no_caches_per_cpu_is_without_effect() {
        let setting = Setting { name: "glibc.pthread.rseq".into(), value: "0".into() };
        let mut proof = Proof::new(&setting, Verdict::Taken);
        judge_rseq(&mut proof, "2025-06-16, caches per CPU");
        assert_eq!(proof.verdict, Verdict::Taken);
        judge_rseq(&mut proof, "2025-06-16, caches per thread");
        assert!(matches!(proof.verdict, Verdict::WithoutEffect { .. }), "{proof:?}");
    }
}
