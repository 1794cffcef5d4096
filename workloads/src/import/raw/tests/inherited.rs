//! Forked images: their traces begin with what they inherited.

use heaplab_trace::Mark;

use super::*;

const CHILD: ImageId = ImageId { pid: 200, ordinal: 1 };
const GRANDCHILD: ImageId = ImageId { pid: 300, ordinal: 2 };

fn forks(number: i32) -> Event {
    Event::Mark { kind: MarkKind::Fork, argument: number, detail: 0 }
}

fn forked(id: ImageId, parent: ImageId, elapsed_us: u64) -> ImageHead {
    let tick = Tick::new(elapsed_us, State::Recording);
    ImageHead { id, parent: Some(parent), tick, ..head() }
}

/// A server with a thread in a pool, and a child that it forks by its fork 7; `forker` of the two threads does.
fn server(forker: usize, number: Option<u32>) -> RawWriter {
    let mut writer = writer();
    let threads = [writer.add_thread(100), writer.add_thread(101)];
    writer.push(threads[0], 1000, Event::ThreadBegin);
    writer.push(threads[0], 1000, malloc(0x1000, 10));
    writer.push(threads[0], 1000, malloc(0x2000, 20));
    writer.push(threads[1], 1500, malloc(0x3000, 30));
    writer.push(threads[forker], 2000, forks(7));
    // What the server does later is not inherited: the next block has an address that is in use in the child.
    writer.push(threads[forker], 2000, Event::Free { address: 0x1000 });
    writer.push(threads[0], 3000, malloc(0x1000, 11));
    writer.fork(&forked(CHILD, ID, 2500), number);
    let child = writer.add_thread_of(CHILD, CHILD.pid);
    let own = writer.add_thread_of(CHILD, 201);
    writer.push(child, 2500, Event::ThreadBegin);
    writer.push(child, 2500, Event::Free { address: 0x2000 });
    writer.push(child, 2500, malloc(0x4000, 40));
    writer.push(own, 4000, Event::Free { address: 0x1000 });
    for (elapsed_us, pid) in [(1500, 100), (2600, 100), (3000, 200)] {
        writer.push_sample(&SampleRecord::Resident { elapsed_us, pid, resident_bytes: elapsed_us });
    }
    writer
}

fn import(writer: &RawWriter, image: ImageId) -> (ImageReport, Vec<Record>) {
    let place = Place::new(writer);
    let output = place.path().join("child.hlt");
    let recording = Recording::open(place.path()).unwrap();
    let report = recording.import(image, &output, &mut |_| {}).unwrap();
    (report, TraceReader::open(&output).unwrap().map(Result::unwrap).collect())
}

#[test]
fn a_forked_image_goes_on_where_its_parent_stood() {
    let (report, records) = import(&server(0, Some(7)), CHILD);
    let inherited = Inherited { parent: ID, begin_us: 1000, forked_us: 2000, events: 4 };
    assert_eq!((report.problems.len(), report.inherited), (0, Some(inherited)));
    let expected = [
        (0, 0, Action::ThreadStart),
        (0, 0, Action::Malloc { object: 0, size: 10 }),
        (0, 0, Action::Malloc { object: 1, size: 20 }),
        (500, 1, Action::Malloc { object: 2, size: 30 }),
        (1500, 0, Action::Free { object: 1 }),
        (1500, 0, Action::Malloc { object: 3, size: 40 }),
        (3000, 2, Action::Free { object: 0 }),
    ];
    assert_eq!(actions(&records), expected);
    let beside =
        records.iter().filter(|record| !matches!(record, Record::Event(_) | Record::ThreadName { .. }));
    let beside: Vec<&Record> = beside.collect();
    let mark = Record::Mark(Mark { time_ns: 1_000_000, name: Mark::FORKED.into() });
    let [first, Record::Resident(sample)] = beside[..] else { panic!("{beside:?}") };
    assert_eq!((first, sample.time_ns, sample.resident_bytes), (&mark, 2_000_000, 3000), "its own memory");
}

#[test]
fn the_child_is_the_thread_that_forked() {
    let (_, records) = import(&server(1, Some(7)), CHILD);
    let own: Vec<u32> = actions(&records)[4..].iter().map(|(_, thread, _)| *thread).collect();
    assert_eq!(own, [1, 1, 2]);
}

#[test]
fn a_line_of_forks_is_one_history() {
    let mut writer = server(0, Some(7));
    writer.push(2, 4000, forks(9));
    writer.fork(&forked(GRANDCHILD, CHILD, 5000), Some(9));
    let own = writer.add_thread_of(GRANDCHILD, GRANDCHILD.pid);
    writer.push(own, 5000, Event::Free { address: 0x4000 });
    writer.push(own, 5000, Event::Free { address: 0x3000 });
    let (report, records) = import(&writer, GRANDCHILD);
    let inherited = Inherited { parent: CHILD, begin_us: 1000, forked_us: 4000, events: 7 };
    assert_eq!((report.problems.len(), report.inherited), (0, Some(inherited)));
    let own = [(4000, 0, Action::Free { object: 3 }), (4000, 0, Action::Free { object: 2 })];
    assert_eq!(actions(&records)[7..], own);
}

#[test]
fn an_image_whose_fork_is_not_known_begins_with_nothing() {
    for (number, problems) in [(None, 0), (Some(8), 1)] {
        let (report, records) = import(&server(0, number), CHILD);
        assert_eq!((report.problems.len(), report.inherited), (problems, None), "{:?}", report.problems);
        assert_eq!(report.summary.unseen_frees, 2);
        assert_eq!(actions(&records)[0], (0, 0, Action::ThreadStart));
    }
}

#[test]
fn histories_have_an_end() {
    let writer = server(0, Some(7));
    let place = Place::new(&writer);
    let recording = Recording::open(place.path()).unwrap();
    recording.inherited_left.set(7);
    let import = || recording.import(CHILD, &place.path().join("child.hlt"), &mut |_| {}).unwrap();
    assert!(import().inherited.is_some(), "about six records");
    let second = import();
    assert!(second.inherited.is_none() && second.problems[0].contains("room for"), "{:?}", second.problems);
}
