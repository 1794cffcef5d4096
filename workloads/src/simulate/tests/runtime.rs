//! The interpreter's layers over malloc: pools for what is small, and the collector of cycles.

use super::*;

/// With pools, small objects are not events, and malloc gets only arenas besides larger objects.
#[test]
fn small_objects_are_no_events() {
    for (runtime, small, arena) in [("cpython27", 256, Some(256 << 10)), ("cpython3", 512, None)] {
        let mut simulation = simulation(1, 10.0, &[&format!("runtime={runtime}")]);
        let (mut arenas, mut marks) = (0, 0);
        while let Some(record) = simulation.next().unwrap() {
            match record {
                Record::Event(event) => {
                    if let Some((_, size)) = event.action.allocated() {
                        assert!(size > small);
                        arenas += u64::from(Some(size) == arena);
                    }
                }
                Record::Mark(mark) => marks += u64::from(mark.name.starts_with("arenas mapped: ")),
                _ => {}
            }
        }
        let taken = simulation.heap_counts().arenas_taken;
        assert!(taken > 5, "{runtime}: {taken}");
        match arena {
            Some(_) => assert!((taken..taken + 3).contains(&arenas) && marks == 0, "{arenas} {taken}"),
            None => assert_eq!((arenas, marks > 5 && marks <= taken), (0, true)),
        }
    }
}

/// The figures seen in the object layer of a real server: about 130 events a request with pools, about 30,000
/// without.
#[test]
fn pools_take_most_events_away() {
    let per_request = |pymalloc: &str, duration_s: f64| {
        let mut simulation = simulation(1, duration_s, &[pymalloc, "startup.objects=0"]);
        let mut events = 0u64;
        while let Some(record) = simulation.next().unwrap() {
            events += u64::from(matches!(record, Record::Event(_)));
        }
        let requests = simulation.counts().completed;
        (events as f64 / requests as f64, simulation.counts().clone())
    };
    let ((with, counts), (without, same)) =
        (per_request("pymalloc=true", 20.0), per_request("pymalloc=false", 20.0));
    assert!((100.0..170.0).contains(&with), "{with}");
    assert!((20_000.0..45_000.0).contains(&without), "{without}");
    assert_eq!(counts.requests, same.requests);
}

#[test]
fn collections_free_what_cycles_hold() {
    let counts = |gc: &str| {
        let mut simulation = simulation(1, 15.0, &[gc]);
        drain(&mut simulation);
        (simulation.heap_counts().clone(), simulation.counts().completed)
    };
    let (threshold, _) = counts("gc=threshold");
    assert!(threshold.collected < threshold.buried && threshold.collected > threshold.buried / 2);
    assert!(threshold.collections[0] > 5 * threshold.collections[1], "{threshold:?}");
    let (per_request, completed) = counts("gc=per-request");
    assert!(per_request.collections[2] >= completed, "{per_request:?} {completed}");
    assert!(per_request.buried - per_request.collected < threshold.buried - threshold.collected);
    let (off, _) = counts("gc=off");
    assert_eq!((off.collections, off.collected), ([0; 3], 0));
    assert!(off.buried > 0);
}
