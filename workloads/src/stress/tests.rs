//! The laws of the patterns, and of the traces that they make.

use std::collections::HashMap;

use heaplab_trace::{Action, Event, Summary, TraceWriter};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

fn stress(name: &str, seed: u64, set: &[&str]) -> Stress {
    let overrides = set.iter().map(ToString::to_string).collect();
    Stress::new(name, &Options { seed, overrides, ..Options::default() }).unwrap()
}

/// The trace as a file. The writer refuses what breaks a law: ids that are not dense, an object that is freed
/// twice, a thread that acts after its end.
fn file(stress: &mut Stress) -> (Vec<u8>, Summary) {
    let mut bytes = Vec::new();
    let mut writer = TraceWriter::new(&mut bytes, stress.header()).unwrap();
    while let Some(record) = stress.next().unwrap() {
        writer.push(&record).unwrap();
    }
    let summary = writer.finish().unwrap();
    (bytes, summary)
}

fn summary(name: &str, set: &[&str]) -> Summary {
    file(&mut stress(name, 1, set)).1
}

/// Settings that shorten a pattern without changing what it does.
fn short(name: &str) -> &'static [&'static str] {
    match name {
        "larson" => &["slots=50", "operations=200", "generations=3"],
        "xmalloc" => &["batches=20", "batch=100", "depth=3"],
        "cache-scratch" | "cache-thrash" => &["iterations=200"],
        "alloc-test" => &["items=2000", "steps=1000"],
        "rptest" => &["loops=10"],
        "mstress" => &["scale=1", "iterations=3"],
        "size-ramp" => &["batches=8", "blocks=150"],
        "glibc-simple" => &["allocations=3000"],
        "glibc-thread" => &["operations=2000", "slots=100"],
        "malloc-large" => &["replacements=30"],
        "thread-churn" => &["rounds=5"],
        "blowup" => &["live=1MiB", "pairs=300", "threads=3"],
        "messages" => &["messages=40", "nodes=100"],
        "balloon" => &["high=2MiB", "low=100KiB", "cycles=3"],
        "fragmentation" => &["live=256KiB"],
        "profile" => &["heap=1MiB", "events=5000"],
        name => panic!("{name} has no short form"),
    }
}

#[test]
fn every_pattern_is_lawful_and_ends_its_threads() {
    for pattern in PATTERNS {
        let summary = summary(pattern.name, short(pattern.name));
        assert_eq!(summary.thread_starts, summary.thread_ends, "{}", pattern.name);
        assert_eq!(summary.threads, summary.thread_starts + 1, "{}", pattern.name);
        let leaves = ["larson", "fragmentation", "profile", "balloon"].contains(&pattern.name);
        assert_eq!(summary.live_at_end > 0, leaves, "{}: {} are live", pattern.name, summary.live_at_end);
    }
}

#[test]
fn equal_arguments_make_equal_bytes_and_other_settings_do_not() {
    for pattern in PATTERNS {
        let bytes = |set: &[&str]| file(&mut stress(pattern.name, 7, set)).0;
        let set = short(pattern.name);
        assert_eq!(bytes(set), bytes(set), "{}", pattern.name);
        assert_ne!(bytes(set), bytes(&[&set[1..], &set[..0]].concat()), "{}", pattern.name);
    }
}

