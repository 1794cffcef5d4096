//! Account: where resident memory goes at the requested peak, by what each allocator reports about itself.
//!
//! The segments add up exactly to resident. Live is what the replay holds; cached, dirty and metadata are the
//! allocator's own figures, limited to what remains; the rest is in none of them.

use super::super::accounts::Split;
use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{Look, MUTED, PAPER, mix};
use super::super::drawing::{BODY, Svg, WIDTH, draw};
use super::super::{ReportError, units};
use super::frame::{Bars, Key, MARGIN, SMALL, Subject, legend, title};

const ROW: f64 = 76.0;
const NAMES: [&str; 5] = ["live", "metadata", "cached", "dirty", "in none of these"];
/// How far each segment's colour is mixed with white.
const LIGHTNESS: [f64; 5] = [0.0, 0.25, 0.45, 0.65, 0.85];

/// Draws the plot; none if no allocator says where its memory is.
pub(super) fn plot(subject: &Subject<'_>) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let rows: Vec<(&str, Look, Split)> = analysis
        .variants
        .iter()
        .zip(looks)
        .filter_map(|(variant, look)| {
            let split = Split::of(analysis.accounts.at_peak(workload, variant)?)?;
            Some((variant.as_str(), *look, split))
        })
        .collect();
    let Some(most) = rows.iter().map(|(_, _, split)| segments(split).iter().sum::<u64>()).max() else {
        return Ok(None);
    };
    let axis = Axis::new(most as f64 * 1.02, Unit::Bytes, 6);
    let svg = draw(path, |canvas| {
        let subtitle = "Resident memory at the requested peak, divided up by what each allocator reports about \
        itself; shorter is \
                        better. From the first block. An allocator that reports nothing has no row.";
        let top = title(canvas, &format!("{workload}: the allocators' own accounts"), subtitle);
        let grey = |at: usize| mix(MUTED, PAPER, LIGHTNESS[at]);
        let entries: Vec<(Key, String)> =
            NAMES.iter().enumerate().map(|(at, name)| (Key::Box(grey(at)), (*name).to_owned())).collect();
        let top = legend(canvas, top, &entries);
        let labels: Vec<&str> = rows.iter().map(|(variant, _, _)| *variant).collect();
        let bars = Bars::new(canvas, top, ROW * rows.len() as f64, &labels, 170.0);
        bars.draw_ticks(canvas, &axis);
        for (at, (variant, look, split)) in rows.iter().enumerate() {
            let y = bars.top + ROW * (at as f64 + 0.5);
            bars.draw_label(canvas, y - 10.0, variant, "");
            let mut sum = 0u64;
            for (at, bytes) in segments(split).into_iter().enumerate() {
                let left = bars.x(&axis, sum as f64);
                sum += bytes;
                let colour = mix(look.colour, PAPER, LIGHTNESS[at]);
                canvas.rect((left, bars.x(&axis, sum as f64)), (y - 28.0, y + 6.0), colour, 1.0);
            }
            let resident = format!("{} resident", units::bytes(sum as f64));
            canvas.text_on_paper((bars.x(&axis, sum as f64) + 10.0, y - 11.0), &resident, BODY.bold());
            let parts = NAMES.iter().zip(segments(split)).filter(|(_, bytes)| *bytes > 0);
            let parts = parts.map(|(name, bytes)| format!("{name} {}", units::bytes(bytes as f64)));
            let line = parts.collect::<Vec<String>>().join("  +  ");
            let line = canvas.fit(&line, WIDTH - MARGIN - bars.left, SMALL);
            canvas.text_on_paper((bars.left + 6.0, y + 20.0), &line, SMALL);
        }
        let caption = "Live: usable bytes of the objects that the replay holds. Metadata, cached (free, kept for \
        later blocks) and \
                       dirty (whole free pages) are the allocator's own figures, cut if less is resident. The rest: \
                       what it does not report, and resident pages of which only a part is live.";
        let below = canvas.paragraph((MARGIN, bars.bottom + 48.0), WIDTH - 2.0 * MARGIN, caption, SMALL);
        bars.bottom + 48.0 + below + 12.0
    })?;
    Ok(Some(svg))
}

/// In the order of `NAMES`.
fn segments(split: &Split) -> [u64; 5] {
    [split.live_bytes, split.metadata_bytes, split.cached_bytes, split.dirty_bytes, split.rest_bytes]
}
