//! One thread's chunks as the steps that matter to the merge, in the thread's order, each with its tick.
//!
//! It reads windows of a chunk, so a thread costs about 32 KiB while it is read and nothing before or after.
//! A record that cannot be read ends its chunk; the thread continues with its next chunk.

use heaplab_raw::{Allocation, CHUNK_HEAD_BYTES, Call, Decoder, Event, MarkKind, RECORD_MOST_BYTES};

use super::index::{Chunk, Place, Sources};
use super::{ImportError, Problems};

const WINDOW_BYTES: usize = 32 << 10;

/// What a thread did, as far as the trace is concerned: a realloc is one step where its block stays, and
/// two, leaving and arriving, where it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) what: What,
    /// The address that the step is about; 0 if none.
    pub(super) address: u64,
    /// Requested bytes, or a count.
    pub(super) size: u64,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Allocate(Allocation),
    Aligned {
        log2: u8,
    },
    Free {
        touched: Touched,
    },
    FreeNull,
    /// A block leaves its address: a realloc that will move it or free it was started.
    Leave {
        touched: Touched,
    },
    /// The realloc that was started ends with the block at another address.
    Arrive,
    /// The realloc that was started ended with the block where it was.
    Resize {
        touched: Touched,
    },
    /// The realloc that was started was to 0 and freed the block.
    ReallocFreed,
    /// The block, if there is one, stays live to the process's end.
    Touch {
        touched: Touched,
    },
    Failed(Call),
    ThreadBegin,
    ThreadEnd,
    CreateEnter,
    CreateLeave,
    Lost,
    Mark {
        kind: MarkKind,
        argument: i32,
        detail: i16,
    },
}

/// How much of a block was resident when it was freed or reallocated, if that is known. It is part of that
/// step, so that no order of the threads' steps can separate the two. For a block that is live at the
/// process's end it is a step of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Touched(u32);

impl Touched {
    pub(super) const UNKNOWN: Touched = Touched(u32::MAX);
    // PERF: in this unit it fits beside the kind of a step: no step is longer for it.
    const UNIT_BYTES: u64 = 1024;

    fn of(bytes: u64) -> Touched {
        Touched(u32::try_from(bytes.div_ceil(Touched::UNIT_BYTES)).unwrap_or(u32::MAX))
    }

    /// In bytes, at most 1 KiB more than was recorded.
    pub(super) fn bytes(self) -> Option<u64> {
        (self != Touched::UNKNOWN).then(|| u64::from(self.0) * Touched::UNIT_BYTES)
    }
}

const _: () = assert!(size_of::<Step>() == 24);

/// What a step requires of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing may be live there before; something is afterwards.
    Vacant,
    /// Something must be live there before; nothing is afterwards.
    Released,
    /// Something must be live there, and stays.
    Held,
    Nothing,
}

impl Step {
    pub(super) fn need(&self) -> Need {
        match self.what {
            What::Allocate(_) | What::Aligned { .. } | What::Arrive => Need::Vacant,
            What::Free { .. } | What::Leave { .. } => Need::Released,
            What::Resize { .. } => Need::Held,
            _ => Need::Nothing,
        }
    }
}

/// The steps of one thread.
pub(super) struct Stream<'a> {
    sources: &'a Sources,
    chunks: &'a [Chunk],
    /// The file that the window belongs to.
    place: Place,
    /// Chunks whose content was started.
    opened: usize,
    window: Vec<u8>,
    /// Where in the file the window begins.
    window_offset: u64,
    /// Where the chunk's content ends in the file.
    end_offset: u64,
    decoder: Decoder,
    tick_us: u64,
    /// Ticks that went back and were raised.
    pub(super) ticks_raised: u64,
    /// Lengths of the chunks that were started.
    pub(super) read_bytes: u64,
    /// The next step and its tick, read ahead.
    next: Option<(u64, Step)>,
    /// An event that was read to know what a realloc became.
    ahead: Option<(u64, Event)>,
    /// What the thread's last event said about the block at an address.
    touched: Option<(u64, Touched)>,
    ending: bool,
}

