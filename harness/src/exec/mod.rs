//! Runs the real program under a variant and samples it from outside.
//!
//! `Keeper` stands between heaplab and the program: every process that the program leaves behind becomes the keeper's
//! child, so the whole tree is known, counted and stopped. `tree` reads the tree's figures from /proc, `series` adds them
//! up over time, `readings` keeps what came of it, and `census` what each process held. `reports` is where the probe
//! reports, and `judge` says from census and reports whether the variant served. `readiness` tells when the program is
//! ready, and [`take_sample`] combines them into one sample.
//!
//! Nothing is kept or averaged here: each sample results in an [`Execution`]. Nothing here writes to standard output,
//! which belongs to the program.

mod census;
mod command;
mod ending;
mod judge;
mod keeper;
mod message;
mod program;
mod readiness;
mod readings;
mod reports;
mod sample;
mod series;
mod tree;

pub use command::prepare;
pub use ending::{Ending, Limits};
pub use keeper::{SOCKET_VARIABLE, main as keep};
pub use message::{ExitStatus, Input, Usage};
pub use program::{CannotStart, find_program};
pub use readiness::Ready;
pub use readings::{Means, Point, Readings, Row};
pub use reports::{ReportDirectory, WATCH_REPORTS_COMMAND, watch_reports};
pub use sample::{Execution, GRACE, Program, take_sample};
pub use series::Series;
