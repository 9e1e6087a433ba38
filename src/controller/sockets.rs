//! The directory of the sockets over which processes say how they are: made and put in order before the loop begins.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use crate::core::ids::Incarnation;
use crate::keeper::protocol::{Inventory, InventoryState};
use crate::sys::notify;

/// Makes the directory. Programs may run as other users, so it can be passed through, as far as that is ours to say.
pub(crate) fn make_directory(runtime_dir: &Path) -> io::Result<()> {
    let sockets = notify::directory(runtime_dir);
    fs::create_dir_all(&sockets)?;
    for place in [runtime_dir, &sockets] {
        let mode = fs::metadata(place)?.permissions().mode();
        if rustix::process::geteuid().is_root() && mode & 0o011 != 0o011 {
            fs::set_permissions(place, fs::Permissions::from_mode(mode | 0o011))?;
        }
    }
    Ok(())
}

/// Opens the sockets of processes that an earlier keeper started: they send to the same path as before. What belongs to
/// nobody any more is removed.
pub(crate) fn open_again(runtime_dir: &Path, inventory: &Inventory) -> Vec<(Incarnation, OwnedFd)> {
    let lives = |state: &InventoryState| match state {
        InventoryState::Spawning | InventoryState::Running { .. } => true,
        InventoryState::CouldNotSpawn { .. } | InventoryState::Exited { .. } => false,
    };
    let mut opened = Vec::new();
    for entry in fs::read_dir(notify::directory(runtime_dir)).into_iter().flatten().flatten() {
        let path = entry.path();
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Incarnation);
        let owner = inventory
            .processes
            .iter()
            .find(|process| Some(process.incarnation) == number && lives(&process.state));
        let result = match owner {
            Some(process) => listen_again(&path)
                .map(|socket| opened.extend(socket.map(|socket| (process.incarnation, socket)))),
            None => fs::remove_file(&path),
        };
        if let Err(error) = result {
            let cause = crate::sys::cause::plain(error);
            tracing::warn!("cannot put {} in order: {cause}", path.display());
        }
    }
    opened
}

fn listen_again(path: &Path) -> io::Result<Option<OwnedFd>> {
    let before = fs::symlink_metadata(path)?;
    if !before.file_type().is_socket() {
        return Ok(None);
    }
    let socket = notify::listen(path)?;
    chown(path, Some(before.uid()), Some(before.gid()))?;
    Ok(Some(socket))
}
