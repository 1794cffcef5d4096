//! A run, from what is asked for to its finished directory.
//!
//! options (new, or those of the run that is resumed: [`Start`]) -> workloads compiled and variants proven ->
//! samples, unit by unit -> rows in the run's directory. [`measure_replays`] and [`measure_program`] are the
//! two kinds of run; [`validate_recording`] makes one of each; [`measure_itself`] keeps no directory. All
//! user mistakes are found before a directory is made.
//!
//! Nothing is printed here: what a user must see goes to the [`Listener`]. Nothing is analysed here except
//! how wide intervals are, which decides when a run may stop.

mod blocks;
mod description;
mod error;
mod goal;
mod input;
mod limit;
mod limit_search;
mod limited;
mod loads;
mod merge;
mod model_check;
mod notice;
mod opening;
mod program;
mod program_rows;
mod programs;
mod recording;
mod references;
mod replays;
mod sampling;
mod self_comparison;
mod trees;
mod validation;
mod variants;
mod workloads;

pub use blocks::{BlocksEnded, measure_blocks, pass_of_metric};
pub use error::SessionError;
pub use limit::{LimitQuestion, LimitRow, find_limits};
pub use merge::{Merge, Merged, merge_runs};
pub use model_check::{ModelCheck, ModelQuestion, ResidentError, check_model};
pub use notice::{Listener, Notice};
pub use opening::{Ended, Start, is_begun};
pub use program::{ProgramEnded, measure_program};
pub use replays::list_units;
pub use sampling::measure_replays;
pub use self_comparison::{Pairs, measure_itself};
pub use validation::{Validation, validate_recording, validated_runs};
