//! What a process's need means on each type of host: how many fit, and how many hosts a fleet takes.

use serde::Serialize;

use super::charge::{LEAST_DRAWS, predict_upper};
use super::need::{Basis, BlockNeed, Need};
use super::node::{Curve, Draws, count_fitting};
use super::pods::is_decided;
use super::request::{Host, Request, TODAYS_HOSTS};
use crate::stats::{Interval, NOISE_THRESHOLD, Ratio, Verdict, median, paired_ratio, verdict};

/// Most processes of a host, where they are drawn.
const MOST_PROCESSES: u64 = 10_000_000;

/// A variant of a workload on a type of host. Empty means that it was not measured or cannot be stated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostRow {
    /// Workload's name.
    pub workload: String,
    /// Variant's label.
    pub variant: String,
    /// The host's memory.
    pub host_memory_bytes: u64,
    /// The host's CPUs; empty if not given.
    pub host_cpus: Option<u32>,
    /// CPUs that the allocator saw in the run; empty if they are not one number.
    pub run_cpus: Option<u32>,
    /// Blocks in which it was measured.
    pub n: u64,
    /// Memory samples that are not ok.
    pub failed: u64,
    /// Resident bytes at the 99th percentile of trace time, median over blocks.
    pub resident_p99_bytes: Option<u64>,
    /// Page tables of the heap, median over blocks.
    pub page_table_bytes: Option<u64>,
    /// Memory of a process that no other shares: the two above and `non_heap_bytes`, median over blocks.
    pub process_bytes: Option<u64>,
    /// Lower end of its interval; empty for fewer than 6 blocks, and for one recording.
    pub process_low_bytes: Option<u64>,
    /// Upper end of its interval.
    pub process_high_bytes: Option<u64>,
    /// Coverage of that interval.
    pub coverage: Option<f64>,
    /// The process's memory over the baseline's, within blocks.
    pub ratio: Option<f64>,
    /// Lower end of the ratio's interval.
    pub ratio_low: Option<f64>,
    /// Upper end of the ratio's interval.
    pub ratio_high: Option<f64>,
    /// Coverage of that interval.
    pub ratio_coverage: Option<f64>,
    /// What the ratio shows.
    pub verdict: Option<Verdict>,
    /// What a process is planned with: the interval's upper end (the median if there is no interval) and the margin.
    pub planned_bytes: Option<u64>,
    /// Pages that all processes of a host share.
    pub shared_bytes: u64,
    /// Processes that fit on the host by all that is known: by memory, and by CPU where the host's CPUs and a process's
    /// use of them are both known.
    pub fits: Option<u64>,
    /// Processes that run on it today; empty if not given.
    pub processes_today: Option<u64>,
    /// Memory that a host needs for these, including the reserve and the shared pages.
    pub today_bytes: Option<u64>,
    /// Whether they fit.
    pub fits_today: Option<bool>,
    /// Processes of the fleet; empty where neither the fleet nor today's processes are known.
    pub fleet: Option<u64>,
    /// Hosts for the fleet; empty where not even one process fits.
    pub hosts: Option<u64>,
    /// What these cost.
    pub cost: Option<f64>,
    /// Fraction of the baseline's cost that is saved, negative if it costs more; empty for the baseline and where no
    /// difference is shown.
    pub saving: Option<f64>,
    /// Whether the resident bytes are those of a heap or of a whole process.
    pub basis: Basis,
    /// What was added for memory outside the heap; 0 where the whole process is known.
    pub non_heap_bytes: u64,
    /// CPUs that a process keeps busy, median over blocks; empty if not known.
    pub cpus_used: Option<f64>,
    /// CPUs that a process is planned with: the upper end of their interval, or the median if there is no interval.
    pub cpus_planned: Option<f64>,
    /// Processes that fit by memory.
    pub fits_memory: Option<u64>,
    /// Processes that fit by CPU; empty if the host's CPUs or a process's use of them is not known.
    pub fits_cpu: Option<u64>,
}

