//! CPython's layer of pools (its obmalloc.c): small objects in, and where each lies out.
//!
//! Small objects lie in pools of one size class each, pools in arenas. An object goes into the pool at the
//! head of its class's list, to which a full pool returns with its first free. If the list is empty, a free
//! pool is taken from the arena that has the fewest free pools, so that the emptier arenas have a chance to
//! become empty. Only an arena whose pools are all free is given back. This module does the accounting and
//! makes no events: its caller takes arenas and gives them back.
//!
//! PERF: objects of one class are all alike to a pool, so it only counts them, and adds and removes several
//! at once. A request makes thousands of objects, and most cause no event.

use heaplab_trace::ObjectId;

use super::definition::Runtime;

/// Sizes of a runtime's pools and arenas, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Larger objects are malloc's.
    pub(super) small_bytes: u64,
    /// Step from one size class to the next.
    pub(super) class_bytes: u64,
    /// Size of a pool.
    pub(super) pool_bytes: u64,
    /// Size of an arena.
    pub(super) arena_bytes: u64,
    /// Whether arenas are malloc's. If not, they are mapped, and the allocator plays no part in them.
    pub(super) arenas_by_malloc: bool,
    /// Whether the last arena stays when it is empty.
    pub(super) keeps_last: bool,
}

/// Bytes at the head of a pool that hold no object, on 64 bits.
const POOL_HEADER_BYTES: u64 = 48;

impl Geometry {
    /// The geometry of `runtime`, if it has pools.
    pub(super) fn of(runtime: Runtime) -> Option<Geometry> {
        match runtime {
            Runtime::None => None,
            Runtime::CPython27 => Some(Geometry {
                small_bytes: 256,
                class_bytes: 8,
                pool_bytes: 4 << 10,
                arena_bytes: 256 << 10,
                arenas_by_malloc: true,
                keeps_last: false,
            }),
            Runtime::CPython3 => Some(Geometry {
                small_bytes: 512,
                class_bytes: 16,
                pool_bytes: 16 << 10,
                arena_bytes: 1 << 20,
                arenas_by_malloc: false,
                keeps_last: true,
            }),
        }
    }

    /// Pools in an arena. A block from malloc does not start at a page boundary, which costs one of them.
    fn pools(&self) -> u32 {
        (self.arena_bytes / self.pool_bytes) as u32 - u32::from(self.arenas_by_malloc)
    }

    /// Size classes.
    pub(super) fn classes(&self) -> usize {
        (self.small_bytes / self.class_bytes) as usize
    }

    fn class(&self, size: u64) -> usize {
        ((size - 1) / self.class_bytes) as usize
    }

    fn capacity(&self, class: usize) -> u16 {
        ((self.pool_bytes - POOL_HEADER_BYTES) / ((class as u64 + 1) * self.class_bytes)) as u16
    }
}

/// No pool, no arena: the end of a list.
const NONE: u32 = u32::MAX;
/// Pools are numbered as if each arena had this many, the most that any has.
const ARENA_STRIDE: u32 = 64;

