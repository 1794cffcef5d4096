//! A variant for a real program: the environment that preloads it, and the reports that prove it.
//!
//! Every variant preloads something. ptmalloc2 preloads the C library itself, because a program that is
//! linked to another malloc would otherwise run on that one. Last comes the probe, a library whose
//! constructor appends what it finds in its process to a file (heaplab-preload-probe draws the format). A
//! process without a report was not reached.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::environment::EnvironmentError;
use crate::identity::{c_library_path, is_same_file};
use crate::registry::{self, Absent};
use crate::variant::Variant;

/// Tells the probe where its report goes.
pub const PROBE_FILE_VARIABLE: &str = "HEAPLAB_PROBE_FILE";

/// The one function of the malloc family that an allocator may lack: no block comes from it, and none goes to
/// it.
const USABLE_SIZE: &str = "malloc_usable_size";

/// What makes a real program run on a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// The environment variables to set; those of [`crate::is_allocator_variable`] are removed first.
    pub variables: Vec<(String, String)>,
    /// The library that must serve.
    pub library: PathBuf,
}

/// Why a variant cannot be preloaded.
#[derive(Debug, thiserror::Error)]
pub enum InjectionError {
    /// The variant has no environment.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The probe does not exist.
    #[error(transparent)]
    NoProbe(#[from] Absent),
    /// The C library is in no file that the loader knows.
    #[error("the C library that this program runs on lies in no file that the loader knows")]
    NoCLibrary,
}

impl Injection {
    /// The injection of a variant, whose processes report to `report_file`.
    pub fn new(variant: &Variant, report_file: &Path) -> Result<Injection, InjectionError> {
        let mut injection = Injection::preload(variant, Some(&registry::locate_probe()?))?;
        let report_file = report_file.to_string_lossy().into_owned();
        injection.variables.push((PROBE_FILE_VARIABLE.into(), report_file));
        Ok(injection)
    }

    /// The injection of a variant without a probe: for a recorded program, whose recording says which
    /// allocator served.
    pub fn without_probe(variant: &Variant) -> Result<Injection, InjectionError> {
        Injection::preload(variant, None)
    }

    fn preload(variant: &Variant, probe: Option<&Path>) -> Result<Injection, InjectionError> {
        let library = match &variant.library {
            Some(library) => library.clone(),
            None => c_library_path().ok_or(InjectionError::NoCLibrary)?,
        };
        let mut preload = String::new();
        for path in [Some(&*library), probe].into_iter().flatten() {
            let path = path.to_string_lossy();
            if path.contains([' ', ':']) {
                return Err(EnvironmentError::Unpreloadable { path: path.into_owned() }.into());
            }
            preload += if preload.is_empty() { "" } else { ":" };
            preload += &path;
        }
        let mut variables = variant.environment(None)?;
        variables.retain(|(name, _)| name != "LD_PRELOAD");
        variables.push(("LD_PRELOAD".into(), preload));
        Ok(Injection { variables, library })
    }
}

/// The program to which a process's link in `/proc` leads, also after its file was deleted or replaced: the kernel then
/// marks the path.
#[must_use]
pub fn program_of_link(link: PathBuf) -> PathBuf {
    match link.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) => OsStr::from_bytes(path).into(),
        None => link,
    }
}

/// What the probe found in one process, each time it loaded a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The number of the process, in its own PID namespace.
    pub process: u32,
    /// The program that it ran.
    pub program: PathBuf,
    /// The file that contains its malloc; none if the loader knows none.
    pub library: Option<PathBuf>,
    /// Functions of the malloc family that are in a different file.
    pub strays: Vec<String>,
}

impl Report {
    /// Whether the process ran on `library`; if not, what it ran on.
    pub fn matches(&self, library: &Path) -> Result<(), String> {
        let served = match &self.library {
            Some(served) => served,
            None => return Err("its malloc lies in no file that the loader knows".into()),
        };
        if !is_same_file(served, library) {
            let own = if *served == self.program { "the program itself" } else { "another library" };
            return Err(format!("its malloc lies in {}, {own}", served.display()));
        }
        let strays: Vec<&str> =
            self.strays.iter().map(String::as_str).filter(|name| *name != USABLE_SIZE).collect();
        if strays.is_empty() {
            return Ok(());
        }
        Err(format!(
            "malloc lies in {}, but {} not: the library does not serve the whole malloc family",
            served.display(),
            strays.join(", ")
        ))
    }

    /// Whether the library reports how much room a block has. A library that does not can still serve a
    /// program that never asks.
    #[must_use]
    pub fn tells_usable_size(&self) -> bool {
        !self.strays.iter().any(|name| name == USABLE_SIZE)
    }
}

