//! Asks a library which allocator it is, in a process that uses it.
//!
//! A recorded process names the library, and it may name any file: a program that has dropped its rights, or another user
//! who may write into the recording's directory. So where this process is root's, the library's code runs without root's
//! rights, as a user that nobody is, and has nothing of this process: no environment, terminal or open file.
#![allow(unsafe_code)]

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use heaplab_allocators::probe::{self, Answer};
use heaplab_allocators::{Family, Variant, is_allocator_variable};
use rustix::process::{geteuid, getuid};

/// A library that has not answered by then never will.
const PATIENCE: Duration = Duration::from_secs(20);
/// The interval at which it is checked whether the process has ended.
const STEP: Duration = Duration::from_millis(1);
/// More than this is no answer.
const ANSWER_MOST_BYTES: u64 = 1 << 16;
/// No version is longer.
const VERSION_MOST_CHARS: usize = 100;
/// A user and a group that own nothing: below the overflow user, where conventions leave a gap.
const NOBODY: u32 = 65_533;
/// Where the library may find others that it needs.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// The library's family and version; none if it cannot be asked.
pub(super) fn ask(library: &Path) -> Option<(Family, String)> {
    // NOTE: the link leads to this program's file wherever it lies: nobody may not search root's home for it.
    let program = Path::new("/proc/self/exe");
    let variant = Variant::parse(&format!("recorded={}", library.to_str()?)).ok()?;
    let mut command = probe::command(program, &variant);
    if geteuid().is_root() {
        // The system changes the groups of a process only where both users are root.
        getuid().is_root().then(|| give_up_rights(&mut command))?;
    } else {
        let is_allocators = |name: &std::ffi::OsStr| name.to_str().is_some_and(is_allocator_variable);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_allocators(name)) {
            command.env_remove(name);
        }
    }
    command.envs(variant.environment(None).ok()?);
    let answer: Answer = serde_json::from_slice(&run(command)?).ok()?;
    // The loader does without a library that it cannot load.
    let is_asked = is_same(&answer.loaded.library_path, library);
    let version = answer.loaded.version.chars().filter(|character| !character.is_control());
    is_asked.then(|| (answer.loaded.family, version.take(VERSION_MOST_CHARS).collect()))
}

/// Whether two paths lead to one file.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Lets a command of root's run with the rights of nobody.
fn give_up_rights(command: &mut Command) {
    // With the user, root's groups are given up.
    command.env_clear().current_dir("/").gid(NOBODY).uid(NOBODY);
    command.envs(std::env::var_os(LIBRARY_PATH).map(|path| (LIBRARY_PATH, path)));
    let leave = || {
        // SAFETY: system calls with numbers alone. They may be made between fork and exec.
        let (session, privileges, files) = unsafe {
            (
                // A process of a terminal's session may type into it.
                libc::setsid(),
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC),
            )
        };
        if session < 0 || privileges < 0 || files < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure neither allocates nor locks.
    unsafe { command.pre_exec(leave) };
}

/// What a command that succeeds writes; none if it fails, or takes too long.
fn run(mut command: Command) -> Option<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let answer = read(&mut child, deadline);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return answer.filter(|_| status.success()),
            Ok(None) if answer.is_some() && Instant::now() < deadline => thread::sleep(STEP),
            _ => break,
        }
    }
    // Killing fails only if it has already ended, and then the wait ends at once.
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// The output to its end; none if that does not come in time. What has been started may keep it open.
fn read(child: &mut Child, deadline: Instant) -> Option<Vec<u8>> {
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What breaks off is no answer. Whoever has stopped waiting receives nothing.
        let _ = stdout.take(ANSWER_MOST_BYTES).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}
