//! One call of a replay, and its bytes in a program file.
//!
//! An operation takes the first form that can hold it: short for a small block in one of the first 16 million
//! slots that no other thread waits for, medium for most others, wide for all. `layout.rs` draws them. Four
//! short ones in a row may form a group (`group.rs`).

/// Unit of [`Op::touch`] in bytes: a cache line.
pub const TOUCH_UNIT: u64 = 64;
/// The longest operation. A decoder must be able to read this many bytes, whatever the operation's length.
pub const MOST_OP_BYTES: usize = 36;
/// The largest block whose touch length may be left to its size: that of a larger block may be changed in the
/// file.
pub const SHORT_TOUCH_BYTES: u64 = 4096;

/// What an operation calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// `malloc(size)` into the slot.
    Malloc = 0,
    /// `calloc(1, size)` into the slot.
    Calloc = 1,
    /// `posix_memalign(alignment, size)` into the slot.
    AlignedAlloc = 2,
    /// `realloc(NULL, size)` into the slot.
    ReallocNull = 3,
    /// `realloc(slot, size)`.
    Realloc = 4,
    /// `free(slot)`.
    Free = 5,
    /// `free(NULL)`.
    FreeNull = 6,
    /// Reads and writes back each of the first `size` bytes of the slot's object, `old_size` times over.
    Work = 7,
    /// `malloc_trim(size)`, of the whole heap. Its slot is 0 and unused.
    MallocTrim = 8,
    /// `mallopt(size, old_size)`, each an `int` in its low 32 bits. Its slot is 0 and unused.
    Mallopt = 9,
}

impl Code {
    /// The code with that number.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Option<Code> {
        Some(match number {
            0 => Code::Malloc,
            1 => Code::Calloc,
            2 => Code::AlignedAlloc,
            3 => Code::ReallocNull,
            4 => Code::Realloc,
            5 => Code::Free,
            6 => Code::FreeNull,
            7 => Code::Work,
            8 => Code::MallocTrim,
            9 => Code::Mallopt,
            _ => return None,
        })
    }

    /// Whether it gives an object a block, which is then touched.
    #[inline(always)]
    pub const fn allocates(self) -> bool {
        (self as u8) <= Code::Realloc as u8
    }

    /// Whether the file has its size.
    #[inline(always)]
    const fn has_size(self) -> bool {
        !matches!(self, Code::Free | Code::FreeNull)
    }

    /// Whether the file has a second number for it: the old size, or the alignment.
    #[inline(always)]
    const fn has_aux(self) -> bool {
        matches!(self, Code::AlignedAlloc | Code::Realloc | Code::Work | Code::Mallopt)
    }
}

/// The operation waits until the slot's generation has reached its own.
pub const OP_WAITS: u8 = 1 << 6;
/// Afterwards, the operation sets the slot's generation to its own plus one: another thread may wait for it.
pub const OP_PUBLISHES: u8 = 1 << 7;

const FORM_SHIFT: u8 = 4;
const SHORT: u8 = 0;
const MEDIUM: u8 = 1;
const WIDE: u8 = 2;
const SLOTS_IN_HEAD: u32 = 1 << 24;

/// How much of an operation the file states: its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// A small block, in one of the first slots, that no other thread waits for.
    Short = SHORT,
    /// Most others.
    Medium = MEDIUM,
    /// All others.
    Wide = WIDE,
}

impl Form {
    /// The form of an operation of that kind; none if no operation has such a kind.
    #[inline(always)]
    pub const fn of_kind(kind: u8) -> Option<Form> {
        match kind >> FORM_SHIFT & 3 {
            SHORT => Some(Form::Short),
            MEDIUM => Some(Form::Medium),
            WIDE => Some(Form::Wide),
            _ => None,
        }
    }

