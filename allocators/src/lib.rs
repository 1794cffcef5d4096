//! With what: the registry of allocators, their settings, and the proof of which one serves.
//!
//! Read in this order: [`family`] (the kinds of allocator), [`cache`] and [`registry`] (names, and where
//! their libraries are), [`variant`] (an allocator plus settings, from the text that a user writes),
//! [`environment`] (the variables that a worker gets for it), [`settings`] (what each does) and [`sweep`]
//! (variants over values of settings). Those are for the parent. Settings of the process are in `process`.
//! [`identity`] and [`mod@purge`] and [`mod@account`] are called in the process that is measured;
//! [`readback`] and [`probe`] prove that settings were accepted; [`injection`] is for real programs; [`hash`]
//! names a library file by its contents, and [`stamp`] tells whether it has changed.
//!
//! Nothing here measures, and only the C library's own look-ups allocate from the allocator under test.

pub mod account;
pub mod cache;
pub mod environment;
pub mod family;
pub mod hash;
pub mod identity;
pub mod injection;
mod number;
pub mod probe;
mod process;
pub mod purge;
pub mod readback;
pub mod registry;
pub mod settings;
pub mod stamp;
pub mod sweep;
mod symbol;
pub mod variant;

pub use account::{Account, ClassAccount, account};
pub use environment::is_allocator_variable;
pub use family::Family;
pub use hash::hash_file;
pub use identity::{Expectation, Loaded, c_library_version, identify};
pub use injection::{Injection, PROBE_FILE_VARIABLE, Report, Reports, program_of_link};
pub use process::{CPUS_VARIABLE, end_with_parent, follow_parent};
pub use purge::{has_timers, purge, purge_thread};
pub use readback::{Proof, Verdict};
pub use stamp::Stamp;
pub use sweep::{Sweep, SweepError};
pub use variant::{Setting, Variant, VariantError};
