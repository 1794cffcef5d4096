//! Axes: the positions and labels of the ticks of a linear or a logarithmic scale.

use super::super::units;

/// What an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Unit {
    /// Bytes, in binary units.
    Bytes,
    /// Nanoseconds, up to days.
    Time,
    /// A plain number.
    Count,
}

/// A linear scale from 0.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Axis {
    /// Its upper end; above 0.
    pub(in crate::report) max: f64,
    /// Values of the ticks with their labels.
    pub(in crate::report) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A scale that holds 0 to `max`, with at most `most_ticks` above 0 at round values.
    pub(in crate::report) fn new(max: f64, unit: Unit, most_ticks: usize) -> Axis {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let (size, name) = unit_of(max, unit);
        let least = max / size / most_ticks.max(1) as f64;
        // Bytes have no fractions.
        let step = round_step(if unit == Unit::Bytes && size == 1.0 { least.max(1.0) } else { least });
        let count = (max / size / step * (1.0 + 1e-9)).floor() as usize;
        let ticks = (0..=count.min(most_ticks)).map(|at| {
            let value = at as f64 * step;
            let digits = if step < 1.0 { (-step.log10()).ceil().clamp(0.0, 9.0) as usize } else { 0 };
            let label = if at == 0 {
                "0".to_owned()
            } else {
                format!("{value:.digits$} {name}").trim_end().to_owned()
            };
            (value * size, label)
        });
        Axis { max, ticks: ticks.collect() }
    }

    /// The position of a value, as a fraction of the axis.
    pub(in crate::report) fn fraction(&self, value: f64) -> f64 {
        (value / self.max).clamp(0.0, 1.0)
    }
}

/// A logarithmic scale over whole decades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) struct LogAxis {
    low: i32,
    high: i32,
    /// Whether values below the lowest decade are placed at it.
    open: bool,
}

impl LogAxis {
    /// A scale that holds all positive values from `low` to `high`. If it `has_zero`, zero is at its lower
    /// end, and the label there says so.
    pub(in crate::report) fn new(low: f64, high: f64, has_zero: bool) -> LogAxis {
        let decade = |value: f64| if value.is_finite() && value > 0.0 { value.log10() } else { 0.0 };
        let low = decade(low).floor() as i32;
        LogAxis { low, high: (decade(high).ceil() as i32).max(low + 1), open: has_zero }
    }

    /// The position of a value, as a fraction of the axis.
    pub(in crate::report) fn fraction(&self, value: f64) -> f64 {
        if value <= 0.0 {
            return 0.0;
        }
        ((value.log10() - f64::from(self.low)) / f64::from(self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The decades with their labels in units of time.
    pub(in crate::report) fn decades(&self) -> Vec<(f64, String)> {
        let label = |value: f64| {
            let (size, name) = unit_of(value * 1.0000001, Unit::Time);
            format!(
                "{} {name}",
                units::significant((value / size).round()).trim_end_matches(".00").trim_end_matches(".0")
            )
        };
        let decades = (self.low..=self.high).map(|decade| {
            let value = 10f64.powi(decade);
            let sign = if self.open && decade == self.low { "≤ " } else { "" };
            (value, format!("{sign}{}", label(value)))
        });
        decades.collect()
    }
}

/// A scale that need not start at 0: linear if its values are close together, otherwise logarithmic.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Span {
    low: f64,
    high: f64,
    /// Whether equal distances are equal ratios.
    pub(in crate::report) is_logarithmic: bool,
    /// Values of the ticks with their labels.
    pub(in crate::report) ticks: Vec<(f64, String)>,
}

/// A span is logarithmic from this ratio of its largest to its smallest value on.
const LOGARITHMIC_FROM: f64 = 5.0;
/// Space beyond the smallest and the largest value, as a fraction of the span.
const PADDING: f64 = 0.08;

impl Span {
    /// A scale that holds `low` to `high`, with space beyond both.
    pub(in crate::report) fn new(low: f64, high: f64, unit: Unit) -> Span {
        // Nothing is measured beyond these, and products would overflow.
        let high = if high.is_finite() && high > 0.0 { high.clamp(1e-9, 1e24) } else { 1.0 };
        let low = if low.is_finite() && low > 0.0 { low.clamp(high * 1e-12, high) } else { 0.0 };
        let label = |value: f64| match unit {
            Unit::Bytes => units::bytes(value),
            Unit::Time => units::nanoseconds(value),
            Unit::Count => units::count(value),
        };
        if low > 0.0 && high / low >= LOGARITHMIC_FROM {
            let pad = (high / low).powf(PADDING);
            let (low, high) = (low / pad, high * pad);
            let ticks = logarithmic_ticks(low, high, unit).map(|value| (value, label(value))).collect();
            return Span { low, high, is_logarithmic: true, ticks };
        }
        // If all values are the same, there are 2 % of the value on either side of them.
        let pad = ((high - low) * PADDING).max(high * 0.02);
        let (low, high) = ((low - pad).max(0.0), high + pad);
        let (size, _) = unit_of(high, unit);
        let step = round_step((high - low) / size / 8.0) * size;
        let first = (low / step).ceil() as i64;
        let values = (first..first + 12).map(|at| at as f64 * step).filter(|value| *value <= high);
        let ticks = values.map(|value| (value, label(value))).collect();
        Span { low, high, is_logarithmic: false, ticks }
    }

    /// The position of a value, as a fraction of the span.
    pub(in crate::report) fn fraction(&self, value: f64) -> f64 {
        let part = if self.is_logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.clamp(0.0, 1.0)
    }
}

/// Doublings for bytes, otherwise 1, 2, 5, 10, ...; every nth of them if there are too many.
fn logarithmic_ticks(low: f64, high: f64, unit: Unit) -> impl Iterator<Item = f64> {
    let all: Vec<f64> = if unit == Unit::Bytes {
        (0..64).map(|power| 2f64.powi(power)).filter(|value| (low..=high).contains(value)).collect()
    } else {
        let decades = (-3..25).flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade)));
        decades.filter(|value| (low..=high).contains(value)).collect()
    };
    let every = all.len().div_ceil(8).max(1);
    all.into_iter().step_by(every)
}

