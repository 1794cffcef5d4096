//! A plan as a picture: what a host's memory holds when it runs as many processes as today, under each variant.

use std::collections::HashSet;
use std::path::Path;

use super::super::ReportError;
use super::super::capacity::{describe_host, describe_saving, rows_of, sections};
use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{Colour, INK, MUTED, PAPER, SHADE, hue, mix};
use super::super::drawing::{Anchor, BODY, Canvas, Svg, draw};
use super::super::units::{self, whole};
use super::frame::{Bars, Key, SMALL, flaws, legend, title};
use super::{Plot, file_stem};
use crate::capacity::{Basis, Capacity, Host, HostRow};
use crate::results::ResultsError;

const ROW: f64 = 58.0;
/// Space of a host's heading.
const HEADING: f64 = 46.0;
/// Space for the figures at the right.
const FIGURES: f64 = 330.0;
/// Longest bar, as a multiple of the host's memory, whatever a variant needs.
const MOST_HOSTS: f64 = 2.5;
/// What is kept for the system, and what all processes share.
const TAKEN: Colour = Colour::new((0xb9, 0xbe, 0xc4), (0x5a, 0x62, 0x6b));
/// What exceeds the host's memory.
const BEYOND: Colour = Colour::new((0xb0, 0x2a, 0x30), (0xe0, 0x5a, 0x5f));

/// Draws a plot of each workload into `directory`: `<workload>-plan.png`, or `<workload>-plan-<name>.png` for a named
/// plan.
///
/// # Errors
///
/// The directory or a file cannot be written.
pub fn draw_plan(
    capacity: &Capacity,
    name: Option<&str>,
    directory: &Path,
) -> Result<Vec<Plot>, ReportError> {
    let mut workloads: Vec<&str> = sections(capacity).into_iter().map(|(workload, _)| workload).collect();
    workloads.dedup();
    if workloads.is_empty() {
        return Ok(Vec::new());
    }
    std::fs::create_dir_all(directory).map_err(|source| ResultsError::Io {
        path: directory.to_owned(),
        action: "create",
        source,
    })?;
    let mut taken = HashSet::new();
    let plots = workloads.into_iter().map(|workload| {
        let path = directory.join(format!(
            "{}-plan{}.png",
            file_stem(workload, &mut taken),
            name.map_or_else(String::new, |name| format!("-{name}"))
        ));
        let svg = plot(capacity, workload, &path)?;
        Ok(Plot { workload: Some(workload.to_owned()), kind: "plan", path, svg })
    });
    plots.collect()
}

fn plot(capacity: &Capacity, workload: &str, path: &Path) -> Result<Svg, ReportError> {
    let hosts = &capacity.request.hosts;
    let basis =
        capacity.needs.iter().find(|need| need.workload == workload).map_or(Basis::Heap, |need| need.basis);
    draw(path, |canvas| {
        let whose = match basis {
            Basis::Heap => {
                "A process is the memory that its heap does not exceed in 99 % of trace time, and its page tables"
            }
            Basis::Predicted => {
                "A process is the memory that it is predicted not to exceed in 99 % of trace time, and its heap's \
                 page tables"
            }
            Basis::Tree => {
                "A tree of processes is the memory that it is predicted not to exceed in 99 % of the recording's \
                 time, shared pages counted \
                 once, and its heaps' page tables"
            }
            Basis::Program => "A process is the memory that the program did not exceed in 99 % of its time",
        };
        let has_margin = capacity.request.odds.is_none();
        let more = match capacity.request.odds {
            None => "; the margin is the interval's upper end and what --margin adds".to_owned(),
            Some(odds) => format!(
                ". Each counts with its share of a host that holds as many as fit except with odds of {}",
                units::odds(odds)
            ),
        };
        let subtitle = format!(
            "Memory of a host that runs as many processes as today, or as fit. {whose}{more}. The vertical line is the host's \
             memory."
        );
        let top = title(canvas, &format!("{workload}: what a host holds"), &subtitle);
        let shade = |part: f64| Key::Box(mix(MUTED, PAPER, part));
        let whole = if basis == Basis::Heap { "heaps and page tables" } else { "processes" };
        let mut entries = vec![(Key::Box(TAKEN), "kept for the system, shared".to_owned())];
        if basis == Basis::Heap {
            entries.push((shade(0.35), "not the heap's".to_owned()));
        }
        entries.push((shade(0.0), whole.to_owned()));
        entries.extend(has_margin.then(|| (shade(0.7), "margin".to_owned())));
        entries.push((Key::Box(BEYOND), "beyond the host's memory".to_owned()));
        let mut y = legend(canvas, top, &entries) + 4.0;
        for host in hosts {
            let rows: Vec<&HostRow> = rows_of(capacity, workload, host).collect();
            y = draw_host(canvas, capacity, host, &rows, y);
        }
        y
    })
}

