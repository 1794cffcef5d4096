//! Programs are replayed here by a model with a random scheduler: however the threads are scheduled, every
//! operation must find its slot as the trace left it, and no thread may wait forever.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use heaplab_trace::{Action, Event, Header, HugePages, Mark, Record, ResidentSample};
use proptest::prelude::*;

use super::group::{decode_group, group_bytes, pattern_of_kind};
use super::layout::{
    WINDOW_BARRIER, WINDOW_DRAIN, WINDOW_HUGE_PAGES_ADVISED, WINDOW_HUGE_PAGES_OFF, WINDOW_NUDGE,
    WINDOW_SAMPLED,
};
use super::operation::{Code, OP_PUBLISHES, OP_WAITS, Op};
use super::window::{HEAD_BYTES, Segment, Window};
use super::{
    CompileError, Order, ProgramFile, ProgramInfo, ProgramReader, SLACK_BYTES, Windows, compile, least_bytes,
    verify,
};
use crate::stream::{RecordStream, StreamError};

mod fork;
mod hostile;
mod touch;
mod tuning;

struct Records<I> {
    header: Header,
    records: I,
}

impl<I: Iterator<Item = Record>> RecordStream for Records<I> {
    fn header(&self) -> &Header {
        &self.header
    }
    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        Ok(self.records.next())
    }
}

/// A window read back from the file.
struct Block {
    head: Window,
    segments: Vec<(Segment, Vec<Op>)>,
}

fn read_ops(bytes: &[u8]) -> Vec<Op> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len() + SLACK_BYTES, 0xEE);
    let (mut ops, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let first = padded[at..].first_chunk().unwrap();
        if let Some(pattern) = pattern_of_kind(padded[at]) {
            ops.extend(decode_group(pattern, first));
            at += group_bytes(pattern);
            continue;
        }
        let (op, length) = Op::decode(first).unwrap();
        ops.push(op);
        at += length;
    }
    assert_eq!(at, bytes.len());
    ops
}

fn read_window(bytes: &[u8]) -> Block {
    let head = Window::from_bytes(bytes).unwrap();
    let mut at = HEAD_BYTES;
    let mut segments = Vec::new();
    for _ in 0..head.segments {
        let (segment, begin) = Segment::decode(bytes, at).unwrap();
        at = begin + segment.bytes as usize;
        segments.push((segment, read_ops(&bytes[begin..at])));
    }
    assert_eq!(at, bytes.len());
    Block { head, segments }
}

/// Reads the program in buffers that hold a window or two.
fn read_blocks(reader: &mut ProgramReader) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut buffer = vec![0; 200];
    loop {
        let filled = reader.fill(&mut buffer).unwrap();
        if filled == 0 {
            return blocks;
        }
        if filled > buffer.len() - SLACK_BYTES {
            buffer.resize(filled, 0);
            continue;
        }
        let mut at = 0;
        while at < filled {
            let bytes = Window::from_bytes(&buffer[at..]).unwrap().bytes as usize;
            blocks.push(read_window(&buffer[at..at + bytes]));
            at += bytes;
        }
    }
}

fn compile_events(
    events: &[Event],
    order: Order,
    cut: Windows,
) -> Result<(ProgramInfo, Vec<Block>), CompileError> {
    compile_records(events.iter().copied().map(Record::Event), order, cut)
}

fn compile_records(
    records: impl Iterator<Item = Record>,
    order: Order,
    cut: Windows,
) -> Result<(ProgramInfo, Vec<Block>), CompileError> {
    let file = ProgramFile::create_in(&std::env::temp_dir()).unwrap();
    let header = Header { has_times: true, ..Header::default() };
    let mut stream = Records { header, records };
    let info = compile(&mut stream, &file, order, cut, &mut |_| {})?;
    assert_eq!(info.file_bytes, file.file().metadata().unwrap().len());
    let mut reader = ProgramReader::open(File::open(file.path()).unwrap()).unwrap();
    verify(&mut reader, &info).expect("a compiled program is valid");
    Ok((info, read_blocks(&mut reader)))
}

