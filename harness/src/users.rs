//! Files that processes of other users may use: a program that root starts may drop its privileges.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// If this process is root's, lets processes of other users use a file or a directory: only then can a process that
/// it starts switch to a different user, and start a program as that user.
///
/// # Errors
///
/// What the system said, if the mode cannot be set.
pub(crate) fn share(path: &Path, mode: u32) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
