//! What the server has after an upload, where its final reply is not enough, or did not come.

use std::time::{Duration, Instant};

use super::upload::{Upload, UploadMode};
use super::{ErrorKind, FileVersion, RemoteError};
use crate::ftp::FtpError;

/// A server that lost the control connection may still be storing what it has received.
const STILL_STORING: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(300);

impl Upload {
    pub(super) fn expected_size(&self) -> u64 {
        match self.mode {
            UploadMode::Store => self.sent,
            UploadMode::Append { size } => size + self.sent,
            UploadMode::Patch { offset, size } => size.max(offset + self.sent),
        }
    }

    /// The content that the file had before is to be overwritten; it has so many bytes.
    pub fn replaces(&mut self, size: Option<u64>) {
        self.before = size;
    }

    /// The file had the size before that it is to have.
    fn leaves_the_size(&self) -> bool {
        let before = match self.mode {
            UploadMode::Patch { size, .. } => Some(size),
            _ => self.before,
        };
        before == Some(self.expected_size())
    }

    pub(super) fn compare(&self, found: FileVersion) -> Result<FileVersion, RemoteError> {
        let expected = self.expected_size();
        if found.size == expected {
            return Ok(found);
        }
        let size = found.size;
        let message = format!(
            "{}: the server has {size} bytes instead of {expected}",
            self.path
        );
        Err(RemoteError::found(ErrorKind::Incomplete, message))
    }

    /// The final reply was lost: only the server's file can tell. All our bytes and the end are
    /// out, so what is still missing may be about to be stored.
    pub(super) fn settle_lost_reply(&self, error: FtpError) -> Result<FileVersion, RemoteError> {
        if self.leaves_the_size() {
            log::info!("STOR {}: {error}; its size cannot tell", self.path);
            return Err(error.into());
        }
        let until = Instant::now() + STILL_STORING;
        loop {
            let Ok(found) = self.remote.version(&self.path) else {
                log::info!("STOR {}: {error}; nobody knows how it ended", self.path);
                return Err(error.into());
            };
            let verdict = self.compare(found);
            if verdict.is_ok() || found.size > self.expected_size() || Instant::now() >= until {
                log::info!(
                    "STOR {}: {error}; the server has {} bytes",
                    self.path,
                    found.size
                );
                return verdict;
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }

    /// The server confirmed the upload but does not tell the size: the listing may.
    pub(super) fn confirm_without_size(&self, error: FtpError) -> Result<FileVersion, RemoteError> {
        if error.is_session_lost() || error.is_timeout() {
            return self.settle_lost_reply(error);
        }
        let believed = FileVersion {
            size: self.expected_size(),
            modified: None,
        };
        match self.remote.entry(&self.path) {
            Ok(entry) => match entry.size {
                Some(size) => self.compare(FileVersion {
                    size,
                    modified: None,
                }),
                None => Ok(believed),
            },
            Err(e) if e.kind() == ErrorKind::NotFound => Err(self.not_there()),
            Err(_) => {
                // A drop box: neither may we look at the file nor into the directory.
                log::warn!(
                    "{}: stored, but the size cannot be checked: {error}",
                    self.path
                );
                Ok(believed)
            }
        }
    }

    /// Pure-FTPd stores names with a blank at the end or control characters under another name:
    /// repeating the upload would not help.
    fn not_there(&self) -> RemoteError {
        let name = self.path.name();
        let odd = name.last() == Some(&b' ') || name.iter().any(u8::is_ascii_control);
        let kind = if odd {
            ErrorKind::InvalidName
        } else {
            ErrorKind::Failed
        };
        RemoteError::found(kind, format!("{}: not there after the upload", self.path))
    }
}
