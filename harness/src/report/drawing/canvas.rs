//! A sheet to draw on, in pixels of the finished image from its upper left corner.
//!
//! Drawing only records shapes. The finished sheet is then written twice from the same shapes: as a PNG
//! (`raster`), and as SVG text (`svg`), which report.html embeds and which follows the reader's theme.

use std::path::Path;

use super::super::ReportError;
use super::letters::Letters;
use super::palette::{Colour, PAPER};
use super::shape::{BODY, Corners, Drawing, Shape, Svg, Type, WIDTH};
use super::{raster, svg};

/// Greatest height of a plot, whatever a run holds. What would be higher is cut off with a mark.
pub(in crate::report) const MAX_HEIGHT: f64 = 6000.0;

/// A text's position relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Anchor {
    /// The text starts there.
    Left,
    /// The text is centred there.
    Middle,
    /// The text ends there.
    Right,
}

/// The sheet while it is drawn.
pub(in crate::report) struct Canvas {
    letters: Letters,
    shapes: Vec<Shape>,
}

/// Points of a line closer than this are drawn as one: a third of a pixel, the resolution that a PNG is averaged
/// from.
const APART: f64 = 1.0 / 3.0;

/// Draws one plot and writes its PNG; the file appears when it is complete. `paint` returns the height that it
/// used. Returns the same plot as SVG.
pub(in crate::report) fn draw(
    path: &Path,
    paint: impl FnOnce(&mut Canvas) -> f64,
) -> Result<Svg, ReportError> {
    let failed = |detail: String| ReportError::Plot { path: path.to_owned(), detail };
    let mut canvas = Canvas { letters: Letters::new().map_err(failed)?, shapes: Vec::new() };
    let needed = paint(&mut canvas);
    if needed > MAX_HEIGHT {
        canvas.mark_cut(needed);
    }
    let height = needed.clamp(100.0, MAX_HEIGHT).ceil();
    let drawing = Drawing { height, shapes: canvas.shapes };
    raster::write_png(path, &drawing, &canvas.letters).map_err(failed)?;
    Ok(Svg(svg::write(&drawing)))
}

/// Leaves out points that nobody could tell from the one before: closer than [`APART`] in both directions. Ends
/// stay. PERF: curves of latencies have thousands of points on a few hundred pixels; report.html was ten times as
/// large.
fn thin(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let last = points.last().copied();
    points.dedup_by(|next, kept| (next.0 - kept.0).abs() < APART && (next.1 - kept.1).abs() < APART);
    match (last, points.last().copied()) {
        (Some(last), Some(kept)) if last != kept => points.push(last),
        _ => {}
    }
    points
}

impl Canvas {
    /// Says at the lower edge that the sheet ends before the drawing does.
    fn mark_cut(&mut self, needed: f64) {
        let (top, shown) = (MAX_HEIGHT - 40.0, MAX_HEIGHT / needed * 100.0);
        self.rect((0.0, WIDTH), (top, MAX_HEIGHT), PAPER, 1.0);
        let text = format!("Cut off here: the upper {shown:.0} % of this plot is shown.");
        self.text((WIDTH / 2.0, top + 20.0), Anchor::Middle, &text, BODY.bold());
    }

    /// A filled rectangle between two corners, in any order.
    pub(in crate::report) fn rect(&mut self, x: (f64, f64), y: (f64, f64), colour: Colour, alpha: f64) {
        let (from, to) = ((x.0.min(x.1), y.0.min(y.1)), (x.0.max(x.1), y.0.max(y.1)));
        if to.0 > from.0 && to.1 > from.1 {
            self.shapes.push(Shape::Rect { from, to, colour, alpha });
        }
    }

    /// Filled rectangles of one colour, each from its upper left to its lower right corner.
    pub(in crate::report) fn rects(&mut self, rects: Vec<Corners>, colour: Colour) {
        if !rects.is_empty() {
            self.shapes.push(Shape::Rects { rects, colour });
        }
    }

    /// A rectangle's outline.
    pub(in crate::report) fn outline(
        &mut self,
        x: (f64, f64),
        y: (f64, f64),
        width: f64,
        colour: Colour,
        dash: Option<(f64, f64)>,
    ) {
        let corners = [(x.0, y.0), (x.1, y.0), (x.1, y.1), (x.0, y.1), (x.0, y.0)];
        self.line(&corners, width, colour, dash);
    }

