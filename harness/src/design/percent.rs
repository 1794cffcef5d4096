//! Percentages as a user writes them: `2%`, `2` or `0.5 %`.

/// Parses a percentage into a fraction: 0.02 for `2%`.
pub(crate) fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    match number.parse::<f64>() {
        Ok(percent) if (0.0..=10_000.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(format!("`{text}` is not a percentage from 0 to 10000, such as 5%")),
    }
}

/// Formats a fraction as a percentage: `2 %` for 0.02, without the rounding errors of binary
/// fractions.
pub(crate) fn show_percent(fraction: f64) -> String {
    let text = format!("{:.6}", fraction * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::{parse_percent, show_percent};

    #[test]
    fn percentages_are_read_with_and_without_their_sign() {
        for (text, fraction) in [("2%", 0.02), ("0", 0.0), ("150 %", 1.5), ("0.5", 0.005)] {
            assert_eq!(parse_percent(text), Ok(fraction), "{text}");
        }
        for (fraction, text) in
            [(0.07, "7 %"), (0.02, "2 %"), (1.0, "100 %"), (0.000_001, "0.0001 %"), (0.0, "0 %")]
        {
            assert_eq!(show_percent(fraction), text);
        }
        for text in ["", "%", "five", "-1%", "NaN", "inf", "1e9"] {
            assert!(parse_percent(text).is_err_and(|error| error.contains("percentage")), "{text}");
        }
    }
}
