//! Judges whether the variant served the program: compares the probe's reports with the processes that were
//! seen. A fork reports nothing: it runs on what the process reported that loaded its image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use heaplab_allocators::{PROBE_FILE_VARIABLE, Report, Reports};

use super::census::{Census, Executed, Reach, Seen};
use super::tree::Image;

/// Processes on a different malloc spoil the sample if together they held more than one part in this many of the
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
pub(super) fn judge(reports: &Reports, library: &Path, census: &Census, program: &Path) -> Verdict {
    let seen = census.seen();
    if seen.is_empty() {
        return Verdict { fault: judge_unseen(reports, library, program), remarks: Vec::new() };
    }
    let proofs = Proofs::new(reports, &seen, library);
    let (mut unproven, mut whats, mut tells_usable_size) = (Vec::new(), Vec::new(), true);
    for seen in &seen {
        match proofs.judge(seen) {
            Some(Ok(tells)) => tells_usable_size &= tells,
            Some(Err(what)) => {
                unproven.push(seen);
                whats.push(what.clone());
            }
            None => {
                unproven.push(seen);
                whats.push(describe_unproven(seen));
            }
        }
    }
    let spoils = unproven.len() == seen.len() || census.is_more_than(SPOILING_SHARE, &unproven);
    let mut remarks = describe(&unproven, &whats);
    let fault = spoils.then(|| remarks.remove(0));
    if !tells_usable_size {
        remarks.push(NO_USABLE_SIZE.to_owned());
    }
    Verdict { fault, remarks }
}

/// What was wrong with processes, in a sentence for all of one program of which the same was wrong.
fn describe(unproven: &[&Seen], whats: &[String]) -> Vec<String> {
    let mut found: Vec<(&Path, &str, BTreeSet<u32>)> = Vec::new();
    for (seen, what) in unproven.iter().zip(whats) {
        match found.iter_mut().find(|of| of.0 == seen.of.program && of.1 == what) {
            Some(of) => {
                of.2.insert(seen.of.process);
            }
            None => found.push((&seen.of.program, what, BTreeSet::from([seen.of.process]))),
        }
    }
    let sentence = |(program, what, processes): (&Path, &str, BTreeSet<u32>)| match processes.len() {
        1 => format!("{}: {what}", program.display()),
        count => format!("{} ({count} processes): {what}", program.display()),
    };
    found.into_iter().map(sentence).collect()
}

/// What reports say: that the variant served, and then whether its library tells sizes; or what served instead.
type Judged = Result<bool, String>;

/// What all say together: if one says that the variant did not serve, what the first of those says.
fn join(judged: impl IntoIterator<Item = Judged>) -> Option<Judged> {
    judged.into_iter().reduce(|all, next| Ok(all? & next?))
}

/// Compares reports with the variant's library.
///
/// PERF: files are compared once for all reports of the same library, of which a run may have many thousands.
struct Comparison<'a> {
    library: &'a Path,
    /// By the reported library, the strays, and whether the library is the program itself.
    known: BTreeMap<(Option<&'a Path>, &'a [String], bool), Judged>,
}

