//! What the trace says of itself: from the image's first page, the control page and the command's facts.

use std::io;
use std::path::Path;

use heaplab_raw::{Image, ImageId, ImageState, Text};
use heaplab_trace::{Header, Note, RecordedAllocator};

use super::regular::hash_library;
use super::samples::Facts;
use super::{Inherited, Problems};

/// The facts that become the header's allocator instead of notes.
const ALLOCATOR_FACTS: [&str; 3] = ["allocator.name", "allocator.version", "allocator.hash"];

/// The header of the trace of `id`, whose process had the PID `number` where the command ran; `image` is its
/// first page, if that can be read.
pub(super) fn make(
    id: ImageId,
    number: u32,
    image: Option<Image<'_>>,
    facts: &Facts,
    wall_clock_ns: Option<u64>,
    inherited: Option<Inherited>,
    problems: &Problems,
) -> Header {
    let mut notes = Notes::default();
    notes.add("pid", id.pid);
    if number != id.pid {
        notes.add("pid_outside", number);
    }
    notes.add("image", id.ordinal);
    if let Some(nanoseconds) = wall_clock_ns {
        notes.add("recording_began_unix_ns", nanoseconds);
    }
    let mut header = Header {
        source: "recorder".to_string(),
        has_times: true,
        has_threads: true,
        has_alignment: true,
        allocator: allocator(number, image, facts),
        ..Header::default()
    };
    if let Some(image) = image {
        let head = image.head();
        header.program = command_line(&image.text(Text::Command).collect::<Vec<u8>>());
        header.cpus = (head.cpus_allowed > 0).then_some(head.cpus_allowed);
        describe_image(image, &mut notes);
    }
    if let Some(inherited) = inherited {
        let (parent, before_us) = (inherited.parent, inherited.forked_us.saturating_sub(inherited.begin_us));
        notes.add(Header::INHERITED_NOTE, format!("{}-{}", parent.pid, parent.ordinal));
        notes.add("inherited_history_ns", before_us.saturating_mul(1000));
    }
    notes.add("ended", ending(number, image, facts));
    for (name, value) in process_facts(number, facts) {
        notes.add(name, value);
    }
    for problem in problems.told() {
        notes.add("missing", problem);
    }
    if let Some(unread) = problems.unread() {
        notes.add(Header::UNREAD_NOTE, unread);
    }
    header.notes = notes.0;
    header
}

/// The note of the pauses after which recording was continued; none if there were none. A pause that lasts to the end
/// only makes the recording shorter.
pub(super) fn describe_pauses(pauses: &[(u64, Option<u64>)]) -> Option<Note> {
    let lengths = pauses.iter().filter_map(|(begin_us, end_us)| Some((*end_us)?.saturating_sub(*begin_us)));
    let (count, total_us) =
        lengths.fold((0_u64, 0_u64), |(count, sum), us| (count + 1, sum.saturating_add(us)));
    let times = if count == 1 { "once".to_string() } else { format!("{count} times") };
    let value = format!("{times}, {:.3} s in all", total_us as f64 / 1e6);
    (count > 0).then_some(Note { name: Header::PAUSED_NOTE.to_string(), value })
}

#[derive(Default)]
struct Notes(Vec<Note>);

impl Notes {
    fn add(&mut self, name: &str, value: impl ToString) {
        self.0.push(Note { name: name.to_string(), value: value.to_string() });
    }
}

fn describe_image(image: Image<'_>, notes: &mut Notes) {
    let head = image.head();
    notes.add("executable", lossy(image, Text::Program));
    if let Some(parent) = head.parent {
        notes.add(Header::PARENT_NOTE, format!("{}-{}", parent.pid, parent.ordinal));
    }
    notes.add("cpus_online", head.cpus_online);
    notes.add("affinity", cpu_list(&head.affinity));
    notes.add("allocator_library", lossy(image, Text::Allocator));
    for (name, calls, bytes) in image.mappings() {
        notes.add(&format!("{name}_calls"), calls);
        notes.add(&format!("{name}_bytes"), bytes);
    }
    notes.add("bootstrap_calls", image.bootstrap());
    if let Some(errno) = image.failure() {
        notes.add("recording_failed", io::Error::from_raw_os_error(errno));
    }
}

/// How the image ended: as its process recorded it, or else as the command saw the process end.
fn ending(number: u32, image: Option<Image<'_>>, facts: &Facts) -> String {
    let state = image.and_then(|image| image.state());
    let status = facts.statuses.iter().rev().find(|(pid, _)| *pid == number).map(|(_, status)| *status);
    match (state, status) {
        (Some(ImageState::Replaced), _) => "by exec".to_string(),
        (_, Some(status)) if status & 0x7f == 0 => format!("with exit status {}", status >> 8 & 0xff),
        (_, Some(status)) => format!("killed by signal {}", status & 0x7f),
        (Some(ImageState::Exited), None) => "by itself".to_string(),
        (_, None) => "not by itself: killed, or still running".to_string(),
    }
}

