//! Percentages as a user writes them: `2%`, `2` or `0.5 %`.

/// A percentage as a fraction: 0.02 of `2%`.
pub(super) fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    match number.parse::<f64>() {
        Ok(percent) if (0.0..=10_000.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(format!("`{text}` is not a percentage from 0 to 10000, such as 5%")),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_percent;

    #[test]
    fn percentages_are_read_with_and_without_their_sign() {
        for (text, fraction) in [("2%", 0.02), ("0", 0.0), ("150 %", 1.5), ("0.5", 0.005)] {
            assert_eq!(parse_percent(text), Ok(fraction), "{text}");
        }
        for text in ["", "%", "five", "-1%", "NaN", "inf", "1e9"] {
            assert!(parse_percent(text).is_err_and(|error| error.contains("percentage")), "{text}");
        }
    }
}
