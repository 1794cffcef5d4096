//! The choices of a run that have names on the command line and in the result files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What one sample measures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// Events per second, without instrumentation of any event.
    #[default]
    Throughput,
    /// The time of every call.
    Latency,
    /// Memory over trace time.
    Memory,
    /// A pattern in every object, verified at its free.
    Check,
    /// No replay: the real program, sampled from outside.
    Exec,
}

impl Pass {
    /// Every pass of a replay, in the order in which they are run.
    pub const ALL: [Pass; 4] = [Pass::Throughput, Pass::Latency, Pass::Memory, Pass::Check];
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Pass::Throughput => "throughput",
            Pass::Latency => "latency",
            Pass::Memory => "memory",
            Pass::Check => "check",
            Pass::Exec => "exec",
        })
    }
}

impl FromStr for Pass {
    type Err = String;

    fn from_str(text: &str) -> Result<Pass, String> {
        Pass::ALL
            .into_iter()
            .find(|pass| pass.to_string() == text)
            .ok_or_else(|| format!("unknown pass `{text}`: there are throughput, latency, memory and check"))
    }
}

/// How fast trace time passes in a replay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pace {
    /// As fast as possible, on the real clock.
    Max,
    /// According to the recorded times, this many times as fast: 1 is `real`, 10 is `x10`.
    Times(f64),
    /// As fast as possible, and the allocator's clock shows the trace's time.
    Virtual,
}

impl Pace {
    /// Whether the pace needs a trace with times.
    #[must_use]
    pub fn needs_times(self) -> bool {
        self != Pace::Max
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::Max => f.pad("max"),
            Pace::Times(1.0) => f.pad("real"),
            Pace::Times(factor) => f.pad(&format!("x{factor}")),
            Pace::Virtual => f.pad("virtual"),
        }
    }
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Pace, String> {
        let factor =
            || text.strip_prefix('x')?.parse().ok().filter(|factor: &f64| *factor >= 0.001 && *factor <= 1e6);
        match text {
            "max" => Ok(Pace::Max),
            "real" => Ok(Pace::Times(1.0)),
            "virtual" => Ok(Pace::Virtual),
            _ => factor().map(Pace::Times).ok_or_else(|| {
                format!("unknown pace `{text}`: there are max, real, virtual, and xK with K from 0.001 to 1000000, such as x10")
            }),
        }
    }
}

impl TryFrom<String> for Pace {
    type Error = String;

    fn try_from(text: String) -> Result<Pace, String> {
        text.parse()
    }
}

impl From<Pace> for String {
    fn from(pace: Pace) -> String {
        pace.to_string()
    }
}

/// How much of a block the replay writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Touch {
    /// Nothing.
    None,
    /// The first byte.
    First,
    /// One byte in each page, and the last byte.
    Page,
    /// Every byte.
    Full,
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Touch::None => "none",
            Touch::First => "first",
            Touch::Page => "page",
            Touch::Full => "full",
        })
    }
}

impl FromStr for Touch {
    type Err = String;

    fn from_str(text: &str) -> Result<Touch, String> {
        [Touch::None, Touch::First, Touch::Page, Touch::Full]
            .into_iter()
            .find(|touch| touch.to_string() == text)
            .ok_or_else(|| format!("unknown touch policy `{text}`: there are none, first, page and full"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for pace in ["max", "real", "virtual", "x10", "x0.5"] {
            assert_eq!(pace.parse::<Pace>().unwrap().to_string(), pace);
        }
        for pace in ["", "x", "x0", "x-1", "xNaN", "fast", "x1e9"] {
            assert!(pace.parse::<Pace>().is_err(), "{pace}");
        }
        for touch in ["none", "first", "page", "full"] {
            assert_eq!(touch.parse::<Touch>().unwrap().to_string(), touch);
        }
        for pass in Pass::ALL {
            assert_eq!(pass.to_string().parse::<Pass>(), Ok(pass));
        }
    }
}
