//! The shipped definitions: the laws of each, and that a seed means the same trace forever.

use super::super::table::quantiles;
use super::*;

/// Simulated time in which each definition makes tens of thousands of requests when their objects are few,
/// and hundreds as they are; and the settings that make them few.
const SPANS: &[(&str, f64, f64, &[&str])] = &[
    ("monitor-server", 1_500.0, 15.0, &[]),
    ("monitor-server-vm", 1_500.0, 20.0, &[]),
    ("monitor-server-gc", 1_500.0, 15.0, &[]),
    ("monitor-server-night", 86_400.0, 1_500.0, &["thinned=60"]),
    ("monitor-server-1000h", 300_000.0, 3_000.0, &[]),
    ("api-gateway", 30.0, 2.0, &[]),
    ("cache-churn", 2_000.0, 2.0, &["arrivals.rate=15/s"]),
];

#[test]
fn each_shipped_definition_has_its_spans_and_its_golden_hash() {
    let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    assert_eq!(SPANS.iter().map(|(name, ..)| *name).collect::<Vec<&str>>(), names);
    assert_eq!(GOLDEN.iter().map(|(name, _)| *name).collect::<Vec<&str>>(), names);
}

/// Requests come at the rate that the parameters say, with the payload that they say; and the numbers of
/// requests waiting and in progress are what Little's law gives for their rate and times.
#[test]
fn each_definition_has_its_rate_its_payload_and_little_s_law() {
    in_parallel(|(name, duration_s, _, more)| {
        let cheap =
            ["phases=[]", "startup.objects=0", "connection.ramp=0s", "connection.lifetime.mean=90000h"];
        let cheap =
            [&cheap[..], &["parsed.bytes_per_object=1MB", "cache.requests=0", "connection.objects=0"]]
                .concat();
        let overrides = [&cheap[..], more, &["free_at_end=true"]].concat();
        let mut simulation = simulation_of(name, 5, *duration_s, &overrides);
        drain(&mut simulation);
        let (definition, counts) = (simulation.definition().clone(), simulation.counts().clone());

        let arrivals = &definition.arrivals;
        let (length, gap) = (arrivals.bursts.length.mean_ns as f64, arrivals.bursts.gap.mean_ns as f64);
        let bursts = (gap + arrivals.bursts.rate * length) / (gap + length);
        let parts = arrivals.curve.factors.len() as f64;
        let curve = if parts == 0.0 { 1.0 } else { arrivals.curve.factors.iter().sum::<f64>() / parts };
        let factor = bursts * curve / definition.thinned;
        let in_flight_s = counts.in_flight.mean(simulation.now_ns()) * duration_s / counts.requests as f64;
        let rate_per_s = match arrivals.process {
            Process::Open => arrivals.rate_per_s * factor,
            Process::Closed => {
                f64::from(definition.connections)
                    / (arrivals.think.mean_ns as f64 / 1e9 / factor + in_flight_s)
            }
        };
        assert_eq!(counts.refused, 0, "{name}");
        near(counts.requests as f64 / duration_s, rate_per_s, 0.05);

        let payloads = quantiles(&definition.payload, 1 << 16);
        let mean = payloads.iter().map(|size| f64::from(*size)).sum::<f64>() / payloads.len() as f64;
        near(counts.payload_bytes as f64 / counts.requests as f64, mean, 0.06);

        let now_ns = simulation.now_ns();
        assert_eq!((counts.handled, counts.completed), (counts.requests, counts.requests), "{name}");
        assert_eq!(counts.queue.integral_ns(now_ns), counts.waited_ns, "{name}");
        near(counts.busy.integral_ns(now_ns) as f64, counts.served_ns as f64, 1e-6);
    });
}

/// With all of its objects: the trace is lawful (the writer refuses a second free), and at the end of an orderly
/// shutdown everything is freed, arenas included.
#[test]
fn each_definition_frees_everything_when_asked() {
    in_parallel(|(name, _, duration_s, _)| {
        let mut simulation = simulation_of(name, 1, *duration_s, &["free_at_end=true"]);
        let (_, summary) = file(&mut simulation);
        assert!(simulation.counts().completed > 50, "{name}");
        assert_eq!((summary.live_at_end, summary.live_at_end_bytes), (0, 0), "{name}");
        assert_eq!(simulation.counts().completed, simulation.counts().requests, "{name}");
        assert_eq!(simulation.counts().in_flight.value(), 0, "{name}");
        let heap = simulation.heap_counts();
        assert_eq!((heap.arenas_taken, heap.buried), (heap.arenas_freed, heap.collected), "{name}");
        assert_eq!(heap.arenas_taken > 0, simulation.definition().runtime != Runtime::None, "{name}");
    });
}

/// Whoever changes one of these changes every published figure of that workload.
const GOLDEN: &[(&str, &str)] = &[
    ("monitor-server", "529e6d38323d7096"),
    ("monitor-server-vm", "c5e4cb54b2fe7b5c"),
    ("monitor-server-gc", "35177cde4e277a92"),
    ("monitor-server-night", "f0311099e3a38e54"),
    ("monitor-server-1000h", "8d1b4e73beaa0064"),
    ("api-gateway", "b13c3d67ae03e093"),
    ("cache-churn", "aeaecf31a7969616"),
];

#[test]
fn the_first_million_events_are_the_known_ones() {
    let found = in_parallel(|(name, ..)| (*name, hash_million(name)));
    let golden: Vec<(&str, String)> = GOLDEN.iter().map(|(name, hash)| (*name, hash.to_string())).collect();
    assert_eq!(found, golden);
}

/// The hash of the definition's first million events and of the records between them.
fn hash_million(name: &str) -> String {
    let (name, text) = super::super::shipped(name).unwrap();
    let mut simulation = Simulation::new(text, name, &Options::default()).unwrap();
    let (mut hash, mut events) = (Sha256::new(), 0);
    let mut bytes = Vec::new();
    while events < 1_000_000 {
        let Some(record) = simulation.next().unwrap() else { break };
        let Record::Event(event) = record else {
            hash.update(format!("{record:?}"));
            continue;
        };
        events += 1;
        let (kind, object, size) = match event.action {
            Action::Malloc { object, size } => (b'm', object, size),
            Action::Realloc { object, size } => (b'r', object, size),
            Action::Free { object } => (b'f', object, 0),
            Action::ThreadStart => (b's', 0, 0),
            Action::ThreadEnd => (b'e', 0, 0),
            action => panic!("a simulation makes no {action:?}"),
        };
        bytes.clear();
        bytes.push(kind);
        bytes.extend(event.thread.to_le_bytes());
        for number in [event.time_ns, object, size] {
            bytes.extend(number.to_le_bytes());
        }
        hash.update(&bytes);
    }
    assert!(events > 500_000, "{name}: {events}");
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `law` gives for each definition, in their order.
fn in_parallel<T: Send>(
    law: impl Fn(&(&'static str, f64, f64, &'static [&'static str])) -> T + Sync,
) -> Vec<T> {
    let law = &law;
    std::thread::scope(|scope| {
        let started: Vec<_> = SPANS.iter().map(|span| scope.spawn(move || law(span))).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
