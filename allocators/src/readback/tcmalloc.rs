//! gperftools' variables: whether the library reads them, and, for those that it shows, their values.
//!
//! tcmalloc reads a variable by its literal name, so the library file must contain that name: one that it
//! does not contain is unknown to this version. Some values can be queried through the C interface of its
//! extension.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;

use super::{Proof, Verdict};
use crate::identity::serving_object;
use crate::number::parse_number;
use crate::symbol::{self, Object};
use crate::variant::Setting;

/// Variables whose value can be read, and the numeric property that shows it.
const PROPERTIES: [(&str, &CStr); 3] = [
    ("TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES", c"tcmalloc.max_total_thread_cache_bytes"),
    ("TCMALLOC_AGGRESSIVE_DECOMMIT", c"tcmalloc.aggressive_memory_decommit"),
    ("TCMALLOC_HEAP_LIMIT_MB", c"tcmalloc.heap_limit_mb"),
];

/// How eagerly free pages are given back: no property, but a function of the extension.
const RELEASE_RATE: &str = "TCMALLOC_RELEASE_RATE";

/// Reads each variable back from the tcmalloc that serves this process and is in `library`.
pub(super) fn read_variables(variables: &[Setting], library: &Path) -> Vec<Proof> {
    if variables.is_empty() {
        return Vec::new();
    }
    let contents = std::fs::read(library).unwrap_or_default();
    let object = serving_object();
    variables
        .iter()
        .map(|variable| {
            let verdict = if !holds_name(&contents, &variable.name) {
                Verdict::Unknown
            } else if variable.name == RELEASE_RATE {
                let found = object.as_ref().and_then(read_release_rate);
                found.map_or(Verdict::Known, |found| judge_rate(&variable.value, found))
            } else {
                let property = PROPERTIES.iter().find(|(name, _)| *name == variable.name);
                let found = property.and_then(|(_, property)| read_property(object.as_ref()?, property));
                found.map_or(Verdict::Known, |found| judge(&variable.name, &variable.value, found))
            };
            Proof::new(variable, verdict)
        })
        .collect()
}

/// Whether the file contains the name as a complete C string.
pub(super) fn holds_name(contents: &[u8], name: &str) -> bool {
    let mut text = vec![0];
    text.extend_from_slice(name.as_bytes());
    text.push(0);
    contents.windows(text.len()).any(|window| window == text)
}

fn read_property(object: &Object, property: &CStr) -> Option<usize> {
    type GetNumericProperty = unsafe extern "C" fn(*const c_char, *mut usize) -> c_int;
    let address = symbol::find_in(object, c"MallocExtension_GetNumericProperty")?;
    let mut value = 0;
    // SAFETY: gperftools' function has this type and writes only to `value`.
    let known = unsafe {
        std::mem::transmute::<*mut c_void, GetNumericProperty>(address)(property.as_ptr(), &mut value)
    };
    (known != 0).then_some(value)
}

/// The release rate, which the C interface does not show: read through C++'s, by its mangled names.
fn read_release_rate(object: &Object) -> Option<f64> {
    type Instance = unsafe extern "C" fn() -> *mut c_void;
    type GetMemoryReleaseRate = unsafe extern "C" fn(*mut c_void) -> f64;
    let instance = symbol::find_in(object, c"_ZN15MallocExtension8instanceEv")?;
    let get = symbol::find_in(object, c"_ZN22TCMallocImplementation20GetMemoryReleaseRateEv")?;
    // SAFETY: gperftools' functions have these types, and its extension is that implementation's.
    let rate = unsafe {
        let instance = std::mem::transmute::<*mut c_void, Instance>(instance)();
        std::mem::transmute::<*mut c_void, GetMemoryReleaseRate>(get)(instance)
    };
    Some(rate)
}

/// gperftools reads the rate by strtod.
fn judge_rate(asked: &str, found: f64) -> Verdict {
    match asked.trim().parse::<f64>() {
        Ok(asked) if asked == found => Verdict::Taken,
        _ => Verdict::Differs { found: found.to_string() },
    }
}

/// Whether `found` is what gperftools makes of the requested value.
fn judge(name: &str, asked: &str, found: usize) -> Verdict {
    let expected = match name {
        // A flag: gperftools takes these first letters, and an empty value, as true.
        "TCMALLOC_AGGRESSIVE_DECOMMIT" => {
            Some(i128::from(asked.is_empty() || asked.starts_with(['t', 'T', 'y', 'Y', '1'])))
        }
        // Kept between 512 KiB and 1 GiB.
        "TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES" => parse_number(asked).map(|n| n.clamp(512 << 10, 1 << 30)),
        _ => parse_number(asked),
    };
    let exact = parse_number(asked).is_none_or(|asked| asked == found as i128);
    let is_flag = name == "TCMALLOC_AGGRESSIVE_DECOMMIT";
    if expected == Some(found as i128) && (is_flag || exact) {
        Verdict::Taken
    } else {
        Verdict::Differs { found: found.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_only_as_a_whole_text() {
        let contents = b"\0TCMALLOC_RELEASE_RATE\0TCMALLOC_X2\0";
        assert!(holds_name(contents, "TCMALLOC_RELEASE_RATE"));
        assert!(!holds_name(contents, "TCMALLOC_X"));
        assert!(!holds_name(contents, "TCMALLOC_RELEASE"));
    }

    #[test]
    fn a_rate_is_a_number_as_c_reads_it() {
        assert_eq!(judge_rate("2.50", 2.5), Verdict::Taken);
        assert_eq!(judge_rate("fast", 0.0), Verdict::Differs { found: "0".into() });
    }

    #[test]
    fn flags_numbers_and_clamped_values() {
        assert_eq!(judge("TCMALLOC_AGGRESSIVE_DECOMMIT", "yes", 1), Verdict::Taken);
        assert_eq!(judge("TCMALLOC_HEAP_LIMIT_MB", "100", 100), Verdict::Taken);
        assert_eq!(
            judge("TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES", "1", 512 << 10),
            Verdict::Differs { found: "524288".into() }
        );
    }
}
