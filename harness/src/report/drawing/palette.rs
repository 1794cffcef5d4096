//! One colour for each allocator, the same in every plot of every run.
//!
//! The colours are those of Okabe and Ito, which colour-blind people can distinguish too. Further
//! variants of one allocator keep its hue and differ in lightness and dashes.

use heaplab_allocators::registry::FLOOR;

use super::super::analysis::Analysis;

/// Red, green, blue.
pub(in crate::report) type Rgb = (u8, u8, u8);

/// A colour on white paper, and its counterpart on a dark page. PNGs are on white paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::report) struct Colour {
    pub(in crate::report) light: Rgb,
    pub(in crate::report) dark: Rgb,
}

impl Colour {
    pub(in crate::report) const fn new(light: Rgb, dark: Rgb) -> Colour {
        Colour { light, dark }
    }
}

pub(in crate::report) const INK: Colour = Colour::new((0x22, 0x26, 0x2b), (0xe6, 0xe8, 0xeb));
pub(in crate::report) const MUTED: Colour = Colour::new((0x6b, 0x72, 0x7a), (0x9d, 0xa5, 0xae));
pub(in crate::report) const GRID: Colour = Colour::new((0xe6, 0xe8, 0xeb), (0x30, 0x36, 0x3d));
pub(in crate::report) const PAPER: Colour = Colour::new((0xff, 0xff, 0xff), (0x16, 0x19, 0x1d));
pub(in crate::report) const SHADE: Colour = Colour::new((0xf2, 0xf3, 0xf5), (0x20, 0x25, 0x2a));
/// What the program asked for, drawn under what it got.
pub(in crate::report) const REQUESTED: Colour = Colour::new((0xd3, 0xd7, 0xdc), (0x3f, 0x47, 0x50));

const KNOWN: [(&str, Colour); 4] = [
    ("ptmalloc2", Colour::new((0x00, 0x72, 0xb2), (0x3d, 0x9c, 0xdc))),
    ("jemalloc", Colour::new((0xd5, 0x5e, 0x00), (0xee, 0x7b, 0x22))),
    ("tcmalloc", Colour::new((0x00, 0x9e, 0x73), (0x1d, 0xb9, 0x8b))),
    ("mimalloc", Colour::new((0xcc, 0x79, 0xa7), (0xdc, 0x8d, 0xba))),
];
const OTHERS: [Colour; 5] = [
    Colour::new((0xe6, 0x9f, 0x00), (0xf0, 0xb4, 0x2c)),
    Colour::new((0x56, 0xb4, 0xe9), (0x6c, 0xc4, 0xf5)),
    Colour::new((0x88, 0x22, 0x55), (0xc2, 0x53, 0x8a)),
    Colour::new((0x99, 0x99, 0x33), (0xb8, 0xb8, 0x4a)),
    Colour::new((0x5b, 0x3f, 0x8c), (0x97, 0x7c, 0xd0)),
];
const OF_FLOOR: Colour = Colour::new((0x8a, 0x8f, 0x96), (0x8a, 0x8f, 0x96));

/// How a variant is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Look {
    /// Its colour.
    pub(in crate::report) colour: Colour,
    /// Lengths of dash and gap in pixels; none for a solid line.
    pub(in crate::report) dash: Option<(f64, f64)>,
}

/// The colour of an allocator's first variant; an allocator without its own colour gets the first of the
/// others.
pub(in crate::report) fn hue(allocator: &str) -> Colour {
    let name = allocator.trim_end_matches("-system");
    KNOWN.iter().find(|(known, _)| *known == name).map_or(OTHERS[0], |(_, colour)| *colour)
}

/// The looks of a run's variants, in their order.
pub(in crate::report) fn looks(analysis: &Analysis<'_>) -> Vec<Look> {
    let family = |variant: &str| analysis.allocator(variant).trim_end_matches("-system").to_owned();
    let families: Vec<String> = analysis.variants.iter().map(|variant| family(variant)).collect();
    let mut unknown: Vec<&String> = Vec::new();
    let mut looks = Vec::new();
    for (at, name) in families.iter().enumerate() {
        let hue = match KNOWN.iter().find(|(known, _)| known == name) {
            Some((_, colour)) => *colour,
            None if name == FLOOR => OF_FLOOR,
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

/// The colour that is `part` of the way from one colour to another, on both papers.
pub(in crate::report) fn mix(from: Colour, to: Colour, part: f64) -> Colour {
    let channel = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    let between = |a: Rgb, b: Rgb| (channel(a.0, b.0), channel(a.1, b.1), channel(a.2, b.2));
    Colour::new(between(from.light, to.light), between(from.dark, to.dark))
}