    /// A line through points, with round joints.
    pub(in crate::report) fn line(
        &mut self,
        points: &[(f64, f64)],
        width: f64,
        colour: Colour,
        dash: Option<(f64, f64)>,
    ) {
        let finite = points.iter().copied().filter(|point| point.0.is_finite() && point.1.is_finite());
        let points = thin(finite.collect());
        if points.len() > 1 {
            let dash = dash.filter(|(on, off)| on + off > 0.0);
            self.shapes.push(Shape::Line { points, width, colour, dash });
        }
    }

    /// A filled polygon.
    pub(in crate::report) fn polygon(&mut self, corners: &[(f64, f64)], colour: Colour, alpha: f64) {
        self.shapes.push(Shape::Polygon { corners: corners.to_vec(), colour, alpha });
    }

    /// A filled circle.
    pub(in crate::report) fn dot(&mut self, centre: (f64, f64), radius: f64, colour: Colour, alpha: f64) {
        self.shapes.push(Shape::Dot { centre, radius, colour, alpha });
    }

    /// The width that a text takes.
    pub(in crate::report) fn text_width(&self, text: &str, kind: Type) -> f64 {
        self.letters.width(text, kind)
    }

    /// A text in one line whose letters are centred on `at.1`.
    pub(in crate::report) fn text(&mut self, at: (f64, f64), anchor: Anchor, text: &str, kind: Type) {
        let width = self.text_width(text, kind);
        let left = at.0
            - match anchor {
                Anchor::Left => 0.0,
                Anchor::Middle => width / 2.0,
                Anchor::Right => width,
            };
        if !text.trim().is_empty() {
            self.shapes.push(Shape::Text { at: (left, at.1), width, text: text.to_owned(), kind });
        }
    }

    /// A text that starts at a point, on paper that covers the lines below it.
    pub(in crate::report) fn text_on_paper(&mut self, at: (f64, f64), text: &str, kind: Type) {
        let width = self.text_width(text, kind);
        let half = kind.size * 0.62;
        self.rect((at.0 - 3.0, at.0 + width + 3.0), (at.1 - half, at.1 + half), PAPER, 1.0);
        self.text(at, Anchor::Left, text, kind);
    }

    /// Text in lines of at most `width`, broken at spaces; returns the height that it takes.
    pub(in crate::report) fn paragraph(&mut self, at: (f64, f64), width: f64, text: &str, kind: Type) -> f64 {
        let step = kind.size * 1.4;
        let mut line = String::new();
        let mut below = 0.0;
        for word in text.split(' ') {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if !line.is_empty() && self.text_width(&longer, kind) > width {
                self.text((at.0, at.1 + below), Anchor::Left, &line, kind);
                below += step;
                line = word.to_owned();
            } else {
                line = longer;
            }
        }
        self.text((at.0, at.1 + below), Anchor::Left, &line, kind);
        below + step
    }

    /// A text cut to a width, with an ellipsis in its middle where it is cut.
    pub(in crate::report) fn fit(&self, text: &str, width: f64, kind: Type) -> String {
        if self.text_width(text, kind) <= width {
            return text.to_owned();
        }
        let letters: Vec<char> = text.chars().collect();
        let cut = |keep: usize| {
            let (head, tail) = (keep.div_ceil(2), keep / 2);
            let ends = (letters[..head].iter(), letters[letters.len() - tail..].iter());
            ends.0.chain(['…'].iter()).chain(ends.1).collect::<String>()
        };
        let longest =
            (0..letters.len()).rev().map(cut).find(|shorter| self.text_width(shorter, kind) <= width);
        longest.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_that_is_too_high_says_that_it_is_cut_off() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cut = |height: f64| {
            let drawn = draw(&directory.path().join("plot.png"), |_| height).expect("a plot");
            drawn.0.contains("Cut off here: the upper 75 % of this plot is shown.")
        };
        assert!(cut(8000.0) && !cut(6000.0));
    }

    #[test]
    fn what_cannot_be_seen_is_left_out_and_ends_and_spikes_stay() {
        let mut points: Vec<(f64, f64)> = (0..1000).map(|at| (f64::from(at) * 0.01, 5.0)).collect();
        points[500].1 = 90.0;
        let thinned = thin(points);
        assert!(thinned.len() < 40, "{}", thinned.len());
        assert_eq!((thinned[0], thinned[thinned.len() - 1]), ((0.0, 5.0), (9.99, 5.0)));
        assert!(thinned.contains(&(5.0, 90.0)));
        assert_eq!(thin(vec![(1.0, 1.0); 3]), [(1.0, 1.0)]);
        assert_eq!(thin(vec![(1.0, 1.0), (1.1, 1.0)]), [(1.0, 1.0), (1.1, 1.0)]);
        assert_eq!(thin(Vec::new()), []);
    }
}