/// All reports of a run, in order, by process and program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reports {
    by_process: BTreeMap<(u32, PathBuf), Vec<Report>>,
}

impl Reports {
    /// Reads what the probes wrote. A truncated record is omitted, as if its process had not reported.
    pub fn read(report_file: &Path) -> io::Result<Reports> {
        Ok(Reports::parse(&std::fs::read(report_file)?))
    }

    fn parse(bytes: &[u8]) -> Reports {
        let fields: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
        let mut reports = Reports::default();
        // After the last NUL there is nothing, or a truncated record.
        for record in fields[..fields.len() - 1].chunks_exact(4) {
            let path = |field: &[u8]| PathBuf::from(OsStr::from_bytes(field));
            let process = std::str::from_utf8(record[0]).ok().and_then(|text| text.parse().ok());
            let Some(process) = process else { continue };
            let report = Report {
                process,
                program: program_of_link(path(record[1])),
                library: (!record[2].is_empty()).then(|| path(record[2])),
                strays: String::from_utf8_lossy(record[3]).split_whitespace().map(str::to_owned).collect(),
            };
            reports.by_process.entry((process, report.program.clone())).or_default().push(report);
        }
        reports
    }

    /// Whether no process reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_process.is_empty()
    }

    /// What each process reported each time it loaded a program: the number of the process, the program, and one report
    /// or more. A process that was forked without loading a program reported nothing: it runs on what its parent
    /// reported.
    pub fn by_process(&self) -> impl Iterator<Item = (u32, &Path, &[Report])> {
        self.by_process.iter().map(|((process, program), reports)| (*process, &**program, &**reports))
    }

    /// What all processes that loaded `program` reported.
    pub fn of_program<'a>(&'a self, program: &'a Path) -> impl Iterator<Item = &'a Report> {
        self.by_process.values().flatten().filter(move |report| report.program == program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a process reported of a program.
    fn of<'a>(reports: &'a Reports, process: u32, program: &str) -> &'a [Report] {
        let mut all = reports.by_process();
        all.find(|of| (of.0, of.1) == (process, Path::new(program))).map_or(&[], |of| of.2)
    }

    #[test]
    fn reports_are_read_up_to_a_record_that_is_cut_off() {
        let reports = Reports::parse(
            b"12\0/bin/a b\0/l.so\0\x0013\0/bin/c\0\0valloc free\0x\0/bin/d\0\0\x0014\0/bin/e",
        );
        let [first] = of(&reports, 12, "/bin/a b") else { panic!("{reports:?}") };
        assert_eq!((first.library.as_deref(), first.strays.len()), (Some(Path::new("/l.so")), 0));
        assert_eq!(of(&reports, 13, "/bin/c")[0].strays, ["valloc", "free"]);
        assert_eq!(of(&reports, 99, "/bin/c"), [], "another process's is not its own");
        assert_eq!(reports.of_program(Path::new("/bin/c")).count(), 1);
        assert_eq!(of(&reports, 14, "/bin/e"), []);
        assert_eq!(reports.by_process.len(), 2);
        let again = Reports::parse(b"12\0/a\0/l.so\0\x0012\0/a\0/m.so\0\0");
        assert_eq!(of(&again, 12, "/a").len(), 2, "a process may load a program again");
        let deleted = Reports::parse(b"12\0/a (deleted)\0/l.so\0\0");
        assert_eq!(of(&deleted, 12, "/a").len(), 1, "the same program as before");
        assert!(Reports::parse(b"").is_empty());
    }

    #[test]
    fn a_report_says_what_served_instead() {
        let own = std::env::current_exe().expect("this program");
        let report = |library: Option<&Path>, strays: &[&str]| Report {
            process: 1,
            program: own.clone(),
            library: library.map(Path::to_path_buf),
            strays: strays.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(report(Some(&own), &[]).matches(&own), Ok(()));
        let text = |report: Report| report.matches(&own).expect_err("another malloc");
        assert!(text(report(Some(&own), &["free"])).contains("but free not"));
        assert!(text(report(None, &[])).contains("no file"));
        let blind = report(Some(&own), &["malloc_usable_size"]);
        assert!(!blind.tells_usable_size() && report(Some(&own), &["free"]).tells_usable_size());
        assert_eq!(blind.matches(&own), Ok(()));
        assert!(text(report(Some(&own), &["free", "malloc_usable_size"])).contains("but free not"));
        let inside = report(Some(&own), &[]).matches(Path::new("/no/such.so")).expect_err("another malloc");
        assert!(inside.ends_with("the program itself"), "{inside}");
    }
}
