//! Which allocator serves this process: the proof of identity.
//!
//! Called in the process that is measured. The file that contains the malloc in use is found by its address,
//! because nothing else proves anything: with a wrong path in LD_PRELOAD a program silently runs on
//! ptmalloc2, and a mapped library does not necessarily serve. The version is what the allocator itself
//! states.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr;

use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::stamp::Stamp;
use crate::symbol::{self, Object};

/// The functions that must come from one library: a block of one allocator freed by another is a crash.
const FUNCTIONS: [&CStr; 7] =
    [c"malloc", c"calloc", c"realloc", c"free", c"posix_memalign", c"aligned_alloc", c"memalign"];
/// Reports how much room a block has. An allocator may lack it: the C library's must then not be asked about
/// its blocks.
const USABLE_SIZE: &CStr = c"malloc_usable_size";

/// The allocator that serves this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// The file that contains malloc.
    pub library_path: PathBuf,
    /// That file, as it was when the process asked.
    pub library_stamp: Stamp,
    /// The family that the library shows itself to be.
    pub family: Family,
    /// The version that it states; empty if it states none.
    pub version: String,
    /// Whether it reports how much room a block has.
    pub tells_usable_size: bool,
    /// Functions of the malloc family that are in a different file from malloc, which no allocator survives.
    pub strays: Vec<String>,
}

/// What must be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The allocator's name, for messages.
    pub allocator: String,
    /// Its library; none if the C library's own malloc is meant.
    pub library: Option<PathBuf>,
    /// The file that a trial run proved; none if any build will do.
    pub stamp: Option<Stamp>,
}

/// Which allocator serves cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum IdentifyError {
    /// malloc is in no file that the loader knows.
    #[error("the malloc that this process calls lies in no file that the loader knows")]
    NoFile,
    /// The file that contains malloc is gone.
    #[error("{}: malloc lies in this file, which cannot be found any more: {source}", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
}

/// Finds out which allocator serves this process.
///
/// The only allocations from it are the loader's error texts for the symbols that it does not have.
pub fn identify() -> Result<Loaded, IdentifyError> {
    let object = serving_object().ok_or(IdentifyError::NoFile)?;
    // NOTE: of the path, because the mapping itself does not say when its file was written. A file that was replaced
    // since this process loaded it has another stamp too, so the mistake can only be a refusal.
    let library_stamp = Stamp::read(&object.path)
        .map_err(|source| IdentifyError::Gone { path: object.path.clone(), source })?;
    let (family, version) = state_version(&object);
    let strays = FUNCTIONS
        .iter()
        .filter(|name| symbol::find_in(&object, name).is_none())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let tells_usable_size = symbol::find_in(&object, USABLE_SIZE).is_some();
    Ok(Loaded { library_path: object.path, library_stamp, family, version, tells_usable_size, strays })
}

/// The object that contains the malloc in use.
pub(crate) fn serving_object() -> Option<Object> {
    // The address as this program itself calls it, not as a search would find it.
    symbol::object_of(libc::malloc as *const c_void)
}

impl Loaded {
    /// Whether this is what was expected; if not, why.
    ///
    /// Files are compared by device and inode, so a link is as good as its target.
    pub fn matches(&self, expected: &Expectation) -> Result<(), String> {
        let served = self.library_path.display();
        if !self.strays.is_empty() {
            return Err(format!(
                "{}: malloc lies in {served}, but {} not: the library does not serve the whole malloc family",
                expected.allocator,
                self.strays.join(", "),
            ));
        }
        match &expected.library {
            None if self.family == Family::Ptmalloc2 => self.check_unchanged(expected),
            None => Err(format!("{}: malloc lies in {served}, not in the C library", expected.allocator)),
            Some(library) if is_same_file(library, &self.library_path) => self.check_unchanged(expected),
            Some(library) => Err(format!(
                "{}: malloc lies in {served}, not in {}: the loader did not preload it, or it exports no malloc",
                expected.allocator,
                library.display(),
            )),
        }
    }

    /// Whether the library's file is the one that a trial run proved; if not, what happened to it.
    fn check_unchanged(&self, expected: &Expectation) -> Result<(), String> {
        match expected.stamp {
            Some(stamp) if stamp != self.library_stamp => {
                Err(format!("{}: {}", expected.allocator, tell_change(&self.library_path)))
            }
            _ => Ok(()),
        }
    }
}

