//! How long the threads of a pool are busy with a request, which decides when a request must wait.
//!
//! A thread is busy while it holds memory that it has allocated and will free itself within the time of a window.
//! What it does at a stretch is a burst: a request, or several that follow each other at once.

use rustc_hash::FxHashMap;

use super::parts::{Outline, Part, Step};

/// Calls of one thread that are no further apart belong to one burst, even if it holds nothing in between.
const GAP_NS: u64 = 50_000;
/// A thread that makes no call for longer than this may be waiting, and do something else meanwhile.
const PAUSE_NS: u64 = 1_000_000;
/// A burst of one request is no longer than this many of the lives in it.
const MOST_LIVES: u64 = 2;

/// What a thread of a pool does at a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Burst {
    /// The first of its steps in the part; its thread's later steps are its own until that thread's next burst.
    pub(super) first: u32,
    /// For how long it keeps its thread.
    pub(super) busy_ns: u64,
    /// How often its thread seems to have begun another request before this one was done: it paused, and then allocated
    /// what outlives all that it held, or it always held something, but nothing for long.
    pub(super) overlaps: u32,
}

/// For each thread that stays, its role if that is one of a pool: of several threads that do the same.
pub(super) fn pools(outline: &Outline) -> Vec<Option<u32>> {
    let mut threads: FxHashMap<u32, u32> = FxHashMap::default();
    outline.threads.iter().for_each(|thread| *threads.entry(thread.role).or_default() += 1);
    let is_pool = |role: u32| role > 0 && threads[&role] > 1;
    outline.threads.iter().map(|thread| is_pool(thread.role).then_some(thread.role)).collect()
}

/// The bursts of a part's threads that belong to pools, in order of their first steps.
pub(super) fn bursts(part: &Part, pools: &[Option<u32>], window_ns: u64) -> Vec<Burst> {
    let is_pooled = |thread: u32| pools.get(thread as usize).is_some_and(Option::is_some);
    let mut freed: Vec<Option<(u32, u64)>> = vec![None; part.objects as usize];
    let later = part.later.iter().filter(|step| !step.is_anchored);
    for step in part.steps.iter().chain(later).filter(|step| step.kind.frees()) {
        if let Some(place) = freed.get_mut(step.object as usize) {
            *place = Some((step.thread, step.time_ns));
        }
    }
    let mut found: Vec<Burst> = Vec::new();
    let mut last: FxHashMap<u32, Open> = FxHashMap::default();
    for (at, step) in part.steps.iter().enumerate().filter(|(_, step)| is_pooled(step.thread)) {
        let now_ns = step.time_ns;
        let own = freed.get(step.object as usize).copied().flatten().filter(|(thread, freed_ns)| {
            step.kind.allocates() && *thread == step.thread && freed_ns.saturating_sub(now_ns) <= window_ns
        });
        let until_ns = own.map_or(now_ns, |(_, freed_ns)| freed_ns.max(now_ns));
        match last.get_mut(&step.thread) {
            Some(open) if now_ns <= open.end_ns.saturating_add(GAP_NS) => {
                let burst = &mut found[open.burst];
                if now_ns > open.called_ns.saturating_add(PAUSE_NS) {
                    open.held_ns = Some(open.end_ns);
                }
                if now_ns > open.end_ns {
                    // Nothing is left of what came before: this may be the next request.
                    (open.drained_ns, open.longest_ns, open.lives, open.held_ns) = (now_ns, 0, 1, None);
                }
                if open.held_ns.is_some_and(|held_ns| until_ns > held_ns.max(now_ns)) {
                    burst.overlaps += 1;
                    open.held_ns = None;
                }
                open.end_ns = until_ns.max(open.end_ns);
                open.longest_ns = open.longest_ns.max(until_ns - now_ns);
                open.called_ns = now_ns;
                let lives = (open.end_ns - open.drained_ns) / (MOST_LIVES * open.longest_ns.max(GAP_NS)) + 1;
                burst.overlaps = burst.overlaps.saturating_add(lives.saturating_sub(open.lives) as u32);
                open.lives = open.lives.max(lives);
                burst.busy_ns = open.end_ns - open.begin_ns;
            }
            _ => {
                let open = Open {
                    burst: found.len(),
                    begin_ns: now_ns,
                    drained_ns: now_ns,
                    called_ns: now_ns,
                    end_ns: until_ns,
                    longest_ns: until_ns - now_ns,
                    lives: 1,
                    held_ns: None,
                };
                last.insert(step.thread, open);
                found.push(Burst { first: at as u32, busy_ns: until_ns - now_ns, overlaps: 0 });
            }
        }
    }
    found
}

