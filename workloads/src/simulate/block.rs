//! What the simulated process's heap hands out: a live object, or a run of objects that are alike.

use heaplab_trace::ObjectId;

/// When an object was born, for its generation: after this number of collections and before the next one.
pub(super) type Birth = u32;

/// A live object, or several of one class in one pool. Whoever holds it has to free it.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) place: Place,
    /// Bytes of each object.
    pub(super) size: u64,
    pub(super) birth: Birth,
    pub(super) count: u16,
    /// How many of its objects the collector counts.
    pub(super) containers: u16,
}

/// Where objects lie, and whether they are held by cycles, which only a collector finds.
///
/// PERF: one word, so that a block does not take five: requests keep hundreds of blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(pub(super) u64);

impl Place {
    /// The number is a pool's, not an object's.
    pub(super) const IN_POOL: u64 = 1 << 63;
    /// The collector knows of it.
    pub(super) const COLLECTED: u64 = 1 << 62;

    pub(super) fn malloc(object: ObjectId) -> Place {
        Place(object)
    }

    pub(super) fn pool(number: u32) -> Place {
        Place(u64::from(number) | Place::IN_POOL)
    }

    #[inline]
    pub(super) fn is_collected(self) -> bool {
        self.0 & Place::COLLECTED != 0
    }

    /// The pool that it is in, if any.
    #[inline]
    pub(super) fn in_pool(self) -> Option<u32> {
        (self.0 & Place::IN_POOL != 0).then_some(self.0 as u32)
    }

    /// The object that it is, if it is malloc's.
    #[inline]
    pub(super) fn object(self) -> ObjectId {
        self.0 & !(Place::IN_POOL | Place::COLLECTED)
    }
}

impl Block {
    /// Bytes of the whole block: requested bytes, or those of the places that several objects take in a pool.
    pub(super) fn size(&self) -> u64 {
        self.size * u64::from(self.count)
    }

    /// How many objects it is.
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count.into()
    }

    /// When it was born, as the collector counts.
    #[inline]
    pub(super) fn birth(&self) -> Birth {
        self.birth
    }

    /// How many of its objects the collector counts.
    #[inline]
    pub(super) fn containers(&self) -> u32 {
        self.containers.into()
    }

    /// How many of its objects the collector does not count.
    #[inline]
    pub(super) fn leaves(&self) -> u32 {
        self.count() - self.containers()
    }

    /// Splits off this many of its `leaves` and `containers`. Either part may then be empty.
    #[inline]
    pub(super) fn split(&mut self, leaves: u32, containers: u32) -> Block {
        debug_assert!(leaves <= self.leaves() && containers <= self.containers());
        let (count, containers) = ((leaves + containers) as u16, containers as u16);
        self.count -= count;
        self.containers -= containers;
        Block { count, containers, ..*self }
    }
}

/// Adds `block` to `blocks`, unless it is empty.
///
/// PERF: without a branch, which no processor could predict: whether a cycle holds one of its objects is
/// chance.
#[inline]
pub(super) fn push_any(blocks: &mut Vec<Block>, block: Block) {
    let length = blocks.len() + usize::from(block.count > 0);
    blocks.push(block);
    blocks.truncate(length);
}
