//! A pattern's parameters: their table, and `KEY=VALUE` overrides of its defaults. Text in, whole numbers
//! out.
//!
//! A default is written as the user would write it and read by the same code. As in load models, a
//! size carries its unit, and counts, shares and factors are bare numbers.

use super::random::{MILLION, Uniform};
use crate::simulate::{DefinitionError, parse_size_bytes};

/// What a parameter's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Count,
    /// Bytes, with a unit.
    Size,
    /// A number without a unit, kept in millionths.
    Number,
    /// One of these words, kept as its index.
    Choice(&'static [&'static str]),
    /// The path of a file; empty for the one that is built in.
    File,
}

/// A parameter of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub key: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Its default value, as the user would write it.
    pub default: &'static str,
    /// What it means, in a line.
    pub meaning: &'static str,
    /// The smallest value: for a number, in millionths.
    least: u64,
    /// The largest value.
    most: u64,
}

/// A whole number from `least` to `most`.
pub(crate) const fn count(
    key: &'static str,
    default: &'static str,
    (least, most): (u64, u64),
    meaning: &'static str,
) -> Parameter {
    Parameter { key, kind: Kind::Count, default, meaning, least, most }
}

/// A size from `least` to `most` bytes.
pub(crate) const fn size(
    key: &'static str,
    default: &'static str,
    (least, most): (u64, u64),
    meaning: &'static str,
) -> Parameter {
    Parameter { key, kind: Kind::Size, default, meaning, least, most }
}

/// A number from `least` to `most` millionths.
pub(crate) const fn number(
    key: &'static str,
    default: &'static str,
    (least, most): (u64, u64),
    meaning: &'static str,
) -> Parameter {
    Parameter { key, kind: Kind::Number, default, meaning, least, most }
}

/// A share of a whole.
pub(crate) const fn share(key: &'static str, default: &'static str, meaning: &'static str) -> Parameter {
    number(key, default, (0, MILLION), meaning)
}

/// One of several words.
pub(crate) const fn choice(
    key: &'static str,
    words: &'static [&'static str],
    default: &'static str,
    meaning: &'static str,
) -> Parameter {
    Parameter { key, kind: Kind::Choice(words), default, meaning, least: 0, most: 0 }
}

/// The path of a file.
pub(crate) const fn file(key: &'static str, meaning: &'static str) -> Parameter {
    Parameter { key, kind: Kind::File, default: "", meaning, least: 0, most: 0 }
}

impl Parameter {
    /// What is allowed, for a message.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Count => format!("a whole number without a unit, from {} to {}", self.least, self.most),
            Kind::Size => {
                format!("a size with its unit, such as \"64KiB\", from {}B to {}B", self.least, self.most)
            }
            Kind::Number => format!(
                "a number without a unit, from {} to {}",
                self.least as f64 / MILLION as f64,
                self.most as f64 / MILLION as f64
            ),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::File => "the path of a file".to_string(),
        }
    }

    /// The value of `text`; none if it is not allowed.
    fn read(&self, text: &str) -> Option<u64> {
        let value = match self.kind {
            Kind::Count => text.replace('_', "").parse().ok()?,
            Kind::Size => parse_size_bytes(text).ok()?,
            Kind::Number => {
                let millionths = text.parse::<f64>().ok()? * MILLION as f64;
                (0.0..=u32::MAX as f64 * MILLION as f64)
                    .contains(&millionths)
                    .then_some(millionths.round() as u64)?
            }
            Kind::Choice(words) => {
                return words.iter().position(|word| *word == text).map(|index| index as u64);
            }
            Kind::File => return Some(0),
        };
        (self.least..=self.most).contains(&value).then_some(value)
    }
}

/// Values of all of a pattern's parameters.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    /// Each with its value as text and as a number.
    values: Vec<(&'static Parameter, String, u64)>,
}

impl Values {
    /// The defaults of the pattern's `parameters`, with `overrides` applied in order.
    pub(crate) fn read(
        parameters: &'static [Parameter],
        overrides: &[String],
    ) -> Result<Values, DefinitionError> {
        let mut texts: Vec<&str> = parameters.iter().map(|parameter| parameter.default).collect();
        for text in overrides {
            let bad = || DefinitionError::Override { found: shorten(text) };
            let (key, value) = text.split_once('=').ok_or_else(bad)?;
            let (key, value) = (key.trim(), value.trim());
            if key.is_empty() {
                return Err(bad());
            }
            let place = parameters.iter().position(|parameter| parameter.key == key);
            texts[place.ok_or_else(|| unknown(parameters, key, value))?] = value;
        }
        let mut values = Vec::new();
        for (parameter, text) in parameters.iter().zip(texts) {
            let value =
                parameter.read(text).ok_or_else(|| refuse(parameter.key, text, parameter.allowed()))?;
            values.push((parameter, text.to_string(), value));
        }
        Ok(Values { values })
    }

