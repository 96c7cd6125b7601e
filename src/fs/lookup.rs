//! Names and attributes: what one listing answers for everything in its directory.

use std::sync::Arc;
use std::time::Duration;

use fuser::{FileAttr, INodeNo};

use super::attr::root_entry;
use super::inode::ROOT;
use super::link::{climbs, contained, left_again};
use super::open_file::OpenFile;
use super::{FsError, FtpFs, Looked, Wait};
use crate::cache::Entries;
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, EntryKind};
use crate::remote::{ErrorKind, RemoteError};

/// A name known to be absent is believed by the kernel for at most this long: somebody may be waiting
/// for it to appear.
const ABSENT: Duration = Duration::from_secs(1);

/// The longest name that Linux programs can use (NAME_MAX).
const NAME_MAX: usize = 255;

impl FtpFs {
    /// Looks a name up; an absent one is `Ok` with inode 0. Counts one kernel reference to a present
    /// one.
    ///
    /// # Errors
    /// `WouldWait`; ENAMETOOLONG; what listing the directory failed with.
    pub fn lookup(&self, parent: u64, name: &[u8], wait: Wait) -> Result<Looked, FsError> {
        if name.len() > NAME_MAX {
            return Err(FsError::Errno(libc::ENAMETOOLONG));
        }
        if let Some(looked) = self.lookup_open(parent, name) {
            return Ok(looked);
        }
        let dir = self.path(parent)?;
        // A name that cannot be sent cannot be there.
        if dir.join(name).is_err() {
            return Ok(self.absent(Duration::ZERO));
        }
        let (entry, age) = self.listed_toward(&dir, Some(name), wait, |entries, age| {
            (entries.get(name).map(|found| found.entry.clone()), age)
        })?;
        match entry {
            None => Ok(self.absent(age)),
            Some(entry) => {
                if entry.kind == EntryKind::Directory {
                    self.listings.went(&dir, name);
                }
                let mut inodes = self.inodes.lock();
                let ino = inodes.number(parent, name, entry.kind);
                inodes.remember(ino);
                drop(inodes);
                Ok(self.looked(ino, &entry, age))
            }
        }
    }

    /// The kernel drops `count` references. Never waits.
    pub fn forget(&self, ino: u64, count: u64) {
        self.inodes.lock().forget(ino, count);
    }

    /// Attributes of an inode, or of what `handle` has opened if there is one; the root's are always in memory.
    ///
    /// # Errors
    /// `WouldWait`; ESTALE if the name is gone; what listing its directory failed with.
    pub fn getattr(&self, ino: u64, handle: Option<u64>, wait: Wait) -> Result<Looked, FsError> {
        // An open that a rename overtook has opened what took the place.
        let opened = handle.and_then(|handle| self.handle(handle).ok());
        let opened = opened.map(|handle| Arc::clone(&handle.file));
        if let Some(file) = opened.or_else(|| self.open_file(ino)) {
            return Ok(self.looked(ino, &file.entry(), Duration::ZERO));
        }
        let (entry, age) = self.entry_of(ino, wait)?;
        Ok(self.looked(ino, &entry, age))
    }

    /// The target of a symbolic link, as the kernel may follow it.
    ///
    /// # Errors
    /// `WouldWait`; EACCES if it leads out of the mount; EINVAL for what is no link.
    pub fn readlink(&self, ino: u64, wait: Wait) -> Result<Vec<u8>, FsError> {
        let path = self.path(ino)?;
        let (entry, _) = self.entry_of(ino, wait)?;
        if entry.kind != EntryKind::Symlink {
            return Err(FsError::Errno(libc::EINVAL));
        }
        let target = match (entry.target, wait) {
            (Some(target), _) => target,
            (None, Wait::No) => return Err(FsError::WouldWait),
            (None, Wait::Yes) => self.remote.link_target(&path)?,
        };
        // What is a folder for the kernel, and a link for the server, has another parent there.
        let mut places = left_again(&path, &target);
        if self.config.follow_symlinks && climbs(&target) {
            let above = std::iter::successors(path.parent(), RemotePath::parent);
            places.extend(above.take_while(|place| *place != self.root));
        }
        for place in places {
            if !self.is_folder(&place, wait)? {
                return Err(FsError::Errno(libc::EACCES));
            }
        }
        contained(&self.root, &path, &target).ok_or(FsError::Errno(libc::EACCES))
    }

