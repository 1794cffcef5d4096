//! What is wrong with a definition.

/// What is wrong with a definition or an override.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The text is not TOML.
    #[error("{origin}: not a TOML file: {message}")]
    Syntax {
        /// The file, or `--set`.
        origin: String,
        /// What the parser found, with its line.
        message: String,
    },
    /// A field has a value that it cannot have.
    #[error("{origin}: {key} is {found}, which is not allowed: it must be {allowed}")]
    Value {
        /// The file, or `--set`.
        origin: String,
        /// The dotted key.
        key: String,
        /// The value as written.
        found: String,
        /// What is allowed there.
        allowed: String,
    },
    /// The field does not exist.
    #[error("{origin}: unknown key {key} (found {found}): the keys are {allowed}")]
    UnknownKey {
        /// The file, or `--set`.
        origin: String,
        /// The dotted key.
        key: String,
        /// The value as written.
        found: String,
        /// The keys that are allowed there.
        allowed: String,
    },
    /// An override of a field that the model does not read.
    #[error(
        "{origin}: {key} is {found}, which changes nothing while {condition}: set that too, or omit {key}"
    )]
    Unread {
        /// `--set`.
        origin: String,
        /// The dotted key.
        key: String,
        /// The value as written.
        found: String,
        /// What makes the field void.
        condition: String,
    },
    /// A field that nothing gives a value.
    #[error("{origin}: {key} is missing: it must be {allowed}")]
    Missing {
        /// The file.
        origin: String,
        /// The dotted key.
        key: String,
        /// What is allowed there.
        allowed: String,
    },
    /// The text of an override is not KEY=VALUE.
    #[error("--set {found:?}: not KEY=VALUE, as in payload.median=64KiB")]
    Override {
        /// The text.
        found: String,
    },
}

/// Cuts what was found to fit a message.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}
