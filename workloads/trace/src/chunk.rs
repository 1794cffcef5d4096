//! Records in a chunk: how one is turned into bytes and back. No I/O, no compression.
//!
//! The bytes are made to be small once zstd has been over them: times are differences, a thread is
//! named only when it changes, an allocation does not name its object (it is always the next), and
//! an object that is freed is named by its distance from the newest, because objects die young.
//! All of this state is set by the chunk's head, so that a chunk decodes without the one before it.
//!
//! ```text
//! record:   kind byte | time delta? | thread? | fields of the kind
//!
//! kind byte:
//!     7   6   5   4   3   2   1   0
//!   +---+---+-------+---------------+
//!   | 0 | T | time  |     kind      |
//!   +---+---+-------+---------------+
//!     T     the thread changes: its number follows, as a varint
//!     time  0: as before; 1: one more than before; 2: the difference follows, as a varint; 3: invalid
//!
//! kind   record         fields (varints, except where bytes are stated)
//!   0    ThreadStart    -
//!   1    ThreadEnd      -
//!   2    Malloc         size
//!   3    Calloc         size
//!   4    AlignedAlloc   size, 1 byte: logarithm of the alignment
//!   5    ReallocNull    size
//!   6    Realloc        distance, size          distance = newest object - object
//!   7    ReallocFree    distance
//!   8    Free           distance
//!   9    FreeNull       -
//!  10    Ignored        1 byte: call | reason << 4, then size
//!  11    FreeMissed     distance
//!  12    Resident       bytes                   (T must be 0)
//!  13    Mark           length, UTF-8           (T must be 0)
//!  14    ThreadName     thread, length, UTF-8   (T and time must be 0)
//!  15    further        1 byte: a further kind, then its fields
//!          0  Work      distance, bytes, repeats
//!          1  Touched   distance, bytes
//! ```
//!
//! A mark's name is text. Two kinds of names are read by a replay, and stay as they are: `HugePages` and `Tuning`.
//!
//! A worked example: a chunk whose head says time 500, next object 0.
//!
//! ```text
//! 02 30              500 ns, thread 0: malloc(48)        -> object 0
//! 13 80 03           501 ns, thread 0: calloc, 384 bytes -> object 1
//! 66 e8 07 01 01 c8 01
//!                   1501 ns (e8 07 = 1000 more), thread 1: realloc object 0 (1 below the newest) to 200 (c8 01)
//! 0f 00 01 40 03    1501 ns, thread 1: works on the first 64 (40) bytes of object 0, 3 times over
//! 0f 01 00 80 01    1501 ns, thread 1: at most 128 (80 01) bytes of object 1 (the newest) were written to
//! 08 00             1501 ns, thread 1: free object 1
//! ```
//!
//! Kinds are appended, never renumbered.

use crate::error::{Law, RecordFault};
use crate::tally::NAME_MOST_BYTES;
use crate::varint;
use crate::{Action, Call, Event, IgnoredReason, Mark, ObjectId, Record, ResidentSample, ThreadId};

const THREAD_START: u8 = 0;
const THREAD_END: u8 = 1;
const MALLOC: u8 = 2;
const CALLOC: u8 = 3;
const ALIGNED_ALLOC: u8 = 4;
const REALLOC_NULL: u8 = 5;
const REALLOC: u8 = 6;
const REALLOC_FREE: u8 = 7;
const FREE: u8 = 8;
const FREE_NULL: u8 = 9;
const IGNORED: u8 = 10;
const FREE_MISSED: u8 = 11;
const RESIDENT: u8 = 12;
const MARK: u8 = 13;
const THREAD_NAME: u8 = 14;
const FURTHER: u8 = 15;
const FURTHER_WORK: u8 = 0;
const FURTHER_TOUCHED: u8 = 1;

const KIND_MASK: u8 = 0x0f;
const TIME_SAME: u8 = 0x00;
const TIME_ONE: u8 = 0x10;
const TIME_DELTA: u8 = 0x20;
const TIME_MASK: u8 = 0x30;
const THREAD_CHANGES: u8 = 0x40;

