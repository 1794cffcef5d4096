//! Which image is of which process, and what is judged by memory.

use super::*;

/// A process that exists: this one, under different PIDs.
fn process(number: u32, inner: u32, parent: u32) -> Process {
    let starter = Starter { process: parent, thread: parent };
    let own = Process::open(std::process::id(), starter, Duration::ZERO).expect("this process");
    Process { member: Member { number, inner, parent }, ..own }
}

#[test]
fn an_image_is_of_the_process_that_knows_itself_by_its_number() {
    let mut processes = Processes::new(Path::new("/x/library.so"));
    processes.all =
        vec![process(100, 100, 1), process(200, 2, 100), process(300, 3, 200), process(400, 3, 100)];
    let of = |processes: &Processes, pid, parent| {
        let image = ImageId { pid, ordinal: 0 };
        let found = processes.choose(image, parent, Duration::from_secs(1));
        found.map(|at| processes.all[at].member.number)
    };
    assert_eq!(of(&processes, 100, None), Some(100));
    assert_eq!(of(&processes, 2, Some(100)), Some(200));
    assert_eq!(of(&processes, 3, Some(200)), Some(300), "the parent decides");
    assert_eq!(of(&processes, 3, None), Some(400), "otherwise the latest");
    assert_eq!(of(&processes, 300, None), None, "a PID from here is not one from there");
    processes.all[2].ended = Some(Duration::from_secs(2));
    assert_eq!(of(&processes, 3, Some(200)), Some(400), "one that still runs comes first");
    processes.all[3].ended = Some(Duration::ZERO);
    assert_eq!(of(&processes, 3, None), Some(300), "one that had exited before starts no image");
}

#[test]
fn what_records_is_recorded_whatever_was_seen_before() {
    let mut late = process(1, 1, 0);
    late.not_recorded = Some("the library was not loaded into it".to_owned());
    late.program = Some("/x/server".into());
    late.take_image(ImageId { pid: 1, ordinal: 0 }, Path::new("/bin/sh"));
    assert!(late.not_recorded.is_some(), "what it was before");
    late.take_image(ImageId { pid: 1, ordinal: 1 }, Path::new("/x/server"));
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