/// Draws the bars of one type of host from `top` down; returns where they end.
fn draw_host(canvas: &mut Canvas, capacity: &Capacity, host: &Host, rows: &[&HostRow], top: f64) -> f64 {
    let today = match host.processes {
        Some(1) => "1 process today".to_owned(),
        Some(count) => format!("{} processes today", whole(count)),
        None => "as many processes as fit".to_owned(),
    };
    canvas.text(
        (super::frame::MARGIN, top + 18.0),
        Anchor::Left,
        &format!("A host of {}, {today}", describe_host(host)),
        BODY.bold(),
    );
    let memory = host.memory_bytes as f64;
    let largest = rows.iter().filter_map(|row| row.today_bytes).max().unwrap_or(0) as f64;
    let axis = Axis::new((largest * 1.03).clamp(memory * 1.12, memory * MOST_HOSTS), Unit::Bytes, 6);
    let labels: Vec<&str> = rows.iter().map(|row| row.variant.as_str()).collect();
    let bars = Bars::new(canvas, top + HEADING, ROW * rows.len() as f64, &labels, FIGURES);
    bars.draw_ticks(canvas, &axis);
    for (at, row) in rows.iter().enumerate() {
        draw_row(canvas, capacity, &bars, &axis, row, bars.top + ROW * (at as f64 + 0.5));
    }
    let x = bars.x(&axis, memory);
    canvas.line(&[(x, bars.top - 4.0), (x, bars.bottom)], 2.6, INK, None);
    bars.bottom + 62.0
}

fn draw_row(canvas: &mut Canvas, capacity: &Capacity, bars: &Bars, axis: &Axis, row: &HostRow, y: f64) {
    bars.draw_label(canvas, y, &row.variant, &flaws(row.failed, &[]));
    let (Some(process), Some(planned), Some(fits)) = (row.process_bytes, row.planned_bytes, row.fits) else {
        canvas.text((bars.left + 12.0, y), Anchor::Left, "not measured", BODY.coloured(MUTED));
        return;
    };
    let colour = hue(row.variant.split(':').next().unwrap_or(&row.variant));
    let count = row.processes_today.unwrap_or(fits) as f64;
    let non_heap = row.non_heap_bytes as f64 * count;
    let taken = (capacity.request.reserve_bytes.saturating_add(row.shared_bytes)) as f64;
    let today = row.today_bytes.unwrap_or((taken + planned as f64 * count) as u64);
    // A share of a host at given odds has no margin, and may be less than the median of what a process takes.
    let without_margin = match capacity.request.odds {
        Some(_) => today as f64,
        None => taken + process as f64 * count,
    };
    let parts = [
        (TAKEN, taken),
        (mix(colour, PAPER, 0.35), taken + non_heap),
        (colour, without_margin),
        (mix(colour, PAPER, 0.7), today as f64),
    ];
    let (up, down) = (y - 16.0, y + 16.0);
    let mut from = bars.left;
    for (colour, end) in parts {
        let to = bars.x(axis, end);
        canvas.rect((from, to), (up, down), colour, 1.0);
        from = to;
    }
    let memory = row.host_memory_bytes as f64;
    if today as f64 > memory {
        // A band above the bar, so that the bar stays visible.
        canvas.rect((bars.x(axis, memory), bars.x(axis, today as f64)), (up - 7.0, up - 2.0), BEYOND, 1.0);
    }
    if today as f64 > axis.max {
        canvas.rect((bars.right - 16.0, bars.right - 11.0), (up - 8.0, down + 1.0), SHADE, 1.0);
        canvas.rect((bars.right - 8.0, bars.right - 3.0), (up - 8.0, down + 1.0), SHADE, 1.0);
    }
    let left = bars.right + 22.0;
    let fit = match fits {
        1 => "1 fits".to_owned(),
        count => format!("{} fit", whole(count)),
    };
    let hosts = match row.hosts.zip(row.fleet) {
        _ if fits == 0 => "no host holds one".to_owned(),
        Some((hosts, fleet)) => format!("{} for {}", units::counted(hosts, "host"), whole(fleet)),
        None => format!("bound by {}", row.bound().unwrap_or("memory")),
    };
    canvas.text(
        (left, y - 10.0),
        Anchor::Left,
        &format!("{fit}; {} each", units::bytes(row.planned_bytes.unwrap_or(0) as f64)),
        BODY.bold(),
    );
    canvas.text((left, y + 12.0), Anchor::Left, &format!("{hosts}; {}", saving(capacity, row)), SMALL);
}

/// What is saved, in words.
fn saving(capacity: &Capacity, row: &HostRow) -> String {
    match row.saving {
        Some(saving) if saving >= 0.0 => format!("{} saved", units::percent(saving)),
        Some(saving) => format!("{} more", units::percent(-saving)),
        None => match describe_saving(capacity, row).as_str() {
            "-" => "nothing to compare with".to_owned(),
            other => other.to_owned(),
        },
    }
}
