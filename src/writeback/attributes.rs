//! Mode and time of a file whose content has just been stored.

use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use super::commit::{Arrived, Snapshot};
use super::writer::{Committed, FileWriter};
use super::{UNKNOWN_MODE, UNTOLD_MODE};
use crate::ftp::RemotePath;
use crate::remote::{ErrorKind, RemoteError};

impl FileWriter {
    /// The content is on the server: mode and time follow, and the state learns what is there.
    pub(super) fn finish(
        &self,
        snapshot: &Snapshot,
        arrived: &Arrived,
    ) -> Result<Committed, RemoteError> {
        let mut version = arrived.version;
        let mode = self.settle_mode(&snapshot.path, arrived)?;
        if let Some(time) = snapshot.set_modified
            && arrived.modified.is_some()
        {
            version.modified = Some(whole_second(time));
        } else if let Some(time) = snapshot.set_modified {
            match self.context.remote.set_modified(&snapshot.path, time) {
                Ok(()) => version.modified = Some(whole_second(time)),
                Err(error) => self.tolerate(&snapshot.path, "set its time", error)?,
            }
        }
        let mut state = self.state.lock();
        (state.base, state.seen_there) = (Some(version), Some(Instant::now()));
        state.exists = true;
        state.append_unsure = false;
        (state.patched, state.replaced) = (None, None);
        (state.begun_in_place, state.in_doubt, state.noted_whole) = (false, false, false);
        state.resized = state.size < version.size;
        state.chased_in_vain = false;
        state.base_valid = version.size.min(state.size);
        if state.set_modified == snapshot.set_modified {
            state.set_modified = None;
            if let Some(time) = snapshot.set_modified {
                state.modified = if version.modified == Some(whole_second(time)) {
                    whole_second(time)
                } else {
                    version.modified.unwrap_or(state.modified)
                };
            }
        }
        Ok(Committed {
            version,
            shown: state.modified,
            mode,
        })
    }

    /// Gives a file that the server made anew the mode that it has to have.
    fn settle_mode(
        &self,
        path: &RemotePath,
        arrived: &Arrived,
    ) -> Result<Option<u16>, RemoteError> {
        let (wanted, pending) = {
            let state = self.state.lock();
            (state.mode, state.mode_pending)
        };
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        if !arrived.is_new && !pending {
            return Ok(Some(wanted));
        }
        let given = if arrived.mode.is_some() {
            arrived.mode
        } else if arrived.is_new {
            self.mode_of_new_files(path)
        } else {
            None
        };
        if given != Some(wanted) {
            match self.context.remote.set_mode(path, wanted) {
                Ok(()) => {}
                Err(error) => {
                    self.tolerate(path, "set its mode", error)?;
                    let mut state = self.state.lock();
                    (state.mode, state.mode_pending) = (given, false);
                    return Ok(given);
                }
            }
        }
        let mut state = self.state.lock();
        // Another one may have been asked for meanwhile: that is for the next commit.
        state.mode_pending &= state.mode != Some(wanted);
        Ok(Some(wanted))
    }

    /// The mode to be set on the way of an upload: none as long as it is not known whether the server does not
    /// give it anyway.
    pub(super) fn mode_to_set(&self, is_new: bool) -> Option<u16> {
        let (wanted, pending) = {
            let state = self.state.lock();
            (state.mode, state.mode_pending)
        };
        let given = match self.context.new_file_mode.load(Ordering::Relaxed) {
            UNKNOWN_MODE => return None,
            known => u16::try_from(known).ok(),
        };
        wanted.filter(|_| is_new && given != wanted || pending && !is_new)
    }

    /// What the server gives to new files: asked once, of the first one.
    fn mode_of_new_files(&self, path: &RemotePath) -> Option<u16> {
        let learned = &self.context.new_file_mode;
        let known = learned.load(Ordering::Relaxed);
        if known != UNKNOWN_MODE {
            return u16::try_from(known).ok();
        }
        let mode = self.context.remote.entry(path).ok()?.mode;
        learned.store(mode.map_or(UNTOLD_MODE, u32::from), Ordering::Relaxed);
        mode
    }

    fn tolerate(
        &self,
        path: &RemotePath,
        what: &str,
        error: RemoteError,
    ) -> Result<(), RemoteError> {
        match error.kind() {
            ErrorKind::Unsupported if self.context.strict => Err(error),
            ErrorKind::Unsupported => Ok(()),
            _ if self.context.strict => Err(error),
            _ => {
                log::warn!("{path} is stored, but the server did not {what}: {error}");
                Ok(())
            }
        }
    }
}

/// FTP keeps whole seconds (RFC 3659 section 2.3, drafts of MFMT).
fn whole_second(time: SystemTime) -> SystemTime {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => time - std::time::Duration::from_nanos(u64::from(since.subsec_nanos())),
        Err(_) => time,
    }
}
