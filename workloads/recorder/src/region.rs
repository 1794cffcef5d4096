//! The process's file of the recording, mapped ahead: pages of images and chunks are carved from it.
//!
//! The process makes and maps the file while it still has the rights that it was started with. Later it may drop its
//! user, change its root, close every descriptor or forbid system calls: carving is one atomic operation in mapped
//! memory, and the command, which keeps its rights, extends the file in time. Only if that comes too late, because the
//! command is gone or the machine is busy, the process extends the file itself, if it can.
//!
//! A forked child inherits the mapping, and carves from the same file.

use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use heaplab_raw::{FIRST_CHUNK_BYTES, Image, PAGE_BYTES, PAGE_WORDS};

use crate::system;

/// Address space for the file, if the process has no limit.
const MAPPED_MOST_BYTES: usize = 1 << 30;
/// The part of a limited address space that is used for the file.
const MAPPED_PART: u64 = 16;
/// At least that much is kept beyond what is used when a process limits its address space later, and when it locks all
/// its memory.
const KEPT_LEAST_BYTES: u64 = 4 << 20;
const KEPT_LOCKED_BYTES: u64 = 1 << 20;
/// Room that the process makes at the start, and later when it must.
const ROOM_BYTES: usize = 1 << 20;
/// With less room there could be no image.
const ROOM_LEAST_BYTES: usize = PAGE_BYTES + FIRST_CHUNK_BYTES;
/// How long, in milliseconds, a process that may not extend its file waits for the command.
const PATIENCE: u32 = 2000;

/// How often the file of copies is opened, if the command makes it or removes it at the same moment.
const COPIES_TRIES: u32 = 3;

/// How often a thread makes room, if others take it.
const ROOM_TRIES: u32 = 100;
/// How long, in milliseconds, a thread that may not extend the file waits for the command.
const CARVING_PATIENCE: u32 = 500;

/// Whether the command was waited for in vain.
static IS_TIRED: AtomicBool = AtomicBool::new(false);
static BASE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static MAPPED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Makes the file and maps it; returns its first page, which is zero.
pub(crate) fn create(path: &CStr) -> Result<(&'static [AtomicU64; PAGE_WORDS], u64), i32> {
    let descriptor = system::open(path, libc::O_RDWR | libc::O_APPEND | libc::O_CREAT | libc::O_EXCL)?;
    let mapped = make_first_room(descriptor).and_then(|room| Ok((map_ahead(descriptor, room)?, room)));
    system::close(descriptor);
    let ((base, bytes), room) = mapped?;
    BASE.store(base as *mut u8, Ordering::Release);
    MAPPED_BYTES.store(bytes, Ordering::Release);
    // SAFETY: just mapped, shared, longer than a page, and never unmapped.
    Ok((unsafe { &*(base as *const [AtomicU64; PAGE_WORDS]) }, room as u64))
}

/// Makes as much room as the disk and the process's limit of file sizes allow.
fn make_first_room(descriptor: usize) -> Result<usize, i32> {
    let mut bytes = ROOM_BYTES.min(whole_pages(system::largest_file_bytes()));
    let mut errno = libc::EFBIG;
    while bytes >= ROOM_LEAST_BYTES {
        match system::extend(descriptor, 0, bytes as u64) {
            Ok(_) => return Ok(bytes),
            Err(found @ (libc::ENOSPC | libc::EDQUOT | libc::EFBIG)) => errno = found,
            Err(other) => return Err(other),
        }
        bytes = (bytes / 2) & PAGE_BYTES.wrapping_neg();
    }
    if errno == libc::EFBIG { wait_for_room(descriptor) } else { Err(errno) }
}

/// Waits until the command, which has different limits, has made room in an empty file.
fn wait_for_room(descriptor: usize) -> Result<usize, i32> {
    for _ in 0..PATIENCE {
        let bytes = whole_pages(system::length(descriptor));
        if bytes >= ROOM_LEAST_BYTES {
            return Ok(bytes);
        }
        system::pause();
    }
    Err(libc::EFBIG)
}

fn whole_pages(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX) & PAGE_BYTES.wrapping_neg()
}

