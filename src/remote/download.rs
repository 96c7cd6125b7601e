//! `Download`: the bytes of a file from an offset on; survives a lost connection.

use std::sync::Arc;
use std::time::Duration;

use super::settle;
use super::{ErrorKind, FileVersion, Remote, RemoteError};
use crate::ftp::{FtpError, RemotePath, Transfer};
use crate::pool::Lease;
use crate::status::Reading;

/// Failures in a row, without a byte between them, that are answered by resuming.
const MAX_FAILURES: u32 = 3;

/// The bytes of one file from an offset on, in order.
///
/// It holds a session until its end. A lost connection is resumed at the same byte on another
/// session, after checking that the file is still the same.
#[derive(Debug)]
pub struct Download {
    remote: Arc<Remote>,
    path: RemotePath,
    expected: Option<FileVersion>,
    start: u64,
    position: u64,
    failures: u32,
    /// More bytes came than the expected file has.
    longer: bool,
    state: State,
    report: Reading,
}

/// Whether the file has to be the expected one before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Its version has just been asked.
    Nothing,
    /// SIZE and MDTM have to agree, in the same round trip where the server allows it.
    Version,
}

#[derive(Debug)]
enum State {
    Running(Box<Transfer<Lease>>),
    /// To be resumed because of this.
    Interrupted(FtpError),
    Ended,
    /// The data has ended; the final reply is still out.
    Drained(Box<Transfer<Lease>>),
}

impl Download {
    /// Begins to read `path` at byte `offset` (REST, RETR). `expected` is what the file was when it
    /// was opened; `None` if nobody knows its size: then the end is where the server says it is.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `IsDirectory`, `Refused`, …
    pub fn open(
        remote: &Arc<Remote>,
        path: &RemotePath,
        offset: u64,
        expected: Option<FileVersion>,
    ) -> Result<Self, RemoteError> {
        Self::begun(remote, path, offset, expected, Check::Nothing)
    }

    /// As [`Download::open`], if the file still is what was expected: SIZE and MDTM go out in the same segment where
    /// the server allows it.
    ///
    /// # Errors
    /// As there, and `Changed`.
    pub fn open_checked(
        remote: &Arc<Remote>,
        path: &RemotePath,
        offset: u64,
        expected: Option<FileVersion>,
    ) -> Result<Self, RemoteError> {
        Self::begun(remote, path, offset, expected, Check::Version)
    }

    fn begun(
        remote: &Arc<Remote>,
        path: &RemotePath,
        offset: u64,
        expected: Option<FileVersion>,
        check: Check,
    ) -> Result<Self, RemoteError> {
        let mut download = Self {
            remote: Arc::clone(remote),
            path: path.clone(),
            expected,
            start: offset,
            position: offset,
            failures: 0,
            longer: false,
            state: State::Ended,
            report: remote
                .board()
                .reading(path.to_string(), offset, expected.map(|e| e.size)),
        };
        download.begin(check)?;
        Ok(download)
    }

    /// The file is elsewhere now: that is where a broken download goes on.
    pub fn set_path(&mut self, path: &RemotePath) {
        if self.path != *path {
            self.path = path.clone();
        }
    }

    /// Where the next `read` begins, in bytes from the start of the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The shortest time in which the server has answered, if that is known now.
    pub fn round_trip(&self) -> Option<Duration> {
        match &self.state {
            State::Running(transfer) | State::Drained(transfer) => transfer.round_trip(),
            State::Interrupted(_) | State::Ended => None,
        }
    }

