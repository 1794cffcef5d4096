//! What a pod needs: a request and a limit, what they consist of, and how often a pod is killed.
//!
//! A run stands for a pod's day: its peak is one draw of what a day's peak can be. The limit is the upper end of a
//! prediction interval for the next draw, on logarithms (Student's t): with few draws it is wider, as it must be. The
//! request follows from how many pods a node holds (see [`super::node`]).

use std::collections::BTreeMap;

use serde::Serialize;

use super::charge::{Charge, grown_bytes, log_normal_upper, percentile_of, predict_upper};
use super::need::{Basis, Need};
use super::node::{Curve, Draws, PodBlock, count_fitting};
use super::request::PodRequest;
use crate::stats::{NOISE_THRESHOLD, Verdict, median, paired_ratio, verdict};

/// With as many draws the spread is mostly that of the program, and not of what few draws cannot tell.
const MANY_DRAWS: usize = 20;
/// Growth that is continued for more times as long as it was measured says nothing about odds.
const MOST_CONTINUED: f64 = 10.0;
/// Most pods of a node unless kubelet is configured otherwise (`--max-pods`).
const MOST_PODS: u64 = 110;
/// VPA: defaults of `target-memory-percentile` and `recommendation-margin-fraction`.
const VPA: (f64, f64) = (0.9, 1.15);
/// KRR, simple strategy: the largest value, with the default of `memory_buffer_percentage`.
const KRR: f64 = 1.15;

/// A variant as pods. Empty means that it was not measured or cannot be stated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PodRow {
    /// Workload's name.
    pub workload: String,
    /// Variant's label.
    pub variant: String,
    /// Blocks in which it was measured.
    pub n: u64,
    /// Samples that are not ok.
    pub failed: u64,
    /// Whose memory it is.
    pub basis: Basis,
    /// The limit to write: whole MiB.
    pub limit_bytes: Option<u64>,
    /// The request to write: whole MiB, at most the limit.
    pub request_bytes: Option<u64>,
    /// CPU to request, in thousandths: what the pod uses or, if CPU limits the pods of a node, the node's CPUs divided by
    /// their number. Empty if not known.
    pub request_millicpus: Option<u64>,
    /// Anonymous memory at the peak, median over blocks.
    pub anonymous_bytes: Option<u64>,
    /// Memory of the kernel.
    pub kernel_bytes: Option<u64>,
    /// Whether that is estimated from the threads and not measured.
    pub kernel_is_estimate: bool,
    /// Page cache that counts towards the limit.
    pub cache_bytes: Option<u64>,
    /// Growth over the lifetime of a pod.
    pub growth_bytes: Option<u64>,
    /// What the spread over loads and layouts adds at the odds asked for.
    pub spread_bytes: Option<u64>,
    /// The spread if there were 20 samples that vary as much; empty if there are as many.
    pub spread_of_20_bytes: Option<u64>,
    /// If memory still grew at the end of the runs, and no lifetime was asked for or the trace has no times, how long the
    /// runs were, in seconds (0 without times): the limit and the odds are for pods that live no longer.
    pub holds_for_s: Option<f64>,
    /// How many times as long as the runs the lifetime is over which measured growth is continued.
    pub growth_continued: Option<f64>,
    /// Whether every sample replayed the same load. The odds are then of another replay, and of no other day.
    pub is_of_one_load: bool,
    /// Odds that one pod is killed in a day.
    pub pod_odds: f64,
    /// Odds that any pod of the fleet is killed in a day.
    pub fleet_odds: f64,
    /// Odds that the draws alone can show: below them the tail is assumed to be log-normal.
    pub shown_odds: Option<f64>,
    /// Pods of a node, limited by memory, CPU and the most pods allowed.
    pub pods_per_node: Option<u64>,
    /// The same if all had their peaks at once, each at its limit.
    pub pods_per_node_at_peaks: Option<u64>,
    /// What keeps one more pod from a node.
    pub bound: Option<&'static str>,
    /// Nodes for the replicas, including the surge.
    pub nodes: Option<u64>,
    /// Fraction of the baseline's nodes that is saved, negative if it takes more; empty where no difference is shown in
    /// what limits the pods of a node.
    pub saving: Option<f64>,
    /// What VPA's rule recommends for the same peaks.
    pub vpa_bytes: Option<u64>,
    /// What KRR's rule recommends for them.
    pub krr_bytes: Option<u64>,
    /// The fleet's memory at a moment: what it exceeds in 97.5 % of moments.
    pub fleet_low_bytes: Option<u64>,
    /// What it exceeds in half of them.
    pub fleet_bytes: Option<u64>,
    /// What it exceeds in 2.5 % of them.
    pub fleet_high_bytes: Option<u64>,
    /// What the ratio of a process's peak to the baseline's shows.
    pub verdict: Option<Verdict>,
}

