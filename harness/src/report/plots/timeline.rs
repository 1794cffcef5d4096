//! Memory over trace time: resident above, with requested as its floor, and usable below.

use super::super::ReportError;
use super::super::analysis::Analysis;
use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{Look, MUTED, REQUESTED};
use super::super::drawing::{Anchor, BODY, Canvas, Svg, WIDTH, draw};
use super::super::timeline::{Timeline, Timelines};
use super::frame::{Key, MARGIN, Panel, Subject, legend, title};
use super::load::draw_boundaries;

/// Draws the plot; none if no checkpoint was taken.
pub(super) fn plot(subject: &Subject<'_>, timelines: &Timelines) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let shown: Vec<(&String, Look, &Timeline)> = analysis
        .variants
        .iter()
        .zip(looks)
        .filter_map(|(variant, look)| Some((variant, *look, timelines.get(workload, variant)?)))
        .collect();
    let Some(&(_, _, longest)) = shown.iter().max_by_key(|(_, _, timeline)| timeline.stretches.len()) else {
        return Ok(None);
    };
    let stretches = || shown.iter().flat_map(|(_, _, timeline)| &timeline.stretches);
    let largest = |figure: fn(&super::super::timeline::Stretch) -> u64| {
        stretches().map(figure).max().unwrap_or(0) as f64
    };
    let resident = largest(|stretch| stretch.resident_bytes.1.max(stretch.requested_bytes));
    let has_times = analysis.has_times(workload);
    let time =
        Axis::new(largest(|stretch| stretch.time_ns), if has_times { Unit::Time } else { Unit::Count }, 8);
    let resident = Axis::new(resident * 1.05, Unit::Bytes, 6);
    let internal = Axis::new(largest(|stretch| stretch.internal_bytes) * 1.08, Unit::Bytes, 4);
    let svg = draw(path, |canvas| {
        let heading =
            format!("{workload}: memory over {}", if has_times { "trace time" } else { "the trace" });
        let subtitle =
            format!("Lower is better. {}", timelines.choice(workload).describe("mean resident memory"));
        let top = title(canvas, &heading, &subtitle);
        let mut entries: Vec<(Key, String)> =
            shown.iter().map(|(variant, look, _)| (Key::Line(*look), (*variant).clone())).collect();
        entries.push((Key::Box(REQUESTED), "requested".to_owned()));
        let top = legend(canvas, top, &entries);
        let upper =
            Panel { left: MARGIN + 78.0, right: WIDTH - MARGIN, top: top + 26.0, bottom: top + 416.0 };
        let lower = Panel { top: upper.bottom + 50.0, bottom: upper.bottom + 190.0, ..upper };
        draw_requested(canvas, &upper, &time, &resident, longest);
        upper.draw_grid(canvas, &time, &resident, false);
        lower.draw_grid(canvas, &time, &internal, true);
        let heads = [
            (&upper, "resident, and what the program requested"),
            (&lower, "usable - requested: lost inside blocks"),
        ];
        for (panel, text) in heads {
            canvas.text((panel.left, panel.top - 16.0), Anchor::Left, text, BODY.sized(16.0).bold());
        }
        draw_phases(canvas, [&upper, &lower], &time, analysis, workload);
        for (_, look, timeline) in &shown {
            draw_line(canvas, &upper, &time, &resident, *look, timeline, |stretch| stretch.resident_bytes);
            draw_line(canvas, &lower, &time, &internal, *look, timeline, |stretch| {
                (stretch.internal_bytes, stretch.internal_bytes)
            });
        }
        let name = if has_times { "trace time" } else { "event index: the trace has no times" };
        let middle = (lower.left + lower.right) / 2.0;
        canvas.text((middle, lower.bottom + 42.0), Anchor::Middle, name, BODY.sized(16.0).coloured(MUTED));
        lower.bottom + 70.0
    })?;
    Ok(Some(svg))
}

/// Draws where the phases of a load model start, with their names at the upper edge of the upper panel.
fn draw_phases(
    canvas: &mut Canvas,
    [upper, lower]: [&Panel; 2],
    time: &Axis,
    analysis: &Analysis<'_>,
    workload: &str,
) {
    let known = analysis.run.file.workloads.iter().find(|known| known.name == workload);
    let phases = known.map_or(&[][..], |known| &known.phases);
    let begins: Vec<(f64, &str)> =
        phases.iter().map(|phase| (time.fraction(phase.time_ns as f64), phase.name.as_str())).collect();
    // Names are inside the panel, because its title is above.
    let within = Panel { top: upper.top + 24.0, ..*upper };
    draw_boundaries(canvas, &within, &begins, true);
    draw_boundaries(canvas, lower, &begins, false);
}

/// What the program asked for, as an area from 0.
pub(super) fn draw_requested(
    canvas: &mut Canvas,
    panel: &Panel,
    time: &Axis,
    bytes: &Axis,
    timeline: &Timeline,
) {
    let mut outline = vec![panel.at(0.0, 0.0)];
    for (at, stretch) in timeline.stretches.iter().enumerate() {
        let next = timeline.stretches.get(at + 1).unwrap_or(stretch);
        let height = bytes.fraction(stretch.requested_bytes as f64);
        for time_ns in [stretch.time_ns, next.time_ns] {
            outline.push(panel.at(time.fraction(time_ns as f64), height));
        }
    }
    outline.extend(outline.last().map(|last| (last.0, panel.bottom)));
    canvas.polygon(&outline, REQUESTED, 1.0);
}

/// A line through the figures; each holds from its checkpoint until the next one that differs.
pub(super) fn draw_line(
    canvas: &mut Canvas,
    panel: &Panel,
    time: &Axis,
    bytes: &Axis,
    look: Look,
    timeline: &Timeline,
    figure: fn(&super::super::timeline::Stretch) -> (u64, u64),
) {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for stretch in &timeline.stretches {
        let (least, largest) = figure(stretch);
        let x = time.fraction(stretch.time_ns as f64);
        let at = |value: u64| panel.at(x, bytes.fraction(value as f64));
        points.push(at(least));
        if largest != least {
            points.push(at(largest));
        }
    }
    // PERF: points nearer than half a pixel to the previous one change nothing.
    let mut kept: Vec<(f64, f64)> = Vec::with_capacity(points.len());
    for point in points {
        if kept.last().is_none_or(|last| (point.0 - last.0).abs() + (point.1 - last.1).abs() >= 0.5) {
            kept.push(point);
        }
    }
    if let [only] = kept[..] {
        canvas.dot(only, 4.0, look.colour, 1.0);
    }
    canvas.line(&kept, 2.2, look.colour, look.dash);
}
