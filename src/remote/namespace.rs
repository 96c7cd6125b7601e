//! Entering, making, removing and renaming.

use super::attributes::unsupported;
use super::profile::Ability;
use super::{ErrorKind, Remote, RemoteError};
use crate::ftp::{FtpError, RemotePath};
use crate::pool::Lease;
use crate::workers::regardless;

impl Remote {
    /// Whether `path` is a directory that we may enter (CWD).
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `Denied`, or `Refused` where the server does not say which.
    pub fn check_directory(&self, path: &RemotePath) -> Result<(), RemoteError> {
        self.repeat("CWD", |mut lease, _| lease.enter(path))
    }

    /// Makes a directory (MKD).
    ///
    /// # Errors
    /// `Exists`, `Denied`, `Refused`, …
    pub fn make_directory(&self, path: &RemotePath) -> Result<(), RemoteError> {
        self.repeat("MKD", |mut lease, attempt| {
            match lease.make_directory(path) {
                // The attempt whose answer was lost has done it.
                Err(FtpError::Refused { .. }) if attempt.unsure && lease.enter(path).is_ok() => {
                    Ok(())
                }
                other => other,
            }
        })
    }

    /// As [`Remote::make_directory`], for one that is to have the mode `wanted`; `given` is the mode that the server
    /// gives to new ones, if that is known. Returns the mode that it has, if it is `wanted` for sure: on servers that
    /// change their umask for it. Else the caller sees to it.
    ///
    /// # Errors
    /// As there.
    pub fn make_directory_as(
        &self,
        path: &RemotePath,
        wanted: u16,
        given: Option<u16>,
    ) -> Result<Option<u16>, RemoteError> {
        // Bits are only added: a default ACL of the parent would let through what a umask has to take away.
        let adds = |given: &u16| wanted != *given && wanted & given == *given && wanted <= 0o777;
        let lacks = self.profile.lacks(Ability::Umask);
        let Some(given) = given.filter(|given| adds(given) && !lacks) else {
            return self.make_directory(path).map(|()| None);
        };
        let mut masked = None;
        self.repeat("MKD", |mut lease, attempt| {
            masked = None;
            let made = match self.umask(&mut lease, given)? {
                Some(own) => lease
                    .make_directory_masked(path, 0o777 & !wanted, own)
                    .map(|accepted| masked = Some(accepted)),
                None => lease.make_directory(path),
            };
            match made {
                // The attempt whose answer was lost has done it.
                Err(FtpError::Refused { .. }) if attempt.unsure && lease.enter(path).is_ok() => {
                    Ok(())
                }
                other => other,
            }
        })?;
        match masked {
            None => return Ok(None),
            Some(true) if self.profile.is_proven(Ability::Umask) => return Ok(Some(wanted)),
            Some(true) => match self.entry(path).map(|entry| entry.mode) {
                Ok(mode) if mode == Some(wanted) => {
                    self.profile.learn_proven(Ability::Umask);
                    return Ok(mode);
                }
                Ok(_) => {}
                Err(error) => {
                    log::debug!("{path}: its mode is unknown: {error}");
                    return Ok(None);
                }
            },
            Some(false) => {}
        }
        self.profile.learn_lack(Ability::Umask);
        Ok(None)
    }

    /// The umask that a session has and has to keep, if it can be another one for a moment. It is known to be one that
    /// makes directories as the server makes them.
    fn umask(&self, lease: &mut Lease, given: u16) -> Result<Option<u16>, FtpError> {
        if lease.experience().pipelining() != Some(true) {
            return Ok(None);
        }
        if let Some(own) = self.profile.umask.get() {
            return Ok(Some(*own));
        }
        match lease.umask() {
            Ok(own) if 0o777 & !own == given => Ok(Some(*self.profile.umask.get_or_init(|| own))),
            Ok(_) | Err(FtpError::Refused { .. } | FtpError::Protocol { .. }) => {
                self.profile.learn_lack(Ability::Umask);
                Ok(None)
            }
            Err(lost) => Err(lost),
        }
    }

    /// Deletes a file (DELE). The caller knows that it is no directory: some servers would remove it.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Refused`, …
    pub fn remove_file(&self, path: &RemotePath) -> Result<(), RemoteError> {
        self.repeat("DELE", |mut lease, attempt| match lease.remove_file(path) {
            Err(e @ FtpError::Refused { .. }) if attempt.unsure => {
                unless_gone(lease.size(path).map(drop), e)
            }
            other => other,
        })
    }

