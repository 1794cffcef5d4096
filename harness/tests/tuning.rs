//! Calls of `malloc_trim` and `mallopt` by the recorded program: they are recorded, and a replay makes them.

use std::fs::File;
use std::path::Path;

use crate::support::heaplab;
use crate::support::recording::Recorded;
use crate::support::rows;
use heaplab_trace::{
    Action, Event, Header, Mark, Record, RecordedAllocator, ResidentSample, TraceReader, TraceWriter, Tuning,
};

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;
const TRIM: Tuning = Tuning::MallocTrim { pad: 0 };

fn event(time_ns: u64, action: Action) -> Record {
    Record::Event(Event { time_ns, thread: 0, action })
}

fn mark(time_ns: u64, said: Tuning) -> Record {
    Record::Mark(Mark { time_ns, name: said.mark() })
}

fn write(path: &Path, allocator: Option<RecordedAllocator>, records: impl IntoIterator<Item = Record>) {
    let header =
        Header { has_times: true, has_threads: true, has_alignment: true, allocator, ..Header::default() };
    let mut writer = TraceWriter::new(File::create(path).expect("a file"), &header).expect("a trace");
    for record in records {
        writer.push(&record).expect("a record");
    }
    writer.finish().expect("a whole trace");
}

/// A program that tells its allocator what `said` lists, allocates 20 MiB in blocks of `size`, and a small
/// block after them if they must not be the end of the heap, frees the 20 MiB, and is then idle for two
/// minutes; halfway through it may trim its heap.
fn history(said: &[Tuning], size: u64, has_top: bool, trims: bool) -> Vec<Record> {
    let blocks = 20 * MIB / size;
    let malloc = |object| event(object * 1000, Action::Malloc { object, size });
    let mut records: Vec<Record> = said.iter().map(|said| mark(0, *said)).collect();
    records.extend((0..blocks).map(malloc));
    if has_top {
        records.push(event(SECOND, Action::Malloc { object: blocks, size: 100 }));
    }
    records.extend((0..blocks).map(|object| event(SECOND, Action::Free { object })));
    records.extend(trims.then(|| mark(61 * SECOND, TRIM)));
    records.push(event(121 * SECOND, Action::FreeNull));
    records
}

/// Replays the traces of `place` by name, and returns the samples.
fn replay(place: &Path, names: &[&str], arguments: &[&str]) -> Vec<rows::Row> {
    let mut command = heaplab();
    command.current_dir(place).arg("run").args(names.iter().map(|name| format!("{name}.hlt")));
    // This test measures whether a heap's end is free, so nothing else may be there.
    command.args(["-o", "out", "--reps", "1", "--fixed"]).args(arguments).assert().success();
    rows::read_samples(&place.join("out"))
}

fn number(sample: &rows::Row, name: &str) -> u64 {
    rows::column(sample, name).parse().expect("a number")
}

/// A column of the one sample that a workload has.
fn of(samples: &[rows::Row], workload: &str, name: &str) -> u64 {
    let mut of_it = samples.iter().filter(|sample| rows::column(sample, "workload") == workload);
    number(of_it.next().expect("a sample"), name)
}

#[test]
fn a_trim_gives_back_what_is_free_below_a_live_block_when_the_program_did() {
    let place = tempfile::tempdir().expect("a directory");
    write(&place.path().join("idle.hlt"), None, history(&[], 1000, true, false));
    write(&place.path().join("trimmed.hlt"), None, history(&[], 1000, true, true));
    let samples = replay(place.path(), &["idle", "trimmed"], &["--pass", "memory", "-a", "ptmalloc2"]);
    assert!(of(&samples, "idle", "resident_end_bytes") > 19 * MIB);
    assert!(of(&samples, "trimmed", "resident_end_bytes") < MIB);
    // Half of the idle time is before the call.
    let [idle, trimmed] = ["idle", "trimmed"].map(|name| of(&samples, name, "resident_mean_bytes") as f64);
    assert!((0.45..0.55).contains(&(trimmed / idle)), "{trimmed} of {idle}");
    let [idle, trimmed] = ["idle", "trimmed"].map(|name| of(&samples, name, "resident_peak_bytes"));
    assert!(idle.abs_diff(trimmed) < MIB / 4, "the peak is before the call: {trimmed}, {idle}");
}

#[test]
fn what_mallopt_was_told_holds_in_the_replay() {
    let set = |parameter, value| [Tuning::Mallopt { parameter, value }];
    // By default blocks of 1 MiB have mappings of their own, and a heap's free end is given back.
    let cases = [
        ("mapped", vec![], MIB, true),
        ("not-mapped", set(-3, 32 << 20).to_vec(), MIB, true),
        ("none-mapped", set(-4, 0).to_vec(), MIB, true),
        ("end", vec![], 1000, false),
        ("end-kept", set(-1, 1 << 30).to_vec(), 1000, false),
    ];
    let place = tempfile::tempdir().expect("a directory");
    for (name, said, size, has_top) in &cases {
        write(&place.path().join(format!("{name}.hlt")), None, history(said, *size, *has_top, false));
    }
    let names = cases.each_ref().map(|case| case.0);
    let samples = replay(place.path(), &names, &["--pass", "memory", "-a", "ptmalloc2"]);
    for (name, said, ..) in cases {
        let end = of(&samples, name, "resident_end_bytes");
        assert_eq!(end > 19 * MIB, !said.is_empty(), "{name}: {end}");
        assert!(said.is_empty() || end < 22 * MIB, "{name}: {end}");
    }
}

