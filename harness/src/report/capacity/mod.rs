//! A plan in a report: its tables and its answer ([`tables`]), every assumption under them ([`assumptions`]), and the section
//! of a run's report that holds them ([`section`]).

mod assumptions;
mod section;
mod tables;

pub use assumptions::{assume, warn_of_hosts};
pub(super) use section::Planned;
pub(super) use tables::{describe_host, describe_saving, rows_of, sections, whole};
pub use tables::{plan_answer, print_capacity};
