//! Reading, writing and committing open files.

use std::sync::Arc;
use std::time::Instant;

use super::open_file::{Handle, OpenFile, exact};
use super::{FsError, FtpFs, ReadDone, Wait};
use crate::cache::{FileReader, OwnTime, ReadError};
use crate::writeback::{Committed, FileWriter, WriteError, WriteRead};

/// How often a file that changes under our hands is opened anew before its reader is told.
const ANEW: u32 = 3;

impl FtpFs {
    /// Reads; never waits: `done` is called at once if memory has the bytes, else later by a worker.
    pub fn read(self: &Arc<Self>, handle: u64, offset: u64, size: u32, done: ReadDone) {
        match self.handle(handle) {
            Ok(handle) => self.read_of(&handle, offset, size, ANEW, done),
            Err(error) => done(Err(error)),
        }
    }

    fn read_of(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        offset: u64,
        size: u32,
        anew: u32,
        done: ReadDone,
    ) {
        let mut state = handle.file.state.lock();
        if let Some(writer) = state.writer.clone() {
            state.shown = true;
            drop(state);
            return self.read_staged(writer, offset, size, done);
        }
        let reader = match handle.own_reader(&state) {
            Some(reader) => Ok(reader),
            None => self.reader_of(&handle.file, &mut state),
        };
        drop(state);
        match reader {
            Ok(reader) => self.read_from(&reader, handle, offset, size, anew, done),
            Err(error) => done(Err(error)),
        }
    }

    /// Reads. If the file turns out to be another one than was opened, and nobody has seen a byte of it,
    /// it is opened anew. If we have changed it ourselves meanwhile, the change is what is read.
    fn read_from(
        self: &Arc<Self>,
        reader: &Arc<FileReader>,
        handle: &Arc<Handle>,
        offset: u64,
        size: u32,
        anew: u32,
        done: ReadDone,
    ) {
        let (fs, handle, asked) = (Arc::clone(self), Arc::clone(handle), Arc::clone(reader));
        let answer = move |result: Result<&[u8], ReadError>| match result {
            Err(error) if error.is_change() && anew > 0 => {
                let error = FsError::from(error);
                let workers = Arc::clone(&fs.workers);
                workers.spawn(move || {
                    let reopened = match fs.await_changes(&handle) {
                        Err(error) => Err(error),
                        Ok(()) if fs.is_ours(&handle, &asked) => Ok(()),
                        Ok(()) if asked.has_delivered() => Err(error),
                        Ok(()) => fs.read_anew(&handle, &asked),
                    };
                    match reopened {
                        Ok(()) => fs.read_of(&handle, offset, size, anew - 1, done),
                        Err(error) => done(Err(error)),
                    }
                });
            }
            other => done(other.map_err(FsError::from)),
        };
        reader.read(offset, size, Box::new(answer));
    }

    /// Until no change of ours to this file by its name is under way.
    fn await_changes(&self, handle: &Handle) -> Result<(), FsError> {
        match self.path_of(handle.file.ino) {
            Some(path) => self.changed_since(self.moves.now(), &path).map(drop),
            None => Ok(()),
        }
    }

    /// Whether a handle would not read from this reader any more, because the file is or was written here.
    fn is_ours(&self, handle: &Handle, asked: &Arc<FileReader>) -> bool {
        let state = handle.file.state.lock();
        state.writer.is_some() || {
            let present = handle.own_reader(&state).or_else(|| state.reader.clone());
            present.is_none_or(|present| present.content() != asked.content())
        }
    }

    /// Reads of a file that is being written: staged bytes, and those that only the server has.
    fn read_staged(
        self: &Arc<Self>,
        writer: Arc<FileWriter>,
        offset: u64,
        size: u32,
        done: ReadDone,
    ) {
        let range = offset..offset.saturating_add(u64::from(size));
        match writer.read(range.clone()) {
            WriteRead::Bytes(bytes) => answer(bytes, done),
            WriteRead::Missing => self.workers.spawn(move || {
                if let Err(error) = writer.fetch(range.clone()) {
                    return done(Err(error.into()));
                }
                match writer.read(range) {
                    WriteRead::Bytes(bytes) => answer(bytes, done),
                    // Cut and lengthened while it was fetched: the next read finds out.
                    WriteRead::Missing => done(Err(FsError::Errno(libc::EIO))),
                }
            }),
        }
    }

    /// Stages bytes. Never waits for the network.
    ///
    /// # Errors
    /// EBADF, ESTALE; ENOSPC and others of the local disk.
    pub fn write(self: &Arc<Self>, handle: u64, offset: u64, data: &[u8]) -> Result<u32, FsError> {
        let handle = self.handle(handle)?;
        if !handle.writable {
            return Err(FsError::Errno(libc::EBADF));
        }
        if handle.is_stale(&handle.file.state.lock()) {
            return Err(FsError::Errno(libc::ESTALE));
        }
        let writer = self.writer_of(&handle.file)?;
        if handle.append {
            writer.append(data)?;
        } else {
            writer.write(offset, data)?;
        }
        u32::try_from(data.len()).map_err(|_| FsError::Errno(libc::EINVAL))
    }

