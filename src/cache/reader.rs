//! `FileReader`: reads of one open file, served from blocks, filled by one stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::block::{BLOCK, Block};
use super::segments::Segments;
use super::stream::Stream;
use super::{BlockCache, ContentId, ReadaheadWindow};
use crate::ftp::RemotePath;
use crate::remote::{ErrorKind, FileVersion, Remote, RemoteError};
use crate::workers::Workers;

/// Why a read failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The server, or the way to it.
    #[error(transparent)]
    Remote(Arc<RemoteError>),
    /// The file was deleted or replaced through this mount, and what was not fetched before is gone.
    #[error("the file was deleted or replaced while it was open")]
    Gone,
    /// The file on the server is no longer the one that was opened.
    #[error("the file changed on the server while it was open")]
    Changed,
}

impl ReadError {
    /// Whether the file is another one than was opened.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Remote(error) => error.kind() == ErrorKind::Changed,
            Self::Gone => false,
            Self::Changed => true,
        }
    }
}

/// Takes the bytes of a read. Called once.
pub type Done = Box<dyn FnOnce(Result<&[u8], ReadError>) + Send>;

/// What all readers of a mount share.
#[derive(Debug, Clone)]
pub struct ReadContext {
    /// The server.
    pub remote: Arc<Remote>,
    /// Blocks of all files.
    pub blocks: Arc<BlockCache>,
    /// Where streams are read.
    pub workers: Arc<Workers>,
    /// The largest window of one reader, in bytes.
    pub readahead: u64,
}

/// Reads of one content of one file.
///
/// A read that memory can answer is answered by the caller. All others wait in a list that one job
/// on a worker serves: it reads the file's one download on, block by block, and answers whoever
/// has got all his bytes. When nobody waits and enough is read ahead, the job ends and the
/// download rests until it is wanted again, reclaimed, or old. Where it pays, further jobs fetch segments in
/// front of it by downloads of their own.
pub struct FileReader {
    pub(super) context: ReadContext,
    pub(super) content: ContentId,
    pub(super) version: Option<FileVersion>,
    /// Set with the first bytes that leave.
    pub(super) delivered: AtomicBool,
    /// What was fetched turned out to be of another content.
    pub(super) another: AtomicBool,
    /// Nobody will want anything but what is waited for already.
    retired: AtomicBool,
    /// Bytes that have come from the server.
    pub(super) arrived: AtomicU64,
    /// Of these, bytes that were read.
    asked: AtomicU64,
    /// Taken by callers for a moment; never held while the network is used.
    pub(super) state: Mutex<State>,
    /// Taken by workers only, over the stream's I/O; before `state`.
    pub(super) stream: Mutex<Stream>,
}

pub(super) struct State {
    pub(super) path: RemotePath,
    pub(super) window: ReadaheadWindow,
    /// Everything in front of this that the window wants has been fetched.
    pub(super) fetched: u64,
    pub(super) waiters: VecDeque<Waiter>,
    /// A job runs or is queued.
    pub(super) filling: bool,
    /// The path no longer leads to this content.
    pub(super) detached: bool,
    /// A first download has been begun: the next one must check that it is the same file.
    pub(super) begun: bool,
    /// The end of a file whose size was not known in advance.
    pub(super) end: Option<u64>,
    /// What several streams at a time do.
    pub(super) segments: Segments,
    /// Blocks that must outlive the cache's own judgement: of a file that is about to be deleted.
    pub(super) pinned: Vec<(u64, Vec<u8>)>,
}

pub(super) struct Waiter {
    offset: u64,
    length: usize,
    got: Got,
    done: Done,
}

/// What a waiter has of his bytes.
enum Got {
    /// A block that has them all.
    Block(Arc<Block>),
    /// The front of them, of several blocks.
    Copy(Vec<u8>),
}

impl Waiter {
    pub(super) fn has(&self) -> usize {
        match &self.got {
            Got::Block(_) => self.length,
            Got::Copy(bytes) => bytes.len(),
        }
    }

    /// The first byte that is still missing.
    pub(super) fn need(&self) -> u64 {
        self.offset + self.has() as u64
    }

    pub(super) fn missing(&self) -> usize {
        self.length - self.has()
    }

    /// Takes what a block has of the missing bytes: itself, if that is all of them.
    fn take(&mut self, block: &Arc<Block>) -> bool {
        let Some(bytes) = block.bytes(self.need(), self.missing()) else {
            return false;
        };
        if bytes.len() == self.length {
            self.got = Got::Block(Arc::clone(block));
        } else {
            self.copy(bytes);
        }
        true
    }

    fn copy(&mut self, more: &[u8]) {
        if let Got::Copy(bytes) = &mut self.got {
            bytes.reserve_exact(self.length - bytes.len());
            bytes.extend_from_slice(more);
        }
    }