    /// Whether that is a folder of the mount, and no link to one.
    fn is_folder(&self, place: &RemotePath, wait: Wait) -> Result<bool, FsError> {
        let (true, Some(dir)) = (place.starts_with(&self.root), place.parent()) else {
            return Ok(false);
        };
        if *place == self.root {
            return Ok(true);
        }
        let is_folder =
            |entry: &Entry| entry.kind == EntryKind::Directory && !entry.is_followed_link();
        let found = |entries: &Entries, _| {
            let found = entries.get(place.name());
            found.is_some_and(|found| is_folder(&found.entry))
        };
        match self.listed(&dir, wait, found) {
            Ok(is_folder) => Ok(is_folder),
            Err(FsError::WouldWait) => Err(FsError::WouldWait),
            Err(_) => Ok(false),
        }
    }

    /// The entry of an inode by the listing of its directory.
    pub(super) fn entry_of(&self, ino: u64, wait: Wait) -> Result<(Entry, Duration), FsError> {
        if ino == ROOT {
            return Ok((root_entry(self.mounted), Duration::ZERO));
        }
        let (place, kind) = {
            let inodes = self.inodes.lock();
            (inodes.place(ino), inodes.kind(ino))
        };
        let Some((parent, name)) = place else {
            return Err(FsError::Errno(libc::ESTALE));
        };
        let dir = self.path(parent)?;
        let is_directory = kind == Some(EntryKind::Directory);
        let toward = is_directory.then_some(&*name);
        let (entry, age) = self.listed_toward(&dir, toward, wait, |entries, age| {
            (entries.get(&name).map(|found| found.entry.clone()), age)
        })?;
        // The kernel answers this by a look-up.
        let entry = entry.ok_or(FsError::Errno(libc::ESTALE))?;
        if self.inodes.lock().kind(ino) != Some(entry.kind) {
            return Err(FsError::Errno(libc::ESTALE));
        }
        Ok((entry, age))
    }

    /// Looks at the listing of `dir` as far as it is believed.
    pub(super) fn listed<R>(
        &self,
        dir: &RemotePath,
        wait: Wait,
        look: impl FnOnce(&Entries, Duration) -> R,
    ) -> Result<R, FsError> {
        self.listed_toward(dir, None, wait, look)
    }

    /// The same on the way to this name.
    fn listed_toward<R>(
        &self,
        dir: &RemotePath,
        toward: Option<&[u8]>,
        wait: Wait,
        look: impl FnOnce(&Entries, Duration) -> R,
    ) -> Result<R, FsError> {
        let max_age = self.config.cache_timeout;
        match wait {
            Wait::No => self
                .listings
                .peek(dir, max_age, look)
                .ok_or(FsError::WouldWait),
            Wait::Yes => self
                .listings
                .get_toward(dir, toward, max_age, look)
                .map_err(|e| self.unlisted(dir, &e)),
        }
    }

    /// Why a directory could not be listed.
    pub(super) fn unlisted(&self, dir: &RemotePath, error: &Arc<RemoteError>) -> FsError {
        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotDirectory)
            && let Some(parent) = dir.parent()
        {
            self.listings.expire(&parent);
        }
        FsError::Remote(Arc::clone(error))
    }

    /// What the directory of `path` says of it, from a listing that is at most `max_age` old. May wait.
    pub(super) fn find(
        &self,
        path: &RemotePath,
        max_age: Duration,
    ) -> Result<Option<Entry>, FsError> {
        let Some(dir) = path.parent() else {
            return Ok(Some(root_entry(self.mounted)));
        };
        let look = |entries: &Entries, _| entries.get(path.name()).map(|found| found.entry.clone());
        self.listings
            .get(&dir, max_age, look)
            .map_err(|error| self.unlisted(&dir, &error))
    }

    pub(super) fn open_file(&self, ino: u64) -> Option<Arc<OpenFile>> {
        self.files.lock().by_inode.get(&ino).cloned()
    }

    /// A file that is open is what our handles made it, whatever the listing says.
    fn lookup_open(&self, parent: u64, name: &[u8]) -> Option<Looked> {
        let ino = self.inodes.lock().find(parent, name)?;
        let file = self.open_file(ino)?;
        let entry = file.entry();
        self.inodes.lock().remember(ino);
        Some(self.looked(ino, &entry, Duration::ZERO))
    }

    pub(super) fn looked(&self, ino: u64, entry: &Entry, age: Duration) -> Looked {
        let ttl = self.config.cache_timeout.saturating_sub(age);
        Looked {
            attr: self.config.owner.attributes(ino, entry),
            ttl,
        }
    }

    fn absent(&self, age: Duration) -> Looked {
        let left = self.config.cache_timeout.saturating_sub(age);
        let attr = FileAttr {
            ino: INodeNo(0),
            ..self.looked(0, &root_entry(self.mounted), age).attr
        };
        Looked {
            attr,
            ttl: left.min(ABSENT),
        }
    }
}
