//! Making and removing names. The server is changed first, what we remember after its success.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::open_file::exact;
use super::{FsError, FtpFs, Looked};
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, EntryKind};
use crate::remote::{ErrorKind, RemoteError};
use crate::workers::only_if_asked;
use crate::writeback::{NameUse, UNKNOWN_MODE, UNTOLD_MODE};

/// A listing that decides what a refusal meant, or whether a name is free, is at most this old.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// What was asked of the server, to find out what its refusal meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Something of a name that has to be there.
    Use,
    /// RMD.
    RemoveDirectory,
    /// MKD.
    MakeDirectory,
    /// STOR.
    Store,
}

impl FtpFs {
    /// Makes a directory; counts a reference. May wait.
    ///
    /// # Errors
    /// EEXIST, EACCES, EINVAL, EROFS, …
    pub fn mkdir(&self, parent: u64, name: &[u8], mode: u32) -> Result<Looked, FsError> {
        self.may_change()?;
        let path = self.new_path(parent, name)?;
        let wanted = low_bits(mode);
        let given = u16::try_from(self.new_directory_mode.load(Ordering::Relaxed)).ok();
        let made = only_if_asked(|| self.remote.make_directory_as(&path, wanted, given));
        let set = made.map_err(|error| self.explain(error, &path, Asked::MakeDirectory))?;
        let mut entry = new_entry(name, EntryKind::Directory);
        entry.mode = set.or_else(|| self.settle_directory_mode(&path, wanted));
        self.listings.put_empty(&path);
        Ok(self.made(parent, &path, &entry))
    }

    /// Makes an empty plain file without opening it (mknod); counts a reference. May wait.
    ///
    /// # Errors
    /// EEXIST, EACCES, EINVAL, EROFS, …
    pub fn mknod(self: &Arc<Self>, parent: u64, name: &[u8], mode: u32) -> Result<Looked, FsError> {
        let (looked, opened) = self.create(
            parent,
            name,
            mode,
            libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY,
        )?;
        let stored = self.fsync(opened.handle);
        self.release(opened.handle);
        stored.map(|()| looked)
    }

