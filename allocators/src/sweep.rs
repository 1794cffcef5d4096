//! Sweeps: variants of an allocator over values of its settings, from a TOML file.
//!
//! ```toml
//! description = "how many arenas, and whether there is a thread cache"
//!
//! [[grid]]
//! allocator = "ptmalloc2"
//! combine = "all"            # every combination; "each": one setting at a time, beside the allocator as it is
//! [grid.settings]
//! MALLOC_ARENA_MAX = ["default", 1, 2]
//! "glibc.malloc.tcache_count" = ["default", 0]
//! ```
//!
//! The value `"default"` omits the setting. A sweep produces texts of variants, in the form that
//! [`crate::Variant::parse`] reads; whether an allocator knows them is found out as for any other variant.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::variant::has_settings;

/// The most variants of a sweep.
pub const MOST_VARIANTS: usize = 500;
/// The largest file that is read.
const MOST_BYTES: u64 = 1 << 20;
/// A value that omits its setting.
const DEFAULT: &str = "default";

/// The shipped sweeps: name and text.
pub const SHIPPED: [(&str, &str); 5] = [
    ("glibc", include_str!("../sweeps/glibc.toml")),
    ("jemalloc", include_str!("../sweeps/jemalloc.toml")),
    ("mimalloc", include_str!("../sweeps/mimalloc.toml")),
    ("tcmalloc", include_str!("../sweeps/tcmalloc.toml")),
    ("huge-pages", include_str!("../sweeps/huge-pages.toml")),
];

/// Variants of one or more allocators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// What it asks, in a line.
    pub description: String,
    /// The variants' texts, each once, in order.
    pub variants: Vec<String>,
}

/// What is wrong with a sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Neither a shipped sweep's name nor a file.
    #[error("unknown sweep {name:?}: there are {}, or name a file (.toml)", SHIPPED.map(|(name, _)| name).join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("{}: cannot read the sweep", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not TOML, or has a field that a sweep does not have.
    #[error("{origin}: {detail}")]
    Toml {
        /// The sweep.
        origin: String,
        /// What is wrong, and where.
        detail: String,
    },
    /// A field holds a value that is not allowed.
    #[error("{origin}: grid {grid} ({allocator}): {detail}")]
    Grid {
        /// The sweep.
        origin: String,
        /// Its grid, from 1.
        grid: usize,
        /// The grid's allocator.
        allocator: String,
        /// What was found, and what is allowed.
        detail: String,
    },
    /// There is no grid.
    #[error("{origin}: it has no grid: write [[grid]] with an allocator and settings")]
    Empty {
        /// The sweep.
        origin: String,
    },
    /// There are too many variants.
    #[error(
        "{origin}: it makes more than {MOST_VARIANTS} variants: leave values away, or combine = \"each\""
    )]
    TooMany {
        /// The sweep.
        origin: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: String,
    #[serde(default)]
    grid: Vec<Grid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grid {
    allocator: String,
    #[serde(default)]
    combine: Combine,
    #[serde(default)]
    settings: toml::Table,
}

/// Which values are tried together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Combine {
    /// Every combination.
    #[default]
    All,
    /// One setting at a time, and none.
    Each,
}

impl Sweep {
    /// The shipped sweep of that name, or else the file at that path.
    ///
    /// # Errors
    ///
    /// Neither exists, or the file is not a sweep; the message says where and what is allowed.
    pub fn find(name_or_path: &str) -> Result<Sweep, SweepError> {
        if let Some((name, text)) = SHIPPED.into_iter().find(|(name, _)| *name == name_or_path) {
            return Sweep::parse(text, name);
        }
        let path = Path::new(name_or_path);
        let looks_like_path = path.extension().is_some() || path.components().count() > 1;
        if !looks_like_path && !path.exists() {
            return Err(SweepError::Unknown { name: name_or_path.into() });
        }
        let failed = |source| SweepError::Io { path: path.into(), source };
        let bytes = fs::metadata(path).map_err(failed)?.len();
        if bytes > MOST_BYTES {
            return Err(failed(io::Error::other(format!(
                "it has {bytes} bytes, and {MOST_BYTES} at most are read"
            ))));
        }
        Sweep::parse(&fs::read_to_string(path).map_err(failed)?, &path.display().to_string())
    }

