//! System calls, made directly: they do not change errno, and no other library is involved.
//!
//! A program may forbid system calls (seccomp), and would then be killed for one that this library makes. From then
//! on it is *quiet*: this library makes none, and does without their results.
//!
//! The recorder works inside the program's calls, where errno belongs to the program and where the C
//! library's functions may be interposed, cancellation points, or not yet usable.

use core::arch::asm;
use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The outcome of a system call: its result, or the errno.
pub(crate) type Outcome = Result<usize, i32>;

/// How often the program has forbidden system calls.
pub(crate) static FILTERS: AtomicU32 = AtomicU32::new(0);
/// How many of its threads are about to.
pub(crate) static FILTERING: AtomicU32 = AtomicU32::new(0);
/// The offset of the TID in the C library's thread descriptor; 0 if it is not known.
static THREAD_OFFSET: AtomicUsize = AtomicUsize::new(0);

/// Whether no system call may be made any more.
#[inline]
pub(crate) fn is_quiet() -> bool {
    FILTERS.load(Ordering::Relaxed) | FILTERING.load(Ordering::Relaxed) != 0
}

/// Learns where the C library keeps a thread's TID: `description` is what it tells debuggers about that (bits, count,
/// offset).
pub(crate) fn prepare(description: *const [u32; 3]) {
    // SAFETY: NULL, or the C library's constant of that shape.
    if let Some(&[32, 1, offset]) = unsafe { description.as_ref() } {
        THREAD_OFFSET.store(offset as usize, Ordering::Relaxed);
    }
}

/// # Safety
/// As the call itself demands.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> Outcome {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the caller keeps the call's contract; the kernel changes rcx, r11 and memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            out("rcx") _, out("r11") _,
            options(nostack),
        );
    }
    outcome(result)
}

/// # Safety
/// As the call itself demands.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> Outcome {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the caller keeps the call's contract.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number as isize,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    outcome(result)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the recorder makes its system calls itself, and knows how on x86-64 and AArch64 alone");

fn outcome(result: isize) -> Outcome {
    if (-4095..0).contains(&result) { Err(result.wrapping_neg() as i32) } else { Ok(result as usize) }
}

/// The outcome of a call as the C library reports it: the result, or -1 and errno. For calls that the program
/// made, in functions that replace the C library's and do the same.
pub(crate) fn told(outcome: Outcome) -> usize {
    outcome.unwrap_or_else(|errno| {
        // SAFETY: errno's address is valid in every thread.
        unsafe { *libc::__errno_location() = errno };
        usize::MAX
    })
}

/// `mmap` as the program calls it.
///
/// # Safety
/// As the call itself demands.
pub(crate) unsafe fn mmap(arguments: [usize; 6]) -> Outcome {
    // SAFETY: the caller keeps the contract.
    unsafe { call(libc::SYS_mmap, arguments) }
}

/// `munmap` as the program calls it.
///
/// # Safety
/// As the call itself demands.
pub(crate) unsafe fn munmap(place: usize, bytes: usize) -> Outcome {
    // SAFETY: the caller keeps the contract.
    unsafe { call(libc::SYS_munmap, [place, bytes, 0, 0, 0, 0]) }
}

/// `mremap` as the program calls it.
///
/// # Safety
/// As the call itself demands.
pub(crate) unsafe fn mremap([place, old_bytes, bytes, flags, new_place]: [usize; 5]) -> Outcome {
    // SAFETY: the caller keeps the contract.
    unsafe { call(libc::SYS_mremap, [place, old_bytes, bytes, flags, new_place, 0]) }
}

/// `prctl` as the program calls it.
///
/// # Safety
/// As the call itself demands.
pub(crate) unsafe fn prctl([option, second, third, fourth, fifth]: [usize; 5]) -> Outcome {
    // SAFETY: the caller keeps the contract.
    unsafe { call(libc::SYS_prctl, [option, second, third, fourth, fifth, 0]) }
}

/// `prlimit` as the program calls it.
///
/// # Safety
/// As the call itself demands.
pub(crate) unsafe fn prlimit([process, resource, limit, before]: [usize; 4]) -> Outcome {
    // SAFETY: the caller keeps the contract.
    unsafe { call(libc::SYS_prlimit64, [process, resource, limit, before, 0, 0]) }
}