/// A random history that keeps a trace's laws.
fn history() -> impl Strategy<Value = Vec<Event>> {
    let call = (0u32..5, 0u8..10, any::<prop::sample::Index>(), 0u64..20_000, 0u64..3_000_000);
    prop::collection::vec(call, 0..400).prop_map(|calls| {
        let (mut live, mut next, mut time) = (Vec::new(), 0, 0);
        let mut ended = [false; 5];
        let mut events = Vec::new();
        for (thread, kind, index, size, wait) in calls {
            if ended[thread as usize] {
                continue;
            }
            time += if wait > 2_900_000 { wait * 10 } else { wait / 100 };
            let mut new = || {
                live.push(next);
                next += 1;
                next - 1
            };
            let action = match kind {
                0 | 1 => Action::Malloc { object: new(), size },
                2 => Action::Calloc { object: new(), size },
                3 => Action::ReallocNull { object: new(), size },
                4 | 5 if !live.is_empty() => {
                    Action::Free { object: live.swap_remove(index.index(live.len())) }
                }
                6 if !live.is_empty() => {
                    Action::Realloc { object: live[index.index(live.len())], size: size + 1 }
                }
                8 if !live.is_empty() => {
                    let object = live[index.index(live.len())];
                    Action::Work { object, bytes: 0, repeats: WORK_REPEATS }
                }
                9 if !live.is_empty() => {
                    let object = live[index.index(live.len())];
                    Action::Touched { object, bytes: 2 * size }
                }
                7 if size < 200 && thread > 0 => {
                    ended[thread as usize] = true;
                    Action::ThreadEnd
                }
                _ => Action::FreeNull,
            };
            events.push(Event { time_ns: time, thread, action });
        }
        events
    })
}

/// How often a history's work is repeated.
const WORK_REPEATS: u32 = 3;

/// The model's state while it replays.
#[derive(Default)]
struct Model {
    /// Size of the object in each slot.
    slots: HashMap<u32, u64>,
    generations: HashMap<u32, u32>,
    executed: u64,
    /// Calls of `malloc_trim`, which are not counted in `executed`.
    trims: usize,
}

impl Model {
    /// Executes an operation if it need not wait; says whether it did.
    fn execute(&mut self, op: &Op) -> bool {
        if op.flags & OP_WAITS != 0 && self.generations.get(&op.slot).copied().unwrap_or(0) != op.generation {
            return false;
        }
        if op.code == Code::MallocTrim {
            assert_eq!(self.executed, op.size, "it is called in its place");
            self.trims += 1;
            return true;
        }
        match op.code {
            Code::Work => {
                let size = self.slots.get(&op.slot).copied();
                assert!(size.is_some_and(|size| size >= op.size), "work finds its object");
                assert_eq!(op.old_size, u64::from(WORK_REPEATS));
            }
            Code::FreeNull => {}
            Code::Free => assert!(self.slots.remove(&op.slot).is_some(), "a free finds its object"),
            Code::Realloc => {
                let old = self.slots.insert(op.slot, op.size);
                assert_eq!(old, Some(op.old_size), "a realloc finds its object");
            }
            _ => assert_eq!(self.slots.insert(op.slot, op.size), None, "an allocation finds an empty slot"),
        }
        if op.flags & OP_PUBLISHES != 0 {
            self.generations.insert(op.slot, op.generation + 1);
        }
        self.executed += 1;
        true
    }
}

/// A segment that is being executed.
struct Running<'a> {
    window: usize,
    thread: u32,
    ops: &'a [Op],
    at: usize,
}

