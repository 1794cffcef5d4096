//! Why a program recorded nothing, as far as its file shows.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{elf, tree};

/// How many levels of script interpreters are followed.
const MOST_SCRIPTS: usize = 4;
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;

/// Why nothing was recorded of `program`, as the end of a sentence.
pub(super) fn explain(program: &OsStr) -> String {
    let Some(path) = find_program(program) else {
        return "the program's file, or that of its interpreter, is not there any more".to_string();
    };
    let shown = path.display();
    match File::open(&path).and_then(|file| Ok((file.metadata()?, file))) {
        Ok((metadata, file)) => privilege(&path, &metadata)
            .or_else(|| describe(&file))
            .map(|reason| format!("{shown} {reason}"))
            .unwrap_or_else(|| {
                format!(
                    "the library was not loaded into {shown}, or it could not write next to the trace; the program \
                     may have run a statically linked program, or cleared its environment"
                )
            }),
        Err(error) => format!("{shown} cannot be read: {error}"),
    }
}

/// Why `program` would not even start with a preloaded library, as far as its file shows; none if it starts. Elsewhere
/// the loader ignores the library, and the program runs unrecorded.
pub(super) fn forbids_preloading(program: &OsStr) -> Option<String> {
    let path = find_program(program)?;
    let file = File::open(&path).ok()?;
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0).ok().filter(|()| head.starts_with(b"\x7fELF\x02"))?;
    if u16::from_le_bytes([head[18], head[19]]) != own_machine() {
        return None;
    }
    let reason = if loader(&file, &head)?.contains("ld-musl") {
        MUSL
    } else if elf::needed(&file, &head).iter().any(|name| is_asan(name)) && asan_checks_order() {
        "is built with the address sanitizer, which has a malloc of its own and accepts no library before it: build the \
         program without it"
    } else {
        return None;
    };
    Some(format!("{} {reason}", path.display()))
}

const MUSL: &str = "uses the C library musl; the recorder's library is for glibc";

/// Whether the sanitizer insists on being the first library, as it does unless it is told otherwise.
fn asan_checks_order() -> bool {
    let options = std::env::var("ASAN_OPTIONS").unwrap_or_default();
    !options.contains("verify_asan_link_order=0")
}

fn is_asan(library: &[u8]) -> bool {
    library.starts_with(b"libasan.so") || library.starts_with(b"libclang_rt.asan")
}

/// The file that a name stands for or, for a script, that of its interpreter.
fn find_program(program: &OsStr) -> Option<PathBuf> {
    let mut path = locate(program, std::env::var_os("PATH").as_deref())?;
    for _ in 0..MOST_SCRIPTS {
        match interpreter(&path) {
            // Whatever else it names cannot be executed, and may block whoever opens it.
            Some(next) if next.is_file() => path = next,
            Some(_) => return None,
            None => break,
        }
    }
    Some(path)
}

/// Why a program that a process runs cannot be recorded, as far as its file and its environment show; none if
/// `library` could be loaded into it. `preload` is the variable that its environment must have.
pub(super) fn explain_process(number: u32, program: &Path, preload: &str, library: &str) -> Option<String> {
    // This path also works in other namespaces, and if the file was replaced.
    let link = PathBuf::from(format!("/proc/{number}/exe"));
    let file = File::open(&link).ok()?;
    let reason = privilege(&link, &file.metadata().ok()?).or_else(|| describe(&file)).or_else(|| {
        // NOTE: a program may have overwritten its environment with the title that ps shows (nginx and
        // PostgreSQL do).
        let is_cleared = tree::has_variable(number, preload) == Some(false)
            && tree::maps_file(number, library.as_ref()) != Some(true);
        is_cleared.then(|| {
            format!("was started without {preload}: the process that started it cleared or replaced its environment")
        })
    })?;
    Some(format!("{} {reason}", program.display()))
}

/// The file that a name stands for, as execvp(3) finds it.
fn locate(program: &OsStr, search: Option<&OsStr>) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Path::new(program).is_file().then(|| program.into());
    }
    let search = search.unwrap_or(OsStr::new("/bin:/usr/bin"));
    std::env::split_paths(search).map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// The program that runs a script; none for a file that is not a script.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    File::open(path).ok()?.take(256).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let mut words = line.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty());
    let first = PathBuf::from(OsString::from_vec(words.next()?.to_vec()));
    match words.next() {
        Some(name) if first.file_name() == Some(OsStr::new("env")) => {
            locate(OsStr::from_bytes(name), std::env::var_os("PATH").as_deref())
        }
        _ => Some(first),
    }
}

