//! `FileWriter`: one file that is being changed.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};

use super::staging::StagingFile;
use super::state::State;
use super::{ByteRanges, StagedBytes, WriteContext, WriteError};
use crate::ftp::RemotePath;
use crate::remote::{Download, FileVersion, Progress, Upload};

/// A chase is worth a job when this much is staged and not yet sent.
const CHASE_STEP: u64 = 256 << 10;

/// The bit of a mode without which servers refuse STOR and APPE.
pub(super) const OWNER_WRITES: u16 = 0o200;

/// What the server has after a commit.
#[derive(Debug, Clone, Copy)]
pub struct Committed {
    /// As the server tells it.
    pub version: FileVersion,
    /// The time that programs were shown.
    pub shown: SystemTime,
    /// Permission bits, if they are known.
    pub mode: Option<u16>,
}

/// The answer of memory to a read of a file that is being written.
#[derive(Debug)]
pub enum WriteRead {
    /// Here they are.
    Bytes(StagedBytes),
    /// Some have to be fetched from the server first ([`FileWriter::fetch`]).
    Missing,
}

/// One file that is being changed.
///
/// The staging file is the truth. An upload may chase its front while the program still writes,
/// but it can be given up at any time and repeated from the staged bytes.
#[derive(Debug)]
pub struct FileWriter {
    pub(super) context: Arc<WriteContext>,
    /// Guards what is staged; held for local reads and writes only. After `stream`.
    pub(super) state: Mutex<State>,
    /// The note of what the journal keeps of it. Taken over the local disk, so that the journal has what the state has;
    /// before `state`.
    pub(super) journaling: Mutex<Option<PathBuf>>,
    /// Guards what is on the line; taken by workers only, over the stream's I/O.
    pub(super) stream: Mutex<Stream>,
    /// Who waits for the stream: a chase ends for them, for it could go on as long as the program writes.
    pub(super) waiting: AtomicUsize,
    /// Of the upload on the line, if there is one. Taken alone: who asks waits for no disk.
    pub(super) progress: Mutex<Weak<Progress>>,
    /// Held by who deletes or replaces the file; before `stream`.
    doom: Mutex<()>,
    /// `doom` is held: bytes on their way are sent in vain.
    doomed: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) upload: Option<Sending>,
    pub(super) fetching: Option<Download>,
    /// The temporary name of this file, once it had one that may exist on the server.
    pub(super) temporary: Option<RemotePath>,
    /// How many uploads were begun.
    pub(super) begun: u32,
    /// The server took a temporary name and refused it afterwards: this commit goes without.
    pub(super) in_place: bool,
    pub(super) used: Instant,
}

/// Nothing of the file is on the line as long as this lives.
#[derive(Debug)]
pub struct Still<'a>(#[expect(dead_code, reason = "only held")] MutexGuard<'a, Stream>);

/// An upload on its way.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) upload: Upload,
    /// Under a temporary name, to be renamed.
    pub(super) beside: bool,
    /// For the piece that is sent; used again for the next.
    pub(super) buffer: Vec<u8>,
}

/// The file is not about to go any more, also when that ends by a panic: whoever commits it would wait for ever.
struct NotDoomed<'a>(&'a AtomicBool);