/// The stated number of events and of live bytes, computed from the parameters alone.
#[test]
fn work_and_live_sets_are_the_stated_ones() {
    let larson = summary("larson", &["slots=50", "operations=200", "generations=3", "min=64B", "max=64B"]);
    assert_eq!(larson.events, 200 + 2 * 4 * 200 + 4 * 3 * (2 * 200 + 2));
    assert_eq!((larson.requested_peak_bytes, larson.live_at_end), (200 * 64, 200));

    let xmalloc = summary("xmalloc", &["batches=20", "batch=100", "depth=3"]);
    assert_eq!(xmalloc.events, 2 * 20 * 101 + 2 * 4);
    assert_eq!(xmalloc.cross_thread, 20 * 101);
    assert!(xmalloc.requested_peak_bytes <= (3 + 2 * 2 + 2) * (100 * 64 + 816));

    let scratch = summary("cache-scratch", &["iterations=200"]);
    assert_eq!((scratch.events, scratch.cross_thread), (4 * 402 + 8, 4));
    assert_eq!(summary("cache-thrash", &["iterations=200"]).events, 4 * 400 + 8);

    let simple = summary("glibc-simple", &["allocations=3200", "size=10B"]);
    assert_eq!((simple.events, simple.requested_peak_bytes), (4 * 2 * 3200, 16_000));

    let thread = summary("glibc-thread", &["operations=2000", "slots=100"]);
    assert_eq!(thread.events, 4 * (2 * 2000 + 2 * 100 + 2));

    let churn = summary("thread-churn", &["rounds=5"]);
    assert_eq!(churn.events, 5 * 10 * (2 + 2 * 32));
    assert!(churn.requested_peak_bytes <= 1001 * 128);

    let blowup = summary("blowup", &["live=1MiB", "pairs=300", "threads=3"]);
    assert!((1 << 20..(1 << 20) + 16385).contains(&blowup.requested_peak_bytes));

    let messages = summary("messages", &["messages=40", "nodes=100", "depth=4"]);
    assert_eq!(messages.events, 2 * 40 * 100 + 2 * 4);
    assert!(messages.requested_peak_bytes <= 6 * 100 * 256);

    for (name, high) in [("balloon", 2 << 20), ("fragmentation", 256 << 10)] {
        let summary = summary(name, short(name));
        assert!((high - 8192..=high).contains(&summary.requested_peak_bytes), "{name}: {summary:?}");
    }
    let large = summary("malloc-large", &["replacements=30"]);
    assert_eq!(large.events, 20 + 60 + 20);
}

#[test]
fn rounds_of_fragmentation_free_every_other_object() {
    let mut stress = stress("fragmentation", 1, &["live=64KiB", "rounds=1", "size=1KiB"]);
    let mut freed = Vec::new();
    while let Some(record) = stress.next().unwrap() {
        if let Record::Event(Event { action: Action::Free { object }, .. }) = record {
            freed.push(object);
        }
    }
    assert!(freed.into_iter().eq((0..32).map(|index| 2 * index + 1)));
}

#[test]
fn a_profile_keeps_its_heap_and_its_lifetimes() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("two.csv");
    // A lifetime of 10 for the small objects, of 2 for the large ones.
    std::fs::write(&path, "100,50,500\n200,125,250\n").unwrap();
    let file = format!("file={}", path.display());
    let mut stress = stress("profile", 1, &[&file, "heap=1000KB", "events=400000", "threads=1"]);
    let (mut sizes, mut births) = (HashMap::new(), [0u64; 2]);
    let (mut live, mut sums, mut steps) = ([0i64; 2], [0i64; 2], 0);
    while let Some(record) = stress.next().unwrap() {
        let Record::Event(event) = record else { continue };
        if let Some((object, size)) = event.action.allocated() {
            sizes.insert(object, size);
            live[(size / 200) as usize] += 1;
            births[(size / 200) as usize] += u64::from(steps > 0 || event.time_ns > 7500);
        } else if let Some(object) = event.action.freed() {
            live[(sizes[&object] / 200) as usize] -= 1;
        }
        steps += i64::from(event.time_ns > 7500);
        if steps > 0 {
            (sums[0], sums[1]) = (sums[0] + live[0], sums[1] + live[1]);
        }
    }
    // 1000 KB are 5000 small and 2500 large objects.
    let near =
        |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.05, "{found} {expected}");
    near(sums[0] as f64 / steps as f64, 5000.0);
    near(sums[1] as f64 / steps as f64, 2500.0);
    near(births[1] as f64 / births[0] as f64, 2.5);
    let notes = &stress.header().notes;
    assert!(notes.iter().any(|note| note.name == "file_sha256"));
    assert!(notes.iter().all(|note| !note.value.contains("two.csv")), "a trace says nothing about paths");
}

