//! `Left`: what the server had under a name when a commit had failed, so that a later attempt overwrites
//! nothing else.

use crate::ftp::RemotePath;
use crate::remote::{ErrorKind, FileVersion, Remote, RemoteError};

/// What the server had after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// No such file.
    Nothing,
    /// This one.
    File(FileVersion),
    /// It could not be asked.
    Unknown,
}

impl Left {
    /// Asks the server. May wait.
    pub fn ask(remote: &Remote, path: &RemotePath) -> Self {
        match remote.version(path) {
            Ok(version) => Self::File(version),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::Nothing,
            // A refusal without a reason: the listing knows.
            Err(error) if error.kind() == ErrorKind::Refused => match remote.entry(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Self::Nothing,
                _ => Self::Unknown,
            },
            // No SIZE: the listing is all there is.
            Err(error) if error.kind() == ErrorKind::Unsupported => match remote.entry(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Self::Nothing,
                Ok(entry) => entry.size.map_or(Self::Unknown, |size| {
                    let modified = None;
                    Self::File(FileVersion { size, modified })
                }),
                Err(_) => Self::Unknown,
            },
            Err(_) => Self::Unknown,
        }
    }

    /// The same, where it has to be known. May wait.
    ///
    /// # Errors
    /// Why it is not.
    pub fn find(remote: &Remote, path: &RemotePath) -> Result<Self, RemoteError> {
        match Self::ask(remote, path) {
            Self::Unknown => remote.version(path).map(Self::File),
            known => Ok(known),
        }
    }

    /// Whether the server still has that, now that it has `now`.
    pub fn is_still(self, now: Self) -> bool {
        match (self, now) {
            (Self::File(before), Self::File(now)) => before.agrees_with(now),
            (Self::Nothing | Self::Unknown, Self::Nothing) => true,
            // Nothing of it counts: this is where an upload that never got on ends.
            (Self::Unknown, Self::File(now)) => now.size == 0,
            _ => false,
        }
    }
}
