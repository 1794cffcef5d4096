//! What the samples of a program read as their standard input: all of them the same.

use std::fs::{File, metadata};
use std::io::{IsTerminal, stdin};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use super::error::SessionError;
use super::notice::{Listener, Notice};
use crate::exec::Input;

/// A single sample of a run reads our standard input itself. Several read a file or a device from its start, each by
/// opening it again, and nothing from a terminal or a pipe, which only one of them could read.
///
/// # Errors
///
/// Our standard input is a file that cannot be opened again.
pub(super) fn choose_input(is_single: bool, listener: Listener<'_>) -> Result<Input, SessionError> {
    if is_single {
        return Ok(Input::Inherited);
    }
    // By our own descriptor: whatever its name leads to now, if it still has one, this is what we were given.
    let path = PathBuf::from(format!("/proc/{}/fd/0", std::process::id()));
    let kind = metadata(&path).map_err(SessionError::failed("cannot examine standard input"))?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        let sentence =
            "standard input is a pipe, which only one sample could read: all get none; give a file";
        listener(&Notice::Say(sentence.to_owned()));
    }
    let is_device = kind.is_block_device() || (kind.is_char_device() && !stdin().is_terminal());
    if !kind.is_file() && !is_device {
        return Ok(Input::Empty);
    }
    File::open(&path).map_err(SessionError::failed(
        "standard input cannot be opened again, which every sample needs to read it from its start; give a file that this \
         user may open, or /dev/null",
    ))?;
    Ok(Input::File(path))
}
