//! Measures what the recorder costs on this machine, right before a recording: this program makes the same calls with
//! and without the recorder, in two separate processes.
//!
//! It takes a tenth of a second, most of it asleep.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use heaplab_allocators::end_with_parent;

use super::control::Control;
use super::cost::Cost;
use super::directory::Directory;
use super::observer::Observer;
use super::watch::{Requests, Watch};
use super::{Settings, inject};

/// The cost, or why it could not be measured. `directory` is the recording's, which contains a second one
/// meanwhile.
pub(super) fn measure(library: &Path, directory: &Directory) -> Result<Cost, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program's file: {error}"))?;
    let without = read(calls(&program).spawn().map_err(|error| error.to_string())?)?;
    let inner = Directory::create(&directory.file("calibration")).map_err(|error| error.to_string())?;
    let recorded = measure_recorded(&program, library, &inner);
    inner.remove().map_err(|error| error.to_string())?;
    Ok(recorded?.beyond(without))
}

/// The command that makes the calls and prints their cost.
fn calls(program: &Path) -> Command {
    let mut command = Command::new(program);
    // NOTE: an allocator that the user preloads is loaded both times, as it is in the recorded program.
    command.arg("calls").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    end_with_parent(&mut command);
    command
}

fn measure_recorded(program: &Path, library: &Path, directory: &Directory) -> Result<Cost, String> {
    let settings = Settings {
        program: program.into(),
        arguments: Vec::new(),
        output: PathBuf::new(),
        only_this_process: true,
        is_paused: false,
        most_bytes: None,
        most_time: None,
        keeps_raw: false,
        announcement: None,
    };
    let failed = |error: super::RecordError| error.to_string();
    let control = Control::create(&directory.file(heaplab_raw::CONTROL_NAME), false).map_err(failed)?;
    let observer = Observer::create(&directory.file(heaplab_raw::SAMPLES_NAME), library).map_err(failed)?;
    let mut watch = Watch::new(&settings, directory, control, observer, &|_| {});
    watch.begin().map_err(failed)?;
    let mut child =
        inject(&mut calls(program), library, directory.path()).spawn().map_err(|error| error.to_string())?;
    let said = child.stdout.take();
    watch.until_end(child, &Requests::default()).map_err(failed)?;
    if directory.files().map_err(failed)?.is_empty() {
        return Err("this program itself was not recorded".to_owned());
    }
    parse(said)
}

/// The output of a process, which this one waits for.
fn read(mut child: Child) -> Result<Cost, String> {
    let said = child.stdout.take();
    let cost = parse(said);
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { cost } else { Err(format!("its process ended with {status}")) }
}

fn parse(said: Option<impl Read>) -> Result<Cost, String> {
    let mut text = String::new();
    said.ok_or("its process says nothing")?.read_to_string(&mut text).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("its process says {text:?}: {error}"))
}
