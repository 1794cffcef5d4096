//! Reads a definition: its text, its bases and overrides in, checked parameters out.
//!
//! Every bound of a parameter is here, and the checks that single fields cannot make: values that contradict
//! each other. Nothing is run, and no default is invented.

use super::super::distribution::{Shape, Sizes, Times};
use super::super::error::DefinitionError;
use super::super::fields::Fields;
use super::super::units::{MAX_TIME_NS, show_size};
use super::unread::list_unread;
use super::*;

/// The definition that others start from: the one that states every field.
const ROOT: &str = "monitor-server";
/// The `base` of a definition that states every field itself.
const NO_BASE: &str = "none";
/// The longest chain of bases.
const MAX_BASES: usize = 8;

/// The most parts of a curve.
const MAX_PARTS: usize = 10_000;
/// The most phases.
pub const MAX_PHASES: usize = 1000;
/// The most parsed objects of one request.
const MAX_OBJECTS: u64 = 10_000_000;
/// Largest size of the objects that a model makes by the thousand.
const MAX_SMALL: u64 = 64 << 20;

impl Definition {
    /// Reads the definition in `text`, which `origin` names in messages, with `overrides` of the form
    /// KEY=VALUE applied to it, each of which the model must read. `base` returns the text of a shipped definition.
    ///
    /// # Errors
    ///
    /// The first fault, with file, key, what was found and what is allowed.
    pub fn parse(
        text: &str,
        origin: &str,
        overrides: &[String],
        base: &dyn Fn(&str) -> Option<&'static str>,
    ) -> Result<Definition, DefinitionError> {
        let mut fields = Fields::parse(text, origin)?;
        fields.text("name")?;
        lay_over_bases(&mut fields, base)?;
        for text in overrides {
            fields.set(text)?;
        }
        let definition = read(&mut fields)?;
        check(&definition, &fields)?;
        fields.finish()?;
        list_unread(&definition).iter().try_for_each(|(key, condition)| fields.refuse_set(key, condition))?;
        Ok(definition)
    }
}

/// Fills in what `fields` omit from its base, from the base's base, and so on to the root.
fn lay_over_bases(
    fields: &mut Fields,
    base: &dyn Fn(&str) -> Option<&'static str>,
) -> Result<(), DefinitionError> {
    for _ in 0..MAX_BASES {
        let wanted = fields.take_base()?.unwrap_or_else(|| ROOT.to_string());
        if wanted == NO_BASE {
            return Ok(());
        }
        let Some(text) = base(&wanted) else { return Err(fields.bad_base(&wanted)) };
        fields.fill_from(Fields::parse(text, &wanted)?);
    }
    Err(fields.bad_base("a circle"))
}

fn read(fields: &mut Fields) -> Result<Definition, DefinitionError> {
    let heap = fields.size("heap_limit", 1 << 20, 1 << 44)?;
    let small = heap.min(MAX_SMALL);
    Ok(Definition {
        name: fields.text("name")?,
        description: fields.text("description")?,
        duration_ns: fields.time_ns("duration", 1e6, MAX_TIME_NS)?,
        heap_limit_bytes: heap,
        cpus: fields.optional_count("cpus", 1, 65_536)?.map(|cpus| cpus as u32),
        thinned: fields.number("thinned", 1.0, 1e6)?,
        free_at_end: fields.flag("free_at_end")?,
        connections: fields.count("connections", 1, 1_000_000)? as u32,
        workers: fields.count("workers", 1, 10_000)? as u32,
        runtime: fields.choice(
            "runtime",
            &[("cpython27", Runtime::CPython27), ("cpython3", Runtime::CPython3), ("none", Runtime::None)],
        )?,
        pymalloc: fields.flag("pymalloc")?,
        collector: read_collector(fields)?,
        startup: Startup {
            objects: fields.count("startup.objects", 0, 100_000_000)?,
            time_ns: fields.time_ns("startup.time", 0.0, MAX_TIME_NS)?,
            size: sizes(fields, "startup.size", small)?,
        },
        arrivals: read_arrivals(fields)?,
        payload: sizes(fields, "payload", heap)?,
        connection: read_connection(fields, heap)?,
        receive: read_receive(fields, heap)?,
        pool: Pool {
            wake: fields.choice("pool.wake", &[("fifo", Wake::Fifo), ("lifo", Wake::Lifo)])?,
            recycle_after: fields.count("pool.recycle_after", 0, u32::MAX.into())?,
            thread_objects: fields.count("pool.thread_objects", 0, 10_000)? as u32,
            size: sizes(fields, "pool.size", small)?,
        },
        service: Service {
            base_ns: fields.time_ns("service.base", 1e3, MAX_TIME_NS)?,
            bytes_per_s: fields.throughput("service.throughput", 1.0, 1e15)?,
            sigma: fields.number("service.sigma", 0.0, 5.0)?,
            slice_ns: fields.time_ns("service.slice", 1.0, MAX_TIME_NS)?,
        },
        parsed: read_parsed(fields, small)?,
        temporary: Temporary {
            per_object: fields.number("temporary.per_object", 0.0, 1000.0)?,
            size: sizes(fields, "temporary.size", small)?,
        },
        cache: read_cache(fields, heap)?,
        response: Response {
            ratio: fields.number("response.ratio", 0.0, 1000.0)?,
            min_bytes: fields.size("response.min", 1, heap)?,
        },
        phases: read_phases(fields)?,
        tables: fields.take_tables(),
    })
}

