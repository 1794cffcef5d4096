//! The order of one tick: which thread's step comes next.
//!
//! Each thread's own order is known; between threads only the tick is known, which lasts about a millisecond.
//! They are ordered further by the fact that allocations and frees of one address alternate. So:
//!
//! - Steps are taken as if each thread's were spread evenly over the tick. A step whose address is not as it
//!   must be (an allocation where something is live, a free where nothing is) waits for the step of another
//!   thread that will change that.
//! - If no other thread has such a step in the tick, and no other order of its past steps could help, waiting
//!   is pointless: the free was never recorded, or the block never seen.
//! - If all remaining steps wait for each other, then somewhere an address went to the wrong one of two
//!   threads that used it within the tick. The tick is then undone and done again, with the rule that one of
//!   the waiting steps comes before a step that had changed its address; and so on with more such rules,
//!   depth first. In any true order, the first step that is not yet taken waits because of a step that comes
//!   later in that order: so one of the rules that can be added is true. A search that an early rule led
//!   astray is hardly ever rescued by its last rules; so each search is given up after some tries and
//!   restarted with the rules in a different order.
//! - If the search finds no order, one of the waiting steps is done regardless, and counted as guessed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use rustc_hash::FxBuildHasher;

use super::heap::{Heap, Output, ThreadState};
use super::stream::{Need, Step};

/// Tries of a tick before a step is guessed.
const TRIES_MOST: u32 = 5000;
// PERF: of 1,500 calls of 8 threads on one list of free addresses, 9 of 48 searches found nothing in 5,000
// tries without a limit; with it all did, the longest in 1,963.
const TRIES_OF_A_DIVE: u32 = 40;
/// Steps of all tries of a tick.
const STEPS_MOST: usize = 1 << 19;
/// Steps that all searches of a tick look at in order to find rules.
const LOOKED_AT_MOST: usize = 1 << 26;
/// The length of a tick in the units in which steps are spread over it.
const TICK_UNITS: u64 = 1 << 40;
// PERF: threads take turns of a 64th of a tick; turns of single steps cost a heap operation each.
const TURN_UNITS: u64 = TICK_UNITS / 64;

/// The steps of one thread in a tick.
#[derive(Default)]
pub(super) struct Lane {
    /// The number of the thread's stream.
    pub(super) stream: u32,
    pub(super) steps: Vec<Step>,
    /// How many of them are done.
    pub(super) done: usize,
    /// The thread at the beginning of the tick, and now.
    before: ThreadState,
    pub(super) state: ThreadState,
    /// Where in the tick the next step is.
    at_units: u64,
    step_units: u64,
}

impl Lane {
    fn rewind(&mut self) {
        self.done = 0;
        self.state = self.before;
        self.step_units = TICK_UNITS / self.steps.len().max(1) as u64;
        self.at_units = self.step_units / 2;
    }
}

/// Names a step: its lane, and its place there.
type Place = (u32, u32);

/// A step that must come before another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    before: Place,
    after: Place,
}

/// What happens to a step whose address is not as it must be but may be changed by other threads' steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It waits; when all wait, the try has failed.
    Search,
    /// It waits; when all wait, one is done regardless.
    Guess,
}

/// Settles the order of ticks; keeps its tables from one to the next.
#[derive(Default)]
pub(super) struct Settler {
    ready: BinaryHeap<Reverse<(u64, u32)>>,
    /// Lanes that wait for a change at an address.
    waiting: HashMap<u64, Vec<u32>, FxBuildHasher>,
    /// Lanes that wait for a rule's first step.
    waiting_rule: Vec<u32>,
    users: Users,
    tries: u32,
    steps: usize,
    looked_at: usize,
    /// Searches of this tick that were given up, and how many tries the present one has made.
    dives: u64,
    dive_end: u32,
}

/// Which steps of the tick concern an address: built when first needed.
#[derive(Default)]
struct Users {
    made: bool,
    /// By address, then as the lanes have them.
    entries: Vec<User>,
    /// For each address, which groups are its.
    groups_of: HashMap<u64, Range<u32>, FxBuildHasher>,
    groups: Vec<Group>,
}

/// A step that concerns an address.
struct User {
    address: u64,
    place: Place,
    need: Need,
    /// Steps of the same lane and address before it that need it vacant, and released.
    before: Counts,
}

