//! What a finished sheet consists of: shapes, in pixels from its upper left corner.

use super::palette::{Colour, INK};

/// Width of every plot.
pub(in crate::report) const WIDTH: f64 = 1200.0;

/// Size, weight and colour of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Type {
    pub(in crate::report) size: f64,
    pub(in crate::report) bold: bool,
    pub(in crate::report) colour: Colour,
}

/// Ordinary text.
pub(in crate::report) const BODY: Type = Type { size: 17.0, bold: false, colour: INK };

impl Type {
    pub(in crate::report) fn sized(self, size: f64) -> Type {
        Type { size, ..self }
    }

    pub(in crate::report) fn bold(self) -> Type {
        Type { bold: true, ..self }
    }

    pub(in crate::report) fn coloured(self, colour: Colour) -> Type {
        Type { colour, ..self }
    }
}

/// Upper left and lower right corner.
pub(in crate::report) type Corners = ((f64, f64), (f64, f64));

/// Something that was drawn.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) enum Shape {
    /// A filled rectangle between the upper left and the lower right corner.
    Rect { from: (f64, f64), to: (f64, f64), colour: Colour, alpha: f64 },
    /// Filled rectangles of one colour.
    Rects { rects: Vec<Corners>, colour: Colour },
    /// A line through points, with round joints; dashes are lengths of dash and gap.
    Line { points: Vec<(f64, f64)>, width: f64, colour: Colour, dash: Option<(f64, f64)> },
    /// A filled polygon.
    Polygon { corners: Vec<(f64, f64)>, colour: Colour, alpha: f64 },
    /// A filled circle.
    Dot { centre: (f64, f64), radius: f64, colour: Colour, alpha: f64 },
    /// A text in one line from its left end, its letters centred on `at.1`.
    Text { at: (f64, f64), width: f64, text: String, kind: Type },
}

/// A finished sheet.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Drawing {
    /// Height in pixels; the width is [`WIDTH`].
    pub(in crate::report) height: f64,
    /// What it consists of, the lowest first.
    pub(in crate::report) shapes: Vec<Shape>,
}

/// A plot as report.html embeds it: an `svg` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct Svg(pub(in crate::report) String);
