//! A variant: an allocator plus settings, parsed from the text that a user writes.
//!
//! ```text
//! NAME[:SETTING=VALUE[,SETTING=VALUE ...]]        jemalloc:dirty_decay_ms=0,narenas=4
//! NAME=/path/lib.so[:VARIABLE=VALUE[,...]]        mine=/opt/lib.so:FOO=1
//! ```
//!
//! A piece without `=` continues the previous value, so that a value may contain commas
//! (`jemalloc:MALLOC_CONF=dirty_decay_ms:0,narenas:4`). Whether the allocator knows a setting is not decided
//! here: that is proven by reading it back (see [`crate::readback`]).

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::identity::Expectation;
use crate::process;
use crate::registry::{self, Absent, Entry};

/// One setting, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name: the allocator's own, or that of its environment variable.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// An allocator plus settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name in results: the whole text, without the path if one was given.
    pub label: String,
    /// The allocator's name: the text before `:` or `=`.
    pub allocator: String,
    /// The allocator's family; [`Family::Other`] if a path was given and the library has not been
    /// [recognised](Variant::recognised).
    pub family: Family,
    /// Settings in the order in which they were written.
    pub settings: Vec<Setting>,
    /// The library to preload; none for ptmalloc2. Absolute.
    pub library: Option<PathBuf>,
}

