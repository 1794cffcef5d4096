//! What all plots have in common: title, legend, rows of bars, ticks.

use std::path::Path;

use super::super::analysis::Analysis;
use super::super::drawing::axis::Axis;
use super::super::drawing::palette::{Colour, GRID, INK, Look, MUTED};
use super::super::drawing::{Anchor, BODY, Canvas, Type, WIDTH};
use super::super::growth::Growth;
use crate::capacity::PodRow;
use crate::results::Pass;

/// What a plot of one workload shows, and the PNG that it becomes.
pub(super) struct Subject<'a> {
    pub(super) analysis: &'a Analysis<'a>,
    pub(super) workload: &'a str,
    /// The look of each variant, in the run's order.
    pub(super) looks: &'a [Look],
    pub(super) path: &'a Path,
}

/// Space at the left and right edge.
pub(super) const MARGIN: f64 = 36.0;
/// Small, muted text.
pub(super) const SMALL: Type = Type { size: 14.5, bold: false, colour: MUTED };
/// Widest line of a row's label.
const WIDEST_LABEL: f64 = 330.0;
/// Height of such a line.
const LINE: f64 = 19.0;

/// What spoils a variant's figures, in a few words: `2 failed, still grew`; empty if nothing does. Of `others`, those
/// that hold.
pub(super) fn flaws(failed: u64, others: &[(bool, &str)]) -> String {
    let failed = (failed > 0).then(|| format!("{failed} failed"));
    let others = others.iter().filter(|(holds, _)| *holds).map(|(_, flaw)| (*flaw).to_owned());
    failed.into_iter().chain(others).collect::<Vec<String>>().join(", ")
}

/// What spoils the plan of a variant's pods.
pub(super) fn flaws_of_pods(row: &PodRow) -> String {
    flaws(row.failed, &[(!row.knows_growth(), "still grew"), (row.is_of_one_load, "one load")])
}

/// Why the odds of some rows are not known, as a clause.
pub(super) fn why_no_odds(rows: &[&PodRow]) -> String {
    let has = |flaw: fn(&PodRow) -> bool| rows.iter().any(|row| flaw(row));
    let reasons = [
        (has(|row| !row.knows_growth()), "memory still grew"),
        (has(|row| row.is_of_one_load), "every sample replayed the same load"),
    ];
    let reasons = reasons.into_iter().filter_map(|(holds, why)| holds.then_some(why));
    reasons.collect::<Vec<&str>>().join(", or ")
}

/// What spoils a variant's samples of some passes.
pub(super) fn describe_flaws(
    analysis: &Analysis<'_>,
    workload: &str,
    variant: &str,
    passes: &[Pass],
) -> String {
    let failed: u64 = passes.iter().map(|pass| analysis.figures.failed(workload, variant, *pass)).sum();
    let grew = passes.iter().any(|pass| Growth::of(analysis, workload, variant, *pass).is_some());
    flaws(failed, &[(grew, "still grew")])
}

/// Draws title and subtitle; returns where the plot may start.
pub(super) fn title(canvas: &mut Canvas, title: &str, subtitle: &str) -> f64 {
    let kind = BODY.sized(25.0).bold();
    let fitted = canvas.fit(title, WIDTH - 2.0 * MARGIN, kind);
    canvas.text((MARGIN, 38.0), Anchor::Left, &fitted, kind);
    let below =
        canvas.paragraph((MARGIN, 70.0), WIDTH - 2.0 * MARGIN, subtitle, BODY.sized(16.0).coloured(MUTED));
    70.0 + below + 6.0
}

/// How an entry of a legend is marked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    Line(Look),
    Box(Colour),
    Outline(Colour),
}

/// Draws a legend in as many lines as it needs; returns where the plot may start.
pub(super) fn legend(canvas: &mut Canvas, top: f64, entries: &[(Key, String)]) -> f64 {
    let kind = BODY.sized(16.0);
    let (mut x, mut y) = (MARGIN, top + 10.0);
    for (key, label) in entries {
        let label = canvas.fit(label, WIDTH - 2.0 * MARGIN - 60.0, kind);
        let width = 44.0 + canvas.text_width(&label, kind);
        if x > MARGIN && x + width > WIDTH - MARGIN {
            x = MARGIN;
            y += 27.0;
        }
        match *key {
            Key::Line(look) => canvas.line(&[(x, y), (x + 34.0, y)], 3.0, look.colour, look.dash),
            Key::Box(colour) => canvas.rect((x + 8.0, x + 34.0), (y - 8.0, y + 8.0), colour, 1.0),
            Key::Outline(colour) => {
                canvas.outline((x + 8.0, x + 34.0), (y - 8.0, y + 8.0), 1.5, colour, Some((4.0, 3.0)))
            }
        }
        canvas.text((x + 42.0, y), Anchor::Left, &label, kind);
        x += width + 30.0;
    }
    y + 24.0
}

