//! Where the spread of a figure comes from, if a load model has a different load in each block: the load, or the
//! layout and the machine.

use super::analysis::Analysis;
use super::grid::{Grid, Table};
use crate::results::metrics::{RESIDENT_MEAN, RESIDENT_PEAK, RESIDENT_SETTLED};
use crate::results::{Pass, Sample};
use crate::stats::{Components, components};

/// A figure of a sample, and the same figure of its load under a different layout.
struct Twin {
    name: &'static str,
    metric: &'static str,
    pass: Pass,
    values: fn(&Sample) -> (Option<u64>, Option<u64>),
}

const TWINS: [Twin; 4] = [
    Twin {
        name: "busy time",
        metric: "busy_ns",
        pass: Pass::Throughput,
        values: |sample| (sample.busy_ns, sample.twin_busy_ns),
    },
    Twin {
        name: "peak",
        metric: RESIDENT_PEAK,
        pass: Pass::Memory,
        values: |sample| (sample.resident_peak_bytes, sample.twin_resident_peak_bytes),
    },
    Twin {
        name: "mean",
        metric: RESIDENT_MEAN,
        pass: Pass::Memory,
        values: |sample| (sample.resident_mean_bytes, sample.twin_resident_mean_bytes),
    },
    Twin {
        name: "settled",
        metric: RESIDENT_SETTLED,
        pass: Pass::Memory,
        values: |sample| (sample.resident_settled_bytes, sample.twin_resident_settled_bytes),
    },
];

const NOTE: &str = "Causes of a figure's spread over blocks, as standard deviations in percent of its mean: the \
    load, which each block draws again, and layout and machine, which make two samples of one load differ. Busy time \
    is per event. Loads: those that were measured twice.";

impl Analysis<'_> {
    /// Whether any figure's spread can be separated.
    pub(super) fn has_twins(&self) -> bool {
        self.run.samples.iter().any(|sample| TWINS.iter().any(|twin| (twin.values)(sample).1.is_some()))
    }

    /// The components of a metric's spread; none if they are not known.
    pub(super) fn components(&self, workload: &str, variant: &str, metric: &str) -> Option<Components> {
        let twin = TWINS.iter().find(|twin| twin.metric == metric)?;
        let samples = self.ok_samples(workload, twin.pass).filter(|(_, sample)| sample.variant == variant);
        // Loads differ in the number of their events: time is compared per event, as in every table.
        let part = |sample: &Sample, value: u64| match twin.pass {
            Pass::Throughput => value as f64 / sample.events.unwrap_or(1).max(1) as f64,
            _ => value as f64,
        };
        let figures = samples.filter_map(|(_, sample)| {
            let (one, other) = (twin.values)(sample);
            Some((part(sample, one?), other.map(|other| part(sample, other))))
        });
        components(&figures.collect::<Vec<(f64, Option<f64>)>>())
    }

    /// The table of a workload; none if nothing is known.
    pub(super) fn spread(&self, workload: &str) -> Option<Table> {
        let header = ["figure", "variant", "by load", "by layout and machine", "loads"];
        let mut rows = Vec::new();
        for twin in &TWINS {
            for variant in &self.variants {
                let Some(of) = self.components(workload, variant, twin.metric) else { continue };
                let cells = [
                    twin.name.to_owned(),
                    variant.clone(),
                    percent(of.load),
                    percent(of.layout),
                    of.twins.to_string(),
                ];
                rows.push(cells.to_vec());
            }
        }
        let grid = Grid { names: 2, header: header.map(str::to_owned).to_vec(), rows };
        (!grid.rows.is_empty()).then(|| Table { intro: NOTE.to_owned(), grid })
    }
}

/// Both components of a spread in one cell.
pub(super) fn describe(components: Option<Components>) -> String {
    components.map_or_else(
        || "-".to_owned(),
        |of| format!("load {}, layout {}", percent(of.load), percent(of.layout)),
    )
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}