impl HostRow {
    /// What keeps one more process from the host: `CPU`, `memory`, or `memory only` where nothing is known of CPU.
    pub fn bound(&self) -> Option<&'static str> {
        let memory = self.fits_memory?;
        Some(match self.fits_cpu {
            None => "memory only",
            Some(cpu) if cpu < memory => "CPU",
            Some(_) => "memory",
        })
    }
}

/// Every variant of every workload on every host, with savings against `baseline`.
///
/// ```
/// use heaplab::capacity::{Host, Request, plan_hosts};
/// let host = Host { memory_bytes: 16 << 30, processes: Some(10), cpus: None, cost: 1.0 };
/// let request = Request { hosts: vec![host], margin: 0.1, fleet: Some(100), ..Request::default() };
/// assert_eq!(request.check(), Ok(()));
/// assert_eq!(plan_hosts(&[], &request, None, 1), []);
/// ```
pub fn plan_hosts(needs: &[Need], request: &Request, baseline: Option<&str>, seed: u64) -> Vec<HostRow> {
    let mut rows: Vec<HostRow> = Vec::new();
    let mut workloads: Vec<&str> = needs.iter().map(|need| need.workload.as_str()).collect();
    workloads.dedup();
    for workload in workloads {
        let needs: Vec<&Need> = needs.iter().filter(|need| need.workload == workload).collect();
        let base = baseline.and_then(|name| needs.iter().find(|need| need.variant == name).copied());
        for host in &request.hosts {
            let of_host: Vec<HostRow> =
                needs.iter().map(|need| fit(need, base, host, request, seed)).collect();
            let of_base = of_host.iter().find(|row| Some(row.variant.as_str()) == baseline);
            let of_base = of_base.map(|row| (row.bound(), cost(row, host)));
            let saved = |(row, need): (HostRow, &&Need)| {
                let saving = of_base.zip(base).and_then(|((bound, base_cost), base)| {
                    let of = [*need, base];
                    let decides = row.variant != base.variant
                        && is_decided([row.bound(), bound], row.verdict, request.process_cpus, of);
                    let (cost, base_cost) = cost(&row, host).zip(base_cost).filter(|_| decides)?;
                    Some(1.0 - cost / base_cost)
                });
                HostRow { saving, ..row }
            };
            rows.extend(of_host.into_iter().zip(&needs).map(saved));
        }
    }
    rows
}

