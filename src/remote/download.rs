//! `Download`: the bytes of a file from an offset on; survives a lost connection.

use super::{FileVersion, Remote, RemoteError};
use crate::ftp::RemotePath;
use std::sync::Arc;

/// The bytes of one file from an offset on, in order.
///
/// It holds a session from the first `read` until its end. A lost connection is resumed at the same
/// byte on another session, after checking that the file is still the same.
#[derive(Debug)]
pub struct Download {}

impl Download {
    /// Begins to read `path` at byte `offset` (REST, RETR). `expected` is what the file was when it
    /// was opened; `None` if nobody knows its size: then the end is where the server says it is.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `IsDirectory`, `Refused`, …
    pub fn open(
        _remote: &Arc<Remote>,
        _path: &RemotePath,
        _offset: u64,
        _expected: Option<FileVersion>,
    ) -> Result<Self, RemoteError> {
        todo!()
    }

    /// Where the next `read` begins, in bytes from the start of the file.
    pub fn position(&self) -> u64 {
        todo!()
    }

    /// Reads what has arrived, at least one byte. 0 is the end of the file: the server has said so
    /// with a final 2xx, and the byte count is the expected one.
    ///
    /// # Errors
    /// `Changed` if the file is not the expected one any more (also when it is longer or shorter);
    /// `TimedOut`, `Disconnected` if it could not be resumed. After an error the download is over.
    pub fn read(&mut self, _buf: &mut [u8]) -> Result<usize, RemoteError> {
        todo!()
    }

    /// Stops in the middle. The session is cleaned up without making the caller wait.
    pub fn abandon(self) {
        todo!()
    }
}
