//! A drawing as a PNG.
//!
//! PERF and appearance: plotters rasterises at whole pixels, so everything is drawn at three times the size
//! and averaged down, which smooths lines and letters alike (40 ms per sheet). This happens in bands, so
//! that a sheet takes 10 MB whatever its height.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{BitMapBackend, Circle, DrawingArea, IntoDrawingArea, Polygon, RGBAColor, Rectangle};
use plotters::style::{Color, ShapeStyle};

use super::indexed;
use super::letters::{CAPITAL, Letters};
use super::palette::Colour;
use super::shape::{Drawing, Shape, Type, WIDTH};

const SCALE: u32 = 3;
/// Height of a band in pixels of the finished image.
const BAND: u32 = 256;

/// Writes a drawing; the file appears when it is complete.
pub(in crate::report) fn write_png(path: &Path, drawing: &Drawing, letters: &Letters) -> Result<(), String> {
    let size = (WIDTH as u32, drawing.height as u32);
    let mut pixels = Vec::with_capacity((size.0 * size.1 * 3) as usize);
    let mut large = Vec::new();
    let mut top = 0;
    while top < size.1 {
        let height = BAND.min(size.1 - top);
        large.clear();
        large.resize((size.0 * height * SCALE * SCALE * 3) as usize, 255);
        draw_band(&mut large, (size.0, height), f64::from(top), drawing, letters)?;
        average(&large, size.0 as usize, &mut pixels);
        top += height;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".writing-{name}"));
    let file = File::create(&unfinished).map_err(|error| error.to_string())?;
    let mut buffer = BufWriter::new(file);
    indexed::write(&mut buffer, size, &pixels).map_err(|error| error.to_string())?;
    buffer.flush().map_err(|error| error.to_string())?;
    std::fs::rename(&unfinished, path).map_err(|error| error.to_string())
}

fn draw_band(
    large: &mut [u8],
    (width, height): (u32, u32),
    top: f64,
    drawing: &Drawing,
    letters: &Letters,
) -> Result<(), String> {
    let area = BitMapBackend::with_buffer(large, (width * SCALE, height * SCALE)).into_drawing_area();
    let mut band = Band { area, top, bottom: top + f64::from(height), letters, failure: None };
    drawing.shapes.iter().for_each(|shape| band.draw(shape));
    band.failure.map_or(Ok(()), Err)
}

/// Averages squares of three by three pixels of three channels.
/// PERF: plain indices, because iterators over chunks took 5 times as long in a debug build.
fn average(large: &[u8], width: usize, small: &mut Vec<u8>) {
    const { assert!(SCALE == 3) };
    let stride = width * 9;
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
}

/// The part of a polygon below a height (`side` 1) or above it (`side` -1).
fn clip(corners: &[(f64, f64)], height: f64, side: f64) -> Vec<(f64, f64)> {
    let inside = |corner: &(f64, f64)| (corner.1 - height) * side >= 0.0;
    let mut clipped = Vec::with_capacity(corners.len() + 2);
    for (at, to) in corners.iter().enumerate() {
        let from = &corners[(at + corners.len() - 1) % corners.len()];
        if inside(from) != inside(to) {
            let part = (height - from.1) / (to.1 - from.1);
            clipped.push((from.0 + (to.0 - from.0) * part, height));
        }
        if inside(to) {
            clipped.push(*to);
        }
    }
    clipped
}

/// A circle as a polygon.
fn rim(centre: (f64, f64), radius: f64) -> Vec<(f64, f64)> {
    let corner = |at: u32| {
        let angle = std::f64::consts::TAU * f64::from(at) / 32.0;
        (centre.0 + radius * angle.cos(), centre.1 + radius * angle.sin())
    };
    (0..32).map(corner).collect()
}

/// A part of the sheet. Drawing errors are kept and reported when all is drawn.
struct Band<'a> {
    area: DrawingArea<BitMapBackend<'a>, Shift>,
    top: f64,
    bottom: f64,
    letters: &'a Letters,
    failure: Option<String>,
}