/// Fits one variant on one host, all but the saving.
fn fit(need: &Need, base: Option<&Need>, host: &Host, request: &Request, seed: u64) -> HostRow {
    let bytes = |value: f64| value.max(0.0).ceil() as u64;
    let non_heap_bytes = if need.basis == Basis::Heap { request.non_heap_bytes } else { 0 };
    let non_heap = non_heap_bytes as f64;
    let values = |figure: fn(&BlockNeed) -> f64| need.blocks.values().map(figure).collect::<Vec<f64>>();
    let process: Vec<f64> = values(BlockNeed::process_bytes).iter().map(|bytes| bytes + non_heap).collect();
    let (middle, interval) = (median(&process), need.interval(&process));
    let ratio = base.filter(|base| base.variant != need.variant).and_then(|base| ratio(need, base, non_heap));
    let within: Option<Interval> = ratio.and_then(|ratio| ratio.interval);
    let planned =
        interval.map_or(middle, |interval| Some(interval.high)).map(|high| high * (1.0 + request.margin));
    let shared_bytes = request.shared_bytes.saturating_add(need.library_bytes.unwrap_or(0));
    let taken = request.reserve_bytes.saturating_add(shared_bytes) as f64;
    // A process of no bytes was not measured; any number of them would fit.
    let planned = planned.filter(|planned| *planned > 0.0);
    let left = (host.memory_bytes as f64 - taken).max(0.0);
    let drawn =
        request.odds.filter(|_| need.pods.len() >= LEAST_DRAWS).zip(planned).map(|(odds, planned)| {
            let more = non_heap as f32;
            let curves: Vec<Curve> = need.pods.values().map(|block| block.curve.raised_by(more)).collect();
            let draws = Draws { replicas: 1, odds, correlated: false, most: MOST_PROCESSES, seed };
            match count_fitting(&curves, left, &draws).pods {
                // A host that cannot hold one needs what one may take at these odds.
                0 => {
                    let peaks: Vec<f64> = curves.iter().map(Curve::peak).collect();
                    (0, predict_upper(&peaks, odds).map_or(planned, |upper| upper.max(planned)))
                }
                fits => (fits, left / fits as f64),
            }
        });
    // Odds of fewer samples are not known.
    let planned = if request.odds.is_some() { drawn.map(|(_, share)| share) } else { planned };
    let fits_memory = match request.odds {
        Some(_) => drawn.map(|(fits, _)| fits),
        None => planned.map(|planned| (left / planned).floor() as u64),
    };
    let cpus_used = request.process_cpus.or(need.cpus_used);
    let cpus_planned = request.process_cpus.or(need.cpus_high).or(need.cpus_used);
    let fits_cpu = host.cpus.zip(cpus_planned.filter(|used| *used > 0.0)).map(|(cpus, used)| {
        // A product that is whole except for rounding is whole.
        (f64::from(cpus) * (1.0 - request.cpu_headroom) / used + 1e-9).floor() as u64
    });
    let fits = fits_memory.map(|memory| fits_cpu.map_or(memory, |cpu| memory.min(cpu)));
    let fleet = request.fleet.or(host.processes.map(|processes| processes.saturating_mul(TODAYS_HOSTS)));
    let hosts = fits.filter(|fits| *fits > 0).zip(fleet).map(|(fits, fleet)| fleet.div_ceil(fits));
    HostRow {
        workload: need.workload.clone(),
        variant: need.variant.clone(),
        host_memory_bytes: host.memory_bytes,
        host_cpus: host.cpus,
        run_cpus: need.cpus.first().copied().filter(|_| need.cpus.len() == 1),
        n: need.blocks.len() as u64,
        failed: need.failed,
        resident_p99_bytes: median(&values(|block| block.resident_p99_bytes)).map(bytes),
        page_table_bytes: median(&values(|block| block.page_table_bytes)).map(bytes),
        process_bytes: middle.map(bytes),
        process_low_bytes: interval.map(|interval| bytes(interval.low)),
        process_high_bytes: interval.map(|interval| bytes(interval.high)),
        coverage: interval.map(|interval| interval.coverage),
        ratio: ratio.map(|ratio| ratio.estimate),
        ratio_low: within.map(|interval| interval.low),
        ratio_high: within.map(|interval| interval.high),
        ratio_coverage: within.map(|interval| interval.coverage),
        verdict: ratio.map(|ratio| verdict(&ratio, NOISE_THRESHOLD)),
        planned_bytes: planned.map(bytes),
        shared_bytes,
        fits,
        processes_today: host.processes,
        today_bytes: planned
            .zip(host.processes)
            .map(|(planned, processes)| bytes(taken + planned * processes as f64)),
        fits_today: fits.zip(host.processes).map(|(fits, processes)| fits >= processes),
        fleet,
        hosts,
        cost: hosts.map(|hosts| hosts as f64 * host.cost),
        saving: None,
        basis: need.basis,
        non_heap_bytes,
        cpus_used,
        cpus_planned,
        fits_memory,
        fits_cpu,
    }
}

