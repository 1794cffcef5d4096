//! What the tests of the command line share: the program itself, told where its preload libraries are.

mod libraries;
pub(crate) mod recording;
pub(crate) mod rows;
pub(crate) mod synthetic;

use std::path::Path;

/// The `heaplab` program, which finds the preload libraries of this build.
pub(crate) fn heaplab() -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_heaplab"));
    command.env("HEAPLAB_PRELOAD_DIR", libraries::directory()).env_remove("NO_COLOR");
    command
}

/// Where the libraries of this build are.
pub(crate) fn library_directory() -> &'static Path {
    libraries::directory()
}
