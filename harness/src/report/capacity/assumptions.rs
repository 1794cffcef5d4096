//! Every assumption that a plan's numbers rest on, and how its hosts differ from the run's machine.

use std::collections::BTreeSet;

use super::super::units::{self, list};
use super::pods::assume_pods;
use crate::capacity::{Basis, Capacity};
use crate::stats::MIN_BLOCKS;

/// Kernel memory of a thread's stack on x86-64.
const KERNEL_STACK_BYTES: f64 = 16384.0;

/// What was assumed, one sentence each.
pub fn assume(capacity: &Capacity) -> Vec<String> {
    let request = &capacity.request;
    let bytes = |value: u64| units::bytes(value as f64);
    let non_heap = match request.non_heap_bytes {
        0 => "nothing for memory outside its heap (--non-heap)".to_owned(),
        some => format!("{} for memory outside its heap (--non-heap)", bytes(some)),
    };
    // Of a pod, another figure counts, which is stated with the pods.
    let is_of_pods_alone =
        capacity.hosts.is_empty() && capacity.connections.is_empty() && !capacity.pods.is_empty();
    let of_processes = if is_of_pods_alone { BTreeSet::new() } else { bases(capacity) };
    let mut sentences: Vec<String> = of_processes
        .into_iter()
        .map(|basis| match basis {
            Basis::Heap => format!(
                "For a process whose heap was replayed, the plan counts the anonymous resident memory that it does not \
                 exceed for 99 % of the trace's time, its page tables after the last event, and {non_heap}."
            ),
            Basis::Predicted => "For a predicted process, the plan counts the anonymous resident memory that it does \
            not exceed for 99 % of the trace's time (as recorded, minus the replay of the build recorded under, plus \
            the variant's replay; of a model, what its process has outside malloc plus the replay), and the page tables of its heap. --non-heap is not added."
                .to_owned(),
            Basis::Tree => "A predicted tree of processes is placed on a host as one unit. The plan counts the \
            anonymous memory that all its processes together, with shared pages once, do not exceed for 99 % of the \
            recording's time, and the page tables of their heaps. --non-heap is not added. How many CPUs the \
            processes keep busy is not known: state it with --process-cpus."
                .to_owned(),
            Basis::Program => "For a program that ran, the plan counts the anonymous resident memory that it and \
            everything that it started, with shared pages once, did not exceed for 99 % of its time. --non-heap \
            is not added, and page tables are not included."
                .to_owned(),
        })
        .collect();
    if !capacity.hosts.is_empty() {
        let libraries =
            capacity.hosts.iter().map(|row| row.shared_bytes - request.shared_bytes.min(row.shared_bytes));
        let libraries = match libraries.max() {
            None | Some(0) => String::new(),
            Some(most) => format!(", and up to {} of the allocator's library", bytes(most)),
        };
        sentences.push(format!(
            "Each host keeps {} for the system (--reserve) and, once for all processes, {} for the program and \
             libraries that they share (--shared){libraries}.",
            bytes(request.reserve_bytes),
            bytes(request.shared_bytes),
        ));
        sentences.extend(request.odds.map(|odds| {
            format!(
                "Planned with: hosts are filled at random with processes from measured timelines, each at a random \
                 phase. A host holds fewer processes than the plan says only with odds of {}; `planned with` is a host's \
                 memory divided by that number of processes. The odds take into account that the samples are few; they \
                 take at least 3 of them.",
                units::odds(odds)
            )
        }));
        sentences.extend(request.odds.is_none().then(|| format!(
            "Planned with: the upper end of the interval over repetitions (the median with fewer than {MIN_BLOCKS}), \
             plus {} (--margin).",
            units::percent(request.margin)
        )));
        sentences.push(assume_cpu(capacity));
        if request.odds.is_none() {
            let together =
                "All processes of a host are assumed to be alike and to reach their peaks at the same time.";
            sentences.push(together.to_owned());
        }
    }
    sentences.extend(assume_pods(capacity));
    let threads = capacity.needs.iter().filter_map(|need| need.threads).max();
    let stacks = threads.map_or_else(String::new, |threads| {
        format!(" ({} for {threads} threads)", units::bytes(threads as f64 * KERNEL_STACK_BYTES))
    });
    // For pods it is counted, and stated above.
    if !is_of_pods_alone {
        sentences.push(format!(
            "A control group is charged more: these figures do not include kernel stacks{stacks}, sockets and their \
             buffers, page cache and other kernel memory."
        ));
    }
    sentences.push(
        "Pages that an allocator released lazily count until the kernel reclaims them; swap and sharing by fork do \
         not count."
            .to_owned(),
    );
    sentences
}

