//! Pods as a picture: what each variant's limit consists of, with the request and what other rules recommend.

use std::collections::HashSet;
use std::path::Path;

use super::super::ReportError;
use super::super::capacity::pod_workloads;
use super::super::drawing::axis::{Axis, Unit};
use super::super::drawing::palette::{Colour, INK, MUTED, PAPER, hue, mix};
use super::super::drawing::{Anchor, BODY, Canvas, draw};
use super::super::units::{self, whole};
use super::frame::{Bars, Key, SMALL, flaws_of_pods, legend, title, why_no_odds};
use super::{Plot, file_stem, fleet, limit};
use crate::capacity::{Capacity, Need, PodRow};
use crate::results::ResultsError;

/// The plots of each workload.
const KINDS: [&str; 3] = ["pods", "limit", "fleet"];
const ROW: f64 = 64.0;
/// Space for the figures at the right.
const FIGURES: f64 = 330.0;
/// Other rules' limits.
const OTHERS: Colour = Colour::new((0xb0, 0x2a, 0x30), (0xe0, 0x5a, 0x5f));

/// Draws, for each workload, what its pods should get, their memory over time with the limit, and the fleet's memory
/// into `directory`: `<workload>-pods.png`, `-limit.png` and `-fleet.png`, each ending in `-<name>` for a named plan.
///
/// # Errors
///
/// The directory or a file cannot be written.
pub fn draw_pods(
    capacity: &Capacity,
    name: Option<&str>,
    directory: &Path,
) -> Result<Vec<Plot>, ReportError> {
    let workloads = pod_workloads(capacity);
    if workloads.is_empty() {
        return Ok(Vec::new());
    }
    std::fs::create_dir_all(directory).map_err(|source| ResultsError::Io {
        path: directory.to_owned(),
        action: "create",
        source,
    })?;
    let mut taken = HashSet::new();
    let name = name.map_or_else(String::new, |name| format!("-{name}"));
    let mut plots = Vec::new();
    for workload in workloads {
        let stem = file_stem(workload, &mut taken);
        let rows: Vec<&PodRow> = capacity.pods.iter().filter(|row| row.workload == workload).collect();
        for kind in KINDS {
            let path = directory.join(format!("{stem}-{kind}{name}.png"));
            let svg = draw(&path, |canvas| match kind {
                "pods" => plot(canvas, workload, &rows),
                "limit" => limit::plot(canvas, workload, &with_needs(capacity, &rows)),
                _ => fleet::plot(canvas, workload, &rows, &capacity.request.pods.unwrap_or_default()),
            })?;
            plots.push(Plot { workload: Some(workload.to_owned()), kind, path, svg });
        }
    }
    Ok(plots)
}

/// Each row with the need that it was made from.
fn with_needs<'a>(capacity: &'a Capacity, rows: &[&'a PodRow]) -> Vec<(&'a PodRow, &'a Need)> {
    let need_of = |row: &PodRow| {
        capacity.needs.iter().find(|need| (&need.workload, &need.variant) == (&row.workload, &row.variant))
    };
    rows.iter().filter_map(|row| Some((*row, need_of(row)?))).collect()
}

fn plot(canvas: &mut Canvas, workload: &str, rows: &[&PodRow]) -> f64 {
    let odds = units::odds(rows.first().map_or(0.0, |row| row.pod_odds));
    let under = format!("A bar ends at the limit under which a pod is killed in a day with odds of {odds}");
    let known = rows.iter().filter(|row| row.knows_odds()).count();
    let limit = match known {
        known if known == rows.len() => format!("{under}."),
        0 => format!(
            "A bar ends at the limit; {}, so no odds of being killed under it are known.",
            why_no_odds(rows)
        ),
        _ => format!("{under}; where {}, the odds are not known.", why_no_odds(rows)),
    };
    let subtitle = format!(
        "{limit} Vertical lines: the request in black; in red the results of VPA's rule (90th percentile and 15 %) and \
         KRR's (the largest and 15 %) for the same runs."
    );
    let top = title(canvas, &format!("{workload}: request and limit of a pod"), &subtitle);
    let shade = |part: f64| Key::Box(mix(MUTED, PAPER, part));
    let entries = [
        (shade(0.0), "anonymous".to_owned()),
        (shade(0.35), "kernel, page cache, growth".to_owned()),
        (shade(0.7), if known == 0 { "spread over samples" } else { "spread at those odds" }.to_owned()),
        (Key::Box(OTHERS), "VPA's and KRR's rules".to_owned()),
    ];
    let top = legend(canvas, top, &entries) + 30.0;
    let bounds = rows.iter().flat_map(|row| [row.limit_bytes, row.vpa_bytes, row.krr_bytes]).flatten();
    let axis = Axis::new(bounds.max().unwrap_or(1) as f64 * 1.05, Unit::Bytes, 6);
    let labels: Vec<&str> = rows.iter().map(|row| row.variant.as_str()).collect();
    let bars = Bars::new(canvas, top, ROW * rows.len() as f64, &labels, FIGURES);
    bars.draw_ticks(canvas, &axis);
    for (at, row) in rows.iter().enumerate() {
        draw_row(canvas, &bars, &axis, row, bars.top + ROW * (at as f64 + 0.5));
    }
    bars.bottom + 62.0
}

fn draw_row(canvas: &mut Canvas, bars: &Bars, axis: &Axis, row: &PodRow, y: f64) {
    bars.draw_label(canvas, y, &row.variant, &flaws_of_pods(row));
    let (Some(limit), Some(anonymous), Some(spread)) =
        (row.limit_bytes, row.anonymous_bytes, row.spread_bytes)
    else {
        canvas.text(
            (bars.left + 12.0, y),
            Anchor::Left,
            "no limit: it takes 3 samples",
            BODY.coloured(MUTED),
        );
        return;
    };
    let colour = hue(row.variant.split(':').next().unwrap_or(&row.variant));
    let (up, down) = (y - 15.0, y + 15.0);
    let ends = [
        (colour, anonymous),
        (mix(colour, PAPER, 0.35), limit.saturating_sub(spread)),
        (mix(colour, PAPER, 0.7), limit),
    ];
    let mut from = bars.left;
    for (colour, end) in ends {
        let to = bars.x(axis, end as f64);
        canvas.rect((from, to.max(from)), (up, down), colour, 1.0);
        from = to.max(from);
    }
    let mut upright = |bytes: Option<u64>, colour: Colour| {
        if let Some(x) = bytes.map(|bytes| bars.x(axis, bytes as f64)) {
            canvas.line(&[(x, up - 5.0), (x, down + 5.0)], 2.6, colour, None);
        }
    };
    upright(row.request_bytes, INK);
    upright(row.vpa_bytes, OTHERS);
    upright(row.krr_bytes, OTHERS);
    let bytes = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| units::bytes(value as f64));
    let left = bars.right + 22.0;
    let given = format!("limit {}, request {}", bytes(row.limit_bytes), bytes(row.request_bytes));
    canvas.text((left, y - 9.0), Anchor::Left, &given, BODY.bold());
    let nodes = match row.pods_per_node.zip(row.nodes) {
        Some((pods, nodes)) => format!("{} a node, {}", whole(pods), units::counted(nodes, "node")),
        None => "no node holds one".to_owned(),
    };
    canvas.text((left, y + 11.0), Anchor::Left, &nodes, SMALL);
    let rules = format!("VPA {}, KRR {}", bytes(row.vpa_bytes), bytes(row.krr_bytes));
    canvas.text((left, y + 30.0), Anchor::Left, &rules, SMALL);
}
