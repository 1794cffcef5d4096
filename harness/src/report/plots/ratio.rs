//! Ratio to the baseline with its interval: one panel for each metric, one row for each variant, all on
//! one logarithmic scale on which twice and half are equally far from 1.

use super::super::analysis::Analysis;
use super::super::drawing::axis::RatioAxis;
use super::super::drawing::palette::{INK, Look, MUTED, SHADE};
use super::super::drawing::{Anchor, BODY, Canvas, Svg, WIDTH, draw};
use super::super::summary::SummaryRow;
use super::super::{ReportError, units};
use super::frame::{MARGIN, Panel, SMALL, Subject, describe_flaws, title};
use crate::results::Pass;
use crate::results::metrics::{ALLOCATOR_PER_EVENT, RESIDENT_MEAN, RESIDENT_PEAK, RESIDENT_SETTLED};
use crate::stats::{NOISE_THRESHOLD, Verdict};

const ROW: f64 = 54.0;
const GAP: f64 = 26.0;

/// What a panel shows: its name, its metric, and the words of a verdict on it.
type Shown = (&'static str, &'static str, fn(Verdict) -> &'static str);

const OF_MEMORY: [Shown; 3] = [
    ("resident, peak", RESIDENT_PEAK, Verdict::as_str),
    ("resident, mean", RESIDENT_MEAN, Verdict::as_str),
    ("resident, settled", RESIDENT_SETTLED, Verdict::as_str),
];

/// The passes that the panels are of.
const PASSES: [Pass; 2] = [Pass::Throughput, Pass::Memory];

/// Draws the plot; none if there is no ratio to show.
pub(super) fn plot(subject: &Subject<'_>) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let Some(baseline) = analysis.baseline.as_deref() else {
        return Ok(None);
    };
    let row = |variant: &str, metric| analysis.row(workload, variant, metric);
    let has_ratio = |variant: &str, metric| row(variant, metric).is_some_and(|row| row.ratio.is_some());
    let variants = ranked(analysis, looks, baseline);
    let of_speed: Shown = (analysis.speed.name, analysis.speed.compared, Verdict::of_time);
    let shown: Vec<Shown> = [of_speed]
        .into_iter()
        .chain(OF_MEMORY)
        .filter(|(_, metric, _)| variants.iter().any(|(variant, _)| has_ratio(variant, metric)))
        .collect();
    if shown.is_empty() {
        return Ok(None);
    }
    let rows = shown.iter().flat_map(|(_, metric, _)| variants.iter().filter_map(|it| row(it.0, metric)));
    let axis = axis_of(rows);
    let svg = draw(path, |canvas| {
        let flaws = |variant: &str| describe_flaws(analysis, workload, variant, &PASSES);
        let of_baseline = match flaws(baseline) {
            flaws if flaws.is_empty() => flaws,
            flaws => format!(
                " What is said below a name is of its samples; of those of {baseline}, the baseline: {flaws}."
            ),
        };
        let subtitle = format!("{}{of_baseline}", subtitle());
        let top = title(canvas, &format!("{workload}: ratio to {baseline}"), &subtitle);
        let widths = variants.iter().map(|(variant, _)| canvas.text_width(variant, BODY.bold()));
        let left = MARGIN + widths.fold(60.0, f64::max).min(260.0) + 16.0;
        let width = (WIDTH - MARGIN - left + GAP) / shown.len() as f64;
        let head = if analysis.speed.is_net() { 48.0 } else { 30.0 };
        let (top, bottom) = (top + head, top + head + ROW * variants.len() as f64);
        for (at, (variant, _)) in variants.iter().enumerate() {
            let label = canvas.fit(variant, left - MARGIN - 16.0, BODY.bold());
            let y = top + ROW * (at as f64 + 0.5);
            let flaws = flaws(variant);
            let up = if flaws.is_empty() { 0.0 } else { 10.0 };
            canvas.text((left - 16.0, y - up), Anchor::Right, &label, BODY.bold());
            canvas.text((left - 16.0, y + 11.0), Anchor::Right, &flaws, SMALL);
        }
        for (at, (name, metric, words)) in shown.iter().enumerate() {
            let left = left + width * at as f64;
            let panel = Panel { left, right: left + width - GAP, top, bottom };
            canvas.text((panel.left, top - head + 12.0), Anchor::Left, name, BODY.sized(16.0).bold());
            if *metric == ALLOCATOR_PER_EVENT {
                canvas.text((panel.left, top - 15.0), Anchor::Left, "without the harness", SMALL);
            }
            draw_scale(canvas, &panel, &axis);
            for (at, (variant, look)) in variants.iter().enumerate() {
                let y = top + ROW * (at as f64 + 0.5);
                draw_ratio(canvas, &panel, &axis, *look, row(variant, metric), y - 9.0);
                let text = describe(row(variant, metric), *words);
                canvas.text_on_paper((panel.left + 6.0, y + 13.0), &text, SMALL);
            }
        }
        bottom + 46.0
    })?;
    Ok(Some(svg))
}

