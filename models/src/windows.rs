//! Windows and their segments: which may be open, who counts one as done, and how a thread gets its segments.
//!
//! What a replay does between these steps is a mark here: each segment writes one, and reads those of the
//! windows before it. A mark is one of loom's cells, so that a segment that starts too early is a race.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::sync::{self, AtomicU32, Ordering};

#[path = "../../harness/src/worker/lock.rs"]
#[allow(dead_code)] // the lock model uses its guard too
mod lock;
#[path = "../../harness/src/worker/turn.rs"]
mod turn;
#[path = "../../harness/src/worker/windows.rs"]
#[allow(dead_code)] // a checkpoint asks for more
mod windows;

use lock::Lock;
use windows::{Progress, Unfinished};

const THREADS: usize = 2;
const WINDOWS: usize = 3;
/// Instead of a window's number: all windows are done.
const END: u32 = u32::MAX;

/// A thread's offers, each at its number modulo four.
#[derive(Default)]
struct Inbox {
    offered: AtomicU32,
    windows: [AtomicU32; 4],
}

/// What is accessed under the lock.
struct Control {
    progress: Progress,
    done: Vec<u64>,
}

struct Replay {
    inboxes: [Inbox; THREADS],
    unfinished: Unfinished,
    lock: Lock,
    control: UnsafeCell<Control>,
    /// For each window, what each thread's segment wrote.
    marks: [[UnsafeCell<bool>; THREADS]; WINDOWS],
}

// SAFETY: the control is accessed under the lock, a mark by its segment and by those that come after it; loom
// reports otherwise.
unsafe impl Sync for Replay {}
// SAFETY: as above.
unsafe impl Send for Replay {}

impl Replay {
    fn new() -> Arc<Replay> {
        let control = Control { progress: Progress::default(), done: Vec::new() };
        let replay = Arc::new(Replay {
            inboxes: Default::default(),
            unfinished: Unfinished::default(),
            lock: Lock::new(),
            control: UnsafeCell::new(control),
            marks: std::array::from_fn(|_| std::array::from_fn(|_| UnsafeCell::new(false))),
        });
        // Atomics are made at their first use, before they are shared.
        for inbox in &replay.inboxes {
            inbox.offered.load(Ordering::Relaxed);
            inbox.windows.iter().for_each(|window| {
                window.load(Ordering::Relaxed);
            });
        }
        (0..4).for_each(|window| replay.unfinished.open(window, 0));
        drop(replay.lock.hold());
        replay
    }

    fn offer(&self, thread: usize, window: u32) {
        let inbox = &self.inboxes[thread];
        let count = inbox.offered.load(Ordering::Relaxed) >> 1;
        inbox.windows[(count % 4) as usize].store(window, Ordering::Relaxed);
        if turn::set(&inbox.offered, count + 1) {
            sync::wake_all(&inbox.offered);
        }
    }

    /// Like `Engine::open_next`: opens what may be open, and offers the end when everything is done.
    fn open_next(&self, control: &mut Control) {
        while control.progress.next() < WINDOWS as u64 {
            if !control.progress.may_open(false) {
                return;
            }
            let window = control.progress.open() as u32;
            self.unfinished.open(window, THREADS as u32);
            (0..THREADS).for_each(|thread| self.offer(thread, window));
        }
        if control.progress.open_count() == 0 {
            (0..THREADS).for_each(|thread| self.offer(thread, END));
        }
    }

    /// Like `Engine::replay_segments`.
    fn replay_segments(&self, thread: usize) {
        for taken in 0.. {
            let inbox = &self.inboxes[thread];
            let ready = |count: u32| count != taken;
            if !turn::is_ready(&inbox.offered, ready) {
                turn::wait_until(&inbox.offered, ready, || {});
            }
            let window = inbox.windows[(taken % 4) as usize].load(Ordering::Relaxed);
            if window == END {
                return;
            }
            self.run_segment(thread, window as usize);
            if self.unfinished.finish(window) {
                let _guard = self.lock.hold();
                // SAFETY: the lock is held.
                self.control.with_mut(|control| self.advance(unsafe { &mut *control }, window));
            }
        }
    }

    /// Writes its own mark. All segments of every window up to the one before the previous are done, and so
    /// are all earlier ones of this thread.
    fn run_segment(&self, thread: usize, window: usize) {
        for before in 0..window {
            for (of, mark) in self.marks[before].iter().enumerate() {
                if before + 2 <= window || of == thread {
                    // SAFETY: nobody writes to it any more; loom reports otherwise.
                    mark.with(|mark| {
                        assert!(unsafe { *mark }, "window {window} began before {before} was done")
                    });
                }
            }
        }
        // SAFETY: the segment's own.
        self.marks[window][thread].with_mut(|mark| unsafe { *mark = true });
    }

    /// Like `Engine::advance`: what was done in a window is read when it counts as done.
    fn advance(&self, control: &mut Control, window: u32) {
        control.progress.complete(window);
        let mut moved = false;
        while control.progress.oldest_is_complete() {
            let done = control.progress.done();
            for mark in &self.marks[done as usize] {
                // SAFETY: all of its segments are finished; loom reports otherwise.
                mark.with(|mark| assert!(unsafe { *mark }));
            }
            control.done.push(done);
            control.progress.count_done();
            moved = true;
        }
        if moved {
            self.open_next(control);
        }
    }
}

/// Two threads take the segments of three windows; two may be open at once.
pub(crate) fn segments() {
    let replay = Replay::new();
    {
        let _guard = replay.lock.hold();
        // SAFETY: the lock is held.
        replay.control.with_mut(|control| replay.open_next(unsafe { &mut *control }));
    }
    let other = {
        let replay = Arc::clone(&replay);
        thread::spawn(move || replay.replay_segments(1))
    };
    replay.replay_segments(0);
    other.join().expect("it ends");
    // SAFETY: the other thread is gone.
    replay.control.with(|control| assert_eq!(unsafe { &(*control).done }, &[0, 1, 2]));
}