/// A thread's last burst.
struct Open {
    burst: usize,
    begin_ns: u64,
    /// When its thread last held nothing, and the longest that anything since then is held.
    drained_ns: u64,
    longest_ns: u64,
    /// How many requests at least it has held something for since then.
    lives: u64,
    /// Its thread's last call.
    called_ns: u64,
    /// How long it lasts, as far as is known.
    end_ns: u64,
    /// How long that which it held at its last pause was held.
    held_ns: Option<u64>,
}

/// A pool of threads, as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pool {
    pub(super) role: u32,
    pub(super) threads: u32,
    /// How many of them were busy, on average.
    pub(super) busy: f64,
    /// Whether each of them finishes a request before it begins another one; none if that cannot be seen.
    pub(super) takes_one: Option<bool>,
}

/// If threads took up requests whenever they come, this many bursts at least would overlap where anything can be said.
const ENOUGH: f64 = 10.0;
/// More overlaps than this share of those, and threads do take up requests while they have others.
const FEW_OVERLAPS: f64 = 0.2;

/// The pools of a recording, from the bursts of its kept windows.
pub(super) fn summarize(
    outline: &Outline,
    pools: &[Option<u32>],
    windows: &[(&Part, &[Burst])],
) -> Vec<Pool> {
    let mut found: Vec<Pool> = Vec::new();
    let mut places: FxHashMap<u32, usize> = FxHashMap::default();
    for role in pools.iter().flatten() {
        let place = *places.entry(*role).or_insert(found.len());
        match found.get_mut(place) {
            Some(pool) => pool.threads += 1,
            None => found.push(Pool { role: *role, threads: 1, busy: 0.0, takes_one: None }),
        }
    }
    let mut counted = vec![(0.0, 0.0); found.len()];
    // Until when each thread is busy, from the beginning of which window: what it holds beyond it, it also holds in the next.
    let mut until: FxHashMap<u32, (u32, u64)> = FxHashMap::default();
    let all_ns = windows.len() as f64 * outline.window_ns as f64;
    for (part, burst) in
        windows.iter().flat_map(|(part, bursts)| bursts.iter().map(move |burst| (part, burst)))
    {
        let Step { thread, time_ns: begin_ns, .. } = part.steps[burst.first as usize];
        let role = pools[thread as usize];
        if let Some(&at) = role.as_ref().and_then(|role| places.get(role)) {
            let end_ns = begin_ns.saturating_add(burst.busy_ns);
            let (window, last_ns) = until.insert(thread, (part.number, end_ns)).unwrap_or((part.number, 0));
            let counted_ns = match part.number.checked_sub(window) {
                Some(0) => last_ns,
                Some(1) => last_ns.saturating_sub(outline.window_ns),
                _ => 0,
            };
            found[at].busy += end_ns.saturating_sub(begin_ns.max(counted_ns)) as f64 / all_ns;
            counted[at].0 += 1.0;
            counted[at].1 += f64::from(burst.overlaps);
        }
    }
    for (pool, (bursts, overlaps)) in found.iter_mut().zip(counted) {
        // So many requests come to a thread while it is busy, if they come at any time.
        let expected = (bursts + overlaps) * pool.busy / f64::from(pool.threads);
        pool.takes_one = (expected >= ENOUGH).then_some(overlaps <= FEW_OVERLAPS * expected);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::parts::{Kind, Thread};
    use super::*;

    const WINDOW_NS: u64 = 1_000_000_000;

    const MS: u64 = 1_000_000;

    fn step(time_ms: u64, thread: u32, kind: Kind, object: u32) -> Step {
        let time_ns = time_ms * MS;
        Step { time_ns, bytes: 100, object, thread, kind, alignment_bits: 0, is_anchored: false }
    }

    fn outline(roles: &[u32]) -> Outline {
        let threads = roles.iter().map(|&role| Thread { role, name: String::new() }).collect();
        Outline { threads, window_ns: WINDOW_NS, ..Outline::default() }
    }

    #[test]
    fn a_pool_has_several_threads_of_one_role() {
        assert_eq!(pools(&outline(&[0, 1, 1, 2])), [None, Some(1), Some(1), None]);
    }

    #[test]
    fn a_thread_is_busy_while_it_holds_what_it_will_free() {
        let steps = vec![
            step(10, 1, Kind::Malloc, 0),
            // Handed over by the initial thread, which is in no pool.
            step(12, 0, Kind::Malloc, 1),
            step(30, 1, Kind::Free, 1),
            // Freed by another thread: that says nothing about how long this one is busy.
            step(40, 1, Kind::Malloc, 2),
            step(50, 1, Kind::Free, 0),
            step(100, 1, Kind::Malloc, 3),
            step(300, 2, Kind::Free, 2),
        ];
        // It outlives its part, and its thread keeps it for 950 ms; a later one for longer than a window.
        let later = vec![step(1_050, 1, Kind::Free, 3)];
        let part = Part { number: 0, objects: 4, steps, later };
        let pools = pools(&outline(&[0, 1, 1]));
        let of = |first, ms: u64| Burst { first, busy_ns: ms * MS, overlaps: 0 };
        assert_eq!(bursts(&part, &pools, WINDOW_NS), [of(0, 40), of(5, 950), of(6, 0)]);
        assert_eq!(bursts(&part, &pools, WINDOW_NS / 2)[1], of(5, 0));
    }

    /// Requests of 30 ms, so far apart, to two threads in turn.
    fn pool(count: u64, apart_ms: u64) -> Pool {
        let mut steps = Vec::new();
        for number in 0..count {
            let (begin, thread) = (number * apart_ms, number as u32 % 2 + 1);
            steps.push(step(begin, thread, Kind::Malloc, number as u32));
            steps.push(step(begin + 30, thread, Kind::Free, number as u32));
        }
        steps.sort_by_key(|step| (step.time_ns, step.object));
        let mut named = [u32::MAX; 40];
        let mut objects = 0;
        for step in &mut steps {
            let name = &mut named[step.object as usize];
            if step.kind == Kind::Malloc {
                *name = objects;
                objects += 1;
            }
            step.object = *name;
        }
        let part = Part { number: 0, objects, steps, later: Vec::new() };
        let (outline, found) = (outline(&[0, 1, 1]), pools(&outline(&[0, 1, 1])));
        let bursts = bursts(&part, &found, WINDOW_NS);
        summarize(&outline, &found, &[(&part, &bursts)])[0]
    }

    #[test]
    fn a_thread_that_begins_another_request_before_it_is_done_is_seen() {
        let (apart, together) = (pool(40, 20), pool(40, 10));
        assert_eq!((apart.takes_one, apart.threads), (Some(true), 2), "{apart:?}");
        assert!((apart.busy - 1.2).abs() < 1e-9, "{apart:?}");
        assert_eq!(together.takes_one, Some(false), "{together:?}");
        assert_eq!(pool(10, 50).takes_one, None, "too few come for it to be seen");
    }

    #[test]
    fn what_is_held_beyond_a_window_is_counted_once() {
        // Its thread always holds something: the first object for half a window, the second for a whole one.
        let part = |number| Part {
            number,
            objects: 2,
            steps: vec![
                step(0, 1, Kind::Malloc, 0),
                step(500, 1, Kind::Free, 0),
                step(500, 1, Kind::Malloc, 1),
            ],
            later: vec![step(1_500, 1, Kind::Free, 1)],
        };
        let pools = [None, Some(1), Some(1)];
        let parts: Vec<Part> = (0..20).map(part).collect();
        let found: Vec<Vec<Burst>> = parts.iter().map(|part| bursts(part, &pools, WINDOW_NS)).collect();
        let windows: Vec<_> = parts.iter().zip(found.iter().map(Vec::as_slice)).collect();
        let pool = summarize(&outline(&[0, 1, 1]), &pools, &windows)[0];
        assert!((1.0..1.05).contains(&pool.busy), "{pool:?}");
    }

    #[test]
    fn requests_that_follow_each_other_at_once_do_not_overlap() {
        // Each has a pause of 5 ms in its middle, and the next one begins 30 us after it.
        let steps: Vec<Step> = (0..20)
            .flat_map(|number| {
                let begin_ns = u64::from(number) * (5 * MS + 30_000);
                let at = |time_ns, kind| Step { time_ns, ..step(0, 1, kind, number) };
                [at(begin_ns, Kind::Malloc), at(begin_ns + 5 * MS, Kind::Free)]
            })
            .collect();
        let part = Part { number: 0, objects: 20, steps, later: Vec::new() };
        let found = bursts(&part, &[None, Some(1), Some(1)], WINDOW_NS);
        assert_eq!(found, [Burst { first: 0, busy_ns: 100 * MS + 19 * 30_000, overlaps: 0 }]);
    }
}
