//! Memory of the whole process over time: as predicted from a recording, and compared with the program itself.

use std::collections::HashMap;
use std::path::Path;

use super::super::ReportError;
use super::super::analysis::Analysis;
use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{Colour, INK, Look, hue};
use super::super::drawing::{Anchor, BODY, Canvas, Svg, WIDTH, draw};
use super::super::timeline::{Choice, choose};
use super::frame::{Key, MARGIN, Panel, SMALL, Subject, legend, title};
use crate::predict::{Curves, Validation};
use crate::results::{Counting, MemoryPoint, Pass};

type Points = Vec<MemoryPoint>;

/// What was recorded: dots, because dashes are for an allocator's other variants.
const RECORDED: Look = Look { colour: INK, dash: Some((2.0, 4.0)) };
/// The program's own samples.
const REAL: Look = Look { colour: INK, dash: None };

/// The memory of processes over time.
#[derive(Default)]
pub(super) struct Processes {
    /// By (workload, variant).
    all: HashMap<(String, String), Points>,
    of_workloads: HashMap<String, Shown>,
}

/// What is shown of a workload's processes.
#[derive(Clone, Copy)]
struct Shown {
    choice: Choice,
    counting: Counting,
}

/// Streams timeline.csv once for the memory of real programs. Predictions are already known.
pub(super) fn read(analysis: &Analysis<'_>) -> Result<Processes, ReportError> {
    let mut processes = Processes::default();
    let mut programs: HashMap<usize, (Counting, Points)> = HashMap::new();
    for workload in &analysis.workloads {
        // NOTE: not every sample has a prediction, and the median of all samples may be one that has none.
        let of_samples = &analysis.predictions.of_samples;
        let predicted =
            choose(analysis, workload, Pass::Memory, |place, _| Some(of_samples.get(&place)?.mean_bytes));
        let counting = analysis.program_counting(Some(workload));
        let real = choose(analysis, workload, Pass::Exec, |_, sample| match counting {
            Counting::Once => sample.once_mean_bytes,
            Counting::Process | Counting::Sum => sample.resident_mean_bytes,
        });
        for (variant, place) in predicted.places {
            let points = of_samples.get(&place).map(|predicted| predicted.points.clone());
            processes.all.extend(points.map(|points| ((workload.clone(), variant), points)));
        }
        let choice = if real.places.is_empty() { predicted.choice } else { real.choice };
        processes.of_workloads.insert(workload.clone(), Shown { choice, counting });
        programs.extend(real.places.values().map(|place| (*place, (counting, Points::new()))));
    }
    analysis.run.each_program_point(|place, point| {
        if let Some((counting, points)) = programs.get_mut(&place) {
            let bytes = match counting {
                Counting::Once => point.once_bytes,
                Counting::Process | Counting::Sum => Some(point.resident_bytes),
            };
            let time_ns = point.time_ns;
            points.extend(bytes.map(|resident_bytes| MemoryPoint { time_ns, resident_bytes }));
        }
    })?;
    let named = programs.into_iter().filter(|(_, (_, points))| !points.is_empty());
    processes.all.extend(named.map(|(place, (_, points))| {
        let sample = &analysis.run.samples[place];
        ((sample.workload.clone(), sample.variant.clone()), points)
    }));
    Ok(processes)
}

/// Draws what the process has, or would have, under each variant; none if it is not known.
pub(super) fn plot(subject: &Subject<'_>, processes: &Processes) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload, looks, path } = *subject;
    let known = |variant: &String| processes.all.get(&(workload.to_owned(), variant.clone()));
    let shown: Vec<(&String, Look, &Points)> = analysis
        .variants
        .iter()
        .zip(looks)
        .filter_map(|(variant, look)| Some((variant, *look, known(variant)?)))
        .collect();
    let Some(of_workload) = processes.of_workloads.get(workload).filter(|_| !shown.is_empty()) else {
        return Ok(None);
    };
    let recorded = analysis.predictions.recorded.get(workload);
    let (heading, subtitle, begin) = words(workload, recorded.is_some(), *of_workload);
    draw_lines(path, (heading, &subtitle, begin), &shown, recorded).map(Some)
}

/// Draws what all processes of a tree would have together, counted in one way; none without a prediction.
pub(super) fn plot_tree(subject: &Subject<'_>, counting: Counting) -> Result<Option<Svg>, ReportError> {
    let Subject { analysis, workload: tree, looks, path } = *subject;
    let shown: Vec<(&String, Look, &Points)> = analysis
        .variants
        .iter()
        .zip(looks)
        .filter_map(|(variant, look)| {
            let points = &analysis.trees.middle(tree, variant, counting)?.points;
            Some((variant, *look, points))
        })
        .collect();
    let recorded = analysis.trees.recorded.get(tree).and_then(|recorded| recorded.of(counting));
    if shown.is_empty() {
        return Ok(None);
    }
    let (counted, subtitle) = match counting {
        Counting::Once => (
            "shared pages counted once",
            "Lower is better. Anonymous memory of all processes, with shared pages counted once, as a control group \
             is charged. For each variant the block whose mean is the median.",
        ),
        Counting::Process | Counting::Sum => (
            "added up",
            "Lower is better. Anonymous resident memory of all processes, added up: shared pages count in each. For \
             each variant the block whose mean is the median.",
        ),
    };
    let heading = format!("{tree}: memory of all processes, {counted}, predicted");
    draw_lines(path, (heading, subtitle, "time since the recording started"), &shown, recorded).map(Some)
}

