//! The replayed threads: created at their first segment, joined after their end, on stacks that count
//! in no `RssAnon`.
//!
//! They are POSIX threads without std's wrapper, which would allocate and read the clock.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::answer;
use super::clock;
use super::job::Status;
use super::lock::Lock;
use super::mapping::{Table, Zeroed};
use super::stacks::{STACK_BYTES, STACKS_A_TIME, Stacks, watch_own_stack};

/// How many exiting threads are checked for being gone when a stack is needed.
const ASKED: usize = 8;

unsafe extern "C" {
    fn pthread_tryjoin_np(thread: libc::pthread_t, result: *mut *mut c_void) -> libc::c_int;
}

/// What the threads do.
pub(super) trait Body: Sync + 'static {
    /// Does the work of one of them, by its number.
    fn run(&'static self, thread: u32);
}

/// A created thread.
struct Thread<B> {
    number: AtomicU32,
    handle: AtomicU64,
    /// The lowest address of its stack.
    stack: AtomicU64,
    body: AtomicPtr<B>,
}

// SAFETY: all zeros are a thread that was not created; every field is atomic.
unsafe impl<B> Zeroed for Thread<B> {}

/// The threads of a replay.
pub(super) struct Threads<B: Body> {
    created: Table<Thread<B>>,
    /// Threads that have exited or are about to, and free stacks.
    lock: Lock,
    pool: UnsafeCell<Pool>,
    /// A thread exited in strict order, and the next one must first see it gone.
    in_turn: AtomicBool,
    start_ns: AtomicU64,
}

struct Pool {
    ended: Vec<u32>,
    free: Vec<u64>,
    stacks: Stacks,
}

// SAFETY: `pool` is reached only while `lock` is held.
unsafe impl<B: Body> Sync for Threads<B> {}

impl<B: Body> Threads<B> {
    pub(super) fn new(count: u32) -> Result<Threads<B>, usize> {
        // NOTE: room for all is reserved now, because a replay must not allocate.
        let pool = Pool {
            ended: Vec::with_capacity(count as usize),
            free: Vec::with_capacity(count as usize + STACKS_A_TIME),
            stacks: Stacks::new(),
        };
        Ok(Threads {
            created: Table::new(count as usize)?,
            lock: Lock::new(),
            pool: UnsafeCell::new(pool),
            in_turn: AtomicBool::new(false),
            start_ns: AtomicU64::new(0),
        })
    }