    /// Removes an empty directory (RMD). The caller knows that it is no file.
    ///
    /// # Errors
    /// `NotEmpty`, `NotFound`, `Denied`, `Refused`, …
    pub fn remove_directory(&self, path: &RemotePath) -> Result<(), RemoteError> {
        self.repeat("RMD", |mut lease, attempt| {
            match lease.remove_directory(path) {
                Err(e @ FtpError::Refused { .. }) if attempt.unsure => {
                    unless_gone(lease.enter(path), e)
                }
                other => other,
            }
        })
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
        from: &RemotePath,
        to: &RemotePath,
        backup: Option<&RemotePath>,
    ) -> Result<(), RemoteError> {
        let Some(backup) = backup else {
            return self.rename_once(from, to);
        };
        let refusal = if self.profile.lacks(Ability::RenameOver) {
            None
        } else {
            match self.rename_once(from, to) {
                Err(e) if may_be_the_old_one(&e) => Some(e),
                other => {
                    if other.is_ok() {
                        self.profile.learn_proven(Ability::RenameOver);
                    }
                    return other;
                }
            }
        };
        if self.profile.is_proven(Ability::RenameOver)
            && let Some(refusal) = refusal
        {
            // It does elsewhere, so the reason is another one.
            return Err(refusal);
        }
        self.rename_around(from, to, backup)?;
        self.profile.learn_lack(Ability::RenameOver);
        Ok(())
    }

    /// Whether this backup of a rename that succeeded could not be deleted.
    pub fn is_left_behind(&self, backup: &RemotePath) -> bool {
        self.left_behind.lock().contains(backup)
    }

    /// Old one aside, new one in its place, old one away.
    fn rename_around(
        &self,
        from: &RemotePath,
        to: &RemotePath,
        backup: &RemotePath,
    ) -> Result<(), RemoteError> {
        if let Err(error) = self.rename_once(to, backup) {
            if error.kind().is_transient() {
                // It may have happened, and then `to` is not there; if not, this is refused.
                let back = regardless(|| self.rename_once(backup, to));
                log::debug!("{from} to {to}: {error}; {backup} put back: {back:?}");
            }
            return Err(error);
        }
        regardless(|| self.rename_into_gap(from, to, backup))
    }

    fn rename_into_gap(
        &self,
        from: &RemotePath,
        to: &RemotePath,
        backup: &RemotePath,
    ) -> Result<(), RemoteError> {
        if let Err(error) = self.rename_once(from, to) {
            log::info!("renaming {from} to {to}: {error}; putting the old {to} back");
            if let Err(lost) = self.rename_once(backup, to) {
                log::error!("the old content of {to} is now in {backup}: {lost}");
            }
            return Err(error);
        }
        if let Err(left) = self.remove_file(backup) {
            log::warn!("the replaced content of {to} stays behind as {backup}: {left}");
            self.left_behind.lock().insert(backup.clone());
        }
        Ok(())
    }

    fn rename_once(&self, from: &RemotePath, to: &RemotePath) -> Result<(), RemoteError> {
        self.repeat("RNTO", |mut lease, attempt| match lease.rename(from, to) {
            Err(e @ FtpError::Refused { .. }) if attempt.unsure => {
                if exists(&mut lease, to) && !exists(&mut lease, from) {
                    return Ok(());
                }
                Err(e)
            }
            other => other,
        })
    }

    /// Makes a symbolic link (SITE SYMLINK).
    ///
    /// # Errors
    /// `Unsupported` nearly everywhere, and for targets that the server does not link to.
    pub fn make_symlink(&self, target: &[u8], path: &RemotePath) -> Result<(), RemoteError> {
        if self.profile.lacks(Ability::Symlink) {
            return Err(unsupported("SITE SYMLINK"));
        }
        self.repeat("SITE SYMLINK", |mut lease, _| {
            match lease.make_symlink(target, path) {
                Err(e) if self.learn_if_unknown(Ability::Symlink, &e) => Ok(None),
                // ProFTPD makes no links to what is not there, and takes no blank in a name.
                Err(FtpError::InvalidArgument(_)) => Ok(None),
                Err(FtpError::Refused { reply, .. }) if reply.mentions(&["no such file"]) => {
                    Ok(None)
                }
                other => other.map(Some),
            }
        })?
        .ok_or_else(|| unsupported("SITE SYMLINK"))
    }
}

/// Whether a refused rename may have been refused because the new name is taken.
fn may_be_the_old_one(error: &RemoteError) -> bool {
    let kinds = [
        ErrorKind::Refused,
        ErrorKind::Exists,
        ErrorKind::Denied,
        ErrorKind::Busy,
        ErrorKind::Failed,
    ];
    error.refused_verb() == Some("RNTO") && kinds.contains(&error.kind())
}

/// After an attempt whose answer was lost: what is gone has been removed by it.
fn unless_gone(still_there: Result<(), FtpError>, error: FtpError) -> Result<(), FtpError> {
    match still_there {
        Err(e @ FtpError::Refused { .. }) if !e.is_unknown_command() => Ok(()),
        _ => Err(error),
    }
}

fn exists(lease: &mut Lease, path: &RemotePath) -> bool {
    lease.size(path).is_ok() || lease.enter(path).is_ok()
}
