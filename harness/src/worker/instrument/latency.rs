//! The latency pass: two stamps around each call.

use heaplab_workloads::program::operation::{Code, Op};

use super::Instrument;
use crate::worker::state::{Local, State};

/// The row in which an operation is counted; none for `free(NULL)`.
fn operation(op: &Op) -> Option<usize> {
    const ROWS: [Option<usize>; 7] = [Some(0), Some(1), Some(2), Some(3), Some(3), Some(4), None];
    const _: () =
        assert!(Code::Realloc as usize == 4 && Code::Free as usize == 5 && Code::FreeNull as usize == 6);
    ROWS.get(op.code as usize).copied().flatten()
}

/// Two stamps around each call: the latency pass.
pub(crate) struct Timed;

impl Instrument for Timed {
    #[inline(always)]
    fn start(local: &mut Local) {
        if let Some(log) = &mut local.log
            && !log.in_batch()
        {
            log.start();
        }
    }

    #[inline(always)]
    fn called(local: &mut Local, op: &Op) {
        if let (Some(log), Some(operation)) = (&mut local.log, operation(op))
            && !log.in_batch()
        {
            log.called(operation, op.size);
        }
    }

    #[inline(always)]
    fn touched(local: &mut Local, op: &Op) {
        if let (Some(log), Some(operation)) = (&mut local.log, operation(op))
            && !log.in_batch()
        {
            log.touched(operation);
        }
    }

    #[inline(always)]
    fn other(local: &mut Local) {
        if let Some(log) = &mut local.log {
            log.drop_batch();
        }
    }

    #[inline(always)]
    fn done(state: &State, local: &mut Local) {
        let (Some(log), Some(histograms)) = (&mut local.log, &state.histograms) else { return };
        log.done(histograms);
    }
}
