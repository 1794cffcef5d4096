//! Fields that a definition has and its model does not read, because another field makes them void.
//!
//! A definition may have such fields: they come from its base, and serve a change of the other field. Where somebody sets
//! one for a simulation, it would seem to change what it does not.

use super::super::distribution::Shape;
use super::*;

/// Each field that the model does not read, or the table whose fields it does not read, with the condition that makes
/// it void: `arrivals.rate` while `arrivals.process is "closed"`.
pub(super) fn list_unread(definition: &Definition) -> Vec<(String, String)> {
    let mut unread = Vec::new();
    let mut add = |condition: &str, keys: &[&str]| {
        unread.extend(keys.iter().map(|key| ((*key).to_string(), condition.to_string())));
    };
    match definition.arrivals.process {
        Process::Closed => add("arrivals.process is \"closed\"", &["arrivals.rate"]),
        Process::Open => add("arrivals.process is \"open\"", &["arrivals.think"]),
    }
    if definition.arrivals.curve.factors.is_empty() {
        add("arrivals.curve is empty", &["arrivals.period"]);
    }
    if definition.arrivals.bursts.rate == 1.0 {
        add("arrivals.burst.rate is 1", &["arrivals.burst.length", "arrivals.burst.gap"]);
    }
    if definition.runtime == Runtime::None {
        add("runtime is \"none\"", &["pymalloc", "gc", "collector"]);
    }
    if definition.collector.gc == Gc::Off {
        let thresholds = ["collector.threshold0", "collector.threshold1", "collector.threshold2"];
        add("gc is \"off\"", &thresholds);
    }
    if definition.startup.objects == 0 {
        add("startup.objects is 0", &["startup.time", "startup.size"]);
    }
    if definition.connection.objects == 0 {
        add("connection.objects is 0", &["connection.size"]);
    }
    if definition.pool.thread_objects == 0 {
        add("pool.thread_objects is 0", &["pool.size"]);
    }
    if definition.parsed.containers == 0.0 {
        add("parsed.containers is 0", &["parsed.grown"]);
    }
    if definition.parsed.containers == 1.0 {
        add("parsed.containers is 1", &["parsed.string"]);
    }
    if definition.temporary.per_object == 0.0 {
        add("temporary.per_object is 0", &["temporary.size"]);
    }
    let contents = ["cache.policy", "cache.hits", "cache.lifetime", "cache.sweep"];
    if definition.cache.requests == 0.0 {
        add("cache.requests is 0", &contents);
        add("cache.requests is 0", &["cache.limit", "cache.objects"]);
    }
    if definition.cache.limit_bytes == 0 {
        add("cache.limit is 0", &contents);
    }
    if definition.cache.policy == Policy::Random {
        add("cache.policy is \"random\"", &["cache.hits"]);
    }
    for (key, shape) in shapes(definition) {
        let (name, reads) = parameter_of(shape);
        let others = ["median", "file", "sigma", "alpha"].into_iter().filter(|other| !reads.contains(other));
        let condition = format!("{key}.distribution is \"{name}\"");
        unread.extend(others.map(|other| (format!("{key}.{other}"), condition.clone())));
    }
    unread
}

/// The distributions, by key.
fn shapes(definition: &Definition) -> [(&'static str, &Shape); 13] {
    let Definition { startup, arrivals, payload, connection, pool, parsed, temporary, cache, .. } =
        definition;
    [
        ("startup.size", &startup.size.shape),
        ("arrivals.think", &arrivals.think.shape),
        ("arrivals.burst.length", &arrivals.bursts.length.shape),
        ("arrivals.burst.gap", &arrivals.bursts.gap.shape),
        ("payload", &payload.shape),
        ("connection.lifetime", &connection.lifetime.shape),
        ("connection.reconnect", &connection.reconnect.shape),
        ("connection.size", &connection.size.shape),
        ("pool.size", &pool.size.shape),
        ("parsed.container", &parsed.container.shape),
        ("parsed.string", &parsed.string.shape),
        ("temporary.size", &temporary.size.shape),
        ("cache.lifetime", &cache.lifetime.shape),
    ]
}

/// The name of a shape, and which fields it reads of those that not every one does.
fn parameter_of(shape: &Shape) -> (&'static str, &'static [&'static str]) {
    match shape {
        Shape::Fixed => ("fixed", &["median"]),
        Shape::Exponential => ("exponential", &["median"]),
        Shape::Lognormal { .. } => ("lognormal", &["median", "sigma"]),
        Shape::Pareto { .. } => ("pareto", &["median", "alpha"]),
        Shape::Empirical(_) => ("empirical", &["file"]),
    }
}