/// Says that a library's file has changed since the trial run.
pub(crate) fn tell_change(library: &Path) -> String {
    format!("the file {} has changed since the run began: it may be another build", library.display())
}

/// Whether two paths lead to the same file.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Family and version, from the functions by which each family states it.
fn state_version(object: &Object) -> (Family, String) {
    // The C library first: its symbol always exists, and a failed search costs an error text.
    if symbol::find_in(object, c"gnu_get_libc_version").is_some() {
        return (Family::Ptmalloc2, c_library_version());
    }
    if let Some(version) = state_jemalloc(object) {
        return (Family::Jemalloc, version);
    }
    if let Some(version) = state_mimalloc(object) {
        return (Family::Mimalloc, version);
    }
    if let Some(version) = state_tcmalloc(object) {
        return (Family::Tcmalloc, version);
    }
    for (name, family) in STATED {
        let Some(address) = symbol::find_in(object, name) else { continue };
        // SAFETY: our libraries' functions of these names have this type, and their texts are static.
        let text = unsafe {
            let state = std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *const c_char>(address);
            text_of(state())
        };
        let mode = if family == Family::TcmallocGoogle { mode_of_google(object) } else { None };
        return (family, mode.map_or(text.clone(), |mode| format!("{text}, {mode}")));
    }
    if symbol::find_in(object, c"__scudo_print_stats").is_some() {
        return (Family::Scudo, version_of_compiler(&object.path));
    }
    if symbol::find_in(object, c"__TBB_malloc_proxy").is_some() {
        return (Family::Tbbmalloc, state_tbb().unwrap_or_default());
    }
    (Family::Other, String::new())
}

/// The functions by which the libraries that are built here state their versions.
const STATED: [(&CStr, Family); 4] = [
    (c"heaplab_floor_version", Family::Floor),
    (c"heaplab_tcmalloc_google_version", Family::TcmallocGoogle),
    (c"heaplab_snmalloc_version", Family::Snmalloc),
    (c"heaplab_rpmalloc_version", Family::Rpmalloc),
];

/// Whether Google's TCMalloc has its caches per CPU in this process, or per thread, as when the C library has
/// registered restartable sequences for itself.
fn mode_of_google(object: &Object) -> Option<&'static str> {
    let address = symbol::find_in(object, c"heaplab_tcmalloc_google_has_cpu_caches")?;
    // SAFETY: the library's function has this type, and no preconditions.
    let is_per_cpu = unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> bool>(address)() };
    Some(if is_per_cpu { "caches per CPU" } else { "caches per thread" })
}

/// The version of the compiler that a runtime comes with: the runtime states none, but its folder is named
/// after it.
fn version_of_compiler(path: &Path) -> String {
    let mut parts = path.iter().skip_while(|part| *part != "clang").skip(1);
    parts.next().map(|version| version.to_string_lossy().into_owned()).unwrap_or_default()
}

/// oneTBB's version, from the text in its library that TBB_VERSION=1 prints.
fn state_tbb() -> Option<String> {
    const MARK: &[u8] = b"TBBmalloc: VERSION";
    let library = symbol::object_of(symbol::find(c"scalable_malloc")?)?.path;
    let contents = std::fs::read(library).ok()?;
    let start = contents.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let rest = &contents[start..];
    let end = rest.iter().position(|byte| matches!(byte, b'\n' | 0))?;
    Some(String::from_utf8_lossy(&rest[..end]).trim().to_owned())
}

/// The file of the C library that this process runs on, whichever allocator serves.
pub(crate) fn c_library_path() -> Option<PathBuf> {
    symbol::object_of(libc::gnu_get_libc_version as *const c_void).map(|object| object.path)
}

/// The C library's version, whichever allocator serves.
#[must_use]
pub fn c_library_version() -> String {
    // SAFETY: the C library's function, without preconditions; its text is static.
    unsafe { text_of(libc::gnu_get_libc_version()) }
}

fn state_jemalloc(object: &Object) -> Option<String> {
    let mallctl = symbol::mallctl_in(object)?;
    let mut version: *const c_char = ptr::null();
    let mut bytes = size_of_val(&version);
    // SAFETY: "version" yields a pointer to a static text.
    unsafe {
        let failed =
            mallctl(c"version".as_ptr(), (&raw mut version).cast(), &mut bytes, ptr::null_mut(), 0) != 0;
        (!failed).then(|| text_of(version))
    }
}

