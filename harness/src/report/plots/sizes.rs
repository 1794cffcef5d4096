//! Sizes: which blocks lose the most between what was requested and what they have room for.

use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::INK;
use super::super::drawing::{BODY, Svg, draw};
use super::super::{ReportError, units};
use super::frame::{Bars, Subject, title};

const ROW: f64 = 34.0;

/// Draws the plot; none if no sizes are known.
pub(super) fn plot(subject: &Subject<'_>) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let ranked = analysis.sizes.ranked(workload);
    let Some(most) = ranked.first() else { return Ok(None) };
    let axis = Axis::new(most.lost_bytes as f64 * 1.02, Unit::Bytes, 6);
    let labels: Vec<String> = ranked
        .iter()
        .map(|row| format!("{}, {}", row.variant, units::bytes(row.size.usable_bytes as f64)))
        .collect();
    let svg = draw(path, |canvas| {
        let subtitle = "Usable minus requested bytes of live blocks, by usable size, at the requested peak; shorter \
        is better. \
                        The ten sizes that lose the most, and the worst of each variant. From the first block.";
        let top = title(canvas, &format!("{workload}: lost inside blocks, by their size"), subtitle);
        let names: Vec<&str> = labels.iter().map(String::as_str).collect();
        let bars = Bars::new(canvas, top, ROW * ranked.len() as f64, &names, 220.0);
        bars.draw_ticks(canvas, &axis);
        for (at, (row, label)) in ranked.iter().zip(&labels).enumerate() {
            let y = bars.top + ROW * (at as f64 + 0.5);
            bars.draw_label(canvas, y, label, "");
            let look = analysis
                .variants
                .iter()
                .position(|variant| variant == row.variant)
                .and_then(|at| looks.get(at));
            let x = bars.x(&axis, row.lost_bytes as f64);
            canvas.rect((bars.left, x), (y - 10.0, y + 10.0), look.map_or(INK, |look| look.colour), 1.0);
            let text = format!(
                "{} of {} in {}",
                units::bytes(row.lost_bytes as f64),
                units::bytes(row.size.live_usable_bytes as f64),
                units::counted(row.size.live_blocks, "block")
            );
            canvas.text_on_paper((x + 10.0, y), &text, BODY.sized(15.0).coloured(INK));
        }
        bars.bottom + 40.0
    })?;
    Ok(Some(svg))
}
