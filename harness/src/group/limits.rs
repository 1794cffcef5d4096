//! What a control group may have.

use serde::{Deserialize, Serialize};

/// No program starts with less: a first page table, a stack and the loader's pages take more.
const LEAST_BYTES: u64 = 1 << 20;

/// The limits of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupLimits {
    /// Memory at which the kernel kills.
    pub max_bytes: Option<u64>,
    /// Memory above which the kernel slows processes down and reclaims pages; only version 2 has it.
    pub high_bytes: Option<u64>,
    /// Swap that may be used.
    pub swap_max_bytes: Option<u64>,
}

/// Limits under which no sample can be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Nothing starts with so little.
    #[error("{name} {found_bytes}B is below what any program needs to start: give {LEAST_BYTES}B at least")]
    TooSmall {
        /// The option.
        name: &'static str,
        /// What was given.
        found_bytes: u64,
    },
    /// The limit would never be reached.
    #[error(
        "{name} {found_bytes}B is more than the memory of this machine ({has_bytes}B): it would limit nothing"
    )]
    TooLarge {
        /// The option.
        name: &'static str,
        /// What was given.
        found_bytes: u64,
        /// How much there is.
        has_bytes: u64,
    },
    /// The soft limit is above the hard limit.
    #[error("--memory-high {high_bytes}B is not below --memory-max {max_bytes}B: it would never be reached")]
    HighAboveMax {
        /// The soft limit given.
        high_bytes: u64,
        /// The hard limit given.
        max_bytes: u64,
    },
}

impl GroupLimits {
    /// Whether there is a limit at all.
    pub fn is_some(&self) -> bool {
        *self != GroupLimits::default()
    }

    /// Checks for limits under which no sample can be taken. `memory_bytes` is the machine's.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn check(&self, memory_bytes: u64) -> Result<(), LimitError> {
        for (name, found) in [("--memory-max", self.max_bytes), ("--memory-high", self.high_bytes)] {
            let Some(found_bytes) = found else { continue };
            if found_bytes < LEAST_BYTES {
                return Err(LimitError::TooSmall { name, found_bytes });
            }
            if found_bytes > memory_bytes {
                return Err(LimitError::TooLarge { name, found_bytes, has_bytes: memory_bytes });
            }
        }
        match self.high_bytes.zip(self.max_bytes) {
            Some((high_bytes, max_bytes)) if high_bytes >= max_bytes => {
                Err(LimitError::HighAboveMax { high_bytes, max_bytes })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_without_sense_are_refused() {
        let check = |max_bytes, high_bytes| {
            GroupLimits { max_bytes, high_bytes, swap_max_bytes: None }
                .check(1 << 30)
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(Some(1 << 20), None), Ok(()));
        assert_eq!(check(Some(1 << 30), Some(1 << 29)), Ok(()));
        for (max, high, told) in [
            (Some(4096), None, "--memory-max 4096B is below what any program needs to start"),
            (Some(1 << 31), None, "is more than the memory of this machine (1073741824B)"),
            (None, Some(7), "--memory-high 7B is below"),
            (Some(1 << 29), Some(1 << 29), "is not below --memory-max"),
        ] {
            let error = check(max, high).expect_err("no sense");
            assert!(error.contains(told), "{error}");
        }
        assert!(!GroupLimits::default().is_some());
    }
}
