//! What a process needs at each load: as measured, and from the line where one describes the loads.

use serde::Serialize;

use super::connection::{MOST_BEND, fit_connections, is_one_recording, keys, line, loads};
use super::need::Need;
use crate::results::metrics::resident_interval;
use crate::stats::{Interval, bca_interval, median};

/// Where a figure at a load comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadSource {
    /// Samples at that load.
    Measured,
    /// The line, between two measured loads.
    Interpolated,
    /// The line, beyond the measured loads: nothing was measured that far.
    Extrapolated,
}

/// What a process needs at one load. Empty means that it cannot be stated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadRow {
    /// The load model or the program.
    pub model: String,
    /// Variant's label.
    pub variant: String,
    /// The load.
    pub load: f64,
    /// Where the figures come from.
    pub source: LoadSource,
    /// Samples that the figures rest on.
    pub n: u64,
    /// Memory of a process: the median of its samples, or the line's value there; empty where no line describes the
    /// loads.
    pub process_bytes: Option<f64>,
    /// Lower end of its interval; empty for fewer than 6 samples, and for one recording.
    pub process_low_bytes: Option<f64>,
    /// Upper end of its interval.
    pub process_high_bytes: Option<f64>,
    /// Nominal coverage of that interval.
    pub coverage: Option<f64>,
}

/// Every measured load of every model and variant, and the other loads asked for, read from the line.
///
/// The interval at a load that was not measured is that of the line there (BCa, each load resampled by itself): it
/// covers the uncertainty of the line, not how far a single process lies from it.
pub fn read_loads(needs: &[Need], asked: &[f64], non_heap_bytes: u64, seed: u64) -> Vec<LoadRow> {
    let lines = fit_connections(needs, non_heap_bytes, seed);
    keys(needs)
        .into_iter()
        .zip(&lines)
        .flat_map(|((model, variant), fitted)| {
            let found = loads(needs, model, variant, non_heap_bytes);
            let groups: Vec<&[f64]> = found.iter().map(|load| load.bytes.as_slice()).collect();
            let measured = fitted.connections.clone();
            let described = fitted.bend.is_some_and(|bend| bend <= MOST_BEND);
            let row = |load: f64, source, n, bytes: Option<f64>, interval: Option<Interval>| LoadRow {
                model: model.to_owned(),
                variant: variant.to_owned(),
                load,
                source,
                n,
                process_bytes: bytes,
                process_low_bytes: interval.map(|interval| interval.low),
                process_high_bytes: interval.map(|interval| interval.high),
                coverage: interval.map(|interval| interval.coverage),
            };
            let mut rows: Vec<LoadRow> = found
                .iter()
                .map(|load| {
                    let (n, middle) = (load.bytes.len() as u64, median(&load.bytes));
                    let interval = resident_interval(&load.bytes).filter(|_| !load.is_one_recording);
                    row(load.connections, LoadSource::Measured, n, middle, interval)
                })
                .collect();
            for &load in asked.iter().filter(|load| !measured.contains(load)) {
                let at =
                    |groups: &[Vec<f64>]| line(&measured, groups).map(|(slope, base)| base + slope * load);
                let whole: Vec<Vec<f64>> = found.iter().map(|load| load.bytes.clone()).collect();
                let inside = measured.first().is_some_and(|first| *first < load)
                    && measured.last().is_some_and(|last| load < *last);
                let source = if inside { LoadSource::Interpolated } else { LoadSource::Extrapolated };
                let bytes = described.then(|| at(&whole)).flatten().filter(|bytes| *bytes > 0.0);
                let interval = bytes.filter(|_| !is_one_recording(&found));
                let interval = interval.and_then(|_| bca_interval(&groups, seed, at));
                rows.push(row(load, source, fitted.n, bytes, interval));
            }
            rows.sort_by(|one, other| one.load.total_cmp(&other.load));
            rows
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::need::BlockNeed;
    use super::*;

    fn need(load: f64, more: f64) -> Need {
        let block = |at: u32| {
            let resident_p99_bytes = 1e6 + 500.0 * load + more + f64::from(at);
            (at, BlockNeed { resident_p99_bytes, page_table_bytes: 0.0 })
        };
        Need {
            variant: "v".to_owned(),
            load: Some(("m".to_owned(), load)),
            blocks: (0..8).map(block).collect(),
            ..Need::default()
        }
    }

    #[test]
    fn loads_are_measured_interpolated_or_extrapolated() {
        let needs = [need(200.0, 0.0), need(0.5, 0.0), need(100.0, 0.0)];
        let rows = read_loads(&needs, &[100.0, 150.0, 1000.0], 0, 1);
        let found: Vec<(f64, LoadSource)> = rows.iter().map(|row| (row.load, row.source)).collect();
        let wanted = [
            (0.5, LoadSource::Measured),
            (100.0, LoadSource::Measured),
            (150.0, LoadSource::Interpolated),
            (200.0, LoadSource::Measured),
            (1000.0, LoadSource::Extrapolated),
        ];
        assert_eq!(found, wanted);
        for row in &rows {
            let bytes = row.process_bytes.expect("a line");
            assert!((bytes - (1e6 + 500.0 * row.load)).abs() < 20.0, "{row:?}");
            assert!(row.process_low_bytes <= Some(bytes) && Some(bytes) <= row.process_high_bytes, "{row:?}");
        }
    }

    #[test]
    fn one_recording_has_no_interval_and_no_line_through_it_has_one() {
        let recorded = Need { is_one_recording: true, ..need(100.0, 0.0) };
        let rows = read_loads(&[recorded, need(200.0, 0.0)], &[150.0], 0, 1);
        let found: Vec<(f64, bool)> =
            rows.iter().map(|row| (row.load, row.process_high_bytes.is_some())).collect();
        assert_eq!(found, [(100.0, false), (150.0, false), (200.0, true)]);
        assert!(rows.iter().all(|row| row.process_bytes.is_some()));
    }

    #[test]
    fn where_no_line_describes_the_loads_nothing_is_said_between_them() {
        let needs = [need(100.0, 0.0), need(150.0, 9e5), need(200.0, 0.0)];
        let rows = read_loads(&needs, &[120.0], 0, 1);
        assert_eq!(rows.len(), 4);
        let (said, measured): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.load == 120.0);
        assert!(said[0].process_bytes.is_none() && said[0].process_high_bytes.is_none(), "{said:?}");
        assert!(measured.iter().all(|row| row.process_bytes.is_some()));
    }
}
