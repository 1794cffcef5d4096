//! Files that processes of other users may use: a program that root starts may give up its user.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Lets processes of other users use a file or a directory where this process is root's: only then can a process that
/// it starts become another user's, and begin another program as that.
///
/// # Errors
///
/// What the system says, where the mode cannot be set.
pub(crate) fn share(path: &Path, mode: u32) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
