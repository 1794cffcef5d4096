//! What a process is to the recording: not decided yet, recorded, or left alone; and its image.
//!
//! A process starts an image at its first event, after a start, an exec, or a fork that is followed. What it
//! must not inherit from its parent is in memory that a fork wipes.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use heaplab_raw::{
    CONTROL_NAME, Control, Image, ImageHead, ImageId, ImageState, PAGE_BYTES, PAGE_WORDS, State, Text, Tick,
    copies_name, image_name,
};

use crate::pool::Pool;
use crate::{arena, control, next, region, system};

/// The directory of the recording, set by the recording command for the program and its children.
const DIRECTORY_VARIABLE: &[u8] = b"HEAPLAB_RECORD_DIR=";

/// It has not been checked yet whether this process is recorded.
const FRESH: u32 = 0;
/// A thread is checking.
const STARTING: u32 = 1;
/// It is recorded.
const RECORDED: u32 = 2;
/// It is not, and never will be.
const LEFT_ALONE: u32 = 3;
static MODE: AtomicU32 = AtomicU32::new(FRESH);

/// State that a forked child must find empty.
pub(crate) struct Life {
    /// [`Life::LIVE`], or 0 after a fork.
    mark: AtomicU64,
    /// The head page of the image, mapped.
    image: AtomicPtr<[AtomicU64; PAGE_WORDS]>,
    /// The process's PID.
    pub(crate) process: AtomicU32,
    /// The states of its threads.
    pub(crate) pool: Pool,
}

impl Life {
    const LIVE: u64 = 1;
}

/// Where the process's Life is, once it is recorded: memory that a fork wipes and keeps mapped.
static LIFE: AtomicPtr<Life> = AtomicPtr::new(core::ptr::null_mut());
/// The last image of this process or, just after a fork, of its parent; as `ImageId` in one word.
static IMAGE_ID: AtomicU64 = AtomicU64::new(u64::MAX);
/// Its page.
static LAST_IMAGE: AtomicPtr<[AtomicU64; PAGE_WORDS]> = AtomicPtr::new(core::ptr::null_mut());

/// Forks of this process and of its ancestors.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// The number of the fork that created this process, until its image states it; 0: none, or already stated.
static BEGUN_BY: AtomicU32 = AtomicU32::new(0);

const PATH_MOST_BYTES: usize = 4096;

/// A path of the recording's directory, and after it the name of a file of it.
struct Path {
    bytes: UnsafeCell<[u8; PATH_MOST_BYTES]>,
    directory_bytes: AtomicU32,
}

// SAFETY: written while a process has one thread that records: in `start`.
unsafe impl Sync for Path {}

impl Path {
    const fn new() -> Path {
        Path { bytes: UnsafeCell::new([0; PATH_MOST_BYTES]), directory_bytes: AtomicU32::new(0) }
    }

    fn get(&self) -> &'static CStr {
        // SAFETY: the bytes end with a NUL and change only where there is one thread.
        unsafe { CStr::from_ptr(self.bytes.get().cast::<c_char>()) }
    }

    fn set_directory(&self, directory: &[u8]) -> bool {
        // SAFETY: see above.
        let bytes = unsafe { &mut *self.bytes.get() };
        let Some(place) = bytes.get_mut(..directory.len()) else { return false };
        place.copy_from_slice(directory);
        self.directory_bytes.store(directory.len() as u32, Ordering::Relaxed);
        true
    }

    /// Appends a file's name to the directory.
    fn set_file(&self, name: &[u8]) -> bool {
        // SAFETY: see above.
        let bytes = unsafe { &mut *self.bytes.get() };
        let from = self.directory_bytes.load(Ordering::Relaxed) as usize;
        let Some(rest) = bytes.get_mut(from..) else { return false };
        let [slash, rest @ ..] = rest else { return false };
        let Some(place) = rest.get_mut(..name.len()) else { return false };
        *slash = b'/';
        place.copy_from_slice(name);
        let Some(end) = rest.get_mut(name.len()) else { return false };
        *end = 0;
        true
    }
}

/// The file of the process's image, which its forked children share, and that of its copies.
static IMAGE_PATH: Path = Path::new();
static COPIES_PATH: Path = Path::new();

/// Whether this process is recorded; checks at its first call. The caller's state is BUSY.
pub(crate) fn is_recorded() -> bool {
    match MODE.load(Ordering::Acquire) {
        RECORDED => life().is_some() || begin_child(),
        FRESH => start(),
        _ => false,
    }
}

/// Whether nothing will ever be recorded in this process.
pub(crate) fn is_left_alone() -> bool {
    MODE.load(Ordering::Relaxed) == LEFT_ALONE
}

/// The process's Life; none if it is not recorded or was just forked.
pub(crate) fn life() -> Option<&'static Life> {
    // SAFETY: NULL, or a mapping that is never unmapped and in which all zeros is a Life.
    let life = unsafe { LIFE.load(Ordering::Acquire).as_ref()? };
    (life.mark.load(Ordering::Acquire) == Life::LIVE).then_some(life)
}

