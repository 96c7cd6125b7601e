//! How a `FileWriter` hands its content to the journal, and is made from what the journal has.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::sidecar::{Replaces, Sidecar};
use super::staging::StagingFile;
use super::state::State;
use super::writer::FileWriter;
use super::{ByteRanges, Left, WriteContext, WriteError};
use crate::ftp::RemotePath;
use crate::remote::FileVersion;

/// Why a file is kept whose upload is still to come.
const NOT_YET: &str = "closed, and not yet on the server";

impl FileWriter {
    /// A commit has failed for good. Returns whether the content is kept.
    pub(super) fn keep_after(&self, error: &WriteError) -> bool {
        let dirty = self.state.lock().is_content_dirty();
        dirty && self.keep(&error.to_string())
    }

    /// Whether a commit has found that somebody else changed the file.
    pub fn is_conflicted(&self) -> bool {
        self.state.lock().conflicted
    }

    /// Whether `now` is the version that was changed here, as far as the server tells.
    pub(super) fn is_untouched(&self, now: FileVersion) -> bool {
        self.state.lock().is_untouched(now)
    }

    /// The same, and by more than its size where the server tells times.
    pub fn is_known_to_be_untouched(&self, now: FileVersion) -> bool {
        let state = self.state.lock();
        let before = state.patched.and_then(|patched| patched.before);
        let base = state.base.or(state.replaced);
        let is_timed = base.is_some_and(|base| base.modified.or(before).is_some());
        (is_timed || now.modified.is_none() && !state.begun_in_place) && state.is_untouched(now)
    }

    /// Whether bytes of an upload may be on their way of which nobody said how it ended.
    pub fn is_in_doubt(&self) -> bool {
        self.state.lock().in_doubt
    }

    /// The end comes before the content is on the server: it is kept. Does not wait for the network.
    pub fn keep_unfinished(&self, reason: &str) {
        let unfinished = {
            let state = self.state.lock();
            state.committing || state.is_content_dirty()
        };
        if unfinished {
            let _kept = self.keep(reason);
        }
    }

    /// Asks the server what it has after a failure, for the copy that is kept. May wait.
    pub fn learn_left(&self) -> Left {
        let path = {
            let state = self.state.lock();
            // What is there may be somebody else's by now, or not yet all that comes of ours: it is for what is known
            // of the old version, and for the content, to tell.
            let may_be_ours = state.in_doubt || state.append_unsure || state.noted_whole;
            if state.conflicted || state.guarded || may_be_ours {
                return Left::Unknown;
            }
            state.path.clone()
        };
        let left = Left::ask(&self.context.remote, &path);
        let mine = self.journaling.lock().clone();
        let journal = &self.context.journal;
        journal.learn_left(&path, mine.as_deref(), left);
        left
    }

    /// Another attempt begins: what the server had after the last one will not be so for long.
    pub(super) fn forget_left(&self) {
        let path = {
            let state = self.state.lock();
            state.is_dirty().then(|| state.path.clone())
        };
        if let Some(path) = path {
            self.context.journal.forget_left(&path);
        }
    }

    /// A close is about to be answered before the server has the content: from here on it outlives the
    /// process. False if it does not, or if something else is kept under its name that this does not replace. Does
    /// not wait for the network.
    pub fn keep_until_stored(&self) -> bool {
        {
            let mine = self.journaling.lock();
            let state = self.state.lock();
            let content = state.committing || state.is_content_dirty();
            let journal = &self.context.journal;
            let replaces =
                state.supersedes_kept || !journal.keeps_another(&state.path, mine.as_deref());
            if !content || !replaces {
                return false;
            }
        }
        let Some((path, kept)) = self.save(NOT_YET) else {
            return false;
        };
        if let Err(error) = &kept {
            log::warn!("{path}: not kept here ({error}), so its close waits for the server");
        }
        matches!(kept, Ok(Some(_)))
    }

    /// Mode or time of a file that is kept until it is stored have changed.
    pub fn keep_attributes(&self) {
        if self.is_kept() && self.is_dirty() {
            drop(self.save(NOT_YET));
        }
    }

