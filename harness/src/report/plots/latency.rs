//! Latency by percentile, one panel for each operation: nines to the right, time upward, both
//! logarithmic. The calls of all blocks together.

use super::super::ReportError;
use super::super::analysis::Analysis;
use super::super::drawing::axis::LogAxis;
use super::super::drawing::palette::{Look, MUTED, SHADE};
use super::super::drawing::{Anchor, BODY, Canvas, Svg, WIDTH, draw};
use super::super::latency::{Histogram, Timed};
use super::frame::{Key, MARGIN, Panel, SMALL, Subject, legend, title};

const OPERATIONS: [&str; 5] = ["malloc", "calloc", "aligned_alloc", "realloc", "free"];
const PANEL: f64 = 360.0;
const TIMER_LOOK: Look = Look { colour: MUTED, dash: Some((5.0, 4.0)) };
/// The percentiles with vertical lines.
const MARKS: [(f64, &str); 7] = [
    (0.0, "0"),
    (0.5, "50"),
    (0.9, "90"),
    (0.99, "99"),
    (0.999, "99.9"),
    (0.9999, "99.99"),
    (0.99999, "99.999"),
];

/// A curve of one panel.
struct Curve {
    look: Look,
    buckets: Vec<(u64, u64)>,
}

/// Draws the plot of one scope; none if nothing of it was measured.
pub(super) fn plot(subject: &Subject<'_>, scope: &str) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let of_variant =
        |variant: &String| analysis.latencies.histograms.get(&(workload.to_owned(), variant.clone()));
    let curves = |operation: &str| -> Vec<Curve> {
        let timed = Timed { operation: operation.to_owned(), scope: scope.to_owned() };
        let variants = analysis.variants.iter().zip(looks);
        let found = variants.filter_map(|(variant, look)| Some((of_variant(variant)?.get(&timed)?, look)));
        found.map(|(histogram, look)| Curve { look: *look, buckets: histogram.buckets().to_vec() }).collect()
    };
    let panels: Vec<(&str, Vec<Curve>)> = OPERATIONS
        .iter()
        .map(|operation| (*operation, curves(operation)))
        .filter(|panel| !panel.1.is_empty())
        .collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let timer = timer_curve(analysis, workload);
    let all = || panels.iter().flat_map(|panel| &panel.1).chain(&timer).flat_map(|curve| &curve.buckets);
    let least = all().map(|bucket| bucket.0).filter(|&value| value > 0).min().unwrap_or(1) as f64;
    let most = all().map(|bucket| bucket.0).max().unwrap_or(1) as f64;
    let time = LogAxis::new(least, most, all().any(|bucket| bucket.0 == 0));
    let calls =
        panels.iter().flat_map(|panel| &panel.1).map(|curve| total(&curve.buckets)).max().unwrap_or(1);
    let nines = (calls as f64).log10().clamp(1.0, 6.0);
    let shown: Vec<(&String, &Look)> =
        analysis.variants.iter().zip(looks).filter(|(variant, _)| of_variant(variant).is_some()).collect();
    let rows = panels.len().div_ceil(2) as f64;
    let svg = draw(path, |canvas| {
        let what = if scope == "touch" { "call and first touch" } else { "call alone" };
        let subtitle = "Time of the calls by percentile; lower is better. Shaded: below three times the timer's own median.";
        let top = title(canvas, &format!("{workload}: latency, {what}"), subtitle);
        let mut entries: Vec<(Key, String)> =
            shown.iter().map(|(variant, look)| (Key::Line(**look), (*variant).clone())).collect();
        entries.extend(timer.as_ref().map(|_| (Key::Line(TIMER_LOOK), "timer".to_owned())));
        let top = legend(canvas, top, &entries);
        let columns = if panels.len() == 1 { 1.0 } else { 2.0 };
        let width = (WIDTH - 2.0 * MARGIN) / columns;
        for (at, (operation, curves)) in panels.iter().enumerate() {
            let (column, row) = (at as f64 % columns, (at as f64 / columns).floor());
            let left = MARGIN + width * column;
            let top = top + PANEL * row;
            let panel = Panel {
                left: left + 66.0,
                right: left + width - 26.0,
                top: top + 34.0,
                bottom: top + PANEL - 62.0,
            };
            draw_panel(canvas, &panel, operation, &time, nines, analysis.latencies.resolution_ns(workload));
            for curve in timer.iter().chain(curves) {
                draw_curve(canvas, &panel, &time, nines, curve);
            }
        }
        top + PANEL * rows
    })?;
    Ok(Some(svg))
}

