//! Good and bad definitions, and the errors for the bad ones.

use super::*;
use crate::simulate::{DefinitionError, SHIPPED, shipped};

fn parse(text: &str, overrides: &[&str]) -> Result<Definition, DefinitionError> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    Definition::parse(text, "mine.toml", &overrides, &|name| shipped(name).map(|(_, text)| text))
}

fn message(text: &str, overrides: &[&str]) -> String {
    parse(text, overrides).unwrap_err().to_string()
}

const MINE: &str = "name = \"mine\"\n";

#[test]
fn shipped_definitions_are_good_and_named_as_they_are_found() {
    for (name, text) in SHIPPED {
        let definition = parse(text, &[]).unwrap();
        assert_eq!(definition.name, *name);
    }
}

#[test]
fn a_definition_starts_from_monitor_server() {
    let root = parse(shipped("monitor-server").unwrap().1, &[]).unwrap();
    let mine = parse("name = \"mine\"\nworkers = 3\n[payload]\nmedian = \"2KB\"\n", &[]).unwrap();
    assert_eq!((mine.workers, mine.payload.median_bytes), (3, 2000));
    let same = Definition { name: root.name.clone(), workers: 25, payload: root.payload.clone(), ..mine };
    assert_eq!(same, root);
    let based = parse("name = \"mine\"\nbase = \"monitor-server-vm\"\n", &[]).unwrap();
    assert_eq!(based.connections, 80);
}

#[test]
fn a_list_of_phases_replaces_the_bases() {
    let text = "name = \"mine\"\n[[phases]]\nname = \"all\"\nshare = 1\nrate = 2\npayload = 1\n";
    assert_eq!(parse(text, &[]).unwrap().phases.len(), 1);
    assert_eq!(parse(&format!("{MINE}phases = []"), &[]).unwrap().phases, []);
    assert_eq!(parse(MINE, &["phases.2.rate=7"]).unwrap().phases[2].rate, 7.0);
}

#[test]
fn overrides_reach_any_field() {
    let overrides =
        ["connections=200", "payload.median=64KiB", "pool.wake=lifo", "free_at_end=true", "cpus=32"];
    let definition = parse(MINE, &overrides).unwrap();
    assert_eq!((definition.connections, definition.cpus), (200, Some(32)));
    assert_eq!(definition.payload.median_bytes, 65536);
    assert_eq!((definition.pool.wake, definition.free_at_end), (Wake::Lifo, true));
    let definition = parse(MINE, &["arrivals.curve=[0.5, 2]", "phases=[]", "thinned=100"]).unwrap();
    assert_eq!((definition.arrivals.curve.factors, definition.thinned), (vec![0.5, 2.0], 100.0));
    assert_eq!(definition.phases, []);
}

/// The definition lies beside its table; an override's path is relative to the working directory.
#[test]
fn tables_of_sizes_are_read_from_beside_the_definition() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name).to_str().unwrap().to_string();
    std::fs::write(place("sizes.csv"), "size,weight\n2000,1\n40000,3\n").unwrap();
    let text = "name = \"mine\"\n[payload]\ndistribution = \"empirical\"\nfile = \"sizes.csv\"\n";
    let parse_at = |text: &str, origin: &str, overrides: &[String]| {
        Definition::parse(text, origin, overrides, &|name| shipped(name).map(|(_, text)| text))
    };
    let definition = parse_at(text, &place("mine.toml"), &[]).unwrap();
    assert_eq!(definition.payload.median_bytes, 40_000);
    assert_eq!(definition.tables, [("payload".to_string(), "size,weight\n2000,1\n40000,3\n".to_string())]);
    let set = format!("payload.file={}", place("sizes.csv"));
    let set = ["payload.distribution=empirical".to_string(), set];
    assert_eq!(parse_at(MINE, "mine.toml", &set).unwrap().payload, definition.payload);

    std::fs::write(place("sizes.csv"), "2000,1\n,3\n").unwrap();
    let error = parse_at(text, &place("mine.toml"), &[]).unwrap_err().to_string();
    let words = ["payload.file = ", "sizes.csv, line 2: size is \"\"", "from 1000 to 800000"];
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    let error = parse_at(text, "elsewhere/mine.toml", &[]).unwrap_err().to_string();
    let words = ["elsewhere/mine.toml: payload.file is \"elsewhere/sizes.csv\"", "that can be read"];
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    assert!(message(MINE, &["payload.distribution=empirical"]).contains("payload.file is missing"));
    assert!(message(MINE, &["arrivals.think.distribution=empirical"]).contains("one of \"fixed\""));
}

