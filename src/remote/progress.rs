//! `Progress`: whether what is on the line gets on.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::Upload;

/// A number that changes as long as nothing is stuck: of the whole mount, or of one upload.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    steps: AtomicU64,
    /// Uploads whose bytes are all sent and whose final reply is still out.
    awaiting_final: AtomicUsize,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            steps: AtomicU64::new(0),
            awaiting_final: AtomicUsize::new(0),
        }
    }
}

impl Progress {
    /// Counts steps, and the seconds of a final reply, which has its own, longer time.
    pub fn value(&self) -> u64 {
        let seconds = match self.awaiting_final.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.begun.elapsed().as_secs(),
        };
        self.steps.load(Ordering::Relaxed).wrapping_add(seconds)
    }

    /// A piece of data was sent or received, or an operation answered.
    pub(super) fn one(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// A final reply is waited for as long as the guard lives.
    pub(super) fn awaits_final(&self) -> AwaitsFinal<'_> {
        self.awaiting_final.fetch_add(1, Ordering::Relaxed);
        AwaitsFinal(self)
    }
}

impl Upload {
    /// Whether it gets on, as long as it lives.
    pub fn progress(&self) -> Weak<Progress> {
        Arc::downgrade(&self.slot.progress)
    }
}

/// See [`Progress::awaits_final`].
pub(super) struct AwaitsFinal<'a>(&'a Progress);

impl Drop for AwaitsFinal<'_> {
    fn drop(&mut self) {
        self.0.awaiting_final.fetch_sub(1, Ordering::Relaxed);
    }
}
