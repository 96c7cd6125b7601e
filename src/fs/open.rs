//! Opening, creating and releasing files.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::FopenFlags;

use super::change::Asked;
use super::open_file::{Handle, OpenFile, OpenState, exact};
use super::{FsError, FtpFs, Opened, Wait};
use crate::cache::{ContentId, Entries, FileReader, Remembered};
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, EntryKind};
use crate::remote::{ErrorKind, FileVersion};
use crate::writeback::{FileWriter, WriteError};

/// A modification time this old is not that of a change which is still going on: the same time
/// later is the same content.
const SETTLED: Duration = Duration::from_secs(2);

impl FtpFs {
    /// Opens a plain file; `flags` are those of open(2).
    ///
    /// # Errors
    /// `WouldWait`; EACCES, EISDIR, EROFS, ENOENT, …
    pub fn open(self: &Arc<Self>, ino: u64, flags: i32, wait: Wait) -> Result<Opened, FsError> {
        let truncate = flags & libc::O_TRUNC != 0;
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || truncate;
        if writes {
            self.may_change()?;
        }
        if let Some((opened, writer)) = self.join_writer(ino, flags) {
            if truncate && let Err(error) = writer.truncate(0) {
                self.release(opened.handle);
                return Err(error.into());
            }
            return Ok(opened);
        }
        let path = self.path(ino)?;
        let found = self.remembered(ino, &path, wait)?;
        match found.entry.kind {
            EntryKind::File => {}
            EntryKind::Directory => return Err(FsError::Errno(libc::EISDIR)),
            EntryKind::Symlink => return Err(FsError::Errno(libc::ELOOP)),
            EntryKind::Other => return Err(FsError::Errno(libc::EACCES)),
        }
        if !permitted(&found, flags) {
            return Err(FsError::Errno(libc::EACCES));
        }
        if truncate {
            return self.open_truncated(ino, &path, &found, flags, wait);
        }
        let version = self.current_version(&path, &found, wait)?;
        if self.is_another_file(ino, version) {
            // Who has the old content open keeps the old number, whose pages are of the old content. The
            // kernel answers this error by a look-up, which finds the new file, and opens that.
            self.listed_as(&path, &found, version);
            self.inodes.lock().detach(ino);
            return Err(FsError::Errno(libc::ESTALE));
        }
        let (file, keep) = self.opened_file(ino, &path, &found, version);
        if !keep {
            // What the kernel was told of size and time came from a listing.
            self.attributes_changed(ino);
        }
        let mut reply = if keep {
            FopenFlags::FOPEN_KEEP_CACHE
        } else {
            FopenFlags::empty()
        };
        if version.is_none() {
            // Of unknown size: the kernel must ask for bytes until there are no more.
            reply = FopenFlags::FOPEN_DIRECT_IO;
        }
        if !writes {
            reply |= FopenFlags::FOPEN_NOFLUSH;
        }
        Ok(self.new_handle(&file, flags, reply))
    }

    /// The last descriptor is gone. Never waits; what is still dirty is committed by a worker.
    pub fn release(self: &Arc<Self>, handle: u64) {
        let Some(handle) = self.files.lock().handles.remove(&handle) else {
            return;
        };
        let file = Arc::clone(&handle.file);
        let unfinished = {
            let mut state = file.state.lock();
            state.handles = state.handles.saturating_sub(1);
            if handle.writable {
                state.writable = state.writable.saturating_sub(1);
            }
            state.writable == 0
                && state
                    .writer
                    .as_ref()
                    .is_some_and(|writer| writer.is_dirty())
        };
        if unfinished {
            let fs = Arc::clone(self);
            self.workers.spawn(move || fs.finish(&file));
        } else {
            self.retire(&file);
        }
    }

    /// A job: commits what nobody has open for writing any more.
    fn finish(&self, file: &Arc<OpenFile>) {
        loop {
            if let Err(error) = self.commit(file) {
                self.keep_unsaved(file, &error);
            }
            let state = file.state.lock();
            let again = state.writable == 0 && state.writer.as_ref().is_some_and(|w| w.is_dirty());
            drop(state);
            // Something was changed by name (truncate) while the commit was under way.
            if !again {
                break;
            }
        }
        self.retire(file);
    }

    /// Lets go of a writer that is no longer wanted, and of the file after its last handle.
    pub(super) fn retire(&self, file: &Arc<OpenFile>) {
        let mut files = self.files.lock();
        let mut state = file.state.lock();
        let clean = state
            .writer
            .as_ref()
            .is_some_and(|writer| !writer.is_dirty());
        let mut gone = Vec::new();
        // What a nameless file holds is nowhere else.
        let only_copy = state.leaving && state.handles > 0;
        if state.writable == 0 && clean && !only_copy {
            state.entry = state.shown();
            gone.extend(state.writer.take());
        }
        let last = state.handles == 0 && state.writer.is_none();
        if last
            && files
                .by_inode
                .get(&file.ino)
                .is_some_and(|known| Arc::ptr_eq(known, file))
        {
            files.by_inode.remove(&file.ino);
            drop(state);
            drop(files);
            self.inodes.lock().unpin(file.ino);
            if let Some(reader) = file.reader() {
                reader.reclaim();
            }
        }
    }