#[test]
fn an_unknown_key_is_answered_with_the_keys_that_there_are() {
    let text = message("name = \"mine\"\n[payload]\nmedain = \"64KiB\"\n", &[]);
    assert_eq!(
        text,
        "mine.toml: unknown key payload.medain (found \"64KiB\"): the keys are payload.alpha, \
         payload.distribution, payload.file, payload.max, payload.median, payload.min, payload.sigma"
    );
    let text = message(MINE, &["colour=red"]);
    assert!(text.starts_with("--set: unknown key colour (found \"red\"): the keys are "), "{text}");
    assert!(text.contains("connections") && text.contains("workers"), "{text}");
    let text = message("name = \"mine\"\npool = 3\n", &[]);
    assert!(text.contains("unknown key pool (found 3): the keys are pool.recycle_after"), "{text}");
    assert!(message(MINE, &["base=api-gateway"]).contains("unknown key base"));
    let text = message(MINE, &["phases.9.rate=1"]);
    assert!(text.contains("unknown key phases.9.rate (found 1): the keys are phases.0.name, "), "{text}");
    assert!(!text.contains("arrivals."), "{text}");
}

#[test]
fn an_override_that_changes_nothing_is_refused_with_the_reason() {
    assert_eq!(
        message(MINE, &["arrivals.rate=200/s"]),
        "--set: arrivals.rate is \"200/s\", which changes nothing while arrivals.process is \"closed\": set that \
         too, or omit arrivals.rate"
    );
    let cases: &[(&[&str], &str)] = &[
        (&["arrivals.process=open", "arrivals.think.mean=1s"], "arrivals.process is \"open\""),
        (&["arrivals.period=1h"], "arrivals.curve is empty"),
        (&["arrivals.burst.length.mean=9s"], "arrivals.burst.rate is 1"),
        (&["arrivals.burst.gap.distribution=fixed"], "arrivals.burst.rate is 1"),
        (&["runtime=none", "pymalloc=false"], "runtime is \"none\""),
        (&["runtime=none", "collector.threshold0=3"], "runtime is \"none\""),
        (&["runtime=none", "gc=off"], "runtime is \"none\""),
        (&["gc=off", "collector.threshold1=3"], "gc is \"off\""),
        (&["startup.objects=0", "startup.time=3s"], "startup.objects is 0"),
        (&["connection.objects=0", "connection.size.sigma=1"], "connection.objects is 0"),
        (&["pool.thread_objects=0", "pool.size.max=1KiB"], "pool.thread_objects is 0"),
        (&["parsed.containers=0", "parsed.grown=0.1"], "parsed.containers is 0"),
        (&["parsed.containers=1", "parsed.string.median=30B"], "parsed.containers is 1"),
        (&["temporary.per_object=0", "temporary.size.median=30B"], "temporary.per_object is 0"),
        (&["cache.requests=0", "cache.limit=1MiB"], "cache.requests is 0"),
        (&["cache.limit=0B", "cache.policy=random"], "cache.limit is 0"),
        (&["cache.policy=random", "cache.hits=0.1"], "cache.policy is \"random\""),
        (&["payload.alpha=3"], "payload.distribution is \"lognormal\""),
        (&["payload.file=sizes.csv"], "payload.distribution is \"lognormal\""),
        (&["payload.distribution=fixed", "payload.sigma=2"], "payload.distribution is \"fixed\""),
        (&["cache.lifetime.sigma=2"], "cache.lifetime.distribution is \"exponential\""),
    ];
    for (overrides, condition) in cases {
        let text = message(MINE, overrides);
        assert!(
            text.contains(&format!("which changes nothing while {condition}: ")),
            "{overrides:?}: {text}"
        );
        // Without the last one, the rest is good.
        parse(MINE, &overrides[..overrides.len() - 1]).unwrap();
    }
    // A file may have it, for the day on which the other field changes.
    parse(&format!("{MINE}[arrivals]\nrate = \"200/s\"\n[payload]\nalpha = 3\n"), &[]).unwrap();
    parse(MINE, &["arrivals.rate=200/s", "arrivals.process=open"]).unwrap();
}

