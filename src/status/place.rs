//! Where the socket of a mount is: found by who may ask, and by nobody else.

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

const ENDING: &str = "sock";

/// Folders in which the sockets of `user` may be, the best one first: the one of the session (XDG Base
/// Directory Specification), the usual place of that, for root the place of services, and where there
/// is none of them, one below the temporary directory.
pub fn folders(user: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if user == own_user() {
        let named = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let named = named.filter(|path| is_of_session(path, user));
        found.extend(named.map(|folder| folder.join("ftpfs")));
    }
    found.push(match user {
        0 => "/run/ftpfs".into(),
        user => PathBuf::from(format!("/run/user/{user}/ftpfs")),
    });
    found.push(env::temp_dir().join(format!("ftpfs-{user}")));
    found.dedup();
    found
}

/// What that specification demands of it. Root may have the variable of the user who became root.
fn is_of_session(folder: &Path, user: u32) -> bool {
    folder.is_absolute()
        && fs::metadata(folder).is_ok_and(|data| data.is_dir() && data.uid() == user)
}

/// The socket of the mount at `mountpoint`, an absolute path without links, if `user` has one there: of the one with
/// this number of a device (several may lie above each other), or of any, which may not be there any more. It may be that
/// of a mount that is dead.
pub fn socket_of(mountpoint: &Path, device: Option<&str>, user: u32) -> Option<PathBuf> {
    let (own, wanted) = (
        start_of_name(mountpoint),
        device.map(|device| name_of(mountpoint, device)),
    );
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        wanted
            .as_ref()
            .map_or(name.starts_with(&own), |wanted| name == *wanted)
    };
    sockets(user).into_iter().find(fits)
}

/// All sockets of `user`, those of dead mounts too.
pub fn sockets(user: u32) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = folders(user)
        .into_iter()
        .filter(|folder| is_private(folder, user))
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_socket(path))
        .collect();
    found.sort();
    found
}

/// Whether it has the name of a socket of ours.
pub(super) fn is_socket(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == ENDING)
}

pub(super) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// By place and number of the device, which may hold anything but a slash.
pub(super) fn name_of(mountpoint: &Path, device: &str) -> String {
    format!("{}{device}.{ENDING}", start_of_name(mountpoint))
}

fn start_of_name(mountpoint: &Path) -> String {
    let digest = Sha256::digest(mountpoint.as_os_str().as_bytes());
    let key: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("{key}-")
}

/// Makes the folder, if it is not there; it belongs to us, and nobody else may enter it.
///
/// # Errors
/// It cannot be made, or is somebody else's.
pub(super) fn own(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match is_private(folder, own_user()) {
        true => Ok(()),
        false => Err(io::Error::other("not a folder of this user alone")),
    }
}

fn is_private(folder: &Path, user: u32) -> bool {
    fs::symlink_metadata(folder)
        .is_ok_and(|data| data.is_dir() && data.uid() == user && data.mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_folder_of_the_user_alone_will_do() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("ftpfs");
        own(&folder).unwrap();
        own(&folder).unwrap();
        let link = top.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(own(&link).is_err());
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(own(&folder).is_err());
        assert!(!is_private(&folder, own_user() + 1));
    }

    #[test]
    fn the_folder_of_another_users_session_is_left_alone() {
        let top = tempfile::tempdir().unwrap();
        assert!(is_of_session(top.path(), own_user()));
        assert!(!is_of_session(top.path(), own_user() + 1));
        assert!(!is_of_session(Path::new("."), own_user()));
        assert!(!is_of_session(&top.path().join("none"), own_user()));
    }

    #[test]
    fn names_are_short_and_differ() {
        let name = |path: &str| name_of(Path::new(path), "0:45");
        let (a, b) = (name("/mnt/a"), name("/mnt/b"));
        assert!(a != b && a.len() == 26, "{a} {b}");
        assert!(a.starts_with(&start_of_name(Path::new("/mnt/a"))));
    }
}