/// A logarithmic scale of ratios around 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct RatioAxis {
    low: f64,
    high: f64,
}

impl RatioAxis {
    /// A scale that holds `low` to `high`, and at least 0.9 to 1.1.
    pub(in crate::report) fn new(low: f64, high: f64) -> RatioAxis {
        let usable = |value: f64| if value.is_finite() && value > 0.0 { value.clamp(1e-6, 1e6) } else { 1.0 };
        let (low, high) = (usable(low).min(0.9), usable(high).max(1.1));
        // Dots at the ends are not cut off.
        let margin = (high / low).powf(0.04);
        RatioAxis { low: low / margin, high: high * margin }
    }

    /// The position of a ratio, as a fraction of the axis.
    pub(in crate::report) fn fraction(&self, value: f64) -> f64 {
        let value = if value > 0.0 { value } else { self.low };
        ((value / self.low).ln() / (self.high / self.low).ln()).clamp(0.0, 1.0)
    }

    /// Round ratios with their labels, including 1, no two of them nearer to each other than this fraction
    /// of the axis.
    pub(in crate::report) fn ticks(&self, nearest: f64) -> Vec<(f64, String)> {
        const ABOVE: [f64; 12] = [1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 1e2, 1e3, 1e4];
        const BELOW: [f64; 12] = [0.9, 0.8, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 1e-3, 1e-4];
        let mut ticks = vec![1.0];
        for side in [ABOVE, BELOW] {
            let mut last = 1.0;
            for value in side {
                let far = (self.fraction(value) - self.fraction(last)).abs() >= nearest;
                if far && value > self.low && value < self.high {
                    ticks.push(value);
                    last = value;
                }
            }
        }
        ticks.into_iter().map(|value| (value, format!("{value}"))).collect()
    }
}

