//! Folders on local disks: for what is being written, and for what could not be stored.

use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::mount::Failure;

/// The folder that was typed, if files can be made there; else the user's cache directory, else a folder in
/// /var/tmp. Not where memory plays the disk: a large file would fill the memory.
///
/// # Errors
/// The typed one cannot be made or written.
pub(super) fn staging(typed: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let Some(typed) = typed else {
        return Ok(match user_folder("XDG_CACHE_HOME", ".cache") {
            Some(cache) if !is_in_memory(&cache) => cache.join("ftpfs"),
            _ => own_in_var_tmp(),
        });
    };
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(&typed);
    match made.and_then(|()| tempfile::tempfile_in(&typed)) {
        Ok(_) => Ok(typed),
        Err(error) => Err(Failure::usage(format!(
            "{}: cannot be the staging_dir: {error}",
            typed.display()
        ))),
    }
}

/// Where the copies of files are kept that could not be stored.
pub(super) fn state() -> PathBuf {
    match user_folder("XDG_STATE_HOME", ".local/state") {
        Some(state) => state.join("ftpfs"),
        None => own_in_var_tmp().join("state"),
    }
}

/// As the variable says, else below the home of the user, if he has one (XDG Base Directory Specification).
fn user_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let named = env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    named.or_else(|| {
        let home = env::home_dir().filter(|home| home.is_absolute() && home.as_os_str() != "/");
        home.map(|home| home.join(below_home))
    })
}

fn own_in_var_tmp() -> PathBuf {
    Path::new("/var/tmp").join(format!("ftpfs-{}", rustix::process::geteuid().as_raw()))
}

/// Whether the file system of `path`, or of its nearest ancestor that exists, is a tmpfs or ramfs.
fn is_in_memory(path: &Path) -> bool {
    /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of statfs(2).
    const MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];
    let kind = path
        .ancestors()
        .find_map(|folder| rustix::fs::statfs(folder).ok());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a signed or unsigned word of 32 or 64 bits, depending on the machine; 32 count"
    )]
    kind.is_some_and(|kind| MEMORY.contains(&(kind.f_type as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_no_staging_disk() {
        assert!(is_in_memory(Path::new("/dev/shm/nonexistent/x")));
        assert!(!is_in_memory(Path::new("/proc")));
    }

    #[test]
    fn a_typed_folder_is_made_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("a/b");
        assert_eq!(staging(Some(new.clone())).unwrap(), new);
        let refused = staging(Some("/proc/no/where".into())).unwrap_err();
        assert!(refused.message.starts_with("/proc/no/where: "), "{refused}");
        assert_eq!(refused.status, crate::mount::Status::Usage);
    }
}
