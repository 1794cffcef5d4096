//! What a trace asks for over its time: requests in progress above, live bytes below, phases across.

use std::path::Path;

use super::super::ReportError;
use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{Colour, MUTED};
use super::super::drawing::{Anchor, BODY, Canvas, WIDTH, draw};
use super::frame::{MARGIN, Panel, SMALL, title};

/// Steps of time in a plot.
const STEPS: usize = 500;
const REQUESTS: Colour = Colour::new((0x00, 0x72, 0xb2), (0x3d, 0x9c, 0xdc));
const LIVE: Colour = Colour::new((0x00, 0x9e, 0x73), (0x1d, 0xb9, 0x8b));

/// The load of a trace, gathered while its records are read.
#[derive(Debug, Clone)]
pub struct Load {
    duration_ns: u64,
    /// Phases by their start in ns.
    phases: Vec<(u64, String)>,
    /// Requests in progress in each step, the mean; none until a load model reports any.
    requests: Vec<Option<f64>>,
    /// Live bytes in each step, the largest value.
    live_bytes: Vec<Option<u64>>,
    /// Up to when requests are reported, in ns, and the sum of the times for which they were in progress.
    told: (u64, u128),
}

impl Load {
    /// The load of a trace that lasts `duration_ns`.
    pub fn new(duration_ns: u64) -> Load {
        let duration_ns = duration_ns.max(STEPS as u64);
        let (requests, live_bytes) = (vec![None; STEPS], vec![None; STEPS]);
        Load { duration_ns, phases: Vec::new(), requests, live_bytes, told: (0, 0) }
    }

    /// Starts a phase.
    pub fn begin_phase(&mut self, time_ns: u64, name: &str) {
        self.phases.push((time_ns, name.to_owned()));
    }

    /// Records the bytes that are live at `time_ns`.
    pub fn set_live(&mut self, time_ns: u64, bytes: u64) {
        let step = self.step(time_ns);
        let most = &mut self.live_bytes[step];
        *most = (*most).max(Some(bytes));
    }

    /// Records that, until `time_ns`, requests were in progress for `request_ns` in total.
    pub fn set_requests(&mut self, time_ns: u64, request_ns: u128) {
        let (from_ns, before_ns) = self.told;
        let (first, last) = (self.step(from_ns), self.step(time_ns));
        // A mean over less than a step would be noise: the rest waits for the next call.
        if first == last {
            return;
        }
        let mean = (request_ns - before_ns) as f64 / (time_ns - from_ns) as f64;
        self.requests[first..last].fill(Some(mean));
        self.told = (time_ns, request_ns);
    }

    fn step(&self, time_ns: u64) -> usize {
        let step = u128::from(time_ns) * STEPS as u128 / u128::from(self.duration_ns);
        (step as usize).min(STEPS - 1)
    }
}

/// Draws `load`, under the name and description of its workload.
///
/// # Errors
///
/// The file cannot be written.
pub fn plot(load: &Load, name: &str, description: &str, path: &Path) -> Result<(), ReportError> {
    let time = Axis::new(load.duration_ns as f64, Unit::Time, 8);
    let most = load.live_bytes.iter().flatten().max().copied().unwrap_or(0);
    let bytes = Axis::new(most as f64 * 1.08, Unit::Bytes, 5);
    let most = load.requests.iter().flatten().fold(0.0, |most: f64, mean| most.max(*mean));
    let requests = Axis::new(most * 1.08, Unit::Count, 5);
    let has_requests = load.requests.iter().any(Option::is_some);
    let drawn = draw(path, |canvas| {
        let mut top = title(canvas, name, description) + 34.0;
        let area = |top: f64, height: f64| Panel {
            left: MARGIN + 78.0,
            right: WIDTH - MARGIN,
            top,
            bottom: top + height,
        };
        if has_requests {
            let panel = area(top + 18.0, 210.0);
            draw_frame(canvas, &panel, (&time, &requests), false, "requests under way, mean");
            let points = load.requests.iter().map(|mean| mean.map(|mean| requests.fraction(mean)));
            draw_area(canvas, &panel, points, REQUESTS);
            draw_phases(canvas, &panel, &time, load, true);
            top = panel.bottom + 66.0;
        }
        let panel = area(top + if has_requests { 0.0 } else { 18.0 }, 260.0);
        draw_frame(canvas, &panel, (&time, &bytes), true, "live bytes, as malloc is asked for them");
        let points = load.live_bytes.iter().map(|live| live.map(|live| bytes.fraction(live as f64)));
        draw_area(canvas, &panel, points, LIVE);
        draw_phases(canvas, &panel, &time, load, !has_requests);
        let middle = (panel.left + panel.right) / 2.0;
        canvas.text(
            (middle, panel.bottom + 42.0),
            Anchor::Middle,
            "trace time",
            BODY.sized(16.0).coloured(MUTED),
        );
        panel.bottom + 66.0
    });
    drawn.map(|_| ())
}

