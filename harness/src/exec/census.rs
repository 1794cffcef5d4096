//! The processes of a tree: what each held, and whether the probe was loaded into it.
//!
//! A process is counted anew with every program that it loads, even the same one again: what reached it before an exec
//! need not reach it after. A fork is a process of its own, with the image of its parent. Nothing is judged here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use heaplab_allocators::program_of_link;
use heaplab_allocators::registry::PROBE_LIBRARY;

use super::tree::{Image, Member, read_program};

/// A process that ran this long without the probe has loaded all that it was preloaded with, even on a busy machine.
const SETTLED: Duration = Duration::from_secs(1);

/// One program in one process, from exec to exec.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Executed {
    /// The number of the process here.
    pub(super) process: u32,
    /// The number that it has for itself, and reports.
    pub(super) inner: u32,
    pub(super) program: PathBuf,
    pub(super) image: Image,
}

/// What was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) of: Executed,
    pub(super) reach: Reach,
    pub(super) anonymous_peak_bytes: u64,
    /// Its anonymous memory added up over its time.
    pub(super) byte_ns: u128,
}

/// Whether the probe, and with it what was preloaded, is mapped by a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It was not when the mappings were read, first and last at these times. The loader may still have been at work.
    Missing { first: Duration, last: Duration },
    /// It is.
    Loaded,
}

impl Reach {
    /// Whether the loader has finished without the probe.
    pub(super) fn is_settled(self) -> bool {
        matches!(self, Reach::Missing { first, last } if last.saturating_sub(first) >= SETTLED)
    }

    /// What is known at `time`, if the mappings are read again when that can change something; none if nothing is.
    fn renew(
        known: Option<Reach>,
        time: Duration,
        is_loaded: impl FnOnce() -> Option<bool>,
    ) -> Option<Reach> {
        let first = match known {
            Some(Reach::Loaded) => return known,
            // From then on ever less often: the mappings of a large process are expensive.
            Some(reach @ Reach::Missing { first, last })
                if reach.is_settled() && time < last + last.saturating_sub(first) =>
            {
                return known;
            }
            Some(Reach::Missing { first, .. }) => first,
            None => time,
        };
        match is_loaded() {
            Some(true) => Some(Reach::Loaded),
            Some(false) => Some(Reach::Missing { first, last: time }),
            None => known,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Held {
    reach: Reach,
    peak_bytes: u64,
    byte_ns: u128,
}

/// The sum over several processes: at one reading, and the largest of all readings.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    reading: u64,
    bytes: u64,
    peak_bytes: u64,
}

impl Sum {
    fn add(&mut self, reading: u64, bytes: u64) {
        if self.reading != reading {
            (self.reading, self.bytes) = (reading, 0);
        }
        self.bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.bytes);
    }
}

/// The processes of a tree.
#[derive(Debug, Default)]
pub(super) struct Census {
    seen: BTreeMap<Executed, Held>,
    /// The processes of each program with the probe, and of each without.
    kinds: BTreeMap<(PathBuf, bool), Sum>,
    all: Sum,
    reading: u64,
    time: Duration,
    /// Time since the reading before.
    gap: Duration,
}

impl Census {
    /// Starts a reading of the tree, at `time` since the program's start.
    pub(super) fn begin(&mut self, time: Duration) {
        self.gap = time.saturating_sub(self.time);
        self.time = time;
        self.reading += 1;
    }

    /// Counts a process of the tree, unless it loads another program or exits meanwhile.
    pub(super) fn count(&mut self, member: &Member, program: PathBuf) {
        let program = program_of_link(program);
        let (process, image) = (member.process, member.image);
        let read = (program.clone(), image);
        let executed = Executed { process, inner: member.inner, program, image };
        self.add(executed, member.anonymous_bytes, || {
            let has_probe = has_probe(process)?;
            // It may have loaded a program while it was read: then nothing is known of either.
            (read_program(process)? == read).then_some(has_probe)
        });
    }

    fn add(&mut self, executed: Executed, bytes: u64, is_loaded: impl FnOnce() -> Option<bool>) {
        let known = self.seen.get(&executed).map(|held| held.reach);
        let Some(reach) = Reach::renew(known, self.time, is_loaded) else { return };
        if known.is_none() && executed.image != (0, 0) {
            // What it was while the kernel loaded the program.
            self.seen.remove(&Executed { image: (0, 0), ..executed.clone() });
        }
        let program = executed.program.clone();
        let held = self.seen.entry(executed).or_insert(Held { reach, peak_bytes: 0, byte_ns: 0 });
        held.reach = reach;
        held.peak_bytes = held.peak_bytes.max(bytes);
        held.byte_ns += u128::from(bytes) * self.gap.as_nanos();
        self.kinds.entry((program, reach == Reach::Loaded)).or_default().add(self.reading, bytes);
        self.all.add(self.reading, bytes);
    }

