//! A drawing as an `svg` element for report.html.
//!
//! Colours are CSS variables, whose values [`style`] states for light and for dark. A text keeps the
//! length that it was laid out with, so that nothing collides if the reader's font is a different one.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::letters::CAPITAL;
use super::palette::Colour;
use super::shape::{Drawing, Shape, WIDTH};

/// The element, without a title.
pub(in crate::report) fn write(drawing: &Drawing) -> String {
    let mut text = format!("<svg viewBox=\"0 0 {} {}\" role=\"img\">", number(WIDTH), number(drawing.height));
    for shape in &drawing.shapes {
        write_shape(&mut text, shape);
    }
    text += "</svg>";
    text
}

fn write_shape(out: &mut String, shape: &Shape) {
    // NOTE: writing to a String cannot fail.
    let _ = match shape {
        Shape::Rect { from, to, colour, alpha } => write!(
            out,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"{}/>",
            number(from.0),
            number(from.1),
            number(to.0 - from.0),
            number(to.1 - from.1),
            variable(*colour),
            opacity(*alpha)
        ),
        Shape::Rects { rects, colour } => {
            let path = rects.iter().map(|(from, to)| {
                let (width, height) = (number(to.0 - from.0), number(to.1 - from.1));
                format!("M{},{}h{width}v{height}h-{width}z", number(from.0), number(from.1))
            });
            let path = path.collect::<String>();
            write!(out, "<path d=\"{path}\" fill=\"{}\"/>", variable(*colour))
        }
        Shape::Line { points, width, colour, dash } => {
            let dash = dash.map_or_else(String::new, |(on, off)| {
                format!(" stroke-dasharray=\"{} {}\"", number(on), number(off))
            });
            write!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" \
                 stroke-linejoin=\"round\"{dash}/>",
                list(points),
                variable(*colour),
                number(*width)
            )
        }
        Shape::Polygon { corners, colour, alpha } => write!(
            out,
            "<polygon points=\"{}\" fill=\"{}\"{}/>",
            list(corners),
            variable(*colour),
            opacity(*alpha)
        ),
        Shape::Dot { centre, radius, colour, alpha } => write!(
            out,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\"{}/>",
            number(centre.0),
            number(centre.1),
            number(*radius),
            variable(*colour),
            opacity(*alpha)
        ),
        Shape::Text { at, width, text, kind } => write!(
            out,
            "<text x=\"{}\" y=\"{}\" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\" font-size=\"{}\"{} \
             fill=\"{}\">{}</text>",
            number(at.0),
            number(at.1 + kind.size * CAPITAL / 2.0),
            number(*width),
            number(kind.size),
            if kind.bold { " font-weight=\"600\"" } else { "" },
            variable(kind.colour),
            escape(text)
        ),
    };
}

/// The values of the colours that these elements use, for a light page and for a dark one: each as the
/// declarations of a CSS block.
pub(in crate::report) fn style<'a>(elements: impl Iterator<Item = &'a str>) -> (String, String) {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for element in elements {
        names.extend(element.split("var(--").skip(1).filter_map(|rest| rest.split(')').next()));
    }
    let (mut light, mut dark) = (String::new(), String::new());
    // A variable's name is its two values: c, six digits for light, six for dark.
    let is_ours = |name: &&str| {
        name.len() == 13 && name.starts_with('c') && name[1..].bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    for name in names.into_iter().filter(is_ours) {
        let _ = write!(light, "--{name}:#{};", &name[1..7]);
        let _ = write!(dark, "--{name}:#{};", &name[7..13]);
    }
    (light, dark)
}

fn variable(colour: Colour) -> String {
    let hex = |(red, green, blue): (u8, u8, u8)| format!("{red:02x}{green:02x}{blue:02x}");
    format!("var(--c{}{})", hex(colour.light), hex(colour.dark))
}

fn opacity(alpha: f64) -> String {
    if alpha >= 1.0 { String::new() } else { format!(" fill-opacity=\"{}\"", number(alpha)) }
}

fn list(points: &[(f64, f64)]) -> String {
    let pairs = points.iter().map(|point| format!("{},{}", number(point.0), number(point.1)));
    pairs.collect::<Vec<String>>().join(" ")
}

/// A number with at most two decimals; 0 for a number that is not finite.
fn number(value: f64) -> String {
    let value = if value.is_finite() { value.clamp(-10_000.0, 10_000.0) } else { 0.0 };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Escapes text for XML; characters that XML forbids are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            _ if letter.is_control() => {}
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {

    use super::super::palette::{INK, PAPER};
    use super::super::shape::BODY;
    use super::*;

    #[test]
    fn a_label_cannot_leave_its_element() {
        let text = Shape::Text {
            at: (1.0, 2.0),
            width: 30.5,
            text: "</text><script>\"&\u{0}".to_owned(),
            kind: BODY,
        };
        let svg = write(&Drawing { height: 10.0, shapes: vec![text] });
        assert!(svg.contains(">&lt;/text&gt;&lt;script&gt;&quot;&amp;</text></svg>"), "{svg}");
        assert!(svg.contains("textLength=\"30.5\""), "{svg}");
    }

    #[test]
    fn each_colour_has_a_value_for_both_themes() {
        let rect = Shape::Rect { from: (0.0, 0.0), to: (1.0, f64::NAN), colour: PAPER, alpha: 0.5 };
        let svg = write(&Drawing { height: 10.0, shapes: vec![rect] });
        let (light, dark) = style([svg.as_str()].into_iter());
        assert_eq!(light, "--cffffff16191d:#ffffff;");
        assert_eq!(dark, "--cffffff16191d:#16191d;");
        assert!(svg.contains("height=\"0\" fill=\"var(--cffffff16191d)\" fill-opacity=\"0.5\""), "{svg}");
        assert_eq!(variable(INK), "var(--c22262be6e8eb)");
    }
}
