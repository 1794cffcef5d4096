//! Pods in words: a table for each workload, what a limit consists of, and a patch for kubectl.

use super::super::grid::Grid;
use super::super::table::{Columns, select};
use super::super::units::{self, whole};
use crate::capacity::{Basis, Capacity, PodRow};

/// The workloads that are planned as pods.
pub(in crate::report) fn pod_workloads(capacity: &Capacity) -> Vec<&str> {
    let mut workloads: Vec<&str> = capacity.pods.iter().map(|row| row.workload.as_str()).collect();
    workloads.dedup();
    workloads
}

pub(in crate::report) fn pod_grid(capacity: &Capacity, workload: &str, columns: Columns) -> Grid {
    let header = [
        ("variant", true),
        ("samples", false),
        ("request", true),
        ("limit", true),
        ("CPU", false),
        ("anonymous", false),
        ("kernel", false),
        ("cache", false),
        ("growth", false),
        ("spread", false),
        ("per node", true),
        ("bound by", true),
        ("at all peaks", false),
        ("nodes", true),
        ("saving", true),
        ("VPA's rule", true),
        ("KRR's rule", true),
    ];
    let rows = capacity.pods.iter().filter(|row| row.workload == workload).map(|row| {
        let bytes = |value: Option<u64>| value.map_or_else(dash, |value| units::bytes(value as f64));
        let number = |value: Option<u64>| value.map_or_else(dash, whole);
        let all = row.n + row.failed;
        vec![
            row.variant.clone(),
            if row.failed == 0 { all.to_string() } else { format!("{} of {all}", row.n) },
            bytes(row.request_bytes),
            match row.limit_bytes {
                Some(limit) if grew(row) || row.is_of_one_load => format!("{}*", units::bytes(limit as f64)),
                limit => bytes(limit),
            },
            row.request_millicpus.map_or_else(dash, |cpus| format!("{cpus}m")),
            bytes(row.anonymous_bytes),
            bytes(row.kernel_bytes),
            bytes(row.cache_bytes),
            bytes(row.growth_bytes),
            bytes(row.spread_bytes),
            number(row.pods_per_node),
            row.bound.map_or_else(dash, str::to_owned),
            number(row.pods_per_node_at_peaks),
            number(row.nodes),
            row.saving.map_or_else(dash, units::percent),
            bytes(row.vpa_bytes),
            bytes(row.krr_bytes),
        ]
    });
    select(&header, rows.collect(), columns)
}

/// Whether memory still grew in the row's samples, and pods live longer than these.
fn grew(row: &PodRow) -> bool {
    row.holds_for_s.is_some() || row.growth_continued.is_some_and(|times| times > 1.0)
}

/// What a plan of pods answers, one sentence each.
pub(in crate::report) fn answer_pods(capacity: &Capacity) -> Vec<String> {
    let of = |workload| {
        format!("{workload} as pods{}: {}", describe_nodes(capacity), answer_pod(capacity, workload))
    };
    pod_workloads(capacity).into_iter().map(of).collect()
}

/// The nodes of a plan of pods, and how many pods there are: ` on nodes of 64.0 GiB, 16 CPUs, 200 replicas`.
pub(super) fn describe_nodes(capacity: &Capacity) -> String {
    let Some(asked) = capacity.request.pods else { return String::new() };
    let memory = units::bytes(asked.node_memory_bytes as f64);
    let cpus = asked
        .node_cpus
        .map_or_else(String::new, |cpus| format!(", {}", units::counted(u64::from(cpus), "CPU")));
    let replicas = units::counted(asked.replicas, "replica");
    let surge = if asked.surge > 0.0 {
        format!(" and a surge of {}", units::percent(asked.surge))
    } else {
        String::new()
    };
    format!(" on nodes of {memory}{cpus}, {replicas}{surge}")
}