    /// Every process that was counted, the largest first.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.iter().map(|(executed, held)| Seen {
            of: executed.clone(),
            reach: held.reach,
            anonymous_peak_bytes: held.peak_bytes,
            byte_ns: held.byte_ns,
        });
        let mut seen: Vec<Seen> = seen.collect();
        seen.sort_by_key(|seen| (std::cmp::Reverse(seen.anonymous_peak_bytes), seen.of.process));
        seen
    }

    /// Whether `some` of the processes held more than one part in `share` of the anonymous memory: of its largest, or
    /// of its mean.
    pub(super) fn is_more_than(&self, share: u64, some: &[&Seen]) -> bool {
        let mut kinds: BTreeMap<(&PathBuf, bool), u64> = BTreeMap::new();
        for seen in some {
            let bytes = kinds.entry((&seen.of.program, seen.reach == Reach::Loaded)).or_default();
            *bytes = bytes.saturating_add(seen.anonymous_peak_bytes);
        }
        // What they held at one time: no more than all of their kind together, and no more than their peaks together.
        let peak_bytes = kinds.into_iter().map(|((program, loaded), bytes)| {
            self.kinds.get(&(program.clone(), loaded)).map_or(bytes, |kind| bytes.min(kind.peak_bytes))
        });
        let peak_bytes: u64 = peak_bytes.sum();
        let byte_ns: u128 = some.iter().map(|seen| seen.byte_ns).sum();
        let whole_byte_ns: u128 = self.seen.values().map(|held| held.byte_ns).sum();
        peak_bytes.saturating_mul(share) > self.all.peak_bytes
            || byte_ns.saturating_mul(share.into()) > whole_byte_ns
    }
}

/// Whether a process has mapped the probe; none if it has exited.
fn has_probe(process: u32) -> Option<bool> {
    let maps = std::fs::read(format!("/proc/{process}/maps")).ok().filter(|maps| !maps.is_empty())?;
    Some(maps.windows(PROBE_LIBRARY.len()).any(|text| text == PROBE_LIBRARY.as_bytes()))
}

/// Of a process in a reading: its number, its program, its image, its bytes, and whether it has the probe.
#[cfg(test)]
pub(super) type Sight<'a> = (u32, &'a std::path::Path, u64, u64, Option<bool>);

#[cfg(test)]
impl Census {
    /// A census of readings, 100 ms apart.
    pub(super) fn of(readings: &[&[Sight<'_>]]) -> Census {
        Census::of_inner(readings, |process| process)
    }

    /// The same of processes that have `inner` numbers for themselves.
    pub(super) fn of_inner(readings: &[&[Sight<'_>]], inner: fn(u32) -> u32) -> Census {
        let mut census = Census::default();
        for (at, reading) in (1u32..).zip(readings) {
            census.begin(Duration::from_millis(100) * at);
            for &(process, program, image, bytes, loaded) in *reading {
                let (program, image) = (program.to_path_buf(), (image, image));
                let executed = Executed { process, inner: inner(process), program, image };
                census.add(executed, bytes, || loaded);
            }
        }
        census
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_some_processes_hold_is_their_largest_sum_at_one_time() {
        let (server, helper) = (Path::new("/server"), Path::new("/helper"));
        let at = |number: u32| [(1, server, 1, 1000, Some(true)), (number, helper, 1, 40, Some(false))];
        let readings: Vec<_> = (2..100).map(at).collect();
        let census = Census::of(&readings.iter().map(|reading| &reading[..]).collect::<Vec<_>>());
        let seen = census.seen();
        let helpers: Vec<&Seen> = seen.iter().filter(|seen| seen.of.program == helper).collect();
        assert_eq!(helpers.len(), 98);
        assert!(!census.is_more_than(20, &helpers), "one after another");
        let at_once: Vec<_> = (2..4).map(|number| (number, helper, 1, 40, Some(false))).collect();
        let census = Census::of(&[&[&[(1, server, 1, 1000, Some(true))], &at_once[..]].concat()]);
        let seen = census.seen();
        let helpers: Vec<&Seen> = seen.iter().filter(|seen| seen.of.program == helper).collect();
        assert!(census.is_more_than(20, &helpers), "two at once");
        assert!(!census.is_more_than(20, &helpers[..1]));
        // Small next to the peak, but alone for most of the time.
        let alone: &[_] = &[(2, helper, 1, 40, Some(false))];
        let mut readings = vec![alone; 20];
        let both = [(1, server, 1, 1000, Some(true)), alone[0]];
        readings.push(&both);
        let census = Census::of(&readings);
        let seen = census.seen();
        assert!(census.is_more_than(20, &[&seen[1]]), "{seen:?}");
    }

    #[test]
    fn the_loader_has_time_and_is_asked_less_and_less_often() {
        let mut reach = None;
        let mut asked = Vec::new();
        for tick in 0..90 {
            let time = Duration::from_millis(50) * tick;
            reach = Reach::renew(reach, time, || {
                asked.push(tick);
                Some(false)
            });
            assert_eq!(reach.is_some_and(Reach::is_settled), tick >= 20, "{tick}");
        }
        assert_eq!(asked, [&(0..=20).collect::<Vec<u32>>()[..], &[40, 80]].concat());
        assert_eq!(Reach::renew(reach, Duration::from_secs(9), || None), reach);
        let reach = Reach::renew(reach, Duration::from_secs(9), || Some(true));
        assert_eq!(reach, Some(Reach::Loaded));
        assert_eq!(Reach::renew(reach, Duration::from_secs(10), || panic!("known")), reach);
    }

    #[test]
    fn a_process_that_is_loading_a_program_counts_as_what_it_becomes() {
        let (own, other) = (Path::new("/own"), Path::new("/other"));
        let loading = [(1, own, 0, 10, Some(false)), (2, other, 7, 900, None)];
        let loaded = [(1, own, 5, 20, Some(true)), (2, other, 8, 30, Some(true))];
        let seen = Census::of(&[&loading, &loaded]).seen();
        let found: Vec<_> = seen
            .iter()
            .map(|seen| (seen.of.process, seen.of.image.0, seen.reach, seen.anonymous_peak_bytes))
            .collect();
        assert_eq!(found, [(2, 8, Reach::Loaded, 30), (1, 5, Reach::Loaded, 20)]);
    }
}