/// What is wrong with the text of a variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariantError {
    /// No allocator of this name.
    #[error(
        "unknown allocator {name:?}; there are {}, and any NAME=/path/to/library.so",
        registry::ENTRIES.map(|entry| entry.name).join(", ")
    )]
    UnknownAllocator {
        /// What was asked for.
        name: String,
    },
    /// A name that is not allowed.
    #[error("variant {spec:?}: {name:?} is no name; use letters, digits, '-', '_' and '.'")]
    BadName {
        /// The whole text.
        spec: String,
        /// The part that is wrong.
        name: String,
    },
    /// A path given for the name of an existing allocator.
    #[error(
        "variant {spec:?}: {name} is the name of an allocator that heaplab knows; give your library another name"
    )]
    TakenName {
        /// The whole text.
        spec: String,
        /// The name.
        name: String,
    },
    /// A setting that is not NAME=VALUE.
    #[error("variant {spec:?}: {piece:?} is no setting; write SETTING=VALUE, several separated by commas")]
    BadSetting {
        /// The whole text.
        spec: String,
        /// The part that is wrong.
        piece: String,
    },
    /// Settings for an allocator that has none.
    #[error("variant {spec:?}: {allocator} has no settings")]
    NoSettings {
        /// The whole text.
        spec: String,
        /// The allocator.
        allocator: String,
    },
    /// A setting of the process that does not exist.
    #[error("variant {spec:?}: {name}={value} cannot be asked of a process: {allowed}")]
    BadProcessSetting {
        /// The whole text.
        spec: String,
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// What can be asked for.
        allowed: String,
    },
    /// A library that does not exist or cannot be read.
    #[error("variant {spec:?}: {}: {reason}", path.display())]
    BadLibrary {
        /// The whole text.
        spec: String,
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A known allocator whose library is not on this machine.
    #[error(transparent)]
    Absent(#[from] Absent),
}

impl Variant {
    /// The variant that `spec` describes, its library found on this machine.
    ///
    /// ```
    /// use heaplab_allocators::{Family, Variant};
    ///
    /// let variant = Variant::parse("ptmalloc2:MALLOC_ARENA_MAX=2")?;
    /// assert_eq!(variant.label, "ptmalloc2:MALLOC_ARENA_MAX=2");
    /// assert_eq!((variant.allocator.as_str(), variant.family), ("ptmalloc2", Family::Ptmalloc2));
    /// assert_eq!((variant.settings[0].name.as_str(), variant.library), ("MALLOC_ARENA_MAX", None));
    /// # Ok::<(), heaplab_allocators::VariantError>(())
    /// ```
    pub fn parse(spec: &str) -> Result<Variant, VariantError> {
        parse_with(spec, Entry::locate, find_library)
    }

    /// Parses the text as on a host that has the library: for a run that will be measured elsewhere.
    ///
    /// ```
    /// use heaplab_allocators::Variant;
    ///
    /// assert_eq!(Variant::parse_elsewhere("mine=/on/the/nodes/mine.so")?.label, "mine");
    /// assert!(Variant::parse_elsewhere("jemaloc").is_err());
    /// # Ok::<(), heaplab_allocators::VariantError>(())
    /// ```
    pub fn parse_elsewhere(spec: &str) -> Result<Variant, VariantError> {
        parse_with(spec, |_| Ok(None), |path| Ok(path.to_owned()))
    }

    /// The text that parses to this variant, for passing it to another process.
    pub fn spec(&self) -> String {
        let library = self.library.as_deref().filter(|_| self.is_given_by_path());
        let Some(library) = library else {
            return self.label.clone();
        };
        let settings: Vec<_> = self.settings.iter().map(|s| format!("{}={}", s.name, s.value)).collect();
        let settings = if settings.is_empty() { String::new() } else { format!(":{}", settings.join(",")) };
        format!("{}={}{settings}", self.allocator, library.display())
    }

    /// Whether its library was named by a path rather than by an allocator's name.
    pub(crate) fn is_given_by_path(&self) -> bool {
        registry::find(&self.allocator).is_none()
    }

    /// This variant with the family that its library, once loaded, showed itself to be: its settings then go
    /// to that family's variable, and are read back. None if nothing new is known.
    pub fn recognised(&self, family: Family) -> Option<Variant> {
        let is_new = self.family == Family::Other && self.is_given_by_path();
        let is_known = !matches!(family, Family::Other | Family::Ptmalloc2 | Family::Floor);
        (is_new && is_known).then(|| Variant { family, ..self.clone() })
    }

    /// What must be loaded in a worker of this variant, in whichever build.
    pub fn expectation(&self) -> Expectation {
        Expectation { allocator: self.allocator.clone(), library: self.library.clone(), stamp: None }
    }

    /// Settings as one text for `samples.csv`: `NAME=VALUE`, separated by spaces.
    pub fn settings_text(&self) -> String {
        let texts = self.settings.iter().map(|setting| format!("{}={}", setting.name, setting.value));
        texts.collect::<Vec<_>>().join(" ")
    }

    /// The CPU count that a replay under this variant is shown, if it has its own.
    pub fn cpus(&self) -> Option<u32> {
        let setting = self.settings.iter().rfind(|setting| setting.name == process::CPUS)?;
        process::parse_cpus(&setting.value)
    }

    /// Makes `command` start its process under the variant's settings of the process. The caller must set its
    /// environment, and so the allocator's settings: see [`Variant::environment`].
    pub fn prepare_process(&self, command: &mut Command) {
        if let Some(setting) = self.settings.iter().rfind(|setting| setting.name == process::THP) {
            process::prepare(command, &setting.value);
        }
        command.envs(self.cpus().map(|cpus| (process::CPUS_VARIABLE, cpus.to_string())));
    }
}

/// [`Variant::parse`], with the search for libraries passed in, so that it can be tested without any library.
fn parse_with(
    spec: &str,
    locate: impl Fn(&Entry) -> Result<Option<PathBuf>, Absent>,
    find: impl Fn(&Path) -> Result<PathBuf, String>,
) -> Result<Variant, VariantError> {
    let name_end = spec.find([':', '=']).unwrap_or(spec.len());
    let (name, rest) = spec.split_at(name_end);
    if !is_name(name) {
        return Err(VariantError::BadName { spec: spec.into(), name: name.into() });
    }
    if let Some(rest) = rest.strip_prefix('=') {
        return parse_path_form(spec, name, rest, find);
    }
    let entry = registry::find(name).ok_or_else(|| VariantError::UnknownAllocator { name: name.into() })?;
    let settings = match rest.strip_prefix(':') {
        Some(text) => parse_settings(spec, text)?,
        None => Vec::new(),
    };
    if !entry.family.has_settings() && !settings.iter().all(|setting| process::is_of_process(&setting.name)) {
        return Err(VariantError::NoSettings { spec: spec.into(), allocator: name.into() });
    }
    Ok(Variant {
        label: spec.into(),
        allocator: name.into(),
        family: entry.family,
        settings,
        library: locate(entry)?,
    })
}

fn parse_path_form(
    spec: &str,
    name: &str,
    rest: &str,
    find: impl Fn(&Path) -> Result<PathBuf, String>,
) -> Result<Variant, VariantError> {
    if registry::find(name).is_some() {
        return Err(VariantError::TakenName { spec: spec.into(), name: name.into() });
    }
    let (path, settings_text) = match settings_colon(rest) {
        Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
        None => (rest, None),
    };
    let settings = settings_text.map_or(Ok(Vec::new()), |text| parse_settings(spec, text))?;
    let label = settings_text.map_or_else(|| name.to_owned(), |text| format!("{name}:{text}"));
    let path = Path::new(path);
    let library = find(path).map_err(|reason| VariantError::BadLibrary {
        spec: spec.into(),
        path: path.into(),
        reason,
    })?;
    Ok(Variant { label, allocator: name.into(), family: Family::Other, settings, library: Some(library) })
}

/// The library of a path; otherwise why it is not one.
fn find_library(path: &Path) -> Result<PathBuf, String> {
    let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !file.is_file() {
        return Err("not a file".into());
    }
    std::path::absolute(path).map_err(|error| error.to_string())
}

/// Where the settings of `NAME=PATH[:SETTINGS]` begin, in the part after `=`. A path may contain colons: the
/// settings begin at the first colon that `NAME=` follows.
fn settings_colon(rest: &str) -> Option<usize> {
    let begins_settings = |&(colon, _): &(usize, &str)| {
        rest[colon + 1..].split_once('=').is_some_and(|(name, _)| is_name(name))
    };
    rest.match_indices(':').find(begins_settings).map(|(colon, _)| colon)
}

/// Whether the text of a variant has settings, so that further settings are separated from it by a comma.
pub(crate) fn has_settings(spec: &str) -> bool {
    let name_end = spec.find([':', '=']).unwrap_or(spec.len());
    match spec[name_end..].strip_prefix('=') {
        Some(rest) => settings_colon(rest).is_some(),
        None => name_end < spec.len(),
    }
}

fn parse_settings(spec: &str, text: &str) -> Result<Vec<Setting>, VariantError> {
    let mut settings: Vec<Setting> = Vec::new();
    for piece in text.split(',') {
        match (piece.split_once('='), settings.last_mut()) {
            (Some((name, value)), _) if is_name(name) && !value.contains(['\0', '\n']) => {
                settings.push(Setting { name: name.into(), value: value.into() });
            }
            (None, Some(before)) if !piece.is_empty() => {
                before.value.push(',');
                before.value.push_str(piece);
            }
            _ => return Err(VariantError::BadSetting { spec: spec.into(), piece: piece.into() }),
        }
    }
    for setting in settings.iter().filter(|setting| process::is_of_process(&setting.name)) {
        if let Some(allowed) = process::fault(&setting.name, &setting.value) {
            let Setting { name, value } = setting.clone();
            return Err(VariantError::BadProcessSetting { spec: spec.into(), name, value, allowed });
        }
    }
    Ok(settings)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(spec: &str) -> Result<Variant, VariantError> {
        let locate = |entry: &Entry| {
            Ok((entry.family != Family::Ptmalloc2).then(|| format!("/lib/{}.so", entry.name).into()))
        };
        parse_with(spec, locate, find_library)
    }

    fn settings(spec: &str) -> Vec<(String, String)> {
        let variant = parse(spec).expect("a variant");
        variant.settings.into_iter().map(|setting| (setting.name, setting.value)).collect()
    }

    #[test]
    fn names_settings_and_paths() {
        assert_eq!(settings("jemalloc"), []);
        let pairs = [("dirty_decay_ms", "0"), ("narenas", "4")].map(|(n, v)| (n.to_string(), v.to_string()));
        assert_eq!(settings("jemalloc:dirty_decay_ms=0,narenas=4"), pairs);
        let conf = [("MALLOC_CONF".to_string(), "dirty_decay_ms:0,narenas:4".to_string())];
        assert_eq!(settings("jemalloc:MALLOC_CONF=dirty_decay_ms:0,narenas:4"), conf);
        assert_eq!(settings("floor:process.thp=never").len(), 1);
        assert_eq!(parse("tcmalloc:TCMALLOC_RELEASE_RATE=10").expect("a variant").family, Family::Tcmalloc);
    }

    #[test]
    fn a_path_form_is_labelled_by_its_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a:b.so");
        std::fs::write(&path, "").expect("a file");
        let variant = parse(&format!("mine={}:FOO=1,BAR=x", path.display())).expect("a variant");
        assert_eq!(parse(&variant.spec()).expect("its own text"), variant);
        assert_eq!((variant.label.as_str(), variant.allocator.as_str()), ("mine:FOO=1,BAR=x", "mine"));
        let known = variant.recognised(Family::Jemalloc).expect("jemalloc is known");
        assert_eq!((known.family, known.spec()), (Family::Jemalloc, variant.spec()));
        assert_eq!(known.recognised(Family::Mimalloc), None);
        assert_eq!(parse("jemalloc").expect("a variant").recognised(Family::Jemalloc), None);
        let plain = parse(&format!("mine={}", path.display())).expect("a variant");
        assert_eq!(plain.label, "mine");
        assert_eq!((variant.family, variant.library), (Family::Other, Some(path)));
        assert_eq!(variant.settings.len(), 2);
    }

    #[test]
    fn mistakes_name_what_is_wrong() {
        let text = |spec: &str| parse(spec).expect_err("a mistake").to_string();
        assert_eq!(
            text("jemaloc"),
            "unknown allocator \"jemaloc\"; there are ptmalloc2, jemalloc, tcmalloc, mimalloc, floor, \
             tcmalloc-google, mimalloc2, snmalloc, rpmalloc, scudo, tbbmalloc, jemalloc-system, \
             mimalloc-system, and any NAME=/path/to/library.so"
        );
        assert!(text("jemalloc:narenas").contains("\"narenas\" is no setting"));
        assert!(text("jemalloc:").contains("\"\" is no setting"));
        assert!(text("floor:a=1").contains("floor has no settings"));
        assert!(text("snmalloc:a=1").contains("snmalloc has no settings"));
        assert_eq!(
            text("jemalloc:process.thp=always"),
            "variant \"jemalloc:process.thp=always\": process.thp=always cannot be asked of a process: there are never and madvise"
        );
        assert!(text("mine=/no/such.so").contains("/no/such.so: No such file"));
        assert!(text("jemalloc=/no/such.so").contains("another name"));
        assert!(text("").contains("is no name"));
    }

    #[test]
    fn background_threads_are_seen_in_every_spelling() {
        let sleeps = |spec: &str| parse(spec).expect("a variant").sleeps_in_real_time();
        assert!(sleeps("jemalloc:background_thread=true"));
        assert!(sleeps("jemalloc:MALLOC_CONF=narenas:1,background_thread:true"));
        assert!(!sleeps("jemalloc:background_thread=false"));
        assert!(!sleeps("jemalloc:background_thread=true,background_thread=false"));
        assert!(!sleeps("mimalloc"));
    }

    proptest! {
        #[test]
        fn no_text_panics(spec in "\\PC{0,60}") {
            let _ = parse(&spec);
        }

        #[test]
        fn settings_survive(name in "[a-z_]{1,12}", value in "[a-z0-9:=]{0,12}") {
            prop_assert_eq!(settings(&format!("mimalloc:{name}={value}")), [(name, value)]);
        }
    }
}
