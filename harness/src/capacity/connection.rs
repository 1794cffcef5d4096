//! Memory of a connection: a line through what a process needs at several loads of one model.
//!
//! The line is a Theil–Sen fit: its slope is the median of the slopes between every two samples of different loads, and
//! its base is the median of what remains of each sample. A sample that is a spike moves it by one rank, whereas least
//! squares follows the spike. Tried on three loads, 10 samples each, with 1 % noise: the mean error of the slope was
//! 0.58 % without spikes (least squares 0.57 %, least squares through the loads' medians 0.66 %), and 0.62 % where one
//! sample in twenty was a spike (5.6 % and 0.71 %).

use serde::Serialize;

use super::need::Need;
use crate::stats::{Interval, bca_interval, median};

/// Largest distance of a load from the line that is said to describe it, over the load's median.
pub const MOST_BEND: f64 = 0.1;

/// A process's memory as a line over its number of connections. Empty means that it cannot be stated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectionRow {
    /// The load model.
    pub model: String,
    /// Variant's label.
    pub variant: String,
    /// Connections of the runs, ascending.
    pub connections: Vec<f64>,
    /// Samples of all loads.
    pub n: u64,
    /// Memory that one more connection takes; empty where a load is further than [`MOST_BEND`] from the line.
    pub connection_bytes: Option<f64>,
    /// Lower end of its interval; empty where a load has fewer than 6 samples, or is one recording.
    pub connection_low_bytes: Option<f64>,
    /// Upper end of its interval.
    pub connection_high_bytes: Option<f64>,
    /// Memory of a process without connections, where the line meets 0. May be negative.
    pub base_bytes: Option<f64>,
    /// Lower end of its interval.
    pub base_low_bytes: Option<f64>,
    /// Upper end of its interval.
    pub base_high_bytes: Option<f64>,
    /// Nominal coverage of both intervals.
    pub coverage: Option<f64>,
    /// Largest distance of a load's median from the line, over that median.
    pub bend: Option<f64>,
    /// Whether a load is one recording, however often it was replayed.
    #[serde(skip)]
    pub is_one_recording: bool,
}

/// Fits the line of every model and variant. `needs` are those of one or more runs; `non_heap_bytes` are added to heaps;
/// `seed` decides the resamples.
///
/// The fit is the module's; the intervals are those of [`bca_interval`], with each load resampled by itself. Fewer than
/// two loads have no line.
pub fn fit_connections(needs: &[Need], non_heap_bytes: u64, seed: u64) -> Vec<ConnectionRow> {
    let fit = |(model, variant)| fit(&loads(needs, model, variant, non_heap_bytes), model, variant, seed);
    keys(needs).into_iter().map(fit).collect()
}

/// Each model with each of its variants.
pub(super) fn keys(needs: &[Need]) -> Vec<(&str, &str)> {
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for need in needs {
        let key = need.load.as_ref().map(|(model, _)| (model.as_str(), need.variant.as_str()));
        keys.extend(key.filter(|key| !keys.contains(key)));
    }
    keys
}

/// The samples of one load.
pub(super) struct Load {
    pub(super) connections: f64,
    pub(super) bytes: Vec<f64>,
    pub(super) is_one_recording: bool,
}

/// Whether a line would have the recorded build's memory from one recording of a load: the distance of that start of the
/// program from others is not known.
pub(super) fn is_one_recording(loads: &[Load]) -> bool {
    loads.iter().any(|load| load.is_one_recording)
}

fn fit(loads: &[Load], model: &str, variant: &str, seed: u64) -> ConnectionRow {
    let connections: Vec<f64> = loads.iter().map(|load| load.connections).collect();
    let groups: Vec<&[f64]> = loads.iter().map(|load| load.bytes.as_slice()).collect();
    let whole: Vec<Vec<f64>> = loads.iter().map(|load| load.bytes.clone()).collect();
    let found = line(&connections, &whole);
    let bend = found.and_then(|line| bend(loads, line));
    // Readers would believe a slope even where there is no line.
    let line = found.filter(|_| bend.is_none_or(|bend| bend <= MOST_BEND));
    let interval = |figure: fn((f64, f64)) -> f64| -> Option<Interval> {
        let found = bca_interval(&groups, seed, |groups| self::line(&connections, groups).map(figure));
        found.filter(|_| !is_one_recording(loads))
    };
    let (slope, base) = match line {
        Some(_) => (interval(|line| line.0), interval(|line| line.1)),
        None => (None, None),
    };
    ConnectionRow {
        model: model.to_owned(),
        variant: variant.to_owned(),
        n: loads.iter().map(|load| load.bytes.len() as u64).sum(),
        connection_bytes: line.map(|line| line.0),
        connection_low_bytes: slope.map(|interval| interval.low),
        connection_high_bytes: slope.map(|interval| interval.high),
        base_bytes: line.map(|line| line.1),
        base_low_bytes: base.map(|interval| interval.low),
        base_high_bytes: base.map(|interval| interval.high),
        coverage: slope.map(|interval| interval.coverage),
        bend,
        is_one_recording: is_one_recording(loads),
        connections,
    }
}

