//! Reading directories, from snapshots.

use std::sync::Arc;
use std::time::Duration;

use fuser::FileType;

use super::attr::file_type;
use super::inode::ROOT;
use super::{DirEntry, FsError, FtpFs, Looked, Wait};
use crate::cache::{Entries, Held};
use crate::ftp::listing::{Entry, EntryKind};

/// What a cached listing says of a name.
enum ListedNow {
    /// With the age of the listing.
    As(Entry, Duration),
    Gone,
    /// There is no listing in memory.
    Unknown,
}

/// So many entries are looked up at a time: a small answer to the kernel holds about half of them.
const PLUS: usize = 64;

/// The entries of a directory at the time of its opendir: what was passed once stays where it was, so
/// that programs may seek.
#[derive(Debug)]
pub(super) struct Snapshot {
    ino: u64,
    parent: u64,
    /// Numbers are pinned as long as the snapshot lives.
    entries: Vec<(u64, Entry)>,
    /// The listing, which tells what they are at any later time.
    _listing: Option<Held>,
}

impl FtpFs {
    /// Opens a directory and takes a snapshot of its entries.
    ///
    /// # Errors
    /// `WouldWait`; what listing it failed with.
    pub fn opendir(&self, ino: u64, wait: Wait) -> Result<u64, FsError> {
        let path = self.path(ino)?;
        let entries = self.listed(&path, wait, |entries, _| {
            let entries = entries.values().map(|found| found.entry.clone());
            entries.collect::<Vec<_>>()
        })?;
        let entries = self.with_unstored(ino, entries);
        let mut inodes = self.inodes.lock();
        let parent = inodes.place(ino).map_or(ROOT, |(parent, _)| parent);
        let numbered = |entry: Entry| {
            let number = inodes.number(ino, &entry.name, entry.kind);
            inodes.pin(number);
            (number, entry)
        };
        let entries: Vec<_> = entries.into_iter().map(numbered).collect();
        inodes.pin(ino);
        drop(inodes);
        let handle = self.new_number();
        self.snapshots.lock().insert(
            handle,
            Arc::new(Snapshot {
                ino,
                parent,
                entries,
                _listing: self.listings.hold(&path),
            }),
        );
        Ok(handle)
    }

    /// Adds open files that the server does not list because they are still to be stored.
    fn with_unstored(&self, ino: u64, mut listed: Vec<Entry>) -> Vec<Entry> {
        for file in self.open_files() {
            let place = self.inodes.lock().place(file.ino);
            let Some((_, name)) = place.filter(|(parent, _)| *parent == ino) else {
                continue;
            };
            if let Err(at) = listed.binary_search_by(|entry| entry.name.cmp(&name))
                && file.writer().is_some_and(|writer| writer.is_dirty())
            {
                let entry = file.entry();
                listed.insert(at, Entry { name, ..entry });
            }
        }
        listed
    }

    /// Passes the entries behind `offset` to `take` until it returns false: that entry was not
    /// taken. Never waits.
    ///
    /// # Errors
    /// EBADF.
    pub fn read_dir(
        &self,
        handle: u64,
        offset: u64,
        take: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        let snapshot = self.snapshot(handle)?;
        if !snapshot.dots(offset).all(|entry| take(&entry)) {
            return Ok(());
        }
        for (ino, entry, next_offset) in snapshot.behind(offset) {
            let kind = file_type(entry.kind);
            let entry = DirEntry {
                ino,
                next_offset,
                kind,
                name: &entry.name,
                looked: None,
            };
            if !take(&entry) {
                break;
            }
        }
        Ok(())
    }

    /// What [`FtpFs::read_dir_plus`] tells is in memory: the listing, however old, with our own changes since.
    ///
    /// # Errors
    /// `WouldWait`; EBADF; what listing the directory failed with.
    pub fn may_read_dir_plus(&self, handle: u64, wait: Wait) -> Result<(), FsError> {
        let snapshot = self.snapshot(handle)?;
        // One that has gone has no entries.
        let Ok(path) = self.path(snapshot.ino) else {
            return Ok(());
        };
        match (self.listings.peek_last(&path, |_, _| ()), wait) {
            (Some(()), _) => Ok(()),
            (None, Wait::No) => Err(FsError::WouldWait),
            (None, Wait::Yes) => {
                let got = self.listings.get(&path, Duration::MAX, |_, _| ());
                got.map_err(|error| self.unlisted(&path, &error))
            }
        }
    }

