//! A sheet to draw on, in pixels of the finished image from its upper left corner.
//!
//! PERF and looks: plotters rasterises at whole pixels, so everything is drawn at three times the
//! size and averaged down, which smooths lines and letters alike (40 ms a sheet).
//! NOTE: plotters' own text leaves out each glyph's side bearing, so letters stand unevenly; text
//! is set here from the same font library.

use std::path::Path;

use ab_glyph::{Font, FontRef, ScaleFont, point};
use plotters::coord::Shift;
use plotters::prelude::{
    BitMapBackend, Circle, DrawingArea, DrawingBackend, IntoDrawingArea, Polygon, RGBAColor, Rectangle,
};
use plotters::style::{Color, ShapeStyle};

use super::ReportError;
use super::palette::{Colour, INK};

/// Width of every plot.
pub(super) const WIDTH: f64 = 1200.0;

const SCALE: u32 = 3;
/// No plot is higher, whatever a run holds.
const MAX_HEIGHT: f64 = 6000.0;

static REGULAR: &[u8] = include_bytes!("font/OpenSans-Regular.ttf");
static SEMIBOLD: &[u8] = include_bytes!("font/OpenSans-Semibold.ttf");

/// Where a text stands to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// The text begins there.
    Left,
    /// The text is centred there.
    Middle,
    /// The text ends there.
    Right,
}

/// Size, weight and colour of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Type {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) colour: Colour,
}

/// Ordinary text.
pub(super) const BODY: Type = Type { size: 17.0, bold: false, colour: INK };

impl Type {
    pub(super) fn sized(self, size: f64) -> Type {
        Type { size, ..self }
    }

    pub(super) fn bold(self) -> Type {
        Type { bold: true, ..self }
    }

    pub(super) fn coloured(self, colour: Colour) -> Type {
        Type { colour, ..self }
    }
}

/// The sheet while it is drawn. Drawing errors are kept and reported when it is written.
pub(super) struct Canvas<'a> {
    area: DrawingArea<BitMapBackend<'a>, Shift>,
    regular: FontRef<'static>,
    semibold: FontRef<'static>,
    failure: Option<String>,
}

/// Draws one plot and writes it; the file appears when it is complete. `height` is the most that it
/// may take, and `paint` returns what it took.
pub(super) fn draw(
    path: &Path,
    height: f64,
    paint: impl FnOnce(&mut Canvas<'_>) -> f64,
) -> Result<(), ReportError> {
    let failed = |detail: String| ReportError::Plot { path: path.to_owned(), detail };
    let (width, height) = (WIDTH as u32, height.clamp(100.0, MAX_HEIGHT) as u32);
    let large = (width * SCALE, height * SCALE);
    let mut buffer = vec![255; (large.0 * large.1 * 3) as usize];
    let font = |bytes| FontRef::try_from_slice(bytes).map_err(|error| failed(error.to_string()));
    let (regular, semibold) = (font(REGULAR)?, font(SEMIBOLD)?);
    let area = BitMapBackend::with_buffer(&mut buffer, large).into_drawing_area();
    let mut canvas = Canvas { area, regular, semibold, failure: None };
    let used = paint(&mut canvas).clamp(1.0, f64::from(height)) as u32;
    let failure = canvas.failure.take();
    drop(canvas);
    if let Some(detail) = failure {
        return Err(failed(detail));
    }
    buffer.truncate((large.0 * used * SCALE * 3) as usize);
    write_png(path, &average(&buffer, (width, used)), (width, used)).map_err(failed)
}

fn write_png(path: &Path, pixels: &[u8], size: (u32, u32)) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".writing-{name}"));
    let mut backend = BitMapBackend::new(&unfinished, size);
    backend.blit_bitmap((0, 0), size, pixels).map_err(|error| error.to_string())?;
    backend.present().map_err(|error| error.to_string())?;
    drop(backend);
    std::fs::rename(&unfinished, path).map_err(|error| error.to_string())
}

