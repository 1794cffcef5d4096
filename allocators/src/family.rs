//! The kinds of allocator: those with settings, purge call and version that we know, and all others.

use serde::{Deserialize, Serialize};

/// A kind of allocator. Builds and versions of one kind are different allocators of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// The GNU C library's.
    Ptmalloc2,
    /// jemalloc, prefixed or not.
    Jemalloc,
    /// gperftools' tcmalloc.
    Tcmalloc,
    /// mimalloc, of any generation.
    Mimalloc,
    /// Google's TCMalloc, the descendant of gperftools'.
    #[serde(rename = "tcmalloc-google")]
    TcmallocGoogle,
    /// Microsoft's snmalloc.
    Snmalloc,
    /// rpmalloc.
    Rpmalloc,
    /// LLVM's Scudo, in its standalone form.
    Scudo,
    /// oneTBB's scalable allocator.
    Tbbmalloc,
    /// Ours: it measures the harness and is never ranked.
    Floor,
    /// Any other, about which only its library is known.
    Other,
}

impl Family {
    /// The family's name, as written in results.
    pub fn name(self) -> &'static str {
        match self {
            Family::Ptmalloc2 => "ptmalloc2",
            Family::Jemalloc => "jemalloc",
            Family::Tcmalloc => "tcmalloc",
            Family::Mimalloc => "mimalloc",
            Family::TcmallocGoogle => "tcmalloc-google",
            Family::Snmalloc => "snmalloc",
            Family::Rpmalloc => "rpmalloc",
            Family::Scudo => "scudo",
            Family::Tbbmalloc => "tbbmalloc",
            Family::Floor => "floor",
            Family::Other => "other",
        }
    }

    /// Whether it has settings that can be given when a process starts.
    pub fn has_settings(self) -> bool {
        !matches!(self, Family::Snmalloc | Family::Rpmalloc | Family::Floor)
    }
}
