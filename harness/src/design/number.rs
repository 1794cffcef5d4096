//! How 64-bit numbers are written to TOML, whose integers end at 2^63 - 1: a trace may contain any size and any
//! time, and a seed is any number.

/// A 64-bit number, always as text.
pub(crate) mod seed_as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(seed)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom(format!("seed \"{text}\" is not a number of 64 bits")))
    }
}

/// A number that may be absent: an integer, or text above 2^63 - 1.
pub(crate) mod wide {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Number {
        Integer(i64),
        Text(String),
    }

    pub(crate) fn serialize<S: Serializer>(number: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        let encode =
            |number: u64| i64::try_from(number).map_or(Number::Text(number.to_string()), Number::Integer);
        number.map(encode).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let decode = |number| match number {
            Number::Integer(integer) => {
                u64::try_from(integer).map_err(|_| D::Error::custom(format!("{integer} is below 0")))
            }
            Number::Text(text) => {
                text.parse().map_err(|_| D::Error::custom(format!("\"{text}\" is not a number of 64 bits")))
            }
        };
        Option::<Number>::deserialize(deserializer)?.map(decode).transpose()
    }
}