    /// The sweep that `text` describes; `origin` names it in messages.
    ///
    /// ```
    /// use heaplab_allocators::Sweep;
    ///
    /// let text = "description = 'arenas'\n[[grid]]\nallocator = 'ptmalloc2'\n[grid.settings]\nMALLOC_ARENA_MAX = ['default', 2]";
    /// let sweep = Sweep::parse(text, "arenas.toml")?;
    /// assert_eq!(sweep.variants, ["ptmalloc2", "ptmalloc2:MALLOC_ARENA_MAX=2"]);
    /// # Ok::<(), heaplab_allocators::SweepError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub fn parse(text: &str, origin: &str) -> Result<Sweep, SweepError> {
        let file: File = toml::from_str(text).map_err(|error| SweepError::Toml {
            origin: origin.into(),
            detail: error.to_string().trim_end().into(),
        })?;
        if file.grid.is_empty() {
            return Err(SweepError::Empty { origin: origin.into() });
        }
        let mut variants: Vec<String> = Vec::new();
        for (at, grid) in file.grid.iter().enumerate() {
            let fault = |detail| SweepError::Grid {
                origin: origin.into(),
                grid: at + 1,
                allocator: grid.allocator.clone(),
                detail,
            };
            for variant in grid.variants().map_err(fault)? {
                if !variants.contains(&variant) {
                    variants.push(variant);
                }
                if variants.len() > MOST_VARIANTS {
                    return Err(SweepError::TooMany { origin: origin.into() });
                }
            }
        }
        Ok(Sweep { description: file.description, variants })
    }
}

impl Grid {
    /// The texts of the grid's variants; more than [`MOST_VARIANTS`] are cut off after the first one too
    /// many.
    fn variants(&self) -> Result<Vec<String>, String> {
        let mut axes = Vec::new();
        for (name, value) in &self.settings {
            axes.push((name, values(name, value)?));
        }
        let chosen: Vec<Vec<String>> = match self.combine {
            Combine::All => {
                let mut chosen = vec![Vec::new()];
                for (name, values) in &axes {
                    let longer = |before: &Vec<String>, value: &Option<String>| {
                        let mut pieces = before.clone();
                        pieces.extend(value.as_ref().map(|value| format!("{name}={value}")));
                        pieces
                    };
                    let pairs =
                        chosen.iter().flat_map(|before| values.iter().map(move |value| (before, value)));
                    chosen =
                        pairs.map(|(before, value)| longer(before, value)).take(MOST_VARIANTS + 1).collect();
                }
                chosen
            }
            Combine::Each => {
                let alone = axes.iter().flat_map(|(name, values)| {
                    values.iter().flatten().map(move |value| vec![format!("{name}={value}")])
                });
                std::iter::once(Vec::new()).chain(alone).collect()
            }
        };
        Ok(chosen.into_iter().map(|pieces| self.text(&pieces)).collect())
    }

    /// The allocator with these settings after its own.
    fn text(&self, pieces: &[String]) -> String {
        if pieces.is_empty() {
            return self.allocator.clone();
        }
        let separator = if has_settings(&self.allocator) { ',' } else { ':' };
        format!("{}{separator}{}", self.allocator, pieces.join(","))
    }
}