/// What a record is encoded against. A chunk begins with the values in its head, and thread 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Time of the last record that had one.
    pub(crate) time_ns: u64,
    /// Thread of the last event.
    pub(crate) thread: ThreadId,
    /// The id that the next allocation brings.
    pub(crate) next_object: ObjectId,
    /// The number that the next new thread has. Decoding checks it; encoding relies on the tally.
    pub(crate) threads: u32,
}

/// Appends `record`, which obeys the laws, to `out`.
pub(crate) fn encode(record: &Record, state: &mut State, out: &mut Vec<u8>) {
    match record {
        Record::Event(event) => encode_event(event, state, out),
        Record::Resident(sample) => {
            encode_head(RESIDENT, sample.time_ns, state.thread, state, out);
            varint::put(out, sample.resident_bytes);
        }
        Record::Mark(mark) => {
            encode_head(MARK, mark.time_ns, state.thread, state, out);
            encode_name(&mark.name, out);
        }
        Record::ThreadName { thread, name } => {
            out.push(THREAD_NAME);
            varint::put(out, u64::from(*thread));
            encode_name(name, out);
        }
    }
}

fn encode_event(event: &Event, state: &mut State, out: &mut Vec<u8>) {
    let newest = state.next_object.wrapping_sub(1);
    let mut head = |kind| encode_head(kind, event.time_ns, event.thread, state, out);
    match event.action {
        Action::ThreadStart => head(THREAD_START),
        Action::ThreadEnd => head(THREAD_END),
        Action::FreeNull => head(FREE_NULL),
        Action::Malloc { size, .. } => {
            head(MALLOC);
            varint::put(out, size);
        }
        Action::Calloc { size, .. } => {
            head(CALLOC);
            varint::put(out, size);
        }
        Action::AlignedAlloc { size, alignment, .. } => {
            head(ALIGNED_ALLOC);
            varint::put(out, size);
            out.push(alignment.trailing_zeros() as u8);
        }
        Action::ReallocNull { size, .. } => {
            head(REALLOC_NULL);
            varint::put(out, size);
        }
        Action::Realloc { object, size } => {
            head(REALLOC);
            varint::put(out, newest - object);
            varint::put(out, size);
        }
        Action::ReallocFree { object } => {
            head(REALLOC_FREE);
            varint::put(out, newest - object);
        }
        Action::Free { object } => {
            head(FREE);
            varint::put(out, newest - object);
        }
        Action::FreeMissed { object } => {
            head(FREE_MISSED);
            varint::put(out, newest - object);
        }
        Action::Work { object, bytes, repeats } => {
            head(FURTHER);
            out.push(FURTHER_WORK);
            varint::put(out, newest - object);
            varint::put(out, bytes);
            varint::put(out, u64::from(repeats));
        }
        Action::Touched { object, bytes } => {
            head(FURTHER);
            out.push(FURTHER_TOUCHED);
            varint::put(out, newest - object);
            varint::put(out, bytes);
        }
        Action::Ignored { call, reason, size } => {
            head(IGNORED);
            out.push(call as u8 | (reason as u8) << 4);
            varint::put(out, size);
        }
    }
    if event.action.allocated().is_some() {
        state.next_object += 1;
    }
}

fn encode_head(kind: u8, time_ns: u64, thread: ThreadId, state: &mut State, out: &mut Vec<u8>) {
    let delta_ns = time_ns - state.time_ns;
    let time = match delta_ns {
        0 => TIME_SAME,
        1 => TIME_ONE,
        _ => TIME_DELTA,
    };
    let changes = thread != state.thread;
    out.push(kind | time | if changes { THREAD_CHANGES } else { 0 });
    if time == TIME_DELTA {
        varint::put(out, delta_ns);
    }
    if changes {
        varint::put(out, u64::from(thread));
    }
    state.time_ns = time_ns;
    state.thread = thread;
}

