//! The laws of the model, and of the traces that it makes.

use heaplab_trace::{Action, TraceWriter};
use proptest::prelude::*;

use super::server::LOOP;
use super::*;

mod builtin;
mod runtime;

fn simulation(seed: u64, duration_s: f64, overrides: &[&str]) -> Simulation {
    simulation_of("monitor-server", seed, duration_s, overrides)
}

fn simulation_of(name: &str, seed: u64, duration_s: f64, overrides: &[&str]) -> Simulation {
    let (name, text) = super::shipped(name).unwrap();
    let overrides = overrides.iter().map(ToString::to_string).collect();
    let options = Options { duration_ns: Some((duration_s * 1e9) as u64), seed, overrides };
    Simulation::new(text, name, &options).unwrap()
}

/// The parameters of `monitor-server`.
pub(super) fn definition() -> Definition {
    simulation(1, 1.0, &[]).definition().clone()
}

/// A heap without layers.
pub(super) fn bare_heap() -> heap::Heap {
    let definition = Definition { runtime: Runtime::None, ..definition() };
    heap::Heap::new(&definition, random::Random::new(1, 1))
}

/// A heap with CPython 2.7's pools and its collector.
pub(super) fn python_heap() -> heap::Heap {
    heap::Heap::new(&definition(), random::Random::new(1, 1))
}

/// One phase, nothing at the start: the steady state of queueing theory.
const STEADY: &[&str] = &[
    "startup.objects=0",
    "connection.ramp=0s",
    "connection.lifetime.mean=90000h",
    "phases.0.rate=1",
    "phases.1.rate=1",
    "phases.2.rate=1",
    "phases.2.payload=1",
    "phases.3.rate=1",
    "phases.3.payload=1",
    "phases.4.rate=1",
    "cache.requests=0",
    "temporary.per_object=0",
    "parsed.bytes_per_object=1MB",
];

fn steady<'a>(more: &[&'a str]) -> Vec<&'a str> {
    STEADY.iter().chain(more).copied().collect()
}

/// Runs to the end.
fn drain(simulation: &mut Simulation) -> u64 {
    let mut records = 0;
    while simulation.next().unwrap().is_some() {
        records += 1;
    }
    records
}

/// The trace as a file. The writer refuses what breaks a law: ids that are not dense, an object that
/// is freed twice, time that goes back, a thread that acts after its end.
fn file(simulation: &mut Simulation) -> (Vec<u8>, heaplab_trace::Summary) {
    let mut bytes = Vec::new();
    let mut writer = TraceWriter::new(&mut bytes, simulation.header()).unwrap();
    while let Some(record) = simulation.next().unwrap() {
        writer.push(&record).unwrap();
    }
    let summary = writer.finish().unwrap();
    (bytes, summary)
}

fn near(found: f64, expected: f64, share: f64) {
    assert!((found / expected - 1.0).abs() < share, "found {found}, expected {expected} within {share}");
}

#[test]
fn the_open_loop_has_its_rate_and_its_mean_payload() {
    let overrides = ["arrivals.process=open", "arrivals.rate=50/s", "payload.max=4000KB", "payload.min=1B"];
    let mut simulation = simulation(3, 2000.0, &steady(&overrides));
    drain(&mut simulation);
    let counts = simulation.counts();
    near(counts.requests as f64 / 2000.0, 50.0, 0.01);
    assert_eq!(counts.refused, 0);
    // The mean of a lognormal is exp(sigma^2 / 2) times its median.
    near(counts.payload_bytes as f64 / counts.requests as f64, 48e3 * libm::exp(0.5), 0.02);
}

