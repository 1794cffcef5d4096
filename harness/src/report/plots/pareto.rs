//! Resident memory against throughput: which variants no other variant beats in both.
//!
//! Speed and memory are never weighed against each other: the plot leaves that to the reader, and removes only what is
//! not a choice, because another variant is as fast in less memory. A variant of which samples failed is shown and never
//! compared: its figures are of the samples that it survived.

use super::super::analysis::Analysis;
use super::super::drawing::axis::{Span, Unit};
use super::super::drawing::palette::{Colour, INK, Look, MUTED, PAPER, mix};
use super::super::drawing::{Anchor, BODY, Canvas, Svg, Type, WIDTH, draw};
use super::super::growth::Growth;
use super::super::summary::SummaryRow;
use super::super::{ReportError, units};
use super::frame::{MARGIN, Panel, SMALL, Subject, title};
use super::labels::{Area, LEADER_FROM, Label, distance, place_labels};
use crate::results::Pass;
use crate::results::metrics::RESIDENT_PEAK;

/// Height of the area with the points.
const HEIGHT: f64 = 560.0;
/// Height of a line of the list below.
const LINE: f64 = 26.0;
const RADIUS: f64 = 7.0;
/// Up to this many variants, names are shown at the points, each no wider than this; for more, numbers with a list
/// below.
const MOST_NAMES: usize = 10;
const WIDEST_NAME: f64 = 300.0;
/// The grey of variants that another beats.
const BEATEN: Colour = Colour::new((0xa3, 0xa8, 0xae), (0x77, 0x7f, 0x88));

/// A variant that was measured in both.
struct Point<'a> {
    variant: &'a str,
    colour: Colour,
    bytes: &'a SummaryRow,
    speed: &'a SummaryRow,
    /// Samples of both passes that failed.
    failed: u64,
    /// Whether no other is at least as good in both and better in one.
    on_front: bool,
}

impl Point<'_> {
    fn at(&self) -> (f64, f64) {
        (self.bytes.median.unwrap_or(0.0), self.speed.median.unwrap_or(0.0))
    }

    /// Its own colour, unless another beats it.
    fn shown_colour(&self) -> Colour {
        if self.on_front || self.failed > 0 { self.colour } else { BEATEN }
    }

    /// The variant, and how many of its samples failed.
    fn name(&self) -> String {
        match self.failed {
            0 => self.variant.to_owned(),
            failed => format!("{} ({failed} failed)", self.variant),
        }
    }
}

/// Draws the plot; none if fewer than two variants were measured in both.
pub(super) fn plot(subject: &Subject<'_>) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let points = find_points(analysis, workload, looks);
    if points.len() < 2 {
        return Ok(None);
    }
    let svg = draw(path, |canvas| {
        let subtitle = format!(
            "Throughput against resident memory at the peak, medians over blocks; thin lines are their intervals, cut at the edge. Upper left is better. \
                        The step line is the Pareto front: no other variant is as fast in as little memory. Grey variants are beaten in both, or \
                        equalled in one and beaten in the other.{}",
            describe_exceptions(analysis, workload, &points)
        );
        let top = title(canvas, &format!("{workload}: memory against speed"), &subtitle) + 26.0;
        let panel = Panel { left: MARGIN + 84.0, right: WIDTH - MARGIN - 10.0, top, bottom: top + HEIGHT };
        let (across, up) = (span(&points, Unit::Bytes), span(&points, Unit::Count));
        draw_scales(canvas, &panel, &across, &up);
        let place = |(bytes, speed): (f64, f64)| panel.at(across.fraction(bytes), up.fraction(speed));
        let steps = front_steps(&panel, &points, place);
        canvas.line(&steps, 2.0, mix(INK, PAPER, 0.45), Some((7.0, 5.0)));
        for point in points.iter().rev() {
            draw_point(canvas, point, place);
        }
        let below = panel.bottom + 74.0;
        draw_names(canvas, &panel, &points, &steps, place, below)
    })?;
    Ok(Some(svg))
}

/// The variants that were measured in both, those of the front first, each group by memory.
fn find_points<'a>(analysis: &'a Analysis<'_>, workload: &str, looks: &[Look]) -> Vec<Point<'a>> {
    let mut points: Vec<Point<'a>> = Vec::new();
    for (variant, look) in
        analysis.variants.iter().zip(looks).filter(|(variant, _)| !analysis.is_floor(variant))
    {
        let row = |metric| analysis.row(workload, variant, metric).filter(|row| row.median.is_some());
        if let (Some(bytes), Some(speed)) = (row(RESIDENT_PEAK), row(analysis.speed.rate)) {
            let failed = bytes.failed + speed.failed;
            points.push(Point { variant, colour: look.colour, bytes, speed, failed, on_front: false });
        }
    }
    let mut whole: Vec<&mut Point<'a>> = points.iter_mut().filter(|point| point.failed == 0).collect();
    let places: Vec<(f64, f64)> = whole.iter().map(|point| point.at()).collect();
    for (point, on_front) in whole.iter_mut().zip(pareto_front(&places)) {
        point.on_front = on_front;
    }
    points.sort_by(|a, b| b.on_front.cmp(&a.on_front).then(a.at().0.total_cmp(&b.at().0)));
    points
}

