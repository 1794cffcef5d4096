//! The plan of a run that has one: the questions asked of `heaplab plan`, answered from the run's files.

use super::ReportError;
use super::analysis::Analysis;
use super::answer::{Answer, answer};
use super::capacity::{
    assume, connection_grid, describe_place, host_grid, load_grid, plan_answer, pod_grid, pod_workloads,
    sections, warn_of_hosts,
};
use super::grid::Table;
use super::planned_memory::PlannedMemory;
use super::plots::{Plot, draw_plan, draw_pods};
use super::table::Columns;
use crate::capacity::{Capacity, Host, list_requests, plan, read_request};

/// The memory that the first plan of a run uses; none if the run has no plan, or its plan cannot be made.
fn read_planned_memory(analysis: &Analysis<'_>) -> Option<PlannedMemory> {
    let directory = &analysis.run.directory;
    let name = list_requests(directory).into_iter().next()?;
    let request = read_request(directory, name.as_deref()).ok()??;
    let capacity = plan(&[analysis.run], &[], &request).ok()?;
    Some(PlannedMemory::of(&capacity))
}

/// A run's answers, with the figures of its plan if it has one that can be made. Writes and draws nothing.
pub fn answer_run(analysis: &Analysis<'_>) -> Answer {
    answer(analysis, read_planned_memory(analysis).as_ref())
}

/// A plan and its plots.
pub(super) struct Planned {
    /// The plan's name; none for the unnamed one.
    pub(super) name: Option<String>,
    capacity: Capacity,
    pub(super) plots: Vec<Plot>,
}

impl Planned {
    /// Makes and draws a plan for each saved question; none if the run has no plan. One that cannot be made is left
    /// out, and a note says why.
    pub(super) fn read_all(
        analysis: &Analysis<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Planned>, ReportError> {
        let mut all = Vec::new();
        for name in list_requests(&analysis.run.directory) {
            all.extend(Planned::read(analysis, name, notes)?);
        }
        Ok(all)
    }

    fn read(
        analysis: &Analysis<'_>,
        name: Option<String>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Planned>, ReportError> {
        let directory = &analysis.run.directory;
        let mut refuse = |why: String| {
            let which = name.as_deref().map_or_else(String::new, |name| format!(" {name}"));
            notes.push(format!("the plan{which} is not shown: {why}; make it again with `heaplab plan`"));
            Ok(None)
        };
        let request = match read_request(directory, name.as_deref()) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(None),
            Err(error) => return refuse(error.to_string().trim_end().replace('\n', " ")),
        };
        let capacity = match plan(&[analysis.run], &[], &request) {
            Ok(capacity) => capacity,
            Err(error) => return refuse(error.to_string()),
        };
        let folder = directory.join("plots");
        let mut plots = draw_plan(&capacity, name.as_deref(), &folder)?;
        plots.extend(draw_pods(&capacity, name.as_deref(), &folder)?);
        Ok(Some(Planned { name, capacity, plots }))
    }

    /// The memory that the plan uses.
    pub(super) fn memory(&self) -> PlannedMemory {
        PlannedMemory::of(&self.capacity)
    }

    /// What it answers, one sentence each.
    pub(super) fn answer(&self) -> Vec<String> {
        plan_answer(&self.capacity)
    }

    /// One table for each workload and type of host, and one of connections.
    pub(super) fn tables(&self) -> Vec<Table> {
        let of_host = |(workload, host): (&str, Host)| Table {
            intro: format!("{workload} on hosts of {}.", describe_place(&self.capacity, &host)),
            grid: host_grid(&self.capacity, workload, &host, Columns::All),
        };
        let mut tables: Vec<Table> = sections(&self.capacity).into_iter().map(of_host).collect();
        for workload in pod_workloads(&self.capacity) {
            let intro = format!("{workload} as pods.");
            tables.push(Table { intro, grid: pod_grid(&self.capacity, workload, Columns::All) });
        }
        if !self.capacity.connections.is_empty() {
            let intro = "Memory of a connection, by a line through the loads.".to_owned();
            tables.push(Table {
                intro,
                grid: connection_grid(&self.capacity.connections, self.capacity.request.load_unit.as_deref()),
            });
            let intro = "Memory of a process at each load.".to_owned();
            tables.push(Table { intro, grid: load_grid(&self.capacity.loads) });
        }
        tables
    }

    /// What distorts it, except for `known`, which the report says anyway.
    pub(super) fn notes(&self, known: &[String]) -> Vec<String> {
        let own = self.capacity.notes.iter().filter(|note| !known.contains(note)).cloned();
        own.chain(warn_of_hosts(&self.capacity)).collect()
    }

    pub(super) fn assumptions(&self) -> Vec<String> {
        assume(&self.capacity)
    }
}