/// Averages squares of three by three pixels of three channels.
/// PERF: plain indices, because iterators over chunks took 5 times as long in a debug build.
fn average(large: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    const { assert!(SCALE == 3) };
    let width = width as usize;
    let stride = width * 9;
    let mut small = Vec::with_capacity(width * height as usize * 3);
    for rows in large.chunks_exact(stride * 3) {
        let (first, rest) = rows.split_at(stride);
        let (second, third) = rest.split_at(stride);
        for pixel in 0..width {
            for at in pixel * 9..pixel * 9 + 3 {
                let of_row =
                    |row: &[u8]| u32::from(row[at]) + u32::from(row[at + 3]) + u32::from(row[at + 6]);
                small.push(((of_row(first) + of_row(second) + of_row(third)) / 9) as u8);
            }
        }
    }
    small
}

impl Canvas<'_> {
    /// A filled rectangle between two corners, in any order.
    pub(super) fn rect(&mut self, x: (f64, f64), y: (f64, f64), colour: Colour, alpha: f64) {
        let (left, right) = (place(x.0.min(x.1)), place(x.0.max(x.1)));
        let (top, bottom) = (place(y.0.min(y.1)), place(y.0.max(y.1)));
        if right > left && bottom > top {
            let shape = Rectangle::new([(left, top), (right, bottom)], filled(colour, alpha));
            self.keep(|area| area.draw(&shape).map_err(|error| error.to_string()));
        }
    }

    /// A rectangle's outline.
    pub(super) fn outline(
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
    pub(super) fn line(
        &mut self,
        points: &[(f64, f64)],
        width: f64,
        colour: Colour,
        dash: Option<(f64, f64)>,
    ) {
        let mut along = 0.0;
        let mut joined = false;
        for (from, to) in points.iter().zip(points.iter().skip(1)) {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            if !length.is_finite() || length == 0.0 {
                continue;
            }
            let at = |part: f64| {
                (from.0 + (to.0 - from.0) * part / length, from.1 + (to.1 - from.1) * part / length)
            };
            let Some((on, off)) = dash.filter(|(on, off)| on + off > 0.0) else {
                if joined {
                    self.dot(*from, width / 2.0 - 0.25, colour, 1.0);
                }
                self.segment(*from, *to, width, colour);
                joined = true;
                continue;
            };
            let mut done = 0.0;
            while done < length {
                let phase = (along + done) % (on + off);
                let drawn = phase < on;
                let end = length.min(done + if drawn { on - phase } else { on + off - phase }.max(0.01));
                if drawn {
                    self.segment(at(done), at(end), width, colour);
                }
                done = end;
            }
            along += length;
        }
    }

    fn segment(&mut self, from: (f64, f64), to: (f64, f64), width: f64, colour: Colour) {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        if length == 0.0 {
            return;
        }
        if from.0 == to.0 || from.1 == to.1 {
            let half = width / 2.0;
            let flat = from.1 == to.1;
            let (dx, dy) = if flat { (0.0, half) } else { (half, 0.0) };
            let (x, y) = ((from.0.min(to.0), from.0.max(to.0)), (from.1.min(to.1), from.1.max(to.1)));
            self.rect((x.0 - dx, x.1 + dx), (y.0 - dy, y.1 + dy), colour, 1.0);
        } else {
            let (dx, dy) = ((to.1 - from.1) / length * width / 2.0, (from.0 - to.0) / length * width / 2.0);
            let corners = [
                (from.0 + dx, from.1 + dy),
                (to.0 + dx, to.1 + dy),
                (to.0 - dx, to.1 - dy),
                (from.0 - dx, from.1 - dy),
            ];
            self.polygon(&corners, colour, 1.0);
        }
    }

    /// A filled polygon.
    pub(super) fn polygon(&mut self, corners: &[(f64, f64)], colour: Colour, alpha: f64) {
        let corners: Vec<(i32, i32)> =
            corners.iter().map(|corner| (place(corner.0), place(corner.1))).collect();
        let shape = Polygon::new(corners, filled(colour, alpha));
        self.keep(|area| area.draw(&shape).map_err(|error| error.to_string()));
    }

    /// A filled circle.
    pub(super) fn dot(&mut self, centre: (f64, f64), radius: f64, colour: Colour, alpha: f64) {
        let shape =
            Circle::new((place(centre.0), place(centre.1)), place(radius).max(1), filled(colour, alpha));
        self.keep(|area| area.draw(&shape).map_err(|error| error.to_string()));
    }

    /// The width that a text takes.
    pub(super) fn text_width(&self, text: &str, kind: Type) -> f64 {
        f64::from(self.set_text(text, kind).1) / f64::from(SCALE)
    }

    /// A text in one line whose letters are centred on `at.1`.
    pub(super) fn text(&mut self, at: (f64, f64), anchor: Anchor, text: &str, kind: Type) {
        let (glyphs, width) = self.set_text(text, kind);
        let font = if kind.bold { &self.semibold } else { &self.regular };
        let left = place(at.0) as f32
            - match anchor {
                Anchor::Left => 0.0,
                Anchor::Middle => width / 2.0,
                Anchor::Right => width,
            };
        // A capital is 0.714 of the size high: its middle is the text's.
        let baseline = place(at.1 + kind.size * 0.714 / 2.0) as f32;
        let mut pixels = Vec::new();
        for (glyph, x) in glyphs {
            let glyph = glyph.with_scale_and_position(scale_of(kind), point(left + x, baseline));
            if let Some(outline) = font.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|x, y, cover| {
                    pixels.push((corner.x as i32 + x as i32, corner.y as i32 + y as i32, cover))
                });
            }
        }
        for (x, y, cover) in pixels.into_iter().filter(|pixel| pixel.2 > 0.0) {
            let ink = rgba(kind.colour, f64::from(cover.min(1.0)));
            self.keep(|area| area.draw_pixel((x, y), &ink).map_err(|error| error.to_string()));
        }
    }

    /// Text in lines of at most `width`, broken at spaces; returns the height that it takes.
    pub(super) fn paragraph(&mut self, at: (f64, f64), width: f64, text: &str, kind: Type) -> f64 {
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
    pub(super) fn fit(&self, text: &str, width: f64, kind: Type) -> String {
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

    fn set_text(&self, text: &str, kind: Type) -> (Vec<(ab_glyph::GlyphId, f32)>, f32) {
        let font = if kind.bold { &self.semibold } else { &self.regular };
        let scaled = font.as_scaled(scale_of(kind));
        let mut x = 0.0;
        let mut before = None;
        let mut glyphs = Vec::new();
        for letter in text.chars().filter(|letter| !letter.is_control()) {
            let glyph = font.glyph_id(letter);
            x += before.map_or(0.0, |before| scaled.kern(before, glyph));
            glyphs.push((glyph, x));
            x += scaled.h_advance(glyph);
            before = Some(glyph);
        }
        (glyphs, x)
    }

    fn keep(&mut self, step: impl FnOnce(&DrawingArea<BitMapBackend<'_>, Shift>) -> Result<(), String>) {
        if let Err(error) = step(&self.area) {
            self.failure.get_or_insert(error);
        }
    }
}

fn scale_of(kind: Type) -> f32 {
    // Open Sans' line is 1.362 em high, and sizes here are of the em.
    (kind.size * 1.362 * f64::from(SCALE)) as f32
}

/// A place in large pixels; far outside and not-a-number are held near the sheet.
fn place(value: f64) -> i32 {
    let value = if value.is_finite() { value } else { 0.0 };
    (value.clamp(-100.0, 10_000.0) * f64::from(SCALE)).round() as i32
}

fn rgba(colour: Colour, alpha: f64) -> RGBAColor {
    RGBAColor(colour.0, colour.1, colour.2, alpha)
}

fn filled(colour: Colour, alpha: f64) -> ShapeStyle {
    rgba(colour, alpha).filled()
}
