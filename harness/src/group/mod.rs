//! Memory control groups: made for one sample, limited, read, and always removed.
//!
//! Either version of the kernel's interface serves, whichever exists and is permitted (`place`). The
//! processes enter by themselves: to heaplab, a group is only a directory. What a group was charged is an
//! [`Account`], which the kernel keeps; what the groups that we are in allow us is in `room`. If heaplab is
//! killed, a separate process removes the group (`watcher`). Nothing is measured or judged here.

mod account;
mod limits;
mod place;
mod removal;
mod room;
mod watcher;

pub use account::Account;
pub use limits::{GroupLimits, LimitError};
pub use place::{Group, GroupError, enter_while, home_of};
pub use room::{memory_limit, memory_room};
pub use watcher::{WATCH_COMMAND, watch};
pub(crate) use watcher::{Watcher, wait_for_heaplab};
