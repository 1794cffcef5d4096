//! A fleet's memory: the total at a moment with its band, next to the sums of all requests and of all limits.

use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{Colour, INK, MUTED, PAPER, hue, mix};
use super::super::drawing::{Anchor, BODY, Canvas};
use super::super::units::{self, whole};
use super::frame::{Bars, Key, SMALL, flaws_of_pods, legend, title};
use crate::capacity::{PodRequest, PodRow};

const ROW: f64 = 64.0;
/// Space for the figures at the right.
const FIGURES: f64 = 390.0;
const LIMITS: Colour = Colour::new((0xb0, 0x2a, 0x30), (0xe0, 0x5a, 0x5f));

/// Draws the plot of a workload; returns where it ends.
pub(super) fn plot(canvas: &mut Canvas, workload: &str, rows: &[&PodRow], asked: &PodRequest) -> f64 {
    let phases = if asked.correlated { "that follow one daily curve" } else { "at random phases" };
    let subtitle = format!(
        "The memory that {} pods are charged together at a moment, drawn 10,000 times from measured timelines \
         {phases}: the median, and the \
         band that contains 95 % of the moments. Vertical lines: all requests in black, all limits in red.",
        whole(asked.replicas)
    );
    let top = title(canvas, &format!("{workload}: memory of the fleet"), &subtitle);
    let entries = [
        (Key::Box(mix(MUTED, PAPER, 0.35)), "median of the moments".to_owned()),
        (Key::Box(mix(MUTED, INK, 0.6)), "95 % of the moments".to_owned()),
        (Key::Box(INK), "all requests".to_owned()),
        (Key::Box(LIMITS), "all limits".to_owned()),
    ];
    let top = legend(canvas, top, &entries) + 30.0;
    let replicas = asked.replicas as f64;
    let bounds = rows.iter().flat_map(|row| {
        [row.fleet_high_bytes.map(|bytes| bytes as f64), row.limit_bytes.map(|bytes| bytes as f64 * replicas)]
    });
    let axis = Axis::new(bounds.flatten().fold(1.0, f64::max) * 1.05, Unit::Bytes, 6);
    let labels: Vec<&str> = rows.iter().map(|row| row.variant.as_str()).collect();
    let bars = Bars::new(canvas, top, ROW * rows.len() as f64, &labels, FIGURES);
    bars.draw_ticks(canvas, &axis);
    for (at, row) in rows.iter().enumerate() {
        draw_row(canvas, &bars, &axis, row, replicas, bars.top + ROW * (at as f64 + 0.5));
    }
    bars.bottom + 48.0
}

fn draw_row(canvas: &mut Canvas, bars: &Bars, axis: &Axis, row: &PodRow, replicas: f64, y: f64) {
    bars.draw_label(canvas, y, &row.variant, &flaws_of_pods(row));
    let fleet = row.fleet_low_bytes.zip(row.fleet_bytes).zip(row.fleet_high_bytes);
    let Some((((low, middle), high), limit)) = fleet.zip(row.limit_bytes) else {
        canvas.text(
            (bars.left + 12.0, y),
            Anchor::Left,
            "no limit: it takes 3 samples",
            BODY.coloured(MUTED),
        );
        return;
    };
    let colour = hue(row.variant.split(':').next().unwrap_or(&row.variant));
    let x = |bytes: f64| bars.x(axis, bytes);
    canvas.rect((bars.left, x(middle as f64)), (y - 15.0, y + 15.0), mix(colour, PAPER, 0.35), 1.0);
    // A band that is narrower than its line must still be visible.
    let (from, to) = (x(low as f64), x(high as f64).max(x(low as f64) + 3.0));
    canvas.rect((from, to), (y - 8.0, y + 8.0), mix(colour, INK, 0.6), 1.0);
    let requests = row.request_bytes.map(|bytes| bytes as f64 * replicas);
    let limits = limit as f64 * replicas;
    // Where both are the same, each has half of the line.
    let (above, below) = if requests == Some(limits) { (0.0, 0.0) } else { (20.0, 20.0) };
    for (bytes, up, down, colour) in [(requests, 20.0, above, INK), (Some(limits), below, 20.0, LIMITS)] {
        if let Some(x) = bytes.map(x) {
            canvas.line(&[(x, y - up), (x, y + down)], 2.6, colour, None);
        }
    }
    let left = bars.right + 22.0;
    let bytes = |value: u64| units::bytes(value as f64);
    let total = format!("{} ({} to {})", bytes(middle), bytes(low), bytes(high));
    canvas.text((left, y - 10.0), Anchor::Left, &total, BODY.bold());
    let requests = requests.map_or_else(|| "-".to_owned(), units::bytes);
    let both = format!("requests {requests}, limits {}", units::bytes(limits));
    canvas.text((left, y + 12.0), Anchor::Left, &both, SMALL);
}
