//! Pixels as a PNG with a palette.
//!
//! A plot has hundreds of colours, nearly all of them shades where a line or a letter meets the paper. A shade becomes
//! the nearest colour of the palette, which is so near that nobody sees it: a file has a quarter of the size (31 KB per
//! plot instead of 130), and documents and repositories are full of such files. A colour is in the palette because no
//! other is near, not because it is frequent: the dots of a variant are a few pixels, and may not take the colour of
//! another variant.

use std::collections::HashMap;
use std::io::{self, Write};

/// Colours that a palette holds at most.
const COLOURS: usize = 256;
/// How far a colour may be from that of the palette which stands for it: a distance in a cube with edges of 255.
const NEAR: u32 = 8;

type Rgb = [u8; 3];

/// Writes rows of pixels, three bytes each.
pub(super) fn write(to: impl Write, (width, height): (u32, u32), pixels: &[u8]) -> io::Result<()> {
    let (palette, indices) = index(pixels);
    let mut encoder = png::Encoder::new(to, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette.concat());
    encoder.set_compression(png::Compression::High);
    // Neighbouring indexes are unrelated.
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().map_err(io::Error::other)?;
    writer.write_image_data(&indices).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)
}

/// The palette, the most frequent colour first, and the index of each pixel's colour in it.
fn index(pixels: &[u8]) -> (Vec<Rgb>, Vec<u8>) {
    let (pixels, _) = pixels.as_chunks::<3>();
    let mut counts: HashMap<Rgb, u32> = HashMap::new();
    // PERF: runs of one colour are counted at once; most of a plot is paper.
    for run in pixels.chunk_by(|left, right| left == right) {
        *counts.entry(run[0]).or_default() += run.len() as u32;
    }
    let mut colours: Vec<(Rgb, u32)> = counts.into_iter().collect();
    colours.sort_by_key(|(colour, count)| (std::cmp::Reverse(*count), *colour));
    let palette = (0..)
        .find_map(|doublings| choose(&colours, NEAR << doublings))
        .expect("a reach beyond the cube's diagonal leaves one colour");
    let places: HashMap<Rgb, u8> =
        colours.iter().map(|(colour, _)| (*colour, nearest(&palette, *colour))).collect();
    let mut indices = Vec::with_capacity(pixels.len());
    for run in pixels.chunk_by(|left, right| left == right) {
        indices.resize(indices.len() + run.len(), places[&run[0]]);
    }
    (palette, indices)
}

/// Colours such that none of `colours` is farther than `reach` from the nearest; none if that takes too many.
fn choose(colours: &[(Rgb, u32)], reach: u32) -> Option<Vec<Rgb>> {
    let mut palette: Vec<Rgb> = Vec::with_capacity(COLOURS);
    for (colour, _) in colours {
        if palette.iter().all(|other| distance(*other, *colour) > reach.pow(2)) {
            if palette.len() == COLOURS {
                return None;
            }
            palette.push(*colour);
        }
    }
    Some(palette)
}

fn nearest(palette: &[Rgb], colour: Rgb) -> u8 {
    let nearest = palette.iter().enumerate().min_by_key(|(_, other)| distance(**other, colour));
    nearest.map_or(0, |(place, _)| place as u8)
}

/// The square of the distance of two colours.
fn distance(left: Rgb, right: Rgb) -> u32 {
    left.iter().zip(right).map(|(left, right)| u32::from(left.abs_diff(right)).pow(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(file: &[u8]) -> Vec<u8> {
        let mut decoder = png::Decoder::new(io::Cursor::new(file));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut pixels).expect("a frame");
        pixels
    }

    #[test]
    fn colours_that_differ_visibly_stay_as_they_are() {
        // However rare: the first fills nine tenths, and each of the others is one pixel.
        let shades = || (0..6_u8).map(|shade| shade * 51);
        let others = shades()
            .flat_map(|red| shades().flat_map(move |green| shades().map(move |blue| [red, green, blue])));
        let pixels: Vec<u8> = std::iter::repeat_n([20, 20, 20], 1944).chain(others).flatten().collect();
        let mut file = Vec::new();
        write(&mut file, (216, 10), &pixels).expect("written");
        assert_eq!(decoded(&file)[1944 * 3..], pixels[1944 * 3..]);
    }

    #[test]
    fn a_colour_near_a_more_frequent_one_becomes_it() {
        let pixels = [[90, 0, 0], [90, 0, 0], [94, 4, 4], [99, 40, 9]].concat();
        let mut file = Vec::new();
        write(&mut file, (2, 2), &pixels).expect("written");
        assert_eq!(decoded(&file), [[90, 0, 0], [90, 0, 0], [90, 0, 0], [99, 40, 9]].concat());
    }

    #[test]
    fn of_more_colours_than_fit_each_becomes_a_neighbour() {
        let shades = || (0..16_u8).map(|shade| shade * 17);
        let every = shades()
            .flat_map(|red| shades().flat_map(move |green| shades().map(move |blue| [red, green, blue])));
        let pixels: Vec<u8> = every.flatten().collect();
        let mut file = Vec::new();
        write(&mut file, (64, 64), &pixels).expect("written");
        let found = decoded(&file);
        let worst = found
            .as_chunks()
            .0
            .iter()
            .zip(pixels.as_chunks().0)
            .map(|(found, drawn)| distance(*found, *drawn));
        assert!(worst.max().is_some_and(|worst| worst <= (8 * NEAR).pow(2)));
    }
}
