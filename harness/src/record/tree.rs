//! Processes as /proc shows them: who descends from this one, under which numbers, and what they run.
//!
//! A process in its own PID namespace has a PID there, which it has for itself, and one here.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use heaplab_raw::ImageId;

/// What stays the same while a process lives, except for its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its PID here.
    pub(super) number: u32,
    /// The PID that it has for itself.
    pub(super) inner: u32,
    /// Its parent's PID here.
    pub(super) parent: u32,
}

/// The figures of a process's memory (`statm`) as a thread of it shows them that still runs; none if none does. Where
/// the first thread has exited before others, the process's own file shows no memory.
pub(super) fn open_statm_of_thread(process: u32) -> Option<File> {
    let look = || {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
        let mut files = tasks.filter_map(|task| File::open(task.ok()?.path().join("statm")).ok());
        files.find(|file| read_statm(file).is_some_and(|figures| figures.pages > 0))
    };
    // A thread may start its successor and end while the list is read.
    look().or_else(look)
}

/// What `statm` says, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Statm {
    /// Of addresses; 0 of a process that has exited and waits to be reaped.
    pub(super) pages: u64,
    /// Of memory that is neither file pages nor shared.
    pub(super) anonymous: u64,
}

/// Reads an open `statm`; none if the process or thread is gone.
pub(super) fn read_statm(file: &File) -> Option<Statm> {
    let mut text = [0; 128];
    let length = file.read_at(&mut text, 0).ok()?;
    parse_statm(text.get(..length)?)
}

fn parse_statm(text: &[u8]) -> Option<Statm> {
    let text = std::str::from_utf8(text).ok()?;
    let mut pages = text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let (pages, resident, shared) = (pages.next()??, pages.next()??, pages.next()??);
    Some(Statm { pages, anonymous: resident.saturating_sub(shared) })
}

fn parse_numbers(list: &str) -> Vec<u32> {
    list.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// A process; none if it is gone.
pub(super) fn read_member(number: u32) -> Option<Member> {
    parse_status(number, &fs::read_to_string(format!("/proc/{number}/status")).ok()?)
}

/// A thread's TID in its innermost PID namespace.
pub(super) fn inner_thread(process: u32, thread: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).ok()?;
    Some(parse_status(thread, &status)?.inner)
}

fn parse_status(number: u32, status: &str) -> Option<Member> {
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let parent = line("PPid")?.trim().parse().ok()?;
    // From the namespace of /proc to the innermost. Kernels without namespaces have no such line.
    let inner = line("NSpid").and_then(|numbers| parse_numbers(numbers).last().copied()).unwrap_or(number);
    Some(Member { number, inner, parent })
}

/// The program that a process runs; none if we may not see it.
pub(super) fn program_of(number: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{number}/exe")).ok()
}

/// Whether a process has mapped a file of that name; none if we may not see it.
pub(super) fn maps_file(number: u32, name: &OsStr) -> Option<bool> {
    let maps = read_whole(number, "maps")?;
    Some(maps.windows(name.len()).any(|window| window == name.as_bytes()))
}

/// Whether a process has mapped the file that an image started; none if we may not see it.
pub(super) fn maps_image(number: u32, image: ImageId) -> Option<bool> {
    let (name, length) = heaplab_raw::image_name(image);
    let path = [b"/", &name[..length]].concat();
    maps_file(number, OsStr::from_bytes(&path))
}

/// Whether the environment that a process was started with has a variable; none if we may not see it.
pub(super) fn has_variable(number: u32, name: &str) -> Option<bool> {
    let environment = read_whole(number, "environ")?;
    Some(
        environment
            .split(|&byte| byte == 0)
            .any(|entry| entry.strip_prefix(name.as_bytes()).is_some_and(|value| value.starts_with(b"="))),
    )
}

/// What `/proc` says in a file about the program that a process runs; none if we may not see it, and while the process
/// is about to execute another program or to exit.
fn read_whole(number: u32, file: &str) -> Option<Vec<u8>> {
    // The kernel states where the code ends after an exec has set up all else. A process that exits may do so between two
    // parts of the reading, which then looks like a shorter file.
    let end_of_code = || {
        let stat = procfs::process::Process::new(i32::try_from(number).ok()?).ok()?.stat().ok()?;
        (stat.endcode != 0).then_some(stat.endcode)
    };
    let before = end_of_code()?;
    let content = fs::read(format!("/proc/{number}/{file}")).ok()?;
    (end_of_code() == Some(before)).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sharing::family::descendants;

    #[test]
    fn anonymous_memory_is_what_is_resident_and_not_shared() {
        let found = |pages, anonymous| Some(Statm { pages, anonymous });
        assert_eq!(parse_statm(b"5000 300 120 10 0 90 0\n"), found(5000, 180));
        assert_eq!(parse_statm(b"0 0 0 0 0 0 0\n"), found(0, 0), "a zombie");
        assert_eq!(parse_statm(b"5000 x"), None);
        assert_eq!(parse_statm(b""), None);
    }

    #[test]
    fn the_number_of_a_process_is_its_own_and_ours() {
        let status = "Name:\tsh\nTgid:\t4211\nPid:\t4211\nPPid:\t4200\nNSpid:\t4211\t7\t1\n";
        assert_eq!(parse_status(4211, status), Some(Member { number: 4211, inner: 1, parent: 4200 }));
        let old = "Name:\tsh\nPPid:\t1\n";
        assert_eq!(parse_status(9, old), Some(Member { number: 9, inner: 9, parent: 1 }));
        assert_eq!(parse_status(9, ""), None);
    }

    #[test]
    fn a_child_is_found_and_looked_into() {
        let mut child =
            std::process::Command::new("sleep").arg("60").env("MARK", "x").spawn().expect("it runs");
        let number = child.id();
        // Just after its exec a process has no environment yet.
        while has_variable(number, "MARK").is_none() {
            std::thread::yield_now();
        }
        assert!(descendants(std::process::id()).contains(&number));
        let member = read_member(number).expect("it is there");
        assert_eq!((member.number, member.parent), (number, std::process::id()));
        assert!(program_of(number).is_some());
        assert_eq!(maps_file(number, OsStr::new("no such library")), Some(false));
        assert_eq!((has_variable(number, "MARK"), has_variable(number, "MAR")), (Some(true), Some(false)));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert_eq!(read_member(number), None);
        assert!(descendants(number).is_empty());
    }

    /// A process that exits while it is read seemed to have half of its environment, and one within an exec none.
    #[test]
    fn a_variable_is_never_missed_while_a_program_starts_or_ends() {
        for _ in 0..300 {
            let mut child = std::process::Command::new("true").env("MARK", "x").spawn().expect("it runs");
            while child.try_wait().expect("it is ours").is_none() {
                for _ in 0..20 {
                    assert_ne!(has_variable(child.id(), "MARK"), Some(false));
                }
            }
        }
    }
}