impl Band<'_> {
    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Rect { from, to, colour, alpha } => self.rect(*from, *to, *colour, *alpha),
            Shape::Rects { rects, colour } => {
                rects.iter().for_each(|(from, to)| self.rect(*from, *to, *colour, 1.0));
            }
            Shape::Line { points, width, colour, dash: None } => self.line(points, *width, *colour),
            Shape::Line { points, width, colour, dash: Some(dash) } => {
                self.dashes(points, *width, *colour, *dash)
            }
            Shape::Polygon { corners, colour, alpha } => self.polygon(corners, *colour, *alpha),
            Shape::Dot { centre, radius, colour, alpha } => self.dot(*centre, *radius, *colour, *alpha),
            Shape::Text { at, text, kind, .. } => self.text(*at, text, *kind),
        }
    }

    /// Whether something between two heights is visible in this band.
    fn holds(&self, from: f64, to: f64) -> bool {
        to >= self.top && from <= self.bottom
    }

    fn rect(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour, alpha: f64) {
        let (from, to) = (self.place(from), self.place(to));
        if self.holds_large(from.1, to.1) && to.0 > from.0 && to.1 > from.1 {
            let shape = Rectangle::new([from, to], filled(colour, alpha));
            self.keep(|area| area.draw(&shape).map_err(|error| error.to_string()));
        }
    }

    fn holds_large(&self, from: i32, to: i32) -> bool {
        to >= 0 && from <= ((self.bottom - self.top) * f64::from(SCALE)) as i32
    }

    fn line(&mut self, points: &[(f64, f64)], width: f64, colour: Colour) {
        for (at, pair) in points.windows(2).enumerate() {
            if at > 0 {
                self.dot(pair[0], width / 2.0 - 0.25, colour, 1.0);
            }
            self.segment(pair[0], pair[1], width, colour);
        }
    }

    fn dashes(&mut self, points: &[(f64, f64)], width: f64, colour: Colour, (on, off): (f64, f64)) {
        let mut along = 0.0;
        for pair in points.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            let at = |part: f64| {
                (from.0 + (to.0 - from.0) * part / length, from.1 + (to.1 - from.1) * part / length)
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
        if !self.holds(from.1.min(to.1) - width, from.1.max(to.1) + width) {
            return;
        }
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        if length == 0.0 {
            return;
        }
        if from.0 == to.0 || from.1 == to.1 {
            let half = width / 2.0;
            let (dx, dy) = if from.1 == to.1 { (0.0, half) } else { (half, 0.0) };
            let (x, y) = ((from.0.min(to.0), from.0.max(to.0)), (from.1.min(to.1), from.1.max(to.1)));
            self.rect((x.0 - dx, y.0 - dy), (x.1 + dx, y.1 + dy), colour, 1.0);
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

    fn polygon(&mut self, corners: &[(f64, f64)], colour: Colour, alpha: f64) {
        let least = corners.iter().map(|corner| corner.1).fold(f64::INFINITY, f64::min);
        let most = corners.iter().map(|corner| corner.1).fold(f64::NEG_INFINITY, f64::max);
        if self.holds(least, most) {
            // NOTE: plotters moves corners that are outside of the band to its edge, which bends what crosses it.
            let within = clip(&clip(corners, self.top, 1.0), self.bottom, -1.0);
            if within.len() < 3 {
                return;
            }
            let corners: Vec<(i32, i32)> = within.iter().map(|corner| self.place(*corner)).collect();
            let shape = Polygon::new(corners, filled(colour, alpha));
            self.keep(|area| area.draw(&shape).map_err(|error| error.to_string()));
        }
    }

    fn dot(&mut self, centre: (f64, f64), radius: f64, colour: Colour, alpha: f64) {
        let (least, most) = (centre.1 - radius, centre.1 + radius);
        if self.holds(least, most) && (least < self.top || most > self.bottom) {
            // NOTE: plotters would move its centre into the band.
            self.polygon(&rim(centre, radius), colour, alpha);
        } else if self.holds(least, most) {
            let shape = Circle::new(self.place(centre), large(radius).max(1), filled(colour, alpha));
            self.keep(|area| area.draw(&shape).map_err(|error| error.to_string()));
        }
    }

    fn text(&mut self, at: (f64, f64), text: &str, kind: Type) {
        if !self.holds(at.1 - kind.size, at.1 + kind.size) {
            return;
        }
        // The middle of a capital is the middle of the text.
        let (left, baseline) = self.place((at.0, at.1 + kind.size * CAPITAL / 2.0));
        let start = (left as f32, baseline as f32);
        for outline in self.letters.outlines(text, kind, start, f64::from(SCALE)) {
            let corner = outline.px_bounds().min;
            let mut pixels = Vec::new();
            outline.draw(|x, y, cover| {
                if cover > 0.0 {
                    pixels.push((corner.x as i32 + x as i32, corner.y as i32 + y as i32, cover));
                }
            });
            for (x, y, cover) in pixels {
                let ink = rgba(kind.colour, f64::from(cover.min(1.0)));
                self.keep(|area| area.draw_pixel((x, y), &ink).map_err(|error| error.to_string()));
            }
        }
    }

    fn place(&self, at: (f64, f64)) -> (i32, i32) {
        (large(at.0), large(at.1 - self.top))
    }

    fn keep(&mut self, step: impl FnOnce(&DrawingArea<BitMapBackend<'_>, Shift>) -> Result<(), String>) {
        if let Err(error) = step(&self.area) {
            self.failure.get_or_insert(error);
        }
    }
}

/// A position in large pixels; values far outside and not-a-number are clamped near the sheet.
fn large(value: f64) -> i32 {
    let value = if value.is_finite() { value } else { 0.0 };
    (value.clamp(-10_000.0, 10_000.0) * f64::from(SCALE)).round() as i32
}

fn rgba(colour: Colour, alpha: f64) -> RGBAColor {
    let (red, green, blue) = colour.light;
    RGBAColor(red, green, blue, alpha)
}

fn filled(colour: Colour, alpha: f64) -> ShapeStyle {
    rgba(colour, alpha).filled()
}

#[cfg(test)]
mod tests {
    use super::super::palette::INK;
    use super::*;

    /// How many pixels of each row are not paper, and where the first of them is.
    fn rows_of(shape: Shape) -> Vec<Option<(usize, usize)>> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("drawing.png");
        let letters = Letters::new().expect("letters");
        let drawing = Drawing { height: f64::from(BAND) * 2.0, shapes: vec![shape] };
        write_png(&path, &drawing, &letters).expect("written");
        let mut decoder = png::Decoder::new(std::io::BufReader::new(File::open(&path).expect("a PNG")));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut pixels).expect("a frame");
        let row = |row: &[u8]| {
            let inked = |at: &usize| row[at * 3] < 128;
            let all: Vec<usize> = (0..WIDTH as usize).filter(inked).collect();
            all.first().map(|first| (*first, all.len()))
        };
        pixels.chunks(WIDTH as usize * 3).map(row).collect()
    }

    #[test]
    fn what_crosses_two_bands_is_drawn_as_elsewhere() {
        let edge = f64::from(BAND);
        let dot = |height: f64| Shape::Dot { centre: (100.0, height), radius: 9.0, colour: INK, alpha: 1.0 };
        let within = rows_of(dot(edge / 2.0));
        for above in [3, 0, -3] {
            let crossing = rows_of(dot(edge + f64::from(above)));
            let inked =
                |rows: &[Option<(usize, usize)>]| rows.iter().flatten().map(|row| row.1).sum::<usize>();
            assert!(inked(&crossing).abs_diff(inked(&within)) < 20, "{above}: {crossing:?}");
        }
        // A steep line moves on evenly from row to row.
        let points = vec![(100.0, edge - 200.0), (300.0, edge + 200.0)];
        let line = rows_of(Shape::Line { points, width: 3.0, colour: INK, dash: None });
        let firsts: Vec<usize> = line[60..450].iter().map(|row| row.expect("the line").0).collect();
        assert!(firsts.windows(2).all(|pair| pair[1] >= pair[0] && pair[1] - pair[0] <= 2), "{firsts:?}");
    }
}
