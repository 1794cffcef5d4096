//! What a program tells its allocator by calls of its own, as a mark of its trace.
//!
//! The mark's name is the call as C has it, in decimal: `malloc_trim(0)`, `mallopt(-3, 1048576)`. Nothing
//! else is one: no spaces but that, no plus sign, no leading zeros. Names written once stay readable.

/// A call of `malloc_trim(3)` or `mallopt(3)`, from which on the allocator is as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuning {
    /// `malloc_trim(pad)`: free memory is given back, but for `pad` bytes at the end of the heap.
    MallocTrim {
        /// Bytes. Recordings keep it below 2^31.
        pad: u64,
    },
    /// `mallopt(parameter, value)`.
    Mallopt {
        /// The C library's number of it, such as -3, `M_MMAP_THRESHOLD`.
        parameter: i32,
        /// What it is set to.
        value: i32,
    },
}

impl Tuning {
    /// The mark's name.
    ///
    /// ```
    /// # use heaplab_trace::Tuning;
    /// assert_eq!(Tuning::MallocTrim { pad: 0 }.mark(), "malloc_trim(0)");
    /// assert_eq!(Tuning::Mallopt { parameter: -3, value: 1 << 20 }.mark(), "mallopt(-3, 1048576)");
    /// ```
    pub fn mark(self) -> String {
        match self {
            Tuning::MallocTrim { pad } => format!("malloc_trim({pad})"),
            Tuning::Mallopt { parameter, value } => format!("mallopt({parameter}, {value})"),
        }
    }

    /// Of a mark's name; none if it is another mark.
    pub fn from_mark(name: &str) -> Option<Tuning> {
        let (function, arguments) = name.strip_suffix(')')?.split_once('(')?;
        let said = match function {
            "malloc_trim" => Tuning::MallocTrim { pad: arguments.parse().ok()? },
            "mallopt" => {
                let (parameter, value) = arguments.split_once(", ")?;
                Tuning::Mallopt { parameter: parameter.parse().ok()?, value: value.parse().ok()? }
            }
            _ => return None,
        };
        (said.mark() == name).then_some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_comes_back_from_its_mark() {
        let calls = [
            Tuning::MallocTrim { pad: 0 },
            Tuning::MallocTrim { pad: u64::MAX },
            Tuning::Mallopt { parameter: i32::MIN, value: i32::MAX },
            Tuning::Mallopt { parameter: -8, value: -1 },
        ];
        for call in calls {
            assert_eq!(Tuning::from_mark(&call.mark()), Some(call));
        }
    }

    #[test]
    fn other_marks_are_none() {
        let names = [
            "",
            "(",
            ")",
            "malloc_trim",
            "malloc_trim()",
            "malloc_trim(-1)",
            "malloc_trim(+1)",
            "malloc_trim(00)",
            "malloc_trim(0) ",
            "malloc_trim(18446744073709551616)",
            "mallopt(-3)",
            "mallopt(-3,1)",
            "mallopt(-3, 2147483648)",
            "mallopt(-3, 1, 2)",
            "warm-up (mallopt(1, 1))",
            "huge pages: off",
        ];
        for name in names {
            assert_eq!(Tuning::from_mark(name), None, "{name:?}");
        }
    }
}
