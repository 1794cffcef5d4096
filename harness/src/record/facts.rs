//! What the trace's header says about the recording: which allocator each process used, and on which machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use heaplab_allocators::{Family, identify};
use heaplab_raw::Text;
use heaplab_trace::Header;
use heaplab_workloads::import::raw;

use super::RecordError;
use super::directory::Directory;
use super::observer::{Observer, read_choice};
use super::question;

/// An allocator as a header states it.
struct Stated {
    name: String,
    version: String,
    hash: String,
}

/// Writes what is known after the program has exited.
pub(super) fn write(observer: &mut Observer, directory: &Directory) -> Result<(), RecordError> {
    observer.fact(0, "heaplab", env!("CARGO_PKG_VERSION"));
    if let Ok(release) = std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        observer.fact(0, "kernel", release.trim());
    }
    if let Ok(Some(choice)) = read_choice("/sys/kernel/mm/transparent_hugepage/enabled") {
        observer.fact(0, "transparent_hugepages", &choice);
    }
    let mut known: BTreeMap<PathBuf, Stated> = BTreeMap::new();
    if directory.files()?.is_empty() {
        return Ok(());
    }
    let failed = |source| RecordError::Merge { directory: directory.path().into(), source };
    let recording = raw::Recording::open(directory.path()).map_err(failed)?;
    for &image in recording.images() {
        let facts = recording.facts_of(image, |page| {
            let number = page.host_process().unwrap_or(image.pid);
            (number, page.text(Text::Allocator).collect::<Vec<u8>>())
        });
        let Some((number, path)) = facts.filter(|(_, path)| !path.is_empty()) else { continue };
        let path = PathBuf::from(OsString::from_vec(path));
        let stated = known.entry(path).or_insert_with_key(|path| state(path));
        observer.fact(number, "allocator.name", &stated.name);
        observer.fact(number, "allocator.version", &stated.version);
        observer.fact(number, "allocator.hash", &stated.hash);
    }
    Ok(())
}

/// Writes what a trace must say about the process's place in its tree, and about what could not be recorded; `main`
/// is the process whose trace represents the recording.
pub(super) fn describe_tree(observer: &mut Observer, main: u32) {
    let processes = observer.processes();
    let count = processes.all().len();
    let mut facts = Vec::new();
    for process in processes.all() {
        let number = process.member.number;
        if let Some(reason) = &process.not_recorded {
            facts.push((number, Header::NOT_RECORDED_NOTE, reason.clone()));
        }
        if let Some(share) = processes.share_of(process).filter(|_| count > 1) {
            facts.push((number, Header::TREE_SHARE_NOTE, format!("{share:.4}")));
        }
    }
    if count > 1 {
        facts.push((main, Header::TREE_PROCESSES_NOTE, count.to_string()));
    }
    facts.iter().for_each(|(number, name, value)| observer.fact(*number, name, value));
}

/// Identifies a library, by its file's name if it does not identify itself.
fn state(library: &Path) -> Stated {
    let file_name = library.file_name().unwrap_or(library.as_os_str()).to_string_lossy().into_owned();
    // A library that was replaced while the program ran has no provable hash; what is no library is not loaded.
    let Ok(hash) = raw::hash_library(library) else {
        return Stated { name: raw::allocator_name(&file_name), version: String::new(), hash: String::new() };
    };
    let own = identify().ok().filter(|own| question::is_same(&own.library_path, library));
    let asked = match own {
        Some(own) => Some((own.family, own.version)),
        None => question::ask(library),
    };
    let (name, version) = match asked {
        Some((Family::Other, version)) => (file_name, version),
        Some((family, version)) => (family.name().to_string(), version),
        None => (raw::allocator_name(&file_name), String::new()),
    };
    Stated { name, version, hash }
}
