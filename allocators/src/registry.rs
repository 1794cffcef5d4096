//! The allocators that have a name, and where their libraries are.
//!
//! Those that this workspace builds, by default or on demand, are beside the running program; those of the
//! system are found through the loader's cache, and those of a compiler's runtime in that compiler's folder.
//! Data comes from the table below; nothing here looks into a library.

use std::path::{Path, PathBuf};

use crate::cache;
use crate::family::Family;

/// The directory in which the libraries built by this workspace are searched for first.
pub const DIRECTORY_VARIABLE: &str = "HEAPLAB_PRELOAD_DIR";

/// The allocators that are measured if none is named.
pub const DEFAULTS: [&str; 4] = ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc"];

/// The allocator that ratios refer to if none is named.
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
    /// Built by scripts/build-allocators: its library's file name.
    OnDemand {
        /// File name.
        file: &'static str,
    },
    /// Comes with LLVM's compiler runtime, outside the loader's folders.
    CompilerRuntime {
        /// The stem of its file's name, before the architecture.
        stem: &'static str,
        /// The Debian package that contains it.
        package: &'static str,
    },
    /// The system's, under the first of these names that the loader's cache has.
    System {
        /// Names, the preferred one first.
        files: &'static [&'static str],
        /// The Debian package that contains it.
        package: &'static str,
    },
}

/// An allocator that has its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// Its family.
    pub family: Family,
    /// Where its library comes from.
    pub source: Source,
    /// Its licence, as an SPDX expression.
    pub licence: &'static str,
}

/// Every allocator that has a name.
pub const ENTRIES: [Entry; 13] = [
    Entry {
        name: "ptmalloc2",
        family: Family::Ptmalloc2,
        source: Source::CLibrary,
        licence: "LGPL-2.1-or-later",
    },
    Entry {
        name: "jemalloc",
        family: Family::Jemalloc,
        source: Source::Workspace { package: "heaplab-preload-jemalloc", file: "libheaplab_jemalloc.so" },
        licence: "BSD-2-Clause",
    },
    Entry {
        name: "tcmalloc",
        family: Family::Tcmalloc,
        source: Source::System {
            files: &["libtcmalloc_minimal.so.4", "libtcmalloc.so.4"],
            package: "libtcmalloc-minimal4",
        },
        licence: "BSD-3-Clause",
    },
    Entry {
        name: "mimalloc",
        family: Family::Mimalloc,
        source: Source::Workspace { package: "heaplab-preload-mimalloc", file: "libheaplab_mimalloc.so" },
        licence: "MIT",
    },
    Entry {
        name: FLOOR,
        family: Family::Floor,
        source: Source::Workspace { package: "heaplab-preload-floor", file: "libheaplab_floor.so" },
        licence: "MIT OR Apache-2.0",
    },
    Entry {
        name: "tcmalloc-google",
        family: Family::TcmallocGoogle,
        source: Source::OnDemand { file: "libheaplab_tcmalloc_google.so" },
        licence: "Apache-2.0",
    },
    Entry {
        name: "mimalloc2",
        family: Family::Mimalloc,
        source: Source::OnDemand { file: "libheaplab_mimalloc2.so" },
        licence: "MIT",
    },
    Entry {
        name: "snmalloc",
        family: Family::Snmalloc,
        source: Source::OnDemand { file: "libheaplab_snmalloc.so" },
        licence: "MIT",
    },
    Entry {
        name: "rpmalloc",
        family: Family::Rpmalloc,
        source: Source::OnDemand { file: "libheaplab_rpmalloc.so" },
        licence: "MIT OR Unlicense",
    },
    Entry {
        name: "scudo",
        family: Family::Scudo,
        source: Source::CompilerRuntime { stem: "libclang_rt.scudo_standalone", package: "libclang-rt-dev" },
        licence: "Apache-2.0 WITH LLVM-exception",
    },
    Entry {
        name: "tbbmalloc",
        family: Family::Tbbmalloc,
        source: Source::System { files: &["libtbbmalloc_proxy.so.2"], package: "libtbbmalloc2" },
        licence: "Apache-2.0",
    },
    Entry {
        name: "jemalloc-system",
        family: Family::Jemalloc,
        source: Source::System { files: &["libjemalloc.so.2"], package: "libjemalloc2" },
        licence: "BSD-2-Clause",
    },
    Entry {
        name: "mimalloc-system",
        family: Family::Mimalloc,
        source: Source::System {
            files: &["libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so.2.0"],
            package: "libmimalloc2.0",
        },
        licence: "MIT",
    },
];

/// An allocator whose library is missing. The message says how to get it.
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
        /// File names that were searched for.
        files: &'static [&'static str],
        /// Debian package.
        package: &'static str,
    },
    /// A library that this workspace builds on demand.
    #[error("{allocator}: it is not built; build it with: scripts/build-allocators {allocator}")]
    OnDemand {
        /// Allocator.
        allocator: &'static str,
    },
    /// A library of LLVM's compiler runtime.
    #[error("{allocator}: no {file} in LLVM's folders; install it with: apt-get install {package}")]
    CompilerRuntime {
        /// Allocator.
        allocator: &'static str,
        /// File name that was searched for.
        file: String,
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
        /// File name that was searched for.
        file: &'static str,
        /// Cargo package.
        package: &'static str,
        /// Directories that were searched.
        directories: Vec<PathBuf>,
    },
}