/// `mlockall` as the program calls it.
///
/// # Safety
/// As the call itself demands.
pub(crate) unsafe fn mlockall(flags: usize) -> Outcome {
    // SAFETY: the caller keeps the contract.
    unsafe { call(libc::SYS_mlockall, [flags, 0, 0, 0, 0, 0]) }
}

/// Lets the kernel take pages of the recorder's own memory back.
pub(crate) fn unlock(at: usize, bytes: usize) -> Outcome {
    // SAFETY: it changes no content.
    unsafe { call(libc::SYS_munlock, [at, bytes, 0, 0, 0, 0]) }
}

/// `seccomp` as the program calls it.
///
/// # Safety
/// As the call itself demands.
pub(crate) unsafe fn seccomp([operation, flags, arguments]: [usize; 3]) -> Outcome {
    // SAFETY: the caller keeps the contract.
    unsafe { call(libc::SYS_seccomp, [operation, flags, arguments, 0, 0, 0]) }
}

/// Opens a file, with O_CLOEXEC. If its name is that of a link, which another user may have made, it is not followed.
pub(crate) fn open(path: &CStr, flags: i32) -> Outcome {
    if is_quiet() {
        return Err(libc::EAGAIN);
    }
    let at = libc::AT_FDCWD as isize as usize;
    let flags = (flags | libc::O_CLOEXEC | libc::O_NOFOLLOW) as usize;
    // SAFETY: the path ends with a NUL; the kernel only reads it.
    unsafe { call(libc::SYS_openat, [at, path.as_ptr() as usize, flags, 0o600, 0, 0]) }
}

/// Closes a descriptor from [`open`].
pub(crate) fn close(descriptor: usize) {
    // SAFETY: the descriptor is ours. Linux closes it whatever the call says.
    let _ = unsafe { call(libc::SYS_close, [descriptor, 0, 0, 0, 0, 0]) };
}

/// The user whom an open file belongs to; none if the system does not say.
pub(crate) fn owner(descriptor: usize) -> Option<u32> {
    // SAFETY: all zeros is a value of this plain structure, which the kernel overwrites.
    let mut stated: libc::stat = unsafe { core::mem::zeroed() };
    let place = &raw mut stated as usize;
    // SAFETY: the kernel writes the structure there.
    unsafe { call(libc::SYS_fstat, [descriptor, place, 0, 0, 0, 0]) }.ok().map(|_| stated.st_uid)
}

/// The user whose rights the process has.
pub(crate) fn user() -> Option<u32> {
    // SAFETY: without arguments.
    unsafe { call(libc::SYS_geteuid, [0; 6]) }.ok().map(|user| user as u32)
}

/// The zeros that a file is extended by where the file system cannot reserve bytes.
static ZEROS: [u8; 4096] = [0; 4096];
/// Where the size of files is limited, this much less is appended by a process itself: several threads may append at
/// once, each by less than [`ZEROS`] too much, and beyond the limit a write is a signal.
const APPENDED_LEAST_LEFT: u64 = 16 << 20;

/// Makes a file at least `to` bytes long, and reserves its bytes from `from` on, so that writing there cannot fail
/// later. What is there already stays: others may extend the file at the same time, and use what they added. The file
/// was opened with O_APPEND.
pub(crate) fn extend(descriptor: usize, from: u64, to: u64) -> Outcome {
    let bytes = to.saturating_sub(from) as usize;
    // SAFETY: numbers alone.
    let reserved = unsafe { call(libc::SYS_fallocate, [descriptor, 0, from as usize, bytes, 0, 0]) };
    match reserved {
        Err(libc::EOPNOTSUPP | libc::ENOSYS) => append_zeros(descriptor, from, to),
        other => other,
    }
}