/// Replays blocks as the worker does in causal order, drawing the next thread to take a step from `luck`.
fn replay_causal(blocks: &[Block], luck: &[usize]) -> Model {
    let mut model = Model::default();
    let mut running: Vec<Running<'_>> = Vec::new();
    let (mut done, mut opened, mut turn) = (0, 0, 0);
    loop {
        while opened < blocks.len() {
            let alone = blocks[opened].head.flags & WINDOW_BARRIER != 0;
            if opened - done >= if alone { 1 } else { 2 } {
                break;
            }
            for (segment, ops) in &blocks[opened].segments {
                running.push(Running { window: opened, thread: segment.thread, ops, at: 0 });
            }
            opened += 1;
        }
        if running.is_empty() {
            return model;
        }
        let first = luck[turn % luck.len()] % running.len();
        turn += 1;
        let mut moved = false;
        for offset in 0..running.len() {
            let index = (first + offset) % running.len();
            let (window, thread) = (running[index].window, running[index].thread);
            let earlier = running.iter().any(|other| other.thread == thread && other.window < window);
            if earlier {
                continue;
            }
            let this = &mut running[index];
            if this.at == this.ops.len() {
                running.remove(index);
                moved = true;
            } else if model.execute(&this.ops[this.at]) {
                this.at += 1;
                moved = true;
            }
            if moved {
                break;
            }
        }
        assert!(moved, "every thread waits for another");
        while done < opened && running.iter().all(|segment| segment.window > done) {
            done += 1;
        }
    }
}

fn trace_blocks(blocks: Vec<Block>) -> (Vec<Block>, Vec<Block>) {
    blocks.into_iter().partition(|block| block.head.flags & (WINDOW_DRAIN | WINDOW_NUDGE) == 0)
}