    /// The kind, which is an operation's first byte, of a call in this form with those flags.
    #[inline(always)]
    pub const fn kind(self, code: u8, flags: u8) -> u8 {
        code | (self as u8) << FORM_SHIFT | flags
    }
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// Requested bytes; for work, the bytes to work on; for `malloc_trim` its pad, for `mallopt` its
    /// parameter. For a free, during compilation, the object's bytes: the file does not state them.
    pub size: u64,
    /// For a realloc, the bytes that the object had before; for work, how many times it is repeated; for
    /// `mallopt`, the value.
    pub old_size: u64,
    /// Where the object's pointer is kept.
    pub slot: u32,
    /// What `OP_WAITS` waits for; `OP_PUBLISHES` sets one more.
    pub generation: u32,
    /// How far the program writes to the block, in units of [`TOUCH_UNIT`], never to be applied beyond
    /// `size`.
    pub touch: u32,
    /// What it calls.
    pub code: Code,
    /// `OP_WAITS` and `OP_PUBLISHES`.
    pub flags: u8,
    /// Binary logarithm of the alignment of an aligned allocation.
    pub alignment_log2: u8,
}

impl Op {
    /// A call that neither waits nor publishes.
    #[inline(always)]
    pub fn new(code: Code, slot: u32, size: u64) -> Op {
        Op { size, old_size: 0, slot, generation: 0, touch: 0, code, flags: 0, alignment_log2: 0 }
    }

    /// By how much it changes the requested bytes: what it subtracts, and what it then adds.
    pub fn requested_change(&self) -> (u64, u64) {
        match self.code {
            Code::Realloc => (self.old_size, self.size),
            Code::Free => (self.size, 0),
            code if code.allocates() => (0, self.size),
            _ => (0, 0),
        }
    }

    /// The second number of the code.
    fn aux(&self) -> u64 {
        if self.code == Code::AlignedAlloc { u64::from(self.alignment_log2) } else { self.old_size }
    }

    /// The touch length of a block whose size alone determines it.
    #[inline(always)]
    pub(super) fn whole_touch(code: Code, size: u64) -> u32 {
        if code.allocates() { touch_units(size) } else { 0 }
    }

    fn is_short(&self) -> bool {
        let most = if self.code.allocates() { SHORT_TOUCH_BYTES } else { u64::from(u16::MAX) };
        (!self.code.has_size() || self.size <= most)
            && (!self.code.has_aux() || self.aux() <= u64::from(u16::MAX))
            && self.touch == Op::whole_touch(self.code, self.size)
    }

    fn is_medium(&self) -> bool {
        let fits = |number: u64| number <= u64::from(u32::MAX);
        (!self.code.has_size() || fits(self.size)) && (!self.code.has_aux() || fits(self.aux()))
    }

    /// Appends its bytes. Returns the offset of its touch length from its start, where the file has one.
    pub fn encode(&self, out: &mut Vec<u8>) -> Option<usize> {
        let begin = out.len();
        let in_head = self.slot < SLOTS_IN_HEAD;
        let head = |form: Form, slot: u32| {
            (u32::from(form.kind(self.code as u8, self.flags)) | slot << 8).to_ne_bytes()
        };
        if self.fits_short() {
            out.extend(head(Form::Short, self.slot));
            if self.code.has_size() {
                out.extend((self.size as u16).to_ne_bytes());
            }
            if self.code.has_aux() {
                out.extend((self.aux() as u16).to_ne_bytes());
            }
            return None;
        }
        if in_head && self.is_medium() {
            out.extend(head(Form::Medium, self.slot));
            if self.code.has_size() {
                out.extend((self.size as u32).to_ne_bytes());
            }
            let touch = out.len() - begin;
            if self.code.allocates() {
                out.extend(self.touch.to_ne_bytes());
            }
            if self.code.has_aux() {
                out.extend((self.aux() as u32).to_ne_bytes());
            }
            if self.flags != 0 {
                out.extend(self.generation.to_ne_bytes());
            }
            return self.code.allocates().then_some(touch);
        }
        out.extend(head(Form::Wide, 0));
        out.extend(self.slot.to_ne_bytes());
        let size = if self.code.has_size() { self.size } else { 0 };
        out.extend(size.to_ne_bytes());
        out.extend(self.old_size.to_ne_bytes());
        out.extend(self.generation.to_ne_bytes());
        out.extend(self.touch.to_ne_bytes());
        out.extend(u32::from(self.alignment_log2).to_ne_bytes());
        self.code.allocates().then_some(28)
    }