/// How to read a scale of ratios.
pub(super) fn subtitle() -> String {
    format!(
        "Left of 1 is better: less time, less memory. Dots: ratio within blocks; lines: its interval. A difference \
         is named when the whole interval is outside of the grey band of {} %.",
        NOISE_THRESHOLD * 100.0
    )
}

/// The variants that are compared with the baseline.
pub(super) fn ranked<'a>(analysis: &'a Analysis<'_>, looks: &[Look], baseline: &str) -> Vec<(&'a str, Look)> {
    let all = analysis.variants.iter().zip(looks);
    let others = all.filter(|(variant, _)| *variant != baseline && !analysis.is_floor(variant));
    others.map(|(variant, look)| (variant.as_str(), *look)).collect()
}

/// A scale that holds all ratios of these rows and their intervals.
pub(super) fn axis_of<'r>(rows: impl Iterator<Item = &'r SummaryRow>) -> RatioAxis {
    let values = rows.flat_map(|row| [row.ratio, row.ratio_low, row.ratio_high]).flatten();
    let (low, high) = values.fold((1.0f64, 1.0f64), |(low, high), value| (low.min(value), high.max(value)));
    RatioAxis::new(low, high)
}

/// Draws the noise band, the vertical lines and their labels.
pub(super) fn draw_scale(canvas: &mut Canvas, panel: &Panel, axis: &RatioAxis) {
    let x = |value: f64| panel.at(axis.fraction(value), 0.0).0;
    let noise = 1.0 + NOISE_THRESHOLD;
    canvas.rect((x(1.0 / noise), x(noise)), (panel.top, panel.bottom), SHADE, 1.0);
    let widest = 46.0 / (panel.right - panel.left);
    for (value, label) in axis.ticks(widest) {
        panel.draw_upright(canvas, axis.fraction(value), &label);
    }
    canvas.line(&[(x(1.0), panel.top), (x(1.0), panel.bottom)], 1.6, MUTED, None);
}

/// Draws a ratio as a dot with its interval as a line; nothing where there is none.
pub(super) fn draw_ratio(
    canvas: &mut Canvas,
    panel: &Panel,
    axis: &RatioAxis,
    look: Look,
    row: Option<&SummaryRow>,
    y: f64,
) {
    let x = |value: f64| panel.at(axis.fraction(value), 0.0).0;
    let Some(ratio) = row.and_then(|row| row.ratio) else {
        return;
    };
    if let Some((low, high)) = row.and_then(|row| row.ratio_low.zip(row.ratio_high)) {
        canvas.line(&[(x(low), y), (x(high), y)], 2.6, look.colour, None);
        for end in [low, high] {
            canvas.line(&[(x(end), y - 5.0), (x(end), y + 5.0)], 2.0, look.colour, None);
        }
    }
    canvas.dot((x(ratio), y), 6.0, INK, 1.0);
    canvas.dot((x(ratio), y), 4.6, look.colour, 1.0);
}

fn describe(row: Option<&SummaryRow>, words: fn(Verdict) -> &'static str) -> String {
    match row.and_then(|row| Some((row.ratio, row.verdict?))) {
        None => "no ratio".to_owned(),
        Some((None, verdict)) => words(verdict).to_owned(),
        Some((Some(ratio), verdict)) => format!("{} {}", units::ratio(ratio), words(verdict)),
    }
}
