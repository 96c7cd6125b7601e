//! `Upload`: bytes to a path; finished and confirmed, or abandoned.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::profile::Ability;
use super::settle;
use super::{ErrorKind, FileVersion, Progress, Remote, RemoteError, UploadSlot};
use crate::ftp::{Answers, Ending, FtpError, RemotePath, Transfer};
use crate::pool::Lease;

/// Some servers hash or scan a file before they answer 226.
const FINAL_REPLY: Duration = Duration::from_secs(60);
const BYTES_PER_EXTRA_SECOND: u64 = 100_000_000;

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

/// What a file is to have once it is stored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Permission bits.
    pub mode: Option<u16>,
    /// The modification time.
    pub modified: Option<SystemTime>,
    /// Nothing was there before: while the upload is under way its size is that of what has arrived.
    pub is_fresh: bool,
}

/// What the server has after an upload.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// Size and time.
    pub version: FileVersion,
    /// The mode, if it was wanted and is set.
    pub mode: Option<u16>,
    /// The time, if it was wanted and is set.
    pub modified: Option<SystemTime>,
}

impl Stored {
    fn plain(version: FileVersion) -> Self {
        Self {
            version,
            mode: None,
            modified: None,
        }
    }
}

/// Bytes on their way into one file. Never retried here: the caller has them staged and decides.
///
/// Dropped or abandoned unfinished, it ends with RST, so that the server does not take
/// half a file for a whole one.
#[derive(Debug)]
pub struct Upload {
    pub(super) remote: Arc<Remote>,
    pub(super) path: RemotePath,
    pub(super) mode: UploadMode,
    pub(super) slot: UploadSlot,
    /// `None` once it is over.
    transfer: Option<Transfer<Lease>>,
    pub(super) sent: u64,
    /// Bytes of the old content, where it is replaced in place.
    pub(super) before: Option<u64>,
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

    /// As [`Upload::open`], if the file still is what was expected: SIZE and MDTM go out in the same segment where
    /// the server allows it. One that has changed gets no byte. One that is gone meanwhile comes back empty there, so
    /// it is to have been seen a moment ago.
    ///
    /// # Errors
    /// As there, and `Changed`; a refusal of SIZE.
    pub fn open_checked(
        remote: &Arc<Remote>,
        path: &RemotePath,
        mode: UploadMode,
        expected: FileVersion,
    ) -> Result<Self, RemoteError> {
        Self::begun(remote.upload_slot()?, remote, path, mode, Some(expected))
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
        Self::begun(slot, remote, path, mode, None)
    }

    fn begun(
        slot: UploadSlot,
        remote: &Arc<Remote>,
        path: &RemotePath,
        mode: UploadMode,
        expected: Option<FileVersion>,
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
        let transfer = remote.repeat(name, |mut lease, _| {
            let expected = match expected {
                Some(expected) if !remote.version_in_one_segment(&lease) => {
                    if !remote.is_still(remote.version_on(&mut lease, path), expected)? {
                        return Ok(None);
                    }
                    None
                }
                other => other,
            };
            let mut transfer = match (append, expected) {
                (true, None) => Transfer::append(lease, path)?,
                (true, Some(_)) => Transfer::append_checked(lease, path)?,
                (false, None) => Transfer::store(lease, path, offset)?,
                (false, Some(_)) => Transfer::store_checked(lease, path, offset)?,
            };
            if let (Some(expected), Some(replies)) = (expected, transfer.take_version()) {
                let found = remote.told_version(path, replies);
                match remote.is_still(found, expected) {
                    Ok(true) => {}
                    otherwise => {
                        // Given up with RST, some servers delete the file (vsftpd, ProFTPD).
                        if let Err(error) = transfer.finish(remote.timeout) {
                            log::debug!("{path}: {name} without a byte: {error}");
                        }
                        return match otherwise {
                            // Who was told its size before is told now that there is none.
                            Err(FtpError::Refused { reply, .. }) if reply.code() >= 500 => Ok(None),
                            otherwise => otherwise.map(|_| None),
                        };
                    }
                }
            }
            Ok(Some(transfer))
        });
        let transfer = transfer.inspect_err(|e| {
            if append && e.kind() == ErrorKind::Unsupported {
                remote.profile.learn_lack(Ability::Append);
            }
        })?;
        let Some(transfer) = transfer else {
            let message = format!("{path} is another version on the server by now");
            return Err(RemoteError::found(ErrorKind::Changed, message));
        };
        Ok(Self {
            remote: Arc::clone(remote),
            path: path.clone(),
            mode,
            slot,
            transfer: Some(transfer),
            sent: 0,
            before: None,
        })
    }

