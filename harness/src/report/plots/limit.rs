//! Memory over time with its limit: one panel for each variant, one line for each run, and the request and limit across
//! it.

use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{Colour, INK, MUTED, PAPER, hue, mix};
use super::super::drawing::{Anchor, BODY, Canvas, WIDTH};
use super::super::units::{self, whole};
use super::frame::{MARGIN, Panel, title, why_no_odds};
use crate::capacity::{Curve, Need, PodBlock, PodRow};

/// Height of a panel.
const PANEL: f64 = 150.0;
/// Space above a panel, for its heading.
const HEADING: f64 = 44.0;
/// Space for the values of lines at the right.
const VALUES: f64 = 230.0;
/// Smallest distance between values.
const APART: f64 = 19.0;
/// Most runs that a panel draws: from the smallest peak to the largest.
const MOST_RUNS: usize = 20;
/// A value across a panel: bytes, its label, its colour and its dashes.
type Level = (f64, String, Colour, Option<(f64, f64)>);
const LIMIT: Colour = Colour::new((0xb0, 0x2a, 0x30), (0xe0, 0x5a, 0x5f));

/// Draws the plot of a workload; returns where it ends.
pub(super) fn plot(canvas: &mut Canvas, workload: &str, rows: &[(&PodRow, &Need)]) -> f64 {
    let runs = rows.iter().map(|(_, need)| need.pods.len()).max().unwrap_or(0);
    let which = if runs > MOST_RUNS {
        format!("{MOST_RUNS} runs of {}, from the smallest peak to the largest", whole(runs as u64))
    } else {
        "each run".to_owned()
    };
    let odds = describe_odds(rows);
    let subtitle = format!(
        "{odds} The memory that a pod is charged in {which}: measured anonymous memory, with kernel memory, page \
         cache and growth as the limit \
         counts them. The limit is red, the request black and dashed."
    );
    let mut top = title(canvas, &format!("{workload}: memory over time, and its limit"), &subtitle);
    let most = rows.iter().filter_map(|(row, need)| Some(largest(row, need).max(row.limit_bytes? as f64)));
    let bytes = Axis::new(most.fold(1.0, f64::max) * 1.06, Unit::Bytes, 4);
    let time = Axis::new(longest_s(rows) * 1e9, Unit::Time, 8);
    for (at, (row, need)) in rows.iter().enumerate() {
        let panel = Panel {
            left: MARGIN + 78.0,
            right: WIDTH - MARGIN - VALUES,
            top: top + HEADING,
            bottom: top + HEADING + PANEL,
        };
        let is_last = at + 1 == rows.len();
        draw_panel(canvas, &panel, (&time, &bytes), (row, need), is_last);
        top = panel.bottom;
    }
    let name =
        if longest_s(rows) > 0.0 { "time since the start" } else { "part of the trace, which has no times" };
    let middle = (MARGIN + 78.0 + WIDTH - MARGIN - VALUES) / 2.0;
    canvas.text((middle, top + 42.0), Anchor::Middle, name, BODY.sized(16.0).coloured(MUTED));
    top + 66.0
}

fn longest_s(rows: &[(&PodRow, &Need)]) -> f64 {
    rows.iter().flat_map(|(_, need)| need.pods.values()).map(|block| block.time_s).fold(0.0, f64::max)
}

/// What a limit counts in addition to the anonymous memory of a run.
fn beside(row: &PodRow, need: &Need) -> f64 {
    let parts =
        [row.kernel_bytes, row.cache_bytes, row.growth_bytes].into_iter().flatten().sum::<u64>() as f64;
    // Memory stated to be outside the heap is in the row's anonymous memory, and in that of no run.
    let peaks: Vec<f64> = need.pods.values().map(|block| block.peak_bytes).collect();
    let measured = crate::stats::median(&peaks).unwrap_or(0.0);
    parts + row.anonymous_bytes.map_or(0.0, |anonymous| (anonymous as f64 - measured).max(0.0))
}

fn largest(row: &PodRow, need: &Need) -> f64 {
    need.pods.values().map(|block| block.peak_bytes).fold(0.0, f64::max) + beside(row, need)
}

fn draw_panel(
    canvas: &mut Canvas,
    panel: &Panel,
    (time, bytes): (&Axis, &Axis),
    (row, need): (&PodRow, &Need),
    is_last: bool,
) {
    panel.draw_grid(canvas, time, bytes, is_last);
    let heading = format!("{}{}", row.variant, describe_flaws(row));
    let heading = canvas.fit(&heading, WIDTH - MARGIN - panel.left, BODY.bold());
    canvas.text((panel.left, panel.top - 17.0), Anchor::Left, &heading, BODY.bold());
    let Some(limit) = row.limit_bytes.map(|bytes| bytes as f64) else {
        let middle = panel.at(0.5, 0.5);
        canvas.text(middle, Anchor::Middle, "no limit: it takes 3 samples", BODY.coloured(MUTED));
        return;
    };
    let colour = mix(hue(row.variant.split(':').next().unwrap_or(&row.variant)), PAPER, 0.25);
    let more = beside(row, need);
    let longest_ns = time.max;
    for block in choose(need) {
        let span = if block.time_s > 0.0 { block.time_s * 1e9 / longest_ns } else { 1.0 };
        draw_curve(canvas, panel, bytes, &block.curve, (span.min(1.0), more), colour);
    }
    let mut lines: Vec<Level> = vec![(limit, format!("limit {}", units::bytes(limit)), LIMIT, None)];
    match row.request_bytes.map(|bytes| bytes as f64) {
        Some(request) if request >= limit => {
            lines[0].1 = format!("limit and request {}", units::bytes(limit));
        }
        Some(request) => {
            lines.push((request, format!("request {}", units::bytes(request)), INK, Some((9.0, 5.0))));
        }
        None => {}
    }
    for (value, _, colour, dash) in &lines {
        let y = panel.at(0.0, bytes.fraction(*value)).1;
        canvas.line(&[(panel.left, y), (panel.right, y)], 2.4, *colour, *dash);
    }
    let peak = largest(row, need);
    lines.push((peak, format!("largest run {}", units::bytes(peak)), MUTED, None));
    draw_values(canvas, panel, bytes, lines);
}

