//! Prediction of a whole process's memory, from a trace with known memory to the summary.

use std::collections::HashMap;
use std::path::Path;

use crate::support::heaplab;
use crate::support::rows;
use heaplab_trace::{
    Action, Event, Header, HugePages, Mark, Note, Record, RecordedAllocator, ResidentSample, TraceWriter,
};

const MIB: u64 = 1 << 20;
/// What the recorded process has besides its heap.
const NOT_HEAP: u64 = 30 * MIB;

/// The library that serves a worker without a preload, by its hash.
fn own_c_library() -> String {
    let output = heaplab().args(["probe", "--", "ptmalloc2"]).output().expect("an answer");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let library = answer["loaded"]["library_path"].as_str().expect("a path");
    heaplab_allocators::hash_file(Path::new(library)).expect("a hash")
}

/// The header of a recording under the library of this hash.
fn header(hash: &str) -> Header {
    Header {
        source: "recorder".into(),
        has_times: true,
        has_threads: true,
        has_alignment: true,
        cpus: Some(2),
        allocator: Some(RecordedAllocator {
            name: "ptmalloc2".into(),
            version: "2.36".into(),
            hash: hash.into(),
        }),
        ..Header::default()
    }
}

fn begin_trace(path: &Path, header: Header) -> TraceWriter<std::fs::File> {
    TraceWriter::new(std::fs::File::create(path).expect("a file"), &header).expect("a trace")
}

/// A trace that holds up to 20 MiB in blocks of 20,000 bytes, of a process that has 30 MiB more.
fn write_trace(path: &Path, hash: &str) {
    let mut writer = begin_trace(path, header(hash));
    let blocks = 20 * MIB / 20_000;
    let mut push = |record: Record| writer.push(&record).expect("a record");
    let event = |time_ns, action| Record::Event(Event { time_ns, thread: 0, action });
    for object in 0..blocks {
        push(event(object * 1_000_000, Action::Malloc { object, size: 20_000 }));
        if object % 10 == 9 {
            let resident_bytes = NOT_HEAP + (object + 1) * 20_000;
            push(Record::Resident(ResidentSample { time_ns: object * 1_000_000, resident_bytes }));
        }
    }
    for object in 0..blocks {
        push(event((blocks + object) * 1_000_000, Action::Free { object }));
    }
    push(Record::Resident(ResidentSample { time_ns: 2 * blocks * 1_000_000, resident_bytes: NOT_HEAP }));
    writer.finish().expect("a whole trace");
}

/// Medians of a run's summary by variant and metric.
fn summary(run: &Path) -> HashMap<(String, String), f64> {
    let mut reader = csv::Reader::from_path(run.join("summary.csv")).expect("a summary");
    let rows = reader.deserialize::<HashMap<String, String>>().map(|row| row.expect("a whole row"));
    rows.filter_map(|row| {
        Some(((row["variant"].clone(), row["metric"].clone()), row["median"].parse::<f64>().ok()?))
    })
    .collect()
}

