//! What a `FileWriter` has on the line: the upload that chases its front, and the download of bytes that
//! only the server has.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::state::State;
use super::writer::{FileWriter, OWNER_WRITES, Sending, Stream};
use super::{NameUse, StagedBytes, UploadPolicy, WriteContext, WriteError};
use crate::ftp::RemotePath;
use crate::remote::{Download, ErrorKind, RemoteError, Upload, UploadMode, UploadSlot};
use crate::workers::regardless;

/// Bytes that are read from staging and sent at a time.
pub(super) const PIECE: u64 = 1 << 20;

/// Bytes that are fetched at a time when only some of them are asked for: what a new download delivers
/// in its first round trips.
const FETCH_AT_LEAST: u64 = 256 << 10;

impl FileWriter {
    /// Asks the server whether the content may be stored, by beginning to. While so many others upload
    /// that there is no place, that is left to the commit. `only_new` as in [`FileWriter::begin_later`]. May wait.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn begin(&self, only_new: bool) -> Result<(), WriteError> {
        let mut stream = self.stream.lock();
        self.state.lock().seen_free = only_new.then(Instant::now);
        if let Some(slot) = self.context.remote.try_upload_slot()
            && let Err(error) = self.open_upload(&mut stream, slot, None)
        {
            // It may have begun, unknown to us.
            self.remove_temporary(&mut stream);
            return Err(error);
        }
        // What has begun is to be brought to its end, also where an empty file was emptied.
        self.state.lock().resized = true;
        Ok(())
    }

    /// Leaves the beginning to the first upload of the content. With `only_new` nothing is to be overwritten: the
    /// caller has just seen that nothing is there.
    pub fn begin_later(&self, only_new: bool) {
        let mut state = self.state.lock();
        state.seen_free = only_new.then(Instant::now);
        state.resized = true;
    }

    /// A job: sends what is staged at the front, then rests.
    pub(super) fn chase(&self) {
        let mut stream = self.stream.lock();
        let remote = &self.context.remote;
        let more = |state: &State| {
            state.can_chase()
                && state.chaseable() > 0
                && self.waiting.load(Ordering::Acquire) == 0
                && !remote.is_contended()
        };
        let wanted = more(&self.state.lock());
        let slot = if wanted && stream.upload.is_none() {
            remote.try_upload_slot()
        } else {
            None
        };
        let opened = slot.map_or(Ok(()), |slot| self.open_upload(&mut stream, slot, None));
        let outcome = opened.and_then(|()| self.send_while(&mut stream, more));
        self.state.lock().chasing = false;
        if let Err(error) = outcome {
            // The commit tries again from staging, and its failure is the program's to know.
            log::debug!("an upload beside the writing program ended early: {error}");
            self.leave_to_commit(&mut stream);
        } else if remote.is_contended() {
            self.leave_to_commit(&mut stream);
        }
    }

    /// Ends what is on the line, and chases no more before the next commit. Returns whether a session was
    /// given back.
    pub(super) fn leave_to_commit(&self, stream: &mut Stream) -> bool {
        let given = self.give_up(stream);
        if given {
            self.state.lock().chased_in_vain = true;
        }
        given
    }

    /// Begins an upload of the whole content, unless one is under way that can go on.
    pub(super) fn open_upload(
        &self,
        stream: &mut Stream,
        slot: UploadSlot,
        all: Option<u64>,
    ) -> Result<(), WriteError> {
        let (path, beside) = {
            let state = self.state.lock();
            if stream.upload.is_some() && !state.spoiled {
                return Ok(());
            }
            (
                state.path.clone(),
                !stream.in_place && self.goes_beside(&state),
            )
        };
        self.give_up(stream);
        self.check_new(&path, stream.begun > 0)?;
        stream.begun += 1;
        let all = self.all_at_once(all)?;
        let all = all.as_deref();
        let upload = if beside {
            // One that an earlier commit could not remove is used again, unless the file moved away.
            let kept = stream.temporary.take();
            let name = match kept {
                Some(kept) if kept.parent() == path.parent() => kept,
                other => {
                    if let Some(elsewhere) = other {
                        self.context.remove(&elsewhere);
                    }
                    self.context.temporary.beside(&path)
                }
            };
            self.context.journal.begins(&name, NameUse::Upload);
            stream.temporary = Some(name.clone());
            match self.open_at(&name, slot, all) {
                Ok(upload) => Sending {
                    upload,
                    beside: true,
                    buffer: Vec::new(),
                },
                Err(error) if refuses_the_name(&error) && self.may_go_in_place() => {
                    log::info!("{path}: {error}; storing it in place instead of {name}");
                    self.context.journal.ends(&name);
                    stream.temporary = None;
                    self.in_place(&path, self.context.remote.upload_slot()?, all)?
                }
                Err(error) => return Err(error.into()),
            }
        } else {
            self.in_place(&path, slot, all)?
        };
        if !upload.beside {
            // What is there from now on is our own.
            let mut state = self.state.lock();
            state.seen_free = None;
            state.begun_in_place = true;
        }
        *self.progress.lock() = upload.upload.progress();
        stream.upload = Some(upload);
        stream.used = Instant::now();
        Ok(())
    }

    /// The whole content of `size` bytes, if it is so small that it may go out with its STOR. It then counts as
    /// sent.
    fn all_at_once(&self, size: Option<u64>) -> Result<Option<Vec<u8>>, WriteError> {
        let small = |size: &u64| self.context.remote.takes_all_at_once(*size);
        let Some(size) = size.filter(small) else {
            return Ok(None);
        };
        let content = {
            let mut state = self.state.lock();
            if state.size != size || state.staged.front() < size {
                return Ok(None);
            }
            state.sent = size;
            state
                .staging
                .view(0, usize::try_from(size).unwrap_or(usize::MAX))
        };
        Ok(Some(content.read()?))
    }

    fn open_at(
        &self,
        path: &RemotePath,
        slot: UploadSlot,
        all: Option<&[u8]>,
    ) -> Result<Upload, RemoteError> {
        let remote = &self.context.remote;
        match all {
            Some(all) => Upload::open_with(slot, remote, path, all),
            None => Upload::open_in(slot, remote, path, UploadMode::Store),
        }
    }

    fn in_place(
        &self,
        path: &RemotePath,
        slot: UploadSlot,
        all: Option<&[u8]>,
    ) -> Result<Sending, WriteError> {
        self.check_replaced(path)?;
        self.outlives_the_old_content()?;
        let before = {
            let state = self.state.lock();
            state.base.or(state.replaced)
        };
        let opened = match self.open_at(path, slot, all) {
            Err(error) if refuses_the_name(&error) && self.makes_writable(path) => {
                self.open_at(path, self.context.remote.upload_slot()?, all)
            }
            opened => opened,
        };
        let unheard = matches!(&opened, Err(error) if error.kind().is_transient());
        if opened.is_ok() || unheard {
            // The old content is gone from now on, or may be; all of the new one is staged.
            let mut state = self.state.lock();
            state.in_doubt |= unheard;
            (state.base, state.base_valid, state.replaced) = (None, 0, before);
        }
        let mut upload = opened?;
        upload.replaces(before.map(|before| before.size));
        Ok(Sending {
            upload,
            beside: false,
            buffer: Vec::new(),
        })
    }

    /// Lifts the mode of a file that may not be written, as git makes them; the commit restores it.
    fn makes_writable(&self, path: &RemotePath) -> bool {
        let mode = {
            let state = self.state.lock();
            state.mode.filter(|_| state.is_read_only())
        };
        let lifted = mode.is_some_and(|mode| {
            self.context
                .remote
                .set_mode(path, mode | OWNER_WRITES)
                .is_ok()
        });
        self.state.lock().mode_pending |= lifted;
        lifted
    }

    /// How the content may be stored.
    pub(super) fn policy(&self, state: &State) -> UploadPolicy {
        if state.is_link {
            UploadPolicy::InPlace
        } else {
            self.context.policy
        }
    }

    pub(super) fn goes_beside(&self, state: &State) -> bool {
        match self.policy(state) {
            UploadPolicy::Auto => state.base.is_some(),
            UploadPolicy::Atomic => true,
            UploadPolicy::InPlace => false,
        }
    }

    /// Only when nothing of the old content is needed any more can it be overwritten.
    pub(super) fn may_go_in_place(&self) -> bool {
        let state = self.state.lock();
        self.policy(&state) == UploadPolicy::Auto
            && !state.append_unsure
            && state.missing(0..state.size).is_empty()
    }

    /// Bytes of the file as it is now, and how many of them are sent, from the first on.
    pub fn sent(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.size, state.sent.min(state.size))
    }

    /// Whether what is on the line gets on; `None` while nothing is.
    pub fn progress(&self) -> Option<u64> {
        let progress = self.progress.lock().upgrade()?;
        Some(progress.value())
    }

    /// Sends piece after piece from the front as long as `more` says so.
    pub(super) fn send_while(
        &self,
        stream: &mut Stream,
        more: impl Fn(&State) -> bool,
    ) -> Result<(), WriteError> {
        let Some(sending) = &mut stream.upload else {
            return Ok(());
        };
        loop {
            if self.is_doomed() {
                return Err(WriteError::Doomed);
            }
            let piece = {
                let mut state = self.state.lock();
                if !more(&state) {
                    return Ok(());
                }
                let start = state.sent;
                let end = state.staged.front().min(state.size).min(start + PIECE);
                if end <= start {
                    return Ok(());
                }
                // Counted as sent before it is read: a write from now on is seen as a change of it.
                state.sent = end;
                state
                    .staging
                    .view(start, usize::try_from(end - start).unwrap_or(0))
            };
            piece.send(&mut sending.upload, &mut sending.buffer)?;
            stream.used = Instant::now();
        }
    }

    /// Fetches what is missing in `range` and a little more. May wait.
    ///
    /// # Errors
    /// The server, the way to it, or the local disk.
    pub fn fetch(&self, range: Range<u64>) -> Result<(), WriteError> {
        if self.state.lock().missing(range.clone()).is_empty() {
            // It does not wait for what is on the line.
            return Ok(());
        }
        let mut stream = self.stream.lock();
        let end = range.end.max(range.start.saturating_add(FETCH_AT_LEAST));
        let end = end.min(self.state.lock().base_valid);
        self.fetch_missing(&mut stream, range.start..end)
    }

    pub(super) fn fetch_missing(
        &self,
        stream: &mut Stream,
        range: Range<u64>,
    ) -> Result<(), WriteError> {
        let mut buffer = vec![0; 128 << 10];
        loop {
            let (gap, path, base) = {
                let state = self.state.lock();
                match state.missing(range.clone()).into_iter().next() {
                    None => return Ok(()),
                    // The path leads to another file, or to none.
                    Some(_) if state.discarded => return Err(WriteError::Conflict),
                    Some(gap) => (gap, state.path.clone(), state.base),
                }
            };
            let position = stream.fetching.as_ref().map(Download::position);
            if position != Some(gap.start) {
                if let Some(elsewhere) = stream.fetching.take() {
                    elsewhere.abandon();
                }
                self.check_base(&path, base)?;
                let download = Download::open(&self.context.remote, &path, gap.start, base)?;
                stream.fetching = Some(download);
            }
            let Some(download) = &mut stream.fetching else {
                return Ok(());
            };
            let n = match download.read(&mut buffer) {
                Ok(0) => Err(WriteError::Conflict),
                Err(error) if error.kind() == ErrorKind::Changed => Err(WriteError::Conflict),
                other => other.map_err(WriteError::from),
            };
            let n = n.inspect_err(|_| stream.fetching = None)?;
            stream.used = Instant::now();
            self.keep_fetched(gap.start, &buffer[..n])?;
        }
    }

    /// Fetched bytes count where nothing newer is staged.
    fn keep_fetched(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let mut state = self.state.lock();
        for gap in state.missing(offset..offset + bytes.len() as u64) {
            let at = |n: u64| usize::try_from(n - offset).unwrap_or(usize::MAX);
            state
                .staging
                .write(gap.start, &bytes[at(gap.start)..at(gap.end)])?;
            state.staged.insert(gap);
        }
        Ok(())
    }

    /// Ends what is on the line without finishing it; staging has it all. Returns whether a session
    /// was given back.
    pub(super) fn give_up(&self, stream: &mut Stream) -> bool {
        {
            let mut state = self.state.lock();
            (state.sent, state.spoiled) = (0, false);
        }
        let fetching = stream.fetching.take().map(Download::abandon).is_some();
        let sending = stream
            .upload
            .take()
            .map(|sending| sending.upload.abandon())
            .is_some();
        fetching || sending
    }

    /// Waits until the server is through with what was given up: what is about to take the name is not to be
    /// touched any more.
    pub(super) fn await_given_up(&self) {
        let path = self.state.lock().path.clone();
        self.context.remote.await_given_up(&path);
    }

    /// Deletes the temporary file, if there may be one. Who gives up an upload and does not begin it
    /// anew calls this.
    pub(super) fn remove_temporary(&self, stream: &mut Stream) {
        let Some(name) = stream.temporary.take() else {
            return;
        };
        // Pure-FTPd puts a file aside to delete it, and leaves it there if its upload ends in that moment.
        self.context.remote.await_given_up(&name);
        if !self.context.remove(&name) {
            // The next commit of this file uses it again.
            stream.temporary = Some(name);
        }
    }
}

