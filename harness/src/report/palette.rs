//! One colour for each allocator, the same in every plot of every run.
//!
//! The colours of Okabe and Ito, which colour-blind people tell apart too. More variants of one
//! allocator keep its hue and differ in lightness and dashes.

use super::analysis::{Analysis, FLOOR};

/// Red, green, blue.
pub(super) type Colour = (u8, u8, u8);

pub(super) const INK: Colour = (0x22, 0x26, 0x2b);
pub(super) const MUTED: Colour = (0x6b, 0x72, 0x7a);
pub(super) const GRID: Colour = (0xe6, 0xe8, 0xeb);
pub(super) const PAPER: Colour = (0xff, 0xff, 0xff);
pub(super) const SHADE: Colour = (0xf2, 0xf3, 0xf5);

const KNOWN: [(&str, Colour); 4] = [
    ("ptmalloc2", (0x00, 0x72, 0xb2)),
    ("jemalloc", (0xd5, 0x5e, 0x00)),
    ("tcmalloc", (0x00, 0x9e, 0x73)),
    ("mimalloc", (0xcc, 0x79, 0xa7)),
];
const OTHERS: [Colour; 5] =
    [(0xe6, 0x9f, 0x00), (0x56, 0xb4, 0xe9), (0x88, 0x22, 0x55), (0x99, 0x99, 0x33), (0x5b, 0x3f, 0x8c)];

/// How a variant is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    /// Its colour.
    pub(super) colour: Colour,
    /// Lengths of dash and gap in pixels; none for a whole line.
    pub(super) dash: Option<(f64, f64)>,
}

/// The colour of an allocator's first variant; that of one without a colour of its own is the first of the others.
pub(super) fn hue(allocator: &str) -> Colour {
    let name = allocator.trim_end_matches("-system");
    KNOWN.iter().find(|(known, _)| *known == name).map_or(OTHERS[0], |(_, colour)| *colour)
}

/// The looks of a run's variants, in their order.
pub(super) fn looks(analysis: &Analysis<'_>) -> Vec<Look> {
    let family = |variant: &str| analysis.allocator(variant).trim_end_matches("-system").to_owned();
    let families: Vec<String> = analysis.variants.iter().map(|variant| family(variant)).collect();
    let mut unknown: Vec<&String> = Vec::new();
    let mut looks = Vec::new();
    for (at, name) in families.iter().enumerate() {
        let hue = match KNOWN.iter().find(|(known, _)| known == name) {
            Some((_, colour)) => *colour,
            None if name == FLOOR => (0x8a, 0x8f, 0x96),
            None => {
                let place = unknown.iter().position(|other| *other == name).unwrap_or_else(|| {
                    unknown.push(name);
                    unknown.len() - 1
                });
                OTHERS[place % OTHERS.len()]
            }
        };
        let before = families[..at].iter().filter(|other| *other == name).count();
        looks.push(variation(hue, before));
    }
    looks
}

/// The look of the n-th variant of one allocator.
fn variation(hue: Colour, n: usize) -> Look {
    match n % 5 {
        0 => Look { colour: hue, dash: None },
        1 => Look { colour: mix(hue, INK, 0.50), dash: Some((9.0, 5.0)) },
        2 => Look { colour: mix(hue, PAPER, 0.40), dash: Some((4.0, 3.0)) },
        3 => Look { colour: mix(hue, INK, 0.25), dash: Some((2.0, 3.0)) },
        _ => Look { colour: mix(hue, PAPER, 0.20), dash: Some((14.0, 4.0)) },
    }
}

/// `part` of the way from one colour to another.
pub(super) fn mix(from: Colour, to: Colour, part: f64) -> Colour {
    let channel = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    (channel(from.0, to.0), channel(from.1, to.1), channel(from.2, to.2))
}
