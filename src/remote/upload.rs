//! `Upload`: bytes to a path; finished and confirmed, or abandoned.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::profile::Ability;
use super::settle;
use super::{ErrorKind, FileVersion, Remote, RemoteError, UploadSlot};
use crate::ftp::{FtpError, RemotePath, Transfer};
use crate::pool::Lease;

/// Some servers hash or scan a file before they answer 226.
const FINAL_REPLY: Duration = Duration::from_secs(60);
const BYTES_PER_EXTRA_SECOND: u64 = 100_000_000;
/// A server that lost the control connection may still be storing what it has received.
const STILL_STORING: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// Progress is counted after so many bytes: a line of 4 KB/s is slow, not stuck.
const PIECE: usize = 64 << 10;

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
    /// REST and STOR: the bytes replace those at this place. Only where
    /// [`Remote::patches_in_place`] says so.
    Patch {
        /// Where the bytes go; not 0, where STOR would make the file anew.
        offset: u64,
        /// Bytes of the file before the upload, at least `offset`.
        size: u64,
    },
}

/// Bytes on their way into one file. Never retried here: the caller has them staged and decides.
///
/// Dropped or abandoned unfinished, it ends with RST, so that the server does not take
/// half a file for a whole one.
#[derive(Debug)]
pub struct Upload {
    remote: Arc<Remote>,
    path: RemotePath,
    mode: UploadMode,
    _slot: UploadSlot,
    /// `None` once it is over.
    transfer: Option<Transfer<Lease>>,
    sent: u64,
}

impl Upload {
    /// As [`Upload::open_in`], waiting for a slot as long as other transfers get on.
    ///
    /// # Errors
    /// As there, and `TimedOut`.
    pub fn open(
        remote: &Arc<Remote>,
        path: &RemotePath,
        mode: UploadMode,
    ) -> Result<Self, RemoteError> {
        Self::open_in(remote.upload_slot()?, remote, path, mode)
    }

    /// Sends the command and waits for the server's 1xx, so that a refusal is known here. An upload to
    /// the same path that was given up is waited for until the server has ended it. Before
    /// any byte is sent a lost or stale session is replaced and the command repeated.
    ///
    /// # Errors
    /// `Denied`, `NoSpace`, `IsDirectory`, `Unsupported` (APPE not allowed), `Refused`, …
    pub fn open_in(
        slot: UploadSlot,
        remote: &Arc<Remote>,
        path: &RemotePath,
        mode: UploadMode,
    ) -> Result<Self, RemoteError> {
        let append = matches!(mode, UploadMode::Append { .. });
        if append && remote.profile.lacks(Ability::Append) {
            return Err(RemoteError::found(
                ErrorKind::Unsupported,
                "the server does not allow APPE",
            ));
        }
        if let UploadMode::Patch { offset: 0, .. } = mode {
            let message = "byte 0 cannot be patched: STOR at offset 0 makes the file anew";
            return Err(RemoteError::found(ErrorKind::Unsupported, message));
        }
        let offset = if let UploadMode::Patch { offset, .. } = mode {
            offset
        } else {
            0
        };
        remote.unsettled.wait(path, remote.timeout);
        let name = if append { "APPE" } else { "STOR" };
        let transfer = remote.repeat(name, |lease, _| {
            if append {
                Transfer::append(lease, path)
            } else {
                Transfer::store(lease, path, offset)
            }
        });
        let transfer = transfer.inspect_err(|e| {
            if append && e.kind() == ErrorKind::Unsupported {
                remote.profile.learn_lack(Ability::Append);
            }
        })?;
        Ok(Self {
            remote: Arc::clone(remote),
            path: path.clone(),
            mode,
            _slot: slot,
            transfer: Some(transfer),
            sent: 0,
        })
    }

    /// Bytes accepted by `write` so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends all of `data`.
    ///
    /// # Errors
    /// What the server or the line said: if the data connection broke, the final reply is waited for
    /// (bounded), for it holds the reason (452, 552, 426 …). The upload is then over.
    pub fn write(&mut self, data: &[u8]) -> Result<(), RemoteError> {
        let Some(transfer) = &mut self.transfer else {
            return Err(RemoteError::found(
                ErrorKind::Failed,
                "the upload has failed before",
            ));
        };
        for piece in data.chunks(PIECE) {
            if let Err(error) = transfer.write_all(piece) {
                self.transfer = None;
                return Err(error.into());
            }
            self.sent += piece.len() as u64;
            self.remote.count_progress();
        }
        Ok(())
    }

    /// Ends the file, waits for the final 2xx, and compares SIZE with what it has to be now. A final
    /// reply that does not come in time is settled by SIZE on another session. Returns what the
    /// server has now.
    ///
    /// # Errors
    /// `Incomplete` if the size is another; the server's refusal; `TimedOut`, `Disconnected`.
    pub fn finish(mut self) -> Result<FileVersion, RemoteError> {
        let Some(transfer) = self.transfer.take() else {
            return Err(RemoteError::found(
                ErrorKind::Failed,
                "the upload has failed before",
            ));
        };
        let extra = Duration::from_secs(self.sent / BYTES_PER_EXTRA_SECOND);
        let time = self.remote.timeout.max(FINAL_REPLY) + extra;
        self.remote.awaiting_final.fetch_add(1, Ordering::Relaxed);
        let finished = transfer.finish(time);
        self.remote.awaiting_final.fetch_sub(1, Ordering::Relaxed);
        match finished {
            Ok((mut lease, _)) => {
                self.remote.count_progress();
                lease.set_limit(Some(self.remote.deadline()));
                match self.remote.version_on(&mut lease, &self.path) {
                    Ok(version) => self.compare(version),
                    Err(error) => {
                        drop(lease);
                        self.confirm_without_size(error)
                    }
                }
            }
            Err(error) if error.is_session_lost() || error.is_timeout() => {
                self.settle_lost_reply(error)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives up with RST. The session is cleaned up without making the caller wait.
    pub fn abandon(self) {
        // Done by `drop`.
    }

    fn expected_size(&self) -> u64 {
        match self.mode {
            UploadMode::Store => self.sent,
            UploadMode::Append { size } => size + self.sent,
            UploadMode::Patch { offset, size } => size.max(offset + self.sent),
        }
    }

    fn compare(&self, found: FileVersion) -> Result<FileVersion, RemoteError> {
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
    fn settle_lost_reply(&self, error: FtpError) -> Result<FileVersion, RemoteError> {
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
    fn confirm_without_size(&self, error: FtpError) -> Result<FileVersion, RemoteError> {
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

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(transfer) = self.transfer.take() {
            let given_up = settle::GivenUp::new(&self.remote, &self.path);
            settle::in_background(transfer.abandon(), given_up);
        }
    }
}
