//! Cleaning up after transfers that were given up, while nobody waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Remote;
use crate::ftp::{RemotePath, Settling};
use crate::pool::Lease;

/// Waits for the last reply on a thread of its own, and drops `guard` when it has come or is not to be
/// expected any more. Each holds a session, so there are never more threads than connections.
pub(super) fn in_background(settling: Settling<Lease>, guard: impl Send + 'static) {
    let thread = std::thread::Builder::new()
        .name("ftpfs-settle".into())
        .spawn(move || {
            settling.settle();
            drop(guard);
        });
    if let Err(e) = thread {
        // The session went down with the closure, as broken.
        log::debug!("a session is given up: {e}");
    }
}

/// Uploads that were given up and that the server may still be writing: after RST it stores what it
/// had received before. Into a file that another upload has begun anew by then it would write old
/// bytes over new ones, with the size as it should be (seen with Pure-FTPd).
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    paths: Mutex<HashMap<RemotePath, usize>>,
    ended: Condvar,
}

/// As long as it lives, an upload to its path counts as unsettled.
pub(super) struct GivenUp {
    remote: Arc<Remote>,
    path: RemotePath,
}

impl GivenUp {
    pub(super) fn new(remote: &Arc<Remote>, path: &RemotePath) -> Self {
        let mut paths = remote.unsettled.paths.lock();
        *paths.entry(path.clone()).or_default() += 1;
        Self {
            remote: Arc::clone(remote),
            path: path.clone(),
        }
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        let unsettled = &self.remote.unsettled;
        let mut paths = unsettled.paths.lock();
        if let Some(count) = paths.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                paths.remove(&self.path);
            }
        }
        unsettled.ended.notify_all();
    }
}

impl Remote {
    /// Waits until no upload to `path` that was given up can end any more: some servers then delete what they have, by
    /// its name (ftp-srv). At most the timeout.
    pub fn await_given_up(&self, path: &RemotePath) {
        self.unsettled.wait(path, self.timeout);
    }
}

impl Unsettled {
    /// Waits until no upload to `path` is being given up, at most `limit`.
    pub(super) fn wait(&self, path: &RemotePath, limit: Duration) {
        let mut paths = self.paths.lock();
        let waits = |paths: &mut HashMap<RemotePath, usize>| paths.contains_key(path);
        if self
            .ended
            .wait_while_for(&mut paths, waits, limit)
            .timed_out()
        {
            log::warn!("{path}: the server does not say whether an upload given up has ended");
        }
    }
}