    /// Whether the journal has a copy of its own.
    fn is_kept(&self) -> bool {
        let mine = self.journaling.lock();
        let path = self.state.lock().path.clone();
        let journal = &self.context.journal;
        mine.as_ref().is_some_and(|note| journal.has(&path, note))
    }

    /// What was kept of it is on the server, unless more was written since. Bytes behind or inside what the server
    /// has are no newer content than what is kept of others.
    pub(super) fn forget_kept(&self) {
        let mut mine = self.journaling.lock();
        let (path, begun_empty) = {
            let state = self.state.lock();
            if state.is_content_dirty() {
                return;
            }
            (state.path.clone(), state.supersedes_kept)
        };
        let journal = &self.context.journal;
        journal.stored(&path, mine.take().as_deref(), begun_empty);
    }

    fn keep(&self, reason: &str) -> bool {
        let Some((path, kept)) = self.save(reason) else {
            return false;
        };
        let size = self.size();
        let journal = &self.context.journal;
        match &kept {
            Ok(None) => {}
            Ok(Some((_, false))) => log::info!("{path}: {reason}; it is kept already"),
            Ok(Some((copy, true))) => log::error!(
                "{path}: {reason}; {size} bytes are kept in {}; `{}` uploads them once it is unmounted",
                copy.display(),
                journal.command()
            ),
            Err(error) => log::error!("{path}: {reason}; and it cannot be kept here: {error}"),
        }
        matches!(kept, Ok(Some(_)))
    }

