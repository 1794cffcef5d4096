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

/// The commands that the help of a command lists, or of heaplab itself.
pub(crate) fn listed_commands(words: &[&str]) -> Vec<String> {
    let help = heaplab().args(words).arg("--help").output().expect("it starts").stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that goes on in the next line stands further in.
    let rows = lines.filter(|line| !line.starts_with("   "));
    let names = rows.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}
