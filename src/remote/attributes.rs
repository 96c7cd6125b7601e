//! Size, time, mode and free space: asking and setting.

use std::time::{SystemTime, UNIX_EPOCH};

use super::error::meaning;
use super::profile::Ability;
use super::{ErrorKind, FileVersion, Remote, RemoteError};
use crate::ftp::{FtpError, RemotePath, Session, VersionReplies};
use crate::pool::Lease;

/// Files asked about on one session: so long the server answers nobody else there.
const BATCH: usize = 2000;
/// So many commands repay the probe for pipelining.
const WORTH_A_PROBE: usize = 4;

impl Remote {
    /// Size and time of a file, from the server and now (SIZE and MDTM, one round trip).
    /// Follows symbolic links.
    ///
    /// # Errors
    /// `NotFound`, `Refused` (also for directories), `Unsupported` where the server has no SIZE.
    pub fn version(&self, path: &RemotePath) -> Result<FileVersion, RemoteError> {
        if self.profile.lacks(Ability::Size) {
            return Err(unsupported("SIZE"));
        }
        self.repeat("SIZE", |mut lease, _| self.version_on(&mut lease, path))
            .inspect_err(|e| {
                if e.kind() == ErrorKind::Unsupported {
                    self.profile.learn_lack(Ability::Size);
                }
            })
    }

    /// SIZE and MDTM on a session that the caller has.
    pub(super) fn version_on(
        &self,
        lease: &mut Lease,
        path: &RemotePath,
    ) -> Result<FileVersion, FtpError> {
        let (size, modified) = if self.version_in_one_segment(lease) {
            let (size, modified) = lease.size_and_modified(path)?;
            (size?, Some(modified))
        } else {
            let size = lease.size(path)?;
            let ask = !self.profile.lacks(Ability::Mdtm);
            (size, ask.then(|| lease.modified(path)))
        };
        let modified = self.told_time(path, modified)?;
        Ok(FileVersion { size, modified })
    }

    /// Whether SIZE and MDTM can go out together with what follows them.
    pub(super) fn version_in_one_segment(&self, lease: &Lease) -> bool {
        lease.experience().pipelining() == Some(true)
            && !self.profile.lacks(Ability::Size)
            && !self.profile.lacks(Ability::Mdtm)
    }

    /// What both replies tell.
    pub(super) fn told_version(
        &self,
        path: &RemotePath,
        (size, modified): VersionReplies,
    ) -> Result<FileVersion, FtpError> {
        let size = size?;
        let modified = self.told_time(path, Some(modified))?;
        Ok(FileVersion { size, modified })
    }

