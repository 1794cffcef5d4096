//! The objects of a part that survive it, and the laws that a part must obey: a file may hold anything.

use rustc_hash::FxHashSet;

use super::parts::{Kind, NO_OBJECT, Part, Step, octave, size_class};

/// An object that is live when its part ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Survivor {
    pub(super) object: u32,
    /// Where its steps begin in `later`, where the unanchored ones end, and where all end.
    pub(super) from: u32,
    pub(super) anchored_from: u32,
    pub(super) to: u32,
    pub(super) birth_ns: u64,
    pub(super) bytes_at_end: u64,
    pub(super) class: u32,
    pub(super) octave: u32,
    pub(super) thread: u32,
    /// Whether its free was seen before the shutdown.
    pub(super) is_freed: bool,
}

/// A part that can be played.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Playable {
    pub(super) part: Part,
    pub(super) survivors: Vec<Survivor>,
    /// Where the steps of `later` that concern no object begin.
    pub(super) threads_from: u32,
}

struct Object {
    is_live: bool,
    birth_ns: u64,
    bytes: u64,
    birth_bytes: u64,
    thread: u32,
}

impl Playable {
    /// Checks a part's laws and finds its survivors.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(super) fn new(part: Part, threads: u32, marks: usize) -> Result<Playable, String> {
        let mut objects: Vec<Object> = Vec::new();
        let mut time_ns = 0;
        for step in &part.steps {
            check(step, threads, marks)?;
            if step.is_anchored || step.time_ns < time_ns {
                return Err("a part's steps are out of order".to_owned());
            }
            time_ns = step.time_ns;
            if step.kind.allocates() {
                if step.object as usize != objects.len() {
                    return Err("a part's objects are not numbered in order".to_owned());
                }
                let (birth_ns, bytes, thread) = (step.time_ns, step.bytes, step.thread);
                objects.push(Object { is_live: true, birth_ns, bytes, birth_bytes: bytes, thread });
            } else if step.kind.has_object() {
                live(&mut objects, step)?;
            }
        }
        if objects.len() != part.objects as usize {
            return Err("a part has another number of objects than it states".to_owned());
        }
        let threads_from = part.later.partition_point(|step| step.object < NO_OBJECT);
        let survivors = survivors(&mut objects, &part.later[..threads_from], threads, marks)?;
        for step in &part.later[threads_from..] {
            check(step, threads, marks)?;
            if step.kind != Kind::ThreadEnd {
                return Err("something of no object happens after its part".to_owned());
            }
        }
        let ended = part.steps.iter().chain(&part.later).filter(|step| step.kind == Kind::ThreadEnd);
        let mut has_ended = FxHashSet::default();
        if !ended.map(|step| step.thread).all(|thread| has_ended.insert(thread)) {
            return Err("a thread ends twice in a part".to_owned());
        }
        Ok(Playable { part, survivors, threads_from: threads_from as u32 })
    }

    /// The steps after the part that concern no object: thread ends.
    pub(super) fn thread_ends(&self) -> &[Step] {
        &self.part.later[self.threads_from as usize..]
    }
}

/// The objects that are live at the part's end, each with its steps of `later`.
fn survivors(
    objects: &mut [Object],
    later: &[Step],
    threads: u32,
    marks: usize,
) -> Result<Vec<Survivor>, String> {
    let mut found: Vec<Survivor> = objects
        .iter()
        .enumerate()
        .filter(|(_, object)| object.is_live)
        .map(|(number, object)| Survivor {
            object: number as u32,
            from: 0,
            anchored_from: 0,
            to: 0,
            birth_ns: object.birth_ns,
            bytes_at_end: object.bytes,
            class: size_class(object.birth_bytes) as u32,
            octave: octave(object.birth_bytes) as u32,
            thread: object.thread,
            is_freed: false,
        })
        .collect();
    let mut at = 0;
    for survivor in &mut found {
        survivor.from = at as u32;
        survivor.anchored_from = at as u32;
        let mut before = (false, 0);
        while let Some(step) = later.get(at).filter(|step| step.object == survivor.object) {
            check(step, threads, marks)?;
            let place = (step.is_anchored, step.time_ns);
            if place < before || step.kind.allocates() || !step.kind.has_object() {
                return Err("what happens to a survivor is out of order".to_owned());
            }
            live(objects, step)?;
            before = place;
            at += 1;
            if !step.is_anchored {
                survivor.anchored_from = at as u32;
                survivor.is_freed |= step.kind.frees();
            }
        }
        survivor.to = at as u32;
    }
    if at != later.len() {
        return Err("something happens to an object that is not live".to_owned());
    }
    Ok(found)
}

fn live(objects: &mut [Object], step: &Step) -> Result<(), String> {
    match objects.get_mut(step.object as usize).filter(|object| object.is_live) {
        None => Err("something happens to an object that is not live".to_owned()),
        Some(object) => {
            object.is_live = !step.kind.frees();
            if step.kind == Kind::Realloc {
                object.bytes = step.bytes;
            }
            Ok(())
        }
    }
}

fn check(step: &Step, threads: u32, marks: usize) -> Result<(), String> {
    if step.thread >= threads {
        return Err(format!("thread {} is not among its {threads}", step.thread));
    }
    if step.time_ns > super::parts::MOST_NS {
        return Err("a time is beyond 100,000 hours".to_owned());
    }
    if step.kind.has_object() == (step.object == NO_OBJECT) || step.alignment_bits > 63 {
        return Err("a step is not understood".to_owned());
    }
    if step.kind == Kind::Mark && step.bytes >= marks as u64 {
        return Err("a mark is not in the table of marks".to_owned());
    }
    Ok(())
}