    /// close(2): commits what is dirty, or leaves that for later (`writeback`); its error is close's. `still_open` is asked only if nothing
    /// was written since the open: whether the caller has another descriptor of the file (the path
    /// is relative to the mount's root, without a slash in front), so that another flush follows.
    /// It may wait, and is asked on a worker only.
    ///
    /// # Errors
    /// `WouldWait`; why the server does not have the data.
    pub fn flush(
        &self,
        handle: u64,
        still_open: &dyn Fn(&[u8]) -> bool,
        wait: Wait,
    ) -> Result<(), FsError> {
        let handle = self.handle(handle)?;
        let Some(writer) = handle.file.writer().filter(|writer| writer.is_dirty()) else {
            return self.earlier_failure(&handle);
        };
        if wait == Wait::No {
            return Err(FsError::WouldWait);
        }
        if !writer.is_touched()
            && self
                .path_below_root(&handle)
                .is_some_and(|path| still_open(&path))
        {
            return Ok(());
        }
        let earlier = self.earlier_failure(&handle);
        if !self.leaves_for_later(&handle.file, &writer) {
            self.commit(&handle.file)?;
        }
        earlier
    }

    /// fsync(2): commits what is dirty. May wait.
    ///
    /// # Errors
    /// Why the server does not have the data.
    pub fn fsync(&self, handle: u64) -> Result<(), FsError> {
        let handle = self.handle(handle)?;
        let earlier = self.earlier_failure(&handle);
        self.commit(&handle.file)?;
        earlier
    }

    /// Brings the server up to date, and what we remember of it.
    pub(super) fn commit(&self, file: &Arc<OpenFile>) -> Result<(), FsError> {
        match file.writer() {
            Some(writer) => self.commit_writer(file, &writer),
            None => Ok(()),
        }
    }

    /// The same for a writer of `file` that may be set aside meanwhile.
    pub(super) fn commit_writer(
        &self,
        file: &OpenFile,
        writer: &FileWriter,
    ) -> Result<(), FsError> {
        let outcome = writer.commit_and(|committed| self.remember(file, committed));
        self.explained(file, outcome.map(drop))
    }

    /// The same in one attempt.
    pub(super) fn commit_writer_once(
        &self,
        file: &OpenFile,
        writer: &FileWriter,
    ) -> Result<(), FsError> {
        let outcome = writer.commit_once_and(|committed| self.remember(file, committed));
        self.explained(file, outcome.map(drop))
    }

    fn remember(&self, file: &OpenFile, committed: Option<&Committed>) {
        if let Some(committed) = committed {
            self.after_commit(file, committed);
        }
    }

    fn explained(&self, file: &OpenFile, outcome: Result<(), WriteError>) -> Result<(), FsError> {
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => match self.path_of(file.ino) {
                Some(path) => Err(self.explain_write(error, &path)),
                None => Err(error.into()),
            },
        }
    }

    pub(super) fn after_commit(&self, file: &OpenFile, committed: &Committed) {
        let (entry, nameless) = {
            let mut state = file.state.lock();
            (state.version, state.seen) = (Some(committed.version), Some(Instant::now()));
            state.entry.size = Some(committed.version.size);
            state.entry.modified = Some(exact(committed.shown));
            state.entry.mode = committed.mode.or(state.entry.mode);
            (state.entry.clone(), state.nameless)
        };
        let path = self.path_of(file.ino);
        path.iter().for_each(|path| {
            self.moves.happened(path);
            self.has_accepted(path);
        });
        self.inodes.lock().set_content(file.ino, None);
        if let Some(path) = path.filter(|_| !nameless)
            && let Some(dir) = path.parent()
        {
            let own = OwnTime {
                shown: committed.shown,
                stored: committed.version,
            };
            let entry = crate::ftp::listing::Entry {
                name: path.name().to_vec(),
                ..entry
            };
            self.listings.put(&dir, entry, Some(own));
        }
    }

    fn path_below_root(&self, handle: &Handle) -> Option<Vec<u8>> {
        let path = self.path_of(handle.file.ino)?;
        let below = path.as_bytes().strip_prefix(self.root.as_bytes())?;
        Some(below.strip_prefix(b"/").unwrap_or(below).to_vec())
    }
}

fn answer(bytes: crate::writeback::StagedBytes, done: ReadDone) {
    match bytes.read() {
        Ok(bytes) => done(Ok(&bytes)),
        Err(error) => done(Err(crate::writeback::WriteError::from(error).into())),
    }
}
