//! A program under its keeper, as heaplab sees it: started, talked to, and always stopped.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};

use super::keeper::SOCKET_VARIABLE;
use super::message::{Job, Said, Told, receive, send};
use crate::signals;

/// A keeper that has not connected by then never will.
const CALL: Duration = Duration::from_secs(10);
/// Time between two checks whether it has.
const LOOK: Duration = Duration::from_millis(1);
/// Longest path of a socket, with room for its name.
const SOCKET_PATH_BYTES: usize = 90;

/// Whose keeper is talking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The program's.
    Program,
    /// That of the load, or of another command next to the program.
    Helper,
}

/// What the sample waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A keeper said something.
    Said(Role, Said),
    /// A keeper is gone.
    Lost(Role),
    /// The line that shows that the program is ready was written.
    Ready,
}

/// Where a program's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// To our own streams.
    Inherited,
    /// Both to our standard error: our standard output has another use.
    ToStderr,
    /// To pipes that heaplab reads.
    Piped,
}

/// A running keeper. When it is dropped, nothing of its tree remains.
pub(super) struct Keeper {
    process: Child,
    stream: UnixStream,
}

impl Keeper {
    /// Starts a keeper with its job. What it says arrives as events.
    pub(super) fn start(job: &Job, output: Output, role: Role, events: Sender<Event>) -> io::Result<Keeper> {
        let directory = socket_directory()?;
        let path = directory.path().join("keeper");
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("keep").env(SOCKET_VARIABLE, &path);
        match output {
            Output::Inherited => {}
            Output::ToStderr => {
                command.stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
            }
            Output::Piped => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let mut process = signals::inherit(&mut command).spawn()?;
        let called = accept(&listener, &mut process);
        let mut stream = called.inspect_err(|_| {
            // Both fail only if the child was reaped already.
            let _ = process.kill();
            let _ = process.wait();
        })?;
        let mut keeper = Keeper { stream: stream.try_clone()?, process };
        send(&mut keeper.stream, job)?;
        thread::spawn(move || {
            let mut reader = BufReader::new(&mut stream);
            while let Ok(Some(said)) = receive::<Said>(&mut reader) {
                // Nobody listens if the sample has ended.
                let _ = events.send(Event::Said(role, said));
            }
            let _ = events.send(Event::Lost(role));
        });
        Ok(keeper)
    }

    /// The keeper's process number: the tree is what lies below it.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The program's streams, if they are piped.
    pub(super) fn take_streams(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.process.stdout.take(), self.process.stderr.take())
    }

    /// Tells it something. A keeper that is gone has nothing to do.
    pub(super) fn tell(&mut self, told: Told) {
        let _ = send(&mut self.stream, &told);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It kills its tree when the connection closes, and then exits.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.process.wait();
    }
}

/// A directory for a socket, whose path must be short.
fn socket_directory() -> io::Result<tempfile::TempDir> {
    let wanted = std::env::temp_dir();
    let short = wanted.as_os_str().len() < SOCKET_PATH_BYTES;
    tempfile::Builder::new().prefix("heaplab-").tempdir_in(if short { &wanted } else { Path::new("/tmp") })
}

fn accept(listener: &UnixListener, process: &mut Child) -> io::Result<UnixStream> {
    let deadline = Instant::now() + CALL;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if let Some(status) = process.try_wait()? {
            return Err(io::Error::other(format!("the keeper ended ({status}) before it did anything")));
        }
        if Instant::now() >= deadline {
            return Err(io::Error::other("the keeper did not call"));
        }
        thread::sleep(LOOK);
    }
}

/// Why a command cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotStart {
    /// There is no such file.
    #[error("{0}: command not found: give its path, or a name that PATH leads to")]
    NotFound(String),
    /// The file exists, but it cannot be run.
    #[error("{0}: not an executable file: check its permissions (chmod +x)")]
    NotExecutable(String),
}

impl CannotStart {
    /// The exit status that shells use for it.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            CannotStart::NotFound(_) => 127,
            CannotStart::NotExecutable(_) => 126,
        }
    }
}

/// The file to which a command's name leads, through PATH if it has no slash.
///
/// # Errors
///
/// [`CannotStart`], worded as a shell would.
pub fn find_program(name: &OsStr, path: Option<OsString>) -> Result<PathBuf, CannotStart> {
    let shown = || name.to_string_lossy().into_owned();
    let runs = |file: &Path| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if name.as_encoded_bytes().contains(&b'/') {
        let file = PathBuf::from(name);
        return match file.symlink_metadata() {
            _ if runs(&file) => Ok(file),
            Ok(_) => Err(CannotStart::NotExecutable(shown())),
            Err(_) => Err(CannotStart::NotFound(shown())),
        };
    }
    let path = path.unwrap_or_else(|| "/usr/local/bin:/bin:/usr/bin".into());
    let files: Vec<PathBuf> = std::env::split_paths(&path).map(|directory| directory.join(name)).collect();
    if name.is_empty() {
        return Err(CannotStart::NotFound(shown()));
    }
    match files.iter().find(|file| runs(file)) {
        Some(file) => Ok(file.clone()),
        None if files.iter().any(|file| file.is_file()) => Err(CannotStart::NotExecutable(shown())),
        None => Err(CannotStart::NotFound(shown())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_as_a_shell_finds_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let plain = directory.path().join("plain");
        std::fs::write(&plain, "x").expect("written");
        let find = |name: &str| {
            find_program(name.as_ref(), Some(format!("{}:/bin", directory.path().display()).into()))
        };
        assert!(find("sh").expect("a shell").ends_with("sh"));
        assert_eq!(find("plain").expect_err("no permission").code(), 126);
        assert_eq!(find("no-such-command").expect_err("nothing").code(), 127);
        assert_eq!(find("").expect_err("nothing").code(), 127);
        let path = |path: &Path| find_program(path.as_os_str(), None);
        assert_eq!(path(&plain).expect_err("no permission").code(), 126);
        assert_eq!(path(directory.path()).expect_err("a directory").code(), 126);
        assert_eq!(path(&directory.path().join("none")).expect_err("nothing").code(), 127);
    }
}
