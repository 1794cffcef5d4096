//! What this library exports: withdrawn where the program has no such function.
//!
//! A preloaded library stands before everything that a program loads later. If it exports `operator new` in a
//! program without a C++ library, it captures the operators of every plug-in, including those that a plug-in
//! brings itself, and would have to find out at each call which ones the loader would have chosen. So a name that
//! nothing else provides when the program starts is taken out of this library's symbol table: the loader then
//! finds for a plug-in what it finds without the recorder. Whoever has been bound before stays bound.
//!
//! NOTE: a symbol whose value is 0 is none to the loader. The table is in a segment that is only read; where a
//! linker has put it next to code, it stays as it is, because no code may become writable.

use core::ffi::{CStr, c_char, c_void};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use heaplab_raw::PAGE_BYTES;
use libc::{Elf64_Ehdr, Elf64_Phdr, Elf64_Sym};

use crate::system;

/// An entry of the dynamic section.
#[repr(C)]
struct Dynamic {
    tag: u64,
    value: u64,
}

const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;

unsafe extern "C" {
    /// The library's first byte, which the linker names.
    #[link_name = "__ehdr_start"]
    static HEADER: Elf64_Ehdr;
}

/// Whether a thread has the table open.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// From now on the loader does not find these names here. Nothing else is done meanwhile: no one waits long.
pub(crate) fn withdraw(names: impl Iterator<Item = &'static CStr>) {
    while IS_OPEN.swap(true, Ordering::Acquire) {
        system::give_way();
    }
    if let Some(exports) = Exports::open() {
        names.for_each(|name| exports.withdraw(name));
    }
    IS_OPEN.store(false, Ordering::Release);
}

/// The library's symbol table, as the loader reads it; writable until it is dropped.
struct Exports {
    symbols: *mut Elf64_Sym,
    names: *const c_char,
    hash: *const u32,
    /// The pages that hold the table.
    pages: *mut c_void,
    bytes: usize,
}

impl Exports {
    /// None if the table cannot be changed.
    fn open() -> Option<Exports> {
        let base = (&raw const HEADER).cast::<u8>();
        // SAFETY: the loader has mapped the header and what it refers to, and the linker has made them.
        unsafe {
            let programs = base.add((*base.cast::<Elf64_Ehdr>()).e_phoff as usize).cast::<Elf64_Phdr>();
            let programs = core::slice::from_raw_parts(programs, HEADER.e_phnum.into());
            let dynamic = programs.iter().find(|program| program.p_type == libc::PT_DYNAMIC)?;
            let mut entry = base.add(dynamic.p_vaddr as usize).cast::<Dynamic>();
            let (mut symbols, mut names, mut hash) = (0, 0, 0);
            while (*entry).tag != DT_NULL {
                match (*entry).tag {
                    DT_SYMTAB => symbols = (*entry).value,
                    DT_STRTAB => names = (*entry).value,
                    DT_GNU_HASH => hash = (*entry).value,
                    _ => {}
                }
                entry = entry.add(1);
            }
            // The loader has made them addresses.
            let offset = |address: u64| address.checked_sub(base as u64).filter(|offset| *offset > 0);
            let (symbols, names, hash) = (offset(symbols)?, offset(names)?, offset(hash)?);
            let holder = programs.iter().find(|program| {
                program.p_type == libc::PT_LOAD
                    && symbols.wrapping_sub(program.p_vaddr) < program.p_filesz
                    && names.wrapping_sub(program.p_vaddr) < program.p_filesz
            })?;
            if holder.p_flags & (libc::PF_X | libc::PF_W) != 0 {
                return None;
            }
            // The names follow the symbols.
            let begin = symbols & !(PAGE_BYTES as u64).wrapping_sub(1);
            let (pages, bytes) = (base.add(begin as usize), names.checked_sub(begin)? as usize);
            let pages = pages.cast_mut().cast::<c_void>();
            if libc::mprotect(pages, bytes, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                return None;
            }
            Some(Exports {
                symbols: base.add(symbols as usize).cast_mut().cast(),
                names: base.add(names as usize).cast(),
                hash: base.add(hash as usize).cast(),
                pages,
                bytes,
            })
        }
    }

    /// Takes a name out.
    fn withdraw(&self, name: &CStr) {
        let Some(symbol) = self.find(name) else { return };
        let value = symbol.wrapping_byte_add(offset_of!(Elf64_Sym, st_value)).cast::<u64>();
        // SAFETY: the symbol's value, aligned and writable. Another thread's lookup finds either.
        unsafe { AtomicU64::from_ptr(value) }.store(0, Ordering::Relaxed);
    }

    /// The symbol of that name, by the table's GNU hash: the number of its buckets, its first symbol, the number
    /// of words of its filter and their shift; the filter; the buckets; the chains.
    fn find(&self, name: &CStr) -> Option<*mut Elf64_Sym> {
        let wanted = name
            .to_bytes()
            .iter()
            .fold(5381_u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
        // SAFETY: the linker has made the table; a chain ends with an odd hash.
        unsafe {
            let (buckets_count, first, words) = (*self.hash, *self.hash.add(1), *self.hash.add(2));
            let buckets = self.hash.add(4).add(words as usize * 2);
            let chains = buckets.add(buckets_count as usize);
            let mut at = *buckets.add(wanted.checked_rem(buckets_count)? as usize);
            while at >= first && at > 0 {
                let hash = *chains.add((at.wrapping_sub(first)) as usize);
                let symbol = self.symbols.add(at as usize);
                let own = CStr::from_ptr(self.names.add((*symbol).st_name as usize));
                if hash | 1 == wanted | 1 && own == name {
                    return Some(symbol);
                }
                if hash & 1 == 1 {
                    break;
                }
                at = at.wrapping_add(1);
            }
            None
        }
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        // SAFETY: the pages that `open` made writable.
        unsafe { libc::mprotect(self.pages, self.bytes, libc::PROT_READ) };
    }
}
