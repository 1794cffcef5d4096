//! The files of a run's directory: the only bridge between measuring and reporting.
//!
//! [`RunDirectory`] writes them while workers run; [`load`] reads them, here or on another machine.
//! Neither knows how a figure is measured or shown. results/README.md describes the columns, and a
//! test compares that file with the fields of the rows.

mod accounts;
mod build;
mod columns;
mod directory;
mod error;
mod incomplete;
mod kinds;
mod loading;
mod merged;
pub(crate) mod metrics;
mod on_machine;
mod over_time;
mod packed;
mod reader;
mod recorded;
mod row_file;
mod row_index;
mod rows;
mod run_file;
mod sample;
mod sizes;
mod tree;
mod whole_file;

pub use build::RunBuild;
pub use columns::columns;
pub use directory::{RunDirectory, SampleKey};
pub use error::ResultsError;
pub use loading::load;
pub use merged::MergedDirectory;
pub use metrics::interval_of;
pub use on_machine::{OnMachine, name_on};
pub(crate) use over_time::OverTime;
pub use packed::{pack, unpack};
pub use reader::{LatencyFigures, ProgramFigures, Run, read_run_file};
pub use recorded::{MemoryPoint, Recorded, RecordedPoint};
pub use row_index::{SampleRows, index_rows};
pub use rows::Rows;
pub use run_file::{RunFile, RunMachine, RunPhase, RunVariant, RunWorkload, SCHEMA};
pub use sample::{
    HeapMapCell, LatencyBucket, Moment, Pass, RequestRow, Sample, SizeRow, StatsRow, Status, TimelinePoint,
};
pub use tree::{Counting, RunTree, RunTreeMember};
pub use whole_file::write_whole;
