//! `Lately`: who was just told that a file cannot be read does not wait for the same once more.
//!
//! When a READ fails that the kernel has sent to read ahead, it asks for the first page alone, in the same
//! read(2): without this, that would last twice as long as it may.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fuser::Errno;
use parking_lot::Mutex;

use super::slot::Call;

/// The kernel asks again at once; a program that does is told the same.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Failures that took long, by thread and inode.
#[derive(Default)]
pub(super) struct Lately {
    failed: Mutex<HashMap<(u32, u64), (Instant, Errno)>>,
}

impl Lately {
    /// A READ that came `since` then was refused now.
    pub(super) fn failed(&self, call: &Call, since: Instant, errno: Errno) {
        if since.elapsed() < AT_ONCE {
            return;
        }
        let mut failed = self.failed.lock();
        // As many as failed in one moment.
        failed.retain(|_, (when, _)| when.elapsed() < AT_ONCE);
        failed.insert((call.caller, call.ino), (Instant::now(), errno));
    }

    /// It was answered well after all.
    pub(super) fn forget(&self, call: &Call) {
        self.failed.lock().remove(&(call.caller, call.ino));
    }

    /// What this READ is to be answered at once.
    pub(super) fn answer(&self, call: &Call) -> Option<Errno> {
        let mut failed = self.failed.lock();
        if failed.is_empty() {
            return None;
        }
        let (when, errno) = failed.remove(&(call.caller, call.ino))?;
        (when.elapsed() < AT_ONCE).then_some(errno)
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot::tests::call;
    use super::*;

    #[test]
    fn what_took_long_and_failed_is_not_tried_again_at_once() {
        let lately = Lately::default();
        let read = call("read", 7);
        let now = Instant::now();
        lately.failed(&read, now, Errno::EIO);
        assert!(lately.answer(&read).is_none(), "it was fast");
        let long_ago = now.checked_sub(2 * AT_ONCE).unwrap();
        lately.failed(&read, long_ago, Errno::ETIMEDOUT);
        assert!(lately.answer(&call("read", 8)).is_none(), "somebody else");
        let errno = lately.answer(&read).unwrap();
        assert_eq!(errno.code(), libc::ETIMEDOUT);
        assert!(lately.answer(&read).is_none(), "the next one waits");
    }
}
