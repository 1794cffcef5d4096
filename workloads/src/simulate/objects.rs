//! Parsed objects: what each one is, from a single draw, and runs of those that lie in pools.
//!
//! PERF: a request makes thousands of objects, most of which lie in an interpreter's pools and cause no
//! event. One lookup gives both the size and whether the object is a container, and objects in pools are only
//! counted by class: a [`Run`] puts them into the pools together.

use heaplab_trace::ThreadId;

use super::block::Block;
use super::definition::Parsed;
use super::distribution::{Sizes, Tails};
use super::heap::{Heap, Kind};
use super::random::{INDICES, Random};
use super::table::{Part, quantiles, represents};

/// Size classes of the runtime with the most.
const CLASSES: usize = 64;
/// Leaves by class, then containers by class.
const SLOTS: usize = 2 * CLASSES;
/// In place of a slot: the object is malloc's.
const NO_SLOT: u8 = u8::MAX;

/// Sizes and kinds of parsed objects: one entry for each of equal parts of all objects, containers first.
#[derive(Debug)]
pub(super) struct ObjectTable {
    slots: Box<[u8; INDICES]>,
    sizes: Vec<u32>,
    containers: usize,
    /// In place of the entries, if they do not represent the sizes.
    exact: Option<Box<Exact>>,
    /// The share of objects that are containers of malloc's.
    pub(super) large_containers: f64,
}

/// The distributions of parsed objects.
#[derive(Debug)]
struct Exact {
    container: Sizes,
    string: Sizes,
    /// The share of containers.
    containers: f64,
    /// Slots of leaves, by size.
    slots: Vec<u8>,
}

/// An object that was drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn {
    pub(super) size: u64,
    pub(super) kind: Kind,
    /// Whether it lies in a pool.
    pub(super) is_small: bool,
}

impl ObjectTable {
    /// The table of the objects of `plan` on `heap`.
    pub(super) fn new(plan: &Parsed, heap: &Heap) -> ObjectTable {
        let containers = (plan.containers * INDICES as f64).round() as usize;
        let mut sizes = quantiles(&plan.container, containers);
        sizes.extend(quantiles(&plan.string, INDICES - containers));
        let slot_of = |first: usize, size: u64| {
            let class = heap.class(size).filter(|class| *class < CLASSES);
            class.map_or(NO_SLOT, |class| (first + class) as u8)
        };
        let (of_containers, of_strings) = sizes.split_at(containers);
        let parts = [
            Part { quantiles: of_containers, sizes: &plan.container, share: plan.containers },
            Part { quantiles: of_strings, sizes: &plan.string, share: 1.0 - plan.containers },
        ];
        if !represents(&parts) {
            let large = Tails::of(&plan.container).at(heap.largest_small() + 1).0;
            let exact = Exact {
                container: plan.container.clone(),
                string: plan.string.clone(),
                containers: plan.containers,
                slots: (0..=heap.largest_small()).map(|size| slot_of(0, size)).collect(),
            };
            return ObjectTable {
                slots: Box::new([NO_SLOT; INDICES]),
                sizes,
                containers,
                exact: Some(Box::new(exact)),
                large_containers: plan.containers * large,
            };
        }
        let slot = |(index, size): (usize, &u32)| {
            slot_of(if index < containers { CLASSES } else { 0 }, u64::from(*size))
        };
        let mut slots = Box::new([NO_SLOT; INDICES]);
        slots.iter_mut().zip(sizes.iter().enumerate().map(slot)).for_each(|(entry, slot)| *entry = slot);
        let large = slots[..containers].iter().filter(|slot| **slot == NO_SLOT).count();
        let large_containers = large as f64 / INDICES as f64;
        ObjectTable { slots, sizes, containers, exact: None, large_containers }
    }

    fn drawn(&self, index: usize) -> Drawn {
        Drawn {
            size: self.sizes[index].into(),
            kind: if index < self.containers { Kind::Container } else { Kind::Leaf },
            is_small: self.slots[index] != NO_SLOT,
        }
    }
}

impl Exact {
    /// An object, and its slot.
    fn draw(&self, random: &mut Random) -> (Drawn, usize) {
        let is_container = random.chance(self.containers);
        let (sizes, kind, first) = match is_container {
            true => (&self.container, Kind::Container, CLASSES),
            false => (&self.string, Kind::Leaf, 0),
        };
        let size = sizes.draw(random, 1.0);
        let slot = self.slots.get(size as usize).copied().filter(|slot| *slot != NO_SLOT);
        let slot = slot.map_or(usize::from(NO_SLOT), |slot| first + usize::from(slot));
        (Drawn { size, kind, is_small: slot < SLOTS }, slot)
    }
}

