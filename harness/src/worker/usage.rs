//! What the process has used so far, by the kernel's account.

use super::clock;

/// Time, CPU and events of the whole process at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) real_ns: u64,
    pub(super) user_ns: u64,
    pub(super) system_ns: u64,
    pub(super) faults_minor: u64,
    pub(super) faults_major: u64,
    pub(super) switches: u64,
}

impl Usage {
    pub(super) fn read() -> Usage {
        let usage = read(libc::RUSAGE_SELF);
        let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
        Usage {
            real_ns: clock::real_ns(),
            user_ns: ns(usage.ru_utime),
            system_ns: ns(usage.ru_stime),
            faults_minor: usage.ru_minflt as u64,
            faults_major: usage.ru_majflt as u64,
            switches: (usage.ru_nvcsw + usage.ru_nivcsw) as u64,
        }
    }
}

/// How often the calling thread was switched out so far although it could have run on.
///
/// NOTE: not when it slept: a thread sleeps in a call because the allocator, or the kernel on its behalf, waits
/// for a lock, and that is the call's own time.
pub(super) fn thread_preemptions() -> u64 {
    read(libc::RUSAGE_THREAD).ru_nivcsw as u64
}

fn read(whose: libc::c_int) -> libc::rusage {
    // SAFETY: all zeros are an rusage, and the place for it is valid; the call fails on a wrong `whose` only.
    unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(whose, &raw mut usage);
        usage
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::worker::futex;

    #[test]
    fn a_wait_for_a_lock_is_no_preemption() {
        // Every round sleeps until the other thread wakes it: a thousand switches, of which none was forced.
        const ROUNDS: u32 = 1_000;
        let turn = AtomicU32::new(0);
        let play = |own: u32| {
            let slept = || read(libc::RUSAGE_THREAD).ru_nvcsw as u64;
            let (sleeps, preemptions) = (slept(), thread_preemptions());
            for round in 0..ROUNDS {
                let mine = round * 2 + own;
                loop {
                    let value = turn.load(std::sync::atomic::Ordering::Acquire);
                    if value == mine {
                        break;
                    }
                    futex::wait(&turn, value);
                }
                turn.store(mine + 1, std::sync::atomic::Ordering::Release);
                futex::wake_all(&turn);
            }
            (slept() - sleeps, thread_preemptions() - preemptions)
        };
        let (sleeps, preemptions) = std::thread::scope(|scope| {
            let other = scope.spawn(|| play(1));
            let own = play(0);
            let other = other.join().unwrap();
            (own.0 + other.0, own.1 + other.1)
        });
        assert!(sleeps >= u64::from(ROUNDS) / 2, "{sleeps}");
        assert!(preemptions < sleeps / 2, "{preemptions} of {sleeps}");
    }
}