    /// As [`Upload::open_in`] for STOR, with all that the file is to have: on servers that [take it so](Remote::takes_all_at_once),
    /// it goes out with the command, so that only [`Upload::finish`] is left. `content` is small.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(
        slot: UploadSlot,
        remote: &Arc<Remote>,
        path: &RemotePath,
        content: &[u8],
    ) -> Result<Self, RemoteError> {
        remote.unsettled.wait(path, remote.timeout);
        let transfer =
            remote.repeat("STOR", |lease, _| Transfer::store_all(lease, path, content))?;
        Ok(Self {
            remote: Arc::clone(remote),
            path: path.clone(),
            mode: UploadMode::Store,
            slot,
            transfer: Some(transfer),
            sent: content.len() as u64,
            before: None,
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
        for piece in data.chunks(PIECE) {
            self.on_line(|line| line.write_all(piece).map(|()| piece.len()))?;
        }
        Ok(())
    }

    /// Whether [`Upload::send_file`] costs less than reading the file.
    pub fn takes_files(&self) -> bool {
        self.transfer.as_ref().is_some_and(Transfer::takes_files)
    }

    /// Sends bytes of a file, at most `count`. Returns how many these were: less than `count` at
    /// the end of the file.
    ///
    /// # Errors
    /// As [`Upload::write`].
    pub fn send_file(
        &mut self,
        file: &File,
        offset: u64,
        count: usize,
    ) -> Result<usize, RemoteError> {
        let mut done = 0;
        while done < count {
            let piece = PIECE.min(count - done);
            match self.on_line(|line| line.send_file(file, offset + done as u64, piece))? {
                0 => break,
                sent => done += sent,
            }
        }
        Ok(done)
    }

    /// One step on the line, which sends so many bytes; a failed one ends the upload.
    fn on_line(
        &mut self,
        step: impl FnOnce(&mut Transfer<Lease>) -> Result<usize, FtpError>,
    ) -> Result<usize, RemoteError> {
        let Some(transfer) = &mut self.transfer else {
            return Err(RemoteError::found(
                ErrorKind::Failed,
                "the upload has failed before",
            ));
        };
        let sent = match step(transfer) {
            Ok(sent) => sent,
            Err(error) => {
                self.give_up();
                return Err(error.into());
            }
        };
        self.sent += sent as u64;
        self.slot.progress.one();
        self.remote.count_progress();
        Ok(sent)
    }

    /// Ends the file, waits for the final 2xx, and compares SIZE with what it has to be now. A final
    /// reply that does not come in time is settled by SIZE on another session. Returns what the
    /// server has now.
    ///
    /// # Errors
    /// `Incomplete` if the size is another; the server's refusal; `TimedOut`, `Disconnected`.
    pub fn finish(self) -> Result<FileVersion, RemoteError> {
        self.finish_with(Wanted::default())
            .map(|stored| stored.version)
    }

    /// The same, and sets mode and time on the way, where that costs no round trip.
    ///
    /// # Errors
    /// As there; what could not be set is no error.
    pub fn finish_with(mut self, wanted: Wanted) -> Result<Stored, RemoteError> {
        let Some(transfer) = self.transfer.take() else {
            return Err(RemoteError::found(
                ErrorKind::Failed,
                "the upload has failed before",
            ));
        };
        let extra = Duration::from_secs(self.sent / BYTES_PER_EXTRA_SECOND);
        let time = self.remote.timeout.max(FINAL_REPLY) + extra;
        let behind = self.remote.behind(&self.path, wanted);
        let waits = [&self.remote.progress, &*self.slot.progress].map(Progress::awaits_final);
        let finished = match behind {
            Some(behind) => transfer.finish_and_ask(&self.path, behind, time),
            None => transfer
                .finish(time)
                .map(|(lease, _)| (lease, Ending::Unasked)),
        };
        drop(waits);
        let (mut lease, ending) = match finished {
            Ok(finished) => finished,
            Err(error) if error.is_session_lost() || error.is_timeout() => {
                return self.settle_lost_reply(error).map(Stored::plain);
            }
            Err(error) => return Err(error.into()),
        };
        self.remote.count_progress();
        lease.set_limit(Some(self.remote.deadline()));
        let (version, mode, time) = match ending {
            Ending::InOrder(answers) => {
                if behind.is_some_and(|behind| behind.is_trial) {
                    self.remote.profile.learn_proven(Ability::InOrder);
                }
                self.told(&mut lease, *answers, true)
            }
            Ending::Early(answers) => {
                self.remote.profile.learn_lack(Ability::InOrder);
                let whole = answers.size.as_ref().ok() == Some(&self.expected_size());
                self.told(&mut lease, *answers, wanted.is_fresh && whole)
            }
            Ending::Unclear => {
                drop(lease);
                self.remote.profile.learn_lack(Ability::Behind);
                let unclear = FtpError::Broken { verb: "STOR" };
                return self.settle_lost_reply(unclear).map(Stored::plain);
            }
            Ending::Unasked => {
                let version = self.remote.version_on(&mut lease, &self.path);
                (version, false, false)
            }
        };
        match version {
            Ok(version) => Ok(Stored {
                version: self.compare(version)?,
                mode: wanted.mode.filter(|_| mode),
                modified: wanted.modified.filter(|_| time),
            }),
            Err(error) => {
                drop(lease);
                self.confirm_without_size(error).map(Stored::plain)
            }
        }
    }

    /// The answers to what was asked behind the upload, if they are final; else it is asked again. With
    /// whether mode and time were set.
    fn told(
        &self,
        lease: &mut Lease,
        answers: Answers,
        is_final: bool,
    ) -> (Result<FileVersion, FtpError>, bool, bool) {
        let profile = &self.remote.profile;
        if !profile.is_proven(Ability::Behind) {
            // The trial, which has asked for the size alone.
            match &answers.size {
                Ok(_) => profile.learn_proven(Ability::Behind),
                Err(_) => profile.learn_lack(Ability::Behind),
            }
        } else if is_final {
            return self.remote.read_answers(&self.path, answers);
        }
        (
            self.remote.version_on(lease, &self.path),
            matches!(answers.mode, Some(Ok(()))),
            false,
        )
    }

    fn give_up(&mut self) {
        if let Some(transfer) = self.transfer.take() {
            let given_up = settle::GivenUp::new(&self.remote, &self.path);
            settle::in_background(transfer.abandon(), given_up);
        }
    }

    /// Ends it without a byte, in an orderly way: given up with RST, some servers delete the file (vsftpd, ProFTPD).
    pub fn end_untouched(self) {
        let path = self.path.clone();
        if let Err(error) = self.finish() {
            log::debug!("{path}: an upload without a byte: {error}");
        }
    }

    /// Gives up with RST. The session is cleaned up without making the caller wait.
    pub fn abandon(self) {
        // Done by `drop`.
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.give_up();
    }
}