#[test]
fn a_prediction_at_another_cpu_count_subtracts_a_replay_as_it_was_recorded() {
    let place = tempfile::tempdir().expect("a directory");
    write_trace(&place.path().join("process.hlt"), &own_c_library());
    let run = |out: &str, more: &[&str]| {
        let mut command = heaplab();
        command.current_dir(place.path()).args(["run", "process.hlt", "-o", out, "--pass", "memory"]);
        let assert = command.args(["--reps", "1", "-a", "ptmalloc2", "-a", "jemalloc"]).args(more).assert();
        String::from_utf8_lossy(&assert.success().get_output().stderr).into_owned()
    };
    let said = run("eight", &["--cpus", "8"]);
    assert!(said.contains("ptmalloc2:process.cpus=2 is added: process was recorded on 2 CPUs"), "{said}");
    let samples = rows::read_samples(&place.path().join("eight"));
    let shown = |variant: &str| {
        let sample = samples.iter().find(|row| row["variant"] == variant).expect("a sample");
        sample["cpus"].clone()
    };
    assert_eq!((shown("ptmalloc2").as_str(), shown("ptmalloc2:process.cpus=2").as_str()), ("8", "2"));
    let found = summary(&place.path().join("eight"));
    let peak = |variant: &str, metric: &str| found[&(variant.to_owned(), metric.to_owned())];
    let own =
        peak("ptmalloc2", "resident_peak_bytes") - peak("ptmalloc2:process.cpus=2", "resident_peak_bytes");
    let predicted = peak("ptmalloc2", "predicted_resident_peak_bytes")
        - peak("ptmalloc2:process.cpus=2", "predicted_resident_peak_bytes");
    assert!((predicted - own).abs() < (MIB / 4) as f64, "{predicted} and {own}");
    // A resumed run has the same variants; a run under the recorded conditions needs no others.
    let mut command = heaplab();
    command.current_dir(place.path()).args(["run", "--resume", "-o", "eight"]).assert().success();
    assert!(!run("two", &["--cpus", "2"]).contains("is added"));
    // A peak below what the program had requested and written to is not shown.
    let recorded = place.path().join("two/recorded.csv");
    let mut reader = csv::Reader::from_path(&recorded).expect("what was recorded");
    let headers = reader.headers().expect("a header").clone();
    let at = headers.iter().position(|name| name == "resident_bytes").expect("its bytes");
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    let mut writer = csv::Writer::from_path(&recorded).expect("writable");
    writer.write_record(&headers).expect("written");
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| if column == at { "4096" } else { cell });
        writer.write_record(cells).expect("written");
    }
    writer.flush().expect("written");
    let mut command = heaplab();
    let assert = command.current_dir(place.path()).args(["report", "two"]).assert().success();
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("written to, so it is not shown"), "{said}");
    assert!(
        !summary(&place.path().join("two"))
            .contains_key(&("ptmalloc2".into(), "predicted_resident_peak_bytes".into()))
    );
    // Nothing is predicted from a run without the reference, whoever wrote it.
    let path = place.path().join("eight");
    for (name, from) in [("run.toml", "process.cpus=2"), ("samples.csv", "process.cpus=2")] {
        let text = std::fs::read_to_string(path.join(name)).expect("readable");
        std::fs::write(path.join(name), text.replace(from, "process.thp=never")).expect("written");
    }
    let mut command = heaplab();
    let assert = command.current_dir(place.path()).args(["report", "eight"]).assert().success();
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("add it with -a ptmalloc2:process.cpus=2"), "{said}");
}

