//! The library that is preloaded into a recorded program (LD_PRELOAD): every call of the malloc family is
//! forwarded to the next allocator and recorded.
//!
//! It must be cheap and safe in programs that do not know about it. Cheap: on the common path an event is a
//! load of a shared word, a comparison, and one store into a page that only this thread writes; no lock, no
//! shared write, no system call, no clock reading. Safe: nothing is added to a block and no size is changed;
//! no function allocates, panics, or changes errno; a call that cannot be recorded is still forwarded.
//! `heaplab-raw` has drawings of what is written.
//!
//! Read bottom-up: `system`, `control`, `thread`, `storage`, `pool`, `region`, `arena`, `exports`, `next`, `process`, `chunk`,
//! `large`, `key`, `record`, `ending`, `call`; and the exported functions: `malloc`, `operators`, `jemalloc`, `tuning`,
//! `filter`, `mappings`, `creation`, `fork`, `limits`.
#![allow(unsafe_code)]

mod arena;
mod call;
mod chunk;
mod control;
mod creation;
mod ending;
mod exports;
mod filter;
mod fork;
mod jemalloc;
mod key;
mod large;
mod limits;
mod malloc;
mod mappings;
mod next;
mod operators;
mod pool;
mod process;
mod record;
mod region;
mod storage;
mod system;
mod thread;
mod tuning;

/// Runs when the library is loaded, before `main`. Calls before it are recorded too.
#[used]
#[unsafe(link_section = ".init_array")]
static PREPARE: extern "C" fn() = prepare;

/// Runs when the process exits by itself, after `main` and the exit handlers.
#[used]
#[unsafe(link_section = ".fini_array")]
static FINISH: extern "C" fn() = finish;

extern "C" fn finish() {
    record::tell_live();
    process::finish();
}

extern "C" fn prepare() {
    next::resolve();
    next::resolve_rare();
    operators::prepare();
    filter::prepare();
    ending::prepare();
    fork::prepare();
    record::begin_process();
}
