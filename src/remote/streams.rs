//! How many streams at a time bring one file the fastest, and whether there are sessions for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Remote;

/// What was learned of the line is believed for this long.
const BELIEVED: Duration = Duration::from_secs(600);

/// What trials have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// So many at a time are worth it.
    pub count: usize,
    /// One more is not.
    pub tried_more: bool,
}

/// The right to read one file by several streams: two at a time could not tell what they bring.
#[derive(Debug)]
pub struct StreamsTurn {
    remote: Arc<Remote>,
}

impl Drop for StreamsTurn {
    fn drop(&mut self) {
        self.remote.streams_taken.store(false, Ordering::Release);
    }
}

impl Remote {
    /// What is known of reading one file by several streams, if it was tried lately.
    pub fn streams(&self) -> Option<Streams> {
        let learned = *self.streams.lock();
        learned.and_then(|(streams, at)| (at.elapsed() < BELIEVED).then_some(streams))
    }

    /// A trial has shown this.
    pub fn learn_streams(&self, streams: Streams) {
        *self.streams.lock() = Some((streams, Instant::now()));
    }

    /// The right to read one file by several streams, if nobody has it.
    pub fn streams_turn(self: &Arc<Self>) -> Option<StreamsTurn> {
        let taken = self.streams_taken.swap(true, Ordering::Acquire);
        (!taken).then(|| StreamsTurn {
            remote: Arc::clone(self),
        })
    }

    /// Sessions that nobody uses or waits for, or that may be opened, but one: that stays for whoever comes
    /// next.
    pub fn spare_sessions(&self) -> usize {
        if self.pool.is_contended() {
            return 0;
        }
        let counts = self.pool.counts();
        let free = counts.idle + counts.allowed.saturating_sub(counts.live);
        free.saturating_sub(1)
    }
}
