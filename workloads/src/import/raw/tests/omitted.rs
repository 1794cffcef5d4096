//! Images that cannot be read, beside one that can, files that are mostly holes, and samples out of order.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use heaplab_raw::{Event, PAGE_BYTES, RAW_VERSION, SampleRecord, Text};
use heaplab_trace::Record;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{Place, RawWriter, Recording, head, malloc, writer};

fn place() -> Place {
    let mut writer = writer();
    let main = writer.add_thread(100);
    writer.push(main, 1_000, Event::ThreadBegin);
    writer.push(main, 1_000, malloc(0x1000, 48));
    Place::new(&writer)
}

#[test]
fn an_image_that_cannot_be_read_is_not_left_out_in_silence() {
    let place = place();
    let other = place.path().join("101-1.raw");
    // The file of another image: its page and its chunks are not those of 101-1.
    fs::copy(place.raw(), &other).unwrap();
    let omitted = Recording::open(place.path()).unwrap().omitted();
    assert_eq!(omitted.len(), 2, "{omitted:?}");
    assert!(omitted[0].starts_with("image 101-1 has no trace: the first page is that of image 100-0"));
    assert!(omitted[1].contains("a chunk of image 100-0"), "{omitted:?}");
    // One of another version.
    let mut bytes = fs::read(&other).unwrap();
    let at = bytes.windows(4).position(|word| word == RAW_VERSION.to_le_bytes()).unwrap();
    bytes[at] += 1;
    fs::write(&other, &bytes).unwrap();
    let recording = Recording::open(place.path()).unwrap();
    let omitted = recording.omitted();
    assert!(omitted.len() == 1 && omitted[0].contains("101-1.raw"), "{omitted:?}");
    assert!(omitted[0].contains("version"), "{omitted:?}");
    let output = place.path().join("out.hlt");
    let report = crate::import::import(place.path(), &Default::default(), &output, &mut |_| {}).unwrap();
    assert!(report.warnings.contains(&omitted[0]), "{:?}", report.warnings);
    // A process that recorded nothing is no loss.
    fs::write(&other, vec![0; PAGE_BYTES]).unwrap();
    assert!(Recording::open(place.path()).unwrap().omitted()[0].contains("the first page cannot be used"));
    fs::remove_file(&other).unwrap();
    assert_eq!(Recording::open(place.path()).unwrap().omitted(), [""; 0]);
}

#[test]
fn a_hole_of_any_length_is_passed_over_at_once() {
    let place = place();
    let before = place.import();
    File::options().write(true).open(place.raw()).unwrap().set_len(8 << 40).unwrap();
    let after = place.import();
    assert_eq!(before, after);
}

#[test]
fn samples_that_go_back_in_time_are_told_and_not_read() {
    let mut writer = writer();
    let main = writer.add_thread(100);
    for at_us in [1_000, 3_000] {
        writer.push(main, at_us, malloc(at_us << 12, 48));
    }
    // The third and the fifth are earlier than what was read before them; another process has its own times.
    for (elapsed_us, pid) in
        [(1_500, 100), (3_500, 100), (2_500, 100), (1_200, 101), (3_400, 100), (3_500, 100)]
    {
        writer.push_sample(&SampleRecord::Resident { elapsed_us, pid, resident_bytes: 4096 });
    }
    let (report, records) = Place::new(&writer).import();
    let told = report.problems.join("\n");
    assert_eq!(told, "samples: 2 samples of resident memory are out of order and were not read");
    let sampled = records.iter().filter_map(|record| match record {
        Record::Resident(sample) => Some(sample.time_ns),
        _ => None,
    });
    assert_eq!(sampled.collect::<Vec<_>>(), [500_000, 2_500_000, 2_500_000]);
}

fn make_pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// Whoever may write into the directory may make them. Nobody waits for the other end of a pipe.
#[test]
fn what_is_no_file_is_told_and_not_opened() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    make_pipe(&path("7-7.raw"));
    symlink(place.raw(), path("8-8.raw")).unwrap();
    let _socket = UnixListener::bind(path("9-9.raw")).unwrap();
    make_pipe(&path("100-0.copies"));
    let (report, records) = place.import();
    assert_eq!((report.summary.malloc, records.is_empty()), (1, false));
    for name in ["7-7.raw", "8-8.raw", "9-9.raw", "100-0.copies"] {
        let is_told = |problem: &&String| problem.contains(name) && problem.contains("not a regular file");
        assert_eq!(report.problems.iter().filter(is_told).count(), 1, "{name}: {:?}", report.problems);
    }
    fs::remove_file(place.raw()).unwrap();
    assert!(Recording::open(place.path()).is_err(), "no image is left");
}

/// A process may state any path as its allocator's.
#[test]
fn what_has_no_end_is_not_hashed_as_a_library() {
    let directory = tempfile::tempdir().unwrap();
    let (pipe, long) = (directory.path().join("pipe"), directory.path().join("long.so"));
    make_pipe(&pipe);
    fs::write(&long, b"\x7fELF").unwrap();
    File::options().write(true).open(&long).unwrap().set_len(8 << 40).unwrap();
    for library in [Path::new("/dev/zero"), &pipe, &long] {
        let text = library.to_str().unwrap().as_bytes();
        let mut writer = RawWriter::new(head(), &[(Text::Allocator, text)]);
        let main = writer.add_thread(100);
        writer.push(main, 1_000, Event::ThreadBegin);
        let (report, _) = Place::new(&writer).import();
        assert_eq!(
            report.header.allocator.map(|allocator| allocator.hash),
            Some(String::new()),
            "{library:?}"
        );
    }
}
