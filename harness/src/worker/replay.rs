//! One sample, from job to answer.

use heaplab_allocators::{Expectation, Family, Loaded, identify, readback};
use heaplab_workloads::program::Order;

use super::backing::back_memory;
use super::checkpoint::{self, Checkpoints, Largest};
use super::engine::{Engine, Phase};
use super::footprint::{Counters, find_footprint, remark_uncovered};
use super::instrument::{Bare, Checked, Timed, Tracked};
use super::job::{HeapMap, Job, Measured, Moment, Reply, Status};
use super::latency::Histograms;
use super::memory::{self, Rollup};
use super::ops;
use super::populate::{floor_extent, populate_floor};
use super::program::Program;
use super::sizes::Sizes;
use super::space::Space;
use super::state::{Counts, Local, State};
use super::stopwatch::Empty;
use super::tables::Slots;
use super::{answer, clock, heap_map, huge_pages, initial_stack, layout, membership, stacks};
use crate::design::{Pass, Touch};

/// Does the job.
pub(super) fn run(job: Job) -> Reply {
    let mut reply = Reply { status: Status::Ok, ..Reply::default() };
    if job.pace.needs_times() && !job.info.has_times {
        reply.status = Status::Refused;
        reply.status_detail = Some(format!("pace {} needs a trace with times", job.pace));
        return reply;
    }
    // SAFETY: takes a number, gives a number.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if job.pass == Pass::Memory
        && let Some(why) = memory::refuse_pages(page_bytes)
    {
        reply.status = Status::Refused;
        reply.status_detail = Some(why);
        return reply;
    }
    let loaded = match prove_identity(&job, &mut reply) {
        Ok(loaded) => loaded,
        Err((status, what)) => {
            reply.status = status;
            reply.status_detail = Some(what);
            return reply;
        }
    };
    answer::note(&reply);
    match replay(&job, &loaded, &mut reply) {
        Ok(()) => {}
        Err(what) => {
            reply.status = Status::Error;
            reply.status_detail = Some(what);
        }
    }
    reply
}

/// Finds out which allocator serves malloc, and whether it is the requested one, with the requested settings.
fn prove_identity(job: &Job, reply: &mut Reply) -> Result<Loaded, (Status, String)> {
    let loaded = identify().map_err(|error| (Status::NotInjected, error.to_string()))?;
    reply.allocator_version = Some(loaded.version.clone());
    reply.library_path = Some(loaded.library_path.clone());
    let expected = Expectation { stamp: job.library_stamp, ..job.variant.expectation() };
    loaded.matches(&expected).map_err(|what| (Status::NotInjected, what))?;
    let faults: Vec<String> =
        readback::in_process(&job.variant, &loaded).iter().filter_map(readback::Proof::fault).collect();
    if faults.is_empty() { Ok(loaded) } else { Err((Status::UnknownSetting, faults.join("; "))) }
}

fn replay(job: &Job, loaded: &Loaded, reply: &mut Reply) -> Result<(), String> {
    let engine: &'static Engine = Box::leak(Box::new(prepare(job, loaded)?));
    let mut local = engine.state.local();
    let mut taken = 0;
    stacks::watch_faults()?;
    if job.pass == Pass::Memory {
        initial_stack::settle()?;
    }
    let mut warmed_all = false;
    if let Some(need) = job.need {
        let (warmed, why) = back_memory(need);
        warmed_all = why.is_none();
        reply.warmed = warmed;
        reply.warnings.extend(why);
        reply.warnings.extend(warmed.and_then(|warmed| populate_floor(warmed.extent)));
    }
    let fallbacks = huge_pages::count_fallbacks();
    if let Some(group) = &job.group_processes {
        // NOTE: memory written until here stays charged to the parent's group: it belongs to the harness.
        membership::enter(group)?;
    }
    if let Some(seed) = job.layout_seed {
        layout::vary(seed);
    }
    let counters = Counters::read()?;
    engine.run_phase(Phase::Trace, &mut local, &mut taken);
    // The trace is what the program did; what follows, and the answer, belong to the harness.
    membership::leave()?;
    note_replay(engine, job.info.order, reply);
    let faults = reply.measured.page_faults_minor.unwrap_or(0);
    let mut footprint = find_footprint(counters, Counters::read()?, faults)?;
    footprint.extent = floor_extent().unwrap_or(footprint.extent);
    reply.footprint = Some(footprint);
    // Where less was warmed than asked for, that is said already.
    if let Some(warmed) = reply.warmed.filter(|_| warmed_all) {
        reply.warnings.extend(remark_uncovered(warmed.extent, footprint.extent));
    }
    let fallbacks_after = huge_pages::count_fallbacks();
    match job.pass {
        Pass::Throughput => {}
        Pass::Latency => note_latency(engine, reply),
        Pass::Memory => measure_memory(job, loaded.family, engine, &mut local, &mut taken, reply)?,
        Pass::Check => engine.run_phase(Phase::Drain, &mut local, &mut taken),
        Pass::Exec => return Err("a real program cannot be replayed".to_owned()),
    }
    reply.warnings.extend(huge_pages::remark(fallbacks, fallbacks_after, &reply.measured));
    Ok(())
}