/// Sentences about a workload's pods whose nodes were named before.
pub(super) fn answer_pod(capacity: &Capacity, workload: &str) -> String {
    let rows = || capacity.pods.iter().filter(|row| row.workload == workload);
    let complete = || rows().filter(|row| row.failed == 0 && row.nodes.is_some());
    let Some(best) = complete().min_by_key(|row| (row.nodes, row.limit_bytes)) else {
        return explain_no_limit(&rows().collect::<Vec<_>>());
    };
    // A baseline whose samples failed is nothing to save against.
    let has_base = complete().any(|row| Some(&*row.variant) == capacity.baseline.as_deref());
    let saving = match best.saving.filter(|saving| has_base && *saving > 0.0) {
        Some(saving) => format!(", {} fewer than {}", units::percent(saving), base(capacity)),
        None => String::new(),
    };
    let nodes = units::counted(best.nodes.unwrap_or(0), "node");
    let alike: Vec<&str> =
        complete().filter(|row| row.nodes == best.nodes).map(|row| &*row.variant).collect();
    let takes = match alike.len() {
        1 => format!("{} takes the fewest nodes ({nodes}{saving}).", best.variant),
        all if all == rows().count() => {
            format!("Every variant takes {nodes}; {} has the lowest limit.", best.variant)
        }
        _ => format!(
            "{} take the fewest nodes ({nodes}{saving}), and of these {} has the lowest limit.",
            units::names(&alike),
            best.variant
        ),
    };
    let failed: Vec<&str> = rows().filter(|row| row.failed > 0).map(|row| &*row.variant).collect();
    format!("{takes}{} {}", describe_left_out(&failed), describe_limit(capacity, best))
}

/// Which variants an answer leaves out, whatever their figures are.
pub(super) fn describe_left_out(failed: &[&str]) -> String {
    match failed {
        [] => String::new(),
        [name] => format!(" {name} is left out, because samples of it failed."),
        names => format!(" {} are left out, because samples of them failed.", units::names(names)),
    }
}

/// Why no variant has a limit and a number of nodes.
fn explain_no_limit(rows: &[&PodRow]) -> String {
    let few: Vec<&str> =
        rows.iter().filter(|row| row.limit_bytes.is_none()).map(|row| &*row.variant).collect();
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| row.limit_bytes.is_some() && row.failed > 0)
        .map(|row| &*row.variant)
        .collect();
    let mut why = Vec::new();
    if !few.is_empty() {
        let have = if few.len() == 1 { "has" } else { "have" };
        why.push(format!(
            "a limit takes at least 3 samples that are ok, and {} {have} fewer",
            units::names(&few)
        ));
    }
    if !failed.is_empty() {
        why.push(format!("samples of {} failed", units::names(&failed)));
    }
    why.extend(rows.iter().filter(|row| row.failed == 0 && row.nodes.is_none()).filter_map(|row| {
        let limit = units::bytes(row.limit_bytes? as f64);
        if row.bound == Some("CPU") {
            return Some(format!("under {} a pod needs more CPUs than a node has free", row.variant));
        }
        let growth = match row.growth_bytes.unwrap_or(0) {
            0 => String::new(),
            growth => format!(", of which {} are growth", units::bytes(growth as f64)),
        };
        Some(format!(
            "under {} a pod does not fit on a node: its limit would be {limit}{growth}",
            row.variant
        ))
    }));
    format!("There is no plan of pods: {}.", why.join("; "))
}

fn base(capacity: &Capacity) -> &str {
    capacity.baseline.as_deref().unwrap_or("the baseline")
}

/// What a pod should get, and why.
fn describe_limit(capacity: &Capacity, row: &PodRow) -> String {
    let bytes = |value: Option<u64>| units::bytes(value.unwrap_or(0) as f64);
    let cpu = row.request_millicpus.map_or_else(String::new, |cpus| format!(" and {cpus}m of CPU"));
    format!(
        "Request {}{cpu}, limit {}: anonymous {}, kernel {}{}, page cache {}, growth {}, spread {}. {}",
        bytes(row.request_bytes),
        bytes(row.limit_bytes),
        bytes(row.anonymous_bytes),
        bytes(row.kernel_bytes),
        if row.kernel_is_estimate { " (16 KiB a thread, not measured)" } else { "" },
        bytes(row.cache_bytes),
        bytes(row.growth_bytes),
        bytes(row.spread_bytes),
        describe_odds(capacity, row),
    )
}

