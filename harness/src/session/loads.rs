//! What each unit replays. A recording is the same in every block; a load model has a different load in each,
//! so that intervals cover the variation between its runs.
//!
//! The programs of a block are compiled when its first sample needs them, and removed when another block's
//! are compiled: the disk holds the programs of at most one block besides those that all workloads have from
//! the start of the run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use heaplab_workloads::program::{Order, Windows};
use heaplab_workloads::simulate::Options;

use super::error::SessionError;
use super::notice::{Listener, Notice};
use super::programs::{Compiled, Stoppable};
use super::recording::Recording;
use super::replays::Replays;
use crate::design::Step;
use crate::measure::{Load, Loads, MeasureError, Program};

/// The loads of a run's units.
pub(super) struct UnitLoads<'a> {
    replays: &'a Replays,
    compiled: &'a Compiled,
    stop: &'a AtomicBool,
    listener: Listener<'a>,
    current: RefCell<OfUnit>,
}

/// The programs of one workload in one block.
#[derive(Default)]
struct OfUnit {
    unit: Option<(usize, u32)>,
    programs: HashMap<(Order, bool), Program>,
}

impl<'a> UnitLoads<'a> {
    pub(super) fn new(
        replays: &'a Replays,
        compiled: &'a Compiled,
        stop: &'a AtomicBool,
        listener: Listener<'a>,
    ) -> UnitLoads<'a> {
        UnitLoads { replays, compiled, stop, listener, current: RefCell::default() }
    }

    /// Compiles a block's program of a load model; none if the run was stopped.
    fn compile(
        &self,
        step: &Step,
        seed: u64,
        order: Order,
        timed: bool,
    ) -> Result<Option<Program>, SessionError> {
        let (workload, options) = &self.replays.workloads[step.workload];
        let stream = workload.open(&Options { seed, ..options.clone() })?;
        let mut recording = Recording::default();
        let mut stream = Stoppable { stream, stop: self.stop, recording: &mut recording };
        let cut = Windows::new(order, self.replays.replay.window_events, timed);
        let name = workload.name.as_str();
        let mut show = |events| (self.listener)(&Notice::Compiling { workload: name, order, events });
        let done = self.compiled.programs.compile_apart(name, &mut stream, cut, order, &mut show);
        match done {
            Err(_) if self.stop.load(Ordering::Relaxed) => Ok(None),
            done => Ok(Some(done?)),
        }
    }
}

impl Loads for UnitLoads<'_> {
    fn load(&self, step: &Step, order: Order, timed: bool) -> Result<Option<Load>, MeasureError> {
        let replays = self.replays;
        let varies = replays.varies_load(step.workload);
        let seed = replays.load_seed(step.workload, step.block);
        if step.block == 0 || !varies {
            let name = &replays.design.workloads[step.workload];
            let program = self.compiled.programs.get(step.workload, order, timed).cloned();
            let program = program.ok_or_else(|| MeasureError::NoProgram { workload: name.clone(), order })?;
            return Ok(Some(Load { program, seed, varies }));
        }
        let mut current = self.current.borrow_mut();
        let unit = Some((step.workload, step.block));
        if current.unit != unit {
            *current = OfUnit { unit, programs: HashMap::new() };
        }
        if let Some(program) = current.programs.get(&(order, timed)) {
            return Ok(Some(Load { program: program.clone(), seed, varies }));
        }
        let of_block = |source: SessionError| MeasureError::Load {
            unit: replays.design.unit(step.workload, step.block).to_string(),
            seed: seed.unwrap_or_default(),
            source: source.into(),
        };
        let compiled = self.compile(step, seed.unwrap_or_default(), order, timed).map_err(of_block)?;
        let Some(program) = compiled else { return Ok(None) };
        current.programs.insert((order, timed), program.clone());
        Ok(Some(Load { program, seed, varies }))
    }
}
