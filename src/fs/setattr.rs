//! chmod, chown, truncate and utimes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::change::{Asked, low_bits};
use super::inode::ROOT;
use super::open_file::exact;
use super::{FsError, FtpFs, Looked, NewAttributes, NewSize, TimeChange, Wait};
use crate::cache::OwnTime;
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, EntryKind};
use crate::remote::{ErrorKind, FileVersion, RemoteError};
use crate::workers::{is_asked, only_if_asked};
use crate::writeback::FileWriter;

impl FtpFs {
    /// chmod, chown, truncate, utimes. May wait.
    ///
    /// # Errors
    /// EROFS, EPERM, EACCES, EISDIR, …; with `strict` also EOPNOTSUPP for what the server cannot do.
    pub fn setattr(self: &Arc<Self>, ino: u64, new: NewAttributes) -> Result<Looked, FsError> {
        self.may_change()?;
        if let Some(size) = new.size {
            self.truncate(ino, size)?;
        }
        self.change_owner(ino, new.uid, new.gid)?;
        if let Some(mode) = new.mode {
            self.change_mode(ino, low_bits(mode))?;
        }
        if let Some(change) = new.modified {
            self.change_time(ino, change)?;
        }
        self.getattr(ino, None, Wait::Yes)
    }

    /// Through a handle for writing the new size is only staged: its close commits it. By name it is committed
    /// here, also where others have the file open, or had a moment ago (RELEASE comes when it likes): nobody else would
    /// be told that the server does not take it.
    fn truncate(self: &Arc<Self>, ino: u64, size: NewSize) -> Result<(), FsError> {
        let (size, by_handle) = match size {
            NewSize::ByName(size) => (size, false),
            NewSize::ByHandle(size) => (size, true),
        };
        if self.inodes.lock().kind(ino) != Some(EntryKind::File) {
            return Err(FsError::Errno(libc::EISDIR));
        }
        let open = self.open_file(ino);
        if let Some(file) = &open {
            // Under the lock, so that a writer which is about to go does not take the change with it.
            let state = file.state.lock();
            if let Some(writer) = &state.writer {
                writer.truncate(size)?;
                let commits = !by_handle || state.writable == 0;
                drop(state);
                return if commits { self.commit(file) } else { Ok(()) };
            }
            let writable = state.writable > 0;
            drop(state);
            if writable && by_handle {
                return Ok(self.writer_of(file)?.truncate(size)?);
            }
        }
        let opened = self.open(ino, libc::O_WRONLY, Wait::Yes)?;
        let committed = self.handle(opened.handle).and_then(|handle| {
            if handle.file.entry().size == Some(size) {
                return Ok(());
            }
            if !is_asked() {
                return Err(FsError::Errno(libc::ETIMEDOUT));
            }
            self.writer_of(&handle.file)?.truncate(size)?;
            self.commit(&handle.file)
        });
        self.release(opened.handle);
        committed
    }

    /// FTP has no owners to change; to the present one it is done at once.
    fn change_owner(&self, ino: u64, uid: Option<u32>, gid: Option<u32>) -> Result<(), FsError> {
        let owner = &self.config.owner;
        if uid.is_none_or(|uid| uid == owner.uid) && gid.is_none_or(|gid| gid == owner.gid) {
            return Ok(());
        }
        if self.config.strict {
            return Err(FsError::Errno(libc::EPERM));
        }
        let path = self.path(ino)?;
        tell_once(&self.told_chown, || {
            format!("{path}: FTP cannot change owners; chown is ignored")
        });
        Ok(())
    }

    fn change_mode(&self, ino: u64, mode: u16) -> Result<(), FsError> {
        if ino == ROOT {
            return Ok(());
        }
        let file = self.open_file(ino);
        if let Some(writer) = file.as_ref().and_then(|file| file.writer())
            && writer.set_mode(mode)
        {
            self.keep_pending(file.as_ref());
            return Ok(());
        }
        let path = self.path(ino)?;
        match only_if_asked(|| self.remote.set_mode(&path, mode)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Unsupported && !self.config.strict => {
                tell_once(&self.told_chmod, || {
                    format!("{path}: {error}; chmod is ignored")
                });
                return Ok(());
            }
            Err(error) => return Err(self.not_the_owner(error, &path)),
        }
        if let Some(file) = &file {
            file.state.lock().entry.mode = Some(mode);
        }
        self.edit_listed(&path, move |entry| entry.mode = Some(mode), None);
        Ok(())
    }

