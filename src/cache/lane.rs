//! The job of a stream besides a reader's own: fetches segments ahead.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::block::BLOCK;
use super::reader::{FileReader, ReadError, State, Waiter};
use super::segments::Progress;
use super::stream::{READ_THROUGH, Stream};
use crate::remote::{Download, ErrorKind, RemoteError};

impl FileReader {
    /// The job of a stream besides the reader's own: fetches one segment after the other.
    pub(super) fn fetch_segments(self: &Arc<Self>, first: u64) {
        let mut held = Held {
            reader: self,
            id: first,
        };
        loop {
            match self.fetch_segment(held.id) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // The reader's own stream asks for it when it is wanted, and says what it finds.
                    log::debug!("a segment ahead: {error}");
                    let mut state = self.state.lock();
                    if error.kind() != ErrorKind::Changed && state.segments.pace.is_opening() {
                        let fewer = state.segments.wanted - 1;
                        self.fall_back(&mut state, fewer.max(1));
                    } else {
                        state.segments.stop();
                    }
                    return;
                }
            }
            let mut state = self.state.lock();
            state.segments.claims.retain(|claim| claim.id != held.id);
            let enough = state.segments.claims.len() + 1 >= state.segments.wanted;
            if enough || self.context.remote.is_contended() {
                return;
            }
            let Some(id) = self.claim(&mut state) else {
                return;
            };
            held.id = id;
        }
    }

    /// Whether the segment was fetched to its end.
    fn fetch_segment(self: &Arc<Self>, id: u64) -> Result<bool, RemoteError> {
        let (path, mut at, end) = {
            let mut state = self.state.lock();
            let several = state.segments.claims.len() < state.segments.wanted;
            if !several || state.detached || self.is_retired() {
                return Ok(false);
            }
            let Some(claim) = state.segments.progress(id, Progress::Opening) else {
                return Ok(false);
            };
            let (at, end) = (claim.at, claim.end);
            (state.path.clone(), at, end)
        };
        let remote = &self.context.remote;
        let mut download = Download::open_checked(remote, &path, at, self.version)?;
        {
            let mut state = self.state.lock();
            state.segments.progress(id, Progress::Running);
            state.segments.pace.one_flows();
        }
        while at < end {
            let mut block = self.context.blocks.buffer(BLOCK.min(end - at));
            let mut filled = 0;
            while filled < block.len() {
                let count = download.read(&mut block[filled..])?;
                filled += count;
                self.count_arrived(count);
                if count == 0 || self.is_retired() || remote.is_contended() {
                    block.truncate(filled);
                    self.context.blocks.insert(self.content, at, block);
                    self.state.lock().segments.pace.interrupted();
                    return Ok(false);
                }
            }
            self.context.blocks.insert(self.content, at, block);
            at += filled as u64;
            if !self.goes_on(id, at) {
                self.park(download, at, end);
                return Ok(false);
            }
        }
        self.end(download);
        Ok(true)
    }

    /// A segment has arrived up to `at`. Answers those who waited for that; false if there are too many streams.
    fn goes_on(self: &Arc<Self>, id: u64, at: u64) -> bool {
        let mut state = self.state.lock();
        if let Some(claim) = state.segments.progress(id, Progress::Running) {
            claim.at = at;
        }
        self.look_at_pace(&mut state);
        // Of a deleted file nothing can be fetched again.
        let goes_on = state.segments.claims.len() < state.segments.wanted || state.detached;
        self.serve(state);
        goes_on
    }

    /// Answers those who wait and whose bytes are there.
    fn serve(self: &Arc<Self>, mut state: parking_lot::MutexGuard<'_, State>) {
        let complete = self.take_complete(&mut state, None);
        let unserved = |state: &State| {
            let mut needs = state.waiters.iter().map(Waiter::need);
            needs.any(|need| !state.segments.cover(need))
        };
        if unserved(&state) {
            self.start_filling(&mut state);
        }
        drop(state);
        let verdict = match self.another.load(Ordering::Relaxed) {
            true => Err(ReadError::Changed),
            false => Ok(()),
        };
        if !complete.is_empty() {
            self.answer(complete, &verdict);
        }
    }

    /// A stream is not to go on. The reader's own comes to a stop where this one began: it goes on with this one.
    fn park(&self, download: Download, at: u64, end: u64) {
        let mut state = self.state.lock();
        let last = state.segments.wanted == 1 && state.segments.parked.is_none();
        if last && state.filling && !state.detached && at < end {
            state.segments.parked = Some(download);
        } else {
            drop(state);
            self.end(download);
        }
    }

    /// Whether a parked stream is taken on to reach `goal`.
    pub(super) fn take_parked(&self, stream: &mut Stream, goal: u64) -> bool {
        let Some(parked) = self.state.lock().segments.parked.take() else {
            return false;
        };
        let at = parked.position();
        let fits = at <= goal && goal - at <= READ_THROUGH;
        if fits {
            stream.run(parked);
        }
        fits
    }

    /// The reader's own stream is wanted elsewhere.
    pub(super) fn leave(&self, stream: &mut Stream) {
        self.publish(stream);
        if let Some(download) = stream.download.take() {
            self.end(download);
        }
    }

    /// Gives a session back; where none is left for the next stream, waits until it is free.
    fn end(&self, download: Download) {
        let several = self.state.lock().segments.wanted > 1;
        if several && self.context.remote.spare_sessions() == 0 {
            download.leave();
        } else {
            download.abandon();
        }
    }
}

/// A stream's present segment; what has not arrived when it ends is the reader's own stream's business.
struct Held<'a> {
    reader: &'a Arc<FileReader>,
    id: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.reader.state.lock();
        let segments = &mut state.segments;
        if let Some(at) = segments.claims.iter().position(|c| c.id == self.id) {
            let claim = segments.claims.swap_remove(at);
            state.fetched = state.fetched.min(claim.at);
        }
        self.reader.serve(state);
    }
}
