//! The one stream of a `FileReader`: a running download, and the block that it fills.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::block::{BLOCK, Block};
use super::buffer::Buffer;
use super::reader::{FileReader, ReadError};
use crate::remote::{Download, ErrorKind};

/// A running download is read on through a gap of at most this many bytes: that is cheaper than the
/// round trips and the slow start of a new one.
pub(super) const READ_THROUGH: u64 = 512 << 10;

/// What a reader has on the line.
pub(super) struct Stream {
    pub(super) download: Option<Download>,
    /// The block that is being filled: `filled` bytes of `building` are true, beginning at
    /// `building_at` in the file.
    pub(super) building: Option<Buffer>,
    pub(super) building_at: u64,
    pub(super) filled: usize,
    /// The block that was last complete: there may be no room for it in the cache.
    last: Option<(u64, Arc<Block>)>,
    /// Bytes that the present download has delivered.
    pub(super) delivered: u64,
    pub(super) used: Instant,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            download: None,
            building: None,
            building_at: 0,
            filled: 0,
            last: None,
            delivered: 0,
            used: Instant::now(),
        }
    }

    /// Goes on with this one.
    pub(super) fn run(&mut self, download: Download) {
        self.download = Some(download);
        self.delivered = 0;
        self.used = Instant::now();
        (self.building, self.filled) = (None, 0);
    }

    /// Bytes of the block under construction.
    pub(super) fn bytes(&self, at: u64, length: usize) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.building_at)?).ok()?;
        if from >= self.filled {
            return None;
        }
        let building = self.building.as_ref()?;
        Some(&building[from..self.filled.min(from.saturating_add(length))])
    }

    /// The first byte from `at` on that the block under construction does not have.
    pub(super) fn end_of_known(&self, at: u64) -> u64 {
        let known = self.bytes(at, usize::MAX).map_or(0, <[u8]>::len);
        at + known as u64
    }

    pub(super) fn forget_last(&mut self) {
        self.last = None;
    }

    /// The block that was last complete, if it has the byte at `at`.
    pub(super) fn last_block(&self, at: u64) -> Option<&Arc<Block>> {
        let (begin, block) = self.last.as_ref()?;
        (begin / BLOCK == at / BLOCK).then_some(block)
    }
}

impl FileReader {
    /// Reads one piece of the stream such that `goal` comes nearer.
    pub(super) fn fetch(&self, stream: &mut Stream, goal: u64) -> Result<(), ReadError> {
        let position = stream.download.as_ref().map(Download::position);
        // Of a deleted file there will be no other stream: through what others have fetched, too.
        let through = |at: u64| {
            goal - at <= READ_THROUGH
                || goal - at <= self.context.readahead && self.state.lock().detached
        };
        if !position.is_some_and(|at| at <= goal && through(at)) {
            self.leave(stream);
            if !self.take_parked(stream, goal) {
                self.open(stream, goal)?;
            }
        }
        let Some(download) = &mut stream.download else {
            return Ok(());
        };
        let building = stream.building.get_or_insert_with(|| {
            (stream.building_at, stream.filled) = (download.position(), 0);
            let room = BLOCK - download.position() % BLOCK;
            self.context.blocks.buffer(room)
        });
        download.set_path(&self.state.lock().path);
        match download.read(&mut building[stream.filled..]) {
            Ok(0) => {
                let end = download.position();
                stream.download = None;
                self.publish(stream);
                if self.version.is_none() {
                    self.state.lock().end = Some(end);
                    Ok(())
                } else {
                    // With a known size nobody asks for bytes behind it: the file is shorter.
                    Err(ReadError::Changed)
                }
            }
            Ok(n) => {
                stream.filled += n;
                self.count_arrived(n);
                stream.delivered += n as u64;
                stream.used = Instant::now();
                if stream.filled == building.len() {
                    self.publish(stream);
                }
                Ok(())
            }
            Err(error) => {
                stream.download = None;
                self.publish(stream);
                Err(ReadError::Remote(Arc::new(error)))
            }
        }
    }

    fn open(&self, stream: &mut Stream, offset: u64) -> Result<(), ReadError> {
        let (path, begun) = {
            let mut state = self.state.lock();
            if state.detached {
                return Err(ReadError::Gone);
            }
            (
                state.path.clone(),
                std::mem::replace(&mut state.begun, true),
            )
        };
        // What was read before came from the version that was opened; so must what follows.
        let open = if begun {
            Download::open_checked
        } else {
            Download::open
        };
        let download = open(&self.context.remote, &path, offset, self.version);
        let download = download.map_err(|e| ReadError::Remote(Arc::new(e)))?;
        if let Some(round_trip) = download.round_trip() {
            self.state.lock().segments.round_trip = round_trip;
        }
        stream.run(download);
        Ok(())
    }

    /// Whether bytes may leave. When all that the file has are there, and more of them come, then they are the
    /// front of another file than was opened.
    pub(super) fn verdict(&self, stream: &mut Stream) -> Result<(), ReadError> {
        let (Some(version), Some(download)) = (self.version, &mut stream.download) else {
            return Ok(());
        };
        if download.position() < version.size || download.check_end().is_ok() {
            return Ok(());
        }
        stream.download = None;
        (stream.building, stream.filled, stream.last) = (None, 0, None);
        self.is_another();
        Err(ReadError::Changed)
    }

    /// What was fetched is of another content than was opened.
    fn is_another(&self) {
        self.another.store(true, Ordering::Relaxed);
        self.detach();
    }

    /// All bytes have come and were handed out; only the server's final word is left. It frees the
    /// session, and a file that goes on behind its size is another file.
    pub(super) fn finish_at_end(&self, stream: &mut Stream) {
        let Some(version) = self.version else { return };
        if stream
            .download
            .as_ref()
            .is_none_or(|d| d.position() < version.size)
        {
            return;
        }
        self.publish(stream);
        let Some(mut download) = stream.download.take() else {
            return;
        };
        match download.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => self.is_another(),
            Err(error) if error.kind() == ErrorKind::Changed => self.is_another(),
            // Every byte that the file has was received: a lost final reply takes nothing away.
            Err(error) => log::debug!("after the last byte of a download: {error}"),
        }
    }

    /// Hands the block under construction to the cache.
    pub(super) fn publish(&self, stream: &mut Stream) {
        let Some(mut data) = stream.building.take() else {
            return;
        };
        data.truncate(std::mem::take(&mut stream.filled));
        let at = stream.building_at;
        let block = self.context.blocks.insert(self.content, at, data);
        stream.last = Some((at, block));
    }

    pub(super) fn give_up(&self, stream: &mut Stream) -> bool {
        self.publish(stream);
        stream.forget_last();
        let Some(download) = stream.download.take() else {
            return false;
        };
        download.abandon();
        true
    }
}