/// How often a pod is killed, or why that cannot be said.
fn describe_odds(capacity: &Capacity, row: &PodRow) -> String {
    let replicas = capacity.request.pods.map_or(1, |asked| asked.replicas);
    if row.holds_for_s == Some(0.0) {
        return "MEMORY STILL GREW while it was measured, and the trace has no times, so this limit is only for pods that \
                do no more than the trace, and the odds that another one is killed are not known: measure until memory is \
                steady."
            .to_owned();
    }
    if let Some(lived_s) = row.holds_for_s {
        return format!(
            "MEMORY STILL GREW while it was measured, so this limit is only for pods that live no longer than the runs did \
             ({}), and the odds that an older one is killed are not known: measure until memory is steady, or say with \
             --uptime how long a pod lives.",
            units::nanoseconds(lived_s * 1e9)
        );
    }
    let fleet = match replicas {
        1 => String::new(),
        _ => format!(
            ", and with odds of {} at least one of {} pods is{}",
            units::odds(row.fleet_odds),
            whole(replicas),
            if row.fleet_odds < 0.5 {
                format!(", about once in {} days", whole((1.0 / row.fleet_odds).round() as u64))
            } else {
                String::new()
            }
        ),
    };
    let continued = match row.growth_continued {
        Some(times) if !row.knows_growth() => {
            return format!(
                "DO NOT TRUST THIS LIMIT: memory still grew, and its growth is continued for {} times as long as it was \
                 measured, so the odds that a pod is killed are not known: measure for longer.",
                units::significant(times)
            );
        }
        Some(times) if times > 1.0 => format!(
            " Memory still grew, and its growth is continued for {} times as long as it was measured.",
            units::significant(times)
        ),
        _ => String::new(),
    };
    if row.is_of_one_load {
        return format!(
            "EVERY SAMPLE REPLAYED THE SAME LOAD, so this limit is only for days like it, and the odds that a pod is killed \
             on another day are not known: measure the program itself (heaplab exec), or a load model.{continued}"
        );
    }
    format!("A pod is killed in a day with odds of {}{fleet}.{continued}", units::odds(row.pod_odds))
}

/// What pods are planned with, one sentence each.
pub(in crate::report) fn assume_pods(capacity: &Capacity) -> Vec<String> {
    let Some(asked) = capacity.request.pods else { return Vec::new() };
    let non_heap = match capacity.request.non_heap_bytes {
        some if some > 0 && capacity.pods.iter().any(|row| row.basis == Basis::Heap) => {
            format!(", with {} for memory outside its heap (--non-heap)", units::bytes(some as f64))
        }
        _ => String::new(),
    };
    let mut sentences = vec![
        format!(
            "The anonymous part of a limit is the largest anonymous memory of each sample{non_heap}; this and the other \
             parts are medians over samples."
        ),
        "Each sample stands for a day of a pod, so measure its busiest stretch. The limit is a prediction interval \
         (Student's t on logarithms): the peak of another day exceeds it only with the given odds."
            .to_owned(),
        format!(
            "Pods per node: nodes are drawn at random and filled with pods from measured timelines \
             {}; the odds that a node holds fewer pods than stated are the same as those of a kill. `at all peaks` gives \
             each pod its whole limit, which is the upper bound on memory. A node has at most 110 pods. The memory \
             request is the node's memory divided by the pods that it holds, at most the limit; the CPU request is \
             what a pod uses or, where CPU limits the pods of a node, the node's CPUs divided by their number.",
            if asked.correlated { "that all start at the same moment (--correlated)" } else { "at random phases" }
        ),
        "VPA's rule is the 90th percentile of the peaks plus 15 % (its defaults, without its minimum of 250 MiB), and \
         KRR's is the largest peak plus 15 %; both use the same peaks as this plan. \
         No saving is stated for the baseline, and where no difference from it was shown or samples failed."
            .to_owned(),
        "Page cache counts for at most a tenth of the rest, because the kernel reclaims it before it kills a pod."
            .to_owned(),
    ];
    if capacity.pods.iter().any(grew) {
        sentences.push(
            "`*` after a limit: memory still grew while it was measured, so the limit is only for pods that live no longer than \
             the runs did, or includes growth that is continued beyond them; the answer and the patch say which."
                .to_owned(),
        );
    }
    let of_one: Vec<&PodRow> = capacity.pods.iter().filter(|row| row.is_of_one_load).collect();
    if !of_one.is_empty() {
        let mut names: Vec<&str> = of_one.iter().map(|row| &*row.workload).collect();
        names.dedup();
        sentences.push(format!(
            "`*` after a limit of {}: every sample replayed the same load, so the spread is that of replays and not of days.",
            units::names(&names)
        ));
    }
    sentences.extend(capacity.pods.iter().filter_map(describe_few));
    let shown = capacity.pods.iter().filter(|row| !row.is_of_one_load).filter_map(|row| row.shown_odds);
    let shown = shown.max_by(f64::total_cmp);
    if let Some(shown) = shown.filter(|shown| asked.odds < *shown) {
        sentences.push(format!(
            "The samples alone cannot show odds of {} (they reach {}), so the tail is assumed to be log-normal; {} samples \
             would show them.",
            units::odds(asked.odds),
            units::odds(shown),
            whole((1.0 / asked.odds).ceil() as u64 - 1)
        ));
    }
    sentences
}

