//! One process of a log that may hold several: the one that was asked for, or the first.
//!
//! A trace is of one process. The calls of the others are counted and omitted.

use std::collections::BTreeSet;
use std::path::Path;

use super::ImportError;

/// The most other processes that are named.
const NAMED_MOST: usize = 8;

pub(super) struct Process {
    wanted: Option<u64>,
    /// The one whose calls are imported, once a call has been read.
    taken: Option<u64>,
    others: BTreeSet<u64>,
    left_away: u64,
}

impl Process {
    pub(super) fn new(wanted: Option<u64>) -> Process {
        Process { wanted, taken: None, others: BTreeSet::new(), left_away: 0 }
    }

    /// Whether a call of process `id` is to be imported.
    #[inline]
    pub(super) fn takes(&mut self, id: u64) -> bool {
        if self.taken == Some(id) {
            return true;
        }
        if self.taken.is_none() && self.wanted.is_none_or(|wanted| wanted == id) {
            self.taken = Some(id);
            return true;
        }
        self.left_away += 1;
        if self.others.len() <= NAMED_MOST {
            self.others.insert(id);
        }
        false
    }

    /// The process whose calls are imported; none before the first call.
    pub(super) fn taken(&self) -> Option<u64> {
        self.taken
    }

    /// Says that calls of other processes were omitted.
    pub(super) fn warning(&self) -> Option<String> {
        let taken = self.taken?;
        (self.left_away > 0).then(|| {
            format!(
                "{} calls of other processes ({}) are left out: the trace is of process {taken} (another: --process ID)",
                self.left_away,
                self.list_others()
            )
        })
    }

    /// Checks that there was a call of the process that was asked for.
    pub(super) fn check(&self, path: &Path) -> Result<(), ImportError> {
        match self.wanted {
            Some(wanted) if self.taken.is_none() => {
                let found = if self.others.is_empty() { "none".to_string() } else { self.list_others() };
                Err(ImportError::UnknownProcess { path: path.to_path_buf(), wanted, found })
            }
            _ => Ok(()),
        }
    }

    fn list_others(&self) -> String {
        let mut names: Vec<String> = self.others.iter().take(NAMED_MOST).map(u64::to_string).collect();
        if self.others.len() > NAMED_MOST {
            names.push("...".to_string());
        }
        names.join(", ")
    }
}
