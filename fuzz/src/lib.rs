//! What the fuzz targets do with an input: whatever it is, they give an answer within bounds; never a panic,
//! a hang or a trace that does not verify.
//!
//! A target is a file of `fuzz_targets/` with one line. Where random bytes would fail at a checksum or in a
//! head, the input is not the file but its content: the target wraps it in matching heads and checksums.
//! libfuzzer bounds the memory and time of an input (`scripts/fuzz`).

mod model;
mod program;
mod raw;
mod trace;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

#[cfg(feature = "run")]
use heaplab::results;
use heaplab_allocators::{Sweep, Variant};
use heaplab_trace::verify;
use heaplab_workloads::import::{ImportError, Kind, Options, import};
use heaplab_workloads::simulate;
use heaplab_workloads::stream::RecordStream;

thread_local! {
    /// This process's directory in memory, made at the first input.
    static PLACE: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// An empty directory.
fn with_place<R>(action: impl FnOnce(&Path) -> R) -> R {
    PLACE.with_borrow_mut(|place| {
        let place = place.get_or_insert_with(|| {
            let base = if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
            base.join(format!("heaplab-fuzz-{}", std::process::id()))
        });
        let _ = fs::remove_dir_all(&*place);
        fs::create_dir_all(&*place).expect("a directory in memory");
        let result = action(place);
        let _ = fs::remove_dir_all(&*place);
        result
    })
}

/// Appends the checksum of what `file` holds from `begin` on.
fn seal(file: &mut Vec<u8>, begin: usize) {
    let checksum = crc32fast::hash(&file[begin..]);
    file.extend(checksum.to_le_bytes());
}

/// A log of one kind: an import that succeeds has made a trace that verifies and has an event.
pub fn import_log(kind: Kind, content: &[u8]) {
    with_place(|place| {
        let (log, trace) = (place.join("log"), place.join("out.hlt"));
        fs::write(&log, content).expect("a file in memory");
        let options = Options { kind: Some(kind), ..Options::default() };
        match import(&log, &options, &trace, &mut |_| {}) {
            Ok(report) => {
                let verified = verify(&trace).expect("what an import makes verifies");
                assert_eq!(verified.summary, report.summary);
                assert!(report.summary.events > 0, "an empty trace is an error");
            }
            Err(error) => {
                assert!(!trace.exists(), "an import that fails leaves nothing");
                assert!(!matches!(error, ImportError::Trace(_)), "the fault is the log's: {error}");
            }
        }
    });
}

/// A log whose kind is guessed from its content, in whichever container it claims to have.
pub fn import_guessed(content: &[u8]) {
    with_place(|place| {
        let (log, trace) = (place.join("log"), place.join("out.hlt"));
        fs::write(&log, content).expect("a file in memory");
        match import(&log, &Options::default(), &trace, &mut |_| {}) {
            Ok(_) => _ = verify(&trace).expect("what an import makes verifies"),
            Err(error) => assert!(!matches!(error, ImportError::Trace(_)), "the fault is the log's: {error}"),
        }
    });
}

#[cfg(feature = "run")]
/// A run's directory in which one file is the input; the others are those of a real small run.
pub fn read_run(file: &str, content: &[u8]) {
    with_place(|place| {
        for (name, text) in RUN {
            fs::write(place.join(name), text).expect("a file in memory");
        }
        static CHECKED: std::sync::Once = std::sync::Once::new();
        CHECKED.call_once(|| {
            results::load(place).expect(
                "fuzz/run is a run as heaplab writes it today: make it again (scripts/fuzz says how)",
            );
        });
        fs::write(place.join(file), content).expect("a file in memory");
        let _ = results::read_run_file(place);
        let Ok(run) = results::load(place) else { return };
        // PERF: what is read of the other files is always the same.
        let reads = |name: &str| file == name || matches!(file, "run.toml" | "samples.csv");
        if reads("timeline.csv") {
            let _ = run.each_timeline_point(|_, _| {});
            let _ = run.each_program_point(|_, _| {});
        }
        let _ = reads("latency.csv").then(|| run.each_latency_bucket(|_, _| {}));
        let _ = reads("heapmap.csv").then(|| run.each_heap_cell(|_, _, _| {}));
        let _ = reads("sizes.csv").then(|| run.each_size(|_, _| {}));
        let _ = reads("requests.csv").then(|| run.each_request(|_, _| {}));
        let _ = reads("stats.csv").then(|| run.each_account(|_, _| {}));
        let _ = reads("recorded.csv").then(|| run.recorded());
    });
}

/// The files of a real run.
#[cfg(feature = "run")]
const RUN: [(&str, &str); 9] = [
    ("run.toml", include_str!("../run/run.toml")),
    ("samples.csv", include_str!("../run/samples.csv")),
    ("timeline.csv", include_str!("../run/timeline.csv")),
    ("latency.csv", include_str!("../run/latency.csv")),
    ("heapmap.csv", include_str!("../run/heapmap.csv")),
    ("sizes.csv", include_str!("../run/sizes.csv")),
    ("requests.csv", include_str!("../run/requests.csv")),
    ("stats.csv", include_str!("../run/stats.csv")),
    ("recorded.csv", include_str!("../run/recorded.csv")),
];

pub use model::{play_model, read_model};
pub use program::verify_program;
pub use raw::{import_changed, import_image, import_raw, import_samples};
pub use trace::{read_records, read_trace};

/// A definition of a load model: read, and its first records made.
pub fn simulate_definition(content: &[u8]) {
    const RECORDS: usize = 2_000;
    let Ok(text) = std::str::from_utf8(content) else { return };
    let Ok(mut simulation) = simulate::Simulation::new(text, "fuzz", &simulate::Options::default()) else {
        return;
    };
    for _ in 0..RECORDS {
        match simulation.next() {
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// A sweep's definition.
pub fn parse_sweep(content: &[u8]) {
    if let Ok(text) = std::str::from_utf8(content) {
        let _ = Sweep::parse(text, "fuzz");
    }
}

/// A variant as it is named on the command line: its own text parses to the same variant.
pub fn parse_variant(content: &[u8]) {
    let Ok(text) = std::str::from_utf8(content) else { return };
    if let Ok(variant) = Variant::parse(text) {
        let again = Variant::parse(&variant.spec()).expect("a variant's own text is one");
        assert_eq!(again.settings_text(), variant.settings_text());
    }
}