impl StagedBytes {
    /// Sends them; `buffer` is memory that is used again.
    ///
    /// # Errors
    /// The server, the way to it, or the local disk.
    pub(super) fn send(self, upload: &mut Upload, buffer: &mut Vec<u8>) -> Result<(), WriteError> {
        match self {
            Self::Disk {
                file,
                offset,
                length,
            } if upload.takes_files() => {
                let sent = upload.send_file(&file, offset, length)?;
                // Behind the end of the local file they are zeros.
                buffer.clear();
                buffer.resize(length - sent, 0);
            }
            other => other.read_into(buffer)?,
        }
        Ok(upload.write(buffer)?)
    }
}

/// Whoever forgets a temporary name by a defect, or ends where nobody can wait, does not leave it behind.
impl Drop for FileWriter {
    fn drop(&mut self) {
        let stream = self.stream.get_mut();
        if let Some(sending) = stream.upload.take() {
            sending.upload.abandon();
        }
        if let Some(name) = stream.temporary.take() {
            let context = Arc::clone(&self.context);
            self.context.workers.spawn(move || {
                context.remove(&name);
            });
        }
    }
}

impl WriteContext {
    /// Removes a temporary file of ours from the server; whether it is not there any more. May wait.
    pub(super) fn remove(&self, name: &RemotePath) -> bool {
        match regardless(|| self.remote.remove_file(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                log::warn!("{name} is left on the server: {error}");
                false
            }
            _ => {
                self.journal.ends(name);
                true
            }
        }
    }
}

/// A server that does not let us make another name may still let us store under the old one.
pub(super) fn refuses_the_name(error: &RemoteError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Denied | ErrorKind::Refused | ErrorKind::InvalidName | ErrorKind::NameTooLong
    )
}