    /// Reads what has arrived, at least one byte. 0 is the end of the file: the server has said so
    /// with a final 2xx, and the byte count is the expected one.
    ///
    /// # Errors
    /// `Changed` if the file is not the expected one any more (also when it is longer or shorter);
    /// `TimedOut`, `Disconnected` if it could not be resumed. After an error the download is over.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, RemoteError> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.longer {
            return Err(self.changed("longer"));
        }
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Interrupted(error) => self.resume(error)?,
                State::Drained(transfer) => self.conclude(*transfer)?,
                State::Running(mut transfer) => match transfer.read(buf) {
                    Ok(0) => self.conclude(*transfer)?,
                    Ok(count) => {
                        self.failures = 0;
                        self.remote.count_progress();
                        let count = self.clip(count)?;
                        self.position += count as u64;
                        self.report.at(self.position);
                        self.state = State::Running(transfer);
                        return Ok(count);
                    }
                    Err(error) => {
                        drop(transfer);
                        self.interrupted(error)?;
                    }
                },
            }
        }
    }

    /// All expected bytes have been read: that no more of them come. Does not wait for the server's final
    /// word; the next `read` does.
    ///
    /// # Errors
    /// `Changed` if the file is longer by now.
    pub fn check_end(&mut self) -> Result<(), RemoteError> {
        if self.longer {
            // They came together with the last ones.
            return Err(self.changed("longer"));
        }
        if let State::Running(mut transfer) = std::mem::replace(&mut self.state, State::Ended) {
            match transfer.read(&mut [0]) {
                Ok(0) => {
                    if self.is_whole() {
                        transfer.prepare_next();
                    }
                    self.state = State::Drained(transfer);
                }
                Ok(_) => return Err(self.changed("longer")),
                // Every byte that the file has was received.
                Err(error) => log::debug!("after the last byte of a download: {error}"),
            }
        }
        Ok(())
    }

    /// Stops in the middle. The session is cleaned up without making the caller wait.
    pub fn abandon(self) {
        // Done by `drop`.
    }

    /// As [`Download::abandon`], but waits until the session is free again, about a round trip: for somebody who
    /// needs it for his next download.
    pub fn leave(mut self) {
        let state = std::mem::replace(&mut self.state, State::Ended);
        if let State::Running(transfer) | State::Drained(transfer) = state {
            transfer.abandon().settle();
        }
    }

    fn is_whole(&self) -> bool {
        self.expected.is_some_and(|e| self.position == e.size)
    }

    /// The data connection has ended: what does the server say of it?
    fn conclude(&mut self, mut transfer: Transfer<Lease>) -> Result<(), RemoteError> {
        if self.is_whole() {
            transfer.prepare_next();
        }
        match transfer.finish(self.remote.timeout) {
            Ok((lease, _)) => {
                drop(lease);
                match self.expected {
                    Some(expected) if self.position < expected.size => {
                        // A final 2xx for half a file: cut on the way, or shorter by now.
                        self.interrupted(FtpError::TransferBroke {
                            verb: "RETR",
                            source: std::io::ErrorKind::UnexpectedEof.into(),
                        })
                    }
                    _ => Ok(()),
                }
            }
            Err(error) => self.interrupted(error),
        }
    }

    /// Decides whether an error is the end, or to be answered by resuming.
    fn interrupted(&mut self, error: FtpError) -> Result<(), RemoteError> {
        // 554: the offset lies beyond the end. At the expected end that is the end itself.
        let at_end = self.expected.is_some_and(|e| self.position >= e.size);
        if error.code() == Some(554) && at_end {
            return Ok(());
        }
        self.failures += 1;
        let transient = error.is_session_lost()
            || error.is_data_lost()
            || error.is_timeout()
            || matches!(error.code(), Some(400..=499));
        let patience = match error.is_timeout() {
            _ if self.remote.hard => u32::MAX,
            true => 1,
            false => MAX_FAILURES,
        };
        if !transient || self.failures > patience {
            let (path, failures, position) = (&self.path, self.failures, self.position);
            log::info!("RETR {path}: {error}; failure {failures}, giving up at byte {position}");
            return Err(error.into());
        }
        self.state = State::Interrupted(error);
        Ok(())
    }

    /// Goes on at the same byte on another session, if it is still the same file.
    fn resume(&mut self, error: FtpError) -> Result<(), RemoteError> {
        log::info!(
            "RETR {}: {error}; failure {}, resuming at byte {}",
            self.path,
            self.failures,
            self.position
        );
        // Where nobody has seen a byte there is nothing that could be mixed up.
        if self.expected.is_none() && self.position > self.start {
            return Err(error.into());
        }
        self.begin(Check::Version)
    }

    fn begin(&mut self, check: Check) -> Result<(), RemoteError> {
        let (path, position) = (&self.path, self.position);
        let expected = self.expected.filter(|_| check == Check::Version);
        let transfer = self.remote.repeat("RETR", |lease, _| match expected {
            None => Transfer::retrieve(lease, path, position).map(Some),
            Some(expected) => self.retrieve_if(lease, expected),
        });
        match transfer {
            Ok(Some(transfer)) => {
                self.state = State::Running(Box::new(transfer));
                Ok(())
            }
            Ok(None) => Err(self.changed("another version")),
            // Pure-FTPd, ProFTPD and pyftpdlib refuse offsets beyond the end, where others send
            // nothing: the same thing.
            Err(e) if e.code() == Some(554) && self.expected.is_none() && position > 0 => Ok(()),
            Err(e) if e.code() == Some(554) => Err(self.changed("shorter")),
            Err(e) => Err(e),
        }
    }

    /// The transfer, if the file still is what it was when it was opened.
    fn retrieve_if(
        &self,
        mut lease: Lease,
        expected: FileVersion,
    ) -> Result<Option<Transfer<Lease>>, FtpError> {
        let (remote, path) = (&self.remote, &self.path);
        if remote.version_in_one_segment(&lease) {
            let mut transfer = Transfer::retrieve_checked(lease, path, self.position)?;
            let found = match transfer.take_version() {
                Some(replies) => remote.told_version(path, replies)?,
                None => expected,
            };
            if expected.agrees_with(found) {
                return Ok(Some(transfer));
            }
            settle::in_background(transfer.abandon(), ());
            return Ok(None);
        }
        match remote.version_on(&mut lease, path) {
            Ok(found) if !expected.agrees_with(found) => return Ok(None),
            // It has no SIZE: the bytes that come are all there is.
            Err(e) if e.is_unknown_command() => {}
            Err(e) => return Err(e),
            Ok(_) => {}
        }
        Transfer::retrieve(lease, path, self.position).map(Some)
    }

    /// How many of the bytes that came belong to the expected file. One that has grown, as a log does,
    /// gives its old bytes first, and only then the error.
    fn clip(&mut self, count: usize) -> Result<usize, RemoteError> {
        let Some(expected) = self.expected else {
            return Ok(count);
        };
        let left = expected.size.saturating_sub(self.position);
        match usize::try_from(left) {
            Ok(0) => Err(self.changed("longer")),
            Ok(left) => {
                self.longer = count > left;
                Ok(count.min(left))
            }
            Err(_) => Ok(count),
        }
    }

    fn changed(&self, how: &str) -> RemoteError {
        RemoteError::found(
            ErrorKind::Changed,
            format!("{} is {how} on the server by now", self.path),
        )
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Ended);
        if let State::Running(transfer) | State::Drained(transfer) = state {
            settle::in_background(transfer.abandon(), ());
        }
    }
}
