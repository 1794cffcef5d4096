//! Shards: the part of a run's units that one machine takes.
//!
//! Which shard a unit is in follows only from its id and the number of shards: adding a workload or a block moves no
//! other unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// More shards than any cluster has nodes.
const MOST: u32 = 100_000;

/// One of a number of equal parts of a run.
///
/// ```
/// use heaplab::design::Shard;
/// let shards: Vec<Shard> = (1..=4).map(|number| format!("{number}/4").parse().unwrap()).collect();
/// assert_eq!(shards.iter().filter(|shard| shard.holds("monitor-server#3")).count(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    number: u32,
    count: u32,
}

impl Shard {
    /// Whether the unit with this id is in this shard. Its position is the first 8 bytes, little-endian, of the SHA-256
    /// of `shard`, a zero byte and the unit's id, modulo the number of shards: 0 is shard 1.
    #[must_use]
    pub fn holds(self, unit: &str) -> bool {
        let mut hash = Sha256::new();
        hash.update(b"shard\0");
        hash.update(unit);
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        u64::from_le_bytes(first) % u64::from(self.count) == u64::from(self.number - 1)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/').and_then(|(number, count)| {
            let digits =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
            Some((digits(number)??, digits(count)??))
        });
        match parts {
            None => Err(format!("`{text}` is no shard: write K/N, such as 1/16 for the first of sixteen")),
            Some((_, 0)) => Err("there are no 0 shards: write K/N with N from 1".to_owned()),
            Some((_, count)) if count > MOST => Err(format!("{count} shards are more than {MOST}")),
            Some((0, count)) => Err(format!("there is no shard 0: shards are numbered from 1 to {count}")),
            Some((number, count)) if number > count => {
                Err(format!("there is no shard {number} of {count}: shards are numbered from 1 to {count}"))
            }
            Some((number, count)) => Ok(Shard { number, count }),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Shard, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(workload: &str, block: u32) -> String {
        format!("{workload}#{block}")
    }

    fn shards(count: u32) -> Vec<Shard> {
        (1..=count).map(|number| Shard { number, count }).collect()
    }

    proptest! {
        #[test]
        fn every_unit_lies_in_one_shard(workload in ".{0,20}", block: u32, count in 1u32..200) {
            let unit = unit(&workload, block);
            prop_assert_eq!(shards(count).iter().filter(|shard| shard.holds(&unit)).count(), 1);
        }
    }

    /// Shards measured by an earlier version must fit those of a later one.
    #[test]
    fn the_place_of_a_unit_is_that_of_the_documented_hash() {
        let place = |unit: &str, count| shards(count).iter().position(|shard| shard.holds(unit)).unwrap();
        let places: Vec<usize> = (0..8).map(|block| place(&unit("monitor-server", block), 16)).collect();
        assert_eq!(places, [0, 7, 7, 3, 8, 6, 5, 14]);
        assert_eq!(place(&unit("monitor-server", 0), 1), 0);
    }

    #[test]
    fn units_spread_over_the_shards() {
        let held = |shard: &Shard| (0..1600).filter(|&block| shard.holds(&unit("a", block))).count();
        let counts: Vec<usize> = shards(16).iter().map(held).collect();
        assert!(counts.iter().all(|&count| (60..=145).contains(&count)), "{counts:?}");
    }

    #[test]
    fn a_shard_is_read_as_it_is_written() {
        for text in ["1/1", "3/16", "16/16"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for (text, problem) in [
            ("0/4", "there is no shard 0: shards are numbered from 1 to 4"),
            ("5/4", "there is no shard 5 of 4"),
            ("1/0", "there are no 0 shards"),
            ("1/100001", "more than 100000"),
            ("1", "is no shard"),
            ("/", "is no shard"),
            ("+1/2", "is no shard"),
            ("a/b", "is no shard"),
            ("1/2/3", "is no shard"),
        ] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
