//! Judges whether the variant served the program: compares the probe's reports with the processes that were
//! seen.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use heaplab_allocators::Reports;

use super::series::Seen;

/// A process on a different malloc spoils the sample if it held more than one part in this many of the
/// anonymous memory; a shell or a launcher next to the program does not.
const SPOILING_SHARE: u64 = 20;

/// What users should know about a library that serves without that function.
const NO_USABLE_SIZE: &str = "its library has no malloc_usable_size: a program that calls it asks the C library of a \
    block that is not its own, which may crash";

/// What the reports prove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Why the sample is not one of the variant; none if it is.
    pub(super) fault: Option<String>,
    /// Processes with little memory that ran on a different malloc.
    pub(super) remarks: Vec<String>,
}

/// Judges the processes that were seen.
pub(super) fn judge(reports: &Reports, library: &Path, seen: &[Seen], program: &Path) -> Verdict {
    let whole: u64 = seen.iter().map(|seen| seen.anonymous_peak_bytes).sum();
    let mut verdict = Verdict::default();
    let mut named = std::collections::BTreeSet::new();
    let mut proven = false;
    for seen in seen {
        let report = reports.of(seen.process, &seen.program);
        let what = match report.map(|report| report.matches(library)) {
            Some(Ok(())) => {
                proven = true;
                if report.is_some_and(|report| !report.tells_usable_size())
                    && !verdict.remarks.iter().any(|remark| remark == NO_USABLE_SIZE)
                {
                    verdict.remarks.push(NO_USABLE_SIZE.to_owned());
                }
                continue;
            }
            Some(Err(what)) => what,
            None => describe_unreached(&seen.program),
        };
        let what = format!("{}: {what}", seen.program.display());
        let spoils = seen.anonymous_peak_bytes.saturating_mul(SPOILING_SHARE) > whole;
        if spoils && verdict.fault.is_none() {
            verdict.fault = Some(what);
        } else if named.insert(what.clone()) && verdict.fault.as_ref() != Some(&what) {
            verdict.remarks.push(what);
        }
    }
    if verdict.fault.is_none() && !proven && seen.is_empty() {
        verdict.fault = judge_unseen(reports, library, program);
    }
    verdict
}

/// Judges a program that exited before it could be sampled.
fn judge_unseen(reports: &Reports, library: &Path, program: &Path) -> Option<String> {
    let program = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_path_buf());
    match reports.of(0, &program).map(|report| report.matches(library)) {
        Some(Ok(())) => None,
        Some(Err(what)) => Some(format!("{}: {what}", program.display())),
        // The program of a script is its interpreter: any process that reported is enough.
        None if !reports.is_empty() => None,
        None => Some(format!("{}: {}", program.display(), describe_unreached(&program))),
    }
}

/// Why a program may have loaded no probe, and what to do.
fn describe_unreached(program: &Path) -> String {
    match Linkage::read(program) {
        Linkage::Static => {
            "it is statically linked, so LD_PRELOAD does not reach it: its malloc is its own; link \
                            it dynamically, or replay a recording of it with `heaplab run`"
                .into()
        }
        Linkage::Other32 => "it is a 32-bit program, which 64-bit libraries cannot be preloaded into".into(),
        Linkage::Privileged => {
            "it is setuid or setgid, so the loader ignores LD_PRELOAD: run a copy without that \
                                bit, or run heaplab as the user that it becomes"
                .into()
        }
        Linkage::Dynamic => {
            "the preloaded libraries did not reach it: it was started with another environment, \
                             or has capabilities, for which the loader ignores LD_PRELOAD"
                .into()
        }
        Linkage::Unknown => "the preloaded libraries did not reach it, and its file cannot be read".into(),
    }
}

/// How a program is linked, as far as it matters for preloading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Linkage {
    Static,
    Other32,
    Privileged,
    Dynamic,
    Unknown,
}

