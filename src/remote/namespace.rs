//! Listing, looking up, making, removing and renaming.

use std::time::SystemTime;

use super::{FileVersion, Remote, RemoteError};
use crate::ftp::RemotePath;
use crate::ftp::listing::Entry;

/// A directory as the server told it.
#[derive(Debug)]
pub struct Listing {
    /// In the order of the server, each name once.
    pub entries: Vec<Entry>,
    /// When the server was asked.
    pub fetched: SystemTime,
}

impl Remote {
    /// The entries of `dir`, by MLSD, else `LIST -a`, else LIST (learned once).
    /// A listing that was cut is an error. Names of our own temporary files are included.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](super::ErrorKind::NotFound) if there is no such directory, also on
    /// servers that answer an empty listing (checked by CWD); `NotDirectory` for a file.
    pub fn list(&self, _dir: &RemotePath) -> Result<Listing, RemoteError> {
        todo!()
    }

    /// Whether `path` is a directory that we may enter (CWD).
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `Denied`, or `Refused` where the server does not say which.
    pub fn check_directory(&self, _path: &RemotePath) -> Result<(), RemoteError> {
        todo!()
    }

    /// Size and time of a file, from the server and now (SIZE and MDTM, one round trip).
    /// Follows symbolic links.
    ///
    /// # Errors
    /// `NotFound`, `Refused` (also for directories), `Unsupported` where the server has no SIZE.
    pub fn version(&self, _path: &RemotePath) -> Result<FileVersion, RemoteError> {
        todo!()
    }

    /// Exact modification times of many files (MDTM, batched); `None` where the server tells none.
    ///
    /// # Errors
    /// `Unsupported` where the server has no MDTM; a lost session that could not be replaced.
    pub fn modified_times(
        &self,
        _paths: &[RemotePath],
    ) -> Result<Vec<Option<SystemTime>>, RemoteError> {
        todo!()
    }

    /// Makes a directory (MKD).
    ///
    /// # Errors
    /// `Exists`, `Denied`, `Refused`, …
    pub fn make_directory(&self, _path: &RemotePath) -> Result<(), RemoteError> {
        todo!()
    }

    /// Deletes a file (DELE). The caller knows that it is no directory: some servers would remove it.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Refused`, …
    pub fn remove_file(&self, _path: &RemotePath) -> Result<(), RemoteError> {
        todo!()
    }

    /// Removes an empty directory (RMD). The caller knows that it is no file.
    ///
    /// # Errors
    /// `NotEmpty`, `NotFound`, `Denied`, `Refused`, …
    pub fn remove_directory(&self, _path: &RemotePath) -> Result<(), RemoteError> {
        todo!()
    }

    /// Renames (RNFR, RNTO), replacing an existing file. Where the server refuses to rename over an
    /// existing file (learned once): the old one is renamed to `backup`, then deleted, and put
    /// back on failure. `backup` is a free temporary name in the same directory, or `None` if
    /// nothing is there to be replaced.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Refused`, …; the old content of `to` is then whole.
    pub fn rename(
        &self,
        _from: &RemotePath,
        _to: &RemotePath,
        _backup: Option<&RemotePath>,
    ) -> Result<(), RemoteError> {
        todo!()
    }

    /// Sets permission bits (SITE CHMOD, else MFF UNIX.mode).
    ///
    /// # Errors
    /// `Unsupported` where the server can neither; `Denied`, …
    pub fn set_mode(&self, _path: &RemotePath, _mode: u16) -> Result<(), RemoteError> {
        todo!()
    }

    /// Sets the modification time, to the second (MFMT, else MDTM with two arguments).
    ///
    /// # Errors
    /// `Unsupported` where the server can neither; `Denied`, …
    pub fn set_modified(&self, _path: &RemotePath, _time: SystemTime) -> Result<(), RemoteError> {
        todo!()
    }

    /// Makes a symbolic link (SITE SYMLINK).
    ///
    /// # Errors
    /// `Unsupported` nearly everywhere.
    pub fn make_symlink(&self, _target: &[u8], _path: &RemotePath) -> Result<(), RemoteError> {
        todo!()
    }

    /// Free bytes on the server (AVBL); `None` where it does not say. Never fails.
    pub fn available_space(&self, _dir: &RemotePath) -> Option<u64> {
        todo!()
    }
}
