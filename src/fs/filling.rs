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

/// Where files have been made lately.
#[derive(Debug, Default)]
pub(super) struct Filling {
    /// Taken alone.
    folders: Mutex<VecDeque<(RemotePath, Instant)>>,
    /// A listing is being made young again, for those who will make the next files.
    refreshing: AtomicBool,
}

impl Filling {
    /// A file was made in `folder`; whether another one was, lately.
    fn another(&self, folder: &RemotePath) -> bool {
        let mut folders = self.folders.lock();
        let before = folders.iter().position(|(known, _)| known == folder);
        let before = before.and_then(|at| folders.remove(at));
        folders.push_back((folder.clone(), Instant::now()));
        if folders.len() > REMEMBERED {
            folders.pop_front();
        }
        before.is_some_and(|(_, when)| when.elapsed() < LATELY)
    }
}

impl FtpFs {
    /// Whether `path` is in the listing of its folder, as that is now (`FRESH`); `None` if it has to be asked for
    /// by itself. In a folder that is being filled a whole listing is got: the next ones need it, too. May
    /// wait.
    pub(super) fn is_listed(self: &Arc<Self>, path: &RemotePath) -> Option<bool> {
        let folder = path.parent()?;
        let look = |entries: &Entries, age| (entries.contains_key(path.name()), entries.len(), age);
        let filled = self.filling.another(&folder);
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
    fn the_second_file_shows_that_a_folder_is_being_filled() {
        let filling = Filling::default();
        let folder = |n: usize| RemotePath::root().join(format!("{n}").as_bytes()).unwrap();
        assert!(!filling.another(&folder(0)));
        assert!(filling.another(&folder(0)));
        for n in 1..100 {
            assert!(!filling.another(&folder(n)));
        }
        assert!(!filling.another(&folder(0)), "long ago");
        assert_eq!(filling.folders.lock().len(), REMEMBERED);
    }
}
