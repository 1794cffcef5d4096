//! What a program tells the allocator: recorded as marks.

use core::ffi::c_int;

use heaplab_raw::{Event, MarkKind};

use crate::{next, record};

/// `malloc_trim(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc_trim(pad: usize) -> c_int {
    let argument = i32::try_from(pad).unwrap_or(i32::MAX);
    let event = Event::Mark { kind: MarkKind::MallocTrim, argument, value: 0 };
    // SAFETY: it takes any number.
    next::MALLOC_TRIM.find().map_or(0, |function| record::before(event, || unsafe { function(pad) }))
}

/// `mallopt(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mallopt(parameter: c_int, value: c_int) -> c_int {
    let kept = i16::try_from(value).unwrap_or(if value < 0 { i16::MIN } else { i16::MAX });
    let event = Event::Mark { kind: MarkKind::Mallopt, argument: parameter, value: kept };
    // SAFETY: it takes any two numbers.
    next::MALLOPT.find().map_or(0, |function| record::before(event, || unsafe { function(parameter, value) }))
}