/// Draws a line for each variant, and one for what was recorded.
fn draw_lines(
    path: &Path,
    (heading, subtitle, begin): (String, &str, &str),
    shown: &[(&String, Look, &Points)],
    recorded: Option<&Points>,
) -> Result<Svg, ReportError> {
    let (time, bytes) = axes(shown.iter().map(|(_, _, points)| *points).chain(recorded), 8, 6);
    draw(path, |canvas| {
        let top = title(canvas, &heading, subtitle);
        let entries = shown.iter().map(|(variant, look, _)| (Key::Line(*look), (*variant).clone()));
        let recording = recorded.map(|_| (Key::Line(RECORDED), "recorded".to_owned()));
        let top = legend(canvas, top, &entries.chain(recording).collect::<Vec<_>>());
        let panel =
            Panel { left: MARGIN + 78.0, right: WIDTH - MARGIN, top: top + 10.0, bottom: top + 420.0 };
        panel.draw_grid(canvas, &time, &bytes, true);
        for (_, look, points) in shown {
            draw_points(canvas, &panel, (&time, &bytes), points, *look, 2.2);
        }
        if let Some(recorded) = recorded {
            draw_points(canvas, &panel, (&time, &bytes), recorded, RECORDED, 2.2);
        }
        draw_time(canvas, &panel, begin)
    })
}

/// Title, subtitle, and the name of the time axis.
fn words(workload: &str, predicted: bool, shown: Shown) -> (String, String, &'static str) {
    let blocks = shown.choice.describe("mean");
    if predicted {
        return (
            format!("{workload}: memory of the whole process, predicted"),
            format!(
                "Lower is better. Anonymous resident memory: the recording, minus the replay on the recorded build, \
                 plus the replay on the variant. {blocks}"
            ),
            "time since the first recorded event",
        );
    }
    let memory = match shown.counting {
        Counting::Process => "Anonymous resident memory of the process and its children.",
        Counting::Once => {
            "Anonymous memory of the process and its children, with pages that they share counted once."
        }
        Counting::Sum => {
            "Anonymous resident memory of the process and its children, added up: shared pages count in each."
        }
    };
    (
        format!("{workload}: memory of the program"),
        format!("Lower is better. {memory} {blocks}"),
        "time since the program's start",
    )
}

/// Draws prediction and reality, one panel for each variant; nothing if there is no prediction.
///
/// # Errors
///
/// A file cannot be written.
pub fn draw_validation(validation: &Validation, path: &Path) -> Result<bool, ReportError> {
    let shown: Vec<&Curves> =
        validation.curves.iter().filter(|curves| !curves.predicted.is_empty()).collect();
    if shown.is_empty() {
        return Ok(false);
    }
    let (time, _) = axes(shown.iter().flat_map(|curves| lines(validation, curves)), 8, 1);
    draw(path, |canvas| {
        let heading = format!("{}: prediction and reality", validation.program);
        let whose = match validation.countings.first() {
            Some(Counting::Once) => "Anonymous memory of all processes, shared pages counted once.",
            Some(Counting::Sum) => "Anonymous resident memory of all processes, added up.",
            Some(Counting::Process) | None => "Anonymous resident memory of the process.",
        };
        let has_recorded = !validation.recorded.is_empty();
        let source = match has_recorded {
            true => {
                "from the one recording. Each also has the recorded run, which is what one would expect if nothing \
                 changed."
            }
            false => "from the model, whose peaks fall at other times.",
        };
        let subtitle = format!(
            "{whose} Each panel has one variant and its own scale: every run of the program itself, and the \
             prediction {source}"
        );
        let top = title(canvas, &heading, &subtitle);
        let recorded = has_recorded.then(|| (Key::Line(RECORDED), "the recorded run".to_owned()));
        let entries = [(Key::Line(REAL), "the program's own runs".to_owned())].into_iter().chain(recorded);
        let coloured =
            shown.iter().map(|curves| (Key::Line(look(curves)), format!("predicted, {}", curves.variant)));
        let mut top = legend(canvas, top, &coloured.chain(entries).collect::<Vec<_>>());
        let mut end = top;
        for (at, curves) in shown.iter().enumerate() {
            let panel =
                Panel { left: MARGIN + 78.0, right: WIDTH - MARGIN, top: top + 26.0, bottom: top + 206.0 };
            let (_, bytes) = axes(lines(validation, curves), 1, 4);
            let is_last = at + 1 == shown.len();
            let heading = BODY.sized(16.0).bold();
            canvas.text((panel.left, panel.top - 14.0), Anchor::Left, &curves.variant, heading);
            panel.draw_grid(canvas, &time, &bytes, is_last);
            draw_points(canvas, &panel, (&time, &bytes), &validation.recorded, RECORDED, 1.8);
            for real in &curves.real {
                draw_points(canvas, &panel, (&time, &bytes), real, REAL, 1.2);
            }
            draw_points(canvas, &panel, (&time, &bytes), &curves.predicted, look(curves), 2.6);
            top = panel.bottom + 18.0;
            if is_last {
                end = draw_time(canvas, &panel, "time since the program's start");
            }
        }
        end
    })?;
    Ok(true)
}