fn draw_frame(canvas: &mut Canvas, panel: &Panel, axes: (&Axis, &Axis), labelled: bool, head: &str) {
    let (time, level) = axes;
    panel.draw_grid(canvas, time, level, labelled);
    // Above the names of phases, which are at the panel's upper edge.
    canvas.text((panel.left, panel.top - 36.0), Anchor::Left, head, BODY.sized(16.0).bold());
}

/// Draws an area under fractions of the height, one for each step; a step without one is drawn like the step before.
fn draw_area(
    canvas: &mut Canvas,
    panel: &Panel,
    fractions: impl Iterator<Item = Option<f64>>,
    colour: Colour,
) {
    let mut line = Vec::new();
    let mut last = 0.0;
    for (step, fraction) in fractions.enumerate() {
        last = fraction.unwrap_or(last);
        let (left, top) = panel.at(step as f64 / STEPS as f64, last);
        let right = panel.at((step + 1) as f64 / STEPS as f64, last).0;
        canvas.rect((left, right), (top, panel.bottom), colour, 0.22);
        line.extend([(left, top), (right, top)]);
    }
    canvas.line(&line, 1.8, colour, None);
}

/// Draws where phases start and, if `named`, their names above the panel.
fn draw_phases(canvas: &mut Canvas, panel: &Panel, time: &Axis, load: &Load, named: bool) {
    let phases: Vec<(f64, &str)> =
        load.phases.iter().map(|(time_ns, name)| (time.fraction(*time_ns as f64), name.as_str())).collect();
    draw_boundaries(canvas, panel, &phases, named);
}

/// Draws boundaries at fractions of the panel's width and, if `named`, the name of what starts there above it, where
/// there is room.
pub(super) fn draw_boundaries(canvas: &mut Canvas, panel: &Panel, begins: &[(f64, &str)], named: bool) {
    for (index, (fraction, name)) in begins.iter().enumerate() {
        let x = panel.at(*fraction, 0.0).0;
        if *fraction > 0.0 {
            canvas.line(&[(x, panel.top), (x, panel.bottom)], 1.3, MUTED, Some((5.0, 4.0)));
        }
        let next = begins.get(index + 1).map_or(1.0, |(next, _)| *next);
        let width = panel.at(next, 0.0).0 - x - 8.0;
        let fitted = canvas.fit(name, width, SMALL);
        if named && fitted.chars().count() > 2 {
            canvas.text((x + 4.0, panel.top - 13.0), Anchor::Left, &fitted, SMALL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_over_time() {
        let mut load = Load::new(STEPS as u64 * 100);
        load.set_requests(150, 300);
        load.set_requests(160, 10_000);
        load.set_requests(450, 10_300);
        assert_eq!(
            load.requests[..4],
            [Some(2.0), Some(10_000.0 / 300.0), Some(10_000.0 / 300.0), Some(10_000.0 / 300.0)]
        );
        assert_eq!(load.requests[4], None);
    }

    #[test]
    fn the_most_of_a_step_counts() {
        let mut load = Load::new(STEPS as u64 * 100);
        for (time, bytes) in [(0, 5), (10, 9), (99, 1), (100, 2), (u64::MAX, 3)] {
            load.set_live(time, bytes);
        }
        assert_eq!((load.live_bytes[0], load.live_bytes[1], load.live_bytes[2]), (Some(9), Some(2), None));
        assert_eq!(load.live_bytes[STEPS - 1], Some(3));
    }
}