fn prepare(job: &Job, loaded: &Loaded) -> Result<Engine, String> {
    let program = Program::open(&job.program, &job.info)
        .map_err(|error| format!("cannot replay the program: {error}"))?;
    let no_memory = |bytes: usize| format!("the system refuses {bytes} bytes for the harness's tables");
    let noted = matches!(job.pass, Pass::Memory | Pass::Check);
    let asks = loaded.tells_usable_size;
    let runner = match job.pass {
        Pass::Throughput | Pass::Exec => ops::runner::<Bare>(job.touch),
        Pass::Latency => ops::runner::<Timed>(job.touch),
        Pass::Memory if asks => ops::runner::<Tracked<true>>(job.touch),
        Pass::Memory => ops::runner::<Tracked<false>>(job.touch),
        Pass::Check if asks => ops::runner::<Checked<true>>(Touch::None),
        Pass::Check => ops::runner::<Checked<false>>(Touch::None),
    };
    let state = State {
        slots: Slots::new(job.info.slots, noted).map_err(no_memory)?,
        counts: Counts::default(),
        histograms: (job.pass == Pass::Latency).then(Histograms::new),
        sizes: (job.pass == Pass::Memory && asks).then(Sizes::new).transpose().map_err(no_memory)?,
        empty_span: (job.pass == Pass::Throughput).then(Empty::measure),
    };
    let checkpoints = (job.pass == Pass::Memory).then(|| Checkpoints::new(job, loaded.family)).transpose();
    let checkpoints = checkpoints.map_err(|error| format!("cannot open /proc/self/statm: {error}"))?;
    Engine::new(job, program, loaded.family, state, runner, checkpoints).map_err(no_memory)
}

/// What every pass measures of the replay itself.
fn note_replay(engine: &Engine, order: Order, reply: &mut Reply) {
    use std::sync::atomic::Ordering::Relaxed;
    let measured = &mut reply.measured;
    let usage = engine.with_control(|control| control.begin.take().zip(control.end.take()));
    if let Some((begin, end)) = usage {
        measured.thread_start_ns = Some(end.thread_start_ns - begin.thread_start_ns);
        measured.clock_reads = Some(end.clock_reads - begin.clock_reads);
        // One that has ended meanwhile is not in the end's.
        let background = end.background_ns.zip(begin.background_ns);
        measured.busy_background_ns = background.map(|(end, begin)| end.saturating_sub(begin));
        let (begin, end) = (begin.usage, end.usage);
        measured.wall_ns = Some(end.real_ns - begin.real_ns);
        measured.cpu_user_ns = Some(end.user_ns.saturating_sub(begin.user_ns));
        measured.cpu_system_ns = Some(end.system_ns.saturating_sub(begin.system_ns));
        measured.page_faults_minor = Some(end.faults_minor - begin.faults_minor);
        measured.page_faults_major = Some(end.faults_major - begin.faults_major);
        measured.context_switches = Some(end.switches - begin.switches);
    }
    if engine.state.empty_span.is_some() {
        note_busy(engine, measured);
    }
    let counts = &engine.state.counts;
    // In causal order segments are added up when they end, and what others hold meanwhile is not seen.
    let reached = counts.requested_peak.load(Relaxed).max(0) as u64;
    measured.requested_peak_reached_bytes = (order == Order::Strict).then_some(reached);
    measured.waits = Some(counts.waits.load(Relaxed));
    measured.wakeups = Some(counts.wakeups.load(Relaxed));
    measured.window_stalls = Some(counts.window_stalls.load(Relaxed));
    if measured.busy_ns.is_some() && measured.busy_background_ns.is_none() {
        reply.warnings.push(
            "the process's threads cannot be listed: what the allocator's own threads work is not in its time".to_owned(),
        );
    }
    reply.warnings.extend(engine.threads.stacks().0);
}