    /// Whether the file is what was expected; one of unknown size is believed to be.
    pub(super) fn is_still(
        &self,
        found: Result<FileVersion, FtpError>,
        expected: FileVersion,
    ) -> Result<bool, FtpError> {
        match found {
            Ok(found) => Ok(found.agrees_with(expected)),
            Err(e) if self.learn_if_unknown(Ability::Size, &e) => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// What an answer to MDTM tells, if it was asked.
    pub(super) fn told_time(
        &self,
        path: &RemotePath,
        answer: Option<Result<SystemTime, FtpError>>,
    ) -> Result<Option<SystemTime>, FtpError> {
        Ok(match answer {
            None => None,
            Some(Ok(time)) => Some(time),
            Some(Err(e)) if e.reply().is_some() => {
                self.learn_if_unknown(Ability::Mdtm, &e);
                None
            }
            Some(Err(e @ FtpError::Protocol { .. })) => {
                log::debug!("{path}: {e}");
                None
            }
            Some(Err(e)) => return Err(e),
        })
    }

    /// Exact modification times of many files (MDTM, batched); `None` where the server tells none.
    ///
    /// # Errors
    /// `Unsupported` where the server has no MDTM; a lost session that could not be replaced.
    pub fn modified_times(
        &self,
        paths: &[RemotePath],
    ) -> Result<Vec<Option<SystemTime>>, RemoteError> {
        let mut times = Vec::with_capacity(paths.len());
        for batch in paths.chunks(BATCH) {
            if self.profile.lacks(Ability::Mdtm) {
                return Err(unsupported("MDTM"));
            }
            // What a lost session has told already is not asked again.
            let mut known = Vec::with_capacity(batch.len());
            self.repeat("MDTM", |mut lease, _| {
                self.times_of(&mut lease, batch, &mut known)
            })?;
            times.append(&mut known);
        }
        Ok(times)
    }

    fn times_of(
        &self,
        lease: &mut Lease,
        paths: &[RemotePath],
        known: &mut Vec<Option<SystemTime>>,
    ) -> Result<(), FtpError> {
        let rest = paths.get(known.len()..).unwrap_or_default();
        let together = rest.iter().all(Session::fits_a_batch)
            && match lease.experience().pipelining() {
                Some(works) => works,
                None => rest.len() >= WORTH_A_PROBE && lease.probe_pipelining(),
            };
        if together {
            // All or none: where replies are fewer than questions, any of them may be another's.
            let mut told = Vec::with_capacity(rest.len());
            lease.modified_of_many(rest, |time| told.push(time))?;
            for time in told {
                known.push(self.time_or_none(time)?);
            }
            return Ok(());
        }
        // After a probe that failed this asks a broken session, and is repeated on another.
        for path in rest {
            let time = lease.modified(path);
            known.push(self.time_or_none(time)?);
            if self.profile.lacks(Ability::Mdtm) {
                known.resize(paths.len(), None);
                break;
            }
        }
        Ok(())
    }

    fn time_or_none(
        &self,
        time: Result<SystemTime, FtpError>,
    ) -> Result<Option<SystemTime>, FtpError> {
        match time {
            Ok(time) => Ok(Some(time)),
            Err(e @ FtpError::Refused { .. }) => {
                self.learn_if_unknown(Ability::Mdtm, &e);
                Ok(None)
            }
            Err(FtpError::Protocol { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Sets permission bits (SITE CHMOD, else MFF UNIX.mode).
    ///
    /// # Errors
    /// `Unsupported` where the server can neither; `Denied`, …
    pub fn set_mode(&self, path: &RemotePath, mode: u16) -> Result<(), RemoteError> {
        self.repeat("SITE CHMOD", |mut lease, _| {
            if !self.profile.lacks(Ability::Chmod) {
                match lease.change_mode(path, mode) {
                    Err(e) if self.learn_if_absent(Ability::Chmod, &e) => {}
                    other => return other.map(Some),
                }
            }
            if lease.features().has("MFF") && !self.profile.lacks(Ability::Mff) {
                match lease.change_mode_fact(path, mode) {
                    Err(e) if self.learn_if_absent(Ability::Mff, &e) => {}
                    other => return other.map(Some),
                }
            }
            Ok(None)
        })?
        .ok_or_else(|| unsupported("SITE CHMOD"))
    }

    /// Sets the modification time, to the second (MFMT, else MDTM with two arguments).
    ///
    /// # Errors
    /// `Unsupported` where the server can neither; `Denied`, …
    pub fn set_modified(&self, path: &RemotePath, time: SystemTime) -> Result<(), RemoteError> {
        self.repeat("MFMT", |mut lease, _| {
            if lease.features().has("MFMT") && !self.profile.lacks(Ability::Mfmt) {
                match lease.set_modified(path, time) {
                    Err(e) if ordinary(time) && self.learn_if_absent(Ability::Mfmt, &e) => {}
                    other => return other.map(Some),
                }
            }
            if self.profile.lacks(Ability::MdtmSet) || self.profile.lacks(Ability::Mdtm) {
                return Ok(None);
            }
            self.set_by_mdtm(&mut lease, path, time)
        })?
        .ok_or_else(|| unsupported("MFMT"))
    }

    /// MDTM with two arguments. Servers that do not know it look for a file whose name begins with
    /// the time: its refusal then proves nothing about `path`, and an acceptance is believed only
    /// once the time was seen to be set. `None` where it cannot be done this way.
    fn set_by_mdtm(
        &self,
        lease: &mut Lease,
        path: &RemotePath,
        time: SystemTime,
    ) -> Result<Option<()>, FtpError> {
        let set = lease.set_modified_by_mdtm(path, time);
        if self.profile.is_proven(Ability::MdtmSet) {
            return set.map(Some);
        }
        match set {
            Ok(()) => {}
            Err(e) if ordinary(time) && self.learn_if_absent(Ability::MdtmSet, &e) => {
                return Ok(None);
            }
            Err(FtpError::Refused { .. }) => {
                // Is it the form, or is it this file?
                if lease.modified(path).is_ok() {
                    self.profile.time_was_refused();
                }
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        let Ok(found) = lease.modified(path) else {
            // A directory, for most servers: neither proven nor refuted.
            return Ok(None);
        };
        let version = |modified| FileVersion {
            size: 0,
            modified: Some(modified),
        };
        if version(time).agrees_with(version(found)) {
            self.profile.learn_proven(Ability::MdtmSet);
            return Ok(Some(()));
        }
        self.profile.learn_lack(Ability::MdtmSet);
        Ok(None)
    }

    /// Free bytes on the server (AVBL); `None` where it does not say. Never fails.
    pub fn available_space(&self, dir: &RemotePath) -> Option<u64> {
        // Nobody is to wait for a session that has nothing to be asked.
        let offered = self.pool.experience().features();
        if self.profile.lacks(Ability::Avbl) || offered.is_some_and(|f| !f.has("AVBL")) {
            return None;
        }
        let answer = self.repeat("AVBL", |mut lease, _| {
            if !lease.features().has("AVBL") {
                self.profile.learn_lack(Ability::Avbl);
                return Ok(None);
            }
            match lease.available(dir) {
                Err(e) if self.learn_if_absent(Ability::Avbl, &e) => Ok(None),
                other => other.map(Some),
            }
        });
        answer.unwrap_or_else(|e| {
            log::debug!("AVBL {dir}: {e}");
            None
        })
    }

    /// Remembers that the server does not know a command, if that is what it said.
    pub(super) fn learn_if_unknown(&self, ability: Ability, error: &FtpError) -> bool {
        let unknown = error.is_unknown_command();
        if unknown {
            self.profile.learn_lack(ability);
        }
        unknown
    }

    /// The same for commands with an argument of a form of their own, where 501 says as much, unless
    /// its words give another reason: ProFTPD refuses the time of somebody else's file with it.
    fn learn_if_absent(&self, ability: Ability, error: &FtpError) -> bool {
        let malformed = error.code() == Some(501) && meaning(error) == ErrorKind::InvalidName;
        let absent = error.is_unknown_command() || malformed;
        if absent {
            self.profile.learn_lack(ability);
        }
        absent
    }
}

/// A time that every server can store: a refusal of another one tells nothing of the command.
fn ordinary(time: SystemTime) -> bool {
    const FIRST: u64 = 86_400;
    const LAST: u64 = 0x7fff_ffff;
    let since = time.duration_since(UNIX_EPOCH).map(|since| since.as_secs());
    since.is_ok_and(|seconds| (FIRST..LAST).contains(&seconds))
}

pub(super) fn unsupported(what: &str) -> RemoteError {
    RemoteError::found(ErrorKind::Unsupported, format!("the server has no {what}"))
}
