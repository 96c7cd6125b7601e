//! The commit of a `FileWriter`: the cheapest honest way of its bytes to the server.

use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::conflict::SEEN_FOR;
use super::send::{PIECE, refuses_the_name};
use super::state::State;
use super::writer::{Committed, FileWriter, Stream};
use super::{ByteRanges, UploadPolicy, WriteError};
use crate::ftp::RemotePath;
use crate::remote::{ErrorKind, FileVersion, Upload, UploadMode, Wanted};

/// How often a commit is begun anew from staging after a failure that may pass.
const ATTEMPTS: u32 = 3;

/// Between further attempts, where nobody gives up (`hard`).
const HARD_PAUSE: Duration = Duration::from_secs(1);

/// How a commit reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The whole content.
    Whole,
    /// Only bytes behind the old end.
    Append,
    /// Only the ranges that changed, where the server can.
    Patch,
    /// No content: a mode or a time that was set meanwhile.
    Attributes,
}

/// What a commit has brought to the server.
pub(super) struct Arrived {
    pub(super) version: FileVersion,
    /// The server has made the file anew, with a mode of its own choice.
    pub(super) is_new: bool,
    /// This mode was set on the way.
    pub(super) mode: Option<u16>,
    /// This time was set on the way.
    pub(super) modified: Option<SystemTime>,
}

impl Arrived {
    /// Where it was, with other bytes.
    pub(super) fn in_place(version: FileVersion) -> Self {
        Self {
            version,
            is_new: false,
            mode: None,
            modified: None,
        }
    }
}

/// What was taken out of the state for one commit.
pub(super) struct Snapshot {
    pub(super) path: RemotePath,
    pub(super) size: u64,
    pub(super) dirty: ByteRanges,
    pub(super) base: Option<FileVersion>,
    /// Bytes of `base` that are part of the new content.
    pub(super) base_valid: u64,
    pub(super) set_modified: Option<SystemTime>,
    pub(super) way: Way,
}

/// What a commit has taken out of the state goes back there unless it arrived, also when the commit ends by a
/// panic: else the next one would find nothing to do, and close would call lost bytes stored.
struct Taken<'a> {
    state: &'a Mutex<State>,
    dirty: &'a ByteRanges,
    arrived: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.arrived {
            return;
        }
        let mut state = self.state.lock();
        for range in self.dirty.iter() {
            let end = range.end.min(state.size);
            state.dirty.insert(range.start.min(end)..end);
        }
        if std::thread::panicking() {
            state.committing = false;
        }
    }
}

impl FileWriter {
    /// Brings the server to what was written before this call, and returns what it has then;
    /// `None` if nothing was dirty. May wait.
    ///
    /// # Errors
    /// The server's refusal, the way to it, a conflict, or the local disk. The bytes stay staged and dirty.
    pub fn commit(&self) -> Result<Option<Committed>, WriteError> {
        self.commit_and(|_| ()).map(|(committed, ())| committed)
    }

    /// Commits, and calls `then` before any other commit or upload of this file can begin: to rename
    /// it, say. Until `then` has returned the file counts as dirty: whoever asks meanwhile waits for
    /// this commit instead of taking the data for stored. May wait.
    ///
    /// # Errors
    /// As [`FileWriter::commit`]; `then` is not called.
    pub fn commit_and<R>(
        &self,
        then: impl FnOnce(Option<&Committed>) -> R,
    ) -> Result<(Option<Committed>, R), WriteError> {
        self.commit_within(ATTEMPTS, then)
    }

    /// The same without further attempts: for who begins anew later.
    ///
    /// # Errors
    /// As there.
    pub fn commit_once_and<R>(
        &self,
        then: impl FnOnce(Option<&Committed>) -> R,
    ) -> Result<(Option<Committed>, R), WriteError> {
        self.commit_within(1, then)
    }

    fn commit_within<R>(
        &self,
        attempts: u32,
        then: impl FnOnce(Option<&Committed>) -> R,
    ) -> Result<(Option<Committed>, R), WriteError> {
        let mut stream = self.take_stream();
        self.forget_left();
        let mut attempt = 1;
        let remote = &self.context.remote;
        // Who has waited a minute for a final reply in vain does not begin anew.
        let deadline = remote.deadline();
        let committed = loop {
            while self.is_doomed() {
                // Nothing is left to be done after that, or the server refuses it, and this begins anew.
                drop(stream);
                self.await_doom();
                stream = self.take_stream();
            }
            match self.commit_once(&mut stream) {
                Ok(committed) => break committed,
                Err(WriteError::Doomed) => {}
                Err(WriteError::Remote(error))
                    if error.kind().is_transient()
                        && (attempt < attempts && Instant::now() < deadline
                            || remote.is_hard()) =>
                {
                    let path = self.state.lock().path.clone();
                    log::info!(
                        "{path}: attempt {attempt} to store it failed ({error}); once more from the staged copy"
                    );
                    if attempt >= attempts {
                        std::thread::sleep(HARD_PAUSE);
                    }
                    attempt += 1;
                }
                Err(error) => {
                    let path = self.state.lock().path.clone();
                    log::info!("{path}: attempt {attempt} to store it failed ({error}); giving up");
                    {
                        let mut state = self.state.lock();
                        state.conflicted |= matches!(error, WriteError::Conflict);
                        let begun = state.begun_in_place || state.replaced.is_some();
                        state.in_doubt |= begun && error.leaves_in_doubt();
                    }
                    let kept = self.keep_after(&error);
                    self.remove_temporary(&mut stream);
                    if kept && error.is_from_server_that_answers() {
                        self.learn_left();
                    }
                    self.state.lock().committing = false;
                    return Err(error);
                }
            }
        };
        if committed.is_some() {
            self.forget_kept();
        }
        let result = then(committed.as_ref());
        self.state.lock().committing = false;
        Ok((committed, result))
    }

