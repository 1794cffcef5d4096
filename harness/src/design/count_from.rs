//! The time from which memory counts in means and percentiles.

use std::fmt;

use heaplab_workloads::simulate::parse_time_ns;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The time from which memory counts in means and percentiles over time. Peaks cover the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountFrom {
    /// From this time on, in ns: of the trace or of the program.
    Time(u64),
    /// From where the load is steady: see [`crate::stats::warm_up`].
    Steady,
}

impl CountFrom {
    /// Reads `steady`, or a time such as `90s`.
    pub(crate) fn parse(text: &str) -> Result<CountFrom, String> {
        if text == "steady" {
            return Ok(CountFrom::Steady);
        }
        parse_time_ns(text).map(CountFrom::Time).map_err(|error| format!("{error}, nor `steady`"))
    }
}

impl fmt::Display for CountFrom {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CountFrom::Time(ns) => write!(out, "{ns}ns"),
            CountFrom::Steady => out.write_str("steady"),
        }
    }
}

impl Serialize for CountFrom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CountFrom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CountFrom, D::Error> {
        CountFrom::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::CountFrom;

    #[test]
    fn texts_are_read_as_they_are_written() {
        for (text, value) in [("steady", CountFrom::Steady), ("90s", CountFrom::Time(90_000_000_000))] {
            assert_eq!(CountFrom::parse(text), Ok(value));
            assert_eq!(CountFrom::parse(&value.to_string()), Ok(value));
        }
        assert!(CountFrom::parse("soon").is_err_and(|error| error.contains("steady")));
    }
}