/// One lane's steps that concern an address.
struct Group {
    lane: u32,
    entries: Range<u32>,
    all: Counts,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    vacant: u32,
    released: u32,
}

impl Counts {
    fn add(&mut self, need: Need) {
        self.vacant += u32::from(need == Need::Vacant);
        self.released += u32::from(need == Need::Released);
    }
}

impl Users {
    fn make(&mut self, lanes: &[Lane]) {
        self.made = true;
        self.entries.clear();
        self.groups.clear();
        self.groups_of.clear();
        for (lane, found) in lanes.iter().enumerate() {
            for (at, step) in found.steps.iter().enumerate() {
                let (address, need) = (step.address, step.need());
                if need != Need::Nothing {
                    let place = (lane as u32, at as u32);
                    self.entries.push(User { address, place, need, before: Counts::default() });
                }
            }
        }
        self.entries.sort_by_key(|user| user.address);
        let mut before = None;
        for (at, user) in (0..).zip(&mut self.entries) {
            let lane = user.place.0;
            if before != Some((user.address, lane)) {
                before = Some((user.address, lane));
                let group = self.groups.len() as u32;
                self.groups_of.entry(user.address).or_insert(group..group).end += 1;
                self.groups.push(Group { lane, entries: at..at, all: Counts::default() });
            }
            if let Some(group) = self.groups.last_mut() {
                user.before = group.all;
                group.all.add(user.need);
                group.entries.end += 1;
            }
        }
    }

    fn groups(&self, address: u64) -> &[Group] {
        let range = self.groups_of.get(&address).cloned().unwrap_or(0..0);
        &self.groups[range.start as usize..range.end as usize]
    }

    fn entries(&self, group: &Group) -> &[User] {
        &self.entries[group.entries.start as usize..group.entries.end as usize]
    }

    /// Of a group's steps, those that are not among its lane's first `done`.
    fn undone(&self, group: &Group, done: usize) -> Counts {
        let entries = self.entries(group);
        let first = entries.partition_point(|user| (user.place.1 as usize) < done);
        let before = entries.get(first).map_or(group.all, |user| user.before);
        Counts { vacant: group.all.vacant - before.vacant, released: group.all.released - before.released }
    }

    /// The steps that concern an address, the last first.
    fn of(&self, address: u64) -> impl Iterator<Item = (Place, Need)> + '_ {
        let entries = self.groups(address).iter().rev().flat_map(|group| self.entries(group).iter().rev());
        entries.map(|user| (user.place, user.need))
    }
}

impl Settler {
    /// Does all steps of `lanes`, in an order that is possible if there is one. If `has_more`, further steps
    /// of the tick are still to come: then it may leave steps undone that wait for them.
    pub(super) fn settle(&mut self, lanes: &mut [Lane], has_more: bool, heap: &mut Heap, out: &mut Output) {
        for lane in lanes.iter_mut() {
            lane.before = lane.state;
            lane.rewind();
        }
        if let [lane] = lanes {
            return settle_alone(lane, heap, out);
        }
        self.users.made = false;
        (self.tries, self.steps, self.looked_at, self.dives) = (0, 0, 0, 0);
        let mark = heap.mark();
        let begin = out.len();
        let rewind = |lanes: &mut [Lane], heap: &mut Heap, out: &mut Output| {
            heap.undo(&mark);
            out.truncate(begin);
            lanes.iter_mut().for_each(Lane::rewind);
        };
        let mut found = self.attempt(lanes, &[], Mode::Search, heap, out) || has_more;
        while !found && self.tries < TRIES_MOST && self.has_time() {
            if self.possible_rules(lanes, &[]).is_empty() {
                break;
            }
            self.dive_end = self.tries + TRIES_OF_A_DIVE;
            found = self.search(lanes, &mut Vec::new(), &rewind, heap, out);
            if !found {
                self.dives += 1;
                rewind(lanes, heap, out);
                found = self.attempt(lanes, &[], Mode::Search, heap, out);
            }
        }
        if !found {
            rewind(lanes, heap, out);
            self.attempt(lanes, &[], Mode::Guess, heap, out);
        }
        heap.keep();
    }