    /// The open file of an inode, made if there is none. It pins the inode.
    pub(super) fn file_of(
        &self,
        ino: u64,
        make: impl FnOnce(u64) -> Arc<OpenFile>,
    ) -> Arc<OpenFile> {
        let mut files = self.files.lock();
        if let Some(file) = files.by_inode.get(&ino) {
            return Arc::clone(file);
        }
        let file = make(ino);
        files.by_inode.insert(ino, Arc::clone(&file));
        drop(files);
        self.inodes.lock().pin(ino);
        file
    }

    /// A handle of a file that is being written, or whose last commit is under way. From here on its
    /// writer stays.
    fn join_writer(&self, ino: u64, flags: i32) -> Option<(Opened, Arc<FileWriter>)> {
        let mut files = self.files.lock();
        let file = Arc::clone(files.by_inode.get(&ino)?);
        let mut state = file.state.lock();
        let writer = Arc::clone(state.writer.as_ref()?);
        let handle = Handle::new(&file, &mut state, flags);
        drop(state);
        let number = self.new_number();
        files.handles.insert(number, Arc::new(handle));
        Some((
            Opened {
                handle: number,
                flags: FopenFlags::empty(),
            },
            writer,
        ))
    }

    pub(super) fn new_handle(&self, file: &Arc<OpenFile>, flags: i32, reply: FopenFlags) -> Opened {
        let number = self.new_number();
        let mut files = self.files.lock();
        // A release may have retired it since it was looked up.
        let known = files.by_inode.entry(file.ino).or_insert_with(|| {
            self.inodes.lock().pin(file.ino);
            Arc::clone(file)
        });
        let file = Arc::clone(known);
        let handle = Handle::new(&file, &mut file.state.lock(), flags);
        files.handles.insert(number, Arc::new(handle));
        Opened {
            handle: number,
            flags: reply,
        }
    }

    pub(super) fn handle(&self, handle: u64) -> Result<Arc<Handle>, FsError> {
        self.files
            .lock()
            .handles
            .get(&handle)
            .cloned()
            .ok_or(FsError::Errno(libc::EBADF))
    }

    /// An open that throws the old content away asks the server at once whether it may.
    fn open_truncated(
        self: &Arc<Self>,
        ino: u64,
        path: &RemotePath,
        found: &Remembered,
        flags: i32,
        wait: Wait,
    ) -> Result<Opened, FsError> {
        if wait == Wait::No {
            return Err(FsError::WouldWait);
        }
        let base = FileVersion {
            size: found.entry.size.unwrap_or(0),
            modified: None,
        };
        self.supersede(path);
        let context = Arc::clone(&self.writing);
        let writer = FileWriter::edit(context, path.clone(), base, found.entry.mode)?;
        writer.truncate(0)?;
        writer
            .begin()
            .map_err(|error| self.explain_write(error, path))?;
        let file = self.file_of(ino, |_| OpenFile::new(ino, found.entry.clone(), Some(base)));
        let mut state = file.state.lock();
        let joined = match &state.writer {
            Some(writer) => Some(Arc::clone(writer)),
            None => {
                state.writer = Some(Arc::clone(&writer));
                state.epoch += 1;
                None
            }
        };
        let reader = state.reader.take();
        drop(state);
        if let Some(joined) = joined {
            // Another open was faster: the file has one writer.
            writer.abandon();
            joined.truncate(0)?;
        }
        reader.into_iter().for_each(|reader| {
            reader.reclaim();
        });
        Ok(self.new_handle(&file, flags, FopenFlags::empty()))
    }

    fn remembered(&self, ino: u64, path: &RemotePath, wait: Wait) -> Result<Remembered, FsError> {
        let Some(dir) = path.parent() else {
            return Err(FsError::Errno(libc::EISDIR));
        };
        let look = |entries: &Entries, _| entries.get(path.name()).cloned();
        let found = self
            .listed(&dir, wait, look)?
            .ok_or(FsError::Errno(libc::ENOENT))?;
        if self.inodes.lock().kind(ino) != Some(found.entry.kind) {
            return Err(FsError::Errno(libc::ESTALE));
        }
        Ok(found)
    }

