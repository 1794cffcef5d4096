//! What a program tells the allocator, or the kernel about its memory: recorded as marks.

use core::ffi::{c_int, c_ulong};

use heaplab_raw::{Event, MarkKind};

use crate::{filter, next, record, storage, system};

/// `malloc_trim(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc_trim(pad: usize) -> c_int {
    let argument = i32::try_from(pad).unwrap_or(i32::MAX);
    let event = Event::Mark { kind: MarkKind::MallocTrim, argument, detail: 0 };
    next::MALLOC_TRIM.find().map_or(0, |function| {
        // SAFETY: it takes any number.
        record::before(storage::depth(), event, || unsafe { function(pad) })
    })
}

/// `mallopt(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mallopt(parameter: c_int, value: c_int) -> c_int {
    let detail = i16::try_from(parameter).unwrap_or(if parameter < 0 { i16::MIN } else { i16::MAX });
    let event = Event::Mark { kind: MarkKind::Mallopt, argument: value, detail };
    next::MALLOPT.find().map_or(0, |function| {
        // SAFETY: it takes any two numbers.
        record::before(storage::depth(), event, || unsafe { function(parameter, value) })
    })
}

/// `prctl(2)`, of which only whether the process may have huge pages is recorded: some servers turn them off
/// at start-up.
///
/// # Safety
/// As of the C library's, which takes these as variable arguments; in registers both are the same.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn prctl(
    option: c_int,
    second: c_ulong,
    third: c_ulong,
    fourth: c_ulong,
    fifth: c_ulong,
) -> c_int {
    let rest = [second as usize, third as usize, fourth as usize, fifth as usize];
    // SAFETY: the caller keeps the contract.
    let outcome = unsafe { filter::call_prctl(option, rest) };
    let result = system::told(outcome) as c_int;
    if option == libc::PR_SET_THP_DISABLE && result == 0 {
        // The kernel accepted them: both are small.
        let (argument, detail) = (second as i32, third as i16);
        record::note(Event::Mark { kind: MarkKind::HugePages, argument, detail });
    }
    result
}
