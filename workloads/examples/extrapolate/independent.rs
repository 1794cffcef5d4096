//! The baseline that load generators often use: sizes and lifetimes drawn independently of each other and of everything
//! else, by size class.

use std::collections::BTreeMap;

use heaplab_trace::{Action, Record};
use heaplab_workloads::stream::RecordStream;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Classes per doubling of the size.
const CLASSES: f64 = 4.0;

/// The objects of one size class.
#[derive(Default)]
struct Class {
    sizes: Vec<u64>,
    /// None for an object that was live at the end.
    lives_ns: Vec<Option<u64>>,
}

/// What a recording's objects look like, one by one.
pub(crate) struct Independent {
    classes: Vec<Class>,
    /// The class of each object that was allocated.
    drawn: Vec<u32>,
    length_ns: u64,
}

impl Independent {
    /// Reads a recording. A realloc ends one object and starts another.
    pub(crate) fn of(stream: &mut dyn RecordStream) -> Independent {
        let mut live: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut found: Vec<(u64, Option<u64>)> = Vec::new();
        let mut now = 0;
        while let Some(record) = stream.next().expect("a record") {
            let Record::Event(event) = record else { continue };
            now = event.time_ns;
            let ended = match event.action {
                Action::Realloc { object, .. } => Some(object),
                action => action.freed(),
            };
            if let Some((born, size)) = ended.and_then(|object| live.remove(&object)) {
                found.push((size, Some(now - born)));
            }
            let begun = match event.action {
                Action::Realloc { object, size } => Some((object, size)),
                action => action.allocated(),
            };
            if let Some((object, size)) = begun {
                live.insert(object, (now, size));
            }
        }
        found.extend(live.into_values().map(|(_, size)| (size, None)));
        let mut classes: Vec<Class> = Vec::new();
        let mut drawn = Vec::with_capacity(found.len());
        for (size, life) in found {
            let class = ((size.max(1) as f64).log2() * CLASSES) as usize;
            if classes.len() <= class {
                classes.resize_with(class + 1, Class::default);
            }
            classes[class].sizes.push(size);
            classes[class].lives_ns.push(life);
            drawn.push(class as u32);
        }
        Independent { classes, drawn, length_ns: now }
    }

    /// Peak and mean of requested bytes at so many times the recorded load, over `length_ns`.
    pub(crate) fn figures(&self, times: f64, length_ns: u64, seed: u64) -> [f64; 2] {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let lengths = length_ns as f64 / self.length_ns.max(1) as f64;
        let count = (self.drawn.len() as f64 * times * lengths).round() as u64;
        let mut changes: Vec<(u64, i64)> = Vec::new();
        let mut byte_ns = 0.0;
        for _ in 0..count {
            let class = &self.classes[self.drawn[random.random_range(0..self.drawn.len())] as usize];
            let size = class.sizes[random.random_range(0..class.sizes.len())];
            let life = class.lives_ns[random.random_range(0..class.lives_ns.len())];
            let born = random.random_range(0..length_ns.max(1));
            let dies = life.map_or(length_ns, |life| born.saturating_add(life).min(length_ns));
            changes.push((born, size as i64));
            changes.push((dies, -(size as i64)));
            byte_ns += size as f64 * (dies - born) as f64;
        }
        changes.sort_unstable();
        let (mut live, mut peak) = (0, 0);
        for (_, change) in changes {
            live += change;
            peak = peak.max(live);
        }
        [peak as f64, byte_ns / length_ns.max(1) as f64]
    }
}