/// The part of a plot that holds horizontal bars: names at the left, figures at the right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bars {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Bars {
    /// Space for bars between the widest of the labels and a column of `figures` pixels.
    pub(super) fn new(canvas: &Canvas, top: f64, height: f64, labels: &[&str], figures: f64) -> Bars {
        let lines = labels.iter().flat_map(|label| break_label(canvas, label, WIDEST_LABEL));
        let widths = lines.map(|line| canvas.text_width(&line, BODY.bold()));
        let widest = widths.fold(60.0, f64::max).min(WIDEST_LABEL);
        Bars { left: MARGIN + widest + 18.0, right: WIDTH - MARGIN - figures, top, bottom: top + height }
    }

    /// The position of a value.
    pub(super) fn x(&self, axis: &Axis, value: f64) -> f64 {
        self.left + (self.right - self.left) * axis.fraction(value)
    }

    /// Draws vertical grid lines and the ticks' labels below.
    pub(super) fn draw_ticks(&self, canvas: &mut Canvas, axis: &Axis) {
        for (value, label) in &axis.ticks {
            let x = self.x(axis, *value);
            let colour = if *value == 0.0 { MUTED } else { GRID };
            canvas.line(&[(x, self.top), (x, self.bottom)], 1.3, colour, None);
            canvas.text((x, self.bottom + 16.0), Anchor::Middle, label, SMALL);
        }
    }

    /// Draws a row's name, and a muted remark below it.
    pub(super) fn draw_label(&self, canvas: &mut Canvas, y: f64, label: &str, remark: &str) {
        let kind = BODY.bold();
        let lines = break_label(canvas, label, self.left - MARGIN - 18.0);
        let up = if remark.is_empty() { 0.0 } else { 10.0 };
        let first = y - up - (lines.len() - 1) as f64 * LINE / 2.0;
        for (at, line) in lines.iter().enumerate() {
            canvas.text((self.left - 18.0, first + at as f64 * LINE), Anchor::Right, line, kind);
        }
        let below = y + 11.0 + (lines.len() - 1) as f64 * LINE / 2.0;
        canvas.text((self.left - 18.0, below), Anchor::Right, remark, SMALL);
    }
}

/// A label in one line, or in two that break where a setting starts; what is still too wide is cut in its middle.
fn break_label(canvas: &Canvas, label: &str, width: f64) -> Vec<String> {
    let kind = BODY.bold();
    if canvas.text_width(label, kind) <= width {
        return vec![label.to_owned()];
    }
    let mut breaks = label.rmatch_indices([':', ',']).map(|(at, _)| at + 1).filter(|at| *at < label.len());
    match breaks.find(|at| canvas.text_width(&label[..*at], kind) <= width) {
        None => vec![canvas.fit(label, width, kind)],
        Some(at) => vec![label[..at].to_owned(), canvas.fit(&label[at..], width, kind)],
    }
}

/// An area with two scales of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Panel {
    /// A point at fractions of width and height, from the lower left corner.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.left + (self.right - self.left) * x, self.bottom - (self.bottom - self.top) * y)
    }

    /// Draws a horizontal grid line with its label at the left.
    pub(super) fn draw_level(&self, canvas: &mut Canvas, fraction: f64, label: &str) {
        let y = self.at(0.0, fraction).1;
        canvas.line(
            &[(self.left, y), (self.right, y)],
            1.3,
            if fraction == 0.0 { MUTED } else { GRID },
            None,
        );
        canvas.text((self.left - 9.0, y), Anchor::Right, label, SMALL.coloured(INK));
    }

    /// Draws a vertical grid line, and its label below unless that is empty.
    pub(super) fn draw_upright(&self, canvas: &mut Canvas, fraction: f64, label: &str) {
        let x = self.at(fraction, 0.0).0;
        canvas.line(&[(x, self.top), (x, self.bottom)], 1.3, GRID, None);
        canvas.text((x, self.bottom + 16.0), Anchor::Middle, label, SMALL.coloured(INK));
    }

    /// Draws the grid of two scales; unless `labelled`, the horizontal scale has no labels.
    pub(super) fn draw_grid(&self, canvas: &mut Canvas, across: &Axis, up: &Axis, labelled: bool) {
        for (value, label) in &across.ticks {
            self.draw_upright(canvas, across.fraction(*value), if labelled { label } else { "" });
        }
        for (value, label) in &up.ticks {
            self.draw_level(canvas, up.fraction(*value), label);
        }
    }
}
