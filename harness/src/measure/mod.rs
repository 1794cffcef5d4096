//! Takes samples: compiles programs, starts workers, and hands on what came of each.
//!
//! Data goes one way: design in, [`Taken`] out, one after another. Whoever receives them keeps them;
//! nothing is averaged, judged or dropped here.

mod campaign;
mod child;
mod constant;
mod footprints;
mod programs;

pub use campaign::{Campaign, MeasureError, Subject, Taken, Variation};
pub use footprints::Footprints;
pub use programs::{Programs, ProgramsError};