#[test]
fn phases_change_the_rate_of_open_and_closed_loops() {
    for process in ["open", "closed"] {
        let overrides = [
            &format!("arrivals.process={process}")[..],
            "phases.0.rate=0",
            "phases.0.share=5",
            "phases.1.rate=2",
            "phases.1.share=5",
            "phases.2.share=0.000001",
            "phases.3.share=0.000001",
            "phases.4.share=0.000001",
        ];
        let overrides = steady(&overrides);
        let mut simulation = simulation(5, 1000.0, &overrides);
        let mut quiet = None;
        while !simulation.server.is_finished() {
            simulation.server.step(1);
            while simulation.server.heap.take_record().is_some() {}
            if simulation.now_ns() > 499_000_000_000 {
                quiet.get_or_insert(simulation.counts().requests);
            }
        }
        assert_eq!(quiet, Some(0), "{process}");
        // 500 s at twice the rate. A closed loop has 130 clients that think 3.25 s there, and wait for
        // the answer about 24 ms.
        let expected = if process == "open" { 20_000.0 } else { 500.0 * 130.0 / (3.25 + 0.024) };
        near(simulation.counts().requests as f64, expected, 0.03);
    }
}

/// Little's law relates three figures that are counted separately, and the waiting time of a queue with
/// Poisson arrivals, one server and constant service is known: load / (2 (1 - load)) services.
#[test]
fn the_queue_obeys_little_and_pollaczek() {
    let overrides = [
        "arrivals.process=open",
        "arrivals.rate=70/s",
        "connections=5000",
        "connection.objects=0",
        "workers=1",
        "service.base=10ms",
        "service.throughput=1000000GB/s",
        "service.sigma=0",
        "payload.distribution=fixed",
    ];
    let mut simulation = simulation(7, 3000.0, &steady(&overrides));
    drain(&mut simulation);
    let (counts, now) = (simulation.counts(), simulation.now_ns());
    let waited_s = counts.waited_ns as f64 / counts.handled as f64 / 1e9;
    near(waited_s, 0.7 / (2.0 * 0.3) * 0.010, 0.05);
    near(counts.queue.mean(now), counts.handled as f64 / (now as f64 / 1e9) * waited_s, 0.001);
    near(counts.busy.mean(now), 0.7, 0.02);
}

/// The clock applies phases, curve, bursts and thinning to arrivals.
#[test]
fn bursts_come_and_go() {
    let overrides =
        ["arrivals.process=open", "arrivals.rate=30/s", "arrivals.burst.rate=10", "arrivals.curve=[1, 3]"];
    let bursts = [
        "arrivals.burst.length.mean=200ms",
        "arrivals.burst.gap.mean=800ms",
        "arrivals.period=100s",
        "thinned=5",
    ];
    let mut simulation =
        simulation(3, 1000.0, &steady(&[&overrides[..], &bursts, &["connections=2000"]].concat()));
    let (mut arrivals, mut seconds) = (0, vec![0u64; 1000]);
    while !simulation.server.is_finished() {
        simulation.server.step(1);
        while simulation.server.heap.take_record().is_some() {}
        let second = (simulation.now_ns() / 1_000_000_000).min(999) as usize;
        seconds[second] += simulation.counts().requests - arrivals;
        arrivals = simulation.counts().requests;
    }
    // A fifth of the time at ten times the rate, and half of it at three times, of a fifth of the load.
    near(arrivals as f64 / 1000.0, 30.0 / 5.0 * 2.0 * (0.8 + 0.2 * 10.0), 0.06);
    // Without bursts, counts would have a variance of about their mean in each half of the period.
    let calm: Vec<f64> = seconds.chunks(50).step_by(2).flatten().map(|count| *count as f64).collect();
    let mean = calm.iter().sum::<f64>() / calm.len() as f64;
    let variance = calm.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / calm.len() as f64;
    assert!(variance > 4.0 * mean, "{mean} {variance}");
}

/// Whatever the think times are, and however many of them a connection outlives.
#[test]
fn a_thinned_closed_loop_simulates_one_request_in_so_many() {
    let shapes: [&[&str]; 4] = [
        &["arrivals.think.distribution=fixed"],
        &["arrivals.think.distribution=exponential"],
        &["arrivals.think.distribution=lognormal", "arrivals.think.sigma=1"],
        &["arrivals.think.distribution=pareto", "arrivals.think.alpha=2.5"],
    ];
    for shape in shapes {
        let requests = |thinned: &str, duration_s: f64| {
            let lives = ["connection.lifetime.mean=60s", "arrivals.curve=[0.5, 1.5]", "arrivals.period=50s"];
            let overrides = [steady(&lives), shape.to_vec(), vec![thinned]].concat();
            let mut simulation = simulation(3, duration_s, &overrides);
            drain(&mut simulation);
            simulation.counts().requests as f64 / duration_s
        };
        near(50.0 * requests("thinned=50", 40_000.0), requests("thinned=1", 2_000.0), 0.03);
    }
}

