//! The harness's own share of a worker's anonymous resident memory: what a worker on `floor` has
//! with an empty program. It is subtracted from every resident figure.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use heaplab_allocators::Variant;
use heaplab_trace::{Header, Record};
use heaplab_workloads::program::{Order, ProgramFile, Windows, compile};
use heaplab_workloads::stream::{RecordStream, StreamError};

use super::child::{End, Ends, run_worker};
use crate::design::{Pace, Pass, Touch};
use crate::worker::{Job, Status};

/// A trace without records.
struct Empty(Header);

impl RecordStream for Empty {
    fn header(&self) -> &Header {
        &self.0
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        Ok(None)
    }
}

/// Resident bytes of a worker that does nothing, in bytes.
///
/// # Errors
///
/// A sentence, if there is no `floor` or its worker fails.
pub(super) fn measure_constant(directory: &Path) -> Result<u64, String> {
    let floor = Variant::parse("floor").map_err(|error| error.to_string())?;
    let file = ProgramFile::create_in(directory).map_err(|error| error.to_string())?;
    let cut = Windows::new(Order::Strict, Windows::EVENTS, false);
    let info = compile(&mut Empty(Header::default()), &file, Order::Strict, cut, &mut |_| {})
        .map_err(|error| error.to_string())?;
    let environment = floor.environment(None).map_err(|error| error.to_string())?;
    let job = Job {
        program: file.path(),
        info,
        variant: floor,
        library_stamp: None,
        pass: Pass::Memory,
        pace: Pace::Max,
        touch: Touch::None,
        checkpoints: 1,
        resident_constant_bytes: 0,
        draws_heap_map: false,
        group_processes: None,
        need: None,
        layout_seed: None,
    };
    let stop = AtomicBool::new(false);
    let ends = Ends { timeout: Some(Duration::from_secs(60)), stop: &stop, group: None };
    match run_worker(&job, &environment, None, &ends) {
        Ok(End::Reply(reply)) if reply.status == Status::Ok => {
            reply.measured.resident_end_bytes.ok_or_else(|| "it measured nothing".to_owned())
        }
        Ok(End::Reply(reply)) => Err(reply.status_detail.unwrap_or_default()),
        Ok(End::Stopped) => Err("it was stopped".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
