//! Programs that no compiler wrote: verifying decides without a panic, and a worker can replay whatever
//! passes.

use std::fs::{self, File};

use heaplab_workloads::program::group::{decode_group, group_bytes, pattern_of_kind};
use heaplab_workloads::program::layout::{FIRST_WINDOW, MAGIC, VERSION};
use heaplab_workloads::program::operation::{Code, MOST_OP_BYTES, Op};
use heaplab_workloads::program::window::{HEAD_BYTES, Segment, Window};
use heaplab_workloads::program::{Order, ProgramInfo, ProgramReader, SLACK_BYTES, Windows, verify};

const SLOTS: u32 = 8;
const THREADS: u32 = 4;

/// A program whose operations are the input. The first byte says the order; then each segment is a byte for
/// the thread and where a window ends, a byte for its length, and that many bytes of operations. The heads
/// match them, as far as a strict execution of the operations shows.
pub fn verify_program(content: &[u8]) {
    let Some((&order, rest)) = content.split_first() else { return };
    let order = if order & 1 == 0 { Order::Strict } else { Order::Causal };
    let made = Made::new(rest);
    crate::with_place(|place| {
        let path = place.join("program");
        fs::write(&path, &made.bytes).expect("a file in memory");
        let info = info(order, made.windows);
        let Ok(mut reader) = ProgramReader::open(File::open(&path).expect("it was written")) else {
            panic!("its head is a program's");
        };
        if let Ok(verified) = verify(&mut reader, &info) {
            replay(&mut reader, &info, verified.buffer_bytes);
        }
    });
}

/// Walks a verified program as a worker does, with the checks that a worker omits.
fn replay(reader: &mut ProgramReader, info: &ProgramInfo, buffer_bytes: usize) {
    // A worker has at least 64 KiB: a program without windows needs no buffer, but its end needs some room.
    let mut buffer = vec![0; buffer_bytes.max(64 << 10)];
    let mut windows = 0;
    loop {
        let filled = reader.fill(&mut buffer).expect("verified");
        assert!(filled <= buffer.len() - SLACK_BYTES, "a window is longer than it was");
        if filled == 0 {
            break;
        }
        let mut at = 0;
        while at < filled {
            let head = Window::from_bytes(&buffer[at..]).expect("whole windows");
            walk_window(&buffer[at..at + head.bytes as usize + SLACK_BYTES], &head, info);
            at += head.bytes as usize;
            windows += 1;
        }
    }
    assert!(windows >= info.windows);
}

fn walk_window(bytes: &[u8], head: &Window, info: &ProgramInfo) {
    let (mut at, mut ops) = (HEAD_BYTES, 0);
    for _ in 0..head.segments {
        let (segment, begin) = Segment::decode(bytes, at).expect("verified segments");
        assert!(segment.thread < info.thread_table);
        at = begin + segment.bytes as usize;
        let mut place = begin;
        while place < at {
            let first: &[u8; MOST_OP_BYTES] = bytes[place..].first_chunk().expect("slack follows");
            let (found, length) = decode(first).expect("verified operations");
            for op in &found {
                let has_slot = !matches!(op.code, Code::FreeNull | Code::MallocTrim | Code::Mallopt);
                assert!(!has_slot || op.slot < info.slots);
            }
            place += length;
            ops += found.len() as u32;
        }
        assert_eq!(place, at, "operations end where their segment does");
    }
    assert_eq!(ops, head.ops);
}

/// The operation that bytes begin with, or those of a group, and how long they are.
fn decode(bytes: &[u8; MOST_OP_BYTES]) -> Option<(Vec<Op>, usize)> {
    if let Some(pattern) = pattern_of_kind(bytes[0]) {
        return Some((decode_group(pattern, bytes).to_vec(), group_bytes(pattern)));
    }
    let (op, length) = Op::decode(bytes)?;
    Some((vec![op], length))
}

/// The file of a program.
struct Made {
    bytes: Vec<u8>,
    windows: u64,
}

impl Made {
    fn new(mut input: &[u8]) -> Made {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_ne_bytes());
        bytes.resize(FIRST_WINDOW as usize, 0);
        let mut made = Made { bytes, windows: 0 };
        let mut sizes = [0u64; SLOTS as usize];
        let (mut body, mut head) = (Vec::new(), Window::default());
        while let [control, length, rest @ ..] = input {
            let (ops, rest) = rest.split_at((*length as usize).min(rest.len()));
            input = rest;
            let mut segment = measured(ops, &mut sizes, &mut head.ops);
            segment.thread = u32::from(control % 8);
            segment.ends_thread = control & 8 != 0;
            segment.encode(&mut body);
            body.extend(ops);
            head.segments += 1;
            head.flags |= u32::from(control >> 6);
            if control & 16 != 0 {
                made.push(&mut head, &mut body);
            }
        }
        made.push(&mut head, &mut body);
        made.bytes.extend([0; 8]);
        made
    }

    fn push(&mut self, head: &mut Window, body: &mut Vec<u8>) {
        if head.segments > 0 {
            head.bytes = (HEAD_BYTES + body.len()) as u64;
            self.bytes.extend(head.to_bytes());
            self.bytes.append(body);
            // The flags that make a window one of drain or nudge are 2 and 4.
            self.windows += u64::from(head.flags & 6 == 0);
        }
        *head = Window::default();
    }
}

/// The head that matches a segment's operations if those before it were executed first.
fn measured(ops: &[u8], sizes: &mut [u64], count: &mut u32) -> Segment {
    let (mut requested, mut peak, mut at) = (0i64, 0i64, 0);
    while at < ops.len() {
        // The last operation may be cut off.
        let mut first = [0; MOST_OP_BYTES];
        let have = (ops.len() - at).min(MOST_OP_BYTES);
        first[..have].copy_from_slice(&ops[at..at + have]);
        let Some((found, length)) = decode(&first) else { break };
        for mut op in found {
            if let Some(size) = sizes.get_mut(op.slot as usize) {
                match op.code {
                    Code::Free => op.size = std::mem::take(size),
                    code if code.allocates() => *size = op.size,
                    _ => {}
                }
            }
            let (taken, given) = op.requested_change();
            requested = requested.wrapping_sub_unsigned(taken).wrapping_add_unsigned(given);
            peak = peak.max(requested);
            *count += 1;
        }
        at += length;
    }
    Segment {
        thread: 0,
        ends_thread: false,
        bytes: ops.len() as u64,
        requested_change: requested,
        requested_peak: peak.cast_unsigned(),
    }
}

/// What the program claims to be.
fn info(order: Order, windows: u64) -> ProgramInfo {
    ProgramInfo {
        order,
        cut: Windows::new(order, 100, false),
        has_times: false,
        cpus: None,
        events: 0,
        threads: THREADS,
        thread_table: THREADS,
        slots: SLOTS,
        windows,
        peak_window: 0,
        requested_peak_bytes: 0,
        requested_mean_bytes: 0,
        requested_end_bytes: 0,
        live_at_end: 0,
        duration_ns: 0,
        counted_from_ns: 0,
        truncated: false,
        file_bytes: 0,
    }
}