fn read_arrivals(fields: &mut Fields) -> Result<Arrivals, DefinitionError> {
    let factors = fields.numbers("arrivals.curve", MAX_PARTS, 0.0, 1000.0)?;
    if !factors.is_empty() && factors.iter().all(|factor| *factor == 0.0) {
        return Err(fields.refuse("arrivals.curve", "a list in which one number at least is above 0"));
    }
    Ok(Arrivals {
        process: fields
            .choice("arrivals.process", &[("closed", Process::Closed), ("open", Process::Open)])?,
        rate_per_s: fields.rate("arrivals.rate", 1e-6, 1e6)?,
        think: times(fields, "arrivals.think", 1e3)?,
        curve: Curve { factors, period_ns: fields.time_ns("arrivals.period", 1e9, MAX_TIME_NS)? },
        bursts: Bursts {
            rate: fields.number("arrivals.burst.rate", 0.0, 1000.0)?,
            length: times(fields, "arrivals.burst.length", 1e6)?,
            gap: times(fields, "arrivals.burst.gap", 1e6)?,
        },
    })
}

fn read_collector(fields: &mut Fields) -> Result<CollectorSettings, DefinitionError> {
    let modes = [("threshold", Gc::Threshold), ("per-request", Gc::PerRequest), ("off", Gc::Off)];
    let mut thresholds = [0; 3];
    for (generation, threshold) in thresholds.iter_mut().enumerate() {
        *threshold = fields.count(&format!("collector.threshold{generation}"), 1, u32::MAX.into())?;
    }
    Ok(CollectorSettings {
        gc: fields.choice("gc", &modes)?,
        cyclic: fields.number("collector.cyclic", 0.0, 1.0)?,
        thresholds,
    })
}

fn read_connection(fields: &mut Fields, heap: u64) -> Result<Connection, DefinitionError> {
    Ok(Connection {
        ramp_ns: fields.time_ns("connection.ramp", 0.0, MAX_TIME_NS)?,
        lifetime: times(fields, "connection.lifetime", 1e3)?,
        reconnect: times(fields, "connection.reconnect", 1e3)?,
        objects: fields.count("connection.objects", 0, 10_000)? as u32,
        size: sizes(fields, "connection.size", heap.min(MAX_SMALL))?,
        buffer_bytes: fields.size("connection.buffer", 1, heap)?,
    })
}

fn read_receive(fields: &mut Fields, heap: u64) -> Result<Receive, DefinitionError> {
    Ok(Receive {
        chunk_bytes: fields.size("receive.chunk", 256, heap)?,
        buffer_bytes: fields.size("receive.buffer", 1, heap)?,
        growth: fields.number("receive.growth", 1.05, 16.0)?,
        bytes_per_s: fields.throughput("receive.bandwidth", 1.0, 1e15)?,
    })
}

fn read_parsed(fields: &mut Fields, small: u64) -> Result<Parsed, DefinitionError> {
    Ok(Parsed {
        copies: fields.count("parsed.copies", 0, 1000)? as u32,
        bytes_per_object: fields.size("parsed.bytes_per_object", 1, 1 << 44)?,
        containers: fields.number("parsed.containers", 0.0, 1.0)?,
        grown: fields.number("parsed.grown", 0.0, 1.0)?,
        container: sizes(fields, "parsed.container", small)?,
        string: sizes(fields, "parsed.string", small)?,
    })
}

fn read_cache(fields: &mut Fields, heap: u64) -> Result<CachePlan, DefinitionError> {
    Ok(CachePlan {
        policy: fields.choice("cache.policy", &[("lru", Policy::Lru), ("random", Policy::Random)])?,
        limit_bytes: fields.size("cache.limit", 0, heap)?,
        requests: fields.number("cache.requests", 0.0, 1.0)?,
        objects: fields.number("cache.objects", 0.0, 1.0)?,
        hits: fields.number("cache.hits", 0.0, 1.0)?,
        lifetime: times(fields, "cache.lifetime", 1e3)?,
        sweep_ns: fields.time_ns("cache.sweep", 1e6, MAX_TIME_NS)?,
    })
}

