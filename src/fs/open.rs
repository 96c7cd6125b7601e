//! Opening, creating and releasing files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fuser::FopenFlags;
use parking_lot::MutexGuard;

use super::change::Asked;
use super::open_file::{Files, Handle, OpenFile, exact};
use super::small::Present;
use super::{FsError, FtpFs, Opened, Wait};
use crate::cache::{Entries, Remembered};
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, EntryKind};
use crate::remote::{ErrorKind, FileVersion, RemoteError};
use crate::workers::is_asked;
use crate::writeback::{FileWriter, WriteError};

/// An open looks this often whether a writer that can never store anything has gone.
const CONFLICT_LOOKS: u32 = 100;
const CONFLICT_PAUSE: Duration = Duration::from_millis(20);

/// How often an open follows a name that renames give to one file after the other.
const OPEN_ATTEMPTS: u32 = 8;

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
        for _ in 0..OPEN_ATTEMPTS {
            // A rename may have put another file there since the kernel looked the name up.
            let present = self.inodes.lock().present(ino);
            let opened = self.open_present(present, flags, wait);
            // A number that was made for this open alone goes with it.
            let forgotten = || self.inodes.lock().forget(present, 0);
            match opened {
                Ok(Some(opened)) if present == ino => return Ok(opened),
                Ok(Some(opened)) => {
                    // The pages of the old number are of the old file.
                    let flags = opened.flags & FopenFlags::FOPEN_NOFLUSH;
                    let flags = flags | FopenFlags::FOPEN_DIRECT_IO;
                    return Ok(Opened { flags, ..opened });
                }
                Ok(None) => forgotten(),
                Err(FsError::Errno(libc::ESTALE)) => {
                    forgotten();
                    if self.inodes.lock().present(ino) == present {
                        return Err(FsError::Errno(libc::ESTALE));
                    }
                }
                Err(error) => {
                    forgotten();
                    return Err(error);
                }
            }
        }
        Err(FsError::Errno(libc::ESTALE))
    }

    /// Opens the file that has this number now; `None` if its name has become another file meanwhile.
    fn open_present(
        self: &Arc<Self>,
        ino: u64,
        flags: i32,
        wait: Wait,
    ) -> Result<Option<Opened>, FsError> {
        let truncate = flags & libc::O_TRUNC != 0;
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || truncate;
        let began = self.moves.now();
        self.await_conflicted(ino, wait)?;
        if writes && self.is_leaving(ino) {
            if wait == Wait::No {
                return Err(FsError::WouldWait);
            }
            if self.changed_since(began, &self.path(ino)?)? {
                return Ok(None);
            }
        }
        if truncate && !is_asked() {
            return Err(FsError::Errno(libc::ETIMEDOUT));
        }
        if let Some((opened, writer)) = self.join_writer(ino, flags) {
            if truncate && let Err(error) = writer.truncate(0) {
                self.release(opened.handle);
                return Err(error.into());
            }
            return Ok(Some(opened));
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
            return self.open_truncated(ino, &path, &found, flags, wait, began);
        }
        let Present { version, content } = if writes {
            let version = self.current_version(&path, &found, wait)?;
            let content = None;
            Present { version, content }
        } else {
            self.present(ino, &path, &found, wait)?
        };
        if self.changed_since(began, &path)? {
            return Ok(None);
        }
        // A commit of ours may end at any time; its end is known before its writer goes.
        let overtaken = || self.moves.ended_since(began, &path);
        if self.is_another_file(ino, version, overtaken) {
            // Who has the old content open keeps the old number, whose pages are of the old content. The
            // kernel answers this error by a look-up, which finds the new file, and opens that.
            self.listed_as(&path, &found, version, began);
            self.inodes.lock().detach(ino);
            return Err(FsError::Errno(libc::ESTALE));
        }
        let Some((file, keep)) = self.opened_file(ino, &path, &found, version, began) else {
            return Ok(None);
        };
        if let (Some(version), Some(content)) = (version, content) {
            file.offer(version, content);
        }
        if !writes {
            self.was_opened(&path, &found);
        }
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
        let files = self.files.lock();
        if !files.by_inode.contains_key(&ino) && self.moves.ended_since(began, &path) {
            // It was retired, and stored anew since: it is not to come back with the size of before that.
            return Ok(None);
        }
        let opened = self.handle_in(files, &file, flags, reply);
        let changed = self.changed_since(began, &path);
        if !matches!(changed, Ok(false)) {
            self.release(opened.handle);
            return changed.map(|_| None);
        }
        Ok(Some(opened))
    }

    /// The open file of an inode, made if there is none. It pins the inode.
    pub(super) fn file_of(
        &self,
        ino: u64,
        make: impl FnOnce(u64) -> Arc<OpenFile>,
    ) -> Arc<OpenFile> {
        self.file_in(self.files.lock(), ino, make)
    }

    fn file_in(
        &self,
        mut files: MutexGuard<'_, Files>,
        ino: u64,
        make: impl FnOnce(u64) -> Arc<OpenFile>,
    ) -> Arc<OpenFile> {
        if let Some(file) = files.by_inode.get(&ino) {
            return Arc::clone(file);
        }
        let file = make(ino);
        files.by_inode.insert(ino, Arc::clone(&file));
        drop(files);
        self.inodes.lock().pin(ino);
        file
    }

    /// Who has closed a file in vain, because somebody else has changed it, is about to let go of its writer:
    /// nothing that joins that one can ever be stored. As long as a program has it open it stays.
    fn await_conflicted(&self, ino: u64, wait: Wait) -> Result<(), FsError> {
        for _ in 0..CONFLICT_LOOKS {
            let writer = self.open_file(ino).and_then(|file| file.writer());
            if !writer.is_some_and(|writer| writer.is_conflicted()) {
                break;
            }
            if wait == Wait::No {
                return Err(FsError::WouldWait);
            }
            std::thread::sleep(CONFLICT_PAUSE);
        }
        Ok(())
    }

    /// Somebody is about to delete the file or to replace it by another one: what its writer gets from here on would be
    /// nobody's, even if that takes so long that he is told it has failed.
    fn is_leaving(&self, ino: u64) -> bool {
        let writer = self.open_file(ino).and_then(|file| file.writer());
        writer.is_some_and(|writer| writer.is_doomed())
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
        self.handle_in(self.files.lock(), file, flags, reply)
    }

    fn handle_in(
        &self,
        mut files: MutexGuard<'_, Files>,
        file: &Arc<OpenFile>,
        flags: i32,
        reply: FopenFlags,
    ) -> Opened {
        let number = self.new_number();
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

    pub(super) fn remembered(
        &self,
        ino: u64,
        path: &RemotePath,
        wait: Wait,
    ) -> Result<Remembered, FsError> {
        let Some(dir) = path.parent() else {
            return Err(FsError::Errno(libc::EISDIR));
        };
        let look = |entries: &Entries, _| entries.get(path.name()).cloned();
        let found = self
            .listed(&dir, wait, look)?
            // Not ENOENT: the kernel looks the name up again then, and an O_CREAT makes the file.
            .ok_or(FsError::Errno(libc::ESTALE))?;
        if self.inodes.lock().kind(ino) != Some(found.entry.kind) {
            return Err(FsError::Errno(libc::ESTALE));
        }
        Ok(found)
    }

    /// What the file is now. No listing is believed, however young: its size may be wrong for the bytes that
    /// follow.
    pub(super) fn current_version(
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
            Err(error) => Err(self.unopened(error, path)),
        }
    }

    /// Why a file that is listed could not be opened.
    pub(super) fn unopened(&self, error: RemoteError, path: &RemotePath) -> FsError {
        match self.explain(error, path, Asked::Use) {
            // Gone behind our back; see above.
            error if error.errno() == libc::ENOENT => FsError::Errno(libc::ESTALE),
            error => error,
        }
    }

    /// Whether somebody else has changed a file that is open here. A change to the same size within the same
    /// second is one that FTP does not tell. What was `overtaken` by a commit of ours tells nothing.
    fn is_another_file(
        &self,
        ino: u64,
        version: Option<FileVersion>,
        overtaken: impl Fn() -> bool,
    ) -> bool {
        let Some(file) = self.open_file(ino) else {
            return false;
        };
        let mut state = file.state.lock();
        let same = match (state.version, version) {
            (Some(before), Some(now)) => before.agrees_with(now),
            _ => true,
        };
        let unwritten = state.handles > 0 && state.writer.is_none();
        let another = !same && unwritten && !overtaken();
        state.nameless |= another;
        another
    }

    /// The entry with the size and time that the server has just told; the cached listing learns it, unless a commit
    /// of ours has ended since it was asked (`began`). A size of before that would make the kernel cut what it has
    /// of the file, and who reads it just then would find zeros.
    pub(super) fn listed_as(
        &self,
        path: &RemotePath,
        found: &Remembered,
        version: Option<FileVersion>,
        began: u64,
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
            let put = || self.listings.put(&dir, entry.clone(), None);
            self.moves.unless_ended(began, path, put);
        }
        entry
    }

    /// The open file with this version as its present one, unless that was overtaken by a commit of ours, and
    /// whether the kernel may keep its pages. `None` if there is no such file but what the server had before.
    fn opened_file(
        &self,
        ino: u64,
        path: &RemotePath,
        found: &Remembered,
        version: Option<FileVersion>,
        began: u64,
    ) -> Option<(Arc<OpenFile>, bool)> {
        let overtaken = || self.moves.ended_since(began, path);
        let entry = self.listed_as(path, found, version, began);
        let files = self.files.lock();
        if !files.by_inode.contains_key(&ino) && overtaken() {
            return None;
        }
        let file = self.file_in(files, ino, |ino| OpenFile::new(ino, entry.clone(), version));
        let mut state = file.state.lock();
        let changed = match (state.version, version) {
            (Some(before), Some(now)) => !before.agrees_with(now),
            _ => false,
        };
        let mut keep = true;
        if state.writer.is_none() && !overtaken() {
            state.seen = version.map(|_| Instant::now());
            if changed {
                state.entry = entry;
                state.version = version;
            }
            // Handles that are open and this one share a reader, unless the content is another.
            if changed || state.handles == 0 || state.reader.is_none() {
                let (content, known) = self.content_of(ino, version);
                let reader = self.new_reader(path.clone(), content, version);
                if known {
                    // The kernel gives its pages of it without asking us.
                    reader.set_known(true);
                }
                state.reader = Some(reader);
                state.shown &= state.handles > 0;
                keep = known && !changed;
            }
        }
        drop(state);
        Some((file, keep))
    }

    pub(super) fn explain_write(&self, error: WriteError, path: &RemotePath) -> FsError {
        match error {
            WriteError::Remote(error) => self.explain(error, path, Asked::Store),
            other => other.into(),
        }
    }
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