#[test]
fn bare_sizes_and_times_are_refused() {
    let text = message(MINE, &["payload.median=65536"]);
    assert_eq!(
        text,
        "--set: payload.median is 65536, which is not allowed: it must be a size with its unit, such as \
         \"64KiB\" (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB), from 1KB to 800KB"
    );
    assert!(message(MINE, &["duration=60"]).contains("duration is 60"));
    assert!(message(MINE, &["arrivals.rate=20"]).contains("\"20/s\""));
    assert!(message(MINE, &["workers=25KiB"]).contains("workers is \"25KiB\""));
    assert!(message(MINE, &["workers=2.5"]).contains("workers is 2.5"));
}

#[test]
fn impossible_values_are_refused() {
    let cases = [
        ("workers=0", "workers is 0, which is not allowed: it must be a whole number without a unit, from 1"),
        ("workers=-1", "workers is -1"),
        ("arrivals.rate=-3/s", "arrivals.rate is \"-3/s\""),
        ("payload.max=5GiB", "payload.max is \"5GiB\""),
        ("payload.max=1KB", "payload.median is \"48KB\""),
        ("payload.min=900KB", "payload.min is \"900KB\""),
        (
            "payload.distribution=gauss",
            "one of \"fixed\", \"exponential\", \"lognormal\", \"pareto\", \"empirical\"",
        ),
        ("thinned=0.5", "thinned is 0.5, which is not allowed: it must be a number without a unit, from 1"),
        (
            "arrivals.curve=[1, -1]",
            "arrivals.curve is [1, -1], which is not allowed: it must be a list of at most",
        ),
        ("arrivals.curve=[0, 0]", "one number at least is above 0"),
        ("arrivals.curve=1", "arrivals.curve is 1"),
        ("arrivals.curve=[\"1/s\"]", "each from 0 to 1000"),
        ("arrivals.period=24", "arrivals.period is 24"),
        ("arrivals.burst.rate=-2", "arrivals.burst.rate is -2"),
        ("arrivals.burst.length.mean=1us", "arrivals.burst.length.mean is \"1us\""),
        ("arrivals.burst.gap.mean=30", "\"30s\""),
        ("payload.distribution=pareto", "payload.alpha is missing"),
        ("service.base=0s", "service.base is \"0s\""),
        ("cache.objects=1.5", "cache.objects is 1.5"),
        ("cache.objects=nan", "cache.objects is nan"),
        ("free_at_end=1", "free_at_end is 1, which is not allowed: it must be true or false"),
        ("connections=1000000", "connections is 1000000, which is not allowed: it must be at most 262144"),
        ("duration=-1s", "duration is \"-1s\""),
        ("duration=200000h", "duration is \"200000h\""),
        ("phases.1.name=", "phases.1.name is \"\""),
    ];
    for (set, expected) in cases {
        let text = message(MINE, &[set]);
        assert!(text.contains(expected), "{set}: {text}");
    }
    let text = message(MINE, &["heap_limit=1TiB", "payload.max=1TB", "parsed.bytes_per_object=1B"]);
    assert!(text.contains("parsed.bytes_per_object is \"1B\"") && text.contains("at least "), "{text}");
}

#[test]
fn what_is_no_definition_is_refused() {
    assert!(message("name = ", &[]).starts_with("mine.toml: not a TOML file: "));
    assert_eq!(
        message("", &[]),
        "mine.toml: name is missing: it must be text of 1 to 255 bytes without control characters"
    );
    assert!(message("name = \"a\"\nbase = \"no-such\"", &[]).contains("base is no-such"));
    assert!(message("name = \"a\"\nbase = \"none\"", &[]).contains("heap_limit is missing"));
    assert!(message(MINE, &["workers"]).contains("--set \"workers\": not KEY=VALUE"));
    assert!(message(MINE, &["=3"]).contains("not KEY=VALUE"));
    for text in
        ["[[phases]]\n", "phases = [1, 2]", "phases = 3", "payload = [[]]", "name = \"\u{7}\"", "\"\" = 1"]
    {
        assert!(parse(&format!("{MINE}{text}"), &[]).is_err(), "{text}");
    }
}