impl PodRow {
    /// Whether it is known how often a pod is killed: not if memory grew for longer than it was measured, unless its
    /// growth is continued for a few times that long only, and not if every sample replayed the same load.
    #[must_use]
    pub fn knows_odds(&self) -> bool {
        self.knows_growth() && !self.is_of_one_load
    }

    /// Whether what its memory grows by is known as far as the odds need it.
    #[must_use]
    pub fn knows_growth(&self) -> bool {
        self.holds_for_s.is_none() && self.growth_continued.is_none_or(|times| times <= MOST_CONTINUED)
    }
}

/// What a user states of a process, because the run does not say it or is known to be wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stated {
    /// Memory outside the heap, which counts only where the heap alone was measured.
    pub non_heap_bytes: u64,
    /// CPUs that it keeps busy.
    pub cpus: Option<f64>,
}

/// Plans every variant as pods, with savings against `baseline`. `seed` decides what is drawn.
pub fn plan_pods(
    needs: &[Need],
    request: &PodRequest,
    stated: Stated,
    baseline: Option<&str>,
    seed: u64,
) -> Vec<PodRow> {
    let mut rows: Vec<PodRow> = needs.iter().map(|need| row(need, request, stated, seed)).collect();
    let of_base = |workload: &str| {
        baseline
            .and_then(|base| needs.iter().position(|need| need.workload == workload && need.variant == base))
    };
    let nodes: Vec<Option<u64>> = rows.iter().map(|row| row.nodes).collect();
    let bounds: Vec<Option<&str>> = rows.iter().map(|row| row.bound).collect();
    for (row, need) in rows.iter_mut().zip(needs) {
        let Some(base) = of_base(&need.workload).filter(|at| needs[*at].variant != need.variant) else {
            continue;
        };
        row.verdict = compare(&peaks(need), &peaks(&needs[base]));
        let decides = is_decided([row.bound, bounds[base]], row.verdict, stated.cpus, [need, &needs[base]]);
        row.saving =
            row.nodes.zip(nodes[base]).filter(|_| decides).map(|(own, base)| 1.0 - own as f64 / base as f64);
    }
    rows
}

/// Whether a difference was shown in what decides how many processes two variants have on a host: CPU, memory, or for
/// one of them the one and for the other the other. `memory` is what their memory shows; CPUs that are `stated` are
/// the same for both. Where samples failed, nothing was: those of the largest processes may be missing.
pub(super) fn is_decided(
    bounds: [Option<&str>; 2],
    memory: Option<Verdict>,
    stated: Option<f64>,
    of: [&Need; 2],
) -> bool {
    let is_shown = |verdict| matches!(verdict, Some(Verdict::Smaller | Verdict::Larger));
    let by_cpu = !bounds.contains(&Some("CPU"))
        || stated.is_some()
        || is_shown(compare(&of[0].cpus_by_block, &of[1].cpus_by_block));
    let by_memory = bounds == [Some("CPU"); 2] || is_shown(memory);
    by_cpu && by_memory && of.iter().all(|need| need.failed == 0)
}

fn peaks(need: &Need) -> BTreeMap<u32, f64> {
    need.pods.iter().map(|(block, pod)| (*block, pod.peak_bytes)).collect()
}

/// What the ratio of a figure to the baseline's shows, within blocks.
fn compare(own: &BTreeMap<u32, f64>, base: &BTreeMap<u32, f64>) -> Option<Verdict> {
    let pairs: Vec<(f64, f64)> =
        own.iter().filter_map(|(block, own)| Some((*own, *base.get(block)?))).collect();
    paired_ratio(&pairs).map(|ratio| verdict(&ratio, NOISE_THRESHOLD))
}