/// Maps the file, and address space beyond its end to grow into.
fn map_ahead(descriptor: usize, room: usize) -> Result<(usize, usize), i32> {
    let allowed = whole_pages(system::most_address_bytes() / MAPPED_PART);
    let mut bytes = MAPPED_MOST_BYTES.min(allowed).max(room);
    loop {
        // SAFETY: a new mapping.
        match unsafe { system::map_file(0, descriptor, 0, bytes) } {
            Ok(base) => return Ok((base, bytes)),
            Err(libc::ENOMEM) if bytes / 2 >= ROOM_LEAST_BYTES => {
                bytes = (bytes / 2) & PAGE_BYTES.wrapping_neg();
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// Unmaps addresses that the file does not use yet, so that a process that may have only `most_bytes` of them from now on
/// can use the others itself.
pub(crate) fn give_back(most_bytes: u64) {
    keep_beyond((most_bytes / MAPPED_PART).max(KEPT_LEAST_BYTES));
}

/// The same for a process that may lock only so many bytes: the kernel compares that with all its addresses.
pub(crate) fn give_back_locked(most_bytes: u64) {
    keep_beyond((most_bytes / MAPPED_PART).max(KEPT_LOCKED_BYTES));
}

/// Lets the kernel take pages of the file back, which a process has locked with all its memory: they would count for
/// its limit.
pub(crate) fn unlock() {
    let base = BASE.load(Ordering::Acquire);
    if !base.is_null() {
        // Otherwise they stay locked, which does the program no harm until it reaches its limit.
        let _ = system::unlock(base as usize, MAPPED_BYTES.load(Ordering::Relaxed));
    }
}

/// Unmaps what is more than `beyond` bytes after the end that is used now.
fn keep_beyond(beyond: u64) {
    let Some(image) = first() else { return };
    let mapped = MAPPED_BYTES.load(Ordering::Relaxed);
    let kept = whole_pages(image.next_offset().saturating_add(beyond));
    if kept >= mapped {
        return;
    }
    // NOTE: a thread that has read the length before may still carve by it: what is kept beyond the end that is used now
    // is much more than all threads carve meanwhile.
    if MAPPED_BYTES.compare_exchange(mapped, kept, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        let end = BASE.load(Ordering::Relaxed).wrapping_add(kept);
        // SAFETY: the rest of this library's own mapping, of which nothing was carved.
        let _ = unsafe { system::munmap(end as usize, mapped.wrapping_sub(kept)) };
    }
}

/// The first image of the file; none before there is one.
pub(crate) fn first() -> Option<Image<'static>> {
    // SAFETY: NULL, or a mapping that is never unmapped.
    let words = unsafe { BASE.load(Ordering::Acquire).cast::<[AtomicU64; PAGE_WORDS]>().as_ref()? };
    Image::open(words).ok()
}

/// How much of the file is mapped; it may become less.
fn mapped_bytes() -> u64 {
    MAPPED_BYTES.load(Ordering::Relaxed) as u64
}

/// The offset in the file of something that was carved.
pub(crate) fn offset_of(place: *mut u8) -> u64 {
    (place as u64).wrapping_sub(BASE.load(Ordering::Relaxed) as u64)
}

/// Carves a part of the file, which is zero; `path` is the file's.
pub(crate) fn carve(bytes: usize, path: &CStr) -> Result<*mut u8, i32> {
    let image = first().ok_or(libc::ENOENT)?;
    let carved = carve_or_make_room(image, bytes as u64, path);
    let offset = carved.map_err(|errno| image.shortage().unwrap_or(errno))?;
    if IS_TIRED.load(Ordering::Relaxed) {
        IS_TIRED.store(false, Ordering::Relaxed);
    }
    Ok(BASE.load(Ordering::Relaxed).wrapping_add(offset as usize))
}

/// Carves, and makes room where there is none. Of many threads that do so at once, some may find that others have carved
/// the room that they made.
fn carve_or_make_room(image: Image<'_>, bytes: u64, path: &CStr) -> Result<u64, i32> {
    for _ in 0..ROOM_TRIES {
        if let Some(offset) = image.carve(bytes, mapped_bytes()) {
            return Ok(offset);
        }
        match make_room(image, bytes, mapped_bytes(), path) {
            Ok(()) => {}
            Err(errno @ (libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::EROFS)) => return Err(errno),
            // The command has different rights and limits: see EFBIG.
            Err(_) => return wait_for_carving(image, bytes),
        }
    }
    image.carve(bytes, mapped_bytes()).ok_or(libc::EAGAIN)
}

/// Carves once the command, which was late, has made room. A thread waits that long only once, and not again until
/// there has been room: the command may be gone.
fn wait_for_carving(image: Image<'_>, bytes: u64) -> Result<u64, i32> {
    if image.next_offset().wrapping_add(bytes) > mapped_bytes() {
        return Err(libc::ENOMEM);
    }
    for _ in 0..CARVING_PATIENCE {
        if image.shortage().is_some() || IS_TIRED.load(Ordering::Relaxed) {
            break;
        }
        system::pause();
        if let Some(offset) = image.carve(bytes, mapped_bytes()) {
            return Ok(offset);
        }
    }
    IS_TIRED.store(true, Ordering::Relaxed);
    Err(libc::EAGAIN)
}

/// Makes room for `bytes` more, as the command should have done.
fn make_room(image: Image<'_>, bytes: u64, mapped_bytes: u64, path: &CStr) -> Result<(), i32> {
    let (room, needed) = (image.room(), image.next_offset().wrapping_add(bytes));
    if needed > mapped_bytes {
        return Err(libc::ENOMEM);
    }
    let descriptor = system::open(path, libc::O_RDWR | libc::O_APPEND)?;
    let most = system::largest_file_bytes().min(mapped_bytes);
    let end = room.max(needed).wrapping_add(ROOM_BYTES as u64).min(most);
    let made = if needed > end {
        Err(libc::EFBIG)
    } else if end > room {
        system::extend(descriptor, room, end)
    } else {
        Ok(0)
    };
    system::close(descriptor);
    made?;
    image.make_room(end & (PAGE_BYTES as u64).wrapping_neg());
    Ok(())
}

/// Whether waiting cannot help. Missing room that the command makes, descriptors that a program has used up and may
/// close again, and dropped rights are no reason to stop: buffers are still emptied.
pub(crate) fn is_final(errno: i32) -> bool {
    matches!(errno, libc::ENOSPC | libc::EDQUOT | libc::EFBIG | libc::EIO | libc::EROFS)
}

/// Opens the file of copies, which this process makes if the command has not.
fn open_copies(path: &CStr) -> Result<usize, i32> {
    for _ in 0..COPIES_TRIES {
        // NOTE: not both at once. What has the name already may be another user's, and not only links must not be
        // written to.
        match system::open(path, libc::O_RDWR) {
            Ok(descriptor) if is_trusted(descriptor) => return Ok(descriptor),
            Ok(descriptor) => {
                system::close(descriptor);
                return Err(libc::EACCES);
            }
            Err(libc::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        match system::open(path, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL) {
            Err(libc::EEXIST) => {}
            made => return made,
        }
    }
    Err(libc::EAGAIN)
}

/// Whether a file is of this process's user or of root, as whom the command may run.
fn is_trusted(descriptor: usize) -> bool {
    let owner = system::owner(descriptor);
    owner.is_some() && (owner == Some(0) || owner == system::user())
}

/// Copies a full buffer to the file of copies, whose path is given.
///
/// # Safety
/// The buffer can be read.
pub(crate) unsafe fn copy(from: *const u8, bytes: usize, path: &CStr) -> Result<(), i32> {
    let image = first().ok_or(libc::ENOENT)?;
    let descriptor = open_copies(path)?;
    let offset = image.take_copy(bytes as u64);
    let copied = if offset.wrapping_add(bytes as u64) > system::largest_file_bytes() {
        Err(libc::EFBIG)
    } else {
        // SAFETY: the caller keeps the contract.
        unsafe { system::write(descriptor, from, bytes, offset) }
    };
    system::close(descriptor);
    copied.map(|_| ())
}
