//! What goes out together with the end of an upload, and what its answers tell.

use std::sync::atomic::Ordering;

use super::profile::Ability;
use super::{FileVersion, Remote, Wanted};
use crate::ftp::{AT_ONCE, Answers, Behind, FtpError, RemotePath, TimeCommand};

/// Uploads before one is used to learn how the server answers meanwhile.
const BEFORE_TRIAL: usize = 2;

impl Remote {
    /// Whether a file of this size may be sent together with its STOR.
    pub fn takes_all_at_once(&self, size: u64) -> bool {
        // Under TLS nothing can be sent before the handshake.
        size <= AT_ONCE
            && self.pool.experience().encrypts() != Some(true)
            && self.profile.is_proven(Ability::InOrder)
            && !self.profile.lacks(Ability::InOrder)
    }

    /// What may be asked behind an upload to `path`; `None` where nothing may.
    pub(super) fn behind(&self, path: &RemotePath, wanted: Wanted) -> Option<Behind> {
        let experience = self.pool.experience();
        let lacks = |ability| self.profile.lacks(ability);
        if experience.pipelining() != Some(true)
            || lacks(Ability::Behind)
            || lacks(Ability::Size)
            || !Behind::fits(path)
        {
            return None;
        }
        if !self.profile.is_proven(Ability::Behind) {
            // One command, so that there is one answer whatever the server makes of it.
            // Who stores a single file does not wait for a trial.
            let is_trial = self.uploads.fetch_add(1, Ordering::Relaxed) >= BEFORE_TRIAL;
            return is_trial.then(|| Behind {
                is_trial,
                ..Behind::default()
            });
        }
        let has_mfmt = experience
            .features()
            .is_some_and(|features| features.has("MFMT"));
        let how = if has_mfmt && !lacks(Ability::Mfmt) {
            Some(TimeCommand::Mfmt)
        } else if self.profile.is_proven(Ability::MdtmSet) {
            Some(TimeCommand::Mdtm)
        } else {
            None
        };
        Some(Behind {
            mode: wanted.mode.filter(|_| !lacks(Ability::Chmod)),
            // While data still flows, the time would change again.
            modified: wanted
                .modified
                .zip(how)
                .filter(|_| !lacks(Ability::InOrder)),
            ask_time: !lacks(Ability::Mdtm),
            is_trial: false,
        })
    }

    /// Size and time, and whether mode and time were set.
    pub(super) fn read_answers(
        &self,
        path: &RemotePath,
        answers: Answers,
    ) -> (Result<FileVersion, FtpError>, bool, bool) {
        let is_set = |answer: &Option<Result<(), FtpError>>| matches!(answer, Some(Ok(())));
        let set = (is_set(&answers.mode), is_set(&answers.set));
        if let Some(Err(error)) = &answers.mode {
            self.learn_if_unknown(Ability::Chmod, error);
        }
        let version = answers.size.and_then(|size| {
            let modified = self.told_time(path, answers.modified)?;
            Ok(FileVersion { size, modified })
        });
        (version, set.0, set.1)
    }
}