/// A seed means the same trace forever: whoever changes this changes every published figure.
#[test]
fn the_first_million_events_are_the_known_ones() {
    let mut found = String::new();
    for pattern in PATTERNS {
        let mut stress = Stress::new(pattern.name, &Options::default()).unwrap();
        let mut hash = Sha256::new();
        let (mut events, mut bytes) = (0, Vec::new());
        while events < 1_000_000 {
            let Some(record) = stress.next().unwrap() else { break };
            let Record::Event(Event { time_ns, thread, action }) = record else { continue };
            events += u64::from(action.is_event());
            bytes.clear();
            let (kind, first, second, third) = match action {
                Action::ThreadStart => (0u64, 0, 0, 0),
                Action::ThreadEnd => (1, 0, 0, 0),
                Action::Malloc { object, size } => (2, object, size, 0),
                Action::Calloc { object, size } => (3, object, size, 0),
                Action::AlignedAlloc { object, size, alignment } => (4, object, size, alignment),
                Action::Free { object } => (5, object, 0, 0),
                Action::Work { object, bytes, repeats } => (6, object, bytes, u64::from(repeats)),
                action => panic!("{} makes {action:?}", pattern.name),
            };
            for number in [time_ns, u64::from(thread), kind, first, second, third] {
                bytes.extend(number.to_le_bytes());
            }
            hash.update(&bytes);
        }
        let hash: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        found += &format!("{} {events} {hash}\n", pattern.name);
    }
    assert_eq!(found, include_str!("golden.txt"));
}

#[test]
fn a_duration_and_an_unknown_pattern_are_refused() {
    let options = Options { duration_ns: Some(5_000_000_000), ..Options::default() };
    let error = Stress::new("larson", &options).unwrap_err().to_string();
    assert!(error.contains("--duration is 5s") && error.contains("slots"), "{error}");
    let error = Stress::new("larsen", &Options::default()).unwrap_err().to_string();
    assert!(error.contains("larsen") && error.contains("larson, xmalloc"), "{error}");
    for set in ["low=1GiB", "high=16MiB"] {
        let overrides = vec![set.to_string()];
        let error = Stress::new("balloon", &Options { overrides, ..Options::default() }).unwrap_err();
        assert!(error.to_string().contains("below high"), "{error}");
    }
}

#[test]
fn a_pattern_that_grows_without_bound_ends_with_an_error() {
    let mut stress = stress("fragmentation", 1, &["live=64GiB", "size=1B"]);
    let error = loop {
        match stress.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the limit was not met"),
            Err(error) => break error,
        }
    };
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("16777216 are the most"), "{source}");
}

/// The documentation matches the parameters that exist.
#[test]
fn the_documentation_has_every_pattern_parameter_and_default() {
    let text = include_str!("../../../docs/stress.md");
    for pattern in PATTERNS {
        let section = text.split("\n## ").find(|section| section.starts_with(&format!("{}\n", pattern.name)));
        let section = section.unwrap_or_else(|| panic!("docs/stress.md has no section {}", pattern.name));
        for parameter in pattern.parameters {
            let default = if parameter.default.is_empty() { "built-in" } else { parameter.default };
            let row = format!("| `{}` | {default} | {} |", parameter.key, parameter.meaning);
            assert!(section.contains(&row), "{}: {row}", pattern.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Whatever the threads, the seed and the granularity, the trace is lawful, and the work is the same.
    #[test]
    fn every_pattern_is_lawful_whatever_is_set(seed in any::<u64>(), threads in 1u32..9, run in 1u32..200) {
        for pattern in PATTERNS {
            let (threads, run) = (format!("threads={threads}"), format!("run={run}"));
            let mut set = short(pattern.name).to_vec();
            let has = |key| pattern.parameters.iter().any(|parameter| parameter.key == key);
            set.extend(has("threads").then_some(&threads[..]));
            set.extend(has("run").then_some(&run[..]));
            let summary = file(&mut stress(pattern.name, seed, &set)).1;
            prop_assert_eq!(summary.thread_starts, summary.thread_ends);
        }
    }
}
