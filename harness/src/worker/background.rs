//! CPU time of threads that the replay did not create: an allocator's own, which work for it in the background.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};

use super::clock;
use super::mapping::Table;

/// No thread's number is larger on Linux.
const MOST_THREADS: usize = 1 << 22;
const LIST_BYTES: usize = 8 << 10;

/// Which threads are the replay's: a bit for every number that a thread may have. A thread of the allocator that gets
/// the number of a replayed one which has exited counts as replayed.
pub(super) struct Background(Table<AtomicU64>);

impl Background {
    /// None is the replay's yet. The error is the number of bytes that the system refused.
    pub(super) fn new() -> Result<Background, usize> {
        Table::new(MOST_THREADS / 64).map(Background)
    }

    /// The calling thread is one of the replay's.
    pub(super) fn leave_out_caller(&self) {
        let thread = thread_number();
        if let Some((bits, bit)) = self.bit(thread) {
            bits.fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn bit(&self, thread: i32) -> Option<(&AtomicU64, u64)> {
        let thread = usize::try_from(thread).ok().filter(|thread| *thread < MOST_THREADS)?;
        Some((&self.0[thread / 64], 1 << (thread % 64)))
    }

    /// CPU time that all other threads of the process have used, in ns; none if they cannot be listed. Allocates
    /// nothing.
    pub(super) fn cpu_ns(&self) -> Option<u64> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let list = openat(CWD, c"/proc/self/task", flags, Mode::empty()).ok()?;
        let mut buffer = [std::mem::MaybeUninit::uninit(); LIST_BYTES];
        let mut entries = RawDir::new(list, &mut buffer);
        let mut sum_ns = 0;
        while let Some(entry) = entries.next() {
            let entry = entry.ok()?;
            let name = entry.file_name().to_str().ok()?;
            let Ok(thread) = name.parse::<i32>() else { continue };
            let is_replayed =
                self.bit(thread).is_none_or(|(bits, bit)| bits.load(Ordering::Relaxed) & bit != 0);
            if !is_replayed {
                // One that has exited meanwhile has no clock.
                sum_ns += clock::cpu_ns_of(thread).unwrap_or(0);
            }
        }
        Some(sum_ns)
    }
}

fn thread_number() -> i32 {
    // SAFETY: takes nothing, gives a number.
    unsafe { libc::gettid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a thread that is not the replay's")]
    fn what_other_threads_work_counts_and_the_own_does_not() {
        const MS: u64 = 1_000_000;
        let work = |ns: u64| {
            let begin = clock::thread_cpu_ns();
            while clock::thread_cpu_ns() - begin < ns {}
        };
        let ours = Background::new().expect("a table");
        ours.leave_out_caller();
        let (done, is_done) = std::sync::mpsc::channel();
        let (end, is_over) = std::sync::mpsc::channel::<()>();
        // Other tests' threads work meanwhile: only the least is certain.
        let worker = std::thread::spawn(move || {
            work(30 * MS);
            done.send(thread_number()).expect("it is waited for");
            is_over.recv().expect_err("the end");
        });
        let thread = is_done.recv().expect("a number");
        assert!(clock::cpu_ns_of(thread).expect("it lives") >= 30 * MS);
        assert!(ours.cpu_ns().expect("a list") >= 30 * MS);
        drop(end);
        worker.join().expect("it ends");
        assert_eq!(clock::cpu_ns_of(1 << 23), None, "no thread has such a number");
    }
}
