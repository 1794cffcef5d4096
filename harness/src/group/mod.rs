//! Control groups of memory: made for one sample, limited, read, and always removed.
//!
//! Both versions of the kernel's interface serve, whichever is there and permitted (`place`). The processes enter by
//! themselves: a group is only a directory to heaplab. What a group was charged is an [`Account`], which the kernel keeps.
//! Where heaplab is killed, a
//! process of its own removes the group (`watcher`). Nothing is measured or judged here.

mod account;
mod limits;
mod place;
mod removal;
mod watcher;

pub use account::Account;
pub use limits::{GroupLimits, LimitError};
pub use place::{Group, GroupError, enter_while, home_of};
pub use watcher::{WATCH_COMMAND, watch};
