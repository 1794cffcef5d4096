//! Throughput: a bar of the median from 0, each sample as a dot, the median's interval.

use super::super::analysis::Analysis;
use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{INK, Look, MUTED, PAPER, mix};
use super::super::drawing::{Anchor, BODY, Canvas, Svg, draw};
use super::super::summary::SummaryRow;
use super::super::{ReportError, units};
use super::frame::{Bars, SMALL, Subject, title};
use crate::results::metrics::EVENTS_PER_SECOND;

const ROW: f64 = 62.0;

/// Draws the plot; none if no throughput sample was taken.
pub(super) fn plot(subject: &Subject<'_>) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let rows: Vec<(&SummaryRow, Look)> = analysis
        .variants
        .iter()
        .zip(looks)
        .filter_map(|(variant, look)| Some((analysis.row(workload, variant, EVENTS_PER_SECOND)?, *look)))
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let values = |row: &SummaryRow| -> Vec<f64> {
        let values = analysis.figures.values(workload, &row.variant, EVENTS_PER_SECOND);
        values.into_iter().flat_map(|values| values.values().copied()).collect()
    };
    let max = rows.iter().flat_map(|(row, _)| values(row)).fold(0.0, f64::max);
    let axis = Axis::new(max * 1.04, Unit::Count, 6);
    let svg = draw(path, |canvas| {
        let subtitle = "Events per second, longer is better. Dots are samples, bars their median, brackets its interval.";
        let top = title(canvas, &format!("{workload}: throughput"), subtitle);
        let labels: Vec<&str> = rows.iter().map(|(row, _)| row.variant.as_str()).collect();
        let bars = Bars::new(canvas, top, ROW * rows.len() as f64, &labels, 356.0);
        bars.draw_ticks(canvas, &axis);
        for (at, (row, look)) in rows.iter().enumerate() {
            let y = bars.top + ROW * (at as f64 + 0.5);
            draw_row(canvas, analysis, &bars, &axis, (row, *look), &values(row), y);
        }
        let middle = (bars.left + bars.right) / 2.0;
        canvas.text((middle, bars.bottom + 42.0), Anchor::Middle, "events per second", BODY.sized(16.0));
        bars.bottom + 72.0
    })?;
    Ok(Some(svg))
}

fn draw_row(
    canvas: &mut Canvas,
    analysis: &Analysis<'_>,
    bars: &Bars,
    axis: &Axis,
    (row, look): (&SummaryRow, Look),
    values: &[f64],
    y: f64,
) {
    let failed = if row.failed > 0 { format!("{} failed", row.failed) } else { String::new() };
    bars.draw_label(canvas, y, &row.variant, &failed);
    let Some(middle) = row.median else {
        canvas.text((bars.left + 12.0, y), Anchor::Left, "no sample ended well", BODY.coloured(MUTED));
        return;
    };
    let x = bars.x(axis, middle);
    canvas.rect((bars.left, x), (y - 17.0, y + 17.0), mix(look.colour, PAPER, 0.62), 1.0);
    canvas.rect((x - 3.0, x), (y - 17.0, y + 17.0), look.colour, 1.0);
    for (at, value) in values.iter().enumerate() {
        // Spread over the bar's height in a fixed order, so that equal values stay visible.
        let offset = ((at * 7) % 11) as f64 / 10.0 - 0.5;
        canvas.dot((bars.x(axis, *value), y + offset * 22.0), 3.6, look.colour, 0.85);
    }
    if let (Some(low), Some(high)) = (row.low, row.high) {
        let (low, high) = (bars.x(axis, low), bars.x(axis, high));
        canvas.line(&[(low, y), (high, y)], 2.0, INK, None);
        for end in [low, high] {
            canvas.line(&[(end, y - 6.0), (end, y + 6.0)], 2.0, INK, None);
        }
    }
    let left = bars.right + 22.0;
    canvas.text((left, y - 10.0), Anchor::Left, &describe_value(row), BODY.bold());
    canvas.text((left, y + 12.0), Anchor::Left, &describe_ratio(analysis, row), SMALL);
}

fn describe_value(row: &SummaryRow) -> String {
    let per_second = |value: f64| format!("{}/s", units::count(value));
    let middle = row.median.map(per_second).unwrap_or_default();
    match (row.low, row.high) {
        (Some(low), Some(high)) => format!("{middle}  ({} to {})", units::count(low), units::count(high)),
        _ => middle,
    }
}

/// What a figure is to the baseline, in words.
pub(super) fn describe_ratio(analysis: &Analysis<'_>, row: &SummaryRow) -> String {
    let samples = if row.n == 1 { "1 sample".to_owned() } else { format!("{} samples", row.n) };
    let Some(baseline) = &analysis.baseline else {
        return samples;
    };
    if analysis.is_floor(&row.variant) {
        return format!("{samples}; measures the harness, not ranked");
    }
    if *baseline == row.variant {
        return format!("{samples}; baseline");
    }
    match row.ratio.zip(row.verdict) {
        None => samples,
        Some((ratio, verdict)) => {
            format!("{samples}; {} x baseline: {}", units::ratio(ratio), verdict.of_speed())
        }
    }
}
