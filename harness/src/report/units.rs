//! Figures as people read them: three significant digits and a unit. Used only in reports.

const BYTES: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const TIMES: [&str; 6] = ["ns", "us", "ms", "s", "ks", "Ms"];
const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// Keeps a figure and its unit on one line, until [`release`] has put the spaces back.
pub(super) fn hold(text: &str) -> String {
    let is_unit =
        |word: &str| word == "%" || [&BYTES[..], &TIMES, &PREFIXES].iter().any(|units| units.contains(&word));
    let mut held = String::with_capacity(text.len());
    for word in text.split_inclusive(' ') {
        let unit = word.trim_end_matches([' ', ',', ';', ':', ')']);
        if is_unit(unit) && held.strip_suffix(' ').is_some_and(|before| before.ends_with(char::is_numeric)) {
            held.pop();
            held.push(HELD);
        }
        held.push_str(word);
    }
    held
}

/// Makes spaces of those that held figures and units together.
pub(super) fn release(text: &str) -> String {
    text.replace(HELD, " ")
}

/// A space at which no line is broken.
const HELD: char = '\u{a0}';

/// Bytes in binary units: `1.25 GiB`.
pub(crate) fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &BYTES)
}

/// Nanoseconds in a suitable unit: `19.5 ns`, `1.20 ms`.
pub(crate) fn nanoseconds(value: f64) -> String {
    scaled(value, 1000.0, &TIMES)
}

/// A count with a decimal prefix: `51.2 M`.
pub(crate) fn count(value: f64) -> String {
    scaled(value, 1000.0, &PREFIXES).trim_end().to_owned()
}

/// A ratio with three decimals from 0.1 to 10, three significant digits elsewhere.
pub(crate) fn ratio(value: f64) -> String {
    if (0.1..10.0).contains(&value) { format!("{value:.3}") } else { significant(value) }
}

/// A ratio as a difference: `15 % less`, `5.6 % more`, `2.31 times`. `less` and `more` are the words.
pub(crate) fn difference(ratio: f64, [less, more]: [&str; 2]) -> String {
    match ratio {
        ratio if ratio >= 2.0 => format!("{} times", significant(ratio)),
        ratio if ratio >= 1.0 => format!("{} {more}", part(ratio - 1.0)),
        ratio => format!("{} {less}", part(1.0 - ratio)),
    }
}

/// The range of a difference whose ratio lies from `low` to `high`, in the terms of its estimate: `14 to 16 %`. A range
/// that includes no difference reads `2.1 % less to 3.0 % more`.
pub(crate) fn difference_range(estimate: f64, low: f64, high: f64, words: [&str; 2]) -> String {
    let [low_part, high_part] = [low, high].map(|ratio| part((ratio - 1.0).abs()));
    let number = |part: &str| part.trim_end_matches(" %").to_owned();
    match estimate {
        estimate if estimate >= 2.0 && low >= 2.0 => format!("{} to {}", significant(low), significant(high)),
        estimate if (1.0..2.0).contains(&estimate) && low >= 1.0 && high < 2.0 => {
            format!("{} to {high_part}", number(&low_part))
        }
        estimate if estimate < 1.0 && high < 1.0 => format!("{} to {low_part}", number(&high_part)),
        _ => format!("{} to {}", difference(low, words), difference(high, words)),
    }
}

/// A fraction as a percentage, with one decimal below 10 %: `15 %`, `5.6 %`.
fn part(fraction: f64) -> String {
    let percent = fraction * 100.0;
    if percent < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// A fraction as a percentage: `97.9 %`.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut at = 0;
    // 999.5 would be shown as 1000 of the smaller unit.
    while value.abs() >= step - 0.5 && at + 1 < units.len() {
        value /= step;
        at += 1;
    }
    format!(
        "{} {}",
        if at == 0 && value.fract() == 0.0 { format!("{value}") } else { significant(value) },
        units[at]
    )
}

/// Three significant digits without an exponent, from 0.001 on.
pub(crate) fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.001 => format!("{value:.1e}"),
        size if size < 0.01 => format!("{value:.5}"),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 0.9995 => format!("{value:.3}"),
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        size if size < 1e9 => format!("{value:.0}"),
        _ => format!("{value:.2e}"),
    }
}

