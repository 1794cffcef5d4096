//! CPython's layer of pools (its obmalloc.c): small objects in, and where each lies out.
//!
//! Small objects lie in pools of one size class each, pools in arenas. Of the pools of its class an
//! object goes into the one at the head of a list, to which a full pool comes back with its first free;
//! without one, a free pool of that arena is taken which has the fewest of them, so that the
//! emptier ones have a chance to become empty. Only an arena whose pools are all free goes back.
//! This module keeps the books. It makes no events: arenas are for its caller to take and to give back.

use std::collections::BTreeSet;

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
    /// Whether arenas are malloc's. If not, they are mapped, and no allocator has a say in them.
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

    /// Pools of an arena. What malloc gives does not begin at a page, and costs one of them.
    fn pools(&self) -> u32 {
        (self.arena_bytes / self.pool_bytes) as u32 - u32::from(self.arenas_by_malloc)
    }

    fn class(&self, size: u64) -> usize {
        ((size - 1) / self.class_bytes) as usize
    }

    fn capacity(&self, class: usize) -> u32 {
        ((self.pool_bytes - POOL_HEADER_BYTES) / ((class as u64 + 1) * self.class_bytes)) as u32
    }
}

/// No pool: the end of a list.
const NONE: u32 = u32::MAX;

/// The pools of a process.
#[derive(Debug)]
pub(super) struct Pools {
    geometry: Geometry,
    /// By class: the first pool that is neither full nor empty.
    heads: Vec<u32>,
    pools: Vec<Pool>,
    arenas: Vec<Arena>,
    /// Numbers of arenas that were given back.
    vacant: Vec<u32>,
    /// Arenas with a free pool, by how many they have.
    usable: BTreeSet<(u32, u32)>,
    held: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pool {
    class: u32,
    used: u32,
    previous: u32,
    next: u32,
}

#[derive(Debug)]
struct Arena {
    /// The object that it is; none if it is mapped.
    object: Option<ObjectId>,
    /// Its free pools; the last is the next to be taken.
    free: Vec<u32>,
}

impl Pools {
    pub(super) fn new(geometry: Geometry) -> Pools {
        let classes = (geometry.small_bytes / geometry.class_bytes) as usize;
        Pools {
            geometry,
            heads: vec![NONE; classes],
            pools: Vec::new(),
            arenas: Vec::new(),
            vacant: Vec::new(),
            usable: BTreeSet::new(),
            held: 0,
        }
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Arenas that are held now.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Whether an object of `size` bytes lies in a pool.
    #[inline]
    pub(super) fn serves(&self, size: u64) -> bool {
        (1..=self.geometry.small_bytes).contains(&size)
    }

    /// Whether an object in `pool` stays where it is when it becomes one of `size` bytes: it does if it
    /// fits, and would not leave a quarter of its place.
    pub(super) fn stays(&self, pool: u32, size: u64) -> bool {
        let place_bytes = (u64::from(self.pools[pool as usize].class) + 1) * self.geometry.class_bytes;
        size <= place_bytes && 4 * size > 3 * place_bytes
    }

    /// Puts an object of `size` bytes into a pool; none if that takes another arena first.
    #[inline]
    pub(super) fn allocate(&mut self, size: u64) -> Option<u32> {
        let class = self.geometry.class(size);
        let mut pool = self.heads[class];
        if pool == NONE {
            pool = self.take_free_pool()?;
            self.pools[pool as usize] = Pool { class: class as u32, used: 0, previous: NONE, next: NONE };
            self.heads[class] = pool;
        }
        self.pools[pool as usize].used += 1;
        if self.pools[pool as usize].used == self.geometry.capacity(class) {
            self.unlink(pool);
        }
        Some(pool)
    }

    /// Takes an object out of `pool`. If an arena is to be given back with it: the arena's object, or
    /// none within if it is mapped.
    #[inline]
    pub(super) fn free(&mut self, pool: u32) -> Option<Option<ObjectId>> {
        let entry = &mut self.pools[pool as usize];
        let class = entry.class as usize;
        let was_full = entry.used == self.geometry.capacity(class);
        entry.used -= 1;
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
        let count = self.geometry.pools();
        let number = self.vacant.pop().unwrap_or(self.arenas.len() as u32);
        if number as usize == self.arenas.len() {
            self.arenas.push(Arena { object: None, free: Vec::new() });
            let empty = Pool { class: 0, used: 0, previous: NONE, next: NONE };
            self.pools.resize(self.pools.len() + count as usize, empty);
        }
        let arena = &mut self.arenas[number as usize];
        arena.object = object;
        // The lowest address is taken first.
        arena.free.extend((number * count..(number + 1) * count).rev());
        self.usable.insert((count, number));
        self.held += 1;
    }

    fn take_free_pool(&mut self) -> Option<u32> {
        let (free, number) = self.usable.pop_first()?;
        if free > 1 {
            self.usable.insert((free - 1, number));
        }
        self.arenas[number as usize].free.pop()
    }

    fn give_back_pool(&mut self, pool: u32) -> Option<Option<ObjectId>> {
        let count = self.geometry.pools();
        let number = pool / count;
        let arena = &mut self.arenas[number as usize];
        arena.free.push(pool);
        let free = arena.free.len() as u32;
        self.usable.remove(&(free - 1, number));
        if free < count || (self.geometry.keeps_last && self.usable.is_empty()) {
            self.usable.insert((free, number));
            return None;
        }
        arena.free.clear();
        self.vacant.push(number);
        self.held -= 1;
        Some(arena.object.take())
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

    /// Takes `pool` out of the list of its class.
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

    /// Allocates, with an arena more if that is needed; says whether it was.
    fn allocate(pools: &mut Pools, size: u64, arenas: &mut u64) -> u32 {
        loop {
            if let Some(pool) = pools.allocate(size) {
                return pool;
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
        assert!(pools.allocate(64).is_none());
        assert_eq!((pools.serves(256), pools.serves(257), pools.serves(0)), (true, false, false));
    }

    #[test]
    fn one_object_holds_an_arena() {
        let (mut pools, mut arenas) = (pools(Runtime::CPython27), 0);
        let places: Vec<u32> = (0..63 * 63).map(|_| allocate(&mut pools, 64, &mut arenas)).collect();
        for place in &places[1..] {
            assert_eq!(pools.free(*place), None);
        }
        assert_eq!(pools.free(places[0]), Some(Some(0)));
        assert_eq!(pools.held(), 0);
    }

    #[test]
    fn the_last_arena_of_cpython_3_stays() {
        let (mut pools, mut arenas) = (pools(Runtime::CPython3), 0);
        let place = allocate(&mut pools, 512, &mut arenas);
        assert_eq!((pools.free(place), pools.held()), (None, 1));
        let places: Vec<u32> = (0..5000).map(|_| allocate(&mut pools, 512, &mut arenas)).collect();
        assert!(pools.held() > 2);
        for place in places {
            pools.free(place);
        }
        assert_eq!(pools.held(), 1);
    }

    #[test]
    fn a_pool_that_was_full_comes_first() {
        let (mut pools, mut arenas) = (pools(Runtime::CPython27), 0);
        let places: Vec<u32> = (0..3 * 15).map(|_| allocate(&mut pools, 256, &mut arenas)).collect();
        assert_eq!((places[0], places[14], places[15], places[44]), (0, 0, 1, 2));
        pools.free(places[20]);
        pools.free(places[40]);
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
        /// Whatever comes: no pool holds more than it can, an arena goes back exactly when it is empty,
        /// and at the end all are back (but the one that CPython 3 keeps).
        #[test]
        fn the_books_balance(
            steps in prop::collection::vec((any::<bool>(), 1u64..=256, any::<u32>()), 1..3000),
            three in any::<bool>(),
        ) {
            let mut pools = pools(if three { Runtime::CPython3 } else { Runtime::CPython27 });
            let (mut live, mut arenas) = (Vec::new(), 0u64);
            let mut in_arena = std::collections::BTreeMap::new();
            let count = pools.geometry.pools();
            for (grow, size, pick) in steps {
                if grow || live.is_empty() {
                    let place = allocate(&mut pools, size, &mut arenas);
                    *in_arena.entry(place / count).or_insert(0u32) += 1;
                    live.push(place);
                    let pool = pools.pools[place as usize];
                    prop_assert!(pool.used <= pools.geometry.capacity(pool.class as usize));
                } else {
                    let place = live.swap_remove(pick as usize % live.len());
                    let left = in_arena.get_mut(&(place / count)).unwrap();
                    *left -= 1;
                    let back = pools.free(place);
                    prop_assert!(back.is_none() || *left == 0);
                    prop_assert!(back.is_some() || *left > 0 || three);
                }
            }
            for place in live {
                pools.free(place);
            }
            prop_assert_eq!(pools.held(), u64::from(three));
        }
    }
}
