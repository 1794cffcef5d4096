//! The column names of a row type, taken from its fields so that the two cannot differ.
//!
//! Pure. Headers are written from these names, and the files that are read are compared with them.

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The columns of the rows of type `T`, in the order in which they are written.
///
/// ```
/// let columns = heaplab::results::columns::<heaplab::results::TimelinePoint>();
/// assert_eq!(columns[..3], ["run_id", "block", "workload"]);
/// ```
pub fn columns<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // The error is how the capture stops: it has no value from which to build a row.
    let stopped = T::deserialize(Capture { fields: &mut fields });
    debug_assert!(stopped.is_err(), "a row type is a structure with named fields");
    fields
}

/// Records the field names that a structure asks for, and returns no value.
struct Capture<'a> {
    fields: &'a mut &'static [&'static str],
}

impl<'de> Deserializer<'de> for Capture<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a structure"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        *self.fields = fields;
        Err(Error::custom("captured"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
