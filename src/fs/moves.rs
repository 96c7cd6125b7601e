//! `Moves`: which names are becoming other files, or none, or have just become that.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::{FsError, FtpFs};
use crate::ftp::RemotePath;

/// So many ended renames are remembered: an open that took longer than that many asks again.
const REMEMBERED: usize = 256;

/// Lets an open find out that the name it opened has become another file meanwhile.
#[derive(Debug, Default)]
pub(super) struct Moves {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    active: Vec<RemotePath>,
    /// The last ones that ended; the number of the newest is `count`.
    recent: VecDeque<RemotePath>,
    count: u64,
}

/// A rename or unlink under way.
pub(super) struct Moving<'a> {
    moves: &'a Moves,
    to: RemotePath,
}

impl Moves {
    /// `to` is about to become another file, until the result is dropped.
    pub(super) fn begin(&self, to: &RemotePath) -> Moving<'_> {
        self.state.lock().active.push(to.clone());
        Moving {
            moves: self,
            to: to.clone(),
        }
    }

    /// `path` has another content now: what was asked of the server before is of no use to an open.
    pub(super) fn happened(&self, path: &RemotePath) {
        drop(self.begin(path));
    }

    /// A moment, for [`Moves::changed_since`].
    pub(super) fn now(&self) -> u64 {
        self.state.lock().count
    }

    /// Whether `path` has become another file since `moment`. Waits for a rename that is about to do that, which
    /// may have to upload the file first.
    ///
    /// # Errors
    /// ETIMEDOUT if that is still under way at `deadline`.
    pub(super) fn changed_since(
        &self,
        moment: u64,
        path: &RemotePath,
        deadline: Instant,
    ) -> Result<bool, FsError> {
        let mut state = self.state.lock();
        while state.active.contains(path) {
            if self.ended.wait_until(&mut state, deadline).timed_out() {
                return Err(FsError::Errno(libc::ETIMEDOUT));
            }
        }
        Ok(state.has_ended_since(moment, path))
    }

    /// Whether `path` has become another file since `moment`, whatever is under way. Does not wait.
    pub(super) fn ended_since(&self, moment: u64, path: &RemotePath) -> bool {
        self.state.lock().has_ended_since(moment, path)
    }

    /// Does `then` unless `path` has become another file since `moment`: whoever makes it one comes after that. In
    /// `then` nothing may be asked of this.
    pub(super) fn unless_ended(&self, moment: u64, path: &RemotePath, then: impl FnOnce()) {
        let state = self.state.lock();
        if !state.has_ended_since(moment, path) {
            then();
        }
    }

    /// Whether `path`, or a directory above it, has become another file since `moment`, or is about to. Does not
    /// wait.
    pub(super) fn touched_since(&self, moment: u64, path: &RemotePath) -> bool {
        let state = self.state.lock();
        let ended = usize::try_from(state.count - moment).unwrap_or(usize::MAX);
        let mut touched = state
            .active
            .iter()
            .chain(state.recent.iter().rev().take(ended));
        ended > state.recent.len() || touched.any(|moved| path.starts_with(moved))
    }
}

impl State {
    fn has_ended_since(&self, moment: u64, path: &RemotePath) -> bool {
        let ended = usize::try_from(self.count - moment).unwrap_or(usize::MAX);
        let mut since = self.recent.iter().rev().take(ended);
        ended > self.recent.len() || since.any(|to| to == path)
    }
}

impl FtpFs {
    /// [`Moves::changed_since`], within the time of one operation.
    pub(super) fn changed_since(&self, moment: u64, path: &RemotePath) -> Result<bool, FsError> {
        let deadline = self.remote.deadline();
        self.moves.changed_since(moment, path, deadline)
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let mut state = self.moves.state.lock();
        if let Some(at) = state.active.iter().position(|path| *path == self.to) {
            let path = state.active.swap_remove(at);
            state.recent.push_back(path);
            state.count += 1;
            if state.recent.len() > REMEMBERED {
                state.recent.pop_front();
            }
        }
        self.moves.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_rename_is_seen_by_who_began_before_it() {
        let path = |name: &[u8]| RemotePath::root().join(name).unwrap();
        let moves = Moves::default();
        let before = moves.now();
        let changed =
            |since, path: &RemotePath| moves.changed_since(since, path, Instant::now()).unwrap();
        drop(moves.begin(&path(b"a")));
        assert!(changed(before, &path(b"a")));
        assert!(!changed(before, &path(b"b")));
        assert!(!changed(moves.now(), &path(b"a")));
        (0..=REMEMBERED).for_each(|_| drop(moves.begin(&path(b"c"))));
        assert!(changed(before, &path(b"b")), "too long ago to be sure");
        let _moving = moves.begin(&path(b"d"));
        let waited = moves.changed_since(moves.now(), &path(b"d"), Instant::now());
        assert_eq!(waited.unwrap_err().errno(), libc::ETIMEDOUT);
    }
}
