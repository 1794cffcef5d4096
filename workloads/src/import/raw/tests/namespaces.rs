//! Processes that have the same PID, each in its own namespace.

use heaplab_raw::{Event, ImageHead, ImageId, SampleRecord, State, Tick};
use heaplab_trace::Record;

use super::{ID, Place, RawWriter, Recording, head, malloc};

/// An image of a process that has the PID `host` where the command ran.
fn image(pid: u32, ordinal: u32, host: Option<u32>) -> RawWriter {
    let begin_us = 1_000 * u64::from(ordinal + 1);
    let (id, tick) = (ImageId { pid, ordinal }, Tick::new(begin_us, State::Recording));
    let mut writer = RawWriter::new(ImageHead { id, tick, ..head() }, &[]);
    if let Some(host) = host {
        writer.image().expect("a page").set_host_process(host);
    }
    let main = writer.add_thread(pid);
    writer.push(main, begin_us, Event::ThreadBegin);
    writer.push(main, begin_us + 100, malloc(0x1000, 48));
    writer
}

/// A recording of these images, whose last writer has the samples.
fn place(writers: &[RawWriter]) -> Place {
    let place = Place::new(&writers[0]);
    writers.iter().for_each(|writer| writer.write(place.path()).unwrap());
    place
}

#[test]
fn the_next_first_process_of_a_namespace_does_not_end_the_samples_of_the_one_before() {
    let mut own = image(1, 0, Some(500));
    for elapsed_us in [1_500, 2_500, 3_500, 4_500] {
        let resident_bytes = elapsed_us;
        own.push_sample(&SampleRecord::Resident { elapsed_us, pid: 500, resident_bytes });
    }
    // Another sandbox, and then a program that the first one executes.
    let place = place(&[image(1, 1, Some(600)), image(1, 3, Some(500)), own]);
    let recording = Recording::open(place.path()).unwrap();
    let output = place.path().join("out.hlt");
    let report = recording.import(ImageId { pid: 1, ordinal: 0 }, &output, &mut |_| {}).unwrap();
    assert_eq!(report.summary.resident_peak_bytes, 3_500, "until it executes another program");
    let records = heaplab_trace::TraceReader::open(&output).unwrap().map(Result::unwrap);
    assert_eq!(records.filter(|record| matches!(record, Record::Resident(_))).count(), 3);
}

#[test]
fn a_process_is_found_by_its_number_where_the_command_ran() {
    let place =
        place(&[image(1, 1, Some(600)), image(600, 2, Some(700)), image(100, 3, None), image(100, 0, None)]);
    let recording = Recording::open(place.path()).unwrap();
    let last = |pid| recording.last_image_of(pid).map(|image| image.ordinal).ok();
    assert_eq!((last(600), last(700), last(1)), (Some(1), Some(2), Some(1)));
    let error = recording.last_image_of(7).expect_err("there is none").to_string();
    assert!(error.contains("100, 600, 700"), "{error}");
}

#[test]
fn the_main_image_is_of_the_process_that_the_command_started() {
    let place = place(&[image(100, 2, Some(900)), image(100, 1, Some(100)), image(100, 0, Some(100))]);
    let recording = Recording::open(place.path()).unwrap();
    assert_eq!(recording.main_image(), ImageId { ordinal: 1, ..ID }, "a namespace has its PID too");
}