    /// The value of `key`: a count, a size in bytes, a number in millionths, a choice's index.
    pub(crate) fn get(&self, key: &str) -> u64 {
        self.find(key).2
    }

    /// The value of `key` as an index or a length.
    pub(crate) fn length(&self, key: &str) -> usize {
        self.get(key) as usize
    }

    /// The value of `key` as written.
    pub(crate) fn text(&self, key: &str) -> &str {
        &self.find(key).1
    }

    /// Uniform sizes between the values of the keys `least` and `most`.
    pub(crate) fn uniform(&self, least: &str, most: &str) -> Result<Uniform, DefinitionError> {
        let uniform = Uniform { least: self.get(least), most: self.get(most) };
        if uniform.least > uniform.most {
            let allowed = format!("at least {least}, which is {}", self.text(least));
            return Err(refuse(most, self.text(most), allowed));
        }
        Ok(uniform)
    }

    /// Every key with its value as written, except files.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let written = self.values.iter().filter(|(parameter, ..)| parameter.kind != Kind::File);
        written.map(|(parameter, text, _)| (parameter.key, text.as_str()))
    }

    fn find(&self, key: &str) -> &(&'static Parameter, String, u64) {
        let found = self.values.iter().find(|(parameter, ..)| parameter.key == key);
        // NOTE: patterns ask for keys of their own table; a test opens each of them.
        found.unwrap_or_else(|| unreachable!("{key} is in no table"))
    }
}

/// An error about the value of `key`.
pub(crate) fn refuse(key: &str, found: &str, allowed: impl Into<String>) -> DefinitionError {
    let (origin, key) = ("--set".to_string(), key.to_string());
    DefinitionError::Value { origin, key, found: format!("{:?}", shorten(found)), allowed: allowed.into() }
}

fn unknown(parameters: &[Parameter], key: &str, value: &str) -> DefinitionError {
    let keys: Vec<&str> = parameters.iter().map(|parameter| parameter.key).collect();
    DefinitionError::UnknownKey {
        origin: "--set".to_string(),
        key: shorten(key),
        found: format!("{:?}", shorten(value)),
        allowed: keys.join(", "),
    }
}

/// Cuts what was found to fit a message.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Parameter] = &[
        count("threads", "4", (1, 8), "how many"),
        size("min", "16B", (1, 1 << 20), "smallest"),
        size("max", "1KiB", (1, 1 << 20), "largest"),
        share("kept", "0.25", "how much"),
        choice("order", &["fifo", "lifo"], "lifo", "which first"),
    ];

    fn read(overrides: &[&str]) -> Result<Values, DefinitionError> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        Values::read(TABLE, &overrides)
    }

    #[test]
    fn defaults_and_overrides_are_read() {
        let values = read(&["threads=2", " threads = 8 ", "max=2KB"]).unwrap();
        assert_eq!((values.get("threads"), values.get("kept"), values.get("order")), (8, 250_000, 1));
        assert_eq!(values.uniform("min", "max").unwrap(), Uniform { least: 16, most: 2000 });
        assert_eq!(values.text("max"), "2KB");
    }

    #[test]
    fn what_is_not_allowed_is_said_with_what_is() {
        for (set, words) in [
            ("threads", "not KEY=VALUE"),
            ("=3", "not KEY=VALUE"),
            ("thread=3", "unknown key thread (found \"3\"): the keys are threads, min, max, kept, order"),
            (
                "threads=0",
                "threads is \"0\", which is not allowed: it must be a whole number without a unit, from 1 to 8",
            ),
            ("threads=-1", "from 1 to 8"),
            ("threads=2.5", "from 1 to 8"),
            ("min=64", "a size with its unit"),
            ("min=0B", "from 1B to 1048576B"),
            ("kept=1.1", "from 0 to 1"),
            ("kept=NaN", "from 0 to 1"),
            ("order=random", "one of fifo, lifo"),
        ] {
            let error = read(&[set]).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("--set"), "{error}");
        }
        let error = read(&["min=4KiB"]).unwrap().uniform("min", "max").unwrap_err().to_string();
        assert!(
            error.contains("max is \"1KiB\"") && error.contains("at least min, which is 4KiB"),
            "{error}"
        );
    }
}
