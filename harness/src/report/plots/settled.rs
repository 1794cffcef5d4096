//! Settled memory: what stays resident after the end: drained, settled and purged.

use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{INK, Look, MUTED, PAPER, mix};
use super::super::drawing::{Anchor, BODY, Svg, draw};
use super::super::{ReportError, units};
use super::frame::{Bars, SMALL, Subject, describe_flaws, title};
use crate::results::Pass;
use crate::results::metrics::{RESIDENT_DRAINED, RESIDENT_END, RESIDENT_PURGED, RESIDENT_SETTLED};

const STAGES: [(&str, &str, f64); 4] = [
    ("end", RESIDENT_END, 0.0),
    ("drained", RESIDENT_DRAINED, 0.3),
    ("settled", RESIDENT_SETTLED, 0.55),
    ("purged", RESIDENT_PURGED, 0.75),
];
const BAR: f64 = 21.0;
const GROUP: f64 = BAR * 4.0 + 20.0;

/// Draws the plot; none if nothing of it was measured.
pub(super) fn plot(subject: &Subject<'_>) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let median = |variant: &str, metric| analysis.median(workload, variant, metric);
    let tried = |variant: &str| analysis.row(workload, variant, RESIDENT_END).is_some();
    let rows: Vec<(&String, &Look)> =
        analysis.variants.iter().zip(looks).filter(|(variant, _)| tried(variant)).collect();
    let medians = rows
        .iter()
        .flat_map(|(variant, _)| STAGES.iter().filter_map(|(_, metric, _)| median(variant, metric)));
    let max = medians.fold(f64::NAN, f64::max);
    if max.is_nan() {
        return Ok(None);
    }
    let axis = Axis::new(max * 1.02, Unit::Bytes, 6);
    let svg = draw(path, |canvas| {
        let subtitle = "Resident memory, median over blocks, shorter is better: at the end of the trace; drained, \
        immediately after every object was \
                        freed; settled, 60 s of trace time later; purged, after the allocator's own purge call.";
        let top = title(canvas, &format!("{workload}: memory returned after the load"), subtitle);
        let labels: Vec<&str> = rows.iter().map(|(variant, _)| variant.as_str()).collect();
        let mut bars = Bars::new(canvas, top, GROUP * rows.len() as f64, &labels, 110.0);
        bars.left += 74.0;
        bars.draw_ticks(canvas, &axis);
        for (at, (variant, look)) in rows.iter().enumerate() {
            let top = bars.top + GROUP * at as f64 + 10.0;
            let names = Bars { left: bars.left - 74.0, ..bars };
            let flaws = describe_flaws(analysis, workload, variant, &[Pass::Memory]);
            names.draw_label(canvas, top + BAR * 2.0, variant, &flaws);
            for (place, (stage, metric, lightness)) in STAGES.iter().enumerate() {
                let y = top + BAR * (place as f64 + 0.5);
                canvas.text((bars.left - 10.0, y), Anchor::Right, stage, SMALL);
                let Some(value) = median(variant, metric) else {
                    canvas.text((bars.left + 10.0, y), Anchor::Left, "not measured", SMALL.coloured(MUTED));
                    continue;
                };
                let x = bars.x(&axis, value);
                canvas.rect((bars.left, x), (y - 8.5, y + 8.5), mix(look.colour, PAPER, *lightness), 1.0);
                canvas.text_on_paper((x + 10.0, y), &units::bytes(value), BODY.sized(15.0).coloured(INK));
            }
        }
        bars.bottom + 40.0
    })?;
    Ok(Some(svg))
}
