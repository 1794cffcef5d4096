//! What the process has used so far, according to the kernel.

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

/// How often the calling thread has been switched out although it could have run on.
///
/// NOTE: sleeping does not count: a thread sleeps in a call because the allocator, or the kernel on its behalf,
/// waits for a lock, and that is the call's own time.
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
    use super::*;

    #[test]
    fn a_thread_that_sleeps_is_switched_out_and_not_preempted() {
        // Between two sleeps it runs for a few microseconds: others seldom interrupt it then.
        const SLEEPS: u64 = 200;
        let slept = || read(libc::RUSAGE_THREAD).ru_nvcsw as u64;
        let (sleeps, preemptions) = (slept(), thread_preemptions());
        for _ in 0..SLEEPS {
            clock::sleep_until_ns(clock::real_ns() + 200_000);
        }
        let (sleeps, preemptions) = (slept() - sleeps, thread_preemptions() - preemptions);
        assert!(sleeps >= SLEEPS, "{sleeps}");
        assert!(preemptions < SLEEPS / 2, "{preemptions} of {sleeps}");
    }
}
