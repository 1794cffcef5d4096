//! Takes samples: compiles programs, starts workers, and passes on the result of each.
//!
//! Data goes one way: design in, [`Taken`] out, one after another. The receiver keeps them; nothing
//! is averaged, judged or dropped here.

mod campaign;
mod child;
mod constant;
mod error;
mod footprints;
mod programs;

pub use campaign::{Campaign, Subject, Taken, Unproven, Variation};
pub use error::MeasureError;
pub use footprints::Footprints;
pub use programs::{Load, Loads, Program, Programs, ProgramsError};
