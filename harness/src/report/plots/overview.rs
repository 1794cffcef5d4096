//! All workloads side by side: small panels of one kind, one for each workload.

use std::path::Path;

use super::super::analysis::Analysis;
use super::super::drawing::axis::{Axis, RatioAxis, Unit};
use super::super::drawing::palette::{INK, Look, MUTED, REQUESTED};
use super::super::drawing::{Anchor, BODY, Canvas, Svg, WIDTH, draw};
use super::super::timeline::{Choice, Timeline, Timelines};
use super::super::units::names;
use super::super::{ReportError, timeline};
use super::frame::{Key, MARGIN, Panel, SMALL, describe_flaws, legend, title};
use super::ratio::{axis_of, draw_ratio, draw_scale, ranked, subtitle};
use super::timeline::{draw_line, draw_requested};
use crate::results::Pass;
use crate::results::metrics::RESIDENT_PEAK;

/// Most panels side by side.
const MOST_COLUMNS: usize = 3;
/// A name of a variant wider than this takes fewer panels side by side, so that it is shown whole.
const NARROW_NAME: f64 = 120.0;
/// A wider name is shortened all the same.
const MOST_NAME: f64 = 280.0;
const ROW: f64 = 23.0;
/// Space of a panel around its rows: its name above, the scale's labels below.
const AROUND: f64 = 74.0;
const TIMELINE: f64 = 236.0;
/// Greatest height of all panels together, whatever a run holds.
const MOST_HEIGHT: f64 = 5_400.0;

/// Draws the ratios of one metric on all workloads; none if there are fewer than two with one.
pub(super) fn plot_ratios(
    analysis: &Analysis<'_>,
    is_speed: bool,
    looks: &[Look],
    path: &Path,
) -> Result<Option<Svg>, ReportError> {
    let Some(baseline) = analysis.baseline.as_deref() else {
        return Ok(None);
    };
    let (metric, name, pass) = match is_speed {
        true => (analysis.speed.compared, analysis.speed.compared_name(), Pass::Throughput),
        false => (RESIDENT_PEAK, "resident peak".to_owned(), Pass::Memory),
    };
    let variants = ranked(analysis, looks, baseline);
    let row = |workload: &str, variant: &str| analysis.row(workload, variant, metric);
    let has_ratio = |workload: &&String| {
        variants.iter().any(|(variant, _)| row(workload, variant).is_some_and(|row| row.ratio.is_some()))
    };
    let workloads: Vec<&String> = analysis.workloads.iter().filter(has_ratio).collect();
    if workloads.len() < 2 {
        return Ok(None);
    }
    let rows = workloads.iter().flat_map(|workload| variants.iter().filter_map(|it| row(workload, it.0)));
    let axis: RatioAxis = axis_of(rows);
    let height = ROW * variants.len() as f64 + AROUND;
    let named = |workload: &str, variant: &str| match describe_flaws(analysis, workload, variant, &[pass]) {
        flaws if flaws.is_empty() => variant.to_owned(),
        flaws => format!("{variant}: {flaws}"),
    };
    let svg = draw(path, |canvas| {
        let heading = format!("All workloads: {name}, ratio to {baseline}");
        let top = title(canvas, &heading, &subtitle());
        let labels = workloads.iter().flat_map(|workload| variants.iter().map(|it| named(workload, it.0)));
        let widths = labels.map(|label| canvas.text_width(&label, SMALL));
        let widest = widths.fold(40.0, f64::max).min(MOST_NAME);
        let columns = if widest > NARROW_NAME { MOST_COLUMNS - 1 } else { MOST_COLUMNS };
        draw_panels(canvas, top, &workloads, (columns, height), |canvas, outer, workload| {
            let left = outer.left + widest + 10.0;
            let panel = Panel { left, bottom: outer.bottom - 38.0, ..*outer };
            draw_scale(canvas, &panel, &axis);
            for (at, (variant, look)) in variants.iter().enumerate() {
                let y = panel.top + ROW * (at as f64 + 0.5);
                let label = canvas.fit(&named(workload, variant), left - outer.left - 8.0, SMALL);
                canvas.text((left - 9.0, y), Anchor::Right, &label, SMALL.coloured(INK));
                match row(workload, variant).filter(|row| row.ratio.is_some()) {
                    Some(row) => draw_ratio(canvas, &panel, &axis, *look, Some(row), y),
                    None => canvas.text((left + 8.0, y), Anchor::Left, "no ratio", SMALL),
                }
            }
        })
    })?;
    Ok(Some(svg))
}

