//! mimalloc's options, read from the list that it prints at its start under `MIMALLOC_VERBOSE=1`.
//!
//! Its options have numbers too (`mi_option_get`), but those change from version to version, and only the list
//! has names. Two lines matter: `option 'NAME': VALUE [KiB]`, and the warning that names an option's older name.

use super::{Proof, Verdict};
use crate::number::parse_number;
use crate::variant::Setting;

/// The variable that makes mimalloc print its options.
pub(crate) const VERBOSE: (&str, &str) = ("MIMALLOC_VERBOSE", "1");

/// Judges each option by what a process in the same environment printed.
pub(crate) fn judge_options(options: &[Setting], printed: &str) -> Vec<Proof> {
    if !printed.contains("option 'verbose':") {
        let reason = "mimalloc printed no list of its options";
        let verdict = || Verdict::Unprovable { reason: reason.into() };
        return options.iter().map(|option| Proof::new(option, verdict())).collect();
    }
    options.iter().map(|option| Proof::new(option, judge(option, printed))).collect()
}

fn judge(option: &Setting, printed: &str) -> Verdict {
    let name = newer_name(printed, &option.name).unwrap_or(&option.name);
    let Some(found) = printed_value(printed, name) else {
        return Verdict::Unknown;
    };
    let (number, in_kib) = match found.strip_suffix(" KiB") {
        Some(number) => (number, true),
        // NOTE: before 3.0 the unit is not printed.
        None => (found, matches!(name, "reserve_os_memory" | "arena_reserve")),
    };
    let taken = parse_number(number).is_some() && parse_number(number) == asked_number(&option.value, in_kib);
    if taken { Verdict::Taken } else { Verdict::Differs { found: found.into() } }
}

/// The name that replaced an older one, from the warning `environment option "mimalloc_OLD" is deprecated --
/// use "mimalloc_NEW" instead.`
fn newer_name<'a>(printed: &'a str, older: &str) -> Option<&'a str> {
    let mark = format!("environment option \"mimalloc_{older}\" is deprecated -- use \"mimalloc_");
    let start = printed.find(&mark)? + mark.len();
    printed[start..].split('"').next()
}

fn printed_value<'a>(printed: &'a str, name: &str) -> Option<&'a str> {
    let mark = format!("option '{name}':");
    printed.lines().find_map(|line| line.split_once(&mark)).map(|(_, value)| value.trim())
}

/// The number that mimalloc reads a value as: a flag's words, a number, or a size in KiB with a unit.
fn asked_number(value: &str, in_kib: bool) -> Option<i128> {
    let upper = value.to_ascii_uppercase();
    match upper.as_str() {
        "" | "1" | "TRUE" | "YES" | "ON" => return Some(1),
        "0" | "FALSE" | "NO" | "OFF" => return Some(0),
        _ => {}
    }
    let unit_start = upper.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(upper.len());
    let (digits, unit) = upper.split_at(unit_start);
    let number: i128 = digits.parse::<i64>().ok()?.into();
    if !in_kib {
        return unit.is_empty().then_some(number);
    }
    let number = number.max(0);
    match unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(unit) {
        "" => Some((number + 1023) / 1024),
        "K" => Some(number),
        "M" => Some(number << 10),
        "G" => Some(number << 20),
        "T" => Some(number << 30),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "mimalloc: option 'verbose': 1\n\
        mimalloc: option 'arena_reserve': 2048 KiB\n\
        mimalloc: warning: environment option \"mimalloc_reset_delay\" is deprecated -- use \"mimalloc_purge_delay\" instead.\n\
        mimalloc: option 'purge_delay': 5 \n";

    fn verdict(name: &str, value: &str) -> Verdict {
        let option = Setting { name: name.into(), value: value.into() };
        judge_options(&[option], PRINTED).remove(0).verdict
    }

    #[test]
    fn values_units_and_older_names() {
        assert_eq!(verdict("purge_delay", "5"), Verdict::Taken);
        assert_eq!(verdict("reset_delay", "5"), Verdict::Taken);
        assert_eq!(verdict("purge_delay", "7"), Verdict::Differs { found: "5".into() });
        assert_eq!(verdict("verbose", "on"), Verdict::Taken);
        assert_eq!(verdict("arena_reserve", "2MiB"), Verdict::Taken);
        assert_eq!(verdict("arena_reserve", "2097152"), Verdict::Taken);
        assert_eq!(verdict("nonsense", "1"), Verdict::Unknown);
    }

    #[test]
    fn without_a_list_nothing_is_proven() {
        let option = Setting { name: "purge_delay".into(), value: "1".into() };
        assert!(matches!(judge_options(&[option], "").remove(0).verdict, Verdict::Unprovable { .. }));
    }
}