/// Pool objects that have been drawn but not placed yet, counted by class and kind.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Counts by slot. Created with the first object, and kept for the next run.
    counts: Option<Box<[u32; SLOTS]>>,
    objects: u32,
}

impl Run {
    /// Draws up to `count` objects and adds them, as long as they go into pools and no more than `room` of
    /// them are containers. Returns how many it added, how many of these are containers, and the object drawn
    /// after them that could not be added.
    #[inline]
    pub(super) fn draw(
        &mut self,
        table: &ObjectTable,
        random: &mut Random,
        count: u32,
        room: u64,
    ) -> (u32, u64, Option<Drawn>) {
        if let Some(exact) = &table.exact {
            return self.draw_exact(exact, random, count, room);
        }
        let (mut added, mut containers, mut left_over) = (0, 0, None);
        let counts = self.counts.get_or_insert_with(|| Box::new([0; SLOTS]));
        'drawing: while added < count {
            let indices = random.indices();
            let slots = indices.map(|index| table.slots[index]);
            let of_these: u64 = slots.map(|slot| u64::from((slot / CLASSES as u8) & 1)).iter().sum();
            // PERF: nearly always all four can be added at once.
            let are_small = slots.iter().fold(0, |bits, slot| bits | slot) < SLOTS as u8;
            if are_small && added + 4 <= count && containers + of_these <= room {
                slots.iter().for_each(|slot| counts[usize::from(*slot) % SLOTS] += 1);
                added += 4;
                containers += of_these;
                continue;
            }
            for (index, slot) in indices.into_iter().zip(slots.map(usize::from)) {
                if added == count {
                    break 'drawing;
                }
                let container = u64::from(slot >= CLASSES);
                if slot >= SLOTS || containers + container > room {
                    left_over = Some(table.drawn(index));
                    break 'drawing;
                }
                containers += container;
                counts[slot] += 1;
                added += 1;
            }
        }
        self.objects += added;
        (added, containers, left_over)
    }

    /// The same with each object drawn by itself.
    fn draw_exact(
        &mut self,
        exact: &Exact,
        random: &mut Random,
        count: u32,
        room: u64,
    ) -> (u32, u64, Option<Drawn>) {
        let (mut added, mut containers, mut left_over) = (0, 0, None);
        let counts = self.counts.get_or_insert_with(|| Box::new([0; SLOTS]));
        while added < count {
            let (drawn, slot) = exact.draw(random);
            let container = u64::from(drawn.kind == Kind::Container);
            if !drawn.is_small || containers + container > room {
                left_over = Some(drawn);
                break;
            }
            containers += container;
            counts[slot] += 1;
            added += 1;
        }
        self.objects += added;
        (added, containers, left_over)
    }

    /// Adds an object of `class`.
    pub(super) fn add(&mut self, kind: Kind, class: usize) {
        let slot = class + if kind == Kind::Container { CLASSES } else { 0 };
        self.counts.get_or_insert_with(|| Box::new([0; SLOTS]))[slot] += 1;
        self.objects += 1;
    }

    /// Objects in it.
    pub(super) fn objects(&self) -> u32 {
        self.objects
    }

    /// Puts its objects into the pools, allocated by `thread`, and adds them to `blocks`.
    pub(super) fn place(&mut self, thread: ThreadId, heap: &mut Heap, blocks: &mut Vec<Block>) {
        let Some(counts) = self.counts.as_mut().filter(|_| self.objects > 0) else { return };
        let (leaves, containers) = counts.split_at_mut(CLASSES);
        for (class, (leaves, containers)) in leaves.iter_mut().zip(containers).enumerate() {
            if *leaves + *containers > 0 {
                heap.adopt_small(thread, class, *leaves, *containers, blocks);
                (*leaves, *containers) = (0, 0);
            }
        }
        self.objects = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::distribution::Shape;
    use super::super::weights::SizeWeights;
    use super::*;
    use crate::simulate::tests::{bare_heap, definition, python_heap};

    #[test]
    fn draws_have_the_shares_that_are_asked_for() {
        const DRAWS: u32 = 100_000;
        let table = ObjectTable::new(&definition().parsed, &python_heap());
        let (mut run, mut random) = (Run::default(), Random::new(1, 0));
        let (mut drawn, mut containers, mut large, mut large_containers) = (0, 0, 0, 0);
        while drawn < DRAWS {
            let (added, of_these, left_over) = run.draw(&table, &mut random, DRAWS - drawn, u64::MAX);
            drawn += added;
            containers += of_these;
            if let Some(object) = left_over {
                assert!(!object.is_small && object.size > 256);
                drawn += 1;
                large += 1;
                large_containers += u64::from(object.kind == Kind::Container);
            }
        }
        let share = |count: u64| count as f64 / f64::from(DRAWS);
        assert!((share(containers + large_containers) - 0.25).abs() < 0.005, "{containers}");
        assert!((share(large_containers) - table.large_containers).abs() < 0.002, "{large_containers}");
        assert_eq!(u64::from(run.objects()) + large, u64::from(DRAWS));
    }

    #[test]
    fn rare_sizes_come_as_often_as_their_weights_say() {
        const DRAWS: u32 = 400_000;
        let sizes = SizeWeights::parse("56,99950\n1000000,50\n", "sizes.csv", (1, 1 << 20)).unwrap();
        let mut plan = definition().parsed;
        plan.string =
            Sizes { shape: Shape::Empirical(sizes), median_bytes: 56, min_bytes: 1, max_bytes: 1 << 20 };
        for heap in [python_heap(), bare_heap()] {
            let table = ObjectTable::new(&plan, &heap);
            let (mut run, mut random) = (Run::default(), Random::new(1, 0));
            let (mut drawn, mut containers, mut large_containers, mut rare) = (0, 0, 0, 0);
            while drawn < DRAWS {
                let (added, of_these, left_over) = run.draw(&table, &mut random, DRAWS - drawn, u64::MAX);
                drawn += added + u32::from(left_over.is_some());
                containers += of_these;
                if let Some(object) = left_over {
                    assert!(!object.is_small);
                    large_containers += u64::from(object.kind == Kind::Container);
                    rare += u64::from(object.size == 1_000_000);
                }
            }
            let share = |count: u64| count as f64 / f64::from(DRAWS);
            assert!((share(rare) / (0.75 * 5e-4) - 1.0).abs() < 0.2, "{rare}");
            assert!((share(containers + large_containers) - 0.25).abs() < 0.005, "{containers}");
            assert!((share(large_containers) - table.large_containers).abs() < 0.002, "{large_containers}");
        }
    }

    #[test]
    fn without_pools_every_object_is_malloc_s() {
        let table = ObjectTable::new(&definition().parsed, &bare_heap());
        let (mut run, mut random) = (Run::default(), Random::new(1, 0));
        for _ in 0..100 {
            let (added, containers, left_over) = run.draw(&table, &mut random, 50, u64::MAX);
            assert_eq!((added, containers), (0, 0));
            assert!(left_over.is_some_and(|object| !object.is_small));
        }
    }

    #[test]
    fn a_run_ends_before_a_container_that_is_too_much() {
        let table = ObjectTable::new(&definition().parsed, &python_heap());
        let (mut run, mut random) = (Run::default(), Random::new(1, 0));
        for room in [0, 1, 7] {
            let (added, containers, left_over) = run.draw(&table, &mut random, 1000, room);
            assert_eq!((containers, left_over.map(|object| object.kind)), (room, Some(Kind::Container)));
            assert!(u64::from(added) >= room);
        }
    }

    #[test]
    fn a_run_places_what_was_added() {
        let (mut heap, mut run, mut blocks) = (python_heap(), Run::default(), Vec::new());
        for index in 0..1000 {
            let kind = if index % 4 == 0 { Kind::Container } else { Kind::Leaf };
            run.add(kind, index % 32);
        }
        assert_eq!(run.objects(), 1000);
        run.place(0, &mut heap, &mut blocks);
        assert_eq!((run.objects(), run.counts), (0, Some(Box::new([0; SLOTS]))));
        let objects: u32 = blocks.iter().map(Block::count).sum();
        let containers: u32 = blocks.iter().map(Block::containers).sum();
        assert_eq!((objects, containers), (1000, 250));
        assert!(blocks.len() < 100);
        for block in blocks {
            heap.free(0, block);
        }
        heap.shut_down(0);
        assert_eq!(heap.live_bytes(), 0);
    }
}
