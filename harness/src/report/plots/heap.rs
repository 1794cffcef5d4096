//! The heap map: which of the heap's address space is resident, and how much of that holds live objects,
//! when the most is resident and after everything was freed. It shows why memory is held.

use super::super::ReportError;
use super::super::drawing::palette::{Colour, GRID};
use super::super::drawing::{Anchor, BODY, Canvas, Corners, MAX_HEIGHT, Svg, WIDTH, draw};
use super::super::heap_map::{Cells, HeapMaps, join};
use super::super::units;
use super::frame::{Key, MARGIN, SMALL, Subject, legend, title};
use crate::results::Moment;

/// A square and the gap after it.
const STEP: f64 = 9.0;
const SQUARE: f64 = 8.0;
const GAP: f64 = 28.0;
/// Height of the line that says how many variants are left out.
const LEFT_OUT: f64 = 30.0;
const MOMENTS: [(Moment, &str); 2] =
    [(Moment::ResidentPeak, "when the most is resident"), (Moment::Drained, "after every object was freed")];

/// Shares of live bytes up to which a colour is used, and its label.
const SHARES: [(f64, &str, Colour); 5] = [
    (0.0, "no live byte", Colour::new((0xb2, 0x3a, 0x1e), (0xd9, 0x5f, 0x3f))),
    (0.25, "up to 25 %", Colour::new((0xe8, 0x91, 0x4c), (0xea, 0x9b, 0x5a))),
    (0.5, "to 50 %", Colour::new((0xf1, 0xcf, 0x8a), (0xe6, 0xc9, 0x8c))),
    (0.75, "to 75 %", Colour::new((0x8c, 0xbc, 0xd8), (0x86, 0xb6, 0xd6))),
    (1.0, "more", Colour::new((0x20, 0x6a, 0xa6), (0x3f, 0x8c, 0xcc))),
];

/// Draws the plot; none if no map was drawn.
pub(super) fn plot(subject: &Subject<'_>, maps: &HeapMaps) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, path, .. } = *subject;
    let of = |variant: &str| {
        MOMENTS.map(|(moment, _)| {
            let map = maps.get(workload, variant, moment);
            // If the most is resident at the requested peak, one map serves for both.
            map.or_else(|| {
                maps.get(workload, variant, Moment::Peak).filter(|_| moment == Moment::ResidentPeak)
            })
        })
    };
    let variants: Vec<&String> =
        analysis.variants.iter().filter(|variant| of(variant).iter().any(Option::is_some)).collect();
    let all = variants.iter().flat_map(|variant| of(variant)).flatten();
    // All maps have squares of one size, so that a larger area means more memory.
    let Some(span_bytes) = all.flatten().map(|cell| cell.span_bytes).max() else {
        return Ok(None);
    };
    let span_bytes = span_bytes.checked_next_power_of_two().unwrap_or(span_bytes);
    let svg = draw(path, |canvas| {
        let subtitle = format!(
            "Each square is {} of the heap's address space, in order of addresses; the part of it that is filled is \
             resident, and a smaller area is better. Colour: the share of its resident bytes that live objects \
             requested. Red and orange memory is held by few live objects or none. From the first block.",
            units::bytes(span_bytes as f64)
        );
        let top = title(canvas, &format!("{workload}: heap map"), &subtitle);
        let mut entries: Vec<(Key, String)> =
            SHARES.iter().map(|(_, label, colour)| (Key::Box(*colour), (*label).to_owned())).collect();
        entries.push((Key::Box(GRID), "not resident".to_owned()));
        let top = legend(canvas, top, &entries) + 10.0;
        let widths = variants.iter().map(|variant| canvas.text_width(variant, BODY.bold()));
        let left = MARGIN + widths.fold(60.0, f64::max).min(220.0) + 18.0;
        let width = (WIDTH - MARGIN - left - GAP) / 2.0;
        for (at, (_, name)) in MOMENTS.iter().enumerate() {
            let left = left + (width + GAP) * at as f64;
            canvas.text((left, top), Anchor::Left, name, BODY.sized(16.0).bold());
        }
        let mut y = top + 20.0;
        for (at, variant) in variants.iter().enumerate() {
            let maps = of(variant).map(|cells| cells.map(|cells| join(cells, span_bytes)));
            let squares = maps.iter().map(|cells| cells.as_ref().map(Cells::len));
            let height = squares.map(|squares| map_height(squares, width)).fold(0.0, f64::max);
            // The first is always shown.
            if at > 0 && y + height + LEFT_OUT > MAX_HEIGHT {
                let text =
                    format!("Left out: {}.", units::counted((variants.len() - at) as u64, "more variant"));
                canvas.text((left, y + 6.0), Anchor::Left, &text, SMALL.sized(16.0));
                return y + LEFT_OUT;
            }
            let label = canvas.fit(variant, left - MARGIN - 18.0, BODY.bold());
            canvas.text((left - 18.0, y + 12.0), Anchor::Right, &label, BODY.bold());
            for (at, cells) in maps.iter().enumerate() {
                let left = left + (width + GAP) * at as f64;
                draw_map(canvas, cells.as_ref(), span_bytes, (left, y), width);
            }
            y += height + 22.0;
        }
        y + 6.0
    })?;
    Ok(Some(svg))
}