/// What the plot's figures do not say about some variants.
fn describe_exceptions(analysis: &Analysis<'_>, workload: &str, points: &[Point<'_>]) -> String {
    let mut said = String::new();
    if points.iter().any(|point| point.failed > 0) {
        said += " Hollow: samples failed, and the figures are of the others; they are not compared.";
    }
    let grew = |point: &&Point<'_>| Growth::of(analysis, workload, point.variant, Pass::Memory).is_some();
    let grew: Vec<&str> = points.iter().filter(grew).map(|point| point.variant).collect();
    if !grew.is_empty() {
        said += &format!(" Memory still grew at the end under {}.", units::names(&grew));
    }
    said
}

/// For each (memory, speed), whether no other needs at most its memory and has at least its speed while better in one.
fn pareto_front(points: &[(f64, f64)]) -> Vec<bool> {
    let beats = |a: &(f64, f64), b: &(f64, f64)| a.0 <= b.0 && a.1 >= b.1 && (a.0 < b.0 || a.1 > b.1);
    points.iter().map(|point| !points.iter().any(|other| beats(other, point))).collect()
}

/// How far an interval may widen the scale beyond its median, as a factor: one noisy variant must not flatten all others.
const WIDEST_INTERVAL: f64 = 1.5;

/// The scale that holds all medians, and their intervals if these are not too wide.
fn span(points: &[Point<'_>], unit: Unit) -> Span {
    let (mut least, mut largest) = (f64::MAX, 0.0f64);
    for point in points {
        let row = if unit == Unit::Bytes { point.bytes } else { point.speed };
        let middle = row.median.unwrap_or(0.0);
        least = least.min(row.low.unwrap_or(middle).max(middle / WIDEST_INTERVAL));
        largest = largest.max(row.high.unwrap_or(middle).min(middle * WIDEST_INTERVAL));
    }
    Span::new(least, largest, unit)
}

fn draw_scales(canvas: &mut Canvas, panel: &Panel, across: &Span, up: &Span) {
    for (value, label) in &up.ticks {
        panel.draw_level(canvas, up.fraction(*value), label);
    }
    for (value, label) in &across.ticks {
        panel.draw_upright(canvas, across.fraction(*value), label);
    }
    canvas.line(
        &[(panel.left, panel.top), (panel.left, panel.bottom), (panel.right, panel.bottom)],
        1.5,
        MUTED,
        None,
    );
    let middle = ((panel.left + panel.right) / 2.0, panel.bottom + 42.0);
    let scale = |span: &Span| if span.is_logarithmic { ", logarithmic" } else { "" };
    canvas.text(
        middle,
        Anchor::Middle,
        &format!("resident memory at the peak{}: less is better", scale(across)),
        BODY.sized(16.0),
    );
    canvas.text(
        (panel.left + 8.0, panel.top - 12.0),
        Anchor::Left,
        &format!("events per second{}: more is better", scale(up)),
        BODY.sized(16.0),
    );
}

/// The staircase of the front: at each memory, the best speed.
fn front_steps(
    panel: &Panel,
    points: &[Point<'_>],
    place: impl Fn((f64, f64)) -> (f64, f64),
) -> Vec<(f64, f64)> {
    let front = points.iter().filter(|point| point.on_front).map(|point| place(point.at()));
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (x, y) in front {
        let before = steps.last().map_or(panel.bottom, |last| last.1);
        steps.extend([(x, before), (x, y)]);
    }
    steps.extend(steps.last().map(|last| (panel.right, last.1)));
    steps
}

fn draw_point(canvas: &mut Canvas, point: &Point<'_>, place: impl Fn((f64, f64)) -> (f64, f64)) {
    let colour = point.shown_colour();
    for ends in intervals(point, &place) {
        canvas.line(&ends, 1.6, mix(colour, PAPER, 0.35), None);
    }
    canvas.dot(place(point.at()), RADIUS + 1.5, PAPER, 1.0);
    canvas.dot(place(point.at()), RADIUS, colour, 1.0);
    if point.failed > 0 {
        canvas.dot(place(point.at()), RADIUS - 2.5, PAPER, 1.0);
    }
}

/// The ends of a point's intervals on the sheet.
fn intervals(point: &Point<'_>, place: impl Fn((f64, f64)) -> (f64, f64)) -> Vec<[(f64, f64); 2]> {
    let (bytes, speed) = point.at();
    let across = point.bytes.low.zip(point.bytes.high).map(|(low, high)| [(low, speed), (high, speed)]);
    let up = point.speed.low.zip(point.speed.high).map(|(low, high)| [(bytes, low), (bytes, high)]);
    across.into_iter().chain(up).map(|ends| ends.map(&place)).collect()
}

/// Names or numbers at the points, and the list below; returns where it ends.
fn draw_names(
    canvas: &mut Canvas,
    panel: &Panel,
    points: &[Point<'_>],
    steps: &[(f64, f64)],
    place: impl Fn((f64, f64)) -> (f64, f64),
    below: f64,
) -> f64 {
    let kind = |point: &Point<'_>| -> Type {
        if point.on_front { BODY.sized(15.0).bold() } else { BODY.sized(15.0).coloured(MUTED) }
    };
    let named = points.len() <= MOST_NAMES
        && points.iter().all(|point| canvas.text_width(&point.name(), kind(point)) <= WIDEST_NAME);
    let texts: Vec<String> = points
        .iter()
        .enumerate()
        .map(|(at, point)| if named { point.name() } else { (at + 1).to_string() })
        .collect();
    let labels: Vec<Label> = points
        .iter()
        .zip(&texts)
        .map(|(point, text)| Label {
            point: place(point.at()),
            size: (canvas.text_width(text, kind(point)) + 6.0, 20.0),
        })
        .collect();
    let bounds = Area { left: panel.left, right: panel.right, top: panel.top, bottom: panel.bottom };
    let lines: Vec<Area> = points
        .iter()
        .flat_map(|point| intervals(point, &place))
        .chain(steps.windows(2).map(|step| [step[0], step[1]]))
        .map(|[from, to]| Area {
            left: from.0.min(to.0) - 1.0,
            right: from.0.max(to.0) + 1.0,
            top: from.1.min(to.1) - 1.0,
            bottom: from.1.max(to.1) + 1.0,
        })
        .collect();
    let places = place_labels(bounds, RADIUS, &labels, &lines);
    for (((point, text), label), found) in points.iter().zip(&texts).zip(&labels).zip(&places) {
        let Some(found) = found else { continue };
        if distance(label, found) > RADIUS + LEADER_FROM {
            let end =
                (label.point.0.clamp(found.left, found.right), label.point.1.clamp(found.top, found.bottom));
            canvas.line(&[label.point, end], 1.0, BEATEN, None);
        }
        canvas.text(found.centre(), Anchor::Middle, text, kind(point));
    }
    let listed = points.iter().zip(&texts).zip(&places).filter(|(_, found)| !named || found.is_none());
    let mut y = below;
    for ((point, text), _) in listed {
        let number = if named { String::new() } else { format!("{text}  ") };
        draw_line(canvas, &number, point, kind(point), y);
        y += LINE;
    }
    y + 8.0
}

/// One line of the list: number, name, figures.
fn draw_line(canvas: &mut Canvas, number: &str, point: &Point<'_>, kind: Type, y: f64) {
    let (bytes, speed) = point.at();
    canvas.dot((MARGIN + 6.0, y), 5.0, point.shown_colour(), 1.0);
    if point.failed > 0 {
        canvas.dot((MARGIN + 6.0, y), 3.0, PAPER, 1.0);
    }
    canvas.text((MARGIN + 44.0, y), Anchor::Right, number.trim_end(), kind);
    let figures = format!("{}   {}/s", units::bytes(bytes), units::count(speed));
    let room = WIDTH - 2.0 * MARGIN - 60.0 - canvas.text_width(&figures, SMALL) - 30.0;
    let name = canvas.fit(&point.name(), room, kind);
    canvas.text((MARGIN + 58.0, y), Anchor::Left, &name, kind);
    canvas.text((WIDTH - MARGIN, y), Anchor::Right, &figures, SMALL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_front_is_what_nothing_beats() {
        let points = [(1.0, 1.0), (2.0, 3.0), (2.0, 2.0), (3.0, 3.0), (4.0, 5.0), (1.0, 1.0)];
        assert_eq!(pareto_front(&points), [true, true, false, false, true, true]);
        assert_eq!(pareto_front(&[(9.0, 0.1)]), [true]);
    }

    proptest! {
        #[test]
        fn every_beaten_point_is_beaten_by_the_front(points in prop::collection::vec((1u32..30, 1u32..30), 1..30)) {
            let points: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (f64::from(x), f64::from(y))).collect();
            let front = pareto_front(&points);
            prop_assert!(front.contains(&true));
            for (point, on_front) in points.iter().zip(&front) {
                let by_front = points.iter().zip(&front).any(|(other, front)| {
                    *front && other != point && other.0 <= point.0 && other.1 >= point.1
                });
                prop_assert_eq!(by_front, !on_front);
            }
        }
    }
}