fn read_phases(fields: &mut Fields) -> Result<Vec<Phase>, DefinitionError> {
    fields.list("phases")?;
    let mut phases = Vec::new();
    while fields.has_element("phases", phases.len()) && phases.len() < MAX_PHASES {
        let key = |name: &str| format!("phases.{}.{name}", phases.len());
        let phase = Phase {
            name: fields.text(&key("name"))?,
            share: fields.number(&key("share"), 1e-6, 1e6)?,
            rate: fields.number(&key("rate"), 0.0, 1000.0)?,
            payload: fields.number(&key("payload"), 0.001, 1000.0)?,
        };
        phases.push(phase);
    }
    Ok(phases)
}

fn sizes(fields: &mut Fields, key: &str, most: u64) -> Result<Sizes, DefinitionError> {
    let (median, file) = (format!("{key}.median"), format!("{key}.file"));
    fields.know(&median);
    fields.know(&file);
    let shape = shape(fields, key, 0.1, &[("empirical", 'e')])?;
    let max_bytes = fields.size(&format!("{key}.max"), 1, most)?;
    let min_bytes = fields.size(&format!("{key}.min"), 1, max_bytes)?;
    Ok(match shape {
        Some(shape) => {
            let median_bytes = fields.size(&median, min_bytes, max_bytes)?;
            Sizes { shape, median_bytes, min_bytes, max_bytes }
        }
        None => {
            let table = fields.table(key, &file, (min_bytes, max_bytes))?;
            let median_bytes = table.median_bytes();
            Sizes { shape: Shape::Empirical(table), median_bytes, min_bytes, max_bytes }
        }
    })
}

fn times(fields: &mut Fields, key: &str, least_ns: f64) -> Result<Times, DefinitionError> {
    // Below an exponent of 1 a power law has no mean.
    let shape = shape(fields, key, 1.01, &[])?.unwrap_or(Shape::Fixed);
    Ok(Times::new(shape, fields.time_ns(&format!("{key}.mean"), least_ns, MAX_TIME_NS)?))
}

/// The shape of the distribution `key`; none if it is one of those in `more`.
fn shape(
    fields: &mut Fields,
    key: &str,
    least_alpha: f64,
    more: &[(&str, char)],
) -> Result<Option<Shape>, DefinitionError> {
    let (sigma, alpha) = (format!("{key}.sigma"), format!("{key}.alpha"));
    fields.know(&sigma);
    fields.know(&alpha);
    let choices =
        [&[("fixed", 'f'), ("exponential", 'x'), ("lognormal", 'l'), ("pareto", 'p')], more].concat();
    Ok(match fields.choice(&format!("{key}.distribution"), &choices)? {
        'f' => Some(Shape::Fixed),
        'x' => Some(Shape::Exponential),
        'l' => Some(Shape::Lognormal { sigma: fields.number(&sigma, 0.0, 5.0)? }),
        'p' => Some(Shape::Pareto { alpha: fields.number(&alpha, least_alpha, 100.0)? }),
        _ => None,
    })
}

/// Checks what single fields cannot show: values that contradict each other.
fn check(definition: &Definition, fields: &Fields) -> Result<(), DefinitionError> {
    let largest = definition.payload.max_bytes;
    if largest / definition.parsed.bytes_per_object > MAX_OBJECTS {
        let least = show_size(largest.div_ceil(MAX_OBJECTS) as f64);
        let allowed =
            format!("at least {least}, so that payload.max makes at most {MAX_OBJECTS} objects a request");
        return Err(fields.refuse("parsed.bytes_per_object", &allowed));
    }
    let heap = u128::from(definition.heap_limit_bytes);
    let standing = [
        ("startup.objects", definition.startup.objects, definition.startup.size.min_bytes.max(16)),
        ("connections", definition.connections.into(), definition.connection.buffer_bytes),
    ];
    for (key, count, bytes) in standing {
        if u128::from(count) * u128::from(bytes) > heap {
            let limit = show_size(definition.heap_limit_bytes as f64);
            let allowed = format!(
                "at most {}: each takes {} or more, and heap_limit is {limit}",
                definition.heap_limit_bytes / bytes,
                show_size(bytes as f64)
            );
            return Err(fields.refuse(key, &allowed));
        }
    }
    Ok(())
}