impl Linkage {
    fn read(program: &Path) -> Linkage {
        let mut head = Vec::new();
        let read = File::open(program).and_then(|file| file.take(64 << 10).read_to_end(&mut head));
        let Ok(metadata) = std::fs::metadata(program) else { return Linkage::Unknown };
        if metadata.permissions().mode() & 0o6000 != 0 {
            return Linkage::Privileged;
        }
        if read.is_err() || !head.starts_with(b"\x7fELF") {
            return Linkage::Unknown;
        }
        match head.get(4) {
            Some(2) => {}
            Some(1) => return Linkage::Other32,
            _ => return Linkage::Unknown,
        }
        match has_interpreter(&head) {
            Some(true) => Linkage::Dynamic,
            Some(false) => Linkage::Static,
            None => Linkage::Unknown,
        }
    }
}

/// Whether a 64-bit ELF file, little-endian as this machine is, names a loader; none if it is damaged.
fn has_interpreter(head: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(bytes)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let (table, entry, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    for index in 0..count {
        let at = usize::try_from(table.checked_add(index * entry)?).ok()?;
        if number(at, 4)? == u64::from(PT_INTERP) {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(process: u32, program: &Path, anonymous_peak_bytes: u64) -> Seen {
        Seen { process, program: program.to_path_buf(), anonymous_peak_bytes }
    }

    /// Reports as probes write them.
    fn reports(records: &[(u32, &Path, &Path)]) -> Reports {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("reports");
        let text: String = records
            .iter()
            .map(|(process, program, library)| {
                format!("{process}\0{}\0{}\0\0", program.display(), library.display())
            })
            .collect();
        std::fs::write(&path, text).expect("written");
        Reports::read(&path).expect("readable")
    }

    #[test]
    fn weight_decides_whether_another_malloc_spoils() {
        let own = std::env::current_exe().expect("this program");
        let library = Path::new("/proc/self/exe");
        let launcher = Path::new("/nowhere/launcher");
        let reports = reports(&[(5, &own, &own)]);
        let light = judge(&reports, library, &[seen(5, &own, 1000), seen(4, launcher, 50)], &own);
        assert_eq!(light.fault, None);
        assert!(light.remarks[0].starts_with("/nowhere/launcher: "), "{light:?}");
        let heavy = judge(&reports, library, &[seen(5, &own, 1000), seen(4, launcher, 60)], &own);
        assert!(heavy.fault.expect("a fault").starts_with("/nowhere/launcher: "));
        let fork = judge(&reports, library, &[seen(5, &own, 1000), seen(6, &own, 900)], &own);
        assert_eq!(fork, Verdict::default());
    }

    #[test]
    fn a_library_that_tells_no_sizes_serves_and_is_remarked_once() {
        let own = std::env::current_exe().expect("this program");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("reports");
        let record = |process| format!("{process}\0{0}\0{0}\0malloc_usable_size\0", own.display());
        std::fs::write(&path, record(5) + &record(6)).expect("written");
        let reports = Reports::read(&path).expect("readable");
        let both = [seen(5, &own, 1000), seen(6, &own, 900)];
        let verdict = judge(&reports, Path::new("/proc/self/exe"), &both, &own);
        assert_eq!((verdict.fault, verdict.remarks.len()), (None, 1));
        assert!(verdict.remarks[0].contains("no malloc_usable_size"), "{:?}", verdict.remarks);
    }

    #[test]
    fn a_program_that_was_never_seen_is_judged_by_its_report() {
        let own = std::env::current_exe().expect("this program");
        let library = Path::new("/proc/self/exe");
        assert_eq!(judge(&reports(&[(5, &own, &own)]), library, &[], &own).fault, None);
        let fault = judge(&Reports::default(), library, &[], &own).fault.expect("no report");
        assert!(fault.contains("did not reach it"), "{fault}");
    }

    #[test]
    fn linkage_is_read_from_the_file() {
        let own = std::env::current_exe().expect("this program");
        assert_eq!(Linkage::read(&own), Linkage::Dynamic);
        assert_eq!(Linkage::read(Path::new("/no/such")), Linkage::Unknown);
        assert_eq!(Linkage::read(Path::new("/proc/self/status")), Linkage::Unknown);
        let head = std::fs::read(&own).expect("readable");
        for length in [0, 5, 0x20, 0x38, 0x40] {
            assert_eq!(has_interpreter(&head[..length]), None, "{length}");
        }
    }
}
