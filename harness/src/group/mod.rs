//! Control groups of memory: made for one sample, limited, read, and always removed.
//!
//! Both versions of the kernel's interface serve, whichever is there and permitted (`place`). The processes enter by
//! themselves: a group is only a directory to heaplab. What a group was charged is an [`Account`], which the kernel keeps.
//! Nothing is measured or judged here.

mod account;
mod limits;
mod place;

pub use account::Account;
pub use limits::{GroupLimits, LimitError};
pub use place::{Group, GroupError, enter_while};