    fn commit_once(&self, stream: &mut Stream) -> Result<Option<Committed>, WriteError> {
        let Some(snapshot) = self.snapshot() else {
            return Ok(None);
        };
        let mut taken = Taken {
            state: &self.state,
            dirty: &snapshot.dirty,
            arrived: false,
        };
        let outcome = match snapshot.way {
            Way::Append => self.append_dirty(stream, &snapshot),
            Way::Patch => self.patch_dirty(stream, &snapshot),
            Way::Whole => self.store_whole(stream, &snapshot),
            Way::Attributes => snapshot
                .base
                .map(Arrived::in_place)
                .ok_or(WriteError::Conflict),
        };
        let outcome =
            outcome.and_then(|arrived| self.finish(&snapshot, &arrived).map_err(Into::into));
        match outcome {
            Ok(committed) => {
                taken.arrived = true;
                Ok(Some(committed))
            }
            Err(error) => {
                drop(taken);
                self.give_up(stream);
                Err(error)
            }
        }
    }

    /// What is to be committed, taken out of the state so that what is written meanwhile is told apart.
    fn snapshot(&self) -> Option<Snapshot> {
        let mut state = self.state.lock();
        if !state.is_dirty() {
            return None;
        }
        let way = match state.way() {
            Way::Append | Way::Patch
                if self.policy(&state) == UploadPolicy::Atomic || state.is_read_only() =>
            {
                Way::Whole
            }
            way => way,
        };
        state.committing = true;
        Some(Snapshot {
            path: state.path.clone(),
            size: state.size,
            dirty: std::mem::take(&mut state.dirty),
            base: state.base,
            base_valid: state.base_valid,
            set_modified: state.set_modified,
            way,
        })
    }

    pub(super) fn send_range(
        &self,
        upload: &mut Upload,
        range: std::ops::Range<u64>,
    ) -> Result<(), WriteError> {
        let mut at = range.start;
        let mut buffer = Vec::new();
        while at < range.end {
            let length = usize::try_from((range.end - at).min(PIECE)).unwrap_or(0);
            if self.is_doomed() {
                return Err(WriteError::Doomed);
            }
            let piece = self.state.lock().staging.view(at, length);
            piece.send(upload, &mut buffer)?;
            at += length as u64;
        }
        Ok(())
    }

    /// The whole content, under the file's name or beside it.
    pub(super) fn store_whole(
        &self,
        stream: &mut Stream,
        snapshot: &Snapshot,
    ) -> Result<Arrived, WriteError> {
        let partial = snapshot.base_valid > 0;
        {
            let state = self.state.lock();
            if state.append_unsure && !self.goes_beside(&state) {
                // Stored in place, what is still to be appended would come behind the whole file.
                log::warn!("{}: what was appended is not known", snapshot.path);
                return Err(WriteError::Conflict);
            }
        }
        self.fetch_missing(stream, 0..snapshot.size)?;
        if let Some(fetching) = stream.fetching.take() {
            fetching.abandon();
        }
        if partial {
            self.check_base(&snapshot.path, snapshot.base)?;
        }
        let mut sent = self.send_whole(stream, snapshot);
        if let Err(WriteError::Remote(error)) = &sent
            && refuses_the_name(error)
            && stream.temporary.is_some()
            && self.may_go_in_place()
        {
            // libunftp looks whether it may make a file only after its 150.
            log::info!("{}: {error}; storing it in place", snapshot.path);
            self.give_up(stream);
            self.remove_temporary(stream);
            stream.in_place = true;
            sent = self.send_whole(stream, snapshot);
            stream.in_place = false;
        }
        let (arrived, beside) = sent?;
        if beside {
            self.rename_over(stream, snapshot, partial)?;
        }
        Ok(arrived)
    }

