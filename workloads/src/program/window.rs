//! The heads of windows and segments, and their bytes.

/// Bytes of a window's head.
pub const HEAD_BYTES: usize = 64;

/// Head of a window. Times are in ns (or event indices) since the trace's first event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Bytes of the whole window, this head included; 0 at the program's end.
    pub bytes: u64,
    /// Time of its first event.
    pub first_time: u64,
    /// Time of its last event.
    pub last_time: u64,
    /// Requested bytes live after its last event.
    pub requested_end: u64,
    /// Largest requested bytes live at any of its events.
    pub requested_max: u64,
    /// Events, as the trace counts them.
    pub events: u64,
    /// How many segments.
    pub segments: u32,
    /// `WINDOW_*`.
    pub flags: u32,
    /// How many operations.
    pub ops: u32,
}

/// Operations that one thread executes one after another within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The thread.
    pub thread: u32,
    /// Whether the thread ends after it.
    pub ends_thread: bool,
    /// Bytes of its operations.
    pub bytes: u64,
    /// How much it changes the requested bytes.
    pub requested_change: i64,
    /// The most by which it raises them along the way.
    pub requested_peak: u64,
}

impl Window {
    /// The bytes as they stand in the file.
    pub fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let longs = [
            self.bytes,
            self.first_time,
            self.last_time,
            self.requested_end,
            self.requested_max,
            self.events,
        ];
        for (place, value) in bytes.chunks_exact_mut(8).zip(longs) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        for (place, value) in bytes[48..].chunks_exact_mut(4).zip([self.segments, self.flags, self.ops]) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// The head that `bytes` begin with; none if there are too few.
    pub fn from_bytes(bytes: &[u8]) -> Option<Window> {
        let bytes = bytes.first_chunk::<HEAD_BYTES>()?;
        let long = |index: usize| {
            bytes[index * 8..].first_chunk::<8>().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
        };
        let short = |at: usize| bytes[at..].first_chunk::<4>().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        Some(Window {
            bytes: long(0),
            first_time: long(1),
            last_time: long(2),
            requested_end: long(3),
            requested_max: long(4),
            events: long(5),
            segments: short(48),
            flags: short(52),
            ops: short(56),
        })
    }
}

impl Segment {
    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put(out, u64::from(self.thread) << 1 | u64::from(self.ends_thread));
        put(out, self.bytes);
        put(out, (self.requested_change << 1 ^ self.requested_change >> 63).cast_unsigned());
        put(out, self.requested_peak);
    }

    /// The segment that begins at `at` in a window's bytes, and where its operations begin; none if it is cut
    /// off or longer than the window.
    pub fn decode(window: &[u8], mut at: usize) -> Option<(Segment, usize)> {
        let thread = take(window, &mut at)?;
        let bytes = take(window, &mut at)?;
        let change = take(window, &mut at)?;
        let requested_peak = take(window, &mut at)?;
        let segment = Segment {
            thread: u32::try_from(thread >> 1).ok()?,
            ends_thread: thread & 1 != 0,
            bytes,
            requested_change: (change >> 1).cast_signed() ^ -(change & 1).cast_signed(),
            requested_peak,
        };
        let rest = (window.len() - at) as u64;
        (bytes <= rest).then_some((segment, at))
    }
}

/// Appends a number in variable length.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number in variable length; none if it is cut off or longer than 64 bits.
fn take(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if shift == 63 && byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_segment_is_read_as_it_was_written(
            thread in any::<u32>(), ends_thread in any::<bool>(), bytes in 0u64..300,
            requested_change in any::<i64>(), requested_peak in any::<u64>(),
        ) {
            let segment = Segment { thread, ends_thread, bytes, requested_change, requested_peak };
            let mut out = vec![7];
            segment.encode(&mut out);
            let head = out.len();
            out.resize(head + bytes as usize, 0);
            prop_assert_eq!(Segment::decode(&out, 1), Some((segment, head)));
            out.pop();
            prop_assert_eq!(Segment::decode(&out, 1), None, "cut off");
        }

        #[test]
        fn any_bytes_are_a_segment_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some((segment, at)) = Segment::decode(&bytes, 0) {
                prop_assert!(at as u64 + segment.bytes <= bytes.len() as u64);
            }
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let window = Window {
            bytes: 1,
            first_time: 2,
            last_time: 3,
            requested_end: 4,
            requested_max: 5,
            events: 6,
            segments: 7,
            flags: 8,
            ops: 9,
        };
        assert_eq!(Window::from_bytes(&window.to_bytes()), Some(window));
        assert_eq!(Window::from_bytes(&window.to_bytes()[1..]), None);
    }
}
