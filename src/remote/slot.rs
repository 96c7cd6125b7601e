//! `UploadSlot`: uploads never take the last session, so that looking around goes on beside them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{ErrorKind, Progress, Remote, RemoteError};

/// How often those who hold uploads in vain are asked again while somebody waits.
const RECLAIM_AGAIN: Duration = Duration::from_millis(200);

/// How many uploads are on the line. A download can be given up and resumed at any byte, so downloads
/// make room by themselves; an upload has to be begun anew.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Uploads that hold a slot.
    taken: Mutex<usize>,
    freed: Condvar,
}

/// The right to have one upload on the line.
#[derive(Debug)]
pub struct UploadSlot {
    remote: Arc<Remote>,
    /// That of the upload which has it.
    pub(super) progress: Arc<Progress>,
}

impl Drop for UploadSlot {
    fn drop(&mut self) {
        let slots = &self.remote.slots;
        *slots.taken.lock() -= 1;
        slots.freed.notify_one();
    }
}

impl Remote {
    /// A slot, if one is free or somebody gives up an upload that rests. Does not wait.
    pub fn try_upload_slot(self: &Arc<Self>) -> Option<UploadSlot> {
        self.take_slot().or_else(|| {
            self.pool.reclaim();
            self.take_slot()
        })
    }

    /// A slot, waited for as long as other transfers get on.
    ///
    /// # Errors
    /// `TimedOut` when nothing has moved for the timeout.
    pub fn upload_slot(self: &Arc<Self>) -> Result<UploadSlot, RemoteError> {
        let mut moved = (self.progress(), Instant::now());
        loop {
            if let Some(slot) = self.try_upload_slot() {
                return Ok(slot);
            }
            let mut taken = self.slots.taken.lock();
            self.slots.freed.wait_for(&mut taken, RECLAIM_AGAIN);
            drop(taken);
            let now = self.progress();
            if now != moved.0 {
                moved = (now, Instant::now());
            } else if moved.1.elapsed() > self.timeout {
                let message = format!(
                    "timed out after {} s waiting for the other uploads",
                    self.timeout.as_secs()
                );
                return Err(RemoteError::found(ErrorKind::TimedOut, message));
            }
        }
    }

    fn take_slot(self: &Arc<Self>) -> Option<UploadSlot> {
        let most = self.pool.counts().allowed.saturating_sub(1).max(1);
        let mut taken = self.slots.taken.lock();
        if *taken >= most {
            return None;
        }
        *taken += 1;
        Some(UploadSlot {
            remote: Arc::clone(self),
            progress: Arc::default(),
        })
    }
}