impl<'a> Comparison<'a> {
    fn with(library: &'a Path) -> Comparison<'a> {
        Comparison { library, known: BTreeMap::new() }
    }

    fn judge(&mut self, report: &'a Report) -> Judged {
        let served = report.library.as_deref();
        let key = (served, &report.strays[..], served == Some(&report.program));
        let judge = || report.matches(self.library).map(|()| report.tells_usable_size());
        self.known.entry(key).or_insert_with(judge).clone()
    }
}

/// What one process reported each time it loaded one program.
struct Own {
    reports: usize,
    judged: Judged,
}

/// Which reports are of a process. Processes are told by the numbers that they have for themselves: they report those.
///
/// PERF: what several processes have in common is judged once, so that the cost is that of reports and processes added
/// up, not multiplied.
struct Proofs<'a> {
    own: BTreeMap<(u32, &'a Path), Own>,
    /// How often each process was seen to have loaded a program, and how often with the probe and by itself, not by the
    /// process that it was forked from.
    images: BTreeMap<(u32, &'a Path), (usize, usize)>,
    /// Of each image, what the processes reported that its forks have it from.
    of_image: BTreeMap<(&'a Path, Image), Judged>,
    /// Of each program, what the processes reported that were never seen as that.
    unseen: BTreeMap<&'a Path, Judged>,
}

impl<'a> Proofs<'a> {
    fn new(reports: &'a Reports, seen: &'a [Seen], library: &'a Path) -> Proofs<'a> {
        let mut comparison = Comparison::with(library);
        let groups = reports.by_process().filter_map(|(process, program, reports)| {
            let judged = join(reports.iter().map(|report| comparison.judge(report)))?;
            Some(((process, program), Own { reports: reports.len(), judged }))
        });
        let own: BTreeMap<_, _> = groups.collect();
        let mut reporters: BTreeMap<_, BTreeSet<u32>> = BTreeMap::new();
        for Executed { inner, program, image, .. } in seen.iter().map(|seen| &seen.of) {
            if own.contains_key(&(*inner, &**program)) {
                reporters.entry((&**program, *image)).or_default().insert(*inner);
            }
        }
        let mut images: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for Seen { of, reach, .. } in seen {
            let mut reporters = reporters.get(&(&*of.program, of.image)).into_iter().flatten();
            let is_fork = reporters.any(|process| *process != of.inner);
            let images = images.entry((of.inner, &*of.program)).or_default();
            *images = (images.0 + 1, images.1 + usize::from(*reach == Reach::Loaded && !is_fork));
        }
        let of_image = reporters.into_iter().filter_map(|((program, image), reporters)| {
            let judged = reporters.into_iter().filter_map(|process| own.get(&(process, program)));
            Some(((program, image), join(judged.map(|own| own.judged.clone()))?))
        });
        let of_image = of_image.collect();
        let mut unseen = BTreeMap::new();
        for (key, own) in &own {
            if own.reports > images.get(key).map_or(0, |images| images.0) {
                let next = own.judged.clone();
                let judged = join(unseen.remove(key.1).into_iter().chain([next]));
                unseen.extend(judged.map(|judged| (key.1, judged)));
            }
        }
        Proofs { own, images, of_image, unseen }
    }

    /// What the reports say of which at least one is of this process: its own, or those of the process that it was
    /// forked from. None if there is none. If it is not known which, all of them must prove the variant.
    fn judge(&self, seen: &'a Seen) -> Option<&Judged> {
        let (key, program) = ((seen.of.inner, &*seen.of.program), &*seen.of.program);
        let own = self.own.get(&key);
        match seen.reach {
            // What it reported, it reported before it loaded the program again.
            Reach::Missing { .. } if seen.reach.is_settled() => None,
            // The loader may have been at work when it was seen.
            Reach::Missing { .. } => {
                let loaded = self.images.get(&key).map_or(0, |images| images.1);
                own.filter(|own| own.reports > loaded).map(|own| &own.judged)
            }
            Reach::Loaded => {
                let own = own.map(|own| &own.judged);
                let forked = || self.of_image.get(&(program, seen.of.image));
                // It may be forked from a process that was never seen as what it reported.
                own.or_else(forked).or_else(|| self.unseen.get(program))
            }
        }
    }
}

/// Judges a program that exited before it could be sampled.
fn judge_unseen(reports: &Reports, library: &Path, program: &Path) -> Option<String> {
    let program = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_path_buf());
    let mut comparison = Comparison::with(library);
    match join(reports.of_program(&program).map(|report| comparison.judge(report))) {
        Some(Ok(_)) => None,
        Some(Err(what)) => Some(format!("{}: {what}", program.display())),
        // The program of a script is its interpreter: any process that reported is enough.
        None if !reports.is_empty() => None,
        None => Some(format!("{}: {}", program.display(), describe_unreached(&program))),
    }
}

/// Why no report is a process's, and what to do.
fn describe_unproven(seen: &Seen) -> String {
    if seen.reach == Reach::Loaded {
        return format!(
            "the preloaded libraries reached it, but not their other variables, such as {PROBE_FILE_VARIABLE}: it was \
             started with another environment"
        );
    }
    describe_unreached(&seen.of.program)
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
    use super::super::census::Sight;
    use super::*;

    /// A process that was seen once, with the probe.
    fn one(process: u32, program: &Path, bytes: u64) -> Sight<'_> {
        (process, program, u64::from(process), bytes, Some(true))
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
    fn the_weight_of_all_decides_whether_another_malloc_spoils() {
        let own = std::env::current_exe().expect("this program");
        let library = Path::new("/proc/self/exe");
        let launcher = Path::new("/nowhere/launcher");
        let reports = reports(&[(5, &own, &own)]);
        let judge = |seen: &[_]| {
            judge(&reports, library, &Census::of(&[&[&[one(5, &own, 1000)], seen].concat()]), &own)
        };
        let unreached = |process: u32, bytes| (process, launcher, u64::from(process), bytes, Some(false));
        let light = judge(&[unreached(4, 50)]);
        assert_eq!(light.fault, None);
        assert!(light.remarks[0].starts_with("/nowhere/launcher: "), "{light:?}");
        let heavy = judge(&[unreached(4, 60)]);
        assert!(heavy.fault.expect("a fault").starts_with("/nowhere/launcher: "));
        let many = judge(&[unreached(6, 20), unreached(7, 20), unreached(8, 20)]);
        assert!(many.fault.expect("a fault").starts_with("/nowhere/launcher (3 processes): "));
        let nothing_is_proven = judge_only(launcher);
        assert!(nothing_is_proven.fault.expect("a fault").starts_with("/nowhere/launcher: "));
    }

    /// Of a process without memory, next to none that is proven.
    fn judge_only(program: &Path) -> Verdict {
        let census = Census::of(&[&[(4, program, 4, 0, Some(false))]]);
        judge(&Reports::default(), Path::new("/proc/self/exe"), &census, program)
    }

    #[test]
    fn a_report_stands_for_forks_of_its_process_alone() {
        let own = std::env::current_exe().expect("this program");
        let (library, other) = (Path::new("/proc/self/exe"), Path::new("/proc/self/status"));
        let judged = |reports: &Reports, seen: &[_]| judge(reports, library, &Census::of(&[seen; 9]), &own);
        let one_reported = reports(&[(5, &own, &own)]);
        let fork = (6, &*own, 5, 900, Some(true));
        assert_eq!(judged(&one_reported, &[one(5, &own, 1000), fork]), Verdict::default());
        assert_eq!(judged(&one_reported, &[fork]), Verdict::default(), "its parent was never seen");
        let fault = |reports: &Reports, seen: &[_]| judged(reports, seen).fault.unwrap_or_default();
        let unreached = (6, &*own, 6, 900, Some(false));
        assert!(fault(&one_reported, &[one(5, &own, 1000), unreached]).contains("did not reach it"));
        let loaded = one(6, &own, 900);
        assert!(fault(&one_reported, &[one(5, &own, 1000), loaded]).contains("HEAPLAB_PROBE_FILE"));
        // The same process, before and after it loaded the program again.
        let before = [one(5, &own, 1000)];
        let again = [(5, &*own, 7, 900, Some(false))];
        let mut readings = vec![&again[..]; 12];
        readings[0] = &before;
        let census = Census::of(&readings);
        let verdict = judge(&one_reported, library, &census, &own);
        assert!(verdict.fault.as_deref().unwrap_or_default().contains("did not reach it"), "{verdict:?}");
        // A process that exited while its loader was at work has proven what it reported.
        let early = (5, &*own, 5, 10, Some(false));
        let census = Census::of(&[&[early]]);
        assert_eq!(judge(&one_reported, library, &census, &own), Verdict::default());
        // Of two that reported, only the fork of the right one is proven.
        let two = reports(&[(5, &own, &own), (7, &own, other)]);
        let small = one(7, &own, 9);
        assert_eq!(judged(&two, &[one(5, &own, 1000), small, fork]).fault, None);
        let of_other = (8, &*own, 7, 900, Some(true));
        let found = fault(&two, &[one(5, &own, 1000), small, of_other]);
        assert!(found.contains("another library"), "{found}");
        let of_either = (9, &*own, 9, 900, Some(true));
        let found = fault(&two, &[of_either]);
        assert!(found.contains("another library"), "the worse counts: {found}");
    }

    #[test]
    fn processes_of_a_namespace_are_found_by_the_numbers_that_they_report() {
        let own = std::env::current_exe().expect("this program");
        let library = Path::new("/proc/self/exe");
        let reports = reports(&[(5, &own, &own), (6, &own, &own)]);
        let judged = |seen: &[_]| {
            let census = Census::of_inner(&[seen], |process| process % 100);
            judge(&reports, library, &census, &own)
        };
        // Seen once, while its loader was at work.
        let early = (105, &*own, 105, 900, Some(false));
        assert_eq!(judged(&[early]), Verdict::default());
        assert_eq!(judged(&[early, one(106, &own, 900)]), Verdict::default());
        let fault = judged(&[early, one(205, &own, 900)]).fault.expect("one of the two reported");
        assert!(fault.contains("did not reach it"), "{fault}");
        let fault = judged(&[(107, &*own, 107, 900, Some(false))]).fault.expect("none reported");
        assert!(fault.contains("did not reach it"), "{fault}");
    }

    /// If reports and processes were compared in pairs, this would take many minutes.
    #[test]
    fn many_processes_are_judged_as_easily_as_few() {
        const MANY: u32 = 20_000;
        let own = std::env::current_exe().expect("this program");
        let library = Path::new("/proc/self/exe");
        let records: Vec<_> = (0..MANY).map(|process| (process, &*own, &*own)).collect();
        let reports = reports(&records);
        // Forks of processes that were never seen.
        let forks: Vec<_> = (MANY..2 * MANY).map(|process| one(process, &own, 900)).collect();
        assert_eq!(judge(&reports, library, &Census::of(&[&forks]), &own), Verdict::default());
        // Without random addresses all processes of a program have the same image.
        let same = |process| (process, &*own, 1, 900, Some(true));
        let seen: Vec<_> = (0..2 * MANY).map(same).collect();
        assert_eq!(judge(&reports, library, &Census::of(&[&seen]), &own), Verdict::default());
    }

    #[test]
    fn a_library_that_tells_no_sizes_serves_and_is_remarked_once() {
        let own = std::env::current_exe().expect("this program");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("reports");
        let record = |process| format!("{process}\0{0}\0{0}\0malloc_usable_size\0", own.display());
        std::fs::write(&path, record(5) + &record(6)).expect("written");
        let reports = Reports::read(&path).expect("readable");
        let both = [one(5, &own, 1000), one(6, &own, 900)];
        let verdict = judge(&reports, Path::new("/proc/self/exe"), &Census::of(&[&both]), &own);
        assert_eq!((verdict.fault, verdict.remarks.len()), (None, 1));
        assert!(verdict.remarks[0].contains("no malloc_usable_size"), "{:?}", verdict.remarks);
    }

    #[test]
    fn a_program_that_was_never_seen_is_judged_by_its_reports() {
        let own = std::env::current_exe().expect("this program");
        let library = Path::new("/proc/self/exe");
        let census = Census::default();
        assert_eq!(judge(&reports(&[(5, &own, &own)]), library, &census, &own).fault, None);
        let fault = judge(&Reports::default(), library, &census, &own).fault.expect("no report");
        assert!(fault.contains("did not reach it"), "{fault}");
        let two = reports(&[(5, &own, &own), (6, &own, Path::new("/proc/self/status"))]);
        assert!(judge(&two, library, &census, &own).fault.is_some(), "one of them ran on something else");
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
