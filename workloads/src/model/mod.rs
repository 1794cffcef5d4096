//! Load models of recordings: a recording in, and a trace with another load, another length or another seed
//! out.
//!
//! Resamples windows of the whole process, all threads at once, within phases; each object that survives its
//! window carries its whole later life with it. Models with independent sizes and lifetimes were tried first,
//! and were 20 to 80 % off: what an allocator needs depends on what is allocated together and lives at the
//! same time.
//!
//! Data goes `survey` -> `choose` -> `collect` -> `fit` (which tries it in `check`) -> `format` -> `play` -> `generate`. `survivors`
//! checks a part's laws, `law` says whether memory follows the load or the events, `scaling` what grows with
//! the load, `gate` how far to trust it, `schedule`
//! which window is played when, `lives` how long survivors live on, `endless` how often what is never freed
//! still comes, `crew` which thread does what, `bursts` for how long. It must
//! not know about allocators, and reads a recording only as a stream of records.

mod bursts;
mod check;
mod choose;
mod collect;
mod crew;
mod draw;
mod endless;
mod error;
mod facts;
mod fit;
mod format;
mod gate;
mod generate;
mod law;
mod lives;
mod parts;
mod play;
mod question;
mod requested;
mod scaling;
mod schedule;
mod store;
mod subject;
mod survey;
mod survivors;

pub use error::ModelError;
pub use facts::{Check, CheckKind, Facts};
pub use fit::{FittedModel, Options as FitOptions, fit};
pub use format::{FORMAT_VERSION, MAGIC};
pub use gate::{MOST_BAND, Verdict};
pub use generate::Generation;
pub use parts::{Fitted, Group, Outline};
pub use play::{BAND_NOTE, EXTRAPOLATION_NOTE, MODEL, Model, OUTSIDE_NOTE};
pub use question::{Question, parse_load, parse_share};
pub use requested::requested;
pub use store::{read_facts, read_model, read_model_bytes, write_model};
pub use subject::{Open, Subject};
pub use survey::Requested;

#[cfg(test)]
mod events_tests;
#[cfg(test)]
mod known_tests;
#[cfg(test)]
mod made;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod recorded_tests;
#[cfg(test)]
mod serial_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thinned_tests;