/// Whether this is the child of a vfork, which works in its parent's memory until it executes another program.
pub(crate) fn is_in_vfork() -> bool {
    life().is_some_and(|life| life.process.load(Ordering::Relaxed) != system::process())
}

/// The process's image; none if it has none.
pub(crate) fn image() -> Option<Image<'static>> {
    // SAFETY: NULL, or a mapping that is never unmapped.
    let words = unsafe { life()?.image.load(Ordering::Acquire).as_ref()? };
    Image::open(words).ok()
}

/// Who the process's image is.
pub(crate) fn image_id() -> ImageId {
    let word = IMAGE_ID.load(Ordering::Relaxed);
    ImageId { pid: word as u32, ordinal: (word >> 32) as u32 }
}

/// The path of the image's file.
pub(crate) fn image_path() -> &'static CStr {
    IMAGE_PATH.get()
}

/// The path of the file of copies.
pub(crate) fn copies_path() -> &'static CStr {
    COPIES_PATH.get()
}

/// Reports that recording had to stop, here and, by the command, everywhere.
pub(crate) fn fail(errno: i32) {
    if let Some(page) = control::page() {
        page.set_failure(errno);
    }
    if let Some(image) = image() {
        image.set_failure(errno);
    }
}

/// Marks that the process exits by itself. Later frees are still recorded.
pub(crate) fn finish() {
    if let Some(image) = image() {
        image.set_state(ImageState::Exited);
    }
}

/// The number of the fork that is about to happen.
pub(crate) fn number_fork() -> u32 {
    // Wraps after four billion forks; 0 is none.
    FORKS.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// In a forked child: stores the number of its fork, which its image will state; 0 if its parent made no mark.
pub(crate) fn inherit_fork(number: u32) {
    // If the number of an ancestor's fork is still here, this process's parent had no image.
    let _ = BEGUN_BY.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
}

/// Checks whether this process is to be recorded, and starts its image if so.
fn start() -> bool {
    let Some(directory) = directory() else { return false };
    if MODE.compare_exchange(FRESH, STARTING, Ordering::AcqRel, Ordering::Acquire).is_err() {
        return false;
    }
    let is_recorded = next::resolve() && begin_first(directory);
    MODE.store(if is_recorded { RECORDED } else { LEFT_ALONE }, Ordering::Release);
    is_recorded
}

/// The recording's directory; none while the C library has no environment yet.
fn directory() -> Option<&'static [u8]> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library's list, which ends with NULL. Nobody changes it before the first event of a
    // process but its own first thread, which is here.
    unsafe {
        if environ.is_null() {
            return None;
        }
        let mut at = environ;
        while let Some(text) = at.read().as_ref() {
            if let Some(directory) = CStr::from_ptr(text).to_bytes().strip_prefix(DIRECTORY_VARIABLE) {
                return Some(directory);
            }
            at = at.add(1);
        }
    }
    // Started without the command: there is no recording.
    MODE.store(LEFT_ALONE, Ordering::Release);
    None
}

fn begin_first(directory: &[u8]) -> bool {
    let has_paths = IMAGE_PATH.set_directory(directory)
        && IMAGE_PATH.set_file(CONTROL_NAME.as_bytes())
        && COPIES_PATH.set_directory(directory);
    let page = match control::map(image_path()) {
        Ok(page) if has_paths => page,
        _ => return false,
    };
    let process = system::process();
    if page.claim_process(process) != process && !page.follow_forks() {
        return false; // a child of the recorded process that executed another program
    }
    if is_over(page) {
        return false;
    }
    let id = ImageId { pid: process, ordinal: page.take_ordinal() };
    begin_image(id).inspect_err(|errno| page.set_failure(*errno)).is_ok()
}

/// Whether nothing will be recorded any more.
fn is_over(page: Control<'_>) -> bool {
    matches!(page.tick().state(), Some(State::Stopped | State::Failed) | None)
}

/// After a fork: starts an image for the child if children are followed. It needs nothing from the system: the
/// child may have dropped its rights already.
fn begin_child() -> bool {
    let Some(page) = control::page().filter(|page| page.follow_forks() && !is_over(*page)) else {
        MODE.store(LEFT_ALONE, Ordering::Release);
        return false;
    };
    match begin_forked_image(page) {
        Ok(()) => true,
        Err(errno) => {
            // The command makes room in time: the next event tries again.
            page.add_lost();
            if region::is_final(errno) {
                page.set_failure(errno);
                MODE.store(LEFT_ALONE, Ordering::Release);
            }
            false
        }
    }
}

