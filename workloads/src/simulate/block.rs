//! What the simulated process's heap hands out: a live object, or a run of those that are alike.

use heaplab_trace::ObjectId;

/// When an object was born, for its generation: before the next collection after this number of them.
pub(super) type Birth = u32;

/// A live object, or several of one class in one pool. Whoever holds it has to free it.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) place: Place,
    /// Bytes of each object.
    pub(super) size: u64,
    pub(super) birth: Birth,
    pub(super) count: u16,
    /// Those of its objects that the collector counts.
    pub(super) containers: u16,
}

/// Where objects lie, and whether a collector may find that cycles hold them.
///
/// PERF: a word, lest a block take five: requests keep some hundreds of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(pub(super) u64);

impl Place {
    /// It is a pool's number, not an object's.
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

    /// The pool that it is in, if it is in one.
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
    /// Bytes of all of it: requested, or of the places in a pool that several objects take.
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

    /// Takes so many of its `leaves` and `containers` out of it. One of the two may then be of none.
    #[inline]
    pub(super) fn split(&mut self, leaves: u32, containers: u32) -> Block {
        debug_assert!(leaves <= self.leaves() && containers <= self.containers());
        let (count, containers) = ((leaves + containers) as u16, containers as u16);
        self.count -= count;
        self.containers -= containers;
        Block { count, containers, ..*self }
    }
}

/// Adds `block` to `blocks`, unless it is of none.
///
/// PERF: without a branch on that, which no processor foresees: whether a cycle holds one of its objects is chance.
#[inline]
pub(super) fn push_any(blocks: &mut Vec<Block>, block: Block) {
    let length = blocks.len() + usize::from(block.count > 0);
    blocks.push(block);
    blocks.truncate(length);
}