    /// Answers with the bytes that are there.
    pub(super) fn answer(self) {
        let bytes = match &self.got {
            Got::Block(block) => block.bytes(self.offset, self.length).unwrap_or_default(),
            Got::Copy(bytes) => bytes,
        };
        (self.done)(Ok(bytes));
    }

    pub(super) fn fail(self, error: ReadError) {
        (self.done)(Err(error));
    }
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader")
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

impl FileReader {
    /// Reads of the file that is at `path` and was `version` when it was opened. Without a
    /// version, its end is where the server says it is.
    pub fn new(
        context: ReadContext,
        path: RemotePath,
        content: ContentId,
        version: Option<FileVersion>,
    ) -> Arc<Self> {
        let window = ReadaheadWindow::new(context.readahead);
        Arc::new(Self {
            context,
            content,
            version,
            delivered: AtomicBool::new(false),
            another: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            state: Mutex::new(State {
                path,
                window,
                fetched: 0,
                waiters: VecDeque::new(),
                filling: false,
                detached: false,
                begun: false,
                end: None,
                segments: Segments::new(),
                pinned: Vec::new(),
            }),
            stream: Mutex::new(Stream::new()),
        })
    }

    /// Bytes of this content are remembered: already the first download is to be of this version. `shown`: somebody
    /// may have seen some of them.
    pub fn set_known(&self, shown: bool) {
        self.state.lock().begun = true;
        self.delivered.store(shown, Ordering::Relaxed);
    }

    /// The content that is read.
    pub fn content(&self) -> ContentId {
        self.content
    }

    /// What the file was when it was opened.
    pub fn version(&self) -> Option<FileVersion> {
        self.version
    }

    /// Reads `length` bytes from `offset` on, fewer only at the end of the file. Never waits: `done`
    /// is called at once or by a worker.
    pub fn read(self: &Arc<Self>, offset: u64, length: u32, done: Done) {
        let length = self.clip(offset, length);
        if length == 0 {
            return done(Ok(&[]));
        }
        if self.another.load(Ordering::Relaxed) {
            return done(Err(ReadError::Changed));
        }
        if let Some(block) = self.context.blocks.get(self.content, offset)
            && let Some(bytes) = block.bytes(offset, length)
            && bytes.len() == length
        {
            self.delivered.store(true, Ordering::Relaxed);
            done(Ok(bytes));
            self.count_hit(length);
            self.record(offset, length);
            return;
        }
        let mut waiter = Waiter {
            offset,
            length,
            got: Got::Copy(Vec::new()),
            done,
        };
        self.advance(&mut waiter, None);
        if waiter.missing() == 0 {
            self.delivered.store(true, Ordering::Relaxed);
            waiter.answer();
            self.count_hit(length);
            self.record(offset, length);
            return;
        }
        self.context.remote.board().read_misses.one();
        let mut state = self.state.lock();
        state.window.record(offset, length as u64);
        // A miss: whatever was fetched, it was not this.
        state.fetched = offset;
        state.waiters.push_back(waiter);
        self.start_filling(&mut state);
    }

    /// Takes all bytes of a file, which came together with its version. Those of another version are of no use.
    pub fn offer(&self, version: FileVersion, whole: Vec<u8>) {
        let length = whole.len() as u64;
        if length <= BLOCK && length == version.size && self.version == Some(version) {
            self.context.blocks.insert(self.content, 0, whole);
        }
    }

    /// The file is elsewhere now.
    pub fn set_path(&self, path: RemotePath) {
        self.state.lock().path = path;
    }

    /// The path leads to another content from now on, or to none: a running download goes on, a new
    /// one fails with [`ReadError::Gone`].
    pub fn detach(&self) {
        self.state.lock().detached = true;
    }

    /// Fetches the whole file and keeps it as long as this reader lives. For a small file that is about
    /// to be deleted or replaced while somebody has it open. May wait.
    ///
    /// # Errors
    /// The file could not be read to its end.
    pub fn keep_all(&self) -> Result<(), ReadError> {
        let Some(version) = self.version else {
            return Ok(());
        };
        let mut stream = self.stream.lock();
        let mut at = 0;
        let mut pinned = Vec::new();
        while at < version.size {
            if let Some(bytes) = self.known(at, usize::try_from(BLOCK).unwrap_or(0), Some(&stream))
            {
                at += bytes.len() as u64;
                pinned.push((at - bytes.len() as u64, bytes));
            } else {
                self.fetch(&mut stream, at)?;
            }
        }
        self.finish_at_end(&mut stream);
        stream.forget_last();
        self.state.lock().pinned = pinned;
        Ok(())
    }

