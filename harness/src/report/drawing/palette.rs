//! One colour for each allocator, the same in every plot of every run.
//!
//! The first colours are those of Okabe and Ito, which colour-blind people can distinguish too. Further
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

/// The allocators that heaplab knows, without those that are another build of one of them.
const KNOWN: [(&str, Colour); 10] = [
    ("ptmalloc2", Colour::new((0x00, 0x72, 0xb2), (0x3d, 0x9c, 0xdc))),
    ("jemalloc", Colour::new((0xd5, 0x5e, 0x00), (0xee, 0x7b, 0x22))),
    ("tcmalloc", Colour::new((0x00, 0x9e, 0x73), (0x1d, 0xb9, 0x8b))),
    ("mimalloc", Colour::new((0xcc, 0x79, 0xa7), (0xdc, 0x8d, 0xba))),
    ("tcmalloc-google", Colour::new((0xe6, 0x9f, 0x00), (0xf0, 0xb4, 0x2c))),
    ("mimalloc2", Colour::new((0x88, 0x22, 0x55), (0xc2, 0x53, 0x8a))),
    ("snmalloc", Colour::new((0x56, 0xb4, 0xe9), (0x86, 0xd4, 0xff))),
    ("rpmalloc", Colour::new((0x99, 0x99, 0x33), (0xb8, 0xb8, 0x4a))),
    ("scudo", Colour::new((0x5b, 0x3f, 0x8c), (0x97, 0x7c, 0xd0))),
    ("tbbmalloc", Colour::new((0x66, 0xa6, 0x1e), (0x8f, 0xd1, 0x4f))),
];
/// For allocators that are none of these, in the order in which a run has them.
const OTHERS: [Colour; 3] = [
    Colour::new((0x7b, 0x4b, 0x2a), (0xb0, 0x85, 0x60)),
    Colour::new((0x17, 0xbe, 0xcf), (0x35, 0xdb, 0xe8)),
    Colour::new((0xe8, 0x3e, 0x8c), (0xff, 0x6f, 0xb0)),
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
    let family = |variant: &String| analysis.allocator(variant).trim_end_matches("-system").to_owned();
    looks_of(&analysis.variants.iter().map(family).collect::<Vec<String>>())
}

/// The looks of variants of these allocators.
fn looks_of(allocators: &[String]) -> Vec<Look> {
    let mut unknown: Vec<&String> = Vec::new();
    let mut hues: Vec<Colour> = Vec::new();
    let mut looks = Vec::new();
    for name in allocators {
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
        // Counted by hue, so that two unknown allocators that share one differ too.
        let before = hues.iter().filter(|other| **other == hue).count();
        hues.push(hue);
        looks.push(variation(hue, before));
    }
    looks
}

const DASHES: [Option<(f64, f64)>; 7] = [
    None,
    Some((9.0, 5.0)),
    Some((4.0, 3.0)),
    Some((2.0, 3.0)),
    Some((14.0, 4.0)),
    Some((24.0, 10.0)),
    Some((6.0, 12.0)),
];

/// The look of the n-th variant of one hue. The first 21 differ: each of the dashes comes in three shades, and variants
/// next to each other differ in both.
fn variation(hue: Colour, n: usize) -> Look {
    let (dash, round) = (n % DASHES.len(), n / DASHES.len());
    let colour = match (dash + round) % 3 {
        0 => hue,
        1 => mix(hue, INK, 0.50),
        _ => mix(hue, PAPER, 0.42),
    };
    Look { colour, dash: DASHES[dash] }
}

/// The colour that is `part` of the way from one colour to another, on both papers.
pub(in crate::report) fn mix(from: Colour, to: Colour, part: f64) -> Colour {
    let channel = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    let between = |a: Rgb, b: Rgb| (channel(a.0, b.0), channel(a.1, b.1), channel(a.2, b.2));
    Colour::new(between(from.light, to.light), between(from.dark, to.dark))
}

#[cfg(test)]
mod tests {
    use heaplab_allocators::registry::ENTRIES;

    use super::*;

    /// How far apart two colours are on the paper on which they are nearest to each other.
    fn distance(one: Colour, other: Colour) -> f64 {
        let squared = |a: u8, b: u8| (f64::from(a) - f64::from(b)).powi(2);
        let between = |a: Rgb, b: Rgb| (squared(a.0, b.0) + squared(a.1, b.1) + squared(a.2, b.2)).sqrt();
        between(one.light, other.light).min(between(one.dark, other.dark))
    }

    fn differ(one: &Look, other: &Look) -> bool {
        one.dash != other.dash || distance(one.colour, other.colour) >= 40.0
    }

    #[test]
    fn every_allocator_has_a_colour_of_its_own() {
        let mut names: Vec<&str> =
            ENTRIES.iter().map(|entry| entry.name.trim_end_matches("-system")).collect();
        names.dedup();
        names.sort_unstable();
        names.dedup();
        let mut allocators: Vec<String> = names.into_iter().map(str::to_owned).collect();
        allocators.extend(["a", "b", "c"].map(str::to_owned));
        let looks = looks_of(&allocators);
        for (at, look) in looks.iter().enumerate() {
            for (other, name) in looks[..at].iter().zip(&allocators) {
                let apart = distance(look.colour, other.colour);
                assert!(apart >= 45.0, "{} and {name}: {apart}", allocators[at]);
            }
        }
    }

    #[test]
    fn twenty_variants_of_one_allocator_differ() {
        for name in KNOWN.iter().map(|(name, _)| *name).chain([FLOOR, "other"]) {
            let looks = looks_of(&vec![name.to_owned(); 20]);
            for (at, look) in looks.iter().enumerate() {
                assert!(looks[..at].iter().all(|other| differ(look, other)), "{name}, {at}: {look:?}");
            }
        }
        // Unknown allocators may share a hue, and never a look.
        let many: Vec<String> = (0..20).map(|number| format!("allocator {number}")).collect();
        let looks = looks_of(&many);
        assert!((0..20).all(|at| looks[..at].iter().all(|other| differ(&looks[at], other))), "{looks:?}");
    }
}
