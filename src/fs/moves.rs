//! `Moves`: which names are becoming other files, or none, or have just become that.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

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

    /// Whether `path` has become another file since `moment`. Waits for a rename that is about to
    /// do that, which has its own deadlines.
    pub(super) fn changed_since(&self, moment: u64, path: &RemotePath) -> bool {
        let mut state = self.state.lock();
        while state.active.contains(path) {
            self.ended.wait(&mut state);
        }
        let ended = usize::try_from(state.count - moment).unwrap_or(usize::MAX);
        ended > state.recent.len() || state.recent.iter().rev().take(ended).any(|to| to == path)
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
        drop(moves.begin(&path(b"a")));
        assert!(moves.changed_since(before, &path(b"a")));
        assert!(!moves.changed_since(before, &path(b"b")));
        assert!(!moves.changed_since(moves.now(), &path(b"a")));
        (0..=REMEMBERED).for_each(|_| drop(moves.begin(&path(b"c"))));
        assert!(
            moves.changed_since(before, &path(b"b")),
            "too long ago to be sure"
        );
    }
}