    /// The operation that `bytes` begin with, and its length; none if no operation has such a kind.
    #[inline(always)]
    pub fn decode(bytes: &[u8; MOST_OP_BYTES]) -> Option<(Op, usize)> {
        Op::decode_kind(bytes[0], bytes)
    }

    /// The same where the first byte is known to be `kind`.
    #[inline(always)]
    pub fn decode_kind(kind: u8, bytes: &[u8; MOST_OP_BYTES]) -> Option<(Op, usize)> {
        let mut op = Op::new(Code::FreeNull, 0, 0);
        let length = op.read(kind, bytes)?;
        Some((op, length))
    }

    /// Becomes the operation that `bytes` begin with, whose first byte is `kind`. Returns its length; none if no
    /// operation has such a kind.
    ///
    /// PERF: every position that is read is fixed once the code and the form are known, and lies in the
    /// array, so no bounds are checked. The operation is filled in place, because a copied operation is read
    /// in different widths than it was written in, which the processor cannot forward.
    #[inline(always)]
    pub fn read(&mut self, kind: u8, bytes: &[u8; MOST_OP_BYTES]) -> Option<usize> {
        let form = Form::of_kind(kind)?;
        *self = Op::new(Code::from_number(kind & 0xF)?, u32_at(bytes, 0) >> 8, 0);
        self.flags = kind & (OP_WAITS | OP_PUBLISHES);
        Some(match form {
            Form::Short => self.decode_short(bytes),
            Form::Medium => self.decode_medium(bytes),
            Form::Wide => self.decode_wide(bytes),
        })
    }

    /// Whether the short form can hold it.
    pub(super) fn fits_short(&self) -> bool {
        self.slot < SLOTS_IN_HEAD && self.flags == 0 && self.is_short()
    }

    #[inline(always)]
    fn decode_short(&mut self, bytes: &[u8; MOST_OP_BYTES]) -> usize {
        let mut length = 4;
        if self.code.has_size() {
            self.size = u64::from(u16_at(bytes, 4));
            length = 6;
        }
        if self.code.has_aux() {
            self.set_aux(u64::from(u16_at(bytes, 6)));
            length = 8;
        }
        self.touch = Op::whole_touch(self.code, self.size);
        length
    }

    #[inline(always)]
    fn decode_medium(&mut self, bytes: &[u8; MOST_OP_BYTES]) -> usize {
        let mut length = 4;
        if self.code.has_size() {
            self.size = u64::from(u32_at(bytes, length));
            length += 4;
        }
        if self.code.allocates() {
            self.touch = u32_at(bytes, length);
            length += 4;
        }
        if self.code.has_aux() {
            self.set_aux(u64::from(u32_at(bytes, length)));
            length += 4;
        }
        if self.flags != 0 {
            self.generation = u32_at(bytes, length);
            length += 4;
        }
        length
    }

    fn decode_wide(&mut self, bytes: &[u8; MOST_OP_BYTES]) -> usize {
        self.slot = u32_at(bytes, 4);
        self.size = u64_at(bytes, 8);
        self.old_size = u64_at(bytes, 16);
        self.generation = u32_at(bytes, 24);
        self.touch = u32_at(bytes, 28);
        self.alignment_log2 = u32_at(bytes, 32) as u8;
        MOST_OP_BYTES
    }

    #[inline(always)]
    fn set_aux(&mut self, number: u64) {
        if self.code == Code::AlignedAlloc {
            self.alignment_log2 = number as u8;
        } else {
            self.old_size = number;
        }
    }
}

