//! Pods in words: a table for each workload, what a limit consists of, and a patch for kubectl.

use super::super::grid::Grid;
use super::super::table::{Columns, select};
use super::super::units::{self, whole};
use crate::capacity::{Capacity, PodRow};

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
            bytes(row.limit_bytes),
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
    let cpus = asked.node_cpus.map_or_else(String::new, |cpus| format!(", {cpus} CPUs"));
    let replicas = if asked.replicas == 1 {
        "1 replica".to_owned()
    } else {
        format!("{} replicas", whole(asked.replicas))
    };
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
    let complete = rows().filter(|row| row.failed == 0 && row.nodes.is_some());
    let Some(best) = complete.min_by_key(|row| (row.nodes, row.limit_bytes)) else {
        return "No limit can be given for any variant: it takes at least 3 samples, all ok, that fit on a node."
            .to_owned();
    };
    let saving = match best.saving {
        Some(saving) => format!(", {} fewer than {}", units::percent(saving), base(capacity)),
        None => String::new(),
    };
    format!(
        "{} takes the fewest nodes ({}{saving}). {}",
        best.variant,
        whole(best.nodes.unwrap_or(0)),
        describe_limit(best)
    )
}

fn base(capacity: &Capacity) -> &str {
    capacity.baseline.as_deref().unwrap_or("the baseline")
}

/// What a pod should get, and why.
fn describe_limit(row: &PodRow) -> String {
    let bytes = |value: Option<u64>| units::bytes(value.unwrap_or(0) as f64);
    format!(
        "Request {}, limit {}: anonymous {}, kernel {}{}, page cache {}, growth {}, spread {}. The odds that a pod is killed in a day are \
         {}, and that any pod of the fleet is, {}.",
        bytes(row.request_bytes),
        bytes(row.limit_bytes),
        bytes(row.anonymous_bytes),
        bytes(row.kernel_bytes),
        if row.kernel_is_estimate { " (16 KiB a thread, not measured)" } else { "" },
        bytes(row.cache_bytes),
        bytes(row.growth_bytes),
        bytes(row.spread_bytes),
        odds(row.pod_odds),
        odds(row.fleet_odds),
    )
}

fn odds(odds: f64) -> String {
    if odds < 0.001 { format!("{odds:.0e}") } else { units::percent(odds) }
}

/// What pods are planned with, one sentence each.
pub(in crate::report) fn assume_pods(capacity: &Capacity) -> Vec<String> {
    let Some(asked) = capacity.request.pods else { return Vec::new() };
    let mut sentences = vec![
        "Each sample stands for a day of a pod, so measure its busiest stretch. The limit is a prediction interval \
         (Student's t on logarithms): the peak of another day exceeds it only with the given odds."
            .to_owned(),
        format!(
            "Pods per node: nodes are drawn at random (10,000 at odds of 1e-3) and filled with pods from measured timelines \
             {}; a node holds fewer pods than stated only with the given odds. `at all peaks` gives each pod its \
             whole limit, which is the upper bound on memory. A node has at most 110 pods.",
            if asked.correlated { "that all start at the same moment (--correlated)" } else { "at random phases" }
        ),
        "VPA's rule is the 90th percentile of the peaks plus 15 % (its defaults, without its minimum of 250 MiB), and \
         KRR's is the largest peak plus 15 %; both use the same peaks as this plan."
            .to_owned(),
        "Page cache counts for at most a tenth of the rest, because the kernel reclaims it before it kills a pod."
            .to_owned(),
    ];
    let shown = capacity.pods.iter().filter_map(|row| row.shown_odds).max_by(f64::total_cmp);
    if let Some(shown) = shown.filter(|shown| asked.odds < *shown) {
        sentences.push(format!(
            "The samples alone cannot show odds of {} (they reach {}), so the tail is assumed to be log-normal; {} samples \
             would show them.",
            odds(asked.odds),
            odds(shown),
            whole((1.0 / asked.odds).ceil() as u64 - 1)
        ));
    }
    sentences
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
    Some(format!(
        "# {} under {variant}: the odds that a pod is killed in a day are {}.\n\
         # kubectl patch deployment NAME --patch-file THIS; the container must have the name below.\n\
         spec:\n  template:\n    spec:\n      containers:\n        - name: {name}\n          resources:\n            requests:\n\
         {cpu}              memory: {request}Mi\n            limits:\n              memory: {limit}Mi\n",
        row.workload.replace(['\n', '\r'], " "),
        odds(row.pod_odds),
    ))
}

fn dash() -> String {
    "-".to_owned()
}
