//! Which file contains a function, as a call from the program reaches it.
//!
//! NOTE: a program that is not position-independent and takes a function's address gives that function an
//! address in the program itself (its entry of the procedure linkage table), and dlsym finds that. The symbol
//! there is undefined, which distinguishes the two cases; then the objects are asked one by one, in the
//! loader's search order.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;

/// The object that contains a function.
pub(crate) struct Owner {
    /// Its file, as the loader names it.
    pub(crate) file: *const c_char,
    /// Where it is mapped: what distinguishes two objects.
    pub(crate) base: *mut c_void,
}

/// The loader's list of objects, as `<link.h>` shows it.
#[repr(C)]
struct LinkMap {
    address: usize,
    name: *const c_char,
    dynamic: *const c_void,
    next: *const LinkMap,
    previous: *const LinkMap,
}

/// Makes `dladdr1` return the symbol's entry.
const RTLD_DL_SYMENT: c_int = 1;
/// Makes `dlinfo` return the object's place in the loader's list.
const RTLD_DI_LINKMAP: c_int = 2;
/// Section index of a symbol that an object only refers to.
const SHN_UNDEF: u16 = 0;

unsafe extern "C" {
    fn dladdr1(
        address: *const c_void,
        info: *mut libc::Dl_info,
        extra: *mut *mut c_void,
        flags: c_int,
    ) -> c_int;
    fn dlinfo(handle: *mut c_void, request: c_int, info: *mut c_void) -> c_int;
}

/// The object that a call of `name` from the program reaches.
pub(crate) fn find(name: &CStr) -> Option<Owner> {
    // SAFETY: the name ends with NUL; RTLD_DEFAULT is a valid handle.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    let (owner, defined) = owner_of(address)?;
    if defined { Some(owner) } else { find_one_by_one(name) }
}

impl Owner {
    /// Whether the object is the program itself.
    pub(crate) fn is_program(&self) -> bool {
        // SAFETY: getauxval has no preconditions.
        let entry = unsafe { libc::getauxval(libc::AT_ENTRY) };
        owner_of(entry as *const c_void).is_some_and(|(program, _)| program.base == self.base)
    }
}

/// The object that contains an address, and whether that object defines the symbol there.
fn owner_of(address: *const c_void) -> Option<(Owner, bool)> {
    let mut info = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    let mut symbol: *mut c_void = ptr::null_mut();
    // SAFETY: dladdr1 takes any address and writes only to the two results.
    let found = unsafe { dladdr1(address, &mut info, &mut symbol, RTLD_DL_SYMENT) } != 0;
    if address.is_null() || !found || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: an entry of the object's symbol table, or NULL where no symbol is near.
    let defined = unsafe { symbol.cast::<libc::Elf64_Sym>().as_ref() }
        .is_none_or(|symbol| symbol.st_shndx != SHN_UNDEF);
    Some((Owner { file: info.dli_fname, base: info.dli_fbase }, defined))
}

/// Asks every object except the program for its own definition.
fn find_one_by_one(name: &CStr) -> Option<Owner> {
    let mut map: *const LinkMap = ptr::null();
    // SAFETY: the handle of the program itself always exists; dlinfo writes one pointer. The list does not
    // change: no other thread runs before `main`.
    unsafe {
        let program = libc::dlopen(ptr::null(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if program.is_null() || dlinfo(program, RTLD_DI_LINKMAP, (&raw mut map).cast()) != 0 {
            return None;
        }
        while let Some(object) = map.as_ref().and_then(|object| object.next.as_ref()) {
            map = object;
            let handle = libc::dlopen(object.name, libc::RTLD_LAZY | libc::RTLD_NOLOAD);
            if handle.is_null() {
                continue;
            }
            let owner = owner_of(libc::dlsym(handle, name.as_ptr()));
            libc::dlclose(handle);
            if let Some((owner, true)) = owner
                && owner.base as usize == object.address
            {
                return Some(owner);
            }
        }
    }
    None
}