    /// Whether a read was answered with bytes of this content: from then on no other content will do.
    pub fn has_delivered(&self) -> bool {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Gives the session of a resting download back, if there is one. Never waits.
    pub fn reclaim(&self) -> bool {
        let parked = self.state.lock().segments.give_up_parked();
        let stream = self.stream.try_lock();
        parked || stream.is_some_and(|mut stream| self.give_up(&mut stream))
    }

    /// The file is written from now on: no more is read ahead, and the download ends as soon as nobody
    /// waits for it. It may hold a lock on the server that keeps the writer out (vsftpd). Never waits.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.reclaim();
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Gives the session back if the download has rested for longer than `rest`. Never waits.
    pub fn reclaim_if_older(&self, rest: Duration) -> bool {
        self.stream.try_lock().is_some_and(|mut stream| {
            let old = stream.used.elapsed() > rest;
            if old {
                self.state.lock().segments.stop();
            }
            old && self.give_up(&mut stream)
        })
    }

    fn clip(&self, offset: u64, length: u32) -> usize {
        let end = match self.version {
            Some(version) => Some(version.size),
            None => self.state.lock().end,
        };
        let length = u64::from(length);
        let left = end.map_or(length, |end| length.min(end.saturating_sub(offset)));
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    pub(super) fn count_arrived(&self, count: usize) {
        self.arrived.fetch_add(count as u64, Ordering::Relaxed);
        self.context.remote.board().fetched.add(count as u64);
    }

    fn count_hit(&self, length: usize) {
        self.context.remote.board().read_hits.one();
        self.count_read(length);
    }

    /// A program has got so many bytes. What it reads again does not count, nor what had been in memory.
    pub(super) fn count_read(&self, length: usize) {
        let arrived = self.arrived.load(Ordering::Relaxed);
        let more = |before: u64| Some((before + length as u64).min(arrived).max(before));
        let order = Ordering::Relaxed;
        if let Ok(before) = self.asked.fetch_update(order, order, more) {
            let after = more(before).unwrap_or(before);
            self.context.remote.board().used.add(after - before);
        }
    }

    /// Takes note of a read that memory answered, and fetches ahead if it is time to.
    fn record(self: &Arc<Self>, offset: u64, length: usize) {
        let mut state = self.state.lock();
        state.window.record(offset, length as u64);
        let target = self.target(&state);
        // Half a window is left before the next job: one job for many reads.
        let front = offset + length as u64;
        let half =
            state.fetched.saturating_sub(front).saturating_mul(2) <= target - front.min(target);
        if state.fetched < target && (half || state.segments.are_due(target - state.fetched)) {
            self.start_filling(&mut state);
        }
    }

    pub(super) fn target(&self, state: &State) -> u64 {
        let size = self.version.map(|v| v.size).or(state.end);
        size.map_or(0, |size| state.window.target().min(size))
    }

    fn advance(&self, waiter: &mut Waiter, stream: Option<&Stream>) {
        let state = self.state.lock();
        self.advance_locked(&state, waiter, stream);
    }

    /// Gives a waiter what memory has of his bytes, up to the first that is missing.
    pub(super) fn advance_locked(
        &self,
        state: &State,
        waiter: &mut Waiter,
        stream: Option<&Stream>,
    ) {
        while waiter.missing() > 0 {
            let (need, missing) = (waiter.need(), waiter.missing());
            // What is still coming is taken from its block when that is complete, without a copy.
            let building = stream.and_then(|stream| stream.bytes(need, missing));
            if let Some(bytes) = building.filter(|bytes| bytes.len() == missing) {
                waiter.copy(bytes);
                continue;
            }
            let last = stream.and_then(|stream| stream.last_block(need));
            let cached = || self.context.blocks.get(self.content, need);
            if last.is_some_and(|block| waiter.take(block))
                || cached().is_some_and(|block| waiter.take(&block))
            {
                continue;
            }
            let Some(bytes) = state.pinned(need, missing) else {
                return;
            };
            waiter.copy(bytes);
        }
    }

    fn known(&self, at: u64, length: usize, stream: Option<&Stream>) -> Option<Vec<u8>> {
        let within = usize::try_from(BLOCK - at % BLOCK).unwrap_or(0).min(length);
        if let Some(bytes) = stream.and_then(|s| s.bytes(at, within)) {
            return Some(bytes.to_vec());
        }
        let last = stream.and_then(|stream| stream.last_block(at));
        let bytes = |block: &Arc<Block>| block.bytes(at, within).map(<[u8]>::to_vec);
        last.and_then(bytes)
            .or_else(|| bytes(&self.context.blocks.get(self.content, at)?))
    }
}

impl State {
    fn pinned(&self, at: u64, length: usize) -> Option<&[u8]> {
        let next = self.pinned.partition_point(|(start, _)| *start <= at);
        let (start, data) = self.pinned.get(next.checked_sub(1)?)?;
        let from = usize::try_from(at - start).ok()?;
        let bytes = data.get(from..)?;
        (!bytes.is_empty()).then(|| &bytes[..bytes.len().min(length)])
    }
}