    /// Time spent in creating threads.
    pub(super) fn start_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Relaxed)
    }

    /// Creates the thread of that number, which runs `body`.
    pub(super) fn create(&'static self, body: &'static B, number: u32) {
        let begin = clock::real_ns();
        let thread = &self.created[number as usize];
        thread.number.store(number, Ordering::Relaxed);
        thread.stack.store(self.take_stack(), Ordering::Relaxed);
        thread.body.store(std::ptr::from_ref(body).cast_mut(), Ordering::Release);
        start(thread);
        self.start_ns.fetch_add(clock::real_ns() - begin, Ordering::Relaxed);
    }

    /// The warning about the stacks, and how many mappings exist only for their guards.
    pub(super) fn stacks(&self) -> (Option<String>, u64) {
        self.with_pool(|pool| (pool.stacks.warning(), pool.stacks.guard_mappings()))
    }

    /// The calling thread exits after its segment. `in_turn`: no other may continue before it is gone.
    pub(super) fn end(&self, thread: u32, in_turn: bool) {
        self.with_pool(|pool| pool.ended.push(thread));
        self.in_turn.store(in_turn, Ordering::Relaxed);
    }

    /// In strict order: waits until the thread that had the previous turn is gone, if it exited.
    #[inline]
    pub(super) fn join_ended_in_turn(&self) {
        if self.in_turn.load(Ordering::Relaxed) {
            self.in_turn.store(false, Ordering::Relaxed);
            self.join_ended();
        }
    }

    /// Waits until every exited thread is gone, except the calling one.
    pub(super) fn join_ended(&self) {
        // SAFETY: asks for the calling thread's own handle.
        let own = unsafe { libc::pthread_self() };
        self.with_pool(|pool| {
            pool.ended.retain(|thread| {
                let thread = &self.created[*thread as usize];
                let handle = thread.handle.load(Ordering::Relaxed);
                if handle == own {
                    return true;
                }
                // SAFETY: the handle is that of one of our threads, and nobody has joined it yet: joining
                // removes it from the list.
                unsafe { libc::pthread_join(handle, std::ptr::null_mut()) };
                pool.free.push(thread.stack.load(Ordering::Relaxed));
                false
            });
        });
    }

    fn with_pool<R>(&self, action: impl FnOnce(&mut Pool) -> R) -> R {
        let _guard = self.lock.hold();
        // SAFETY: the lock is held.
        action(unsafe { &mut *self.pool.get() })
    }

    /// The lowest address of a free stack.
    fn take_stack(&self) -> u64 {
        self.with_pool(|pool| {
            if pool.free.is_empty() {
                self.reclaim(pool);
            }
            if pool.free.is_empty() {
                pool.free.extend(pool.stacks.map());
            }
            pool.free.pop().unwrap_or(0)
        })
    }

    /// Takes back the stacks of threads that are already gone, without waiting.
    fn reclaim(&self, pool: &mut Pool) {
        for index in (0..pool.ended.len().min(ASKED)).rev() {
            let thread = &self.created[pool.ended[index] as usize];
            let handle = thread.handle.load(Ordering::Relaxed);
            // SAFETY: the handle is that of one of our threads, and nobody has joined it yet: joining removes
            // it from the list.
            if unsafe { pthread_tryjoin_np(handle, std::ptr::null_mut()) } == 0 {
                pool.free.push(thread.stack.load(Ordering::Relaxed));
                pool.ended.swap_remove(index);
            }
        }
    }
}

/// Starts a POSIX thread on a stack of ours.
fn start<B: Body>(thread: &'static Thread<B>) {
    let mut handle = 0;
    let stack = thread.stack.load(Ordering::Relaxed);
    // SAFETY: the attributes are initialised before they are used; the stack is STACK_BYTES of mapped memory
    // that no other thread uses; `entry` takes a pointer to a thread of the same kind of body.
    let error = unsafe {
        let mut attributes = std::mem::zeroed();
        libc::pthread_attr_init(&raw mut attributes);
        let stack = std::ptr::with_exposed_provenance_mut(stack as usize);
        libc::pthread_attr_setstack(&raw mut attributes, stack, STACK_BYTES);
        let argument = std::ptr::from_ref(thread).cast_mut().cast();
        let error = libc::pthread_create(&raw mut handle, &raw const attributes, entry::<B>, argument);
        libc::pthread_attr_destroy(&raw mut attributes);
        error
    };
    if error != 0 {
        let reason = std::io::Error::from_raw_os_error(error);
        let number = thread.number.load(Ordering::Relaxed);
        answer::fail(Status::Error, &format!("thread {number} cannot be created: {reason}"));
    }
}

extern "C" fn entry<B: Body>(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `start` passes a thread of this kind, which lives forever.
    let thread: &'static Thread<B> = unsafe { &*argument.cast() };
    // SAFETY: `create` stored the body before it created this thread, and it lives forever.
    let body: &'static B = unsafe { &*thread.body.load(Ordering::Acquire) };
    // NOTE: stored by the thread itself: it may have exited before its creator learns the handle.
    // SAFETY: asks for the calling thread's own handle.
    thread.handle.store(unsafe { libc::pthread_self() }, Ordering::Release);
    watch_own_stack(thread.stack.load(Ordering::Relaxed));
    body.run(thread.number.load(Ordering::Relaxed));
    std::ptr::null_mut()
}