/// The largest unit that `max` holds at least once, with its name.
fn unit_of(max: f64, unit: Unit) -> (f64, &'static str) {
    let units: &[(f64, &str)] = match unit {
        Unit::Bytes => &[
            (1.0, "B"),
            (1024.0, "KiB"),
            (1048576.0, "MiB"),
            (1073741824.0, "GiB"),
            (1099511627776.0, "TiB"),
        ],
        Unit::Time => &[
            (1.0, "ns"),
            (1e3, "us"),
            (1e6, "ms"),
            (1e9, "s"),
            (120e9, "min"),
            (7200e9, "h"),
            (172_800e9, "d"),
        ],
        Unit::Count => &[(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")],
    };
    let (from, name) = units.iter().rev().find(|(size, _)| max >= *size).unwrap_or(&units[0]);
    // Minutes, hours and days start at two of them, so that 90 s stay seconds.
    let size = if matches!(*name, "min" | "h" | "d") { from / 2.0 } else { *from };
    (size, name)
}

/// The smallest of 1, 2, 5, 10, ... that is at least `least`.
fn round_step(least: f64) -> f64 {
    let decade = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(decade * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(max: f64, unit: Unit) -> Vec<String> {
        Axis::new(max, unit, 5).ticks.into_iter().map(|tick| tick.1).collect()
    }

    #[test]
    fn ticks_are_round_in_their_unit() {
        assert_eq!(labels(106.0 * 1048576.0, Unit::Bytes), ["0", "50 MiB", "100 MiB"]);
        assert_eq!(labels(90e9, Unit::Time), ["0", "20 s", "40 s", "60 s", "80 s"]);
        assert_eq!(labels(3600e9, Unit::Time), ["0", "20 min", "40 min", "60 min"]);
        assert_eq!(labels(2.4e6, Unit::Count), ["0", "0.5 M", "1.0 M", "1.5 M", "2.0 M"]);
    }

    #[test]
    fn no_value_breaks_an_axis() {
        for max in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 1e300, u64::MAX as f64] {
            for unit in [Unit::Bytes, Unit::Time, Unit::Count] {
                let axis = Axis::new(max, unit, 6);
                assert!(axis.max > 0.0 && axis.ticks.len() <= 7, "{max}: {axis:?}");
            }
            let log = LogAxis::new(max, max, false);
            assert!((0.0..=1.0).contains(&log.fraction(5.0)));
        }
    }

    #[test]
    fn a_span_is_linear_where_values_are_close_and_logarithmic_where_they_are_not() {
        let labels = |span: &Span| span.ticks.iter().map(|tick| tick.1.clone()).collect::<Vec<String>>();
        let close = Span::new(70e6, 90e6, Unit::Count);
        assert_eq!(labels(&close), ["70.0 M", "75.0 M", "80.0 M", "85.0 M", "90.0 M"]);
        assert!(close.fraction(70e6) > 0.0 && close.fraction(90e6) < 1.0);
        let mib = 1048576.0;
        let far = Span::new(60.0 * mib, 700.0 * mib, Unit::Bytes);
        assert_eq!(labels(&far), ["64.0 MiB", "128 MiB", "256 MiB", "512 MiB"]);
        assert!(
            (far.fraction(120.0 * mib)
                - far.fraction(60.0 * mib)
                - (far.fraction(240.0 * mib) - far.fraction(120.0 * mib)))
            .abs()
                < 1e-9
        );
        for (low, high) in [
            (0.0, 0.0),
            (f64::NAN, f64::NAN),
            (5.0, 5.0),
            (f64::MAX, 0.0),
            (1e-300, 1e300),
            (1.0, f64::INFINITY),
        ] {
            for unit in [Unit::Bytes, Unit::Time, Unit::Count] {
                let span = Span::new(low, high, unit);
                assert!(
                    span.ticks.len() <= 12 && (0.0..=1.0).contains(&span.fraction(7.0)),
                    "{low} {high}: {span:?}"
                );
            }
        }
    }

    #[test]
    fn a_scale_of_ratios_holds_one_and_keeps_its_labels_apart() {
        let labels = |low, high| -> Vec<String> {
            RatioAxis::new(low, high).ticks(0.15).into_iter().map(|tick| tick.1).collect()
        };
        assert_eq!(labels(1.0, 1.0), ["1", "1.1", "0.9"]);
        assert_eq!(labels(0.5, 6.0), ["1", "1.5", "3", "5", "0.5"]);
        for (low, high) in [(0.0, f64::NAN), (f64::INFINITY, -1.0), (1e-300, 1e300)] {
            let axis = RatioAxis::new(low, high);
            assert!((0.0..=1.0).contains(&axis.fraction(low)) && axis.ticks(0.1).len() < 12, "{axis:?}");
        }
    }

    #[test]
    fn decades_carry_units_of_time() {
        let labels: Vec<String> =
            LogAxis::new(0.0, 2e6, true).decades().into_iter().map(|tick| tick.1).collect();
        assert_eq!(labels, ["≤ 1 ns", "10 ns", "100 ns", "1 us", "10 us", "100 us", "1 ms", "10 ms"]);
        assert_eq!(LogAxis::new(0.0, 100.0, true).fraction(0.0), 0.0);
    }
}