    fn change_time(&self, ino: u64, change: TimeChange) -> Result<(), FsError> {
        if ino == ROOT {
            return Ok(());
        }
        // Servers keep seconds. The time of a touch is shown as it was nevertheless, as that of a write
        // is: make(1) compares the two.
        let (time, shown) = match change {
            TimeChange::Now => {
                let now = SystemTime::now();
                (whole_second(now), now)
            }
            TimeChange::To(time) => (whole_second(time), whole_second(time)),
        };
        let staged = match change {
            TimeChange::Now => None,
            TimeChange::To(_) => Some(time),
        };
        if self.stages_time(ino, staged) {
            return Ok(());
        }
        let path = self.path(ino)?;
        // Who opens the file or reads on in it meanwhile would take the new time for somebody else's change.
        let _moving = self.moves.begin(&path);
        let file = self.open_file(ino);
        let writer = file.as_ref().and_then(|file| file.writer());
        if self.stages_time(ino, staged) {
            return Ok(());
        }
        match only_if_asked(|| self.remote.set_modified(&path, time)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Unsupported && !self.config.strict => {
                tell_once(&self.told_utimes, || {
                    format!("{path}: {error}; times are not kept")
                });
                return Ok(());
            }
            // Several servers set times of files only, and say so of directories in words of their own.
            Err(error)
                if matches!(error.kind(), ErrorKind::Refused | ErrorKind::IsDirectory)
                    && self.is_directory(ino)
                    && !self.config.strict =>
            {
                tell_once(&self.told_directory_times, || {
                    format!("{path}: {error}; times of folders are not kept")
                });
                return Ok(());
            }
            Err(error) => return Err(self.not_the_owner(error, &path)),
        }
        self.same_content_at(ino, time);
        if let Some(writer) = writer {
            writer.rebase_modified(time);
        }
        let mut size = None;
        if let Some(file) = &file {
            let mut state = file.state.lock();
            state.entry.modified = Some(exact(shown));
            if let Some(version) = &mut state.version {
                version.modified = Some(time);
            }
            size = state.version.map(|v| v.size);
            // Readers would take the new time for somebody else's change.
            state.epoch += 1;
            let reader = state.reader.take();
            state.shown |= reader.as_ref().is_some_and(|reader| reader.has_delivered());
            drop(state);
            reader.iter().for_each(|reader| reader.retire());
        }
        let stored = size.map(|size| FileVersion {
            size,
            modified: Some(time),
        });
        self.edit_listed(
            &path,
            move |entry| entry.modified = Some(exact(shown)),
            Some((shown, stored)),
        );
        Ok(())
    }

    /// A file that is still to be stored gets its time with that; whether it is one.
    fn stages_time(&self, ino: u64, time: Option<SystemTime>) -> bool {
        let file = self.open_file(ino);
        let writer = file.as_ref().and_then(|file| file.writer());
        let writer = writer.filter(|writer| writer.is_dirty());
        if let Some(writer) = &writer {
            writer.set_modified(time);
            self.keep_pending(file.as_ref());
        }
        writer.is_some()
    }

    fn is_directory(&self, ino: u64) -> bool {
        self.inodes.lock().kind(ino) == Some(EntryKind::Directory)
    }

    /// Blocks that are cached stay good: only the time is another.
    fn same_content_at(&self, ino: u64, time: SystemTime) {
        let mut inodes = self.inodes.lock();
        if let Some((content, version)) = inodes.content(ino) {
            let version = FileVersion {
                modified: Some(time),
                ..version
            };
            inodes.set_content(ino, Some((content, version)));
        }
    }

    /// Edits what the cached listing says of `path`. With a time of ours, it is shown as long as the
    /// server's listing agrees with it.
    fn edit_listed(
        &self,
        path: &RemotePath,
        edit: impl Fn(&mut Entry) + Send + Sync + 'static,
        time: Option<(SystemTime, Option<FileVersion>)>,
    ) {
        let Some(dir) = path.parent() else { return };
        self.listings.edit(&dir, path.name(), move |found| {
            edit(&mut found.entry);
            let Some((shown, stored)) = time else { return };
            let listed = found.entry.size.map(|size| FileVersion {
                size,
                modified: Some(shown),
            });
            let stored = stored.or(listed);
            found.own = stored.map(|stored| OwnTime { shown, stored });
        });
    }

    /// Who may not change attributes is told EPERM, as chmod(2) and utimes(2) have it.
    fn not_the_owner(&self, error: RemoteError, path: &RemotePath) -> FsError {
        match self.explain(error, path, Asked::Use) {
            FsError::Explained(libc::EACCES, error) => FsError::Explained(libc::EPERM, error),
            FsError::Remote(error) if error.kind() == ErrorKind::Denied => {
                FsError::Explained(libc::EPERM, error)
            }
            other => other,
        }
    }

    /// The writer of an existing file that the server has as `base`, and was `seen` to have. What is stored goes
    /// through a link that is followed.
    pub(super) fn editor(
        &self,
        path: &RemotePath,
        base: FileVersion,
        seen: Option<Instant>,
        entry: &Entry,
    ) -> Result<Arc<FileWriter>, FsError> {
        let context = Arc::clone(&self.writing);
        let writer = FileWriter::edit(context, path.clone(), base, seen, entry.mode)?;
        if entry.is_followed_link() {
            writer.goes_through_link();
        }
        Ok(writer)
    }

    /// The writer of an open file, made at its first change.
    pub(super) fn writer_of(
        &self,
        file: &Arc<super::open_file::OpenFile>,
    ) -> Result<Arc<FileWriter>, FsError> {
        let mut state = file.state.lock();
        if let Some(writer) = &state.writer {
            return Ok(Arc::clone(writer));
        }
        let path = self.path_of(file.ino);
        let (Some(path), Some(version), false) = (path, state.version, state.nameless) else {
            // A file without a name, or one whose size nobody knows, has no content to be changed.
            return Err(FsError::Errno(libc::ESTALE));
        };
        let writer = self.editor(&path, version, state.seen, &state.entry)?;
        state.writer = Some(Arc::clone(&writer));
        state.epoch += 1;
        let reader = state.reader.take();
        state.shown |= reader.as_ref().is_some_and(|reader| reader.has_delivered());
        drop(state);
        self.supersede(&path);
        // Readers see staged bytes from now on; the download would be of an old content.
        reader.into_iter().for_each(|reader| {
            reader.retire();
        });
        Ok(writer)
    }
}

/// What FTP keeps of a time.
fn whole_second(time: SystemTime) -> SystemTime {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()),
        Err(_) => time,
    }
}

fn tell_once(told: &AtomicBool, message: impl FnOnce() -> String) {
    if !told.swap(true, Ordering::Relaxed) {
        log::warn!("{}", message());
    }
}
