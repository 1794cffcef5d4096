//! Text set in the plots' own font: the position of each letter, and the width of a text.
//!
//! NOTE: plotters' own text leaves out each glyph's side bearing, so letters stand unevenly; text is
//! set here from the same font library.

use ab_glyph::{Font, FontRef, Glyph, GlyphId, OutlinedGlyph, ScaleFont, point};

use super::shape::Type;

static REGULAR: &[u8] = include_bytes!("font/OpenSans-Regular.ttf");
static SEMIBOLD: &[u8] = include_bytes!("font/OpenSans-Semibold.ttf");

/// Height of a capital as a fraction of the size.
pub(in crate::report) const CAPITAL: f64 = 0.714;

/// The two weights of the font.
pub(in crate::report) struct Letters {
    regular: FontRef<'static>,
    semibold: FontRef<'static>,
}

impl Letters {
    /// Reads the fonts that are built in.
    pub(in crate::report) fn new() -> Result<Letters, String> {
        let font = |bytes| FontRef::try_from_slice(bytes).map_err(|error| error.to_string());
        Ok(Letters { regular: font(REGULAR)?, semibold: font(SEMIBOLD)? })
    }

    /// The width that a text takes, in pixels.
    pub(in crate::report) fn width(&self, text: &str, kind: Type) -> f64 {
        f64::from(self.set(text, kind, 1.0).1)
    }

    /// The outlines of a text whose line starts at `left` and stands on `baseline`, enlarged `scale` times.
    pub(in crate::report) fn outlines(
        &self,
        text: &str,
        kind: Type,
        (left, baseline): (f32, f32),
        scale: f64,
    ) -> Vec<OutlinedGlyph> {
        let font = self.font(kind);
        let (glyphs, _) = self.set(text, kind, scale);
        let placed = glyphs.into_iter().map(|(id, x)| -> Glyph {
            id.with_scale_and_position(scale_of(kind, scale), point(left + x, baseline))
        });
        placed.filter_map(|glyph| font.outline_glyph(glyph)).collect()
    }

    fn font(&self, kind: Type) -> &FontRef<'static> {
        if kind.bold { &self.semibold } else { &self.regular }
    }

    fn set(&self, text: &str, kind: Type, scale: f64) -> (Vec<(GlyphId, f32)>, f32) {
        let scaled = self.font(kind).as_scaled(scale_of(kind, scale));
        let mut x = 0.0;
        let mut before = None;
        let mut glyphs = Vec::new();
        for letter in text.chars().filter(|letter| !letter.is_control()) {
            let glyph = scaled.glyph_id(letter);
            x += before.map_or(0.0, |before| scaled.kern(before, glyph));
            glyphs.push((glyph, x));
            x += scaled.h_advance(glyph);
            before = Some(glyph);
        }
        (glyphs, x)
    }
}

fn scale_of(kind: Type, scale: f64) -> f32 {
    // A line of Open Sans is 1.362 em high, and sizes here are in em.
    (kind.size * 1.362 * scale) as f32
}