    /// Does waiting steps that no further steps can help: a step is guessed, as often as needed.
    pub(super) fn settle_by_guess(&mut self, lanes: &mut [Lane], heap: &mut Heap, out: &mut Output) {
        for lane in lanes.iter_mut() {
            lane.before = lane.state;
            lane.rewind();
        }
        self.users.made = false;
        self.attempt(lanes, &[], Mode::Guess, heap, out);
    }

    /// Finds rules under which the tick can be done, and leaves it done. It is called with a try that got
    /// stuck, and if it fails, leaves one.
    fn search(
        &mut self,
        lanes: &mut [Lane],
        rules: &mut Vec<Rule>,
        rewind: &dyn Fn(&mut [Lane], &mut Heap, &mut Output),
        heap: &mut Heap,
        out: &mut Output,
    ) -> bool {
        for rule in self.possible_rules(lanes, rules) {
            if self.tries >= self.dive_end || !self.has_time() {
                return false;
            }
            rules.push(rule);
            rewind(lanes, heap, out);
            if self.attempt(lanes, rules, Mode::Search, heap, out)
                || self.search(lanes, rules, rewind, heap, out)
            {
                return true;
            }
            rules.pop();
        }
        false
    }

    fn has_time(&self) -> bool {
        self.steps < STEPS_MOST && self.looked_at < LOOKED_AT_MOST
    }

    /// The rules that may unblock a stuck try: a waiting step before one that changed its address.
    fn possible_rules(&mut self, lanes: &[Lane], rules: &[Rule]) -> Vec<Rule> {
        let mut found = Vec::new();
        let mut looked_at = 0;
        for (lane, waiting) in lanes.iter().enumerate() {
            let Some(step) = waiting.steps.get(waiting.done) else { continue };
            if step.need() == Need::Nothing {
                continue;
            }
            let before = (lane as u32, waiting.done as u32);
            for (after, need) in self.users.of(step.address) {
                looked_at += 1;
                let done = (after.1 as usize) < lanes[after.0 as usize].done;
                let rule = Rule { before, after };
                if done && after.0 != before.0 && need != Need::Held && !rules.contains(&rule) {
                    let units = lanes[after.0 as usize].step_units * u64::from(after.1);
                    let rank = if self.dives == 0 { units } else { self.shuffle(rule) };
                    found.push((Reverse(rank), rule));
                }
            }
        }
        self.looked_at += looked_at;
        // The latest change first: it is the nearest to what got stuck.
        found.sort_by_key(|(units, _)| *units);
        found.into_iter().map(|(_, rule)| rule).collect()
    }