/// The samples by load, ascending, with memory outside of heaps; two runs at the same load count as one load.
pub(super) fn loads(needs: &[Need], model: &str, variant: &str, non_heap_bytes: u64) -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::new();
    for need in needs.iter().filter(|need| need.variant == variant && !need.blocks.is_empty()) {
        let Some((_, connections)) = need.load.as_ref().filter(|(name, _)| name == model) else { continue };
        let more = need.beside(non_heap_bytes);
        let bytes = need.blocks.values().map(|block| block.process_bytes() + more);
        match loads.iter_mut().find(|load| load.connections == *connections) {
            Some(load) => {
                load.bytes.extend(bytes);
                load.is_one_recording |= need.is_one_recording;
            }
            None => loads.push(Load {
                connections: *connections,
                bytes: bytes.collect(),
                is_one_recording: need.is_one_recording,
            }),
        }
    }
    loads.sort_by(|one, other| one.connections.total_cmp(&other.connections));
    loads
}

/// Slope and value at 0 of the Theil–Sen line; none for fewer than two loads.
pub(super) fn line(connections: &[f64], groups: &[Vec<f64>]) -> Option<(f64, f64)> {
    let loads: Vec<(f64, &Vec<f64>)> = connections.iter().copied().zip(groups).collect();
    let mut slopes = Vec::new();
    for (at, (x, bytes)) in loads.iter().enumerate() {
        for (further_x, further) in &loads[at + 1..] {
            let step = further_x - x;
            slopes.extend(bytes.iter().flat_map(|low| further.iter().map(move |high| (high - low) / step)));
        }
    }
    let slope = middle(slopes)?;
    let left = loads.iter().flat_map(|(x, bytes)| bytes.iter().map(move |bytes| bytes - slope * x));
    Some((slope, middle(left.collect())?))
}

/// The median, without sorting all values: a line is fitted 10,000 times.
fn middle(mut values: Vec<f64>) -> Option<f64> {
    let half = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let (below, upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    let upper = *upper;
    let lower = match below.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if values.len().is_multiple_of(2) => lower,
        _ => upper,
    };
    Some(f64::midpoint(lower, upper))
}

