//! Fragmentation when resident memory is largest: what it consists of.
//!
//! The four segments add up exactly to resident:
//!
//! ```text
//! resident = requested and touched        requested - untouched
//!          + lost inside blocks           usable - requested
//!          + rest of live blocks' pages   (resident - held) - the two above
//!          + held                         pages without any live block
//! ```
//!
//! Untouched memory was requested and has no page: it is drawn as an outline around the bar. Where
//! untouched bytes lie in the unrequested ends of blocks, the first two segments exceed the pages
//! of live blocks; the second is then reduced, since memory without a page is not lost.

use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{Colour, Look, MUTED, PAPER, mix};
use super::super::drawing::{Anchor, BODY, Canvas, Svg, WIDTH, draw};
use super::super::timeline::choose;
use super::super::{ReportError, units};
use super::frame::{Bars, Key, MARGIN, SMALL, Subject, describe_flaws, legend, title};
use crate::results::{Pass, Sample};

const ROW: f64 = 76.0;
const NAMES: [&str; 4] = ["requested, touched", "lost inside blocks", "rest of their pages", "held"];
/// The same in short form, for the line below a bar.
const SHORT: [&str; 4] = ["touched", "inside", "rest", "held"];
/// How far each segment's colour is mixed with white.
const LIGHTNESS: [f64; 4] = [0.0, 0.35, 0.58, 0.78];

/// What resident memory consists of, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// In the order of `NAMES`; their sum is resident.
    pub(super) segments: [u64; 4],
    /// Requested, and without a page.
    pub(super) untouched: u64,
}

impl Split {
    /// The split of a sample; none if one of its figures was not measured.
    pub(super) fn of(sample: &Sample) -> Option<Split> {
        // A run of an earlier heaplab knows only the requested peak.
        let [resident, untouched, held, requested, internal] = match sample.at_resident_peak_resident_bytes {
            Some(resident) => [
                resident,
                sample.at_resident_peak_untouched_bytes?,
                sample.at_resident_peak_held_bytes?,
                sample.at_resident_peak_requested_bytes?,
                sample.at_resident_peak_internal_bytes?,
            ],
            None => [
                sample.at_peak_resident_bytes?,
                sample.at_peak_untouched_bytes?,
                sample.at_peak_held_bytes?,
                sample.at_peak_requested_bytes?,
                sample.at_peak_internal_bytes?,
            ],
        };
        let held = held.min(resident);
        let of_live = resident - held;
        let requested = requested.saturating_sub(untouched).min(of_live);
        let internal = internal.min(of_live - requested);
        Some(Split { segments: [requested, internal, of_live - requested - internal, held], untouched })
    }

    fn resident(&self) -> u64 {
        self.segments.iter().sum()
    }
}

/// Draws the plot; none if no memory sample was taken.
pub(super) fn plot(subject: &Subject<'_>) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let tried = |variant: &str| {
        let mut samples = analysis.run.samples.iter();
        samples.any(|sample| {
            sample.pass == Pass::Memory && sample.workload == workload && sample.variant == variant
        })
    };
    let shown = choose(analysis, workload, Pass::Memory, |_, sample| {
        sample.at_resident_peak_resident_bytes.or(sample.at_peak_resident_bytes)
    });
    let rows: Vec<(&str, Look, Option<Split>)> = analysis
        .variants
        .iter()
        .zip(looks)
        .filter(|(variant, _)| tried(variant))
        .map(|(variant, look)| {
            let place = shown.places.get(variant);
            (variant.as_str(), *look, place.and_then(|place| Split::of(&analysis.run.samples[*place])))
        })
        .collect();
    let splits = || rows.iter().filter_map(|(_, _, split)| *split);
    if splits().next().is_none() {
        return Ok(None);
    }
    let max =
        splits().map(|split| split.resident().saturating_add(split.untouched)).max().unwrap_or(0) as f64;
    let axis = Axis::new(max * 1.02, Unit::Bytes, 6);
    let svg = draw(path, |canvas| {
        let subtitle = format!(
            "What resident memory consists of when the most of it is resident; shorter is better. {}",
            shown.choice.describe("resident memory at that moment")
        );
        let top = title(canvas, &format!("{workload}: fragmentation when the most is resident"), &subtitle);
        let grey = |at: usize| mix(MUTED, PAPER, LIGHTNESS[at]);
        let mut entries: Vec<(Key, String)> =
            (0..4).map(|at| (Key::Box(grey(at)), NAMES[at].to_owned())).collect();
        entries.push((Key::Outline(MUTED), "untouched (requested, not resident)".to_owned()));
        let top = legend(canvas, top, &entries);
        let labels: Vec<&str> = rows.iter().map(|(variant, _, _)| *variant).collect();
        let bars = Bars::new(canvas, top, ROW * rows.len() as f64, &labels, 170.0);
        bars.draw_ticks(canvas, &axis);
        for (at, (variant, look, split)) in rows.iter().enumerate() {
            let y = bars.top + ROW * (at as f64 + 0.5);
            let flaws = describe_flaws(analysis, workload, variant, &[Pass::Memory]);
            bars.draw_label(canvas, y - 10.0, variant, &flaws);
            match split {
                Some(split) => draw_row(canvas, &bars, &axis, look.colour, split, y),
                None => {
                    canvas.text((bars.left + 12.0, y), Anchor::Left, "not measured", BODY.coloured(MUTED))
                }
            }
        }
        let caption = "The four shades add up to resident. Held: caches, free pages and metadata, in pages without a live \
                       block. Rest of their pages: headers and free space next to live blocks.";
        let below = canvas.paragraph((MARGIN, bars.bottom + 48.0), WIDTH - 2.0 * MARGIN, caption, SMALL);
        bars.bottom + 48.0 + below + 12.0
    })?;
    Ok(Some(svg))
}

fn draw_row(canvas: &mut Canvas, bars: &Bars, axis: &Axis, colour: Colour, split: &Split, y: f64) {
    let (top, bottom) = (y - 28.0, y + 6.0);
    let mut sum = 0u64;
    for (at, segment) in split.segments.iter().enumerate() {
        let left = bars.x(axis, sum as f64);
        sum += segment;
        canvas.rect((left, bars.x(axis, sum as f64)), (top, bottom), mix(colour, PAPER, LIGHTNESS[at]), 1.0);
    }
    let end = bars.x(axis, sum as f64);
    let outer = bars.x(axis, sum.saturating_add(split.untouched) as f64);
    if outer - end >= 1.0 {
        canvas.outline((end + 1.0, outer), (top + 1.0, bottom - 1.0), 1.4, colour, Some((4.0, 3.0)));
    }
    let resident = format!("{} resident", units::bytes(sum as f64));
    canvas.text_on_paper((outer + 10.0, (top + bottom) / 2.0), &resident, BODY.bold());
    let parts = SHORT
        .iter()
        .zip(&split.segments)
        .map(|(name, &bytes)| format!("{name} {}", units::bytes(bytes as f64)));
    let mut line = parts.collect::<Vec<String>>().join("  +  ");
    if split.untouched > 0 {
        line += &format!(";  untouched {}", units::bytes(split.untouched as f64));
    }
    let line = canvas.fit(&line, WIDTH - MARGIN - bars.left, SMALL);
    canvas.text_on_paper((bars.left + 6.0, bottom + 14.0), &line, SMALL);
}