fn begin_image(id: ImageId) -> Result<(), i32> {
    let ((image, image_bytes), (copies, copies_bytes)) = (image_name(id), copies_name(id));
    let has_names = image.get(..image_bytes).is_some_and(|name| IMAGE_PATH.set_file(name))
        && copies.get(..copies_bytes).is_some_and(|name| COPIES_PATH.set_file(name));
    if !has_names {
        return Err(libc::ENAMETOOLONG);
    }
    let life = map_life()?;
    life.pool.prepare()?;
    let (words, room) = region::create(image_path())?;
    describe(id, words).make_room(room);
    begin_life(life, id, words);
    Ok(())
}

fn begin_forked_image(page: Control<'static>) -> Result<(), i32> {
    // SAFETY: NULL, or a mapping that is never unmapped.
    let parent =
        unsafe { LAST_IMAGE.load(Ordering::Acquire).as_ref() }.and_then(|words| Image::open(words).ok());
    let (parent, first) = parent.zip(region::first()).ok_or(libc::ENOENT)?;
    let life = map_life()?;
    let place = region::carve(PAGE_BYTES, image_path())?;
    page.add_taken(PAGE_BYTES as u64);
    // SAFETY: just carved from a mapping that is never unmapped: this process's alone.
    let words: &'static [AtomicU64; PAGE_WORDS] = unsafe { &*place.cast::<[AtomicU64; PAGE_WORDS]>() };
    let id = ImageId { pid: system::process(), ordinal: page.take_ordinal() };
    let head = ImageHead { id, parent: Some(image_id()), tick: Tick(control::word()), ..parent.head() };
    let image = Image::publish_fork(words, &head, parent);
    match BEGUN_BY.swap(0, Ordering::Relaxed) {
        0 => {}
        number => image.set_fork(number),
    }
    first.link(image, region::offset_of(place));
    begin_life(life, id, words);
    Ok(())
}

fn begin_life(life: &Life, id: ImageId, words: &'static [AtomicU64; PAGE_WORDS]) {
    let words = (&raw const *words).cast_mut();
    life.process.store(id.pid, Ordering::Relaxed);
    life.image.store(words, Ordering::Release);
    LAST_IMAGE.store(words, Ordering::Release);
    life.mark.store(Life::LIVE, Ordering::Release);
    IMAGE_ID.store(u64::from(id.pid) | u64::from(id.ordinal) << 32, Ordering::Relaxed);
}

/// The memory of the Life: mapped once, and found wiped after a fork.
fn map_life() -> Result<&'static Life, i32> {
    // SAFETY: NULL, or a mapping that is never unmapped and in which all zeros is a Life.
    if let Some(life) = unsafe { LIFE.load(Ordering::Acquire).as_ref() } {
        return Ok(life);
    }
    let bytes = size_of::<Life>().next_multiple_of(PAGE_BYTES);
    let place = system::map_private(bytes)?;
    system::advise(place, bytes, libc::MADV_WIPEONFORK)?;
    LIFE.store(place as *mut Life, Ordering::Release);
    // SAFETY: as above.
    Ok(unsafe { &*(place as *const Life) })
}

/// Writes the image's head page.
fn describe(id: ImageId, words: &'static [AtomicU64; PAGE_WORDS]) -> Image<'static> {
    let affinity = system::affinity();
    let head = ImageHead {
        id,
        parent: None,
        tick: Tick(control::word()),
        cpus_online: count_cpus_online(),
        cpus_allowed: affinity.iter().map(|word| word.count_ones()).sum(),
        affinity,
        monotonic_ns: system::monotonic_ns(),
    };
    let image = Image::publish(words, &head, &[]);
    let mut text = [0; 1536];
    let length = system::read_link(c"/proc/self/exe", &mut text);
    image.set_text(Text::Program, text.get(..length).unwrap_or(&[]));
    let length = system::read_file(c"/proc/self/cmdline", &mut text);
    image.set_text(Text::Command, text.get(..length).unwrap_or(&[]));
    if let Some((_, path)) = next::object_of(next::MALLOC.address()) {
        // SAFETY: the loader's text, which ends with a NUL.
        image.set_text(Text::Allocator, unsafe { CStr::from_ptr(path) }.to_bytes());
    }
    image.add_bootstrap(arena::calls());
    image
}

fn count_cpus_online() -> u32 {
    let mut text = [0; 256];
    let length = system::read_file(c"/sys/devices/system/cpu/online", &mut text);
    count_listed(text.get(..length).unwrap_or(&[]))
}

/// The CPUs of a list as the kernel writes it: `0-3,8,10-11`.
fn count_listed(text: &[u8]) -> u32 {
    let (mut count, mut first, mut number) = (0_u32, None, None);
    for &byte in text.iter().chain(b"\n") {
        match byte {
            b'0'..=b'9' => {
                let digit = u32::from(byte.wrapping_sub(b'0'));
                number = Some(number.unwrap_or(0_u32).wrapping_mul(10).wrapping_add(digit));
            }
            b'-' => first = number.take(),
            _ => {
                if let Some(last) = number.take() {
                    count =
                        count.wrapping_add(last.wrapping_sub(first.take().unwrap_or(last)).wrapping_add(1));
                }
            }
        }
    }
    count
}