#[test]
fn what_is_thinned_says_so() {
    let note = |simulation: &Simulation| {
        simulation.header().notes.iter().find(|note| note.name == THINNED_NOTE).map(|note| note.value.clone())
    };
    assert_eq!(note(&simulation(1, 1.0, &[])), None);
    assert_eq!(note(&simulation(1, 1.0, &["thinned=20"])), Some("20".to_string()));
}

#[test]
fn most_workers_are_idle_at_the_default_load() {
    let mut simulation = simulation(1, 60.0, &[]);
    drain(&mut simulation);
    let now = simulation.now_ns();
    assert!(simulation.counts().busy.mean(now) < 5.0);
    assert!(simulation.counts().busy.highest() > 2);
    assert!((120..=130).contains(&simulation.counts().open.value()));
}

#[test]
fn blocks_cross_threads_in_both_directions() {
    let crossings = |cyclic: &str| {
        let overrides = ["pymalloc=false", "parsed.bytes_per_object=320B", cyclic];
        let mut simulation = simulation(1, 20.0, &overrides);
        let mut owner = Vec::new();
        let (mut from_loop, mut from_worker, mut between_workers) = (0, 0, 0);
        while let Some(record) = simulation.next().unwrap() {
            let Record::Event(event) = record else { continue };
            if event.action.allocated().is_some() {
                owner.push(event.thread);
            }
            if let Some(object) = event.action.freed() {
                match (owner[object as usize], event.thread) {
                    (0, 1..) => from_loop += 1,
                    (1.., 0) => from_worker += 1,
                    (a, b) if a != b => between_workers += 1,
                    _ => {}
                }
            }
        }
        let requests = simulation.counts().completed;
        assert!(from_loop >= requests && from_worker >= requests, "{from_loop} {from_worker} {requests}");
        between_workers
    };
    // Nothing is evicted from the cache in so short a time: only what the collector finds crosses threads.
    assert_eq!(crossings("collector.cyclic=0"), 0);
    assert!(crossings("collector.cyclic=0.1") > 1000);
}

/// Runs to the end; gives the mean number of events that one thread makes in a row.
fn mean_run(mut simulation: Simulation) -> f64 {
    let (mut events, mut runs, mut last) = (0u64, 0u64, None);
    while let Some(record) = simulation.next().unwrap() {
        if let Record::Event(event) = record {
            events += 1;
            runs += u64::from(last != Some(event.thread));
            last = Some(event.thread);
        }
    }
    events as f64 / runs as f64
}

#[test]
fn busy_workers_take_turns_in_slices() {
    let busy = |slice: &str| {
        let slice = format!("service.slice={slice}");
        // An object is made together with the temporary ones after it.
        let objects = ["pymalloc=false", "parsed.bytes_per_object=64B", "temporary.per_object=0"];
        let overrides = [&objects[..], &["arrivals.think.mean=1s", &slice]].concat();
        mean_run(simulation(1, 10.0, &overrides))
    };
    let (call_by_call, sliced, whole) = (busy("1ns"), busy("5ms"), busy("1h"));
    assert!(call_by_call < 3.0, "{call_by_call}");
    assert!(sliced > 10.0 * call_by_call && whole > 1.2 * sliced, "{call_by_call} {sliced} {whole}");
}

/// A slice's calls carry the time of its start, and no other thread's call comes between them, even where
/// reading stops in the middle.
#[test]
fn nobody_comes_into_a_slice() {
    let overrides = [
        "pymalloc=false",
        "service.slice=1h",
        "service.base=1s",
        "arrivals.think.mean=1s",
        "startup.objects=0",
        "parsed.bytes_per_object=320B",
    ];
    let mut simulation = simulation(1, 10.0, &overrides);
    let (mut turns, mut last, mut longest, mut length) = (Vec::new(), None, 0, 0);
    while let Some(record) = simulation.next().unwrap() {
        let Record::Event(event) = record else { continue };
        if event.thread == LOOP || event.action == Action::ThreadStart {
            last = None;
            continue;
        }
        length = if last == Some((event.thread, event.time_ns)) { length + 1 } else { 1 };
        longest = longest.max(length);
        if length == 1 {
            turns.push((event.thread, event.time_ns));
        }
        last = Some((event.thread, event.time_ns));
    }
    assert!(longest > AHEAD, "{longest}");
    let count = turns.len();
    turns.sort_unstable();
    turns.dedup();
    assert_eq!(turns.len(), count);
}