#[inline(always)]
fn u16_at(bytes: &[u8; MOST_OP_BYTES], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn u32_at(bytes: &[u8; MOST_OP_BYTES], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline(always)]
fn u64_at(bytes: &[u8; MOST_OP_BYTES], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// `bytes` in units of [`TOUCH_UNIT`], rounded up; beyond 256 GiB it saturates.
#[inline(always)]
pub const fn touch_units(bytes: u64) -> u32 {
    let units = bytes.div_ceil(TOUCH_UNIT);
    if units > u32::MAX as u64 { u32::MAX } else { units as u32 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(op: &Op) -> (Vec<u8>, Option<usize>) {
        let mut bytes = Vec::new();
        let touch = op.encode(&mut bytes);
        (bytes, touch)
    }

    fn decoded(bytes: &[u8]) -> Option<(Op, usize)> {
        let mut padded = [0xEE; MOST_OP_BYTES];
        padded[..bytes.len()].copy_from_slice(bytes);
        Op::decode(&padded)
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            0u64..100,
            4_000u64..5_000,
            65_000u64..66_000,
            (1u64 << 32) - 9..(1 << 32) + 9,
            any::<u64>()
        ]
    }

    fn any_op() -> impl Strategy<Value = Op> {
        let slot = prop_oneof![0u32..9, SLOTS_IN_HEAD - 2..SLOTS_IN_HEAD + 2, any::<u32>()];
        let flags = prop_oneof![Just(0), Just(OP_WAITS), Just(OP_PUBLISHES), Just(OP_WAITS | OP_PUBLISHES)];
        (0u8..10, slot, number(), number(), prop::option::of(any::<u32>()), any::<u32>(), flags, 0u8..64)
            .prop_map(|(code, slot, size, aux, touch, generation, flags, alignment_log2)| {
                let code = Code::from_number(code).unwrap();
                let mut op = Op::new(code, slot, if code.has_size() { size } else { 0 });
                if code == Code::AlignedAlloc {
                    op.alignment_log2 = alignment_log2;
                } else if code.has_aux() {
                    op.old_size = aux;
                }
                if code.allocates() {
                    op.touch = touch.unwrap_or_else(|| touch_units(size));
                }
                (op.flags, op.generation) = (flags, if flags == 0 { 0 } else { generation });
                op
            })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(op in any_op()) {
            let (bytes, touch) = encoded(&op);
            prop_assert!(bytes.len() <= MOST_OP_BYTES);
            prop_assert_eq!(decoded(&bytes), Some((op, bytes.len())));
            if let Some(touch) = touch {
                prop_assert_eq!(&bytes[touch..touch + 4], op.touch.to_ne_bytes());
            } else {
                prop_assert!(!op.code.allocates() || op.size <= SHORT_TOUCH_BYTES);
            }
        }

        #[test]
        fn any_bytes_are_an_operation_or_none(bytes in any::<[u8; MOST_OP_BYTES]>()) {
            match Op::decode(&bytes) {
                Some((_, length)) => prop_assert!((4..=MOST_OP_BYTES).contains(&length)),
                None => prop_assert!(bytes[0] & 0xF > Code::Mallopt as u8 || bytes[0] >> FORM_SHIFT & 3 == 3),
            }
        }
    }

    #[test]
    fn the_calls_that_programs_make_most_are_short() {
        let malloc = Op { touch: touch_units(100), ..Op::new(Code::Malloc, 70_000, 100) };
        assert_eq!(encoded(&malloc).0.len(), 6);
        assert_eq!(encoded(&Op::new(Code::Free, 70_000, 100)).0.len(), 4);
        let realloc = Op { touch: touch_units(200), old_size: 100, ..Op::new(Code::Realloc, 3, 200) };
        assert_eq!(encoded(&realloc).0.len(), 8);
        let waits = Op { flags: OP_WAITS, generation: 7, ..Op::new(Code::Free, 3, 100) };
        assert_eq!(encoded(&waits).0.len(), 8);
    }
}