/// The odds that the limits were chosen for, which are the same for every variant for which they are known.
fn describe_odds(rows: &[(&PodRow, &Need)]) -> String {
    let all: Vec<&PodRow> = rows.iter().map(|(row, _)| *row).collect();
    let known: Vec<&&PodRow> = all.iter().filter(|row| row.knows_odds()).collect();
    let why = why_no_odds(&all);
    let Some(row) = known.first() else {
        return format!("No odds of being killed under these limits are known: {why}.");
    };
    let unknown = if why.is_empty() { String::new() } else { format!("; where {why}, they are not known") };
    format!(
        "Odds that a pod is killed in a day under its limit: {}; that any of the fleet is: {}{unknown}.",
        units::odds(row.pod_odds),
        units::odds(row.fleet_odds),
    )
}

/// What a variant's samples mean for its limit.
fn describe_flaws(row: &PodRow) -> String {
    let load = if row.is_of_one_load { ": a limit for days with this load" } else { "" };
    match row.holds_for_s {
        Some(0.0) => ": memory still grew, a limit for pods that do no more than the trace".to_owned(),
        Some(lived_s) => {
            format!(
                ": memory still grew, a limit for pods that live no longer than {}",
                units::nanoseconds(lived_s * 1e9)
            )
        }
        None if !row.knows_growth() => {
            ": memory still grew, and was measured for too short a time".to_owned()
        }
        None => load.to_owned(),
    }
}

/// The runs that are drawn, in the order of their peaks.
fn choose(need: &Need) -> Vec<&PodBlock> {
    let mut blocks: Vec<&PodBlock> = need.pods.values().collect();
    blocks.sort_by(|one, other| one.peak_bytes.total_cmp(&other.peak_bytes));
    if blocks.len() <= MOST_RUNS {
        return blocks;
    }
    (0..MOST_RUNS).map(|at| blocks[at * (blocks.len() - 1) / (MOST_RUNS - 1)]).collect()
}

fn draw_curve(
    canvas: &mut Canvas,
    panel: &Panel,
    bytes: &Axis,
    curve: &Curve,
    (span, more): (f64, f64),
    colour: Colour,
) {
    let mut points = Vec::with_capacity(2 * Curve::STEPS);
    for (at, value) in curve.values().iter().enumerate() {
        let height = bytes.fraction(f64::from(*value) + more);
        for step in [at, at + 1] {
            points.push(panel.at(step as f64 / Curve::STEPS as f64 * span, height));
        }
    }
    canvas.line(&points, 1.3, colour, None);
}

/// Values of lines at the right of a panel, moved apart where they would cover each other.
fn draw_values(canvas: &mut Canvas, panel: &Panel, bytes: &Axis, mut lines: Vec<Level>) {
    lines.sort_by(|one, other| other.0.total_cmp(&one.0));
    let wanted: Vec<f64> = lines.iter().map(|line| panel.at(0.0, bytes.fraction(line.0)).1).collect();
    let places = move_apart(&wanted, (panel.top, panel.bottom));
    for (((_, text, colour, _), from), to) in lines.iter().zip(&wanted).zip(&places) {
        let right = panel.right;
        canvas.line(&[(right, *from), (right + 8.0, *from), (right + 20.0, *to)], 1.2, *colour, None);
        let is_quiet = *colour == MUTED;
        let kind = if is_quiet { BODY.sized(15.0).coloured(MUTED) } else { BODY.sized(15.0).bold() };
        canvas.text((right + 25.0, *to), Anchor::Left, text, kind);
    }
}

/// Positions [`APART`] pixels apart, in the order of those that are wanted (which is descending), as near to them as
/// one pass from above and one from below can bring them.
fn move_apart(wanted: &[f64], (top, bottom): (f64, f64)) -> Vec<f64> {
    let mut places = Vec::with_capacity(wanted.len());
    let mut least = top;
    for y in wanted {
        let place = y.max(least);
        places.push(place);
        least = place + APART;
    }
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - APART;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_smallest_and_the_largest_run_are_drawn() {
        let block = |peak: u32| (peak, PodBlock { peak_bytes: f64::from(peak), ..PodBlock::default() });
        let need = Need { pods: (0..1000).map(block).collect(), ..Need::default() };
        let drawn: Vec<f64> = choose(&need).iter().map(|block| block.peak_bytes).collect();
        assert_eq!((drawn.len(), drawn[0], drawn[MOST_RUNS - 1]), (MOST_RUNS, 0.0, 999.0));
    }

    proptest! {
        #[test]
        fn values_never_cover_each_other(mut wanted in prop::collection::vec(0.0f64..150.0, 1..7)) {
            wanted.sort_by(f64::total_cmp);
            let places = move_apart(&wanted, (0.0, 150.0));
            for pair in places.windows(2) {
                prop_assert!(pair[1] - pair[0] >= APART - 1e-9, "{places:?}");
            }
            prop_assert!(places.iter().all(|place| (0.0..=150.0).contains(place)), "{places:?}");
        }
    }
}