#[test]
fn the_wake_up_order_decides_how_many_workers_are_used() {
    let used = |wake: &str| {
        let mut simulation = simulation(1, 60.0, &[wake, "pool.thread_objects=0", "phases.2.rate=1"]);
        let mut used = std::collections::BTreeSet::new();
        while let Some(record) = simulation.next().unwrap() {
            if let Record::Event(event) = record
                && event.action.allocated().is_some()
            {
                used.insert(event.thread);
            }
        }
        used.len()
    };
    assert_eq!(used("pool.wake=fifo"), 26);
    assert!(used("pool.wake=lifo") < 15);
}

#[test]
fn workers_are_recycled() {
    let mut simulation = simulation(1, 60.0, &["pool.recycle_after=10", "free_at_end=true"]);
    let (_, summary) = file(&mut simulation);
    let counts = simulation.counts();
    assert!(counts.threads_started > 25 + counts.completed / 10 / 2);
    assert_eq!(
        (summary.thread_starts, summary.thread_ends),
        (counts.threads_started, counts.threads_started)
    );
    assert_eq!(summary.live_at_end, 0);
}

#[test]
fn equal_arguments_make_equal_bytes_and_others_do_not() {
    let bytes = |seed, set: &[&str]| file(&mut simulation(seed, 5.0, set)).0;
    assert_eq!(bytes(1, &[]), bytes(1, &[]));
    assert_ne!(bytes(1, &[]), bytes(2, &[]));
    assert_ne!(bytes(1, &[]), bytes(1, &["workers=24"]));
}

#[test]
fn turning_the_payload_does_not_change_when_connections_open() {
    let opened = |set: &str| {
        let mut simulation = simulation(1, 60.0, &[set, "connection.lifetime.mean=20s"]);
        drain(&mut simulation);
        simulation.counts().threads_started
    };
    assert_eq!(opened("payload.median=48KB"), opened("payload.median=20KB"));
}

#[test]
fn the_heap_limit_ends_a_simulation_that_grows_without_bound() {
    let overrides = ["heap_limit=8MiB", "cache.limit=8MiB", "connections=100", "startup.objects=1000"];
    let mut simulation =
        simulation(1, 600.0, &[&overrides[..], &["cache.requests=1", "payload.max=800KB"]].concat());
    let error = loop {
        match simulation.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the limit was not met"),
            Err(error) => break error,
        }
    };
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("heap_limit is 8MiB"), "{source}");
}