impl Drop for NotDoomed<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl FileWriter {
    pub(super) fn with(
        context: Arc<WriteContext>,
        path: RemotePath,
        base: Option<FileVersion>,
        mode: Option<u16>,
    ) -> io::Result<Arc<Self>> {
        let size = base.map_or(0, |base| base.size);
        let state = State {
            path,
            staging: StagingFile::new(&context.area)?,
            staged: ByteRanges::default(),
            dirty: ByteRanges::default(),
            committing: false,
            resized: false,
            size,
            base,
            is_link: false,
            exists: base.is_some(),
            base_valid: size,
            touched: false,
            supersedes_kept: false,
            seen_free: None,
            begun_in_place: false,
            replaced: None,
            in_doubt: false,
            noted_whole: false,
            seen_there: None,
            conflicted: false,
            discarded: false,
            sent: 0,
            append_unsure: false,
            patched: None,
            guarded: false,
            spoiled: false,
            chasing: false,
            chased_in_vain: false,
            modified: base
                .and_then(|b| b.modified)
                .unwrap_or_else(SystemTime::now),
            set_modified: None,
            mode,
            mode_pending: false,
        };
        let stream = Stream {
            upload: None,
            fetching: None,
            temporary: None,
            begun: 0,
            in_place: false,
            used: Instant::now(),
        };
        Ok(Arc::new(Self {
            context,
            state: Mutex::new(state),
            stream: Mutex::new(stream),
            journaling: Mutex::default(),
            waiting: AtomicUsize::new(0),
            progress: Mutex::default(),
            doom: Mutex::new(()),
            doomed: AtomicBool::new(false),
        }))
    }

    /// A new file. Never waits.
    ///
    /// # Errors
    /// No local file.
    pub fn create(
        context: Arc<WriteContext>,
        path: RemotePath,
        mode: Option<u16>,
    ) -> Result<Arc<Self>, WriteError> {
        let writer = Self::with(context, path, None, mode)?;
        {
            let mut state = writer.state.lock();
            state.modified = SystemTime::now();
            state.supersedes_kept = true;
            state.mode_pending = mode.is_some();
        }
        Ok(writer)
    }

    /// An existing file whose first change is about to happen; `mode` is what it has, and `seen` when the server said
    /// that it is there. Never waits.
    ///
    /// # Errors
    /// No local file.
    pub fn edit(
        context: Arc<WriteContext>,
        path: RemotePath,
        base: FileVersion,
        seen: Option<Instant>,
        mode: Option<u16>,
    ) -> Result<Arc<Self>, WriteError> {
        let writer = Self::with(context, path, Some(base), mode)?;
        writer.state.lock().seen_there = seen;
        Ok(writer)
    }

    /// The name is a link that the server follows: what is stored goes through it, in place.
    pub fn goes_through_link(&self) {
        self.state.lock().is_link = true;
    }

    /// Bytes of the file as it is now.
    pub fn size(&self) -> u64 {
        self.state.lock().size
    }

    /// When the content last changed, as programs are to see it.
    pub fn modified(&self) -> SystemTime {
        let state = self.state.lock();
        state.set_modified.unwrap_or(state.modified)
    }

    /// The mode that the file will have, if anybody said.
    pub fn mode(&self) -> Option<u16> {
        self.state.lock().mode
    }

    /// Whether the server lacks something, or may lack it because a commit is under way.
    pub fn is_dirty(&self) -> bool {
        self.state.lock().is_dirty()
    }

    /// Whether anything was written or truncated since the file was opened.
    pub fn is_touched(&self) -> bool {
        self.state.lock().touched
    }

    /// The file is elsewhere now.
    pub fn set_path(&self, path: RemotePath) {
        self.state.lock().path = path;
    }

    /// Stages `data`. Never waits for the network.
    ///
    /// # Errors
    /// The local disk is full or fails.
    pub fn write(self: &Arc<Self>, offset: u64, data: &[u8]) -> Result<(), WriteError> {
        let mut state = self.state.lock();
        state.write(offset, data)?;
        self.chase_if_worth_it(&mut state);
        Ok(())
    }

    /// Stages `data` behind the end of the file (`O_APPEND`). Never waits for the network.
    ///
    /// # Errors
    /// The local disk is full or fails.
    pub fn append(self: &Arc<Self>, data: &[u8]) -> Result<(), WriteError> {
        let mut state = self.state.lock();
        let end = state.size;
        state.write(end, data)?;
        self.chase_if_worth_it(&mut state);
        Ok(())
    }

    /// Cuts the file or lengthens it with zeros. Never waits for the network.
    ///
    /// # Errors
    /// The local disk fails.
    pub fn truncate(&self, size: u64) -> Result<(), WriteError> {
        Ok(self.state.lock().truncate(size)?)
    }