    /// Sends all that the one upload of the whole content has not sent yet, and ends it. Tells what the
    /// server has then, and whether that lies beside its place.
    fn send_whole(
        &self,
        stream: &mut Stream,
        snapshot: &Snapshot,
    ) -> Result<(Arrived, bool), WriteError> {
        self.need_upload(stream, Some(snapshot.size))?;
        self.send_while(stream, |state| state.sent < snapshot.size && !state.spoiled)?;
        // A piece that was taken and never sent is missing there: its sender has ended by a panic.
        let sent = stream.upload.as_ref().map(|sending| sending.upload.sent());
        let spoiled = {
            let state = self.state.lock();
            state.spoiled || state.sent != snapshot.size || sent != Some(snapshot.size)
        };
        if spoiled {
            // Another handle wrote in front of what was sent: once more, all at once.
            self.give_up(stream);
            self.need_upload(stream, None)?;
            self.state.lock().sent = snapshot.size;
        }
        let Some(mut sending) = stream.upload.take() else {
            return Err(WriteError::Conflict);
        };
        if spoiled {
            self.send_range(&mut sending.upload, 0..snapshot.size)?;
        }
        let is_new = sending.beside || !self.state.lock().exists;
        let finished = sending.upload.finish_with(Wanted {
            mode: self.mode_to_set(is_new),
            modified: snapshot.set_modified,
            is_fresh: is_new && stream.begun == 1,
        });
        {
            let mut state = self.state.lock();
            (state.sent, state.spoiled) = (0, false);
        }
        let stored = finished?;
        let arrived = Arrived {
            version: stored.version,
            is_new,
            mode: stored.mode,
            modified: stored.modified,
        };
        Ok((arrived, sending.beside))
    }

    /// An upload of the whole content, of `size` bytes if that is known: the one that chased, or a new one.
    fn need_upload(&self, stream: &mut Stream, size: Option<u64>) -> Result<(), WriteError> {
        if stream.upload.is_some() && !self.state.lock().spoiled {
            return Ok(());
        }
        self.give_up(stream);
        self.open_upload(stream, self.context.remote.upload_slot()?, size)
    }

    fn rename_over(
        &self,
        stream: &mut Stream,
        snapshot: &Snapshot,
        partial: bool,
    ) -> Result<(), WriteError> {
        let Some(temporary) = stream.temporary.clone() else {
            return Err(WriteError::Conflict);
        };
        self.check_before_rename(snapshot, partial)?;
        if self.outlives_the_old_content()? {
            // The local disk has taken its time.
            self.check_before_rename(snapshot, partial)?;
        }
        let backup = snapshot
            .base
            .map(|_| self.context.temporary.beside(&snapshot.path));
        let renamed = self
            .context
            .rename(&temporary, &snapshot.path, backup.as_ref());
        {
            let mut state = self.state.lock();
            // From here on what is there may be our own, also where nobody has said so.
            state.seen_free = None;
            if matches!(&renamed, Err(error) if !error.kind().is_transient()) {
                // It is not: what is kept is a change of the old content again.
                state.noted_whole = false;
            }
        }
        renamed?;
        self.context.journal.ends(&temporary);
        stream.temporary = None;
        Ok(())
    }

    fn check_before_rename(&self, snapshot: &Snapshot, partial: bool) -> Result<(), WriteError> {
        if partial || self.state.lock().guarded {
            self.check_base(&snapshot.path, snapshot.base)?;
        }
        match snapshot.base {
            None => self.check_new(&snapshot.path, false),
            Some(_) => Ok(()),
        }
    }

    /// An upload into the file, if nobody else has changed it since we looked at it. Where the server has told of it a
    /// moment ago, it is asked again together with the upload: a file that was deleted since comes back empty then.
    pub(super) fn open_onto(
        &self,
        path: &RemotePath,
        mode: UploadMode,
        base: FileVersion,
    ) -> Result<Upload, WriteError> {
        let remote = &self.context.remote;
        let (seen, patched) = {
            let state = self.state.lock();
            (state.seen_there, state.patched.is_some())
        };
        let upload = if patched || seen.is_none_or(|seen| seen.elapsed() > SEEN_FOR) {
            self.check_base(path, Some(base))?;
            Upload::open(remote, path, mode)?
        } else {
            let opened = Upload::open_checked(remote, path, mode, base);
            opened.map_err(|error| match error.kind() {
                ErrorKind::Changed | ErrorKind::NotFound => WriteError::Conflict,
                ErrorKind::Refused | ErrorKind::Denied if self.is_gone(path) => {
                    WriteError::Conflict
                }
                _ => error.into(),
            })?
        };
        *self.progress.lock() = upload.progress();
        Ok(upload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writeback::patch::tests::state;

    #[test]
    fn what_did_not_arrive_is_dirty_again() {
        let taken_from = |panics: bool, arrived: bool| {
            let mut before = state(100, &[10..20, 90..120]);
            before.committing = true;
            let dirty = std::mem::take(&mut before.dirty);
            let state = Mutex::new(before);
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _taken = Taken {
                    state: &state,
                    dirty: &dirty,
                    arrived,
                };
                assert!(!panics);
            }));
            assert_eq!(ended.is_err(), panics);
            let after = state.into_inner();
            (after.dirty.iter().collect::<Vec<_>>(), after.committing)
        };
        assert_eq!(taken_from(false, true), (vec![], true));
        assert_eq!(taken_from(false, false), (vec![10..20, 90..120], true));
        assert_eq!(taken_from(true, false), (vec![10..20, 90..120], false));
    }
}
