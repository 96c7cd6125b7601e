//! Folders that are being filled: whether a name in them is free is asked of the server once for many.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::FtpFs;
use super::change::FRESH;
use crate::cache::Entries;
use crate::ftp::RemotePath;

/// So many folders are remembered.
const REMEMBERED: usize = 16;

/// A folder is being filled for this long after a file was made there.
const LATELY: Duration = Duration::from_secs(5);

/// A listing that is longer costs more than asking for one name.
const MOST_ENTRIES: usize = 2000;

/// A folder that took a new file is taken to take another one for this long.
const ACCEPTING: Duration = Duration::from_secs(60);

/// Where files have been made lately.
#[derive(Debug, Default)]
pub(super) struct Filling {
    /// Where one was made through us.
    made: Recent,
    /// Where the server has taken one.
    accepted: Recent,
    /// A listing is being made young again, for those who will make the next files.
    refreshing: AtomicBool,
}

/// The folders where something happened last, and when.
#[derive(Debug, Default)]
struct Recent {
    /// Taken alone.
    folders: Mutex<VecDeque<(RemotePath, Instant)>>,
}

impl Recent {
    /// It happens in `folder`; tells how long ago it did before.
    fn again(&self, folder: &RemotePath) -> Option<Duration> {
        let mut folders = self.folders.lock();
        let before = folders.iter().position(|(known, _)| known == folder);
        let before = before.and_then(|at| folders.remove(at));
        folders.push_back((folder.clone(), Instant::now()));
        if folders.len() > REMEMBERED {
            folders.pop_front();
        }
        before.map(|(_, when)| when.elapsed())
    }

    /// How long ago it happened in `folder`.
    fn age(&self, folder: &RemotePath) -> Option<Duration> {
        let folders = self.folders.lock();
        let found = folders.iter().find(|(known, _)| known == folder);
        found.map(|(_, when)| when.elapsed())
    }
}

impl FtpFs {
    /// Whether `path` is in the listing of its folder, as that is now (`FRESH`); `None` if it has to be asked for
    /// by itself. In a folder that is being filled a whole listing is got: the next ones need it, too. May
    /// wait.
    pub(super) fn is_listed(self: &Arc<Self>, path: &RemotePath) -> Option<bool> {
        let folder = path.parent()?;
        let look = |entries: &Entries, age| (entries.contains_key(path.name()), entries.len(), age);
        let before = self.filling.made.again(&folder);
        let filled = before.is_some_and(|age| age < LATELY);
        let (found, length, age) = self.listings.peek(&folder, Duration::MAX, look)?;
        let worth_it = filled && length <= MOST_ENTRIES;
        if age <= FRESH {
            if worth_it && age > FRESH / 2 {
                self.refresh(folder);
            }
            return Some(found);
        }
        if !worth_it {
            return None;
        }
        let look = |entries: &Entries, _| entries.contains_key(path.name());
        self.listings.get(&folder, FRESH, look).ok()
    }

    /// The server has taken a new file at `path`.
    pub(super) fn has_accepted(&self, path: &RemotePath) {
        if let Some(folder) = path.parent() {
            self.filling.accepted.again(&folder);
        }
    }

    /// Whether a small new file at `path` is best begun when it is whole: on a server that takes it in one round
    /// trip then, and where it is not to be expected that its creation is refused.
    pub(super) fn begins_late(&self, path: &RemotePath) -> bool {
        let accepted = || self.filling.accepted.age(&path.parent()?);
        self.remote.takes_all_at_once(0) && accepted().is_some_and(|age| age < ACCEPTING)
    }

    /// Lists a folder anew, for nobody to wait for.
    fn refresh(self: &Arc<Self>, folder: RemotePath) {
        if self.filling.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let fs = Arc::clone(self);
        self.workers.spawn(move || {
            if let Err(error) = fs.listings.get(&folder, FRESH / 2, |_, _| ()) {
                log::debug!("{folder}: not listed ahead: {error}");
            }
            fs.filling.refreshing.store(false, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_folders_are_remembered() {
        let recent = Recent::default();
        let folder = |n: usize| RemotePath::root().join(format!("{n}").as_bytes()).unwrap();
        assert_eq!(recent.again(&folder(0)), None);
        assert!(recent.again(&folder(0)).is_some() && recent.age(&folder(0)).is_some());
        for n in 1..100 {
            assert_eq!(recent.again(&folder(n)), None);
        }
        assert_eq!(recent.age(&folder(0)), None, "too many others");
        assert_eq!(recent.folders.lock().len(), REMEMBERED);
    }
}