#[test]
fn what_was_recorded_comes_back_and_other_variants_differ_by_their_heaps() {
    let place = tempfile::tempdir().expect("a directory");
    write_trace(&place.path().join("process.hlt"), &own_c_library());
    let mut command = heaplab();
    command.current_dir(place.path()).args([
        "run",
        "process.hlt",
        "-o",
        "out",
        "--pass",
        "memory",
        "--reps",
        "1",
    ]);
    command.args(["-a", "ptmalloc2", "-a", "jemalloc"]).assert().success();
    let found = summary(&place.path().join("out"));
    let of = |variant: &str, metric: &str| found[&(variant.to_owned(), metric.to_owned())];
    let recorded_peak = (NOT_HEAP + 20 * MIB / 20_000 / 10 * 10 * 20_000) as f64;
    // Equal except for what a reading and its neighbours differ by: the trace's figures include neither pages
    // nor metadata.
    let same = |metric: &str, recorded: f64| {
        let predicted = of("ptmalloc2", metric);
        assert!(
            (predicted - recorded).abs() < (MIB / 4) as f64,
            "{metric}: {predicted} instead of {recorded}"
        );
    };
    same("predicted_resident_peak_bytes", recorded_peak);
    same("predicted_resident_end_bytes", NOT_HEAP as f64);
    let difference = of("jemalloc", "resident_peak_bytes") - of("ptmalloc2", "resident_peak_bytes");
    let predicted = of("jemalloc", "predicted_resident_peak_bytes") - recorded_peak;
    assert!((predicted - difference).abs() < MIB as f64, "{predicted} instead of {difference}");
    assert!(of("jemalloc", "predicted_resident_mean_bytes") > NOT_HEAP as f64);

    // A plan then uses the whole process, and adds nothing to it.
    let mut command = heaplab();
    command.current_dir(place.path()).args(["plan", "out", "--host-memory", "1GiB", "--processes", "4"]);
    let output = command.args(["--non-heap", "100MiB", "--format", "json"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told = "process: --non-heap is not added, because the memory is the whole process's, predicted from its recording";
    assert_eq!(said.matches(told).count(), 1, "{said}");
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for row in plan["hosts"].as_array().expect("rows") {
        let number = |name: &str| row[name].as_f64().expect("a number");
        assert_eq!((row["basis"].as_str(), number("non_heap_bytes")), (Some("predicted"), 0.0));
        assert_eq!(number("process_bytes"), number("resident_p99_bytes") + number("page_table_bytes"));
        // The peak is recorded at one moment, and holds until the next: for half of the trace's time.
        let peak = of(row["variant"].as_str().expect("a name"), "predicted_resident_peak_bytes");
        assert_eq!(number("resident_p99_bytes"), peak, "{row}");
    }
    let assumed = plan["assumptions"].to_string();
    assert!(assumed.contains("For a predicted process") && !assumed.contains("was replayed"), "{assumed}");
}

/// Replaying a recording again says nothing about other starts of the program.
#[test]
fn memory_under_the_recorded_build_is_one_recording_without_an_interval() {
    let place = tempfile::tempdir().expect("a directory");
    write_trace(&place.path().join("process.hlt"), &own_c_library());
    let ask = |arguments: &str, status: i32| {
        let output =
            heaplab().current_dir(place.path()).args(arguments.split(' ')).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{arguments}: {said}");
        (String::from_utf8(output.stdout).expect("UTF-8"), said)
    };
    ask("run process.hlt -o out --pass memory --reps 6 -a ptmalloc2 -a jemalloc --baseline jemalloc", 0);
    // Whether the variants' rows have an interval.
    let seen = |rows: &serde_json::Value, name: &str| {
        let rows = rows.as_array().expect("rows");
        ["ptmalloc2", "jemalloc"].map(|variant| {
            let row = rows.iter().find(|row| row["variant"] == variant).expect("a row");
            row[name].is_number()
        })
    };
    let json = |arguments: &str| -> serde_json::Value {
        serde_json::from_str(&ask(&format!("{arguments} --format json"), 0).0).expect("JSON")
    };

    let plan = json("plan out --host-memory 1GiB --processes 4");
    assert_eq!(seen(&plan["hosts"], "process_high_bytes"), [false, true]);
    assert_eq!(seen(&plan["hosts"], "planned_bytes"), [true, true]);
    let metric = "--metric predicted_resident_peak_bytes";
    let compared = json(&format!("compare out {metric}"));
    assert_eq!(seen(&compared, "high"), [false, true]);
    assert_eq!(seen(&compared, "ratio_high"), [true, false], "jemalloc is the baseline");

    let two = json(&format!("compare out out {metric}"));
    let verdicts = ["old_high", "new_high", "ratio_high", "p"].map(|name| seen(&two, name));
    assert_eq!(verdicts, [[false, true]; 4], "{two}");
    let (table, said) = ask(&format!("compare out out {metric} --fail-over 5%"), 3);
    assert!(table.contains("one recording"), "{table}");
    assert!(said.contains("one recording, however often it was replayed"), "{said}");
    let over = json(&format!("compare out out {metric} --baseline jemalloc"));
    assert!(over[0]["ratio_high"].is_number(), "{over}");

    // The same at several loads.
    let loads = "plan --load 100=out --load 200=more --at 150";
    ask("run process.hlt -o more --pass memory --reps 6 -a ptmalloc2 -a jemalloc", 0);
    let plan = json(loads);
    assert_eq!(seen(&plan["loads"], "process_bytes"), [true, true]);
    assert_eq!(seen(&plan["loads"], "process_high_bytes"), [false, true]);
    let (text, _) = ask(loads, 0);
    assert!(text.contains("(no interval: it rests on one recording of each load)"), "{text}");
}

/// A recording from another machine, with a different C library: a note, and everything that needs no
/// recording.
#[test]
fn another_build_of_the_same_allocator_is_no_error() {
    let place = tempfile::tempdir().expect("a directory");
    write_trace(&place.path().join("process.hlt"), &"0123456789abcdef".repeat(4));
    let arguments = "run process.hlt -o out --pass memory --reps 1 -a ptmalloc2 -a jemalloc";
    let mut command = heaplab();
    let assert = command.current_dir(place.path()).args(arguments.split(' ')).assert().success();
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    let note = said.lines().find(|line| line.contains("not predicted")).expect("a note");
    let own = own_c_library();
    for part in ["ptmalloc2, SHA-256 0123456789ab;", &own[..12], "record the program on this machine"] {
        assert!(note.contains(part), "{part}: {note}");
    }
    let found = summary(&place.path().join("out"));
    assert!(found.keys().any(|key| key.1 == "resident_peak_bytes"));
    assert!(!found.keys().any(|key| key.1.starts_with("predicted")));
}

#[test]
fn a_process_that_switched_huge_pages_off_has_none_in_the_replay() {
    let place = tempfile::tempdir().expect("a directory");
    let write = |name: &str, mark: Option<HugePages>| {
        let header = Header { has_times: true, has_threads: true, ..Header::default() };
        let file = std::fs::File::create(place.path().join(name)).expect("a file");
        let mut writer = TraceWriter::new(file, &header).expect("a trace");
        let mut push = |record: Record| writer.push(&record).expect("a record");
        let event =
            |object, size| Event { time_ns: object, thread: 0, action: Action::Malloc { object, size } };
        push(Record::Event(event(0, 64)));
        if let Some(said) = mark {
            push(Record::Mark(Mark { time_ns: 0, name: said.mark().into() }));
        }
        for object in 1..2000 {
            push(Record::Event(event(object, 50_000)));
        }
        writer.finish().expect("a whole trace");
    };
    write("as-it-is.hlt", None);
    write("off.hlt", Some(HugePages::Off));
    let mut command = heaplab();
    command.current_dir(place.path()).args(["run", "as-it-is.hlt", "off.hlt", "-o", "out", "--reps", "1"]);
    command.args(["--pass", "memory", "-a", "mimalloc"]).assert().success();
    let samples = rows::read_samples(&place.path().join("out"));
    let huge_bytes = |workload: &str| {
        let sample = samples.iter().find(|sample| rows::column(sample, "workload") == workload);
        rows::column(sample.expect("a sample"), "anon_huge_bytes").parse::<u64>().expect("bytes")
    };
    let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").expect("readable");
    assert_eq!(huge_bytes("as-it-is") > 0, !enabled.contains("[never]"), "mimalloc asks for them: {enabled}");
    // A huge page that it had before it said so stays.
    assert!(huge_bytes("off") <= 4 * MIB, "{}", huge_bytes("off"));
}

#[test]
fn without_the_build_recorded_under_it_says_what_to_add() {
    let place = tempfile::tempdir().expect("a directory");
    write_trace(&place.path().join("process.hlt"), &own_c_library());
    let mut command = heaplab();
    command.current_dir(place.path()).args([
        "run",
        "process.hlt",
        "-o",
        "out",
        "--pass",
        "memory",
        "--reps",
        "1",
    ]);
    let assert = command.args(["-a", "jemalloc"]).assert().success();
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("not predicted") && said.contains("ptmalloc2") && said.contains("-a"), "{said}");
    assert!(!summary(&place.path().join("out")).keys().any(|key| key.1.starts_with("predicted")));
}

/// A trace of seven minutes, of a process that has 60 MiB, 40 of them from malloc, and 160 in one sample of 200.
fn write_spiky_trace(path: &Path, hash: &str) {
    const SAMPLES: u64 = 41_700;
    let interval = Note { name: Header::SAMPLING_INTERVAL_NOTE.into(), value: "10000000".into() };
    let mut writer = begin_trace(path, Header { notes: vec![interval], ..header(hash) });
    let mut before = 0;
    for sample in 0..=SAMPLES {
        let time_ns = sample * 10_000_000;
        let event = |action| Record::Event(Event { time_ns, thread: 0, action });
        let mut push = |record: Record| writer.push(&record).expect("a record");
        if sample == 0 {
            (0..40).for_each(|object| push(event(Action::Malloc { object, size: MIB })));
        }
        if sample == SAMPLES {
            (0..40).for_each(|object| push(event(Action::Free { object })));
        }
        let mib = if sample % 200 == 100 { 160 } else { 60 };
        // As in a recording, a sample that equals the one before is stored once a second.
        if mib != before || sample.is_multiple_of(100) {
            push(Record::Resident(ResidentSample { time_ns, resident_bytes: mib * MIB }));
        }
        before = mib;
    }
    writer.finish().expect("a whole trace");
}

#[test]
fn a_long_recording_is_predicted_with_all_its_samples() {
    let place = tempfile::tempdir().expect("a directory");
    write_spiky_trace(&place.path().join("process.hlt"), &own_c_library());
    let heaplab = |arguments: &[&str]| {
        let mut command = heaplab();
        let assert = command.current_dir(place.path()).args(arguments).assert().success();
        String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
    };
    heaplab(&["run", "process.hlt", "-o", "out", "--pass", "memory", "--reps", "1", "-a", "ptmalloc2"]);
    let found = summary(&place.path().join("out"));
    let figure = |name: &str| found[&("ptmalloc2".to_owned(), name.to_owned())] / MIB as f64;
    assert_eq!(figure("predicted_resident_peak_bytes"), 160.0);
    let mean = figure("predicted_resident_mean_bytes");
    assert!((60.4..60.6).contains(&mean), "{mean}");
    let plan = heaplab(&["plan", "out", "--host-memory", "64GiB", "--format", "csv"]);
    let mut rows = csv::Reader::from_reader(plan.as_bytes());
    let row = rows.deserialize::<HashMap<String, String>>().next().expect("a row").expect("a whole row");
    assert_eq!((row["basis"].as_str(), row["resident_p99_bytes"].as_str()), ("predicted", "62914560"));
}