impl<'a> Stream<'a> {
    /// Makes a stream of a thread's chunks, of which there is at least one.
    pub(super) fn new(sources: &'a Sources, chunks: &'a [Chunk]) -> Stream<'a> {
        Stream {
            sources,
            chunks,
            place: Place::Own,
            opened: 0,
            window: Vec::new(),
            window_offset: 0,
            end_offset: 0,
            decoder: Decoder::new(0),
            tick_us: 0,
            ticks_raised: 0,
            read_bytes: 0,
            next: None,
            ahead: None,
            touched: None,
            ending: false,
        }
    }

    /// The tick that the thread's first chunk begins at: no step is before it.
    pub(super) fn begin_us(&self) -> u64 {
        self.chunks[0].head.tick.elapsed_us()
    }

    /// The kernel's identifier of the thread.
    pub(super) fn tid(&self) -> u32 {
        self.chunks[0].head.tid
    }

    /// The tick of the next step; none after the last one.
    pub(super) fn next_tick(&mut self, problems: &mut Problems) -> Result<Option<u64>, ImportError> {
        if self.next.is_none() {
            self.next = self.read_step(problems)?;
        }
        Ok(self.next.map(|(tick_us, _)| tick_us))
    }

    /// Moves steps of the tick `tick_us` to the end of `steps` until `steps` has `most`; says whether the
    /// tick has more.
    pub(super) fn take_tick(
        &mut self,
        tick_us: u64,
        steps: &mut Vec<Step>,
        most: usize,
        problems: &mut Problems,
    ) -> Result<bool, ImportError> {
        loop {
            match self.next.take() {
                Some((at, step)) if at <= tick_us => {
                    if steps.len() >= most {
                        self.next = Some((at, step));
                        return Ok(true);
                    }
                    steps.push(step);
                }
                other => {
                    self.next = other;
                    return Ok(false);
                }
            }
            self.next = self.read_step(problems)?;
        }
    }

    fn read_step(&mut self, problems: &mut Problems) -> Result<Option<(u64, Step)>, ImportError> {
        loop {
            let read = match self.ahead.take() {
                Some(read) => Some(read),
                None => self.read_event(problems)?,
            };
            let said = self.touched.take();
            let is_end_of = |address| matches!(read, Some((_, Event::Free { address: at } | Event::ReallocBegin { address: at })) if at == address);
            if let Some((address, touched)) = said
                && !is_end_of(address)
            {
                self.ahead = read;
                let step = Step { what: What::Touch { touched }, address, size: 0 };
                return Ok(Some((self.tick_us, step)));
            }
            let Some((tick_us, event)) = read else {
                // Frees by late destructors come after the mark of a thread's end: the thread ends with its
                // last record.
                let end = Step { what: What::ThreadEnd, address: 0, size: 0 };
                return Ok(std::mem::take(&mut self.ending).then_some((self.tick_us, end)));
            };
            let step = |what, address, size| Ok(Some((tick_us, Step { what, address, size })));
            let touched = said.map_or(Touched::UNKNOWN, |(_, touched)| touched);
            return match event {
                Event::Allocate { by, address, size } => step(What::Allocate(by), address, size),
                Event::Free { address } => step(What::Free { touched }, address, 0),
                Event::Aligned { address, size, alignment_log2 } => {
                    step(What::Aligned { log2: alignment_log2 }, address, size)
                }
                Event::ReallocBegin { address } => match self.read_event(problems)? {
                    Some((end_us, Event::ReallocEnd { address: end, size })) if end == address => {
                        let what = What::Resize { touched };
                        Ok(Some((end_us, Step { what, address, size })))
                    }
                    ended => {
                        self.ahead = ended;
                        match ended {
                            Some((_, Event::ReallocEnd { .. } | Event::ReallocFreed)) => {
                                step(What::Leave { touched }, address, 0)
                            }
                            // It failed, or its end was never written: the block is where it was.
                            _ => continue,
                        }
                    }
                },
                Event::ReallocEnd { address, size } => step(What::Arrive, address, size),
                Event::ReallocFreed => step(What::ReallocFreed, 0, 0),
                Event::Failed { call, size } => step(What::Failed(call), 0, size),
                Event::FreeNull => step(What::FreeNull, 0, 0),
                Event::ThreadBegin => step(What::ThreadBegin, 0, 0),
                Event::ThreadEnd => {
                    self.ending = true;
                    continue;
                }
                Event::CreateEnter => step(What::CreateEnter, 0, 0),
                Event::CreateLeave => step(What::CreateLeave, 0, 0),
                Event::Lost { count } => step(What::Lost, 0, count),
                Event::Mark { kind, argument, detail } => step(What::Mark { kind, argument, detail }, 0, 0),
                Event::Touched { address, bytes } => {
                    self.touched = Some((address, Touched::of(bytes)));
                    continue;
                }
                Event::Tick { .. } => continue,
            };
        }
    }

    /// The next event that is not a tick, with its time; none after the last one.
    fn read_event(&mut self, problems: &mut Problems) -> Result<Option<(u64, Event)>, ImportError> {
        loop {
            self.fill()?;
            match self.decoder.next(&self.window) {
                Ok(Some(Event::Tick { elapsed_us })) => self.set_tick(elapsed_us),
                Ok(Some(event)) => return Ok(Some((self.tick_us, event))),
                Ok(None) => {
                    if !self.open_next() {
                        return Ok(None);
                    }
                }
                Err(fault) => {
                    let at = self.window_offset + self.decoder.position() as u64;
                    let left = self.end_offset - at;
                    problems
                        .add_unread(format!("at byte {at}: {fault}: {left} bytes of a chunk are not read"));
                    self.window.truncate(self.decoder.position());
                    self.end_offset = at;
                    // At least one.
                    return Ok(Some((self.tick_us, Event::Lost { count: 1 })));
                }
            }
        }
    }

    fn set_tick(&mut self, elapsed_us: u64) {
        self.ticks_raised += u64::from(elapsed_us < self.tick_us);
        self.tick_us = self.tick_us.max(elapsed_us);
    }

    /// Begins the next chunk; false after the last one.
    fn open_next(&mut self) -> bool {
        let Some(chunk) = self.chunks.get(self.opened) else {
            self.window = Vec::new();
            self.decoder.rebase();
            self.end_offset = self.window_offset;
            return false;
        };
        self.opened += 1;
        self.read_bytes += u64::from(chunk.held_bytes);
        self.place = chunk.place;
        self.window_offset = chunk.offset + CHUNK_HEAD_BYTES as u64;
        self.end_offset = self.window_offset.max(chunk.offset + u64::from(chunk.held_bytes));
        self.window.clear();
        self.decoder = Decoder::new(chunk.head.last_address);
        self.set_tick(chunk.head.tick.elapsed_us());
        true
    }

    /// Ensures that the window holds a whole record, or all that the chunk has left.
    #[inline(always)]
    fn fill(&mut self) -> Result<(), ImportError> {
        let left = self.window.len() - self.decoder.position();
        let window_end = self.window_offset + self.window.len() as u64;
        if left >= RECORD_MOST_BYTES || window_end >= self.end_offset { Ok(()) } else { self.read_window() }
    }

    #[cold]
    fn read_window(&mut self) -> Result<(), ImportError> {
        let read = self.decoder.position();
        self.window.drain(..read);
        self.decoder.rebase();
        self.window_offset += read as u64;
        let kept = self.window.len();
        let end = (self.end_offset - self.window_offset).min(WINDOW_BYTES as u64) as usize;
        self.window.resize(end, 0);
        let from = self.window_offset + kept as u64;
        let filled = self
            .sources
            .read_at_most(self.place, &mut self.window[kept..], from)
            .map_err(|source| ImportError::Io { path: self.sources.path.clone(), doing: "read", source })?;
        if kept + filled < end {
            // The file became shorter while it was read.
            self.window.truncate(kept + filled);
            self.end_offset = self.window_offset + self.window.len() as u64;
        }
        Ok(())
    }
}