    /// Like [`FtpFs::read_dir`], with attributes; counts a reference for each entry taken
    /// that has some.
    ///
    /// The kernel believes names and attributes that come this way, whatever it knew before. So they are
    /// those of this moment, not of the snapshot: else an open of a name would hit the file that had it then
    /// and was renamed away, and a file that has grown would be cut in the kernel's memory, where who reads it just
    /// then finds zeros. A name that has gone since has neither. [`FtpFs::may_read_dir_plus`] comes before.
    ///
    /// # Errors
    /// EBADF.
    pub fn read_dir_plus(
        &self,
        handle: u64,
        offset: u64,
        take: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        let snapshot = self.snapshot(handle)?;
        if !snapshot.dots(offset).all(|entry| take(&entry)) {
            return Ok(());
        }
        let mut behind = snapshot.behind(offset);
        loop {
            let part: Vec<_> = behind.by_ref().take(PLUS).collect();
            if part.is_empty() {
                return Ok(());
            }
            let entries: Vec<_> = part.iter().map(|(_, entry, _)| *entry).collect();
            // Before the listing is looked at: it knows what was closed until then.
            let open = self.open_now(snapshot.ino, &entries);
            let listed = self.listed_now(snapshot.ino, &entries);
            let now = open.into_iter().zip(listed);
            for ((ino, entry, next_offset), (open, listed)) in part.into_iter().zip(now) {
                let looked = open.or_else(|| self.looked_now(&snapshot, ino, entry, listed));
                // glibc passes over a number 0, as of a deleted file.
                let number = looked.as_ref().map_or(0, |looked| looked.attr.ino.0);
                let taken = take(&DirEntry {
                    ino: number,
                    next_offset,
                    kind: file_type(entry.kind),
                    name: &entry.name,
                    looked,
                });
                let mut inodes = self.inodes.lock();
                if !taken {
                    inodes.forget(number, 0);
                    return Ok(());
                }
                inodes.remember(number);
            }
        }
    }

    /// What the cached listing says now of these entries of a directory.
    fn listed_now(&self, dir: u64, entries: &[&Entry]) -> Vec<ListedNow> {
        let look = |listed: &Entries, age| {
            let now = |entry: &&Entry| match listed.get(&entry.name) {
                Some(found) => ListedNow::As(found.entry.clone(), age),
                None => ListedNow::Gone,
            };
            entries.iter().map(now).collect()
        };
        let path = self.path(dir).ok();
        path.and_then(|path| self.listings.peek_last(&path, look))
            .unwrap_or_else(|| entries.iter().map(|_| ListedNow::Unknown).collect())
    }

    /// Those of these entries of a directory that are open: they are what our handles made them.
    fn open_now(&self, dir: u64, entries: &[&Entry]) -> Vec<Option<Looked>> {
        if self.files.lock().by_inode.is_empty() {
            return entries.iter().map(|_| None).collect();
        }
        let numbers: Vec<_> = {
            let inodes = self.inodes.lock();
            let is_file = |ino: &u64| inodes.kind(*ino) == Some(EntryKind::File);
            let number = |entry: &&Entry| inodes.find(dir, &entry.name).filter(is_file);
            entries.iter().map(number).collect()
        };
        let looked = |ino| {
            let file = self.open_file(ino)?;
            Some(self.looked(ino, &file.entry(), Duration::ZERO))
        };
        let numbers = numbers.into_iter();
        numbers.map(|number| number.and_then(looked)).collect()
    }

    fn looked_now(
        &self,
        snapshot: &Snapshot,
        ino: u64,
        entry: &Entry,
        listed: ListedNow,
    ) -> Option<Looked> {
        let (dir, name) = (snapshot.ino, &entry.name);
        match listed {
            ListedNow::As(entry, age) => {
                let number = self.inodes.lock().number(dir, name, entry.kind);
                Some(self.looked(number, &entry, age))
            }
            ListedNow::Gone => None,
            // It has been forgotten just now.
            ListedNow::Unknown if self.inodes.lock().find(dir, name) == Some(ino) => {
                Some(self.looked(ino, entry, Duration::MAX))
            }
            ListedNow::Unknown => None,
        }
    }

    /// Forgets a snapshot. Never waits.
    pub fn releasedir(&self, handle: u64) {
        let Some(snapshot) = self.snapshots.lock().remove(&handle) else {
            return;
        };
        let mut inodes = self.inodes.lock();
        snapshot
            .entries
            .iter()
            .for_each(|(ino, _)| inodes.unpin(*ino));
        inodes.unpin(snapshot.ino);
    }

    fn snapshot(&self, handle: u64) -> Result<Arc<Snapshot>, FsError> {
        self.snapshots
            .lock()
            .get(&handle)
            .cloned()
            .ok_or(FsError::Errno(libc::EBADF))
    }
}

impl Snapshot {
    /// `.` and `..`, unless they lie in front of `offset`.
    fn dots(&self, offset: u64) -> impl Iterator<Item = DirEntry<'static>> {
        let dots = [(self.ino, 1, &b"."[..]), (self.parent, 2, b"..")];
        dots.into_iter()
            .filter(move |(_, next, _)| *next > offset)
            .map(|(ino, next_offset, name)| DirEntry {
                ino,
                next_offset,
                kind: FileType::Directory,
                name,
                looked: None,
            })
    }

    /// Entries behind `offset` with the offset behind each; 1 and 2 are those of `.` and `..`.
    fn behind(&self, offset: u64) -> impl Iterator<Item = (u64, &Entry, u64)> {
        let skip = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        let rest = self.entries.iter().enumerate().skip(skip);
        rest.map(|(n, (ino, entry))| (*ino, entry, n as u64 + 3))
    }
}