/// Whether the loader ignores LD_PRELOAD because the program runs with rights that its caller does not have.
fn privilege(path: &Path, metadata: &Metadata) -> Option<String> {
    let is_other_user =
        metadata.mode() & SET_USER != 0 && metadata.uid() != rustix::process::getuid().as_raw();
    let is_other_group =
        metadata.mode() & SET_GROUP != 0 && metadata.gid() != rustix::process::getgid().as_raw();
    let mut capabilities = [0; 64];
    let has_capabilities = !rustix::process::getuid().is_root()
        && rustix::fs::getxattr(path, "security.capability", &mut capabilities[..]).is_ok();
    let what = match (is_other_user, is_other_group, has_capabilities) {
        (true, ..) => "set-user-ID",
        (_, true, _) => "set-group-ID",
        (_, _, true) => "given capabilities",
        _ => return None,
    };
    Some(format!(
        "is {what}, and the loader preloads nothing into such a program: run it as the user that it becomes, or a copy without that"
    ))
}

/// The reason that an ELF file shows; none if a library could have been preloaded.
fn describe(file: &File) -> Option<String> {
    let mut head = [0; 64];
    if file.read_exact_at(&mut head, 0).is_err() || &head[..4] != b"\x7fELF" {
        return Some("is not an ELF program".to_string());
    }
    if head[4] != 2 {
        return Some("is a 32-bit program, and the recorder's library has 64 bits".to_string());
    }
    let machine = u16::from_le_bytes([head[18], head[19]]);
    if machine != own_machine() {
        return Some("is a program for another processor".to_string());
    }
    match loader(file, &head) {
        None => {
            Some("is statically linked: its malloc is inside it, where no library can replace it".to_string())
        }
        Some(loader) if loader.contains("ld-musl") => Some(MUSL.to_string()),
        Some(_) => None,
    }
}

/// The loader that an ELF program asks for (PT_INTERP); none for a static one.
fn loader(file: &File, head: &[u8; 64]) -> Option<String> {
    let part = elf::parts(file, head).find(|part| part.kind == elf::INTERPRETER)?;
    let name = part.read(file, 4096)?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned())
}

fn own_machine() -> u16 {
    const X86_64: u16 = 62;
    const AARCH64: u16 = 183;
    if cfg!(target_arch = "aarch64") { AARCH64 } else { X86_64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_could_have_been_recorded() {
        let own = std::env::current_exe().expect("a program");
        assert_eq!(describe(&File::open(own).expect("a file")), None);
    }

    #[test]
    fn programs_that_a_preloaded_library_stops_are_known() {
        let own = std::env::current_exe().expect("a program");
        assert_eq!(forbids_preloading(own.as_os_str()), None);
        assert_eq!(forbids_preloading("no-such-program".as_ref()), None);
        assert!(is_asan(b"libasan.so.8") && is_asan(b"libclang_rt.asan-x86_64.so") && !is_asan(b"libc.so.6"));
        let file = File::open(own).expect("a file");
        let mut head = [0; 64];
        file.read_exact_at(&mut head, 0).expect("a head");
        let needed = elf::needed(&file, &head);
        assert!(needed.iter().any(|name| name.starts_with(b"libc.so")), "{needed:?}");
    }

    #[test]
    fn scripts_lead_to_their_interpreters() {
        let directory = tempfile::tempdir().expect("a directory");
        let script = |text: &str| {
            let path = directory.path().join("script");
            std::fs::write(&path, text).expect("a script");
            interpreter(&path)
        };
        assert_eq!(script("#! /bin/sh -e\ntrue\n"), Some("/bin/sh".into()));
        assert_eq!(script("#!/bin/sh"), Some("/bin/sh".into()));
        assert_eq!(script("#!"), None);
        assert_eq!(script("\x7fELF"), None);
        let found = script("#!/usr/bin/env sh\n").expect("a shell");
        assert!(found.ends_with("sh") && found.is_absolute(), "{}", found.display());
    }

    #[test]
    fn what_is_no_program_of_ours_is_said() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x");
        let of = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("a file");
            describe(&File::open(&path).expect("a file")).expect("a reason")
        };
        assert_eq!(of(b"text"), "is not an ELF program");
        let mut head = [0_u8; 64];
        head[..5].copy_from_slice(b"\x7fELF\x01");
        assert!(of(&head).contains("32-bit"));
        head[4] = 2;
        assert!(of(&head).contains("another processor"));
        head[18] = own_machine() as u8;
        assert!(of(&head).contains("statically linked"));
        head[56] = 9; // nine entries of a table that does not exist
        assert!(of(&head).contains("statically linked"));
    }
}
