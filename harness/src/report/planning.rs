//! The plan of a run that has had one: what `heaplab plan` was asked, answered anew from the run's files.

use super::ReportError;
use super::analysis::Analysis;
use super::capacity::{
    assume, connection_grid, describe_host, host_grid, plan_answer, sections, warn_of_hosts,
};
use super::grid::Table;
use super::plots::{Plot, draw_plan};
use super::table::Columns;
use super::units::whole;
use crate::capacity::{Capacity, Host, plan, read_request};

/// A plan and its plots.
pub(super) struct Planned {
    capacity: Capacity,
    pub(super) plots: Vec<Plot>,
}

impl Planned {
    /// Plans as plan.toml asks and draws it; none where the run has had no plan, or where it cannot be made: a note then says why.
    pub(super) fn read(
        analysis: &Analysis<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Planned>, ReportError> {
        let directory = &analysis.run.directory;
        let mut refuse = |why: String| {
            notes.push(format!("the plan is not shown: {why}; make it again with `heaplab plan`"));
            Ok(None)
        };
        let request = match read_request(directory) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(None),
            Err(error) => return refuse(error.to_string().trim_end().replace('\n', " ")),
        };
        let capacity = match plan(&[analysis.run], &request) {
            Ok(capacity) => capacity,
            Err(error) => return refuse(error.to_string()),
        };
        let plots = draw_plan(&capacity, &directory.join("plots"))?;
        Ok(Some(Planned { capacity, plots }))
    }

    /// What it answers, a sentence each.
    pub(super) fn answer(&self) -> Vec<String> {
        plan_answer(&self.capacity)
    }

    /// A table of each workload and type of host, and one of connections.
    pub(super) fn tables(&self) -> Vec<Table> {
        let of_host = |(workload, host): (&str, Host)| Table {
            intro: format!("{workload} on hosts of {}, {} today.", describe_host(&host), processes(&host)),
            grid: host_grid(&self.capacity, workload, &host, Columns::All),
        };
        let mut tables: Vec<Table> = sections(&self.capacity).into_iter().map(of_host).collect();
        if !self.capacity.connections.is_empty() {
            let intro = "Memory of a connection, by a line through the loads.".to_owned();
            tables.push(Table { intro, grid: connection_grid(&self.capacity.connections) });
        }
        tables
    }

    /// What spoils it beside `known`, which the report says anyway.
    pub(super) fn notes(&self, known: &[String]) -> Vec<String> {
        let own = self.capacity.notes.iter().filter(|note| !known.contains(note)).cloned();
        own.chain(warn_of_hosts(&self.capacity)).collect()
    }

    pub(super) fn assumptions(&self) -> Vec<String> {
        assume(&self.capacity)
    }
}

fn processes(host: &Host) -> String {
    match host.processes {
        1 => "1 process".to_owned(),
        count => format!("{} processes", whole(count)),
    }
}