/// Only the records ahead of the reader and the live objects are held: both are bounded whatever the
/// duration.
#[test]
fn what_is_held_does_not_grow_with_the_duration() {
    let mut simulation = simulation(1, 3600.0, &["phases.2.rate=1", "parsed.bytes_per_object=4KiB"]);
    let (mut live, mut highest) = (0i64, [0i64; 2]);
    while let Some(record) = simulation.next().unwrap() {
        assert!(simulation.server.heap.pending() <= AHEAD + 10_000);
        let Record::Event(event) = record else { continue };
        live += i64::from(event.action.allocated().is_some()) - i64::from(event.action.freed().is_some());
        let half = usize::from(event.time_ns > 1_800_000_000_000);
        highest[half] = highest[half].max(live);
    }
    assert!(highest[1] < highest[0] * 5 / 4, "{highest:?}");
    assert!(simulation.server.schedule.len() < 1000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the parameters, the trace is lawful, and everything is freed at the end if that is asked for.
    #[test]
    fn every_model_makes_a_lawful_trace(
        seed in any::<u64>(),
        connections in 1u32..60, workers in 1u32..8, recycle in 0u32..5, copies in 0u32..4,
        think_ms in 1u32..2000, lifetime_ms in 1u32..3000, median in 1u32..300_000, chunk in 256u32..70_000,
        per_object in 20u32..5000, temporaries in 0.0f64..3.0, grown in 0.0f64..1.0, kept in 0.001f64..1.0,
        limit_kib in 0u32..2048, ratio in 0.0f64..3.0, growth in 1.05f64..4.0,
        open in any::<bool>(), lifo in any::<bool>(), random_policy in any::<bool>(), shape in 0usize..4,
        free_at_end in any::<bool>(), duration_ms in 1u32..4000,
        runtime in 0usize..3, pymalloc in any::<bool>(), gc in 0usize..3, cyclic in 0.0f64..1.0,
        slice_us in 1u32..20_000,
    ) {
        let shape = ["fixed", "exponential", "lognormal", "pareto"][shape];
        let mut overrides = vec![
            format!("connections={connections}"),
            format!("workers={workers}"),
            format!("pool.recycle_after={recycle}"),
            format!("parsed.copies={copies}"),
            format!("connection.lifetime.mean={lifetime_ms}ms"),
            format!("connection.reconnect.mean={lifetime_ms}us"),
            format!("payload.median={median}B"),
            "payload.min=1B".to_string(),
            format!("payload.distribution={shape}"),
            format!("receive.chunk={chunk}B"),
            format!("receive.growth={growth}"),
            format!("parsed.bytes_per_object={per_object}B"),
            format!("parsed.grown={grown}"),
            format!("temporary.per_object={temporaries}"),
            format!("cache.requests={kept}"),
            format!("cache.limit={limit_kib}KiB"),
            format!("response.ratio={ratio}"),
            format!("arrivals.process={}", if open { "open" } else { "closed" }),
            format!("pool.wake={}", if lifo { "lifo" } else { "fifo" }),
            format!("free_at_end={free_at_end}"),
            format!("runtime={}", ["cpython27", "cpython3", "none"][runtime]),
            format!("service.slice={slice_us}us"),
            "startup.objects=100".to_string(),
            "connection.ramp=100ms".to_string(),
            "startup.time=100ms".to_string(),
        ];
        if !open {
            overrides.push(format!("arrivals.think.mean={think_ms}ms"));
        }
        if shape == "pareto" {
            overrides.push("payload.alpha=1.1".to_string());
        }
        if limit_kib > 0 {
            overrides.push("cache.lifetime.mean=500ms".to_string());
            overrides.push(format!("cache.policy={}", if random_policy { "random" } else { "lru" }));
        }
        if runtime < 2 {
            overrides.push(format!("pymalloc={pymalloc}"));
            overrides.push(format!("gc={}", ["threshold", "per-request", "off"][gc]));
            overrides.push(format!("collector.cyclic={cyclic}"));
        }
        let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
        let mut simulation = simulation(seed, f64::from(duration_ms) / 1e3, &overrides);
        let (_, summary) = file(&mut simulation);
        if free_at_end {
            prop_assert_eq!(summary.live_at_end, 0);
            let counts = simulation.counts();
            prop_assert_eq!(counts.completed, counts.requests);
            prop_assert_eq!(counts.opened, counts.closed);
            let heap = simulation.heap_counts();
            prop_assert_eq!(heap.collected, heap.buried);
            // CPython 3 keeps its last arena, which is not an object.
            prop_assert!(heap.arenas_taken - heap.arenas_freed <= u64::from(runtime == 1));
        } else {
            prop_assert!(summary.last_time_ns < u64::from(duration_ms) * 1_000_000);
            // With mapped arenas, there may be no object from malloc yet.
            prop_assert!(summary.live_at_end > 0 || runtime == 1);
        }
    }
}

#[test]
fn a_recycled_thread_ends_before_the_next_begins() {
    let mut simulation = simulation(1, 30.0, &["pool.recycle_after=5"]);
    let mut running = 0i32;
    while let Some(record) = simulation.next().unwrap() {
        if let Record::Event(event) = record {
            match event.action {
                Action::ThreadStart => running += 1,
                Action::ThreadEnd => running -= 1,
                _ => {}
            }
            assert!(running <= 25);
        }
    }
    assert_eq!(running, 25);
}