    /// Makes a symbolic link; counts a reference. May wait.
    ///
    /// # Errors
    /// EPERM where the server cannot, as on any file system without links; EEXIST, EACCES, …
    pub fn symlink(&self, parent: u64, name: &[u8], target: &[u8]) -> Result<Looked, FsError> {
        self.may_change()?;
        let path = self.new_path(parent, name)?;
        match only_if_asked(|| self.remote.make_symlink(target, &path)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return Err(FsError::Explained(libc::EPERM, Arc::new(error)));
            }
            Err(error) => return Err(self.explain(error, &path, Asked::MakeDirectory)),
        }
        let entry = Entry {
            target: Some(target.to_vec()),
            ..new_entry(name, EntryKind::Symlink)
        };
        Ok(self.made(parent, &path, &entry))
    }

    /// Removes a name that is no directory. May wait.
    ///
    /// # Errors
    /// ENOENT, EISDIR, EACCES, EROFS, …
    pub fn unlink(&self, parent: u64, name: &[u8]) -> Result<(), FsError> {
        self.may_change()?;
        let path = self.path(parent)?.join(name)?;
        let _moving = self.moves.begin(&path);
        let ino = self.inodes.lock().find(parent, name);
        let file = ino.and_then(|ino| self.open_file(ino));
        // The type is checked here: DELE removes empty directories on some servers.
        let known = if file.is_some() {
            EntryKind::File
        } else {
            self.kind_at(&path)?
        };
        if known == EntryKind::Directory {
            return Err(FsError::Errno(libc::EISDIR));
        }
        if let Some(file) = &file {
            self.keep_for_handles(file);
        }
        let remove = || {
            let removed = only_if_asked(|| self.remote.remove_file(&path));
            removed.map_err(|error| self.explain(error, &path, Asked::Use))
        };
        match file.as_ref().and_then(|f| f.writer()) {
            Some(writer) => writer.discard_with(|| match remove() {
                // What is still to be stored may have no name on the server yet.
                Err(error) if error.errno() == libc::ENOENT && writer.is_dirty() => Ok(()),
                other => other,
            })?,
            None => remove()?,
        }
        self.nameless(file.as_ref());
        self.supersede(&path);
        self.pending.forget(&path);
        self.writing.journal.forget(&path);
        self.gone(ino, &path);
        Ok(())
    }

    /// Removes an empty directory. May wait.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENOTEMPTY, EACCES, EROFS, …
    pub fn rmdir(&self, parent: u64, name: &[u8]) -> Result<(), FsError> {
        self.may_change()?;
        let path = self.path(parent)?.join(name)?;
        let ino = self.inodes.lock().find(parent, name);
        let open = ino.is_some_and(|ino| self.open_file(ino).is_some());
        let entry = match open {
            true => None,
            false => Some(self.entry_at(&path)?),
        };
        let Some(entry) = entry.filter(|entry| entry.kind == EntryKind::Directory) else {
            return Err(FsError::Errno(libc::ENOTDIR));
        };
        // What is still to be stored there may not be on the server, which would take the directory away.
        if self.writers_below(&path).iter().any(|w| w.is_dirty()) {
            return Err(FsError::Errno(libc::ENOTEMPTY));
        }
        let removed = match only_if_asked(|| self.remote.remove_directory(&path)) {
            Err(error)
                if entry.is_followed_link()
                    && !error.kind().is_transient()
                    && self.is_still_followed(&path) =>
            {
                only_if_asked(|| self.remote.remove_file(&path))
            }
            Err(error) if self.is_link_shown_as_directory(&error, &path) => {
                only_if_asked(|| self.remote.remove_file(&path))
            }
            removed => removed,
        };
        removed.map_err(|error| self.explain(error, &path, Asked::RemoveDirectory))?;
        self.listings.forget_tree(&path);
        self.gone(ino, &path);
        Ok(())
    }

    /// The path of a name that is to be made. May wait.
    ///
    /// # Errors
    /// EINVAL for a name that the server would store as another one.
    pub(super) fn new_path(&self, parent: u64, name: &[u8]) -> Result<RemotePath, FsError> {
        let path = self.path(parent)?.join(name)?;
        // Nobody but a commit of ours may use these: they are hidden, and removed when found.
        if self.temporary.is_ours(name) || !self.keeps_name(name, &path)? {
            Err(FsError::Errno(libc::EINVAL))
        } else {
            Ok(path)
        }
    }

    /// Whether the server stores `name` as it is; a trial beside `path` is in the journal meanwhile.
    fn keeps_name(&self, name: &[u8], path: &RemotePath) -> Result<bool, FsError> {
        if let Some(known) = self.remote.keeps_name(name) {
            return Ok(known);
        }
        let free = self.temporary.beside(path);
        self.writing.journal.begins(&free, NameUse::Trial);
        let keeps = self.remote.try_name(name, &free)?;
        self.writing.journal.ends(&free);
        Ok(keeps)
    }

    /// Some servers (pyftpdlib) list a symbolic link as what it points to: the listing, as it is now, has
    /// a directory where RMD finds none. DELE takes the link then, and leaves its target alone.
    fn is_link_shown_as_directory(&self, refusal: &RemoteError, path: &RemotePath) -> bool {
        if refusal.kind() != ErrorKind::NotDirectory {
            return false;
        }
        if let Some(dir) = path.parent() {
            self.listings.expire(&dir);
        }
        self.kind_at(path)
            .is_ok_and(|kind| kind == EntryKind::Directory)
    }

    /// Somebody else may have put something in the place of the link.
    fn is_still_followed(&self, path: &RemotePath) -> bool {
        if let Some(dir) = path.parent() {
            self.listings.expire(&dir);
        }
        let entry = self.entry_at(path);
        entry.is_ok_and(|e| e.is_followed_link() && e.kind == EntryKind::Directory)
    }

    /// File or directory, by a listing that is believed.
    fn kind_at(&self, path: &RemotePath) -> Result<EntryKind, FsError> {
        self.entry_at(path).map(|entry| entry.kind)
    }

    fn entry_at(&self, path: &RemotePath) -> Result<Entry, FsError> {
        let entry = self.find(path, self.config.cache_timeout)?;
        entry.ok_or(FsError::Errno(libc::ENOENT))
    }

    /// Something was made: remember it, give it a number, and count the kernel's reference.
    fn made(&self, parent: u64, path: &RemotePath, entry: &Entry) -> Looked {
        if let Some(dir) = path.parent() {
            self.listings.put(&dir, entry.clone(), None);
        }
        let mut inodes = self.inodes.lock();
        let ino = inodes.number(parent, &entry.name, entry.kind);
        inodes.remember(ino);
        drop(inodes);
        self.looked(ino, entry, Duration::ZERO)
    }

    /// A name was removed: forget it. The number lives on while it is in use.
    fn gone(&self, ino: Option<u64>, path: &RemotePath) {
        if let Some(dir) = path.parent() {
            self.listings.remove(&dir, path.name());
        }
        if let Some(ino) = ino {
            self.inodes.lock().detach(ino);
        }
    }

    /// The mode of a directory just made: as asked for, where the server gives another and can change it.
    fn settle_directory_mode(&self, path: &RemotePath, wanted: u16) -> Option<u16> {
        let learned = self.new_directory_mode.load(Ordering::Relaxed);
        let given = if learned == UNKNOWN_MODE {
            self.remote.entry(path).ok().and_then(|entry| {
                let told = entry.mode.map_or(UNTOLD_MODE, u32::from);
                self.new_directory_mode.store(told, Ordering::Relaxed);
                entry.mode
            })
        } else {
            u16::try_from(learned).ok()
        };
        if given == Some(wanted) {
            return given;
        }
        match self.remote.set_mode(path, wanted) {
            Ok(()) => Some(wanted),
            Err(error) => {
                log::debug!("{path}: keeps the mode that the server gave it: {error}");
                given
            }
        }
    }

    /// Makes an errno of a refusal: where the server does not say why, the listing does.
    pub(super) fn explain(
        &self,
        error: impl Into<Arc<RemoteError>>,
        path: &RemotePath,
        asked: Asked,
    ) -> FsError {
        let error = error.into();
        let kind = error.kind();
        let contradicts = matches!(
            kind,
            ErrorKind::NotFound
                | ErrorKind::Exists
                | ErrorKind::IsDirectory
                | ErrorKind::NotDirectory
                | ErrorKind::Refused
        );
        if contradicts && let Some(dir) = path.parent() {
            self.listings.expire(&dir);
        }
        if kind == ErrorKind::NotFound && asked == Asked::MakeDirectory {
            // libunftp says this of everything.
            return match self.find(path, FRESH) {
                Ok(Some(_)) => FsError::Explained(libc::EEXIST, error),
                _ => FsError::Remote(error),
            };
        }
        if kind != ErrorKind::Refused {
            return FsError::Remote(error);
        }
        // The table of what silent servers mean, by what is there now.
        let errno = match (self.find(path, FRESH), asked) {
            (Err(_), _) => libc::EACCES,
            (Ok(None), Asked::Use | Asked::RemoveDirectory) => libc::ENOENT,
            (Ok(Some(_)), Asked::MakeDirectory) => libc::EEXIST,
            (Ok(Some(entry)), Asked::RemoveDirectory) if entry.kind == EntryKind::Directory => {
                match self
                    .listings
                    .get(path, FRESH, |entries, _| entries.is_empty())
                {
                    Ok(false) => libc::ENOTEMPTY,
                    _ => libc::EACCES,
                }
            }
            (Ok(Some(_)), Asked::RemoveDirectory) => libc::ENOTDIR,
            (Ok(Some(entry)), Asked::Store) if entry.kind == EntryKind::Directory => libc::EISDIR,
            _ => libc::EACCES,
        };
        FsError::Explained(errno, error)
    }
}

/// Something that was just made through this mount.
pub(super) fn new_entry(name: &[u8], kind: EntryKind) -> Entry {
    Entry {
        name: name.to_vec(),
        kind,
        size: (kind == EntryKind::File).then_some(0),
        modified: Some(exact(SystemTime::now())),
        mode: None,
        target: None,
        perm: None,
    }
}

/// Permission bits of a mode_t.
pub(super) fn low_bits(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or(0)
}