fn state_mimalloc(object: &Object) -> Option<String> {
    let address =
        symbol::find_in(object, c"mi_version").or_else(|| symbol::find_in(object, c"heaplab_mi_version"))?;
    // SAFETY: mimalloc's function has this type in every version, and no preconditions.
    let number = unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(address)() };
    Some(mimalloc_version(number))
}

/// mimalloc's number as text. NOTE: up to 3.1 it has three digits (2.0.9 is 209), later 30302 is 3.3.2.
fn mimalloc_version(number: c_int) -> String {
    let (major, minor, patch) = if number < 10_000 {
        (number / 100, number / 10 % 10, number % 10)
    } else {
        (number / 10_000, number / 100 % 100, number % 100)
    };
    format!("{major}.{minor}.{patch}")
}

fn state_tcmalloc(object: &Object) -> Option<String> {
    type Version = unsafe extern "C" fn(*mut c_int, *mut c_int, *mut *const c_char) -> *const c_char;
    let address = symbol::find_in(object, c"tc_version")?;
    let (mut major, mut minor, mut patch) = (0, 0, ptr::null());
    // SAFETY: gperftools' function has this type; the patch is a static text.
    unsafe {
        std::mem::transmute::<*mut c_void, Version>(address)(&mut major, &mut minor, &mut patch);
        Some(format!("{major}.{minor}{}", text_of(patch)))
    }
}

/// A static C text.
///
/// # Safety
/// `text` is NULL or points to a text that ends with NUL.
unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller keeps the contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_served_by_the_c_library() {
        let loaded = identify().expect("malloc lies somewhere");
        assert_eq!(loaded.family, Family::Ptmalloc2);
        assert_eq!(loaded.strays, [] as [String; 0]);
        assert!(loaded.version.starts_with("2."), "{}", loaded.version);
        let any = |allocator: &str, library: Option<PathBuf>| Expectation {
            allocator: allocator.into(),
            library,
            stamp: None,
        };
        assert_eq!(loaded.matches(&any("ptmalloc2", None)), Ok(()));
        let other = any("mine", Some("/no/such.so".into()));
        let text = loaded.matches(&other).expect_err("another file");
        assert!(text.starts_with("mine: malloc lies in ") && text.contains("not in /no/such.so"), "{text}");
        let own = any("mine", Some(loaded.library_path.clone()));
        assert_eq!(loaded.matches(&own), Ok(()));
    }

    #[test]
    fn another_file_in_the_same_place_does_not_match() {
        let loaded = identify().expect("malloc lies somewhere");
        let program = Stamp::read(&std::env::current_exe().expect("this program")).expect("its file");
        for library in [None, Some(loaded.library_path.clone())] {
            let expected = |stamp| Expectation {
                allocator: "mine".into(),
                library: library.clone(),
                stamp: Some(stamp),
            };
            assert_eq!(loaded.matches(&expected(loaded.library_stamp)), Ok(()));
            let text = loaded.matches(&expected(program)).expect_err("another file");
            assert!(text.contains("has changed since the run began"), "{text}");
        }
    }

    #[test]
    fn a_library_that_serves_a_part_does_not_match() {
        let mut loaded = identify().expect("malloc lies somewhere");
        loaded.strays = vec!["memalign".into()];
        let text = loaded.matches(&Expectation { allocator: "ptmalloc2".into(), library: None, stamp: None });
        assert!(text.expect_err("a stray").contains("but memalign not"));
    }

    #[test]
    fn a_compilers_runtime_is_called_by_its_folder() {
        let path = "/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.scudo_standalone-x86_64.so";
        assert_eq!(version_of_compiler(Path::new(path)), "14.0.6");
        assert_eq!(version_of_compiler(Path::new("/opt/libscudo.so")), "");
    }

    #[test]
    fn mimallocs_numbers_in_both_forms() {
        let texts = [209, 217, 224, 20302, 30302].map(mimalloc_version);
        assert_eq!(texts, ["2.0.9", "2.1.7", "2.2.4", "2.3.2", "3.3.2"]);
    }
}