/// What the file system cannot reserve is written. The kernel places each piece at the end that the file has then: no
/// other writer's bytes are below zeros of this one.
fn append_zeros(descriptor: usize, from: u64, to: u64) -> Outcome {
    // An empty file is one thread's alone, and at most the command appends to it too.
    let left = if from == 0 { ZEROS.len() as u64 } else { APPENDED_LEAST_LEFT };
    if to.saturating_add(left) > largest_file_bytes() {
        return Err(libc::EFBIG);
    }
    loop {
        let missing = to.saturating_sub(length(descriptor));
        if missing == 0 {
            return Ok(0);
        }
        let bytes = ZEROS.len().min(missing as usize);
        // SAFETY: the kernel only reads the zeros.
        match unsafe { call(libc::SYS_write, [descriptor, ZEROS.as_ptr() as usize, bytes, 0, 0, 0]) } {
            Ok(0) => return Err(libc::ENOSPC),
            Ok(_) | Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes all of the bytes at an offset of a file.
///
/// # Safety
/// The bytes can be read.
pub(crate) unsafe fn write(descriptor: usize, from: *const u8, bytes: usize, offset: u64) -> Outcome {
    let mut done = 0;
    while done < bytes {
        let place = from.wrapping_add(done) as usize;
        let rest = bytes.wrapping_sub(done);
        let at = (offset as usize).wrapping_add(done);
        // SAFETY: the caller keeps the contract; the kernel only reads.
        match unsafe { call(libc::SYS_pwrite64, [descriptor, place, rest, at, 0, 0]) } {
            Ok(0) => return Err(libc::ENOSPC),
            Ok(written) => done = done.wrapping_add(written),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

/// Maps a part of a file, shared, writable if requested; `at` 0 lets the kernel choose the address, otherwise
/// the memory there is replaced.
///
/// # Safety
/// What lies at `at` is the recorder's own.
pub(crate) unsafe fn map_file(at: usize, descriptor: usize, offset: u64, bytes: usize) -> Outcome {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = libc::MAP_SHARED | if at == 0 { 0 } else { libc::MAP_FIXED };
    // SAFETY: a new mapping, or one in place of the recorder's own memory.
    unsafe { call(libc::SYS_mmap, [at, bytes, protection, flags as usize, descriptor, offset as usize]) }
}

/// Fresh private memory.
pub(crate) fn map_private(bytes: usize) -> Outcome {
    if is_quiet() {
        return Err(libc::EAGAIN);
    }
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    // SAFETY: a new mapping touches nothing that exists.
    unsafe { call(libc::SYS_mmap, [0, bytes, protection, flags, usize::MAX, 0]) }
}

/// Advises the kernel about the recorder's own memory.
pub(crate) fn advise(at: usize, bytes: usize, advice: i32) -> Outcome {
    if is_quiet() {
        return Err(libc::EAGAIN);
    }
    // SAFETY: of the advices used here, none loses contents in this process.
    unsafe { call(libc::SYS_madvise, [at, bytes, advice as usize, 0, 0, 0]) }
}

/// The length of a page.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: sysconf has no preconditions, and knows this without a system call.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Which pages from `at` on are resident, a byte each. Fails if not all of them are mapped.
pub(crate) fn resident(at: usize, bytes: usize, pages: &mut [u8; 1024]) -> Outcome {
    if is_quiet() {
        return Err(libc::EAGAIN);
    }
    if bytes > pages.len().saturating_mul(page_bytes()) {
        return Err(libc::EINVAL);
    }
    // SAFETY: the kernel writes a byte for each page, for which there is room.
    unsafe { call(libc::SYS_mincore, [at, bytes, pages.as_mut_ptr() as usize, 0, 0, 0]) }
}

/// Whether the page of this address is mapped; false if that must not be asked any more.
pub(crate) fn is_mapped(at: usize) -> bool {
    let page = page_bytes();
    let first = at & !page.wrapping_sub(1);
    resident(first, page, &mut [0; 1024]).is_ok()
}

/// The process's PID, read in a process's first thread, or in a forked child's only one.
pub(crate) fn process() -> u32 {
    if is_quiet() {
        return known_thread();
    }
    // SAFETY: without arguments.
    unsafe { call(libc::SYS_getpid, [0; 6]) }.unwrap_or(0) as u32
}

/// The calling thread's TID as the C library knows it; 0 if that is not known.
fn known_thread() -> u32 {
    let offset = THREAD_OFFSET.load(Ordering::Relaxed);
    if offset == 0 {
        return 0;
    }
    // SAFETY: glibc's pthread_t is the address of its description, in which that word lies.
    unsafe { (libc::pthread_self() as *const u8).wrapping_add(offset).cast::<u32>().read_volatile() }
}

/// The calling thread's TID; 0 if it is not known.
pub(crate) fn thread() -> u32 {
    if is_quiet() {
        return known_thread();
    }
    // SAFETY: without arguments.
    unsafe { call(libc::SYS_gettid, [0; 6]) }.unwrap_or(0) as u32
}

/// Whether the process no longer has this thread, as far as the kernel can be asked.
pub(crate) fn has_ended(process: u32, thread: u32) -> bool {
    if is_quiet() {
        return false;
    }
    // SAFETY: signal 0 is never delivered.
    let found = unsafe { call(libc::SYS_tgkill, [process as usize, thread as usize, 0, 0, 0, 0]) };
    found == Err(libc::ESRCH)
}

/// Lets another thread run.
pub(crate) fn give_way() {
    if is_quiet() {
        return core::hint::spin_loop();
    }
    // SAFETY: without arguments.
    let _ = unsafe { call(libc::SYS_sched_yield, [0; 6]) };
}

/// The largest file that the process may write. NOTE: exceeding it is not only an error, but also raises
/// SIGXFSZ.
pub(crate) fn largest_file_bytes() -> u64 {
    limit(libc::RLIMIT_FSIZE as usize)
}

/// The bytes of address space that the process may use.
pub(crate) fn most_address_bytes() -> u64 {
    limit(libc::RLIMIT_AS as usize)
}

/// The bytes that the process may lock into memory without the privilege to.
pub(crate) fn most_locked_bytes() -> u64 {
    limit(libc::RLIMIT_MEMLOCK as usize)
}

fn limit(resource: usize) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    let place = &raw mut limit as usize;
    // SAFETY: the kernel writes the limit there.
    let _ = unsafe { call(libc::SYS_prlimit64, [0, resource, 0, place, 0, 0]) };
    limit.rlim_cur
}

/// The length of an open file.
pub(crate) fn length(descriptor: usize) -> u64 {
    // SAFETY: numbers alone; nobody else uses the descriptor's position.
    unsafe { call(libc::SYS_lseek, [descriptor, 0, libc::SEEK_END as usize, 0, 0, 0]) }.unwrap_or(0) as u64
}

/// Waits for about a millisecond.
pub(crate) fn pause() {
    if is_quiet() {
        return (0..100_000).for_each(|_| core::hint::spin_loop());
    }
    let time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    // SAFETY: the kernel reads the time there.
    let _ = unsafe { call(libc::SYS_nanosleep, [&raw const time as usize, 0, 0, 0, 0, 0]) };
}

/// The CPUs that the calling thread may use, a bit each.
pub(crate) fn affinity() -> [u64; 16] {
    let mut cpus = [0; 16];
    let place = &raw mut cpus as usize;
    // SAFETY: the kernel writes at most the bytes given.
    let _ = unsafe { call(libc::SYS_sched_getaffinity, [0, size_of_val(&cpus), place, 0, 0, 0]) };
    cpus
}

/// CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let place = &raw mut now as usize;
    // SAFETY: the kernel writes the time there.
    let _ = unsafe { call(libc::SYS_clock_gettime, [libc::CLOCK_MONOTONIC as usize, place, 0, 0, 0, 0]) };
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// Reads the file at `path` from its start: returns the number of bytes read, at most those of `to`.
pub(crate) fn read_file(path: &CStr, to: &mut [u8]) -> usize {
    let Ok(descriptor) = open(path, libc::O_RDONLY) else { return 0 };
    let mut length: usize = 0;
    while length < to.len() {
        let place = to.as_mut_ptr().wrapping_add(length) as usize;
        let room = to.len().wrapping_sub(length);
        // SAFETY: the kernel writes at most `room` bytes, which lie in `to`.
        match unsafe { call(libc::SYS_read, [descriptor, place, room, 0, 0, 0]) } {
            Ok(0) => break,
            Ok(read) => length = length.wrapping_add(read),
            Err(libc::EINTR) => {}
            Err(_) => break,
        }
    }
    close(descriptor);
    length
}

/// Reads the target of a symbolic link: returns its length in bytes, at most that of `to`.
pub(crate) fn read_link(path: &CStr, to: &mut [u8]) -> usize {
    let at = libc::AT_FDCWD as isize as usize;
    let (place, room) = (to.as_mut_ptr() as usize, to.len());
    // SAFETY: the kernel writes at most `room` bytes, which lie in `to`.
    unsafe { call(libc::SYS_readlinkat, [at, path.as_ptr() as usize, place, room, 0, 0]) }.unwrap_or(0)
}