/// A whole number with its thousands separated: `12,345`.
pub(crate) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Numbers in a row, joined by a separator.
pub(crate) fn list<T: ToString>(numbers: &[T], separator: &str) -> String {
    numbers.iter().map(T::to_string).collect::<Vec<String>>().join(separator)
}

/// A number of things: `1 node`, `12 nodes`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", whole(number), if number == 1 { "" } else { "s" })
}

/// How many samples a figure is of and, if some failed, of how many.
pub(crate) fn samples(ok: u64, failed: u64) -> String {
    if failed == 0 { ok.to_string() } else { format!("{ok} of {}", ok.saturating_add(failed)) }
}

/// Odds; small ones as a power of ten, because a percentage would round them to 0.
pub(crate) fn odds(odds: f64) -> String {
    if odds < 0.001 { format!("{odds:.0e}") } else { percent(odds) }
}

/// Names as a part of a sentence: "a", "a and b", "a, b and c".
pub(crate) fn names(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "block")), ["0 blocks", "1 block", "2 blocks"]);
        assert_eq!(counted(1200, "node"), "1,200 nodes");
    }

    #[test]
    fn figures_and_units_are_held_together_and_nothing_else() {
        let held = hold("352 ns to 448 ns, 15 % less, 2 of 3, a B, 10 M");
        assert!(
            held.starts_with("352\u{a0}ns to 448\u{a0}ns, 15\u{a0}% less, 2 of 3, a B, 10\u{a0}M"),
            "{held}"
        );
        assert_eq!(release(&held), "352 ns to 448 ns, 15 % less, 2 of 3, a B, 10 M");
    }

    #[test]
    fn names_are_a_part_of_a_sentence() {
        assert_eq!((names(&[]), names(&["a"])), (String::new(), "a".to_owned()));
        assert_eq!(
            (names(&["a", "b"]), names(&["a", "b", "c"])),
            ("a and b".to_owned(), "a, b and c".to_owned())
        );
    }

    #[test]
    fn odds_are_never_zero() {
        assert_eq!(
            (odds(1e-4), odds(0.001), odds(0.5)),
            ("1e-4".to_owned(), "0.1 %".to_owned(), "50.0 %".to_owned())
        );
    }

    #[test]
    fn figures_read_well_at_every_size() {
        let of_bytes = [
            (0.0, "0 B"),
            (1000.0, "1000 B"),
            (1024.0, "1.00 KiB"),
            (106_430_464.0, "102 MiB"),
            (2e10, "18.6 GiB"),
        ];
        for (value, text) in of_bytes {
            assert_eq!(bytes(value), text);
        }
        for (value, text) in [(19.53, "19.5 ns"), (999.7, "1.00 us"), (1.2e6, "1.20 ms"), (0.0, "0 ns")] {
            assert_eq!(nanoseconds(value), text);
        }
        for (value, text) in [(51_234_567.0, "51.2 M"), (7.0, "7"), (1234.0, "1.23 k")] {
            assert_eq!(count(value), text);
        }
        for (value, text) in [(0.7131, "0.713"), (1.0, "1.000"), (34.21, "34.2"), (0.0123, "0.0123")] {
            assert_eq!(ratio(value), text);
        }
    }

    #[test]
    fn a_ratio_reads_as_a_difference() {
        let words = ["less", "more"];
        for (ratio, text) in [
            (0.851, "15 % less"),
            (0.9944, "0.6 % less"),
            (1.0, "0.0 % more"),
            (1.064, "6.4 % more"),
            (1.657, "66 % more"),
            (5.638, "5.64 times"),
        ] {
            assert_eq!(difference(ratio, words), text);
        }
        for ((estimate, low, high), text) in [
            ((0.85, 0.84, 0.864), "14 to 16 %"),
            ((1.06, 1.02, 1.153), "2.0 to 15 %"),
            ((0.96, 0.92, 1.021), "8.0 % less to 2.1 % more"),
            ((5.6, 5.5, 5.7), "5.50 to 5.70"),
            ((1.9, 1.5, 2.4), "50 % more to 2.40 times"),
            ((2.1, 1.5, 2.4), "50 % more to 2.40 times"),
        ] {
            assert_eq!(difference_range(estimate, low, high, words), text);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(whole), ["0", "999", "1,000", "1,234,567"]);
    }
}