/// Squares next to each other.
fn columns(width: f64) -> usize {
    ((width + STEP - SQUARE) / STEP).floor().max(1.0) as usize
}

/// The height of a map of so many squares with its figures.
fn map_height(squares: Option<usize>, width: f64) -> f64 {
    squares.map_or(24.0, |squares| 26.0 + STEP * squares.div_ceil(columns(width)) as f64)
}

/// Draws one map of joined cells below its figures.
fn draw_map(
    canvas: &mut Canvas,
    cells: Option<&Cells>,
    span_bytes: u64,
    (left, top): (f64, f64),
    width: f64,
) {
    let Some(cells) = cells else {
        return canvas.text((left, top + 12.0), Anchor::Left, "not measured", SMALL);
    };
    let sum = |figure: fn(&crate::worker::HeapCell) -> u64| {
        cells.iter().map(figure).fold(0u64, u64::saturating_add)
    };
    let (resident, live) = (sum(|cell| cell.resident_bytes), sum(|cell| cell.live_bytes));
    let text = format!(
        "{} resident, of which live objects requested {}",
        units::bytes(resident as f64),
        units::bytes(live as f64)
    );
    let text = canvas.fit(&text, width, SMALL);
    canvas.text((left, top + 12.0), Anchor::Left, &text, SMALL);
    let columns = columns(width);
    let top = top + 26.0;
    let mut empty = Vec::new();
    let mut filled: [Vec<Corners>; SHARES.len()] = Default::default();
    for (at, cell) in cells.iter().enumerate() {
        let (x, y) = (left + STEP * (at % columns) as f64, top + STEP * (at / columns) as f64);
        let part = (cell.resident_bytes as f64 / span_bytes as f64).clamp(0.0, 1.0);
        let edge = y + SQUARE * (1.0 - part);
        if part < 1.0 {
            empty.push(((x, y), (x + SQUARE, edge)));
        }
        filled[shade(cell.live_bytes, cell.resident_bytes)].push(((x, edge), (x + SQUARE, y + SQUARE)));
    }
    canvas.rects(empty, GRID);
    for (rects, (_, _, colour)) in filled.into_iter().zip(SHARES) {
        canvas.rects(rects, colour);
    }
}

/// The colour of a share of live bytes, as an index.
fn shade(live_bytes: u64, resident_bytes: u64) -> usize {
    let share = live_bytes as f64 / resident_bytes.max(1) as f64;
    SHARES.iter().position(|(most, _, _)| share <= *most).unwrap_or(SHARES.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::shade;

    #[test]
    fn each_share_has_its_colour() {
        let shades = [(0, 0), (0, 4096), (1, 4096), (1024, 4096), (1025, 4096), (4096, 4096), (9, 3)];
        assert_eq!(shades.map(|(live, resident)| shade(live, resident)), [0, 0, 1, 1, 2, 4, 4]);
    }
}