fn note_latency(engine: &Engine, reply: &mut Reply) {
    let Some(histograms) = &engine.state.histograms else { return };
    reply.latency = histograms.read();
    let untimed = histograms.untimed();
    reply.measured.latency_untimed_calls = Some(untimed);
    if untimed > 0 {
        reply
            .warnings
            .push(format!("{untimed} calls have no latency: their threads woke on a CPU whose counter lags"));
    }
}

/// How the time of a replay divides into the allocator's part and the rest.
fn note_busy(engine: &Engine, measured: &mut Measured) {
    use std::sync::atomic::Ordering::Relaxed;
    let counts = &engine.state.counts;
    let background_ns = measured.busy_background_ns.unwrap_or(0);
    let busy_ns = counts.busy_ns.load(Relaxed) + background_ns;
    measured.busy_ns = Some(busy_ns);
    measured.busy_off_cpu_ns = Some(counts.off_cpu_ns.load(Relaxed));
    measured.wait_ns = Some(counts.wait_ns.load(Relaxed));
    let (user_ns, system_ns) = (measured.cpu_user_ns.unwrap_or(0), measured.cpu_system_ns.unwrap_or(0));
    measured.busy_system_ns =
        Some(system_ns_of_busy(busy_ns, user_ns, system_ns, counts.spin_ns.load(Relaxed)));
}

/// The kernel's part of busy time, as far as it is known. The kernel separates user and system time by its
/// timer tick and only for the whole process; time that is not busy is attributed to the kernel, except
/// spinning, because it is sleeping, waking and starting threads.
fn system_ns_of_busy(busy_ns: u64, user_ns: u64, system_ns: u64, spin_ns: u64) -> u64 {
    let not_busy_ns = (user_ns + system_ns).saturating_sub(busy_ns);
    system_ns.saturating_sub(not_busy_ns.saturating_sub(spin_ns)).min(busy_ns)
}