/// The values of a setting; none for one that omits it.
fn values(name: &str, value: &toml::Value) -> Result<Vec<Option<String>>, String> {
    let array = match value {
        toml::Value::Array(array) if array.is_empty() => {
            return Err(format!("{name} has no value: give one at least"));
        }
        toml::Value::Array(array) => array.as_slice(),
        single => std::slice::from_ref(single),
    };
    let one = |value: &toml::Value| match value {
        toml::Value::String(text) if text == DEFAULT => Ok(None),
        toml::Value::String(text) => Ok(Some(text.clone())),
        toml::Value::Integer(number) => Ok(Some(number.to_string())),
        toml::Value::Boolean(flag) => Ok(Some(flag.to_string())),
        other => Err(format!(
            "{name} holds {other}, which is a {}: write texts, whole numbers, true or false",
            other.type_str()
        )),
    };
    // A value that is given twice is one.
    let mut values = array.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let mut given = BTreeSet::new();
    values.retain(|value| given.insert(value.clone()));
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variant;
    use proptest::prelude::*;

    fn variants(text: &str) -> Vec<String> {
        Sweep::parse(&format!("description = 'x'\n{text}"), "mine.toml").expect("a sweep").variants
    }

    fn fault(text: &str) -> String {
        Sweep::parse(text, "mine.toml").expect_err("a fault").to_string()
    }

    #[test]
    fn a_value_that_is_given_more_often_than_there_may_be_variants_hides_no_other() {
        let often = "1, ".repeat(MOST_VARIANTS + 1);
        let text = format!("[[grid]]\nallocator = 'jemalloc'\n[grid.settings]\na = [{often} 2]");
        assert_eq!(variants(&text), ["jemalloc:a=1", "jemalloc:a=2"]);
    }

    #[test]
    fn all_combines_and_each_does_not() {
        let settings = "[grid.settings]\na = ['default', 1]\nb = [true, 'x:y']";
        assert_eq!(
            variants(&format!("[[grid]]\nallocator = 'jemalloc'\n{settings}")),
            ["jemalloc:b=true", "jemalloc:b=x:y", "jemalloc:a=1,b=true", "jemalloc:a=1,b=x:y"]
        );
        assert_eq!(
            variants(&format!("[[grid]]\nallocator = 'jemalloc'\ncombine = 'each'\n{settings}")),
            ["jemalloc", "jemalloc:a=1", "jemalloc:b=true", "jemalloc:b=x:y"]
        );
    }

    #[test]
    fn grids_add_up_and_settings_of_the_allocator_stay() {
        let text = "[[grid]]\nallocator = 'ptmalloc2'\n[[grid]]\nallocator = 'ptmalloc2'\ncombine = 'each'\n\
                    settings = { x = 1 }\n[[grid]]\nallocator = 'jemalloc:narenas=2'\nsettings = { thp = 'never' }";
        assert_eq!(variants(text), ["ptmalloc2", "ptmalloc2:x=1", "jemalloc:narenas=2,thp=never"]);
        let text = "[[grid]]\nallocator = 'je=/a:b.so'\nsettings = { x = [1, 2] }\n\
                    [[grid]]\nallocator = 'je=/a:b.so:y=1'\nsettings = { x = 3 }";
        assert_eq!(variants(text), ["je=/a:b.so:x=1", "je=/a:b.so:x=2", "je=/a:b.so:y=1,x=3"]);
    }

    #[test]
    fn faults_name_the_place_and_what_is_allowed() {
        assert_eq!(
            fault("description = 'x'"),
            "mine.toml: it has no grid: write [[grid]] with an allocator and settings"
        );
        let text = "description = 'x'\n[[grid]]\nallocator = 'jemalloc'\nsettings = { narenas = [1, 2.5] }";
        assert_eq!(
            fault(text),
            "mine.toml: grid 1 (jemalloc): narenas holds 2.5, which is a float: write texts, whole numbers, true or false"
        );
        let text = "description = 'x'\n[[grid]]\nallocator = 'jemalloc'\nsettings = { narenas = [] }";
        assert!(fault(text).ends_with("narenas has no value: give one at least"));
        assert!(
            fault("description = 'x'\n[[grid]]\nallocator = 'a'\nvalues = 1")
                .contains("unknown field `values`")
        );
        assert!(fault("description = 'x'\n[[grid]]\nallocator = 'a'\ncombine = 'some'").contains("line 4"));
        assert!(fault("[[grid").contains("mine.toml: TOML parse error at line 1"));
        let many = (0..30).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let text = format!(
            "description = 'x'\n[[grid]]\nallocator = 'a'\nsettings = {{ a = [{many}], b = [{many}], c = [{many}] }}"
        );
        assert!(fault(&text).contains("more than 500 variants"));
        let text = Sweep::find("jemaloc").expect_err("no sweep").to_string();
        assert!(text.starts_with("unknown sweep \"jemaloc\": there are glibc, jemalloc, "), "{text}");
        let text = Sweep::find("/no/such.toml").expect_err("no file").to_string();
        assert_eq!(text, "/no/such.toml: cannot read the sweep");
    }

    #[test]
    fn every_shipped_sweep_has_the_baseline_and_variants_that_parse() {
        for (name, text) in SHIPPED {
            let sweep = Sweep::parse(text, name).expect("a shipped sweep");
            assert!((4..=30).contains(&sweep.variants.len()), "{name}: {:?}", sweep.variants);
            assert!(sweep.variants.iter().any(|variant| variant == "ptmalloc2"), "{name}");
            for spec in &sweep.variants {
                match Variant::parse(spec) {
                    Ok(variant) => assert_eq!(&variant.label, spec),
                    // An allocator that is not on this machine is detected when it runs.
                    Err(error) => assert!(matches!(error, crate::VariantError::Absent(_)), "{name}: {error}"),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = Sweep::parse(&text, "mine.toml");
            let _ = Sweep::parse(&format!("description = 'x'\n[[grid]]\nallocator = 'a'\n[grid.settings]\n{text}"), "mine.toml");
        }
    }
}