/// What the command knew about the process: the recording's facts first, the process's own last.
fn process_facts(number: u32, facts: &Facts) -> Vec<(&str, &str)> {
    let of = |pid: u32| facts.texts.iter().filter(move |(of, ..)| *of == pid);
    of(0)
        .chain(of(number))
        .map(|(_, name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !ALLOCATOR_FACTS.contains(name))
        .collect()
}

/// The allocator as the command stated it; what it did not state is taken from the library that the image
/// names, if that still exists.
fn allocator(number: u32, image: Option<Image<'_>>, facts: &Facts) -> Option<RecordedAllocator> {
    let [name, version, hash] = ALLOCATOR_FACTS.map(|name| facts.text(number, name).map(str::to_string));
    let library = image.map(|image| lossy(image, Text::Allocator)).filter(|path| !path.is_empty());
    if name.is_none() && library.is_none() {
        return None;
    }
    let library = library.unwrap_or_default();
    Some(RecordedAllocator {
        name: name.unwrap_or_else(|| allocator_name(&library)),
        version: version.unwrap_or_default(),
        hash: hash.or_else(|| hash_library(Path::new(&library)).ok()).unwrap_or_default(),
    })
}

/// The name of the allocator that a library is, by its file's name.
pub fn allocator_name(library: &str) -> String {
    let file = library.rsplit('/').next().unwrap_or(library);
    if file.starts_with("libc.") || file.starts_with("libc-") {
        return "ptmalloc2".to_string();
    }
    let known = ["jemalloc", "tcmalloc", "mimalloc", "floor"].into_iter().find(|name| file.contains(name));
    known.unwrap_or(file).to_string()
}

fn lossy(image: Image<'_>, text: Text) -> String {
    String::from_utf8_lossy(&image.text(text).collect::<Vec<u8>>()).into_owned()
}

/// Arguments as a shell would take them: anything unusual is quoted.
fn command_line(arguments: &[u8]) -> String {
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    let quoted = arguments.split(|&byte| byte == 0).map(|argument| {
        let text = String::from_utf8_lossy(argument);
        let plain = |character: char| character.is_alphanumeric() || "/._-+=:,@%".contains(character);
        if !text.is_empty() && text.chars().all(plain) {
            text.into_owned()
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    });
    if arguments.is_empty() { String::new() } else { quoted.collect::<Vec<String>>().join(" ") }
}

/// CPUs as taskset writes them: `0-3,8`.
fn cpu_list(affinity: &[u64]) -> String {
    let has = |cpu: usize| affinity.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1);
    let mut list = Vec::new();
    let mut cpu = 0;
    while cpu < affinity.len() * 64 {
        let first = cpu;
        while has(cpu) {
            cpu += 1;
        }
        match cpu - first {
            0 => {}
            1 => list.push(first.to_string()),
            _ => list.push(format!("{first}-{}", cpu - 1)),
        }
        cpu += 1;
    }
    list.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_listed_as_ranges() {
        assert_eq!(cpu_list(&[0b1_0000_1111, 1]), "0-3,8,64");
        assert_eq!(cpu_list(&[0, 0]), "");
        assert_eq!(cpu_list(&[u64::MAX]), "0-63");
    }

    #[test]
    fn the_end_of_a_process_is_as_wait_gave_it() {
        let of = |status| {
            let mut facts = Facts::default();
            facts.statuses.extend([(1, status), (2, 0)]);
            ending(1, None, &facts)
        };
        assert_eq!(of(7 << 8), "with exit status 7");
        assert_eq!(of(9), "killed by signal 9");
        assert_eq!(of(0x80 | 6), "killed by signal 6", "with a core");
    }

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        assert_eq!(command_line(b"python3\0-c\0print('a b')\0\0"), r"python3 -c 'print('\''a b'\'')' ''");
        assert_eq!(command_line(b"true\0"), "true");
        assert_eq!(command_line(b""), "");
    }

    #[test]
    fn allocators_are_known_by_their_files() {
        assert_eq!(allocator_name("/lib/x86_64-linux-gnu/libc.so.6"), "ptmalloc2");
        assert_eq!(allocator_name("/usr/lib/libtcmalloc_minimal.so.4"), "tcmalloc");
        assert_eq!(allocator_name("/opt/libsnmalloc.so"), "libsnmalloc.so");
    }
}
