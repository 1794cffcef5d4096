//! The allocators that have a name, and where their libraries lie.
//!
//! Those that this workspace builds lie beside the running program; those of the system are found by the
//! loader's cache. Data comes from the table below; nothing here looks into a library.

use std::path::{Path, PathBuf};

use crate::cache;
use crate::family::Family;

/// The directory that the libraries built by this workspace are looked for in before any other.
pub const DIRECTORY_VARIABLE: &str = "HEAPLAB_PRELOAD_DIR";

/// The allocators that are measured where none is named.
pub const DEFAULTS: [&str; 4] = ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc"];

/// The allocator that ratios refer to where none is named.
pub const DEFAULT_BASELINE: &str = "ptmalloc2";

/// The allocator that measures the harness: it serves nobody, and is never ranked.
pub const FLOOR: &str = "floor";

/// Where an allocator's library comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The C library that every program has: nothing is preloaded.
    CLibrary,
    /// Built by this workspace: the package and its library's file name.
    Workspace {
        /// Cargo package.
        package: &'static str,
        /// File name.
        file: &'static str,
    },
    /// The system's, under the first of these names that the loader's cache has.
    System {
        /// Names, the wanted one first.
        files: &'static [&'static str],
        /// The Debian package that brings it.
        package: &'static str,
    },
}

/// An allocator that has a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// Its family.
    pub family: Family,
    /// Where its library comes from.
    pub source: Source,
}

/// Every allocator that has a name.
pub const ENTRIES: [Entry; 7] = [
    Entry { name: "ptmalloc2", family: Family::Ptmalloc2, source: Source::CLibrary },
    Entry {
        name: "jemalloc",
        family: Family::Jemalloc,
        source: Source::Workspace { package: "heaplab-preload-jemalloc", file: "libheaplab_jemalloc.so" },
    },
    Entry {
        name: "tcmalloc",
        family: Family::Tcmalloc,
        source: Source::System {
            files: &["libtcmalloc_minimal.so.4", "libtcmalloc.so.4"],
            package: "libtcmalloc-minimal4",
        },
    },
    Entry {
        name: "mimalloc",
        family: Family::Mimalloc,
        source: Source::Workspace { package: "heaplab-preload-mimalloc", file: "libheaplab_mimalloc.so" },
    },
    Entry {
        name: FLOOR,
        family: Family::Floor,
        source: Source::Workspace { package: "heaplab-preload-floor", file: "libheaplab_floor.so" },
    },
    Entry {
        name: "jemalloc-system",
        family: Family::Jemalloc,
        source: Source::System { files: &["libjemalloc.so.2"], package: "libjemalloc2" },
    },
    Entry {
        name: "mimalloc-system",
        family: Family::Mimalloc,
        source: Source::System {
            files: &["libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so.2.0"],
            package: "libmimalloc2.0",
        },
    },
];

/// An allocator whose library is not there. The text says how to get it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// A library that the system should have.
    #[error(
        "{allocator}: the loader's cache has no {}; install it with: apt-get install {package}",
        files.join(" or ")
    )]
    System {
        /// Allocator.
        allocator: &'static str,
        /// File names that were looked for.
        files: &'static [&'static str],
        /// Debian package.
        package: &'static str,
    },
    /// A library that this workspace builds.
    #[error(
        "{allocator}: no {file} in {}; build it with: cargo build --release -p {package} (or name its directory in {DIRECTORY_VARIABLE})",
        directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Workspace {
        /// Allocator.
        allocator: &'static str,
        /// File name that was looked for.
        file: &'static str,
        /// Cargo package.
        package: &'static str,
        /// Directories that were looked in.
        directories: Vec<PathBuf>,
    },
}

impl Entry {
    /// The library to preload; none where the C library's own allocator is meant.
    pub fn locate(&self) -> Result<Option<PathBuf>, Absent> {
        match self.source {
            Source::CLibrary => Ok(None),
            Source::Workspace { package, file } => {
                let directories = workspace_directories();
                match directories.iter().map(|directory| directory.join(file)).find(|path| path.is_file()) {
                    Some(path) => Ok(Some(std::path::absolute(&path).unwrap_or(path))),
                    None => Err(Absent::Workspace { allocator: self.name, file, package, directories }),
                }
            }
            Source::System { files, package } => {
                match files.iter().find_map(|file| cache::find_library(file)) {
                    Some(path) => Ok(Some(path)),
                    None => Err(Absent::System { allocator: self.name, files, package }),
                }
            }
        }
    }

    /// How to get the library: a package of the system, or of this workspace.
    pub fn install_command(&self) -> Option<String> {
        match self.source {
            Source::CLibrary => None,
            Source::Workspace { package, .. } => Some(format!("cargo build --release -p {package}")),
            Source::System { package, .. } => Some(format!("apt-get install {package}")),
        }
    }
}

/// The entry called `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// The library that reports which malloc serves a real program.
pub fn locate_probe() -> Result<PathBuf, Absent> {
    let source = Source::Workspace { package: "heaplab-preload-probe", file: "libheaplab_probe.so" };
    let probe = Entry { name: "the probe of real programs", family: Family::Other, source };
    // A library of this workspace is never none.
    probe.locate().map(Option::unwrap_or_default)
}

/// The library with faults of known size.
pub fn locate_control() -> Result<PathBuf, Absent> {
    let source = Source::Workspace { package: "heaplab-preload-control", file: "libheaplab_control.so" };
    let control = Entry { name: "the library with faults of known size", family: Family::Other, source };
    control.locate().map(Option::unwrap_or_default)
}

/// Where libraries of this workspace are looked for, in order: the directory that the user names, beside the
/// program, above it where it is a test's (target/debug/deps), and in lib/heaplab of an installation.
fn workspace_directories() -> Vec<PathBuf> {
    let named = std::env::var_os(DIRECTORY_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let program = std::env::current_exe().ok();
    directories_for(named, program.as_deref().and_then(Path::parent))
}

fn directories_for(named: Option<PathBuf>, beside: Option<&Path>) -> Vec<PathBuf> {
    let mut directories = Vec::from_iter(named);
    if let Some(beside) = beside {
        directories.push(beside.to_path_buf());
        if let Some(above) = beside.parent() {
            if beside.file_name().is_some_and(|name| name == "deps") {
                directories.push(above.to_path_buf());
            }
            directories.push(above.join("lib/heaplab"));
        }
    }
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_directory_comes_first_and_a_tests_parent_counts() {
        let directories = directories_for(Some("/own".into()), Some(Path::new("/t/debug/deps")));
        assert_eq!(
            directories,
            ["/own", "/t/debug/deps", "/t/debug", "/t/debug/lib/heaplab"].map(PathBuf::from)
        );
        let directories = directories_for(None, Some(Path::new("/usr/bin")));
        assert_eq!(directories, ["/usr/bin", "/usr/lib/heaplab"].map(PathBuf::from));
    }

    #[test]
    fn every_default_has_an_entry() {
        for name in DEFAULTS {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn an_absent_library_names_what_to_install() {
        let entry = Entry {
            name: "tcmalloc",
            family: Family::Tcmalloc,
            source: Source::System { files: &["libnowhere.so.1"], package: "libnowhere1" },
        };
        let text = entry.locate().expect_err("no such library").to_string();
        assert_eq!(
            text,
            "tcmalloc: the loader's cache has no libnowhere.so.1; install it with: apt-get install libnowhere1"
        );
    }
}