/// A process's memory over the baseline's, within the blocks that measured both.
fn ratio(need: &Need, base: &Need, non_heap: f64) -> Option<Ratio> {
    let pairs: Vec<(f64, f64)> = need
        .blocks
        .iter()
        .filter_map(|(block, own)| {
            let base = base.blocks.get(block)?;
            Some((own.process_bytes() + non_heap, base.process_bytes() + non_heap))
        })
        .collect();
    paired_ratio(&pairs)
}

/// What a variant costs: the fleet's hosts or, without a fleet, a process's share of one host.
fn cost(row: &HostRow, host: &Host) -> Option<f64> {
    let share = || row.fits.filter(|fits| *fits > 0).map(|fits| host.cost / fits as f64);
    if row.fleet.is_some() { row.cost } else { share() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: f64 = 1_048_576.0;

    fn need(variant: &str, blocks: u32, mib: f64) -> Need {
        let block = |at: u32| {
            let resident_p99_bytes = (mib + f64::from(at % 3)) * MIB;
            (at, BlockNeed { resident_p99_bytes, page_table_bytes: MIB })
        };
        Need {
            workload: "w".to_owned(),
            variant: variant.to_owned(),
            blocks: (0..blocks).map(block).collect(),
            cpus: [2].into(),
            library_bytes: Some(4 * MIB as u64),
            ..Need::default()
        }
    }

    fn request(memory: f64, processes: u64) -> Request {
        let host = Host {
            memory_bytes: (memory * MIB) as u64,
            processes: Some(processes),
            cpus: Some(2),
            cost: 3.0,
        };
        Request {
            hosts: vec![host],
            reserve_bytes: 100 * MIB as u64,
            non_heap_bytes: 20 * MIB as u64,
            shared_bytes: 6 * MIB as u64,
            margin: 0.25,
            fleet: Some(1000),
            ..Request::default()
        }
    }

    #[test]
    fn a_host_holds_what_its_memory_allows() {
        // A process: 77 to 79 MiB resident, 1 of page tables, 20 outside the heap: 98 to 100; with the margin 125.
        let rows = plan_hosts(&[need("ptmalloc2", 9, 77.0)], &request(1360.0, 11), Some("ptmalloc2"), 1);
        let row = &rows[0];
        assert_eq!((row.process_bytes, row.process_high_bytes), (Some(99 << 20), Some(100 << 20)));
        assert_eq!((row.planned_bytes, row.shared_bytes), (Some(125 << 20), 10 << 20));
        // 1360 minus 100 reserved and 10 shared is 1250.
        assert_eq!((row.fits, row.fits_today), (Some(10), Some(false)));
        assert_eq!(row.today_bytes, Some((100 + 10 + 11 * 125) << 20));
        assert_eq!((row.hosts, row.cost, row.saving), (Some(100), Some(300.0), None));
    }

    #[test]
    fn cpu_bounds_what_memory_allows() {
        let need = Need { cpus_used: Some(0.7), ..need("ptmalloc2", 9, 77.0) };
        let host = |cpus| Host { cpus, ..request(1360.0, 11).hosts[0] };
        let row = |cpus, headroom: f64, process_cpus| {
            let hosts = vec![host(cpus)];
            let request = Request { hosts, cpu_headroom: headroom, process_cpus, ..request(1360.0, 11) };
            plan_hosts(std::slice::from_ref(&need), &request, None, 1).remove(0)
        };
        // 10 fit by memory. 4 CPUs minus a fifth are 3.2, and 0.7 fits 4 times.
        let bound = row(Some(4), 0.2, None);
        assert_eq!((bound.fits_memory, bound.fits_cpu, bound.fits), (Some(10), Some(4), Some(4)));
        assert_eq!((bound.bound(), bound.fits_today, bound.hosts), (Some("CPU"), Some(false), Some(250)));
        let roomy = row(Some(64), 0.2, None);
        assert_eq!((roomy.fits, roomy.bound()), (Some(10), Some("memory")));
        // Exactly as many as there are CPUs: 7 of 0.7 take 4.9, and nothing is kept free.
        assert_eq!(row(Some(7), 0.0, None).fits_cpu, Some(10));
        assert_eq!(
            row(Some(4), 0.0, Some(2.0)).fits_cpu,
            Some(2),
            "what is said goes before what was measured"
        );
        let unknown = row(None, 0.2, None);
        assert_eq!((unknown.fits, unknown.fits_cpu, unknown.bound()), (Some(10), None, Some("memory only")));
    }

    /// A plan made with the middle of what was measured fails for every second process.
    #[test]
    fn cpu_is_planned_with_at_the_upper_end_as_memory_is() {
        let need = Need { cpus_used: Some(0.5), cpus_high: Some(0.7), ..need("ptmalloc2", 9, 77.0) };
        let host = Host { cpus: Some(4), ..request(1360.0, 11).hosts[0] };
        let request = Request { hosts: vec![host], cpu_headroom: 0.2, ..request(1360.0, 11) };
        let row = plan_hosts(&[need], &request, None, 1).remove(0);
        assert_eq!((row.cpus_used, row.cpus_planned, row.fits_cpu), (Some(0.5), Some(0.7), Some(4)));
    }

    #[test]
    fn how_many_fit_needs_no_processes_of_today() {
        let all = [need("ptmalloc2", 9, 200.0), need("small", 9, 80.0)];
        let mut request = Request { fleet: None, ..request(4000.0, 10) };
        request.hosts[0].processes = None;
        let rows = plan_hosts(&all, &request, Some("ptmalloc2"), 1);
        let row = &rows[1];
        assert!(row.fits > rows[0].fits);
        assert_eq!((row.fleet, row.hosts, row.today_bytes, row.fits_today), (None, None, None, None));
        let fits = |at: usize| rows[at].fits.expect("measured") as f64;
        assert!(row.saving.is_some_and(|saving| (saving - (1.0 - fits(0) / fits(1))).abs() < 1e-9));
    }

    #[test]
    fn savings_need_a_difference_that_was_shown() {
        let all = [
            need("ptmalloc2", 9, 200.0),
            need("small", 9, 80.0),
            need("same", 9, 200.5),
            need("few", 3, 80.0),
        ];
        let rows = plan_hosts(&all, &request(4000.0, 10), Some("ptmalloc2"), 1);
        let row = |name: &str| rows.iter().find(|row| row.variant == name).expect("a row");
        assert_eq!(row("small").verdict, Some(Verdict::Smaller));
        assert!(row("small").saving.is_some_and(|saving| saving > 0.5));
        assert_eq!((row("same").verdict, row("same").saving), (Some(Verdict::NoDifference), None));
        assert_eq!((row("few").verdict, row("few").saving), (Some(Verdict::TooFew), None));
        assert!(
            row("few").planned_bytes.is_some() && row("few").coverage.is_none(),
            "the median and the margin"
        );
        let without = plan_hosts(&all, &request(4000.0, 10), None, 1);
        assert!(without.iter().all(|row| row.ratio.is_none() && row.saving.is_none()));
    }

    #[test]
    fn a_saving_needs_a_difference_in_what_limits_the_host() {
        let with = |variant: &str, mib: f64, cpus: f64| {
            let cpus_by_block = (0..9).map(|block| (block, cpus + f64::from(block % 3) / 50.0)).collect();
            Need { cpus_used: Some(cpus), cpus_by_block, ..need(variant, 9, mib) }
        };
        let saving = |own: Need| {
            let mut request = request(16_000.0, 10);
            request.hosts[0].cpus = Some(16);
            plan_hosts(&[with("ptmalloc2", 200.0, 0.5), own], &request, Some("ptmalloc2"), 1).remove(1)
        };
        let less_memory = saving(with("small", 160.0, 0.505));
        assert_eq!((less_memory.bound(), less_memory.verdict), (Some("CPU"), Some(Verdict::Smaller)));
        assert_eq!(less_memory.saving, None, "both are limited by CPU, which differs by chance");
        let less_cpu = saving(with("quick", 200.0, 0.3));
        assert_eq!(less_cpu.verdict, Some(Verdict::NoDifference));
        assert!(less_cpu.saving.is_some_and(|saving| saving > 0.3), "{less_cpu:?}");
    }

    #[test]
    fn odds_take_samples_and_plan_with_what_a_process_may_take() {
        let with_pods = |peaks: &[f32]| {
            let block = |mib: &f32| crate::capacity::PodBlock {
                curve: Curve::flat(mib * MIB as f32),
                ..crate::capacity::PodBlock::default()
            };
            Need { pods: (0..).zip(peaks.iter().map(block)).collect(), ..need("x", 9, 190.0) }
        };
        let plan = |peaks: &[f32], memory: f64| {
            let request = Request { odds: Some(0.01), ..request(memory, 10) };
            plan_hosts(&[with_pods(peaks)], &request, None, 1).remove(0)
        };
        let one = plan(&[190.0], 16_000.0);
        assert_eq!((one.fits, one.planned_bytes), (None, None), "one sample shows no odds");
        let peaks: Vec<f32> = (0..20).map(|at| 180.0 + at as f32).collect();
        let (few, many) = (plan(&peaks[8..11], 16_000.0), plan(&peaks, 16_000.0));
        assert!(few.fits > Some(60) && many.fits > Some(70), "{few:?} {many:?}");
        let none = plan(&peaks, 200.0);
        assert_eq!((none.fits, none.fits_today), (Some(0), Some(false)));
        assert!(none.planned_bytes > Some(199 << 20), "{none:?}");
    }

    #[test]
    fn what_is_not_the_heaps_is_added_to_heaps_alone() {
        for (basis, added) in [(Basis::Heap, 20 << 20), (Basis::Predicted, 0), (Basis::Program, 0)] {
            let need = Need { basis, ..need("ptmalloc2", 9, 77.0) };
            let row = &plan_hosts(&[need], &request(1360.0, 11), None, 1)[0];
            assert_eq!((row.basis, row.non_heap_bytes), (basis, added));
            assert_eq!(row.process_bytes, Some((79 << 20) + added), "{basis:?}");
        }
    }

    #[test]
    fn what_was_not_measured_is_empty() {
        let failed = Need { blocks: Default::default(), failed: 7, ..need("x", 0, 0.0) };
        let row = &plan_hosts(&[failed], &request(4000.0, 10), Some("x"), 1)[0];
        assert_eq!(
            (row.n, row.failed, row.process_bytes, row.fits, row.fits_today),
            (0, 7, None, None, None)
        );
        let tiny = plan_hosts(&[need("x", 9, 1e7)], &request(4000.0, 10), None, 1);
        assert_eq!((tiny[0].fits, tiny[0].hosts, tiny[0].cost), (Some(0), None, None));
    }

    proptest! {
        #[test]
        fn more_memory_and_less_need_never_fit_fewer(
            mib in 1.0f64..1e4, more in 0.0f64..1e4, memory in 200.0f64..1e6, wider in 0.0f64..1e6,
        ) {
            let fits = |mib: f64, memory: f64| {
                plan_hosts(&[need("x", 9, mib)], &request(memory, 10), None, 1)[0].fits.expect("measured")
            };
            prop_assert!(fits(mib, memory) >= fits(mib + more, memory));
            prop_assert!(fits(mib, memory + wider) >= fits(mib, memory));
            let row = plan_hosts(&[need("x", 9, mib)], &request(memory, 10), None, 1).remove(0);
            let used = row.fits.expect("measured") as f64 * row.planned_bytes.expect("measured") as f64;
            // One byte each allows for the rounding of what is shown.
            prop_assert!(used <= memory * MIB + row.fits.expect("measured") as f64);
        }
    }
}