/// The memory pass after the last event: the end, the drain, the nudge, the purge.
fn measure_memory(
    job: &Job,
    family: Family,
    engine: &'static Engine,
    local: &mut Local,
    taken: &mut u32,
    reply: &mut Reply,
) -> Result<(), String> {
    let constant = job.resident_constant_bytes;
    let resident = || Rollup::read().map(|rollup| rollup.anonymous_bytes.saturating_sub(constant));
    let library = reply.library_path.clone();
    let measured = &mut reply.measured;

    let rollup = clock::hold_still(Rollup::read)?;
    let end = clock::hold_still(|| checkpoint::break_down(&engine.state, constant))?;
    let space = clock::hold_still(|| Space::read(library.as_deref()))?;
    if engine.state.sizes.is_none() {
        reply
            .warnings
            .push("its library has no malloc_usable_size: internal fragmentation is not known".to_owned());
    }
    measured.at_end = Some(end);
    measured.resident_end_bytes = Some(end.resident_bytes);
    measured.requested_end_bytes = Some(end.requested_bytes);
    measured.lazyfree_bytes = Some(rollup.lazyfree_bytes);
    measured.anon_huge_bytes = Some(rollup.anon_huge_bytes);
    measured.virtual_bytes = Some(space.virtual_bytes);
    measured.page_table_bytes = Some(space.page_table_bytes);
    measured.page_table_harness_bytes = space.page_table_harness_bytes;
    measured.library_file_bytes = space.library_file_bytes;
    measured.mappings = Some(space.mappings.saturating_sub(engine.threads.stacks().1));
    let end_map =
        job.draws_heap_map.then(|| clock::hold_still(|| heap_map::draw(&engine.state.slots))).transpose()?;
    engine.with_control(|control| {
        if let Some(mut checkpoints) = control.checkpoints.take() {
            checkpoints.end_parent();
            let unknown = checkpoints.inherited_unknown.take();
            reply.warnings.extend(
                unknown.map(|why| format!("what the process shares with its parent is not known: {why}")),
            );
            measured.resident_mean_bytes = checkpoints.resident_mean_bytes();
            measured.at_peak = checkpoints.at_peak;
            let at_peak = checkpoints.at_peak.map_or(0, |peak| peak.resident_bytes);
            let points = checkpoints.points.iter();
            measured.usable_peak_bytes =
                points.clone().map(|point| point.usable_bytes).max().filter(|_| engine.state.sizes.is_some());
            let largest = points.map(|point| point.resident_bytes).max();
            measured.resident_peak_bytes = largest.map(|peak| peak.max(at_peak).max(end.resident_bytes));
            reply.timeline = checkpoints.points;
            reply.accounts.extend(checkpoints.stated_at_peak);
            let map = checkpoints.heap_map.map(|cells| HeapMap { moment: Moment::Peak, cells });
            reply.heap_maps.extend(map);
            if let Some(sizes) = &engine.state.sizes {
                reply.requests = sizes.read_requests(&checkpoints.live_at_peak);
                if job.draws_heap_map {
                    reply.sizes = sizes.read(&checkpoints.live_at_peak);
                }
            }
            let mut largest = checkpoints.at_largest;
            let requested_peak = checkpoints.at_peak.zip(checkpoints.peak_time_ns);
            // The requested peak already has a map.
            let requested_peak = requested_peak.map(|(breakdown, time_ns)| (breakdown, time_ns, None));
            let at_end = (end, job.info.duration_ns, end_map);
            for (breakdown, time_ns, heap_map) in requested_peak.into_iter().chain([at_end]) {
                if largest.as_ref().is_none_or(|at| breakdown.resident_bytes > at.breakdown.resident_bytes) {
                    largest = Some(Largest { breakdown, time_ns, heap_map });
                }
            }
            if let Some(largest) = largest {
                measured.at_resident_peak = Some(largest.breakdown);
                measured.at_resident_peak_ns = Some(largest.time_ns);
                reply
                    .heap_maps
                    .extend(largest.heap_map.map(|cells| HeapMap { moment: Moment::ResidentPeak, cells }));
            }
        }
    });

    engine.run_phase(Phase::Drain, local, taken);
    measured.resident_drained_bytes = Some(clock::hold_still(resident)?);
    if job.draws_heap_map {
        let cells = clock::hold_still(|| heap_map::draw(&engine.state.slots))?;
        reply.heap_maps.push(HeapMap { moment: Moment::Drained, cells });
        let resident = measured.resident_drained_bytes.unwrap_or(0);
        reply.accounts.extend(clock::hold_still(|| {
            checkpoint::state_account(&engine.state, family, Moment::Drained, resident)
        }));
    }
    engine.run_phase(Phase::Nudge, local, taken);
    measured.resident_settled_bytes = Some(resident()?);
    if engine.purge(local, taken).is_some() {
        measured.resident_purged_bytes = Some(resident()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::system_ns_of_busy;

    #[test]
    fn the_kernels_part_is_what_sleeping_and_waking_did_not_take() {
        assert_eq!(system_ns_of_busy(100, 60, 40, 0), 40, "one thread: everything is busy");
        assert_eq!(system_ns_of_busy(100, 70, 80, 10), 40, "50 not busy, of which 10 spun");
        assert_eq!(system_ns_of_busy(100, 120, 30, 0), 0, "less than nothing is nothing");
        assert_eq!(system_ns_of_busy(100, 10, 120, 30), 100, "and not more than all");
    }
}