    /// What the file is now. No listing is believed, however young: its size may be wrong for the bytes that
    /// follow.
    fn current_version(
        &self,
        path: &RemotePath,
        found: &Remembered,
        wait: Wait,
    ) -> Result<Option<FileVersion>, FsError> {
        if wait == Wait::No {
            return Err(FsError::WouldWait);
        }
        match self.remote.version(path) {
            Ok(version) => Ok(Some(version)),
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                Ok(found.entry.size.map(|size| FileVersion {
                    size,
                    modified: None,
                }))
            }
            Err(error) => Err(self.explain(error, path, Asked::Use)),
        }
    }

    /// Whether somebody else has changed a file that is open here. A change to the same size within the same
    /// second is one that FTP does not tell.
    fn is_another_file(&self, ino: u64, version: Option<FileVersion>) -> bool {
        let Some(file) = self.open_file(ino) else {
            return false;
        };
        let mut state = file.state.lock();
        let same = match (state.version, version) {
            (Some(before), Some(now)) => before.agrees_with(now),
            _ => true,
        };
        let another = !same && state.handles > 0 && state.writer.is_none();
        state.nameless |= another;
        another
    }

    /// The entry with the size and time that the server has just told; the cached listing learns it.
    fn listed_as(
        &self,
        path: &RemotePath,
        found: &Remembered,
        version: Option<FileVersion>,
    ) -> Entry {
        let mut entry = found.entry.clone();
        if let Some(version) = version {
            let known = found.own.map(|own| own.stored);
            entry.size = Some(version.size);
            match version.modified {
                Some(_) if known.is_some_and(|known| known.agrees_with(version)) => {}
                Some(time) => entry.modified = Some(exact(time)),
                None => {}
            }
        }
        if entry != found.entry
            && let Some(dir) = path.parent()
        {
            self.listings.put(&dir, entry.clone(), None);
        }
        entry
    }

    /// The open file with this version as its present one, and whether the kernel may keep its pages.
    fn opened_file(
        &self,
        ino: u64,
        path: &RemotePath,
        found: &Remembered,
        version: Option<FileVersion>,
    ) -> (Arc<OpenFile>, bool) {
        let (content, keep) = self.content_of(ino, version);
        let entry = self.listed_as(path, found, version);
        let file = self.file_of(ino, |ino| OpenFile::new(ino, entry.clone(), version));
        let mut state = file.state.lock();
        let changed = match (state.version, version) {
            (Some(before), Some(now)) => !before.agrees_with(now),
            _ => false,
        };
        if state.writer.is_none() {
            if changed {
                state.entry = entry;
                state.version = version;
            }
            // Handles that are open keep the reader of what they have opened.
            let other = state
                .reader
                .as_ref()
                .is_none_or(|reader| reader.content() != content);
            if changed || other {
                state.reader = Some(self.new_reader(path.clone(), content, version));
            }
        }
        drop(state);
        (file, keep && !changed)
    }

    /// Cached blocks of an earlier open are this file's if size and time agree, and the time was already
    /// old when it was told.
    fn content_of(&self, ino: u64, version: Option<FileVersion>) -> (ContentId, bool) {
        let mut inodes = self.inodes.lock();
        let settled = version.filter(|version| is_settled(*version));
        if let (Some(now), Some((content, before))) = (settled, inodes.content(ino))
            && before == now
        {
            return (content, true);
        }
        let content = ContentId(self.new_number());
        inodes.set_content(ino, settled.map(|version| (content, version)));
        (content, false)
    }

    fn new_reader(
        &self,
        path: RemotePath,
        content: ContentId,
        version: Option<FileVersion>,
    ) -> Arc<FileReader> {
        FileReader::new(self.reading.clone(), path, content, version)
    }

    /// The reader of an open file; after a writer it is made anew, for what the writer left.
    pub(super) fn reader_of(
        &self,
        file: &OpenFile,
        state: &mut OpenState,
    ) -> Result<Arc<FileReader>, FsError> {
        if let Some(reader) = &state.reader {
            return Ok(Arc::clone(reader));
        }
        let path = self.path_of(file.ino).ok_or(FsError::Errno(libc::ESTALE))?;
        let reader = self.new_reader(path, ContentId(self.new_number()), state.version);
        state.reader = Some(Arc::clone(&reader));
        Ok(reader)
    }

    pub(super) fn explain_write(&self, error: WriteError, path: &RemotePath) -> FsError {
        match error {
            WriteError::Remote(error) => self.explain(error, path, Asked::Store),
            other => other.into(),
        }
    }
}

/// Whether the same version later is the same content.
fn is_settled(version: FileVersion) -> bool {
    version
        .modified
        .is_some_and(|time| time + SETTLED < SystemTime::now())
}

/// Mode bits and the `perm` fact of MLSD (RFC 3659 section 7.5.5): what the server would refuse is refused at
/// the open.
fn permitted(found: &Remembered, flags: i32) -> bool {
    // Root passes the kernel's check of these, but not the server's.
    let (reads, writes) = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => (true, false),
        libc::O_WRONLY => (false, true),
        _ => (true, true),
    };
    let mode = found.entry.mode.unwrap_or(0o666);
    if reads && mode & 0o444 == 0 || writes && mode & 0o222 == 0 {
        return false;
    }
    let Some(perm) = &found.entry.perm else {
        return true;
    };
    let has = |letter: char| perm.contains(letter);
    (!reads || has('r')) && (!writes || has('w') || has('a'))
}
