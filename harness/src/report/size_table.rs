//! Size classes that differ, as a table: in the report of a run, and in comparisons.

use super::analysis::Analysis;
use super::grid::{Grid, Table};
use super::size_classes::SizeDifference;
use super::units;
use crate::stats::{Interval, Ratio, Verdict, verdict};

/// Most rows of a workload's table.
pub(crate) const MOST_ROWS: usize = 10;

impl SizeDifference {
    /// The same with the verdict for a different threshold.
    #[must_use]
    pub fn judged(&self, threshold: f64) -> SizeDifference {
        let ends = self.ratio_low.zip(self.ratio_high).zip(self.ratio_coverage);
        let interval = ends.map(|((low, high), coverage)| Interval { low, high, coverage });
        let ratio = Ratio { estimate: self.ratio, interval, blocks: self.n as usize };
        SizeDifference { verdict: verdict(&ratio, threshold), ..self.clone() }
    }

    /// Whether there are enough blocks to tell.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        self.verdict != Verdict::TooFew
    }

    /// Whether a difference is shown.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        matches!(self.verdict, Verdict::Larger | Verdict::Smaller)
    }
}

/// The classes as a table.
pub(crate) fn size_grid<'a>(differences: impl Iterator<Item = &'a SizeDifference>) -> Grid {
    let header = [
        "variant",
        "workload",
        "size class",
        "requests",
        "calls",
        "usable vs baseline",
        "interval",
        "at the peak",
        "verdict",
    ];
    let rows = differences.map(|row| {
        let sign = if row.at_peak_bytes < 0.0 { "-" } else { "+" };
        vec![
            row.variant.clone(),
            row.workload.clone(),
            format!("{} B", row.size_bytes),
            format!("{} to {} B", row.requests_from_bytes, row.requests_to_bytes),
            units::count(row.calls),
            units::ratio(row.ratio),
            row.ratio_low.zip(row.ratio_high).map_or_else(
                || "-".to_owned(),
                |(low, high)| format!("{} to {}", units::ratio(low), units::ratio(high)),
            ),
            format!("{sign}{}", units::bytes(row.at_peak_bytes.abs())),
            row.verdict.as_str().to_owned(),
        ]
    });
    Grid { names: 4, header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
}

/// What was compared, in a sentence that ends with `than`, such as `calls of 2 of 143 size classes get more or fewer
/// usable bytes than under ptmalloc2`.
pub(crate) fn describe_classes(differences: &[&SizeDifference], than: &str) -> String {
    let shown = differences.iter().filter(|difference| difference.is_shown()).count();
    format!("calls of {shown} of {} size classes get more or fewer usable bytes {than}", differences.len())
}

impl Analysis<'_> {
    /// The classes of a workload that differ from the baseline's; none if there are none.
    pub(super) fn size_difference_table(&self, workload: &str) -> Option<Table> {
        let of: Vec<&SizeDifference> =
            self.size_differences.iter().filter(|of| of.workload == workload && of.is_judged()).collect();
        let baseline = of.first()?.baseline.as_str();
        let shown = of.iter().copied().filter(|difference| difference.is_shown()).take(MOST_ROWS);
        let grid = size_grid(shown);
        let intro = format!(
            "Usable bytes per call by size class, as a ratio to {baseline} for the same requests: {}. With 95 % confidence \
             all intervals contain their true ratio. The table has the classes that differ the most at the requested \
             peak, by so many usable bytes as `at the peak` says.",
            describe_classes(&of, &format!("than under {baseline}"))
        );
        (!grid.rows.is_empty()).then_some(Table { intro, grid })
    }
}
