//! What is asked of a model besides its seed, read from the options that every load model takes.

use super::error::ModelError;
use crate::simulate::Options;

/// What is asked of a model besides its seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The load; the highest recorded one if none.
    pub load: Option<f64>,
    /// The trace's length; the recording's if none.
    pub duration_ns: Option<u64>,
    /// One window in this many is played beyond the recording's time.
    pub thinned: u64,
    /// How lives are counted, instead of the model's own: 1 in time, 0 in allocations.
    pub life: Option<f64>,
    /// How much of what start-up leaves grows with the load, instead of the model's own.
    pub startup: Option<f64>,
    /// Whether requests wait while all threads of their pool are busy, instead of what the recordings show.
    pub queue: Option<bool>,
}

impl Default for Question {
    fn default() -> Question {
        Question { load: None, duration_ns: None, thinned: 1, life: None, startup: None, queue: None }
    }
}

/// The largest thinning: one window in this many.
const MOST_THINNED: u64 = 1_000_000;

impl Question {
    /// From overrides, each KEY=VALUE. `load_unit` is what the model's loads are counted in.
    ///
    /// # Errors
    ///
    /// A key that a model does not have, or a value that it cannot have.
    pub fn new(name: &str, load_unit: &str, options: &Options) -> Result<Question, ModelError> {
        let mut question = Question { duration_ns: options.duration_ns, ..Question::default() };
        for set in &options.overrides {
            let bad = |allowed: &str| ModelError::asked(name, format!("--set {set}: {allowed}"));
            let Some((key, value)) = set.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
            else {
                return Err(bad("an override is KEY=VALUE, such as load=3"));
            };
            match key {
                "connections" if load_unit != "connections" => {
                    return Err(bad(&format!("its load is counted in {load_unit}: set load instead")));
                }
                "load" | "connections" => question.load = Some(parse_load(value).map_err(|why| bad(&why))?),
                "life" => {
                    let share = match value {
                        "time" => Some(1.0),
                        "allocations" => Some(0.0),
                        value => parse_share(value),
                    };
                    let allowed =
                        "lives are counted in time or allocations, or between: a number from 0 to 1";
                    question.life = Some(share.ok_or_else(|| bad(allowed))?);
                }
                "startup" => {
                    let allowed =
                        "how much of what start-up leaves grows with the load is a number from 0 to 1";
                    question.startup = Some(parse_share(value).ok_or_else(|| bad(allowed))?);
                }
                "queue" => {
                    let waits = match value {
                        "yes" => Some(true),
                        "no" => Some(false),
                        _ => None,
                    };
                    let allowed = "requests wait for a free thread of their pool, or not: yes or no";
                    question.queue = Some(waits.ok_or_else(|| bad(allowed))?);
                }
                "thinned" => {
                    let thinned = value.parse().ok().filter(|thinned| (1..=MOST_THINNED).contains(thinned));
                    question.thinned =
                        thinned.ok_or_else(|| bad("one window in 1 to 1,000,000 can be played"))?;
                }
                _ => return Err(bad("a model of recordings has load, life, startup, queue and thinned")),
            }
        }
        Ok(question)
    }
}

/// Parses a load.
///
/// # Errors
///
/// What is allowed, if it is not a load.
pub fn parse_load(text: &str) -> Result<f64, String> {
    let load = text.trim().parse::<f64>().ok().filter(|load| load.is_finite() && *load > 0.0);
    load.ok_or_else(|| format!("a load is a number above 0, and `{text}` is not"))
}

/// Parses a share from 0 to 1.
pub fn parse_share(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share))
}
