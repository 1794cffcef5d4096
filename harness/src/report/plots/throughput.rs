//! Speed: a bar from 0 to the median, a dot for each sample, and the median's interval; for busy time also its
//! components, the harness's share and the kernel's.

use super::super::analysis::Analysis;
use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{INK, Look, MUTED, PAPER, mix};
use super::super::drawing::{Anchor, BODY, Canvas, Svg, draw};
use super::super::summary::SummaryRow;
use super::super::{ReportError, units};
use super::frame::{Bars, SMALL, Subject, title};
use crate::results::Pass;
use crate::results::metrics::{
    ALLOCATOR_PER_EVENT, BUSY_SYSTEM_PER_EVENT, EVENTS_PER_SECOND, HARNESS_PER_EVENT,
};
use crate::stats::Verdict;

const ROW: f64 = 62.0;

/// Draws the plot; none if no throughput sample was taken.
pub(super) fn plot(subject: &Subject<'_>) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let shown = Shown::of(analysis);
    // Variants that are not ranked come last.
    let (floors, ranked): (Vec<_>, Vec<_>) =
        analysis.variants.iter().zip(looks).partition(|(variant, _)| analysis.is_floor(variant));
    let samples = |variant: &str| -> Vec<Dot> {
        let values = analysis.figures.values(workload, variant, shown.metric);
        let cold = analysis.cold_blocks(workload, variant, Pass::Throughput);
        let dots = values.into_iter().flatten();
        dots.map(|(block, value)| Dot { value: *value, is_cold: cold.contains(block) }).collect()
    };
    let rows: Vec<(&SummaryRow, Look, Vec<Dot>)> = ranked
        .into_iter()
        .chain(floors)
        .filter_map(|(variant, look)| {
            Some((analysis.row(workload, variant, shown.metric)?, *look, samples(variant)))
        })
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let dots = || rows.iter().flat_map(|(_, _, dots)| dots);
    let max = dots().map(|dot| dot.value).fold(0.0, f64::max);
    let hollow = if dots().any(|dot| dot.is_cold) { HOLLOW } else { "" };
    let axis = Axis::new(max * 1.04, shown.unit, 6);
    let svg = draw(path, |canvas| {
        let top =
            title(canvas, &format!("{workload}: {}", shown.title), &format!("{}{hollow}", shown.subtitle));
        let labels: Vec<&str> = rows.iter().map(|(row, ..)| row.variant.as_str()).collect();
        let figures = if analysis.speed.is_net() { 430.0 } else { 356.0 };
        let bars = Bars::new(canvas, top, ROW * rows.len() as f64, &labels, figures);
        bars.draw_ticks(canvas, &axis);
        for (at, (row, look, dots)) in rows.iter().enumerate() {
            let y = bars.top + ROW * (at as f64 + 0.5);
            draw_row(canvas, analysis, &shown, &bars, &axis, (row, *look), dots, y);
        }
        let middle = (bars.left + bars.right) / 2.0;
        canvas.text((middle, bars.bottom + 42.0), Anchor::Middle, shown.axis, BODY.sized(16.0));
        bars.bottom + 72.0
    })?;
    Ok(Some(svg))
}

/// Said of the dots if some are hollow.
const HOLLOW: &str = " Hollow dots are cold samples: the host supplied memory, or took the CPU away.";

/// A sample in the plot.
struct Dot {
    value: f64,
    is_cold: bool,
}

/// What the plot shows of a run.
struct Shown {
    metric: &'static str,
    /// The metric whose ratio to the baseline is stated.
    compared: &'static str,
    words: fn(Verdict) -> &'static str,
    unit: Unit,
    title: &'static str,
    subtitle: &'static str,
    axis: &'static str,
}

impl Shown {
    fn of(analysis: &Analysis<'_>) -> Shown {
        if !analysis.speed.is_busy() {
            return Shown {
                metric: EVENTS_PER_SECOND,
                compared: EVENTS_PER_SECOND,
                words: Verdict::of_speed,
                unit: Unit::Count,
                title: "throughput",
                subtitle: "Events per second, longer is better. Dots are samples, bars their median, brackets its interval.",
                axis: "events per second",
            };
        }
        Shown {
            metric: analysis.speed.time,
            compared: analysis.speed.compared,
            words: Verdict::of_time,
            unit: Unit::Time,
            title: "busy time of an event",
            subtitle: "CPU time in the allocator's calls and first touches, waiting excluded; shorter is better. Grey: the \
                       harness's share, at most. Dark: the kernel's part. Dots are samples, bars their \
                       median, brackets its interval.",
            axis: "busy time of an event",
        }
    }
}