fn row(need: &Need, request: &PodRequest, stated: Stated, seed: u64) -> PodRow {
    const MIB: f64 = 1_048_576.0;
    let whole_mib = |bytes: f64| (bytes / MIB).ceil() * MIB;
    let more = need.beside(stated.non_heap_bytes);
    let charge = Charge::of(need, request, more);
    let limit = charge.as_ref().and_then(|charge| predict_upper(&charge.peaks, request.odds)).map(whole_mib);
    let replicas = request.replicas as f64;
    let fleet_odds =
        if request.correlated { request.odds } else { 1.0 - (1.0 - request.odds).powf(replicas) };
    let allocatable = request.node_memory_bytes.saturating_sub(request.reserve_bytes) as f64;
    let beside = charge.as_ref().map_or(0.0, |charge| charge.kernel + charge.cache) + more;
    let raised = |block: &PodBlock| block.curve.raised_by((beside + grown_bytes(block, request)) as f32);
    let curves: Vec<Curve> = need.pods.values().map(raised).collect();
    let cpus = stated.cpus.or(need.cpus_high).or(need.cpus_used).filter(|cpus| *cpus > 0.0);
    let node = limit.map(|limit| {
        let at_peaks = (allocatable / limit).floor() as u64;
        let draws = Draws {
            replicas: request.replicas,
            odds: request.odds,
            correlated: request.correlated,
            most: MOST_PODS,
            seed,
        };
        let drawn = count_fitting(&curves, allocatable, &draws);
        let by_cpu = request.node_cpus.zip(cpus).map(|(have, used)| {
            (f64::from(have) * (1.0 - request.cpu_headroom) / used + 1e-9).floor() as u64
        });
        let allowed = by_cpu.unwrap_or(MOST_PODS).min(MOST_PODS);
        (drawn.pods.max(at_peaks), by_cpu, at_peaks.min(allowed), drawn.fleet_bytes)
    });
    let pods = node.map(|(memory, cpu, ..)| memory.min(cpu.unwrap_or(memory)).min(MOST_PODS));
    // Scheduling goes by requests: as many requests fill a node as it holds pods.
    let by_memory = node.map(|(memory, ..)| memory.min(MOST_PODS)).filter(|pods| *pods > 0);
    let request_bytes = by_memory.zip(limit).map(|(pods, limit)| {
        let fair = (allocatable / pods as f64 / MIB).floor() * MIB;
        fair.min(limit)
    });
    let bound = node.map(|(memory, cpu, ..)| match cpu {
        _ if memory.min(cpu.unwrap_or(memory)) >= MOST_PODS => "pods",
        Some(cpu) if cpu < memory => "CPU",
        Some(_) => "memory",
        None => "memory only",
    });
    let surged = (replicas * (1.0 + request.surge)).ceil() as u64;
    let bytes = |value: f64| value.max(0.0).round() as u64;
    let parts = charge.as_ref();
    // What is not spread: the parts, so that all of them add up to the limit.
    let middle = parts.map(|charge| charge.anonymous + charge.kernel + charge.cache + charge.growth);
    let n = need.pods.len();
    let of_20 = parts
        .filter(|_| n < MANY_DRAWS)
        .and_then(|charge| log_normal_upper(&charge.peaks, MANY_DRAWS, request.odds))
        .map(whole_mib);
    let lived_s = median(&need.pods.values().map(|block| block.time_s).collect::<Vec<f64>>()).unwrap_or(0.0);
    // Whether memory rose steadily, by more than noise, until the end of the runs.
    let rate = median(&need.pods.values().map(|block| block.growth_bytes_per_s).collect::<Vec<f64>>());
    let rises =
        parts.zip(rate).is_some_and(|(charge, rate)| rate * lived_s > NOISE_THRESHOLD * charge.anonymous);
    let still_grew = rises || need.growth.is_some();
    // Growth that is small as long as it was measured may be most of the memory once it is continued.
    let adds = parts.is_some_and(|charge| charge.growth > NOISE_THRESHOLD * charge.anonymous);
    let continued =
        request.uptime_s.filter(|uptime_s| lived_s > 0.0 && (still_grew || adds) && *uptime_s > lived_s);
    // Without times growth cannot be continued.
    let ends_with_run = still_grew && (request.uptime_s.is_none() || lived_s == 0.0);
    // CPU, where it is what a node runs out of, must be requested so that the scheduler places no more pods.
    let shared_cpu = (bound == Some("CPU")).then_some(()).and_then(|()| {
        let pods = pods.filter(|pods| *pods > 0)?;
        Some(f64::from(request.node_cpus?) / pods as f64)
    });
    let request_cpus = cpus.map(|used| shared_cpu.map_or(used, |shared| shared.max(used)));
    let fleet = node.and_then(|(.., fleet)| fleet);
    PodRow {
        workload: need.workload.clone(),
        variant: need.variant.clone(),
        n: n as u64,
        failed: need.failed,
        basis: need.basis,
        limit_bytes: limit.map(bytes),
        request_bytes: request_bytes.map(bytes),
        request_millicpus: request_cpus.map(|cpus| match shared_cpu {
            Some(_) => (cpus * 1000.0).floor() as u64,
            None => (cpus * 1000.0).ceil() as u64,
        }),
        anonymous_bytes: parts.map(|charge| bytes(charge.anonymous)),
        kernel_bytes: parts.map(|charge| bytes(charge.kernel)),
        kernel_is_estimate: parts.is_some_and(|charge| charge.kernel_is_estimate),
        cache_bytes: parts.map(|charge| bytes(charge.cache)),
        growth_bytes: parts.map(|charge| bytes(charge.growth)),
        spread_bytes: limit.zip(middle).map(|(limit, middle)| bytes(limit - middle)),
        spread_of_20_bytes: of_20.zip(middle).map(|(limit, middle)| bytes(limit - middle)),
        holds_for_s: ends_with_run.then_some(lived_s),
        growth_continued: continued.map(|uptime_s| uptime_s / lived_s),
        is_of_one_load: need.is_of_one_load,
        pod_odds: request.odds,
        fleet_odds,
        shown_odds: (n > 0).then(|| 1.0 / (n as f64 + 1.0)),
        pods_per_node: pods,
        pods_per_node_at_peaks: node.map(|(_, _, at_peaks, _)| at_peaks),
        bound,
        nodes: pods.filter(|pods| *pods > 0).map(|pods| surged.div_ceil(pods)),
        saving: None,
        vpa_bytes: parts.filter(|_| n > 0).map(|charge| bytes(percentile_of(&charge.peaks, VPA.0) * VPA.1)),
        krr_bytes: parts.filter(|_| n > 0).map(|charge| bytes(percentile_of(&charge.peaks, 1.0) * KRR)),
        fleet_low_bytes: fleet.map(|fleet| fleet[0]),
        fleet_bytes: fleet.map(|fleet| fleet[1]),
        fleet_high_bytes: fleet.map(|fleet| fleet[2]),
        verdict: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    fn need(variant: &str, peaks: &[f64]) -> Need {
        let block = |peak: &f64| PodBlock {
            peak_bytes: peak * MIB,
            kernel_bytes: Some(4.0 * MIB),
            file_bytes: Some(2.0 * MIB),
            time_s: 60.0,
            curve: Curve::flat((peak * MIB) as f32),
            ..PodBlock::default()
        };
        Need {
            workload: "w".to_owned(),
            variant: variant.to_owned(),
            pods: (0..).zip(peaks.iter().map(block)).collect(),
            ..Need::default()
        }
    }

    fn request() -> PodRequest {
        PodRequest {
            node_memory_bytes: 16 << 30,
            replicas: 100,
            surge: 0.25,
            odds: 0.05,
            ..PodRequest::default()
        }
    }

    #[test]
    fn a_limit_consists_of_what_was_measured_and_of_its_spread() {
        let peaks = [200.0, 202.0, 198.0, 201.0, 199.0, 200.0, 203.0, 197.0];
        let row = plan_pods(&[need("ptmalloc2", &peaks)], &request(), Stated::default(), None, 1).remove(0);
        let parts = [row.anonymous_bytes, row.kernel_bytes, row.cache_bytes, row.spread_bytes];
        let sum: u64 = parts.iter().map(|part| part.expect("measured")).sum();
        assert_eq!(row.limit_bytes, Some(sum));
        assert_eq!((row.anonymous_bytes, row.kernel_bytes), (Some(200 << 20), Some(4 << 20)));
        // Student's t for 7 degrees of freedom at 95 % is 1.895; the standard deviation of the logarithms is 1.02 %.
        let wanted = 206.0 + 1.895 * 2.0 * (1.0f64 + 1.0 / 8.0).sqrt();
        let limit = row.limit_bytes.expect("eight") as f64 / MIB;
        assert!((limit - wanted).abs() < 1.5, "{limit} {wanted}");
        assert!(row.vpa_bytes > row.limit_bytes && row.krr_bytes >= row.vpa_bytes, "{row:?}");
        assert_eq!(row.nodes, Some(125u64.div_ceil(row.pods_per_node.expect("some"))));
        assert!((row.fleet_odds - (1.0 - 0.95f64.powf(100.0))).abs() < 1e-12);
        let together = PodRequest { correlated: true, ..request() };
        assert_eq!(
            plan_pods(&[need("x", &peaks)], &together, Stated::default(), None, 1)[0].fleet_odds,
            0.05
        );
    }

    #[test]
    fn savings_need_a_difference_and_few_draws_no_limit() {
        let many: Vec<f64> = (0..10).map(|at| 400.0 + f64::from(at % 3)).collect();
        let few: Vec<f64> = many.iter().map(|peak| peak / 2.0).collect();
        let all = [need("ptmalloc2", &many), need("small", &few), need("two", &few[..2])];
        let rows = plan_pods(&all, &request(), Stated::default(), Some("ptmalloc2"), 1);
        assert!(rows[1].saving.is_some_and(|saving| saving > 0.4), "{:?}", rows[1]);
        assert_eq!((rows[0].saving, rows[2].limit_bytes, rows[2].nodes), (None, None, None));
    }

    #[test]
    fn what_a_node_runs_out_of_decides_what_is_requested_and_saved() {
        let peaks: Vec<f64> = (0..8).map(|at| 400.0 + f64::from(at % 3)).collect();
        let smaller: Vec<f64> = peaks.iter().map(|peak| peak / 2.0).collect();
        let with = |variant: &str, peaks: &[f64], cpus: f64| {
            let cpus_by_block = (0..8).map(|block| (block, cpus + f64::from(block % 2) / 100.0)).collect();
            Need {
                cpus_used: Some(cpus),
                cpus_high: Some(cpus + 0.01),
                cpus_by_block,
                ..need(variant, peaks)
            }
        };
        let asked = PodRequest { node_cpus: Some(4), ..request() };
        let plan = |own: Need| {
            plan_pods(&[with("ptmalloc2", &peaks, 0.5), own], &asked, Stated::default(), Some("ptmalloc2"), 1)
                .remove(1)
        };
        // Half of the memory, and as much CPU: no more pods fit.
        let row = plan(with("small", &smaller, 0.5));
        assert_eq!((row.bound, row.pods_per_node, row.saving), (Some("CPU"), Some(7), None), "{row:?}");
        assert_eq!(row.request_millicpus, Some(571), "seven of them fill the node");
        assert_eq!(row.verdict, Some(Verdict::Smaller));
        let row = plan(with("quick", &peaks, 0.2));
        assert_eq!((row.bound, row.pods_per_node), (Some("CPU"), Some(19)), "{row:?}");
        assert!(row.saving.is_some_and(|saving| saving > 0.5), "{row:?}");
    }

    #[test]
    fn memory_that_still_grew_has_a_limit_for_as_long_as_it_was_measured() {
        let peaks = [200.0, 202.0, 198.0];
        let growing = Need { growth: Some(0.2), ..need("ptmalloc2", &peaks) };
        let plan = |asked: PodRequest| {
            plan_pods(std::slice::from_ref(&growing), &asked, Stated::default(), None, 1).remove(0)
        };
        let row = plan(request());
        assert_eq!((row.holds_for_s, row.growth_continued), (Some(60.0), None));
        let (spread, of_20) = row.spread_bytes.zip(row.spread_of_20_bytes).expect("three samples");
        assert!(of_20 < spread, "{row:?}");
        assert_eq!(plan(PodRequest { uptime_s: Some(3600.0), ..request() }).holds_for_s, None);
        let steady = need("x", &peaks);
        let plan = |need: &Need, asked: PodRequest| {
            plan_pods(std::slice::from_ref(need), &asked, Stated::default(), None, 1).remove(0)
        };
        assert_eq!(plan(&steady, request()).holds_for_s, None);
        // A slow rise that does not show from third to third: 8 MiB in the minute.
        let mut rising = need("x", &peaks);
        rising.pods.values_mut().for_each(|block| block.growth_bytes_per_s = 8.0 * MIB / 60.0);
        assert_eq!(plan(&rising, request()).holds_for_s, Some(60.0));
        let week = plan(&rising, PodRequest { uptime_s: Some(604_800.0), ..request() });
        assert_eq!((week.holds_for_s, week.growth_continued), (None, Some(10_080.0)));
    }

    #[test]
    fn stated_cpus_count_before_measured_ones() {
        let peaks = [200.0, 202.0, 198.0];
        let asked = PodRequest { node_cpus: Some(4), cpu_headroom: 0.2, ..request() };
        let of = |cpus_used, cpus| {
            let need = Need { cpus_used, ..need("x", &peaks) };
            let row = plan_pods(&[need], &asked, Stated { cpus, ..Stated::default() }, None, 1).remove(0);
            (row.pods_per_node, row.bound, row.request_millicpus, row.pods_per_node_at_peaks)
        };
        // 4 CPUs minus a fifth are 3.2.
        assert_eq!(of(None, Some(2.0)), (Some(1), Some("CPU"), Some(4000), Some(1)));
        assert_eq!(of(Some(0.5), Some(1.0)), (Some(3), Some("CPU"), Some(1333), Some(3)));
        assert_eq!(of(Some(0.5), None).0, Some(6));
    }

    #[test]
    fn a_limit_covers_the_run_that_grows_fastest() {
        // As large, growing by 80 to 120 MiB in 60 s, for ten times as long.
        let mut leaking = need("x", &[200.0; 20]);
        for (at, block) in leaking.pods.values_mut().enumerate() {
            block.growth_bytes_per_s = (80.0 + at as f64 * 40.0 / 19.0) * MIB / 60.0;
        }
        let asked = PodRequest { uptime_s: Some(600.0), odds: 0.01, ..request() };
        let row = plan_pods(&[leaking], &asked, Stated::default(), None, 1).remove(0);
        let limit = row.limit_bytes.expect("twenty") as f64 / MIB;
        assert!(limit > 200.0 + 9.0 * 120.0 && limit < 1500.0, "{limit}");
        let parts =
            [row.anonymous_bytes, row.kernel_bytes, row.cache_bytes, row.growth_bytes, row.spread_bytes];
        let sum: u64 = parts.iter().map(|part| part.expect("measured")).sum();
        assert!(sum.abs_diff(row.limit_bytes.expect("twenty")) <= 4, "{row:?}");
    }

    #[test]
    fn growth_is_never_continued_or_left_out_unmarked() {
        let peaks = [200.0, 202.0, 198.0];
        // 1 % of its memory in the minute is no more than noise; in a day it is most of the memory.
        let mut slow = need("x", &peaks);
        slow.pods.values_mut().for_each(|block| block.growth_bytes_per_s = 2.0 * MIB / 60.0);
        let day = PodRequest { uptime_s: Some(86_400.0), ..request() };
        let plan = |need: &Need, asked: &PodRequest| {
            plan_pods(std::slice::from_ref(need), asked, Stated::default(), None, 1).remove(0)
        };
        let row = plan(&slow, &day);
        assert_eq!((row.holds_for_s, row.growth_continued, row.knows_odds()), (None, Some(1440.0), false));
        assert!(plan(&slow, &request()).knows_odds());
        // Without times growth has no rate.
        let mut timeless = Need { growth: Some(1.5), ..need("x", &peaks) };
        timeless.pods.values_mut().for_each(|block| block.time_s = 0.0);
        for asked in [day, request()] {
            let row = plan(&timeless, &asked);
            assert_eq!((row.holds_for_s, row.knows_odds()), (Some(0.0), false), "{asked:?}");
        }
    }
}
