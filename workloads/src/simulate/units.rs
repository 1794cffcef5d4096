//! Quantities as definitions write them: "64KiB", "30s", "20/s", "8MiB/s". Text in, base units out.
//!
//! A bare number is refused: whether `payload.median = 64` means bytes or KiB is not ours to guess.

/// Factors of the units of size, in bytes.
const SIZES: &[(&str, f64)] = &[
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1048576.0),
    ("GiB", 1073741824.0),
    ("TiB", 1099511627776.0),
];

/// Factors of the units of time, in ns.
const TIMES: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 60e9), ("h", 3600e9), ("d", 86400e9)];

/// A kind of quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Bytes.
    Size,
    /// Nanoseconds.
    Time,
    /// Events per second.
    Rate,
    /// Bytes per second.
    Throughput,
}

impl Quantity {
    /// What is allowed, for a message.
    pub(super) fn allowed(self) -> &'static str {
        match self {
            Quantity::Size => {
                "a size with its unit, such as \"64KiB\" (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)"
            }
            Quantity::Time => "a time with its unit, such as \"30s\" (ns, us, ms, s, min, h, d)",
            Quantity::Rate => "a rate with its unit, such as \"20/s\" (/s, /min, /h, /d)",
            Quantity::Throughput => "a size per time, such as \"8MiB/s\" (a size, then /s, /min, /h, /d)",
        }
    }

    /// The value of `text` in the base unit; none if it is not such a quantity. It may be negative.
    pub(super) fn parse(self, text: &str) -> Option<f64> {
        let (number, unit) = split_number(text.trim())?;
        let factor = match self {
            Quantity::Size => find(SIZES, unit)?,
            Quantity::Time => find(TIMES, unit)?,
            Quantity::Rate => per_second(unit.strip_prefix('/')?)?,
            Quantity::Throughput => {
                let (size, time) = unit.split_once('/')?;
                find(SIZES, size)? * per_second(time)?
            }
        };
        let value = number * factor;
        value.is_finite().then_some(value)
    }
}

/// Parses a time such as "30s" or "1.5h" into nanoseconds.
///
/// # Errors
///
/// What was found and what is allowed, in words.
///
/// ```
/// use heaplab_workloads::simulate::parse_time_ns;
///
/// assert_eq!(parse_time_ns("1.5min"), Ok(90_000_000_000));
/// assert!(parse_time_ns("90").is_err());
/// ```
pub fn parse_time_ns(text: &str) -> Result<u64, String> {
    match Quantity::Time.parse(text) {
        Some(ns) if (1.0..=MAX_TIME_NS).contains(&ns) => Ok(ns as u64),
        Some(_) => Err(format!("{text:?} is not between 1ns and {}", show_time(MAX_TIME_NS))),
        None => Err(format!("{text:?} is not {}", Quantity::Time.allowed())),
    }
}

/// Parses a size such as "64KiB" into bytes.
///
/// # Errors
///
/// What was found and what is allowed, in words.
pub fn parse_size_bytes(text: &str) -> Result<u64, String> {
    match Quantity::Size.parse(text) {
        Some(bytes) if (0.0..=u64::MAX as f64).contains(&bytes) => Ok(bytes as u64),
        Some(_) => Err(format!("{text:?} is no size that a machine has")),
        None => Err(format!("{text:?} is not {}", Quantity::Size.allowed())),
    }
}

/// The longest time that a definition may name: 100,000 hours, so that no sum of times overflows.
pub(super) const MAX_TIME_NS: f64 = 100_000.0 * 3600e9;

/// The text of a size in the largest unit that divides it, which [`parse_size_bytes`] reads.
pub fn show_size(bytes: f64) -> String {
    show(SIZES, bytes)
}

/// The text of a time in the largest unit that divides it, which [`parse_time_ns`] reads.
pub fn show_time(ns: f64) -> String {
    show(TIMES, ns)
}

fn show(units: &[(&str, f64)], value: f64) -> String {
    let fits = |factor: f64| value >= factor && (value / factor).fract() == 0.0;
    let best = units.iter().filter(|(_, factor)| fits(*factor)).max_by(|a, b| a.1.total_cmp(&b.1));
    let (unit, factor) = best.copied().unwrap_or(units[0]);
    format!("{}{unit}", value / factor)
}

fn find(units: &[(&str, f64)], unit: &str) -> Option<f64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// The factor that turns a count per `unit` into one per second.
fn per_second(unit: &str) -> Option<f64> {
    matches!(unit, "s" | "min" | "h" | "d").then(|| find(TIMES, unit).map(|ns| 1e9 / ns)).flatten()
}

/// Splits "1.5KiB" into 1.5 and "KiB". A unit is never empty.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '+')))?;
    let (number, unit) = text.split_at(end);
    let number = number.replace('_', "").parse::<f64>().ok()?;
    Some((number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_with_units_are_read() {
        assert_eq!(Quantity::Size.parse("64KiB"), Some(65536.0));
        assert_eq!(Quantity::Size.parse("1.5 MB"), Some(1.5e6));
        assert_eq!(Quantity::Time.parse("250us"), Some(250e3));
        assert_eq!(Quantity::Time.parse("2h"), Some(7200e9));
        assert_eq!(Quantity::Rate.parse("120/min"), Some(2.0));
        assert_eq!(Quantity::Throughput.parse("8MiB/s"), Some(8388608.0));
        assert_eq!(Quantity::Rate.parse("-3/s"), Some(-3.0));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "64", "KiB", "64kib", "64 K", "1e3B", "--1B", "1B/s", "1/B", "nanB", "infs", "٣s"] {
            for quantity in [Quantity::Size, Quantity::Time, Quantity::Rate] {
                assert_eq!(quantity.parse(text), None, "{text}");
            }
        }
        assert_eq!(Quantity::Size.parse(&format!("{}TiB", "9".repeat(400))), None);
    }

    #[test]
    fn sizes_and_times_are_shown_in_their_unit() {
        assert_eq!(show_size(65536.0), "64KiB");
        assert_eq!(show_size(1000.0), "1KB");
        assert_eq!(show_size(1023.0), "1023B");
        assert_eq!(show_time(5e9), "5s");
        assert_eq!(show_time(90e9), "90s");
    }
}
