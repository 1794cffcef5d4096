//! What the handling of a request draws on: the heap, the cache, random numbers, and tables of sizes.

use super::block::Block;
use super::cache::Cache;
use super::definition::Definition;
use super::heap::Heap;
use super::objects::{ObjectTable, Run};
use super::random::Random;
use super::table::SizeTable;

/// What the handling of a request draws on.
pub(super) struct Surroundings<'a> {
    pub(super) definition: &'a Definition,
    pub(super) tables: &'a Tables,
    pub(super) heap: &'a mut Heap,
    pub(super) cache: &'a mut Cache,
    pub(super) objects: &'a mut Random,
    pub(super) keeping: &'a mut Random,
    pub(super) spares: &'a mut Vec<Spare>,
}

/// Empty lists with capacity left by earlier requests.
#[derive(Debug, Default)]
pub(super) struct Spare {
    pub(super) run: Run,
    pub(super) parsed: Vec<Block>,
    pub(super) release: Vec<Block>,
}

/// Sizes of the objects that are made by the thousand.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) startup: SizeTable,
    pub(super) connection: SizeTable,
    pub(super) thread: SizeTable,
    pub(super) objects: ObjectTable,
    /// Sizes of a handler's own object.
    pub(super) handler: SizeTable,
    pub(super) temporary: SizeTable,
    /// Temporary objects per parsed object.
    pub(super) temporaries: f64,
}

impl Tables {
    /// The tables of `definition`, on `heap`.
    ///
    /// PERF: a temporary that lies in a pool takes a place and gives it back at once: it makes no event, and
    /// leaves the pools as they were, except where it needed a pool of its own for that moment. Only the
    /// others are drawn: five in six of a Python request's objects are such temporaries.
    pub(super) fn new(definition: &Definition, heap: &Heap) -> Tables {
        let temporary = SizeTable::new(&definition.temporary.size);
        let (temporary, share) = temporary.above(heap.largest_small());
        Tables {
            temporaries: definition.temporary.per_object * share,
            startup: SizeTable::new(&definition.startup.size),
            connection: SizeTable::new(&definition.connection.size),
            thread: SizeTable::new(&definition.pool.size),
            objects: ObjectTable::new(&definition.parsed, heap),
            handler: SizeTable::new(&definition.parsed.container),
            temporary,
        }
    }
}