    /// Gives the content to the journal: path, and what the journal says. `None` if it concerns nobody any more.
    #[expect(
        clippy::type_complexity,
        reason = "the journal's answer, beside the path"
    )]
    fn save(&self, reason: &str) -> Option<(RemotePath, io::Result<Option<(PathBuf, bool)>>)> {
        self.save_as(reason, |_| ())
    }

    /// What is about to happen to the file on the server is known to whoever finds the note after us, if there is
    /// one. Does not wait for the network. Returns whether there is one.
    ///
    /// # Errors
    /// The local disk, for who stores what was kept. A mount goes on: storing it is what makes place there.
    pub(super) fn note_before(
        &self,
        change: impl FnOnce(&mut Sidecar),
    ) -> Result<bool, WriteError> {
        if !self.is_kept() {
            return Ok(false);
        }
        match self.save_as(NOT_YET, change) {
            Some((path, Err(error))) if self.context.journal.is_of_mount() => {
                log::warn!("{path}: what is kept of it could not be brought up to date: {error}");
            }
            Some((_, noted)) => drop(noted?),
            None => {}
        }
        Ok(true)
    }

    /// Bytes go out behind the end of the file: until somebody says how that ended, no others may.
    ///
    /// # Errors
    /// The local disk.
    pub(super) fn may_be_appended(&self) -> Result<(), WriteError> {
        self.state.lock().append_unsure = true;
        let noted = self.note_before(|_| ());
        noted
            .map(drop)
            .inspect_err(|_| self.state.lock().append_unsure = false)
    }

    /// The old content is about to go: where the new one was kept as a change of it, it is kept whole. Returns whether
    /// that was noted, which may have taken a while.
    ///
    /// # Errors
    /// The local disk.
    pub(super) fn outlives_the_old_content(&self) -> Result<bool, WriteError> {
        let is_part = {
            let mut state = self.state.lock();
            let is_part = state.base_valid > 0 && state.missing(0..state.size).is_empty();
            state.noted_whole |= is_part;
            is_part
        };
        Ok(is_part && self.note_before(|_| ())?)
    }

    /// What the server has is not replaced unless it still is what it had when it was asked a moment ago.
    pub fn replace_only(&self, now: Left) {
        self.guard(now);
        if let Err(error) = self.note_before(|_| ()) {
            log::warn!("what is kept could not be brought up to date: {error}");
        }
    }

    pub(super) fn guard(&self, now: Left) {
        let mut state = self.state.lock();
        (state.guarded, state.conflicted) = (true, false);
        match now {
            Left::File(now) if state.base_valid == 0 => {
                (state.base, state.patched) = (Some(now), None);
            }
            Left::Nothing if state.base_valid == 0 => {
                (state.base, state.replaced) = (None, None);
                state.seen_free = Some(Instant::now());
            }
            _ => {}
        }
    }

    #[expect(
        clippy::type_complexity,
        reason = "the journal's answer, beside the path"
    )]
    fn save_as(
        &self,
        reason: &str,
        change: impl FnOnce(&mut Sidecar),
    ) -> Option<(RemotePath, io::Result<Option<(PathBuf, bool)>>)> {
        let mut mine = self.journaling.lock();
        let (mut sidecar, content) = {
            let state = self.state.lock();
            if state.discarded || self.is_doomed() {
                return None;
            }
            (state.sidecar(reason), state.staging.content())
        };
        change(&mut sidecar);
        let path = sidecar.path.clone();
        let journal = &self.context.journal;
        let kept = journal.keep(&mut mine, sidecar, &content, self.context.area.directory());
        if self.state.lock().discarded {
            // Meanwhile. What others keep under its name is theirs.
            journal.stored(&path, mine.take().as_deref(), false);
            return None;
        }
        Some((path, kept))
    }

    /// A writer that has just failed, as it was then: its content is in `file`.
    pub(super) fn resumed(
        context: Arc<WriteContext>,
        sidecar: &Sidecar,
        file: File,
    ) -> Result<Arc<Self>, WriteError> {
        // Where it was cut by who went on writing, no more is known.
        let size = sidecar.size.min(file.metadata()?.len());
        let mut staged = sidecar.staged.clone();
        staged.truncate(size);
        let staging = StagingFile::existing(&context.area, file);
        let writer = Self::with(context, sidecar.path.clone(), sidecar.base, sidecar.mode)?;
        {
            let mut state = writer.state.lock();
            state.staging = staging;
            state.staged = staged.clone();
            state.dirty = staged;
            state.size = size;
            state.base_valid = sidecar.base_valid.min(size);
            state.resized = sidecar.resized || size < sidecar.size;
            state.is_link = sidecar.is_link;
            state.append_unsure = sidecar.append_unsure;
            state.patched = sidecar.patched;
            state.set_modified = sidecar.set_modified;
            state.touched = true;
            state.supersedes_kept = sidecar.replaces == Replaces::Everything;
        }
        Ok(writer)
    }
}

impl WriteError {
    /// The server can be asked more.
    pub(super) fn is_from_server_that_answers(&self) -> bool {
        match self {
            Self::Remote(error) => !error.kind().is_transient(),
            _ => true,
        }
    }
}

impl State {
    fn sidecar(&self, reason: &str) -> Sidecar {
        let mut staged = ByteRanges::default();
        for range in self.staged.iter().filter(|range| range.start < self.size) {
            staged.insert(range.start..range.end.min(self.size));
        }
        // Once an upload has begun there, it is not known again by its size alone.
        let is_known = |version: &FileVersion| {
            let before = self.patched.and_then(|patched| patched.before);
            !self.begun_in_place || version.modified.or(before).is_some()
        };
        let replaced = self.replaced.filter(is_known);
        let is_whole = self.noted_whole && self.missing(0..self.size).is_empty();
        Sidecar {
            path: self.path.clone(),
            size: self.size,
            staged,
            resized: self.resized,
            is_link: self.is_link,
            append_unsure: self.append_unsure,
            patched: self.patched,
            base: self.base.or(replaced),
            base_valid: if is_whole { 0 } else { self.base_valid },
            mode: self.mode,
            set_modified: self.set_modified,
            when: SystemTime::now(),
            left: Left::Unknown,
            replaces: match self.supersedes_kept {
                true => Replaces::Everything,
                false => Replaces::Nothing,
            },
            reason: reason.to_owned(),
            data: None,
        }
    }
}