/// All that a panel shows.
fn lines<'a>(validation: &'a Validation, curves: &'a Curves) -> impl Iterator<Item = &'a Points> {
    curves.real.iter().chain([&curves.predicted, &validation.recorded])
}

fn look(curves: &Curves) -> Look {
    let colour: Colour = hue(&curves.allocator);
    Look { colour, dash: None }
}

/// Axes that hold all lines.
fn axes<'a>(lines: impl Iterator<Item = &'a Points>, most_times: usize, most_bytes: usize) -> (Axis, Axis) {
    let (mut time, mut bytes) = (0, 0);
    for point in lines.flatten() {
        (time, bytes) = (time.max(point.time_ns), bytes.max(point.resident_bytes));
    }
    (Axis::new(time as f64, Unit::Time, most_times), Axis::new(bytes as f64 * 1.05, Unit::Bytes, most_bytes))
}

/// Names the time axis; returns where the plot ends.
fn draw_time(canvas: &mut Canvas, panel: &Panel, name: &str) -> f64 {
    let middle = (panel.left + panel.right) / 2.0;
    canvas.text((middle, panel.bottom + 42.0), Anchor::Middle, name, SMALL.sized(16.0));
    panel.bottom + 70.0
}

/// Draws a line through figures, each of which holds until the next.
fn draw_points(
    canvas: &mut Canvas,
    panel: &Panel,
    (time, bytes): (&Axis, &Axis),
    points: &Points,
    look: Look,
    width: f64,
) {
    let place = |point: &MemoryPoint| {
        panel.at(time.fraction(point.time_ns as f64), bytes.fraction(point.resident_bytes as f64))
    };
    canvas.line(&trace_steps(points.iter().map(place)), width, look.colour, look.dash);
}

/// The corners of a line through places in order of x, whose height holds until the next. Of those less than half a
/// pixel after another, only the first, the highest, the lowest and the last count: more would not be seen.
fn trace_steps(places: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut line: Vec<(f64, f64)> = Vec::new();
    let mut column: Vec<(f64, f64)> = Vec::new();
    let mut add = |column: &mut Vec<(f64, f64)>| {
        for place in column.drain(..) {
            let corner = line.last().map(|before| (place.0, before.1));
            for place in corner.into_iter().chain([place]) {
                if line.last() != Some(&place) {
                    line.push(place);
                }
            }
        }
    };
    for place in places {
        match column[..] {
            [first, ..] if place.0 - first.0 < 0.5 => {}
            _ => add(&mut column),
        }
        column.push(place);
        // The first, the last, and the two between with the most extreme heights.
        if let [_, a, b, c, _] = column[..] {
            let is_between = |place: f64, x: f64, y: f64| x.min(y) <= place && place <= x.max(y);
            let dropped = match (is_between(a.1, b.1, c.1), is_between(b.1, a.1, c.1)) {
                (true, _) => 1,
                (false, true) => 2,
                (false, false) => 3,
            };
            column.remove(dropped);
        }
    }
    add(&mut column);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dense_line_keeps_its_extremes_and_its_steps() {
        // A thousand points on each pixel, one of which is high and one low.
        let height = |at: u32| match at % 1000 {
            300 => 90.0,
            600 => 1.0,
            _ => 10.0 + f64::from(at % 7),
        };
        let line = trace_steps((0..100_000).map(|at| (f64::from(at) / 1000.0, height(at))));
        assert!(line.len() < 2_000, "{}", line.len());
        for pixel in 0..100 {
            let within = line.iter().filter(|place| (place.0 as u32) == pixel).map(|place| place.1);
            let heights: Vec<f64> = within.collect();
            assert!(heights.contains(&90.0) && heights.contains(&1.0), "{pixel}: {heights:?}");
        }
        let steps = trace_steps([(0.0, 5.0), (10.0, 7.0), (20.0, 7.0)].into_iter());
        assert_eq!(steps, [(0.0, 5.0), (10.0, 5.0), (10.0, 7.0), (20.0, 7.0)]);
        assert_eq!(trace_steps(std::iter::empty()), []);
    }
}
