//! The way to where programs work: once its listings are too old to be believed, all of them are asked for together.
//!
//! The kernel looks a path up name by name, and sees each directory only after the one above it.

use std::time::Duration;

use super::directory::Known;
use super::listing::ListingCache;
use crate::ftp::RemotePath;

/// Directories asked for together.
const MOST: usize = 8;
/// Entries of all of them: more would keep the one waiting who wants to see the first.
const MAX_ENTRIES: usize = 2000;

impl ListingCache {
    /// Somebody goes from `dir` into the directory `name` inside.
    pub fn went(&self, dir: &RemotePath, name: &[u8]) {
        let Some(directory) = self.directory(dir) else {
            return;
        };
        let onward = &mut directory.state.lock().onward;
        if onward.as_deref() != Some(name) {
            *onward = Some(name.to_vec());
        }
    }

    /// The directories that are wanted next by who comes to `dir` on his way to `name`: those where somebody went on
    /// from there, as far as they were listed before, and not in the last `max_age`.
    pub(super) fn way(
        &self,
        dir: &RemotePath,
        name: &[u8],
        max_age: Duration,
    ) -> Option<Vec<RemotePath>> {
        let mut room = MAX_ENTRIES.checked_sub(self.entries(dir)?)?;
        let mut found = Vec::new();
        let mut here = dir.join(name).ok()?;
        while found.len() < MOST
            && let Some(directory) = self.directory(&here)
        {
            let state = directory.state.lock();
            let entries = state.known.as_ref().map(Known::len);
            match entries.and_then(|entries| room.checked_sub(entries)) {
                Some(left) if state.is_unlisted(max_age) => room = left,
                _ => break,
            }
            let next = state.onward.as_ref().and_then(|name| here.join(name).ok());
            found.push(here);
            match next {
                Some(next) => here = next,
                None => break,
            }
        }
        Some(found)
    }

    /// How many there were in `dir` when it was listed last.
    fn entries(&self, dir: &RemotePath) -> Option<usize> {
        let directory = self.directory(dir)?;
        let state = directory.state.lock();
        state.known.as_ref().map(Known::len)
    }

    /// Whether `dir` is best asked for as many are: it was small, and the server then needs one round trip.
    pub(super) fn is_told_at_once(&self, dir: &RemotePath) -> bool {
        // What says nothing of an empty directory is asked in vain.
        let small = |entries| (1..=MAX_ENTRIES).contains(&entries);
        self.remote.lists_at_once() && self.entries(dir).is_some_and(small)
    }
}