    /// A number for `rule` that differs in each dive.
    fn shuffle(&self, rule: Rule) -> u64 {
        let name = [rule.before.0, rule.before.1, rule.after.0, rule.after.1, self.tries];
        name.into_iter().fold(self.dives, |sum, part| {
            (sum.rotate_left(23) ^ u64::from(part)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    }

    /// Does what can be done of the tick under `rules`; says whether that is everything.
    fn attempt(
        &mut self,
        lanes: &mut [Lane],
        rules: &[Rule],
        mode: Mode,
        heap: &mut Heap,
        out: &mut Output,
    ) -> bool {
        self.tries += 1;
        self.ready.clear();
        self.waiting.clear();
        self.waiting_rule.clear();
        for (lane, found) in lanes.iter().enumerate() {
            self.ready.push(Reverse((found.at_units, lane as u32)));
        }
        loop {
            while let Some(Reverse((_, lane))) = self.ready.pop() {
                self.run(lane, lanes, rules, heap, out);
            }
            if self.waiting.is_empty() && self.waiting_rule.is_empty() {
                return true;
            }
            if mode == Mode::Search {
                return false;
            }
            self.guess(lanes, heap, out);
        }
    }

    /// Does steps of `lane` until it is another lane's turn, or a step must wait.
    fn run(&mut self, lane: u32, lanes: &mut [Lane], rules: &[Rule], heap: &mut Heap, out: &mut Output) {
        let mut until = self.turn_end();
        loop {
            let own = &mut lanes[lane as usize];
            let Some(&step) = own.steps.get(own.done) else { return };
            if own.at_units > until {
                self.ready.push(Reverse((own.at_units, lane)));
                return;
            }
            let place = (lane, own.done as u32);
            if !rules.is_empty() && waits_by_rule(place, rules, lanes) {
                self.waiting_rule.push(lane);
                return;
            }
            let own = &mut lanes[lane as usize];
            if !heap.try_step(&step, own.stream, &mut own.state, out) {
                if self.is_worth_waiting(lane, &step, lanes) {
                    self.waiting.entry(step.address).or_default().push(lane);
                    return;
                }
                let own = &mut lanes[lane as usize];
                heap.do_unproven(&step, own.stream, &mut own.state, out);
            }
            let own = &mut lanes[lane as usize];
            own.done += 1;
            own.at_units += own.step_units;
            self.steps += 1;
            if self.wake(&step, place, rules, lanes) {
                until = self.turn_end();
            }
        }
    }

    fn turn_end(&self) -> u64 {
        self.ready.peek().map_or(u64::MAX, |Reverse((next, _))| next + TURN_UNITS)
    }

    /// Whether other threads' steps can make the address of `step` as it must be, or would have done so in
    /// another order. If not, a call is missing from the recording.
    fn is_worth_waiting(&mut self, lane: u32, step: &Step, lanes: &[Lane]) -> bool {
        if !self.users.made {
            self.users.make(lanes);
        }
        let is_vacant_wanted = step.need() != Need::Vacant;
        // Live blocks at the address, now and once the whole tick is done.
        let mut live = i64::from(step.need() == Need::Vacant);
        let mut is_shared = false;
        for group in self.users.groups(step.address) {
            let undone = self.users.undone(group, lanes[group.lane as usize].done);
            if group.lane != lane {
                let wanted = if is_vacant_wanted { undone.vacant } else { undone.released };
                if wanted > 0 {
                    return true;
                }
                is_shared |= group.all.vacant + group.all.released > 0;
            }
            live += i64::from(undone.vacant) - i64::from(undone.released);
        }
        // As many allocations as frees, or one more: they alternate in some order.
        is_shared && (0..=1).contains(&live)
    }

    /// Wakes the lanes that waited for what `step` changed; says whether there were any.
    fn wake(&mut self, step: &Step, place: Place, rules: &[Rule], lanes: &[Lane]) -> bool {
        let mut woken = false;
        if !self.waiting.is_empty()
            && step.need() != Need::Nothing
            && let Some(waiting) = self.waiting.remove(&step.address)
        {
            for lane in waiting {
                self.ready.push(Reverse((lanes[lane as usize].at_units, lane)));
            }
            woken = true;
        }
        if !self.waiting_rule.is_empty() && rules.iter().any(|rule| rule.before == place) {
            for lane in self.waiting_rule.drain(..) {
                self.ready.push(Reverse((lanes[lane as usize].at_units, lane)));
            }
            woken = true;
        }
        woken
    }

    /// Does one of the waiting steps regardless: an allocation if there is one, the earliest of them.
    fn guess(&mut self, lanes: &mut [Lane], heap: &mut Heap, out: &mut Output) {
        let waiting = self.waiting.values().flatten().copied();
        let Some(lane) = waiting.min_by_key(|&lane| {
            let own = &lanes[lane as usize];
            (own.steps[own.done].need() != Need::Vacant, own.at_units, lane)
        }) else {
            return;
        };
        let own = &mut lanes[lane as usize];
        let step = own.steps[own.done];
        heap.do_guessed(&step, own.stream, &mut own.state, out);
        own.done += 1;
        own.at_units += own.step_units;
        let at = own.at_units;
        let place = (lane, own.done as u32 - 1);
        if let Some(waiting) = self.waiting.get_mut(&step.address) {
            waiting.retain(|&waits| waits != lane);
            if waiting.is_empty() {
                self.waiting.remove(&step.address);
            }
        }
        self.ready.push(Reverse((at, lane)));
        self.wake(&step, place, &[], lanes);
    }
}

fn waits_by_rule(place: Place, rules: &[Rule], lanes: &[Lane]) -> bool {
    rules
        .iter()
        .any(|rule| rule.after == place && lanes[rule.before.0 as usize].done <= rule.before.1 as usize)
}

/// A tick of one thread has one order.
fn settle_alone(lane: &mut Lane, heap: &mut Heap, out: &mut Output) {
    for step in &lane.steps {
        if !heap.try_step(step, lane.stream, &mut lane.state, out) {
            heap.do_unproven(step, lane.stream, &mut lane.state, out);
        }
    }
    lane.done = lane.steps.len();
}
