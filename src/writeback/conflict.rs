//! What the server has is looked at before it is replaced: a change of somebody else is not overwritten.

use std::time::Duration;

use super::WriteError;
use super::writer::FileWriter;
use crate::ftp::RemotePath;
use crate::remote::{ErrorKind, FileVersion};

/// What the server was seen to have, or not to have, is not asked for alone for so long.
pub(super) const SEEN_FOR: Duration = Duration::from_secs(1);

impl FileWriter {
    /// Who wanted a new file does not overwrite what somebody else has made since. `tried`: an upload was begun
    /// before, and nobody knows how far it came.
    pub(super) fn check_new(&self, path: &RemotePath, tried: bool) -> Result<(), WriteError> {
        let seen_free = self.state.lock().seen_free;
        if seen_free.is_none_or(|seen| seen.elapsed() < SEEN_FOR) {
            return Ok(());
        }
        match self.context.remote.version(path) {
            // An empty one may be where an attempt of ours ended.
            Ok(found) if found.size == 0 && tried => Ok(()),
            Ok(_) => Err(WriteError::Conflict),
            Err(error) if error.kind().is_transient() => Err(error.into()),
            // A name that is free, or one that STOR finds fault with.
            Err(_) => Ok(()),
        }
    }

    /// Nobody else has changed the file since we looked at it.
    pub(super) fn check_base(
        &self,
        path: &RemotePath,
        base: Option<FileVersion>,
    ) -> Result<(), WriteError> {
        let Some(base) = base else { return Ok(()) };
        let patched = self.state.lock().patched;
        match self.context.remote.version(path) {
            Ok(now) if patched.is_some_and(|patched| !patched.may_be(now)) => {
                Err(WriteError::Conflict)
            }
            Ok(now) if now.agrees_with(base) => Ok(()),
            Ok(_) => Err(WriteError::Conflict),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => Err(WriteError::Conflict),
                ErrorKind::Unsupported => Ok(()),
                ErrorKind::Refused if self.is_gone(path) => Err(WriteError::Conflict),
                _ => Err(error.into()),
            },
        }
    }

    /// What a refusal without a reason leaves open.
    pub(super) fn is_gone(&self, path: &RemotePath) -> bool {
        let entry = self.context.remote.entry(path);
        entry.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    /// What is about to be replaced in place is the version that was changed here, or what an attempt of ours has left
    /// of it. Where it was heard that one began, that is what is there; who stores what was kept looks at that, too.
    pub(super) fn check_replaced(&self, path: &RemotePath) -> Result<(), WriteError> {
        let (base, replaced) = {
            let state = self.state.lock();
            // Who has begun with an empty file wants nothing of what is there.
            let is_free = (state.begun_in_place || state.supersedes_kept) && !state.guarded;
            let replaced = state.replaced.filter(|_| !is_free && state.base.is_none());
            (state.base.filter(|_| state.guarded), replaced)
        };
        if replaced.is_none() {
            return self.check_base(path, base);
        }
        self.context.remote.await_given_up(path);
        let now = match self.context.remote.version(path) {
            Err(error) if error.kind().is_transient() => return Err(error.into()),
            Err(_) => return Ok(()),
            Ok(now) => now,
        };
        if self.is_untouched(now) || self.has_begun(now)? {
            return Ok(());
        }
        Err(WriteError::Conflict)
    }
}