/// The pools of a process.
#[derive(Debug)]
pub(super) struct Pools {
    geometry: Geometry,
    /// By class: the first pool that is neither full nor empty.
    heads: Vec<u32>,
    /// By class: how many objects a pool can hold.
    capacities: Vec<u16>,
    pools: Vec<Pool>,
    arenas: Vec<Arena>,
    /// Numbers of arenas that were given back.
    vacant: Vec<u32>,
    /// By the number of their free pools: the first of the arenas that have so many.
    usable: [u32; ARENA_STRIDE as usize + 1],
    /// The lists of `usable` that are not empty: one bit each, starting with one free pool.
    usable_bits: u64,
    held: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pool {
    class: u16,
    /// How many objects it holds, and how many it can hold.
    used: u16,
    capacity: u16,
    previous: u32,
    /// For a free pool: the next free pool of its arena.
    next: u32,
}

const EMPTY: Pool = Pool { class: 0, used: 0, capacity: 0, previous: NONE, next: NONE };

#[derive(Debug)]
struct Arena {
    /// The object that it is; none if it is mapped.
    object: Option<ObjectId>,
    /// Free pools, including those never taken.
    free: u32,
    /// The last pool that was given back: the next to take.
    first_free: u32,
    /// The next pool that was never taken.
    untouched: u32,
    previous: u32,
    next: u32,
}

impl Pools {
    pub(super) fn new(geometry: Geometry) -> Pools {
        let classes = geometry.classes();
        Pools {
            geometry,
            heads: vec![NONE; classes],
            capacities: (0..classes).map(|class| geometry.capacity(class)).collect(),
            pools: Vec::new(),
            arenas: Vec::new(),
            vacant: Vec::new(),
            usable: [NONE; ARENA_STRIDE as usize + 1],
            usable_bits: 0,
            held: 0,
        }
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Arenas held now.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// The class of an object of `size` bytes, if it lies in a pool.
    #[inline]
    pub(super) fn class(&self, size: u64) -> Option<usize> {
        (1..=self.geometry.small_bytes).contains(&size).then(|| self.geometry.class(size))
    }

    /// The largest size that lies in a pool.
    pub(super) fn largest_small(&self) -> u64 {
        self.geometry.small_bytes
    }

    /// Bytes of a place in the pools of `class`.
    pub(super) fn place_bytes(&self, class: usize) -> u64 {
        (class as u64 + 1) * self.geometry.class_bytes
    }

    /// Whether an object in `pool` stays where it is when it is resized to `size` bytes: it does if it fits
    /// and would not leave a quarter of its place unused.
    pub(super) fn stays(&self, pool: u32, size: u64) -> bool {
        let place_bytes = self.place_bytes(self.pools[pool as usize].class as usize);
        size <= place_bytes && 4 * size > 3 * place_bytes
    }

    /// Puts objects of `class` into a pool, `count` if there is room for that many; returns the pool and how
    /// many it took. None if another arena is needed first.
    #[inline(always)]
    pub(super) fn allocate(&mut self, class: usize, count: u32) -> Option<(u32, u32)> {
        let mut number = self.heads[class];
        if number == NONE {
            number = self.take_free_pool()?;
            let capacity = self.capacities[class];
            self.pools[number as usize] = Pool { class: class as u16, capacity, ..EMPTY };
            self.heads[class] = number;
        }
        let pool = &mut self.pools[number as usize];
        let taken = count.min(u32::from(pool.capacity - pool.used));
        pool.used += taken as u16;
        if pool.used == pool.capacity {
            // It is the head: nothing precedes it.
            let next = pool.next;
            self.heads[class] = next;
            if next != NONE {
                self.pools[next as usize].previous = NONE;
            }
        }
        Some((number, taken))
    }

    /// Takes `count` objects out of `pool`. If this empties an arena that must be given back, returns the
    /// arena's object, or an inner none if it is mapped.
    #[inline(always)]
    pub(super) fn free(&mut self, pool: u32, count: u32) -> Option<Option<ObjectId>> {
        let entry = &mut self.pools[pool as usize];
        let class = usize::from(entry.class);
        let was_full = entry.used == entry.capacity;
        entry.used -= count as u16;
        let empty = entry.used == 0;
        match (was_full, empty) {
            (true, false) => self.link(pool, class),
            (false, true) => self.unlink(pool),
            _ => {}
        }
        if empty { self.give_back_pool(pool) } else { None }
    }

    /// Adds an arena: `object` if it is malloc's.
    pub(super) fn add_arena(&mut self, object: Option<ObjectId>) {
        let number = self.vacant.pop().unwrap_or(self.arenas.len() as u32);
        let free = self.geometry.pools();
        let untouched = number * ARENA_STRIDE;
        let arena = Arena { object, free, first_free: NONE, untouched, previous: NONE, next: NONE };
        if number as usize == self.arenas.len() {
            self.arenas.push(arena);
            self.pools.resize(self.pools.len() + ARENA_STRIDE as usize, EMPTY);
        } else {
            self.arenas[number as usize] = arena;
        }
        self.enter_usable(number);
        self.held += 1;
    }

    /// Takes a free pool from the arena with the fewest: the one given back last, or else the lowest that was
    /// never taken.
    fn take_free_pool(&mut self) -> Option<u32> {
        if self.usable_bits == 0 {
            return None;
        }
        let number = self.usable[self.usable_bits.trailing_zeros() as usize + 1];
        self.leave_usable(number);
        let arena = &mut self.arenas[number as usize];
        let pool = if arena.first_free == NONE {
            arena.untouched += 1;
            arena.untouched - 1
        } else {
            let first = arena.first_free;
            arena.first_free = self.pools[first as usize].next;
            first
        };
        arena.free -= 1;
        if arena.free > 0 {
            self.enter_usable(number);
        }
        Some(pool)
    }

    fn give_back_pool(&mut self, pool: u32) -> Option<Option<ObjectId>> {
        let number = pool / ARENA_STRIDE;
        if self.arenas[number as usize].free > 0 {
            self.leave_usable(number);
        }
        let arena = &mut self.arenas[number as usize];
        self.pools[pool as usize].next = arena.first_free;
        arena.first_free = pool;
        arena.free += 1;
        let stays = self.geometry.keeps_last && self.usable_bits == 0;
        if arena.free < self.geometry.pools() || stays {
            self.enter_usable(number);
            return None;
        }
        self.vacant.push(number);
        self.held -= 1;
        Some(arena.object.take())
    }

    /// Puts arena `number` first among those with as many free pools.
    fn enter_usable(&mut self, number: u32) {
        let arena = &mut self.arenas[number as usize];
        let head = &mut self.usable[arena.free as usize];
        (arena.previous, arena.next) = (NONE, *head);
        let next = std::mem::replace(head, number);
        self.usable_bits |= 1 << (arena.free - 1);
        if next != NONE {
            self.arenas[next as usize].previous = number;
        }
    }

    /// Removes arena `number` from those with as many free pools.
    fn leave_usable(&mut self, number: u32) {
        let Arena { free, previous, next, .. } = self.arenas[number as usize];
        if previous == NONE {
            self.usable[free as usize] = next;
            if next == NONE {
                self.usable_bits &= !(1 << (free - 1));
            }
        } else {
            self.arenas[previous as usize].next = next;
        }
        if next != NONE {
            self.arenas[next as usize].previous = previous;
        }
    }

    /// Puts `pool` at the head of the list of its class.
    fn link(&mut self, pool: u32, class: usize) {
        let next = self.heads[class];
        let entry = &mut self.pools[pool as usize];
        (entry.previous, entry.next) = (NONE, next);
        if next != NONE {
            self.pools[next as usize].previous = pool;
        }
        self.heads[class] = pool;
    }

    /// Removes `pool` from the list of its class.
    fn unlink(&mut self, pool: u32) {
        let Pool { class, previous, next, .. } = self.pools[pool as usize];
        match previous {
            NONE => self.heads[class as usize] = next,
            previous => self.pools[previous as usize].next = next,
        }
        if next != NONE {
            self.pools[next as usize].previous = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pools(runtime: Runtime) -> Pools {
        Pools::new(Geometry::of(runtime).unwrap())
    }

    /// Allocates, with another arena if that is needed; says whether it was.
    fn allocate(pools: &mut Pools, size: u64, arenas: &mut u64) -> u32 {
        allocate_some(pools, size, 1, arenas).0
    }

    fn allocate_some(pools: &mut Pools, size: u64, count: u32, arenas: &mut u64) -> (u32, u32) {
        let class = pools.class(size).unwrap();
        loop {
            if let Some(taken) = pools.allocate(class, count) {
                return taken;
            }
            pools.add_arena(Some(*arenas));
            *arenas += 1;
        }
    }

    #[test]
    fn an_arena_holds_what_its_pools_hold() {
        let (mut pools, mut arenas) = (pools(Runtime::CPython27), 0);
        // 4,048 bytes of 64 are 63 objects, and 63 pools of 4 KiB fit into 256 KiB at an odd address.
        for _ in 0..63 * 63 {
            allocate(&mut pools, 57, &mut arenas);
        }
        assert_eq!(arenas, 1);
        assert!(pools.allocate(7, 1).is_none());
        assert_eq!([256, 257, 0, 1].map(|size| pools.class(size)), [Some(31), None, None, Some(0)]);
    }

    #[test]
    fn one_object_holds_an_arena() {
        let (mut pools, mut arenas) = (pools(Runtime::CPython27), 0);
        let places: Vec<u32> = (0..63 * 63).map(|_| allocate(&mut pools, 64, &mut arenas)).collect();
        for place in &places[1..] {
            assert_eq!(pools.free(*place, 1), None);
        }
        assert_eq!(pools.free(places[0], 1), Some(Some(0)));
        assert_eq!(pools.held(), 0);
    }

    #[test]
    fn the_last_arena_of_cpython_3_stays() {
        let (mut pools, mut arenas) = (pools(Runtime::CPython3), 0);
        let place = allocate(&mut pools, 512, &mut arenas);
        assert_eq!((pools.free(place, 1), pools.held()), (None, 1));
        let places: Vec<u32> = (0..5000).map(|_| allocate(&mut pools, 512, &mut arenas)).collect();
        assert!(pools.held() > 2);
        for place in places {
            pools.free(place, 1);
        }
        assert_eq!(pools.held(), 1);
    }

    #[test]
    fn a_pool_that_was_full_comes_first() {
        let (mut pools, mut arenas) = (pools(Runtime::CPython27), 0);
        let places: Vec<u32> = (0..3 * 15).map(|_| allocate(&mut pools, 256, &mut arenas)).collect();
        assert_eq!((places[0], places[14], places[15], places[44]), (0, 0, 1, 2));
        pools.free(places[20], 1);
        pools.free(places[40], 1);
        assert_eq!([256; 3].map(|size| allocate(&mut pools, size, &mut arenas)), [2, 1, 3]);
    }

    #[test]
    fn an_object_moves_when_it_leaves_a_quarter_of_its_place() {
        let (mut pools, mut arenas) = (pools(Runtime::CPython27), 0);
        let place = allocate(&mut pools, 100, &mut arenas);
        let stays = [78, 79, 104, 105].map(|size| pools.stays(place, size));
        assert_eq!(stays, [false, true, true, false]);
    }

    proptest! {
        /// Whatever happens, no pool holds more than it can, an arena is given back exactly when it is empty,
        /// and at the end all are back (except the one that CPython 3 keeps).
        #[test]
        fn the_books_balance(
            steps in prop::collection::vec((any::<bool>(), 1u64..=256, 1u32..40, any::<u32>()), 1..2000),
            three in any::<bool>(),
        ) {
            let mut pools = pools(if three { Runtime::CPython3 } else { Runtime::CPython27 });
            let (mut live, mut arenas) = (Vec::new(), 0u64);
            let mut in_arena = std::collections::BTreeMap::new();
            for (grow, size, count, pick) in steps {
                if grow || live.is_empty() {
                    let (place, taken) = allocate_some(&mut pools, size, count, &mut arenas);
                    prop_assert!((1..=count).contains(&taken));
                    *in_arena.entry(place / ARENA_STRIDE).or_insert(0u32) += taken;
                    live.push((place, taken));
                    let pool = pools.pools[place as usize];
                    prop_assert!(pool.used <= pools.geometry.capacity(pool.class as usize));
                } else {
                    let index = pick as usize % live.len();
                    let (place, held) = live.swap_remove(index);
                    let freed = count.min(held);
                    if freed < held {
                        live.push((place, held - freed));
                    }
                    let left = in_arena.get_mut(&(place / ARENA_STRIDE)).unwrap();
                    *left -= freed;
                    let back = pools.free(place, freed);
                    prop_assert!(back.is_none() || *left == 0);
                    prop_assert!(back.is_some() || *left > 0 || three);
                }
            }
            for (place, held) in live {
                pools.free(place, held);
            }
            prop_assert_eq!(pools.held(), u64::from(three));
        }

        /// Several objects at once go where they would go one by one.
        #[test]
        fn several_at_once_are_the_same_as_one_by_one(
            steps in prop::collection::vec((any::<bool>(), 1u64..=256, 1u32..100, any::<u32>()), 1..200),
        ) {
            let (mut whole, mut single) = (pools(Runtime::CPython27), pools(Runtime::CPython27));
            let (mut arenas, mut other_arenas) = (0, 0);
            let mut live = Vec::new();
            for (grow, size, mut count, pick) in steps {
                if grow || live.is_empty() {
                    while count > 0 {
                        let (place, taken) = allocate_some(&mut whole, size, count, &mut arenas);
                        for _ in 0..taken {
                            prop_assert_eq!(allocate(&mut single, size, &mut other_arenas), place);
                        }
                        live.push((place, taken));
                        count -= taken;
                    }
                } else {
                    let (place, held) = live.swap_remove(pick as usize % live.len());
                    let back: Vec<_> = (0..held).filter_map(|_| single.free(place, 1)).collect();
                    prop_assert_eq!(whole.free(place, held).into_iter().collect::<Vec<_>>(), back);
                }
                prop_assert_eq!(whole.held(), single.held());
            }
        }
    }
}
