//! The made-up trace as another tool's log: the text of Android's malloc_debug.

use std::collections::HashMap;
use std::io::{self, Write};

use heaplab_trace::{Action, ObjectId};

use crate::generated::Generated;

/// Addresses lie this far apart: more than any made-up object is long.
const STRIDE: u64 = 1 << 20;

/// Addresses in use, and those that can be given out again, as an allocator would.
#[derive(Default)]
struct Addresses {
    of: HashMap<ObjectId, u64>,
    unused: Vec<u64>,
}

impl Addresses {
    fn take(&mut self, object: ObjectId) -> u64 {
        let fresh = 0x7000_0000_0000 + self.of.len() as u64 * STRIDE;
        let address = self.unused.pop().unwrap_or(fresh);
        self.of.insert(object, address);
        address
    }

    fn get(&self, object: ObjectId) -> u64 {
        self.of.get(&object).copied().unwrap_or_default()
    }

    fn give(&mut self, object: ObjectId) -> u64 {
        let address = self.of.remove(&object).unwrap_or_default();
        self.unused.push(address);
        address
    }
}

/// Writes the whole trace as text.
pub(crate) fn write(trace: &mut Generated, out: &mut impl Write) -> io::Result<()> {
    let mut addresses = Addresses::default();
    while let Some(event) = trace.next_event() {
        write!(out, "{}: ", 1000 + event.thread)?;
        match event.action {
            Action::Malloc { object, size } => writeln!(out, "malloc {:#x} {size}", addresses.take(object))?,
            Action::Calloc { object, size } => {
                writeln!(out, "calloc {:#x} 1 {size}", addresses.take(object))?
            }
            Action::Realloc { object, size } => {
                let address = addresses.get(object);
                writeln!(out, "realloc {address:#x} {address:#x} {size}")?;
            }
            Action::Free { object } => writeln!(out, "free {:#x}", addresses.give(object))?,
            Action::ThreadEnd => writeln!(out, "thread_done 0x0")?,
            Action::FreeNull => writeln!(out, "free 0x0")?,
            other => return Err(io::Error::other(format!("a made-up trace has no {other:?}"))),
        }
    }
    Ok(())
}
