//! Settings read back from the allocator that they were given to: whether it accepted them.
//!
//! No allocator fails on a setting that it does not know, and most say nothing: only its answer when asked
//! proves anything. [`in_process`] asks the allocator that serves this process; it is cheap, and a worker may
//! call it. What an allocator reports only as text at its start (mimalloc, jemalloc's complaints) and what
//! only the loader knows (glibc) is read by the parent, once per variant: see [`crate::probe`].

pub(crate) mod glibc;
pub(crate) mod jemalloc;
pub(crate) mod mimalloc;
mod process;
pub(crate) mod tcmalloc;
pub(crate) mod texts;

use serde::{Deserialize, Serialize};

use crate::environment;
use crate::family::Family;
use crate::identity::Loaded;
use crate::process::is_of_process;
use crate::variant::{Setting, Variant};

/// What reading a setting back showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The allocator has this value.
    Taken,
    /// This version knows the setting, but cannot show its value.
    Known,
    /// This version has the setting, with a different value.
    Differs {
        /// The value that it has.
        found: String,
    },
    /// This version has no such setting.
    Unknown,
    /// The allocator has this value, but on this system it changes nothing.
    WithoutEffect {
        /// Why.
        reason: String,
    },
    /// Nothing can be said.
    Unprovable {
        /// Why.
        reason: String,
    },
}

/// The outcome of one setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The setting as the allocator names it.
    pub name: String,
    /// The value that was asked for.
    pub value: String,
    /// What was found.
    pub verdict: Verdict,
}

impl Proof {
    pub(crate) fn new(setting: &Setting, verdict: Verdict) -> Proof {
        Proof { name: setting.name.clone(), value: setting.value.clone(), verdict }
    }

    /// Whether it is a setting of the process rather than of its allocator.
    pub(crate) fn is_of_process(&self) -> bool {
        is_of_process(&self.name)
    }

    /// Why this setting makes the sample `unknown-setting`; none if it does not.
    pub fn fault(&self) -> Option<String> {
        let Proof { name, value, verdict } = self;
        match verdict {
            Verdict::Unknown => Some(format!("this version has no setting {name}")),
            Verdict::Differs { found } => {
                Some(format!("{name} was not taken: {value} was asked for, {found} is set"))
            }
            Verdict::WithoutEffect { reason } => {
                Some(format!("{name}={value} changes nothing here: {reason}"))
            }
            Verdict::Taken | Verdict::Known | Verdict::Unprovable { .. } => None,
        }
    }

    /// What a reader of the sample must know about this setting; none if it was proven.
    pub fn warning(&self) -> Option<String> {
        self.doubt().map(|reason| format!("{}={} is unproven: {reason}", self.name, self.value))
    }

    /// Why it is unproven that the allocator accepted this setting; none if it is proven, or disproven.
    pub fn doubt(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Unprovable { reason } => Some(reason),
            Verdict::Known => Some("this version has the setting, and no way to show its value"),
            _ => None,
        }
    }
}

/// The variant's settings under the names that an allocator of `family` gives them.
///
/// A library given by its path is known by what it shows itself to be, and its settings by their variables.
pub(crate) fn options(variant: &Variant, family: Family) -> Vec<Setting> {
    let named = |setting: &Setting, name: String| Setting { name, value: setting.value.clone() };
    let (settings, _) = environment::split_settings(variant, family);
    let settings = settings.as_slice();
    match family {
        Family::Ptmalloc2 => environment::glibc_options(settings),
        Family::Jemalloc => environment::jemalloc_options(settings),
        Family::Mimalloc => {
            settings.iter().map(|s| named(s, environment::mimalloc_option(&s.name))).collect()
        }
        Family::Tcmalloc => {
            settings.iter().map(|s| named(s, environment::tcmalloc_variable(&s.name))).collect()
        }
        Family::TcmallocGoogle => settings
            .iter()
            .map(|s| match s.name.starts_with("glibc.") {
                true => s.clone(),
                false => named(s, environment::tcmalloc_variable(&s.name)),
            })
            .collect(),
        Family::Scudo => environment::scudo_options(settings),
        Family::Tbbmalloc => settings.iter().map(|s| named(s, environment::tbb_variable(&s.name))).collect(),
        Family::Snmalloc | Family::Rpmalloc | Family::Floor => settings.to_vec(),
        // Whatever their names, none is distinguished.
        Family::Other => variant.settings.iter().filter(|s| !is_of_process(&s.name)).cloned().collect(),
    }
}

/// Reads the variant's settings back from the allocator that serves this process, as far as it can be asked, and from
/// the process itself.
///
/// jemalloc and tcmalloc answer; ptmalloc2 and mimalloc are asked by the parent, and yield nothing here.
pub fn in_process(variant: &Variant, loaded: &Loaded) -> Vec<Proof> {
    let options = options(variant, loaded.family);
    let mut proofs = match loaded.family {
        Family::Jemalloc => jemalloc::read_options(&options),
        Family::Tcmalloc => tcmalloc::read_variables(&options, &loaded.library_path),
        Family::Ptmalloc2 | Family::Mimalloc => Vec::new(),
        Family::TcmallocGoogle | Family::Scudo => {
            texts::read(&options, std::slice::from_ref(&loaded.library_path))
        }
        Family::Tbbmalloc => texts::read(&options, &texts::libraries_of_tbb()),
        Family::Snmalloc | Family::Rpmalloc | Family::Floor | Family::Other => {
            let verdict = || Verdict::Unprovable { reason: "heaplab cannot ask this allocator".into() };
            options.iter().map(|option| Proof::new(option, verdict())).collect()
        }
    };
    if loaded.family != Family::Other {
        let (_, foreign) = environment::split_settings(variant, loaded.family);
        let verdict = || Verdict::Unprovable { reason: "it is a variable of the library's own".into() };
        proofs.extend(foreign.iter().map(|setting| Proof::new(setting, verdict())));
    }
    proofs.extend(process::read_back(&variant.settings));
    proofs
}
