//! jemalloc's options, read back by `mallctl("opt.NAME")` and from its complaints at start.
//!
//! Types differ by option. The size of a value is found by asking (jemalloc refuses any size but the right
//! one), so that options of later versions can be read too; eight bytes are a number, unless the option is
//! one of the few texts.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use super::{Proof, Verdict};
use crate::identity::serving_object;
use crate::number::parse_number;
use crate::symbol::{self, Mallctl};
use crate::variant::Setting;

/// Options whose value is a text.
const TEXTS: [&str; 10] = [
    "dss",
    "junk",
    "metadata_thp",
    "percpu_arena",
    "prof_prefix",
    "prof_recent_alloc_format",
    "stats_interval_opts",
    "stats_print_opts",
    "thp",
    "zero_realloc",
];

/// A value as jemalloc holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Flag(bool),
    Unsigned(u32),
    /// size_t, ssize_t, or a 64-bit number.
    Word(u64),
    Text(String),
}

/// Reads each option back from the jemalloc that serves this process.
pub(super) fn read_options(options: &[Setting]) -> Vec<Proof> {
    let mallctl = serving_object().and_then(|object| symbol::mallctl_in(&object));
    options
        .iter()
        .map(|option| {
            let found = mallctl.and_then(|mallctl| read(mallctl, &option.name));
            // Only the complaints show whether the option does not exist or just cannot be read.
            let unread = || Verdict::Unprovable { reason: "jemalloc shows no value of it".into() };
            let verdict = found.map_or_else(unread, |found| judge(&found, &option.value));
            Proof::new(option, verdict)
        })
        .collect()
}

/// The value of `opt.NAME`; none if this version has no such option.
fn read(mallctl: Mallctl, option: &str) -> Option<Value> {
    let name = CString::new(format!("opt.{option}")).ok()?;
    if TEXTS.contains(&option) {
        let mut text: *const c_char = ptr::null();
        read_raw(mallctl, &name, (&raw mut text).cast(), size_of_val(&text))?;
        // SAFETY: these options yield NULL or a text that lives as long as jemalloc.
        let text = if text.is_null() { c"" } else { unsafe { CStr::from_ptr(text) } };
        return Some(Value::Text(text.to_string_lossy().into_owned()));
    }
    let (mut byte, mut unsigned, mut word) = (0u8, 0u32, 0u64);
    if read_raw(mallctl, &name, (&raw mut byte).cast(), 1).is_some() {
        Some(Value::Flag(byte != 0))
    } else if read_raw(mallctl, &name, (&raw mut unsigned).cast(), 4).is_some() {
        Some(Value::Unsigned(unsigned))
    } else {
        read_raw(mallctl, &name, (&raw mut word).cast(), 8).map(|()| Value::Word(word))
    }
}

/// Reads a value of exactly `bytes`; none if there is none of this name and size.
fn read_raw(mallctl: Mallctl, name: &CStr, value: *mut c_void, bytes: usize) -> Option<()> {
    let mut length = bytes;
    // SAFETY: `value` has room for `bytes`, and jemalloc writes no more than the length that it is given.
    let failed: c_int = unsafe { mallctl(name.as_ptr(), value, &mut length, ptr::null_mut(), 0) };
    (failed == 0 && length == bytes).then_some(())
}

/// Whether `found` is what was asked for.
fn judge(found: &Value, asked: &str) -> Verdict {
    let taken = match found {
        Value::Flag(flag) => asked == if *flag { "true" } else { "false" },
        Value::Unsigned(number) => parse_number(asked) == Some(i128::from(*number)),
        // A signed value of -1 is stored as the largest unsigned one.
        Value::Word(number) => parse_number(asked)
            .is_some_and(|asked| asked == i128::from(*number) || asked == i128::from(*number as i64)),
        Value::Text(text) => asked == text,
    };
    if taken {
        return Verdict::Taken;
    }
    let found = match found {
        Value::Flag(flag) => flag.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Word(number) if *number > i64::MAX as u64 => (*number as i64).to_string(),
        Value::Word(number) => number.to_string(),
        Value::Text(text) => text.clone(),
    };
    Verdict::Differs { found }
}

/// Corrects verdicts by what jemalloc wrote at its start: an option whose value cannot be read, and about
/// which it did not complain, is known (`slab_sizes`, `bin_shards`, the size limits of tcaches).
///
/// jemalloc 5 writes `<jemalloc>: Invalid conf pair: NAME:VALUE` for a name that it does not know.
pub(crate) fn heed_complaints(proofs: &mut [Proof], stderr: &str) {
    let complaints: Vec<&str> = stderr.lines().filter(|line| line.contains("<jemalloc>:")).collect();
    for proof in proofs.iter_mut() {
        let pair = format!("{}:{}", proof.name, proof.value);
        let complained = complaints.iter().any(|line| line.contains(&pair));
        // jemalloc never complains about names that start like this.
        let silent = proof.name.starts_with("experimental_") || proof.name.starts_with("prof");
        match proof.verdict {
            Verdict::Unprovable { .. } if complained || silent => proof.verdict = Verdict::Unknown,
            Verdict::Unprovable { .. } => proof.verdict = Verdict::Known,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type_are_judged() {
        assert_eq!(judge(&Value::Flag(true), "true"), Verdict::Taken);
        assert_eq!(judge(&Value::Flag(true), "1"), Verdict::Differs { found: "true".into() });
        assert_eq!(judge(&Value::Unsigned(4), "0x4"), Verdict::Taken);
        assert_eq!(judge(&Value::Word(u64::MAX), "-1"), Verdict::Taken);
        assert_eq!(judge(&Value::Word(10_000), "5"), Verdict::Differs { found: "10000".into() });
        assert_eq!(
            judge(&Value::Text("disabled".into()), "percpu"),
            Verdict::Differs { found: "disabled".into() }
        );
        assert_eq!(judge(&Value::Unsigned(4), "four"), Verdict::Differs { found: "4".into() });
    }

    #[test]
    fn complaints_tell_what_cannot_be_read() {
        let verdict = || Verdict::Unprovable { reason: "unread".into() };
        let unread = |name: &str| Proof { name: name.into(), value: "1".into(), verdict: verdict() };
        let mut proofs = [unread("slab_sizes"), unread("nonsense"), unread("prof_leak")];
        heed_complaints(&mut proofs, "<jemalloc>: Invalid conf pair: nonsense:1\n");
        assert_eq!(proofs.map(|proof| proof.verdict), [Verdict::Known, Verdict::Unknown, Verdict::Unknown]);
    }
}