    /// The bytes in `range`, clipped at the end of the file, if they are all here.
    pub fn read(&self, range: Range<u64>) -> WriteRead {
        let state = self.state.lock();
        let range = range.start..range.end.min(state.size);
        if !state.missing(range.clone()).is_empty() {
            return WriteRead::Missing;
        }
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        WriteRead::Bytes(state.staging.view(range.start, length))
    }

    /// Remembers a time for after the upload; `None` is the moment of the call. Returns whether it has
    /// to wait for a commit.
    pub fn set_modified(&self, time: Option<SystemTime>) -> bool {
        let mut state = self.state.lock();
        match time {
            Some(time) => state.set_modified = Some(time),
            None => (state.modified, state.set_modified) = (SystemTime::now(), None),
        }
        state.is_dirty()
    }

    /// Remembers the mode for the next commit. Returns whether it has to wait for it because the
    /// server has no such file yet.
    pub fn set_mode(&self, mode: u16) -> bool {
        let mut state = self.state.lock();
        state.mode = Some(mode);
        state.mode_pending = state.base.is_none();
        state.mode_pending
    }

    /// Deletes or replaces the file by `then`, without any upload of it on the line. If that succeeds,
    /// what is dirty concerns nobody but the open handles. May wait.
    ///
    /// # Errors
    /// Those of `then`; the file is then as before.
    pub fn discard_with<R, E>(&self, then: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let _doom = self.doom.lock();
        self.doomed.store(true, Ordering::Release);
        let _over = NotDoomed(&self.doomed);
        let mut stream = self.take_stream();
        self.give_up(&mut stream);
        self.await_given_up();
        let result = then();
        if result.is_ok() {
            self.state.lock().discarded = true;
            self.remove_temporary(&mut stream);
        }
        result
    }

    /// Whether somebody is about to delete or replace the file.
    pub fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::Acquire)
    }

    /// Waits until who deletes or replaces the file is through with it. Called without the stream.
    pub(super) fn await_doom(&self) {
        drop(self.doom.lock());
    }

    /// Takes everything of this file off the line and keeps it so as long as the guard lives: for a
    /// change of its path from above. May wait.
    pub fn stand_still(&self) -> Still<'_> {
        let mut stream = self.take_stream();
        self.leave_to_commit(&mut stream);
        self.await_given_up();
        self.remove_temporary(&mut stream);
        Still(stream)
    }

    /// The stream, as soon as whoever has it is done; a chase ends early.
    pub(super) fn take_stream(&self) -> MutexGuard<'_, Stream> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let stream = self.stream.lock();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        stream
    }

    /// This writer was made in vain: nothing of it reaches the server. May wait.
    pub fn abandon(&self) {
        self.state.lock().discarded = true;
        let mut stream = self.stream.lock();
        self.give_up(&mut stream);
        self.remove_temporary(&mut stream);
    }

    /// The server has the same content under another time now: ours (utimens).
    pub fn rebase_modified(&self, time: SystemTime) {
        let mut state = self.state.lock();
        if let Some(base) = &mut state.base {
            base.modified = Some(time);
        }
        state.modified = time;
    }

    /// Gives the session of a resting upload back, if there is one. Never waits.
    pub fn reclaim(&self) -> bool {
        self.stream
            .try_lock()
            .is_some_and(|mut stream| self.leave_to_commit(&mut stream))
    }

    /// Gives the session back if its stream has rested for longer than `rest`. Never waits.
    pub fn reclaim_if_older(&self, rest: Duration) -> bool {
        self.stream.try_lock().is_some_and(|mut stream| {
            stream.used.elapsed() > rest && self.leave_to_commit(&mut stream)
        })
    }

    fn chase_if_worth_it(self: &Arc<Self>, state: &mut State) {
        if !state.chasing && state.can_chase() && state.chaseable() >= CHASE_STEP {
            state.chasing = true;
            let writer = Arc::clone(self);
            self.context.workers.spawn(move || writer.chase());
        }
    }
}