impl Entry {
    /// The library to preload; none if the C library's own allocator is meant.
    pub fn locate(&self) -> Result<Option<PathBuf>, Absent> {
        match self.source {
            Source::CLibrary => Ok(None),
            Source::Workspace { package, file } => {
                let directories = workspace_directories();
                find_file(&directories, file).map(Some).ok_or(Absent::Workspace {
                    allocator: self.name,
                    file,
                    package,
                    directories,
                })
            }
            Source::OnDemand { file } => find_file(&workspace_directories(), file)
                .map(Some)
                .ok_or(Absent::OnDemand { allocator: self.name }),
            Source::CompilerRuntime { stem, package } => {
                let file = format!("{stem}-{}.so", std::env::consts::ARCH);
                match find_file(&compiler_directories(), &file) {
                    Some(path) => Ok(Some(path)),
                    None => Err(Absent::CompilerRuntime { allocator: self.name, file, package }),
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

    /// Where its library comes from, in a few words.
    pub fn origin(&self) -> String {
        match self.source {
            Source::CLibrary => "the C library's own".into(),
            Source::Workspace { .. } => "built with heaplab".into(),
            Source::OnDemand { .. } => "built on demand".into(),
            Source::System { package, .. } | Source::CompilerRuntime { package, .. } => {
                format!("Debian's {package}")
            }
        }
    }

    /// How to get the library: a package of the system or of this workspace.
    pub fn install_command(&self) -> Option<String> {
        match self.source {
            Source::CLibrary => None,
            Source::Workspace { package, .. } => Some(format!("cargo build --release -p {package}")),
            Source::OnDemand { .. } => Some(format!("scripts/build-allocators {}", self.name)),
            Source::System { package, .. } | Source::CompilerRuntime { package, .. } => {
                Some(format!("apt-get install {package}"))
            }
        }
    }
}

/// The entry called `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// The file name of the probe.
pub const PROBE_LIBRARY: &str = "libheaplab_probe.so";

/// The library that reports which malloc serves a real program.
pub fn locate_probe() -> Result<PathBuf, Absent> {
    let source = Source::Workspace { package: "heaplab-preload-probe", file: PROBE_LIBRARY };
    let name = "the probe of real programs";
    let probe = Entry { name, family: Family::Other, source, licence: "MIT OR Apache-2.0" };
    // A library of this workspace is never none.
    probe.locate().map(Option::unwrap_or_default)
}

/// The library with faults of known size.
pub fn locate_control() -> Result<PathBuf, Absent> {
    let source = Source::Workspace { package: "heaplab-preload-control", file: "libheaplab_control.so" };
    let control = Entry {
        name: "the library with faults of known size",
        family: Family::Other,
        source,
        licence: "MIT OR Apache-2.0",
    };
    control.locate().map(Option::unwrap_or_default)
}

/// The file called `file` in the first of these directories that has one, as an absolute path.
fn find_file(directories: &[PathBuf], file: &str) -> Option<PathBuf> {
    let path = directories.iter().map(|directory| directory.join(file)).find(|path| path.is_file())?;
    Some(std::path::absolute(&path).unwrap_or(path))
}

/// Where LLVM's compiler runtimes are, newest version first: on Debian
/// `/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux`, elsewhere `/usr/lib/clang/18/lib/linux`, in `/usr/lib64`
/// too.
fn compiler_directories() -> Vec<PathBuf> {
    let mut bases: Vec<PathBuf> = ["/usr/lib/clang", "/usr/lib64/clang"].map(PathBuf::from).into();
    let llvm = sub_directories(Path::new("/usr/lib")).into_iter();
    bases.extend(
        llvm.filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("llvm-"))
        })
        .map(|path| path.join("lib/clang")),
    );
    let mut versions: Vec<PathBuf> = bases.iter().flat_map(|base| sub_directories(base)).collect();
    versions.sort_by_key(|path| std::cmp::Reverse(version_of(path)));
    versions.into_iter().map(|path| path.join("lib/linux")).collect()
}

/// The numbers of the version in a directory's name.
fn version_of(path: &Path) -> Vec<u32> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split('.').map_while(|part| part.parse().ok()).collect()
}

/// The directories in a directory; none if it cannot be read, for example because it does not exist.
fn sub_directories(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Where libraries of this workspace are searched for, in order: the directory that the user names, beside
/// the program, above it if it is a test (target/debug/deps), and in lib/heaplab of an installation.
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
            licence: "MIT",
        };
        let text = entry.locate().expect_err("no such library").to_string();
        assert_eq!(
            text,
            "tcmalloc: the loader's cache has no libnowhere.so.1; install it with: apt-get install libnowhere1"
        );
        let entry = Entry { name: "rare", source: Source::OnDemand { file: "libnowhere.so" }, ..entry };
        let text = entry.locate().expect_err("no such library").to_string();
        assert_eq!(text, "rare: it is not built; build it with: scripts/build-allocators rare");
        let source = Source::CompilerRuntime { stem: "libnowhere", package: "libnowhere-dev" };
        let text = Entry { source, ..entry }.locate().expect_err("no such library").to_string();
        assert!(text.ends_with("install it with: apt-get install libnowhere-dev"), "{text}");
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let version = |path: &str| version_of(Path::new(path));
        assert!(version("/usr/lib/llvm-14/lib/clang/14.0.6") > version("/usr/lib/clang/9.0.1"));
        assert_eq!(version("/usr/lib/clang/18"), [18]);
    }
}