/// Draws resident memory over trace time of all workloads; none if fewer than two have a timeline.
pub(super) fn plot_timelines(
    analysis: &Analysis<'_>,
    timelines: &Timelines,
    looks: &[Look],
    path: &Path,
) -> Result<Option<Svg>, ReportError> {
    let of = |workload: &str| -> Vec<(Look, &Timeline)> {
        let all = analysis.variants.iter().zip(looks);
        all.filter_map(|(variant, look)| Some((*look, timelines.get(workload, variant)?))).collect()
    };
    let workloads: Vec<&String> =
        analysis.workloads.iter().filter(|workload| !of(workload).is_empty()).collect();
    if workloads.len() < 2 {
        return Ok(None);
    }
    let svg = draw(path, |canvas| {
        let subtitle =
            format!("Lower is better. Each panel has its own scales. {}", describe(timelines, &workloads));
        let top = title(canvas, "All workloads: resident memory over the trace", &subtitle);
        let has_line = |name: &str| workloads.iter().any(|workload| timelines.get(workload, name).is_some());
        let named = analysis.variants.iter().zip(looks).filter(|(name, _)| has_line(name));
        let named = named.map(|(name, look)| (Key::Line(*look), name.clone()));
        let entries: Vec<(Key, String)> =
            named.chain([(Key::Box(REQUESTED), "requested".to_owned())]).collect();
        let top = legend(canvas, top, &entries);
        draw_panels(canvas, top, &workloads, (MOST_COLUMNS, TIMELINE), |canvas, outer, workload| {
            let has_times = analysis.has_times(workload);
            draw_timeline(canvas, outer, &of(workload), if has_times { Unit::Time } else { Unit::Count });
        })
    })?;
    Ok(Some(svg))
}

/// Which blocks the panels show.
fn describe(timelines: &Timelines, workloads: &[&String]) -> String {
    let chosen = |is_wanted: fn(Choice) -> bool| -> Vec<&str> {
        workloads.iter().filter(|it| is_wanted(timelines.choice(it))).map(|it| it.as_str()).collect()
    };
    let mut said = vec![Choice::Median.describe("mean resident memory")];
    let common = chosen(|choice| matches!(choice, Choice::Common(_)));
    if !common.is_empty() {
        said.push(format!(
            "Where each block has a load of its own ({}), one block for all variants, the nearest to all medians.",
            names(&common)
        ));
    }
    let apart = chosen(|choice| choice == Choice::Apart);
    if !apart.is_empty() {
        said.push(format!(
            "Lines of {} are of different loads: no block has an ok sample of every variant.",
            names(&apart)
        ));
    }
    said.join(" ")
}

fn draw_timeline(canvas: &mut Canvas, outer: &Panel, shown: &[(Look, &Timeline)], unit: Unit) {
    let stretches = || shown.iter().flat_map(|(_, timeline)| &timeline.stretches);
    let largest = |figure: fn(&timeline::Stretch) -> u64| stretches().map(figure).max().unwrap_or(0) as f64;
    let time = Axis::new(largest(|stretch| stretch.time_ns), unit, 3);
    let bytes = largest(|stretch| stretch.resident_bytes.1.max(stretch.requested_bytes));
    let bytes = Axis::new(bytes * 1.05, Unit::Bytes, 4);
    let panel = Panel { left: outer.left + 66.0, bottom: outer.bottom - 40.0, ..*outer };
    if let Some((_, longest)) = shown.iter().max_by_key(|(_, timeline)| timeline.stretches.len()) {
        draw_requested(canvas, &panel, &time, &bytes, longest);
    }
    panel.draw_grid(canvas, &time, &bytes, true);
    for (look, timeline) in shown {
        draw_line(canvas, &panel, &time, &bytes, *look, timeline, |stretch| stretch.resident_bytes);
    }
}

/// Draws a panel of this height for each workload, in rows of so many columns; says how many had no room. Returns the height.
fn draw_panels(
    canvas: &mut Canvas,
    top: f64,
    workloads: &[&String],
    (columns, height): (usize, f64),
    mut draw_panel: impl FnMut(&mut Canvas, &Panel, &str),
) -> f64 {
    let columns = workloads.len().clamp(1, columns);
    let most = ((MOST_HEIGHT / height) as usize).max(1) * columns;
    let width = (WIDTH - 2.0 * MARGIN) / columns as f64;
    let shown = &workloads[..workloads.len().min(most)];
    for (at, workload) in shown.iter().enumerate() {
        let left = MARGIN + width * (at % columns) as f64;
        let top = top + height * (at / columns) as f64 + 30.0;
        let outer = Panel { left, right: left + width - 24.0, top, bottom: top + height - 36.0 };
        let kind = BODY.sized(16.0).bold();
        let name = canvas.fit(workload, width - 24.0, kind);
        canvas.text((left, top - 16.0), Anchor::Left, &name, kind);
        draw_panel(canvas, &outer, workload);
    }
    let bottom = top + height * shown.len().div_ceil(columns) as f64 + 10.0;
    let left_out = workloads.len() - shown.len();
    if left_out > 0 {
        let text = format!("{left_out} more workloads are not shown here: each has its own plots.");
        canvas.text((MARGIN, bottom + 6.0), Anchor::Left, &text, BODY.coloured(MUTED));
    }
    bottom + if left_out > 0 { 30.0 } else { 0.0 }
}
