//! Pixels as a PNG with a palette.
//!
//! A plot has a few hundred colours, nearly all of them shades where a line or a letter meets the paper. The 64 most
//! frequent ones stay as they are, and each of the others becomes the nearest of these: a file has a quarter of the
//! size (32 KB per plot instead of 130), and documents and repositories are full of such files.

use std::collections::HashMap;
use std::io::{self, Write};

/// Colours that a palette holds.
const COLOURS: usize = 64;

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
    let palette: Vec<Rgb> = colours.iter().take(COLOURS).map(|(colour, _)| *colour).collect();
    let places: HashMap<Rgb, u8> =
        colours.iter().map(|(colour, _)| (*colour, nearest(&palette, *colour))).collect();
    let mut indices = Vec::with_capacity(pixels.len());
    for run in pixels.chunk_by(|left, right| left == right) {
        indices.resize(indices.len() + run.len(), places[&run[0]]);
    }
    (palette, indices)
}

fn nearest(palette: &[Rgb], colour: Rgb) -> u8 {
    let distance = |other: &Rgb| -> u32 {
        other.iter().zip(colour).map(|(own, wanted)| u32::from(own.abs_diff(wanted)).pow(2)).sum()
    };
    let nearest = palette.iter().enumerate().min_by_key(|(_, other)| distance(other));
    nearest.map_or(0, |(place, _)| place as u8)
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
    fn few_colours_stay_as_they_are() {
        let pixels: Vec<u8> = (0..60_u8).flat_map(|shade| [shade, 255 - shade, 7]).collect();
        let mut file = Vec::new();
        write(&mut file, (20, 3), &pixels).expect("written");
        assert_eq!(decoded(&file), pixels);
    }

    #[test]
    fn of_many_colours_the_rare_become_their_neighbours() {
        // 64 frequent colours, twice each, and a rare one between every two of them.
        let frequent = (0..64_u8).flat_map(|red| [[red, 0, 0], [red, 0, 0]]);
        let rare = (0..64_u8).map(|red| [red, 1, 0]);
        let pixels: Vec<u8> = frequent.chain(rare).flatten().collect();
        let mut file = Vec::new();
        write(&mut file, (64, 3), &pixels).expect("written");
        let found = decoded(&file);
        assert_eq!(found[..64 * 2 * 3], pixels[..64 * 2 * 3]);
        assert_eq!(found[64 * 2 * 3..], (0..64_u8).flat_map(|red| [red, 0, 0]).collect::<Vec<u8>>());
    }
}