fn narrow() -> Windows {
    Windows { events: 7, bytes: 60_000, live_share: 4, time_ns: Some(1_000_000), gap_ns: 10_000_000 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn causal_order_is_right_whatever_the_threads_luck(
        events in history(),
        luck in prop::collection::vec(0usize..64, 1..50),
    ) {
        let (info, blocks) = compile_events(&events, Order::Causal, narrow()).unwrap();
        let (trace, extra) = trace_blocks(blocks);
        prop_assert_eq!(info.windows, trace.len() as u64);
        let model = replay_causal(&trace, &luck);
        prop_assert_eq!(model.slots.len() as u64, info.live_at_end);
        prop_assert_eq!(model.slots.values().sum::<u64>(), info.requested_end_bytes);
        prop_assert!(model.slots.keys().all(|slot| *slot < info.slots));
        let drained = extra.iter().filter(|block| block.head.flags & WINDOW_DRAIN != 0);
        prop_assert_eq!(drained.map(|block| u64::from(block.head.ops)).sum::<u64>(), info.live_at_end);
    }

    #[test]
    fn strict_order_is_the_traces_own(events in history()) {
        let (info, blocks) = compile_events(&events, Order::Strict, narrow()).unwrap();
        let mut model = Model::default();
        let mut order = Vec::new();
        for (segment, ops) in blocks.iter().flat_map(|block| &block.segments) {
            for op in ops {
                prop_assert_eq!(op.flags & (OP_WAITS | OP_PUBLISHES), 0);
                prop_assert!(model.execute(op));
            }
            order.extend(std::iter::repeat_n(segment.thread, ops.len()));
        }
        prop_assert!(model.slots.is_empty(), "the drain leaves nothing");
        let calls: Vec<u32> = events.iter().filter(|event| is_call(event)).map(|event| event.thread).collect();
        order.truncate(calls.len());
        prop_assert_eq!(calls, order);
        let mut peak = (0i64, 0i64);
        let mut sizes = HashMap::new();
        for event in &events {
            if let Some(object) = event.action.freed() {
                peak.0 -= sizes.remove(&object).unwrap_or(0) as i64;
            }
            if let Some((object, size)) = event.action.allocated() {
                sizes.insert(object, size);
                peak.0 += size as i64;
            }
            if let Action::Realloc { object, size } = event.action {
                peak.0 += size as i64 - sizes.insert(object, size).unwrap_or(0) as i64;
            }
            peak.1 = peak.1.max(peak.0);
        }
        prop_assert_eq!(info.requested_peak_bytes, peak.1 as u64);
        if let Some(block) = blocks.get(info.peak_window as usize) {
            let lost = info.requested_peak_bytes - block.head.requested_end;
            prop_assert!(lost <= info.requested_peak_bytes / 512, "the window ends at the peak: {lost}");
        }
    }
}

/// Whether the event is an operation of its thread.
fn is_call(event: &Event) -> bool {
    !matches!(event.action, Action::ThreadEnd | Action::Touched { .. })
}

fn at(time_ns: u64, thread: u32, action: Action) -> Event {
    Event { time_ns, thread, action }
}

#[test]
fn an_ended_thread_ends_behind_its_segment_and_its_objects_go_to_the_initial_thread() {
    let events = [
        at(0, 0, Action::FreeNull),
        at(1, 1, Action::ThreadStart),
        at(2, 1, Action::Malloc { object: 0, size: 10 }),
        at(3, 1, Action::ThreadEnd),
    ];
    let (info, blocks) = compile_events(&events, Order::Causal, narrow()).unwrap();
    assert_eq!((info.events, info.threads, info.live_at_end), (4, 2, 1));
    let (segment, ops) = &blocks[0].segments[1];
    assert_eq!((segment.thread, segment.ends_thread, ops.len()), (1, true, 1));
    let drain = blocks.iter().find(|block| block.head.flags & WINDOW_DRAIN != 0).unwrap();
    assert_eq!(drain.segments[0].0.thread, 0);
}

#[test]
fn huge_pages_are_what_the_process_said_from_the_next_event_on() {
    let malloc = |time, object| Record::Event(at(time, 0, Action::Malloc { object, size: 100 }));
    let mark = |time_ns, said: &str| Record::Mark(Mark { time_ns, name: said.into() });
    let records = [
        mark(0, HugePages::Advised.mark()),
        malloc(1, 0),
        mark(2, "warm-up"),
        malloc(3, 1),
        mark(4, HugePages::Allowed.mark()),
        mark(4, HugePages::Off.mark()),
        malloc(5, 2),
    ];
    for order in [Order::Strict, Order::Causal] {
        let (_, blocks) = compile_records(records.iter().cloned(), order, narrow()).unwrap();
        let (main, _) = trace_blocks(blocks);
        let told: Vec<_> =
            main.iter().map(|block| (block.head.events, block.head.flags & !WINDOW_BARRIER)).collect();
        assert_eq!(told, [(2, WINDOW_HUGE_PAGES_ADVISED), (1, WINDOW_HUGE_PAGES_OFF)]);
        assert!(main.iter().all(|block| block.head.flags & WINDOW_BARRIER != 0));
    }
}

#[test]
fn a_strict_window_ends_where_the_recorded_process_was_looked_at() {
    let malloc = |time, object| Record::Event(at(time, 0, Action::Malloc { object, size: 100 }));
    let look = |time_ns| Record::Resident(ResidentSample { time_ns, resident_bytes: 1 });
    // Before the first event; at the time of events to come; twice with nothing between; after the last event.
    let records = [
        look(0),
        malloc(5, 0),
        malloc(6, 1),
        look(8),
        malloc(8, 2),
        look(9),
        look(10),
        malloc(12, 3),
        look(20),
    ];
    let (info, blocks) = compile_records(records.iter().cloned(), Order::Strict, narrow()).unwrap();
    let (main, _) = trace_blocks(blocks);
    let told: Vec<_> =
        main.iter().map(|block| (block.head.events, block.head.last_time, block.head.flags)).collect();
    assert_eq!(told, [(2, 3, WINDOW_SAMPLED), (1, 4, WINDOW_SAMPLED), (1, 15, WINDOW_SAMPLED)]);
    assert_eq!(info.duration_ns, 7, "a sample is not an event");
    assert_eq!(info.requested_mean_bytes, (100 + 2 * 200 + 4 * 300) / 7);
    // A window that was full just before the sample.
    let full = (0..7).map(|object| malloc(object, object)).chain([look(9), malloc(9, 7), look(19)]);
    let (_, blocks) = compile_records(full, Order::Strict, narrow()).unwrap();
    let (main, _) = trace_blocks(blocks);
    let told: Vec<_> =
        main.iter().map(|block| (block.head.events, block.head.last_time, block.head.flags)).collect();
    assert_eq!(told, [(7, 9, WINDOW_SAMPLED), (1, 19, WINDOW_SAMPLED)]);
    let (causal, blocks) = compile_records(records.into_iter(), Order::Causal, narrow()).unwrap();
    let (main, _) = trace_blocks(blocks);
    assert_eq!((main.len(), main[0].head.flags), (1, 0), "in causal order no such place exists");
    assert_eq!(causal.requested_mean_bytes, info.requested_mean_bytes);
}

#[test]
fn what_breaks_a_traces_laws_is_an_error_that_names_the_event() {
    let malloc = Action::Malloc { object: 0, size: 1 };
    let free = Action::Free { object: 0 };
    for (events, word) in [
        (vec![at(0, 0, free)], "not live"),
        (vec![at(0, 0, malloc), at(0, 0, malloc)], "while it is live"),
        (vec![at(5, 0, malloc), at(4, 0, free)], "before its predecessor"),
        (vec![at(0, 1, Action::ThreadEnd), at(1, 1, malloc)], "after its end"),
        (vec![at(0, 0, Action::AlignedAlloc { object: 0, size: 1, alignment: 3 })], "power of two"),
        (vec![at(0, u32::MAX, malloc)], "threads"),
    ] {
        let Err(error) = compile_events(&events, Order::Causal, narrow()) else { panic!("{word}") };
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_folder_without_room_is_named_with_the_bytes_that_are_needed() {
    let events: Vec<Event> =
        (0..1_000).map(|time| at(time, 0, Action::Malloc { object: time, size: 10 })).collect();
    let (info, _) = compile_events(&events, Order::Strict, narrow()).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let full = ProgramFile::from_file(full, Path::new("/the/folder"));
    let records = events.iter().copied().map(Record::Event);
    let mut stream = Records { header: Header { has_times: true, ..Header::default() }, records };
    let error = compile(&mut stream, &full, Order::Strict, narrow(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, CompileError::NoRoom { needed_bytes, .. } if needed_bytes == info.file_bytes));
    let text = error.to_string();
    assert!(text.contains("/the/folder") && text.contains(&info.file_bytes.to_string()), "{text}");
    assert!(text.contains("TMPDIR"), "{text}");
}

#[test]
fn an_empty_trace_is_an_empty_program() {
    let (info, blocks) = compile_events(&[], Order::Strict, narrow()).unwrap();
    assert_eq!((info.events, info.windows, info.thread_table, info.live_at_end), (0, 0, 1, 0));
    assert!(blocks.iter().all(|block| block.head.flags & WINDOW_NUDGE != 0));
}

#[test]
fn a_program_is_no_shorter_than_is_said_before_and_little_longer() {
    // Objects of all kinds that lie in groups: four at a time are allocated and then freed.
    let events: Vec<Event> = (0..8_000u64)
        .map(|index| {
            let object = index / 8 * 4 + index % 4;
            let action =
                if index % 8 < 4 { Action::Malloc { object, size: 64 } } else { Action::Free { object } };
            at(index, 0, action)
        })
        .collect();
    let (info, _) =
        compile_events(&events, Order::Causal, Windows::new(Order::Causal, 5_000, false)).unwrap();
    let least = least_bytes(&heaplab_trace::Summary { objects: 4_000, ..Default::default() });
    let beside = info.file_bytes - least;
    // The nudge, which every program has, and the heads.
    let nudge = compile_events(&[], Order::Causal, narrow()).unwrap().0.file_bytes;
    assert!((0..nudge + 1_000).contains(&beside), "{beside} of {}", info.file_bytes);
}
