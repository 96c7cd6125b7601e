//! `Upload`: bytes to a path; finished and confirmed, or abandoned.

use super::{Remote, RemoteError};
use crate::ftp::RemotePath;
use std::sync::Arc;

/// How the bytes go into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadMode {
    /// STOR: the file becomes these bytes.
    Store,
    /// APPE: the bytes go behind what is there, which is this many bytes long.
    Append {
        /// Bytes before the upload.
        size: u64,
    },
}

/// Bytes on their way into one file. Never retried here: the caller has them staged and decides.
///
/// Dropped or abandoned unfinished, it ends with RST, so that the server does not take
/// half a file for a whole one.
#[derive(Debug)]
pub struct Upload {}

impl Upload {
    /// Sends the command and waits for the server's 1xx, so that a refusal is known here. Before
    /// any byte is sent a lost or stale session is replaced and the command repeated once.
    ///
    /// # Errors
    /// `Denied`, `NoSpace`, `IsDirectory`, `Unsupported` (APPE not allowed), `Refused`, …
    pub fn open(
        _remote: &Arc<Remote>,
        _path: &RemotePath,
        _mode: UploadMode,
    ) -> Result<Self, RemoteError> {
        todo!()
    }

    /// Bytes accepted by `write` so far.
    pub fn sent(&self) -> u64 {
        todo!()
    }

    /// Sends all of `data`.
    ///
    /// # Errors
    /// What the server or the line said: if the data connection broke, the final reply is waited for
    /// (bounded), for it holds the reason (452, 552, 426 …). The upload is then over.
    pub fn write(&mut self, _data: &[u8]) -> Result<(), RemoteError> {
        todo!()
    }

    /// Ends the file, waits for the final 2xx, and compares SIZE with what it has to be now. A final
    /// reply that does not come in time is settled by SIZE on another session.
    ///
    /// # Errors
    /// `Incomplete` if the size is another; the server's refusal; `TimedOut`, `Disconnected`.
    pub fn finish(self) -> Result<(), RemoteError> {
        todo!()
    }

    /// Gives up with RST. The session is cleaned up without making the caller wait.
    pub fn abandon(self) {
        todo!()
    }
}