/// How much of a limit is due to how few samples there are, where that is much.
fn describe_few(row: &PodRow) -> Option<String> {
    let (spread, of_20) = row.spread_bytes.zip(row.spread_of_20_bytes)?;
    let saved = spread.saturating_sub(of_20);
    (saved > row.limit_bytes? / 10).then(|| {
        format!(
            "{}, {}: of the limit {} are due to how few samples there are: with 20 that vary as much the spread would be \
             {} instead of {}.",
            row.workload,
            row.variant,
            units::bytes(saved as f64),
            units::bytes(of_20 as f64),
            units::bytes(spread as f64)
        )
    })
}

/// The request and limit of a variant as a patch for `kubectl patch --patch-file`; none if there is no limit.
pub fn pod_patch(capacity: &Capacity, variant: &str) -> Option<String> {
    const MIB: u64 = 1 << 20;
    let row = capacity.pods.iter().find(|row| row.variant == variant)?;
    let (request, limit) = (row.request_bytes? / MIB, row.limit_bytes? / MIB);
    // A container's name is a DNS label.
    let name: String = row
        .workload
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    let name = if name.is_empty() { "main" } else { name };
    let cpu = row.request_millicpus.map_or_else(String::new, |cpus| format!("              cpu: {cpus}m\n"));
    let holds = match row.holds_for_s {
        None if !row.knows_growth() => {
            "memory still grew, and was measured for too short a time to know its odds".to_owned()
        }
        None if row.is_of_one_load => {
            "every sample replayed the same load, so the odds that a pod is killed on another day are not known".to_owned()
        }
        Some(0.0) => {
            "memory still grew while it was measured; only for pods that do no more than the trace".to_owned()
        }
        Some(lived_s) => format!(
            "memory still grew while it was measured; only for pods that live no longer than {}",
            units::nanoseconds(lived_s * 1e9)
        ),
        None => format!("the odds that a pod is killed in a day are {}", units::odds(row.pod_odds)),
    };
    let failed = match row.failed {
        0 => String::new(),
        failed => format!(
            "# {} of {} samples failed, and these figures are of the others.\n",
            whole(failed),
            whole(row.n + row.failed)
        ),
    };
    Some(format!(
        "# {} under {variant}: {holds}.\n{failed}\
         # kubectl patch deployment NAME --patch-file THIS; the container must have the name below.\n\
         spec:\n  template:\n    spec:\n      containers:\n        - name: {name}\n          resources:\n            requests:\n\
         {cpu}              memory: {request}Mi\n            limits:\n              memory: {limit}Mi\n",
        row.workload.replace(['\n', '\r'], " "),
    ))
}

fn dash() -> String {
    "-".to_owned()
}