fn bend(loads: &[Load], (slope, base): (f64, f64)) -> Option<f64> {
    let distances = loads.iter().filter_map(|load| {
        let middle = median(&load.bytes).filter(|middle| *middle > 0.0)?;
        Some((middle - (base + slope * load.connections)).abs() / middle)
    });
    distances.max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::super::need::{Basis, BlockNeed};
    use super::*;
    use proptest::prelude::*;

    fn need(connections: u32, bytes: impl Iterator<Item = f64>) -> Need {
        let block = |resident_p99_bytes| BlockNeed { resident_p99_bytes, page_table_bytes: 0.0 };
        Need {
            workload: format!("m:{connections}"),
            variant: "v".to_owned(),
            load: Some(("m".to_owned(), f64::from(connections))),
            blocks: (0..).zip(bytes.map(block)).collect(),
            ..Need::default()
        }
    }

    #[test]
    fn a_line_without_noise_is_found_exactly() {
        let at = |connections: u32| {
            need(connections, std::iter::repeat_n(1e6 + 500.0 * f64::from(connections), 6))
        };
        let row = fit_connections(&[at(80), at(20), at(140)], 0, 1).remove(0);
        assert_eq!((&row.connections[..], row.n), (&[20.0, 80.0, 140.0][..], 18));
        let near = |value: Option<f64>, wanted: f64| {
            assert!((value.expect("a line") - wanted).abs() < 1e-3 * wanted)
        };
        near(row.connection_bytes, 500.0);
        near(row.base_bytes, 1e6);
        near(row.connection_low_bytes, 500.0);
        near(row.connection_high_bytes, 500.0);
        assert!(row.bend.is_some_and(|bend| bend < 1e-9));
    }

    #[test]
    fn a_line_through_single_recordings_has_no_interval() {
        let at = |connections: u32, is_one_recording: bool| Need {
            is_one_recording,
            ..need(connections, std::iter::repeat_n(1e6 + 500.0 * f64::from(connections), 6))
        };
        let row = fit_connections(&[at(20, true), at(80, false), at(140, false)], 0, 1).remove(0);
        assert!(row.is_one_recording && row.connection_bytes.is_some() && row.base_bytes.is_some());
        assert_eq!((row.connection_low_bytes, row.base_high_bytes, row.coverage), (None, None, None));
    }

    #[test]
    fn the_interval_holds_the_slope_and_a_bend_is_seen() {
        let noise = [-900.0, 400.0, 0.0, 700.0, -300.0, 100.0, -50.0, 250.0];
        let at = |connections: u32, more: f64| {
            need(
                connections,
                noise.into_iter().map(move |noise| 1e5 + 700.0 * f64::from(connections) + noise + more),
            )
        };
        let row = fit_connections(&[at(50, 0.0), at(100, 0.0), at(200, 0.0)], 0, 1).remove(0);
        let (low, high) =
            (row.connection_low_bytes.expect("eight"), row.connection_high_bytes.expect("eight"));
        assert!(low < 700.0 && 700.0 < high && high - low < 20.0, "{low} {high}");
        let bent = fit_connections(&[at(50, 0.0), at(100, 60_000.0), at(200, 0.0)], 0, 1).remove(0);
        assert!(bent.bend.is_some_and(|bend| bend > 0.1), "{:?}", bent.bend);
        assert_eq!(
            (bent.connection_bytes, bent.connection_low_bytes, bent.base_bytes, bent.coverage),
            (None, None, None, None),
            "no slope where no line describes the loads"
        );
    }

    /// A machine on which one sample in ten is half as large again as it should be.
    #[test]
    fn spikes_do_not_move_the_line() {
        let at = |connections: u32, spikes: [usize; 2]| {
            let truth = 5e7 + 7e5 * f64::from(connections);
            let value = move |sample: usize| {
                let noise = 1.0 + 0.002 * (sample as f64 - 4.5);
                truth * if spikes.contains(&sample) { 1.5 } else { noise }
            };
            need(connections, (0..10).map(value))
        };
        // Two spikes at the highest load: least squares turned the 700,000 into 810,000.
        let row = fit_connections(&[at(40, [99; 2]), at(80, [3, 99]), at(160, [0, 7])], 0, 1).remove(0);
        let found = row.connection_bytes.expect("a line");
        assert!((found / 7e5 - 1.0).abs() < 0.02, "{found}");
        let (low, high) = (row.connection_low_bytes.expect("ten"), row.connection_high_bytes.expect("ten"));
        assert!(low < 7e5 && 7e5 < high && high - low < 1e5, "{low} {high}");
    }

    #[test]
    fn one_load_or_few_samples_say_less() {
        let at = |connections: u32, count: usize| {
            need(connections, std::iter::repeat_n(f64::from(connections), count))
        };
        let one = fit_connections(&[at(80, 9), at(80, 9)], 0, 1).remove(0);
        assert_eq!((one.n, one.connection_bytes, one.bend), (18, None, None));
        let few = fit_connections(&[at(80, 9), at(90, 5)], 0, 1).remove(0);
        assert!(few.connection_bytes.is_some() && few.connection_low_bytes.is_none());
        assert_eq!(fit_connections(&[Need::default()], 0, 1), []);
    }

    proptest! {
        #[test]
        fn the_middle_is_the_median(values in prop::collection::vec(-1e9f64..1e9, 0..40)) {
            prop_assert_eq!(middle(values.clone()), median(&values));
        }

        #[test]
        fn the_line_goes_with_its_data(slope in -1e3f64..1e6, base in 0f64..1e9, first in 1u32..500, step in 1u32..500) {
            let connections: Vec<f64> = (0..4).map(|at| f64::from(first + at * step)).collect();
            let groups: Vec<Vec<f64>> =
                connections.iter().map(|x| vec![base + slope * x; 3]).collect();
            let (found_slope, found_base) = line(&connections, &groups).expect("a line");
            prop_assert!((found_slope - slope).abs() < 1e-6 * (slope.abs() + base / f64::from(step)) + 1e-6);
            prop_assert!((found_base - base).abs() < 1e-6 * (base + slope.abs() * f64::from(first + 4 * step)) + 1e-3);
        }
    }

    #[test]
    fn memory_outside_heaps_is_in_the_base_and_not_in_a_connection() {
        let at = |load: u32| need(load, (0..8).map(|block| f64::from(1000 * load + block)));
        let fit = |basis, bytes| {
            let needs = [Need { basis, ..at(40) }, Need { basis, ..at(80) }];
            let row = fit_connections(&needs, bytes, 1).remove(0);
            (row.connection_bytes.expect("a line").round(), row.base_bytes.expect("a line").round())
        };
        assert_eq!(fit(Basis::Heap, 0), (1000.0, 4.0));
        assert_eq!(fit(Basis::Heap, 5_000_000), (1000.0, 5_000_004.0));
        assert_eq!(fit(Basis::Program, 5_000_000), (1000.0, 4.0), "it is in the measurement");
    }
}