fn draw_panel(
    canvas: &mut Canvas,
    panel: &Panel,
    operation: &str,
    time: &LogAxis,
    nines: f64,
    resolution_ns: Option<f64>,
) {
    canvas.text((panel.left, panel.top - 17.0), Anchor::Left, operation, BODY.bold());
    if let Some(least) = resolution_ns {
        let y = panel.at(0.0, time.fraction(least)).1;
        canvas.rect((panel.left, panel.right), (y, panel.bottom), SHADE, 1.0);
    }
    for (fraction, label) in MARKS {
        let x = nines_of(fraction) / nines;
        if x <= 1.0 {
            panel.draw_upright(canvas, x, label);
        }
    }
    for (value, label) in time.decades() {
        panel.draw_level(canvas, time.fraction(value), &label);
    }
    if let Some(y) = resolution_ns.map(|least| panel.at(0.0, time.fraction(least)).1)
        && panel.bottom - y > 22.0
    {
        canvas.text((panel.right - 8.0, panel.bottom - 11.0), Anchor::Right, "under resolution", SMALL);
    }
    let middle = (panel.left + panel.right) / 2.0;
    canvas.text((middle, panel.bottom + 38.0), Anchor::Middle, "percentile of calls", SMALL.coloured(MUTED));
}

/// Draws steps: from the share of calls below a bucket to the share up to and including it, at the
/// bucket's value.
fn draw_curve(canvas: &mut Canvas, panel: &Panel, time: &LogAxis, nines: f64, curve: &Curve) {
    let total = total(&curve.buckets) as f64;
    let mut below = 0u128;
    let mut points = Vec::with_capacity(curve.buckets.len() * 2);
    for (value, count) in curve.buckets.iter().filter(|bucket| bucket.1 > 0) {
        let y = time.fraction(*value as f64);
        let from = nines_of(below as f64 / total) / nines;
        below += u128::from(*count);
        // The last bucket includes every call: it ends where half a call remains.
        let most = nines_of(1.0 - 0.5 / total);
        let to = nines_of(below as f64 / total).min(most) / nines;
        points.push(panel.at(from.clamp(0.0, 1.0), y));
        points.push(panel.at(to.clamp(0.0, 1.0), y));
        if from >= 1.0 {
            break;
        }
    }
    canvas.line(&points, 2.2, curve.look.colour, curve.look.dash);
}

/// How many nines a share of calls has: 0.99 has 2.
fn nines_of(fraction: f64) -> f64 {
    -(1.0 - fraction).max(1e-12).log10()
}

fn total(buckets: &[(u64, u64)]) -> u128 {
    buckets.iter().map(|bucket| u128::from(bucket.1)).sum::<u128>().max(1)
}

/// The timer's own distribution over all variants of a workload.
fn timer_curve(analysis: &Analysis<'_>, workload: &str) -> Option<Curve> {
    let mut sum = Histogram::default();
    for (_, histograms) in analysis.latencies.histograms.iter().filter(|((of, _), _)| of == workload) {
        for (_, histogram) in histograms.iter().filter(|(timed, _)| timed.is_timer()) {
            histogram.buckets().iter().for_each(|&(value, count)| sum.add(value, count));
        }
    }
    sum.settle();
    (!sum.buckets().is_empty()).then(|| Curve { look: TIMER_LOOK, buckets: sum.buckets().to_vec() })
}
