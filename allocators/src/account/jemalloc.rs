//! jemalloc's account, by `mallctl`. Every build reports pages; only one with statistics reports blocks.

use std::ffi::CString;
use std::ptr;

use super::{Account, ClassAccount};
use crate::symbol::{self, Mallctl, Object};

/// All arenas, merged, since jemalloc 5.
const ALL: &str = "4096";

pub(super) fn account(object: &Object) -> Option<Account> {
    let control = Control(symbol::mallctl_in(object)?);
    control.refresh()?;
    let page_bytes = control.read::<usize>("arenas.page")? as u64;
    let pages = |name: &str| {
        control.read::<usize>(&format!("stats.arenas.{ALL}.{name}")).map(|pages| pages as u64 * page_bytes)
    };
    let dirty_bytes = pages("pdirty").zip(pages("pmuzzy")).map(|(dirty, muzzy)| dirty + muzzy);
    let of_pages = Account { active_bytes: pages("pactive"), dirty_bytes, ..Account::default() };
    if !control.read::<bool>("config.stats").unwrap_or(false) {
        return Some(of_pages);
    }
    let bytes = |name: &str| control.read::<usize>(name).map(|bytes| bytes as u64);
    let (active, allocated) = (bytes("stats.active")?, bytes("stats.allocated")?);
    // What threads keep for themselves counts as allocated; jemalloc reports how much that is since 5.3.
    let kept = bytes(&format!("stats.arenas.{ALL}.tcache_bytes")).unwrap_or(0);
    Some(Account {
        live_bytes: Some(allocated.saturating_sub(kept)),
        cached_bytes: Some(active.saturating_sub(allocated) + kept),
        metadata_bytes: bytes("stats.metadata"),
        active_bytes: Some(active),
        system_bytes: bytes("stats.mapped"),
        classes: control.classes(),
        ..of_pages
    })
}

struct Control(Mallctl);

impl Control {
    /// Brings the statistics up to date.
    fn refresh(&self) -> Option<()> {
        let mut epoch: u64 = 1;
        let bytes = size_of_val(&epoch);
        // SAFETY: "epoch" takes a u64.
        let failed = unsafe {
            (self.0)(c"epoch".as_ptr(), ptr::null_mut(), ptr::null_mut(), (&raw mut epoch).cast(), bytes)
        };
        (failed == 0).then_some(())
    }

    /// A value of the name's type; none if there is no such name, or it has a different size.
    fn read<T: Default>(&self, name: &str) -> Option<T> {
        let name = CString::new(name).ok()?;
        let mut value = T::default();
        let mut bytes = size_of::<T>();
        // SAFETY: at most `bytes` are written, which the value has; the names read here yield plain numbers and flags.
        let failed =
            unsafe { (self.0)(name.as_ptr(), (&raw mut value).cast(), &mut bytes, ptr::null_mut(), 0) };
        (failed == 0 && bytes == size_of::<T>()).then_some(value)
    }

    /// Small blocks by their size. Those that threads keep for themselves are among the live ones.
    fn classes(&self) -> Vec<ClassAccount> {
        let count: u32 = self.read("arenas.nbins").unwrap_or(0);
        let class = |at: u32| {
            let size = self.read::<usize>(&format!("arenas.bin.{at}.size"))? as u64;
            let slab = self.read::<usize>(&format!("arenas.bin.{at}.slab_size"))? as u64;
            let of_bin = |name: &str| {
                self.read::<usize>(&format!("stats.arenas.{ALL}.bins.{at}.{name}")).map(|count| count as u64)
            };
            let live = of_bin("curregs")? * size;
            let cached = (of_bin("curslabs")? * slab).saturating_sub(live);
            Some(ClassAccount { size_bytes: size, live_bytes: Some(live), cached_bytes: Some(cached) })
        };
        let is_used = |class: &ClassAccount| class.live_bytes != Some(0) || class.cached_bytes != Some(0);
        (0..count).filter_map(class).filter(is_used).collect()
    }
}
