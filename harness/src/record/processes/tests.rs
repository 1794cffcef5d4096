//! Which image is of which process, and what is judged by memory.

use super::*;
use crate::record::page::SharedPage;

/// A process that exists: this one, under different PIDs.
fn process(number: u32, inner: u32, parent: u32) -> Process {
    let starter = Starter { process: parent, thread: parent };
    let own = Process::open(std::process::id(), starter, Duration::ZERO).expect("this process");
    Process { member: Member { number, inner, parent }, ..own }
}

/// An image of a process 1, in the file of another, that began at one second.
fn origin(ordinal: u32, file: u32) -> Origin {
    let id = |ordinal| ImageId { pid: 1, ordinal };
    Origin { id: id(ordinal), file: id(file), parent: None, begin: Duration::from_secs(1) }
}

/// The process of an image that began at one second and has the number `pid` for itself.
fn of(processes: &Processes, pid: u32, parent: Option<u32>) -> Option<u32> {
    let id = ImageId { pid, ordinal: 7 };
    let image = Origin { id, file: id, parent, ..origin(0, 0) };
    processes.choose(&image).map(|at| processes.all[at].member.number)
}

#[test]
fn an_image_is_of_the_process_that_knows_itself_by_its_number() {
    let mut processes = Processes::new(Path::new("/x/library.so"));
    processes.all =
        vec![process(100, 100, 1), process(200, 2, 100), process(300, 3, 200), process(400, 3, 100)];
    assert_eq!(of(&processes, 100, None), Some(100));
    assert_eq!(of(&processes, 2, Some(100)), Some(200));
    assert_eq!(of(&processes, 3, Some(200)), Some(300), "the parent decides");
    assert_eq!(of(&processes, 3, None), Some(300), "otherwise the first of those that were seen together");
    assert_eq!(of(&processes, 300, None), None, "a PID from here is not one from there");
    processes.all[3].not_before = Duration::from_millis(900);
    assert_eq!(of(&processes, 3, None), Some(400), "and of others the latest");
    processes.all[3].not_before = Duration::from_millis(1001);
    assert_eq!(of(&processes, 3, None), Some(300), "one that started later starts no image");
    processes.all[0].not_before = Duration::from_millis(1001);
    assert_eq!(of(&processes, 100, None), Some(100), "whose PID is known from here is certain");
    processes.all[3].not_before = Duration::ZERO;
    processes.all[2].ended = Some(Duration::from_secs(2));
    assert_eq!(of(&processes, 3, None), Some(400), "one that still runs comes first");
    processes.all[3].ended = Some(Duration::from_millis(999));
    assert_eq!(of(&processes, 3, None), Some(300), "one that had exited before starts no image");
}

/// Begins a file of images, which this process maps.
fn map_file_of(image: &Origin, directory: &Path) -> SharedPage {
    let (name, length) = heaplab_raw::image_name(image.file);
    let path = directory.join(OsStr::from_bytes(&name[..length]));
    std::fs::write(&path, [0; heaplab_raw::PAGE_BYTES]).expect("a file");
    SharedPage::map(&File::options().read(true).write(true).open(&path).expect("a file")).expect("a page")
}

/// This process and one that no longer exists as the first processes of two sandboxes: their numbers here are looked up
/// in /proc.
fn two_sandboxes() -> Processes {
    let mut processes = Processes::new(Path::new("/x/library.so"));
    processes.all = vec![process(std::process::id(), 1, 100), process(u32::MAX, 1, 100)];
    processes
}

/// One of which an image is seen so late that there is another sandbox.
#[test]
fn an_image_that_is_seen_late_is_of_the_process_that_maps_its_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut processes = two_sandboxes();
    processes.all[0].take_image(&origin(6, 3), Path::new("/bin/sh"));
    processes.all[1].not_before = Duration::from_millis(900);
    let image = origin(7, 7);
    assert_eq!(processes.choose(&image), Some(1), "the first has begun, and maps no such file");
    let page = map_file_of(&image, directory.path());
    assert_eq!(processes.choose(&image), Some(0));
    processes.all[0].ended = Some(Duration::from_secs(2));
    processes.all[1].not_before = Duration::from_millis(1001);
    assert_eq!(processes.choose(&image), Some(0), "and after its end by the times of both");
    drop(page);
}

#[test]
fn sandboxes_that_one_program_forks_have_an_image_each_in_its_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut processes = two_sandboxes();
    let [first, second, third] = [4, 5, 6].map(|ordinal| origin(ordinal, 3));
    let page = map_file_of(&first, directory.path());
    processes.all[1].member.number = std::process::id();
    for (image, at) in [(&first, 0), (&second, 1)] {
        assert_eq!(processes.choose(image), Some(at), "in order");
        processes.all[at].take_image(image, Path::new("/bin/sh"));
    }
    assert_eq!(processes.choose(&third), None, "its process was gone before it was seen");
    drop(page);
}

#[test]
fn a_process_started_no_image_before_the_search_that_missed_it() {
    let mut processes = Processes::new(Path::new("/x/library.so"));
    for ms in [10, 20, 30] {
        processes.find(Duration::from_millis(ms));
    }
    let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it runs");
    processes.find(Duration::from_millis(40));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let of_child = processes.all.iter().find(|process| process.member.number == child.id());
    assert_eq!(of_child.map(|process| process.not_before), Some(Duration::from_millis(20)));
}

#[test]
fn what_records_is_recorded_whatever_was_seen_before() {
    let mut late = process(1, 1, 0);
    late.not_recorded = Some("the library was not loaded into it".to_owned());
    late.program = Some("/x/server".into());
    late.take_image(&origin(0, 0), Path::new("/bin/sh"));
    assert!(late.not_recorded.is_some(), "what it was before");
    late.take_image(&origin(1, 1), Path::new("/x/server"));
    assert_eq!((late.images.len(), late.not_recorded), (2, None));
}

#[test]
fn shares_of_memory_are_over_time() {
    let mut processes = Processes::new(Path::new("/x/library.so"));
    processes.all = vec![process(1, 1, 0), process(2, 2, 1)];
    let second = Duration::from_secs(1);
    for (at, bytes) in [(0, [10, 30]), (1, [30, 30]), (3, [0, 0])] {
        processes.add_up(second * at);
        (processes.all[0].resident_bytes, processes.all[1].resident_bytes) = (bytes[0], bytes[1]);
        processes.tree_bytes = bytes.iter().sum();
    }
    processes.all[0].images.push(ImageId { pid: 1, ordinal: 0 });
    assert_eq!(processes.choose_main(1), 1, "a process that is not recorded cannot represent the recording");
    processes.all[1].images.push(ImageId { pid: 2, ordinal: 1 });
    assert_eq!((processes.choose_main(1), processes.choose_main(2)), (1, 2), "none has twice as much");
    processes.all[0].byte_us /= 2;
    assert_eq!(processes.choose_main(1), 2, "a launcher");
    processes.all[0].byte_us *= 2;
    let shares: Vec<_> = processes.all.iter().map(|process| processes.share_of(process)).collect();
    assert_eq!(shares, [Some(70.0 / 160.0), Some(90.0 / 160.0)]);
}