#[test]
fn a_prediction_knows_of_the_trim() {
    const NOT_HEAP: u64 = 50 * MIB;
    let output = heaplab().args(["probe", "--", "ptmalloc2"]).output().expect("an answer");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let library = answer["loaded"]["library_path"].as_str().expect("a path");
    let hash = heaplab_allocators::hash_file(Path::new(library)).expect("a hash");
    let sample = |seconds, resident_bytes| {
        Record::Resident(ResidentSample { time_ns: seconds * SECOND, resident_bytes })
    };
    let mut records = history(&[], 1000, true, true);
    let trim = records.len() - 2;
    records.insert(trim, sample(2, NOT_HEAP + 20 * MIB));
    records.insert(trim + 2, sample(62, NOT_HEAP));
    records.push(sample(122, NOT_HEAP));
    let place = tempfile::tempdir().expect("a directory");
    let allocator = RecordedAllocator { name: "ptmalloc2".into(), version: "2.36".into(), hash };
    write(&place.path().join("process.hlt"), Some(allocator), records);
    let arguments = ["--pass", "memory", "-a", "ptmalloc2", "-a", "jemalloc"];
    let samples = replay(place.path(), &["process"], &arguments);
    let mut summary = csv::Reader::from_path(place.path().join("out/summary.csv")).expect("a summary");
    let predicted: Vec<rows::Row> = summary
        .deserialize()
        .map(|row| row.expect("a whole row"))
        .filter(|row: &rows::Row| rows::column(row, "metric") == "predicted_resident_end_bytes")
        .collect();
    assert_eq!(predicted.len(), 2);
    for row in predicted {
        let bytes: f64 = rows::column(&row, "median").parse().expect("bytes");
        let variant = rows::column(&row, "variant");
        let mut samples = samples.iter().filter(|sample| rows::column(sample, "variant") == variant);
        let heap = number(samples.next().expect("a sample"), "resident_end_bytes");
        // If the replay under the recorded allocator had not given its heap back, that would be missing here.
        assert!((bytes - (NOT_HEAP + heap) as f64).abs() < MIB as f64, "{bytes} with {heap}: {row:?}");
    }
}

/// Whatever a trace tells them, and whether they know such calls or not.
#[test]
fn no_allocator_is_harmed() {
    let values = [i32::MIN, -1, 0, 1, 4096, i32::MAX];
    let said = |parameter| values.map(|value| Tuning::Mallopt { parameter, value });
    let mut said: Vec<Tuning> = (-10..12).flat_map(said).collect();
    said.extend([0, 1, 4095, 1 << 31, u64::MAX].map(|pad| Tuning::MallocTrim { pad }));
    let place = tempfile::tempdir().expect("a directory");
    let mut records = history(&said, 1000, true, true);
    records.extend(said.iter().map(|said| mark(121 * SECOND, *said)));
    write(&place.path().join("hostile.hlt"), None, records);
    let mut arguments = vec!["--pass", "throughput,latency,memory,check"];
    for variant in ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc", "floor"] {
        arguments.extend(["-a", variant]);
    }
    let samples = replay(place.path(), &["hostile"], &arguments);
    assert_eq!(samples.len(), 4 * 5);
    for sample in &samples {
        assert_eq!(rows::column(sample, "status"), "ok", "{sample:?}");
        assert_eq!(number(sample, "events"), 2 * (20 * MIB / 1000) + 2, "a mark is not an event");
    }
}

#[test]
fn what_a_program_tells_its_allocator_is_recorded_in_its_place_and_replayed() {
    let run = Recorded::hazard("tuning.c", &[], &[]);
    run.assert_whole();
    assert_eq!(run.total("malloc"), 20_000 + 5, "no mark is an event");
    let path = run.directory.path().join("trace.hlt");
    let records: Vec<Record> =
        TraceReader::open(&path).expect("a trace").map(|record| record.expect("a record")).collect();
    // The calls, and the blocks between which they come.
    let mut order = Vec::new();
    for record in &records {
        match record {
            Record::Mark(mark) => order.push(mark.name.clone()),
            Record::Event(event) => {
                let size = event.action.allocated().map(|(_, size)| size);
                order.extend(size.filter(|size| (700..800).contains(size)).map(|size| size.to_string()));
                if size == Some(1000) && order.last().is_none_or(|last| last != "1000") {
                    order.push("1000".to_owned());
                }
            }
            _ => {}
        }
    }
    let expected = [
        "mallopt(-3, 33554432)",
        "mallopt(-8, 1)",
        "1000",
        "701",
        "mallopt(-2, 65536)",
        "702",
        "703",
        "malloc_trim(4096)",
        "704",
    ];
    assert_eq!(order, expected);
    let unmarked = records.iter().filter(|record| !matches!(record, Record::Mark(_))).cloned();
    write(&run.directory.path().join("unmarked.hlt"), None, unmarked);
    let samples =
        replay(run.directory.path(), &["trace", "unmarked"], &["--pass", "memory", "-a", "ptmalloc2"]);
    let [marked, unmarked] = ["trace", "unmarked"].map(|name| of(&samples, name, "resident_end_bytes"));
    assert!(marked < MIB && unmarked > 18 * MIB, "{marked}, {unmarked}");
}
