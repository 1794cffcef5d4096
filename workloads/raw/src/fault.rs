//! What can be wrong with raw bytes.

use core::fmt;

/// Bytes that are not what they should be. The reader adds file and place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The mark at the head is missing: never written, or another kind of file.
    Magic {
        /// Of what.
        of: &'static str,
    },
    /// Made by another version of heaplab.
    Version {
        /// Of what.
        of: &'static str,
        /// What stands there.
        found: u32,
    },
    /// A head does not match its checksum.
    Checksum {
        /// Of what.
        of: &'static str,
    },
    /// A field has a value that it cannot have.
    Value {
        /// Which field.
        what: &'static str,
        /// What stands there.
        found: u64,
    },
    /// A record begins with a byte that no record begins with.
    Kind(u8),
    /// A record that was started and not finished.
    Cut,
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fault::Magic { of } => write!(to, "{of} is missing"),
            Fault::Version { of, found } => {
                let own = crate::RAW_VERSION;
                write!(to, "{of} has version {found}, and this heaplab reads version {own}")
            }
            Fault::Checksum { of } => write!(to, "{of} does not match its checksum"),
            Fault::Value { what, found } => write!(to, "{what} cannot be {found}"),
            Fault::Kind(byte) => write!(to, "no record begins with byte {byte:#04x}"),
            Fault::Cut => write!(to, "a record is cut off"),
        }
    }
}

impl core::error::Error for Fault {}