/// What is known of the processes' CPU time.
fn assume_cpu(capacity: &Capacity) -> String {
    let request = &capacity.request;
    let free = units::percent(request.cpu_headroom);
    let used: Vec<f64> = capacity.hosts.iter().filter_map(|row| row.cpus_planned).collect();
    let least = used.iter().copied().min_by(f64::total_cmp);
    let most = used.iter().copied().max_by(f64::total_cmp);
    match (request.process_cpus, least.zip(most)) {
        (Some(cpus), _) => {
            format!(
                "CPU: a process keeps {} CPUs busy (--process-cpus), and {free} of a host's CPUs stay free \
                 (--cpu-headroom).",
                units::significant(cpus)
            )
        }
        (None, Some((least, most))) => {
            let range = match (units::significant(least), units::significant(most)) {
                (least, most) if least == most => least,
                (least, most) => format!("{least} to {most}"),
            };
            format!(
                "CPU: a process keeps {range} CPUs busy on average, from the program's own CPU time as it ran or was \
                 recorded (the upper end of the interval over repetitions, if there is one), and {free} of a host's \
                 CPUs stay free (--cpu-headroom). The plan does not cover peaks of CPU use."
            )
        }
        (None, None) => {
            "CPU: the run does not say how much a process uses, so the plan covers memory only; state it \
        with --process-cpus, or measure it with `heaplab exec`."
                .to_owned()
        }
    }
}

/// Warnings about hosts whose CPUs differ from those that the run's allocators saw.
pub fn warn_of_hosts(capacity: &Capacity) -> Vec<String> {
    let mut warnings = Vec::new();
    let shown: BTreeSet<u32> = capacity.needs.iter().flat_map(|need| need.cpus.iter().copied()).collect();
    let shown: Vec<u32> = shown.into_iter().collect();
    let hosts =
        capacity.request.hosts.iter().map(|host| ("host", host.memory_bytes, host.cpus, "--host-cpus"));
    let nodes = capacity.request.pods.iter();
    let nodes = nodes.map(|asked| ("node", asked.node_memory_bytes, asked.node_cpus, "--node-cpus"));
    for (place, memory_bytes, cpus, option) in hosts.chain(nodes) {
        let memory = units::bytes(memory_bytes as f64);
        match cpus {
            _ if shown.is_empty() => {}
            Some(cpus) if shown == [cpus] => {}
            Some(cpus) => warnings.push(format!(
                "a {place} of {memory} has {cpus} CPUs, but the run showed its allocators {}, and they choose how many arenas \
                 to have by that number: {}",
                list(&shown, " or "),
                match bases(capacity).contains(&Basis::Program) {
                    // `exec` cannot show a program CPUs other than the machine's.
                    true => format!(
                        "measure on such a machine, or record the program (`heaplab record`), replay the recording with \
                         `heaplab run --cpus {cpus}`, and plan with the replay"
                    ),
                    false => format!("measure again with `heaplab run --cpus {cpus}`"),
                },
            )),
            None => warnings.push(format!(
                "a {place} of {memory} may have more or fewer CPUs than the run showed its allocators ({}): state the number \
                 with {option}",
                list(&shown, " or "),
            )),
        }
    }
    warnings.dedup();
    warnings
}

/// Whose memory the figures of a plan are.
fn bases(capacity: &Capacity) -> BTreeSet<Basis> {
    capacity.needs.iter().map(|need| need.basis).collect()
}