#[allow(clippy::too_many_arguments)] // a row is drawn from all that the plot knows
fn draw_row(
    canvas: &mut Canvas,
    analysis: &Analysis<'_>,
    shown: &Shown,
    bars: &Bars,
    axis: &Axis,
    (row, look): (&SummaryRow, Look),
    dots: &[Dot],
    y: f64,
) {
    let cold = dots.iter().filter(|dot| dot.is_cold).count() as u64;
    let flaws = [(row.failed, "failed"), (cold, "cold")].into_iter().filter(|(count, _)| *count > 0);
    let flaws: Vec<String> = flaws.map(|(count, flaw)| format!("{count} {flaw}")).collect();
    bars.draw_label(canvas, y, &row.variant, &flaws.join(", "));
    let Some(middle) = row.median else {
        canvas.text((bars.left + 12.0, y), Anchor::Left, "no sample is ok", BODY.coloured(MUTED));
        return;
    };
    let x = bars.x(axis, middle);
    canvas.rect((bars.left, x), (y - 17.0, y + 17.0), mix(look.colour, PAPER, 0.62), 1.0);
    let part = |metric| {
        let median = analysis.median(&row.name(), &row.variant, metric);
        median.filter(|_| analysis.speed.is_busy()).map_or(0.0, |part| part.clamp(0.0, middle))
    };
    let (harness, kernel) = (part(HARNESS_PER_EVENT), part(BUSY_SYSTEM_PER_EVENT));
    canvas.rect((bars.left, bars.x(axis, harness)), (y - 17.0, y + 17.0), mix(MUTED, PAPER, 0.45), 1.0);
    canvas.rect((bars.x(axis, middle - kernel), x), (y - 17.0, y + 17.0), mix(look.colour, PAPER, 0.3), 1.0);
    canvas.rect((x - 3.0, x), (y - 17.0, y + 17.0), look.colour, 1.0);
    for (at, dot) in dots.iter().enumerate() {
        // Spread over the bar's height in a fixed order, so that equal values stay visible.
        let offset = ((at * 7) % 11) as f64 / 10.0 - 0.5;
        let centre = (bars.x(axis, dot.value), y + offset * 22.0);
        canvas.dot(centre, 3.6, look.colour, 0.85);
        if dot.is_cold {
            canvas.dot(centre, 2.0, PAPER, 1.0);
        }
    }
    if let (Some(low), Some(high)) = (row.low, row.high) {
        let (low, high) = (bars.x(axis, low), bars.x(axis, high));
        canvas.line(&[(low, y), (high, y)], 2.0, INK, None);
        for end in [low, high] {
            canvas.line(&[(end, y - 6.0), (end, y + 6.0)], 2.0, INK, None);
        }
    }
    let left = bars.right + 22.0;
    canvas.text((left, y - 10.0), Anchor::Left, &describe_value(row, shown), BODY.bold());
    let compared = analysis.row(&row.name(), &row.variant, shown.compared);
    let compared = compared.filter(|compared| compared.n > 0).unwrap_or(row);
    let text = describe_ratio(analysis, compared, shown.words);
    canvas.text((left, y + 12.0), Anchor::Left, &text, SMALL);
}

fn describe_value(row: &SummaryRow, shown: &Shown) -> String {
    let show = |value: f64| match shown.unit {
        Unit::Time => units::nanoseconds(value),
        _ => units::count(value),
    };
    let each = if shown.unit == Unit::Count { "/s" } else { "" };
    let middle = row.median.map(|value| format!("{}{each}", show(value))).unwrap_or_default();
    match (row.low, row.high) {
        (Some(low), Some(high)) => format!("{middle}  ({} to {})", show(low), show(high)),
        _ => middle,
    }
}

/// How a figure compares with the baseline, in words.
fn describe_ratio(analysis: &Analysis<'_>, row: &SummaryRow, words: fn(Verdict) -> &'static str) -> String {
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
    match (row.ratio, row.verdict) {
        (_, None) => samples,
        (None, Some(verdict)) => format!("{samples}; {}", words(verdict)),
        (Some(ratio), Some(verdict)) => {
            let without = if row.metric == ALLOCATOR_PER_EVENT { " without the harness" } else { "" };
            format!("{samples}; {} x baseline{without}: {}", units::ratio(ratio), words(verdict))
        }
    }
}