fn encode_name(name: &str, out: &mut Vec<u8>) {
    varint::put(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
}

/// Decodes the record at `*at` and moves `*at` past it. Any bytes are answered by a record that
/// obeys all laws but those of liveness, or by a fault.
#[inline]
pub(crate) fn decode(bytes: &[u8], at: &mut usize, state: &mut State) -> Result<Record, RecordFault> {
    let head = *bytes.get(*at).ok_or(RecordFault::Cut)?;
    *at += 1;
    if matches!(head & KIND_MASK, RESIDENT..=THREAD_NAME) {
        return decode_beside(head, bytes, at, state);
    }
    decode_time(head, bytes, at, state)?;
    if head & THREAD_CHANGES != 0 {
        state.thread = u32::try_from(varint::get(bytes, at)?).map_err(|_| RecordFault::Number)?;
    }
    enter_thread(state.thread, state)?;
    let action = decode_action(head, bytes, at, state)?;
    Ok(Record::Event(Event { time_ns: state.time_ns, thread: state.thread, action }))
}

#[inline]
fn decode_time(head: u8, bytes: &[u8], at: &mut usize, state: &mut State) -> Result<(), RecordFault> {
    let delta_ns = match head & (TIME_MASK | 0x80) {
        TIME_SAME => return Ok(()),
        TIME_ONE => 1,
        TIME_DELTA => varint::get(bytes, at)?,
        _ => return Err(RecordFault::Unknown(head)),
    };
    state.time_ns = state.time_ns.checked_add(delta_ns).ok_or(RecordFault::Number)?;
    Ok(())
}

#[inline]
fn decode_action(head: u8, bytes: &[u8], at: &mut usize, state: &mut State) -> Result<Action, RecordFault> {
    Ok(match head & KIND_MASK {
        MALLOC => {
            let size = varint::get(bytes, at)?;
            Action::Malloc { object: next_object(state), size }
        }
        FREE => Action::Free { object: decode_object(bytes, at, state)? },
        REALLOC => {
            let object = decode_object(bytes, at, state)?;
            Action::Realloc { object, size: varint::get(bytes, at)? }
        }
        CALLOC => {
            let size = varint::get(bytes, at)?;
            Action::Calloc { object: next_object(state), size }
        }
        REALLOC_NULL => {
            let size = varint::get(bytes, at)?;
            Action::ReallocNull { object: next_object(state), size }
        }
        ALIGNED_ALLOC => {
            let size = varint::get(bytes, at)?;
            let logarithm = *bytes.get(*at).ok_or(RecordFault::Cut)?;
            *at += 1;
            let alignment = 1u64.checked_shl(u32::from(logarithm)).ok_or(RecordFault::Unknown(logarithm))?;
            Action::AlignedAlloc { object: next_object(state), size, alignment }
        }
        FREE_NULL => Action::FreeNull,
        REALLOC_FREE => Action::ReallocFree { object: decode_object(bytes, at, state)? },
        FREE_MISSED => Action::FreeMissed { object: decode_object(bytes, at, state)? },
        THREAD_START => Action::ThreadStart,
        THREAD_END => Action::ThreadEnd,
        IGNORED => decode_ignored(bytes, at)?,
        FURTHER => decode_further(bytes, at, state)?,
        _ => return Err(RecordFault::Unknown(head)),
    })
}

fn decode_ignored(bytes: &[u8], at: &mut usize) -> Result<Action, RecordFault> {
    let what = *bytes.get(*at).ok_or(RecordFault::Cut)?;
    *at += 1;
    let calls = [Call::Malloc, Call::Calloc, Call::AlignedAlloc, Call::Realloc, Call::Free];
    let reasons = [IgnoredReason::Failed, IgnoredReason::Unseen];
    let call = *calls.get(usize::from(what & 0x0f)).ok_or(RecordFault::Unknown(what))?;
    let reason = *reasons.get(usize::from(what >> 4)).ok_or(RecordFault::Unknown(what))?;
    Ok(Action::Ignored { call, reason, size: varint::get(bytes, at)? })
}

fn decode_further(bytes: &[u8], at: &mut usize, state: &State) -> Result<Action, RecordFault> {
    let kind = *bytes.get(*at).ok_or(RecordFault::Cut)?;
    *at += 1;
    if !matches!(kind, FURTHER_WORK | FURTHER_TOUCHED) {
        return Err(RecordFault::Unknown(kind));
    }
    let object = decode_object(bytes, at, state)?;
    let amount = varint::get(bytes, at)?;
    if kind == FURTHER_TOUCHED {
        return Ok(Action::Touched { object, bytes: amount });
    }
    let repeats = u32::try_from(varint::get(bytes, at)?).map_err(|_| RecordFault::Number)?;
    Ok(Action::Work { object, bytes: amount, repeats })
}

fn decode_beside(head: u8, bytes: &[u8], at: &mut usize, state: &mut State) -> Result<Record, RecordFault> {
    if head & THREAD_CHANGES != 0 {
        return Err(RecordFault::Unknown(head));
    }
    decode_time(head, bytes, at, state)?;
    match head & KIND_MASK {
        RESIDENT => Ok(Record::Resident(ResidentSample {
            time_ns: state.time_ns,
            resident_bytes: varint::get(bytes, at)?,
        })),
        MARK => Ok(Record::Mark(Mark { time_ns: state.time_ns, name: decode_name(bytes, at)? })),
        THREAD_NAME if head & TIME_MASK == TIME_SAME => {
            let thread = u32::try_from(varint::get(bytes, at)?).map_err(|_| RecordFault::Number)?;
            enter_thread(thread, state)?;
            Ok(Record::ThreadName { thread, name: decode_name(bytes, at)? })
        }
        _ => Err(RecordFault::Unknown(head)),
    }
}

fn decode_name(bytes: &[u8], at: &mut usize) -> Result<String, RecordFault> {
    let length = varint::get(bytes, at)?;
    if length > NAME_MOST_BYTES as u64 {
        return Err(RecordFault::Law(Law::NameLength(length)));
    }
    let end = *at + length as usize;
    let text = bytes.get(*at..end).ok_or(RecordFault::Cut)?;
    *at = end;
    String::from_utf8(text.to_vec()).map_err(|_| RecordFault::Name)
}

#[inline]
fn decode_object(bytes: &[u8], at: &mut usize, state: &State) -> Result<ObjectId, RecordFault> {
    let distance = varint::get(bytes, at)?;
    if distance >= state.next_object {
        return Err(RecordFault::Object);
    }
    Ok(state.next_object - 1 - distance)
}

#[inline]
fn next_object(state: &mut State) -> ObjectId {
    let object = state.next_object;
    state.next_object += 1;
    object
}

#[inline]
fn enter_thread(thread: ThreadId, state: &mut State) -> Result<(), RecordFault> {
    if thread >= state.threads {
        if thread > state.threads {
            return Err(RecordFault::Law(Law::ThreadOrder { found: thread, expected: state.threads }));
        }
        state.threads = state.threads.checked_add(1).ok_or(RecordFault::Number)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_worked_example_is_what_the_drawing_says() {
        let event = |time_ns, thread, action| Record::Event(Event { time_ns, thread, action });
        let records = [
            event(500, 0, Action::Malloc { object: 0, size: 48 }),
            event(501, 0, Action::Calloc { object: 1, size: 384 }),
            event(1501, 1, Action::Realloc { object: 0, size: 200 }),
            event(1501, 1, Action::Work { object: 0, bytes: 64, repeats: 3 }),
            event(1501, 1, Action::Touched { object: 1, bytes: 128 }),
            event(1501, 1, Action::Free { object: 1 }),
        ];
        let start = State { time_ns: 500, ..State::default() };
        let (mut state, mut bytes) = (start, Vec::new());
        for record in &records {
            encode(record, &mut state, &mut bytes);
        }
        let drawn = "02 30 13 80 03 66 e8 07 01 01 c8 01 0f 00 01 40 03 0f 01 00 80 01 08 00";
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex.join(" "), drawn);
        let (mut state, mut at) = (start, 0);
        for record in &records {
            assert_eq!(decode(&bytes, &mut at, &mut state).as_ref(), Ok(record));
        }
        assert_eq!(at, bytes.len());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300), objects in 0u64..5) {
            let mut state = State { next_object: objects, ..State::default() };
            let mut at = 0;
            while at < bytes.len() {
                let before = at;
                if decode(&bytes, &mut at, &mut state).is_err() {
                    break;
                }
                prop_assert!(at > before && at <= bytes.len());
            }
        }
    }
}
