//! Renaming: what is dirty goes first, and everything that is open follows.

use std::sync::Arc;

use super::change::{Asked, FRESH};
use super::open_file::OpenFile;
use super::{FsError, FtpFs};
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, EntryKind};
use crate::remote::{ErrorKind, RemoteError};
use crate::workers::only_if_asked;
use crate::writeback::FileWriter;

impl FtpFs {
    /// Renames; with `no_replace` an existing `new_name` is EEXIST. A file that is open and dirty is
    /// committed first, and its failure is this one's. May wait.
    ///
    /// # Errors
    /// ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, EACCES, EROFS, …
    pub fn rename(
        &self,
        (parent, name): (u64, &[u8]),
        (new_parent, new_name): (u64, &[u8]),
        no_replace: bool,
    ) -> Result<(), FsError> {
        self.may_change()?;
        let from = self.path(parent)?.join(name)?;
        let to = self.new_path(new_parent, new_name)?;
        if from == to {
            return if no_replace {
                Err(FsError::Errno(libc::EEXIST))
            } else {
                Ok(())
            };
        }
        // What was opened before is known to this rename, what is opened from here on waits for it.
        let _moving = [self.moves.begin(&from), self.moves.begin(&to)];
        let (ino, replaced) = {
            let inodes = self.inodes.lock();
            (inodes.find(parent, name), inodes.find(new_parent, new_name))
        };
        let file = ino.and_then(|ino| self.open_file(ino));
        let target = replaced.and_then(|ino| self.open_file(ino));
        let max_age = self.config.cache_timeout;
        let source = match &file {
            Some(file) => file.entry(),
            None => self
                .find(&from, max_age)?
                .ok_or(FsError::Errno(libc::ENOENT))?,
        };
        let existing = match &target {
            Some(target) => Some(target.entry()),
            None => self.find(
                &to,
                if no_replace {
                    max_age.min(FRESH)
                } else {
                    max_age
                },
            )?,
        };
        may_replace(&source, existing.as_ref(), no_replace)?;
        if no_replace && existing.is_none() && self.exists_in_other_case(&to, Some(&from)) {
            return Err(FsError::Errno(libc::EEXIST));
        }
        if let Some(target) = &target {
            self.keep_for_handles(target);
        }
        let below = if source.kind == EntryKind::Directory {
            self.writers_below(&from)
        } else {
            Vec::new()
        };
        // An upload would end under the old path.
        let _still: Vec<_> = below.iter().map(|writer| writer.stand_still()).collect();
        self.rename_on_server(
            &from,
            &to,
            existing.is_some_and(|entry| entry.kind != EntryKind::Directory),
            (file.as_ref(), target.as_ref()),
        )?;
        self.nameless(target.as_ref());
        self.unsaved_follow(&from, &to);
        self.remember_rename(&from, &to, source);
        let mut inodes = self.inodes.lock();
        match ino {
            Some(ino) => inodes.rename(ino, new_parent, new_name),
            None => replaced.into_iter().for_each(|ino| inodes.detach(ino)),
        }
        drop(inodes);
        self.follow(&to);
        Ok(())
    }

    /// Writers of what is open below a directory, in the order in which their streams may be taken.
    pub(super) fn writers_below(&self, directory: &RemotePath) -> Vec<Arc<FileWriter>> {
        let mut files: Vec<_> = self.files.lock().by_inode.values().cloned().collect();
        files.sort_by_key(|file| file.ino);
        let inodes = self.inodes.lock();
        files.retain(|file| {
            let path = inodes.path(file.ino);
            path.is_some_and(|path| path.starts_with(directory))
        });
        drop(inodes);
        files.iter().filter_map(|file| file.writer()).collect()
    }

    /// RNFR and RNTO, with every upload of either file kept off the line.
    fn rename_on_server(
        &self,
        from: &RemotePath,
        to: &RemotePath,
        replaces: bool,
        (file, target): (Option<&Arc<OpenFile>>, Option<&Arc<OpenFile>>),
    ) -> Result<(), FsError> {
        let backup = replaces.then(|| self.temporary.beside(to));
        let rename = || {
            let renamed = only_if_asked(|| self.writing.rename(from, to, backup.as_ref()));
            renamed.map_err(|error| self.explain_rename(error, from, to))
        };
        let (writer, replaced) = (
            file.and_then(|f| f.writer()),
            target.and_then(|t| t.writer()),
        );
        // Two streams are taken in the order of their inodes: somebody may rename the other way round.
        let target_first = target.map(|t| t.ino) < file.map(|f| f.ino);
        match (file.zip(writer), replaced) {
            (None, None) => rename(),
            (None, Some(target)) => target.discard_with(rename),
            (Some((file, writer)), None) => self.commit_and_rename(file, &writer, to, rename),
            (Some((file, writer)), Some(target)) if target_first => {
                target.discard_with(|| self.commit_and_rename(file, &writer, to, rename))
            }
            (Some((file, writer)), Some(target)) => {
                self.commit_and_rename(file, &writer, to, || target.discard_with(rename))
            }
        }
    }

    fn commit_and_rename(
        &self,
        file: &Arc<OpenFile>,
        writer: &FileWriter,
        to: &RemotePath,
        rename: impl FnOnce() -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        let (_, renamed) = writer.commit_and(|committed| {
            if let Some(committed) = committed {
                self.after_commit(file, committed);
            }
            let renamed = rename();
            // What is written from now on must not go to the old name.
            if renamed.is_ok() {
                writer.set_path(to.clone());
            }
            renamed
        })?;
        renamed
    }

    fn explain_rename(&self, error: RemoteError, from: &RemotePath, to: &RemotePath) -> FsError {
        let error = match self.explain(error, from, Asked::Use) {
            FsError::Explained(libc::EACCES, error) => error,
            // libunftp says "not found" of every rename that fails.
            FsError::Remote(error) if self.is_contradicted(&error, from, to) => error,
            other => return other,
        };
        // The source is there: the reason lies at the target.
        let full = |path| match self.listings.get(path, FRESH, |e, _| e.is_empty()) {
            Ok(empty) => !empty,
            Err(_) => false,
        };
        let directory = self.find(to, FRESH).ok().flatten();
        let directory = directory.is_some_and(|e| e.kind == EntryKind::Directory);
        let errno = if directory && full(to) {
            libc::ENOTEMPTY
        } else {
            libc::EACCES
        };
        FsError::Explained(errno, error)
    }

    /// The server says "not found", and yet there is the source, and the place for the target.
    fn is_contradicted(&self, error: &RemoteError, from: &RemotePath, to: &RemotePath) -> bool {
        let there = |path| matches!(self.find(path, FRESH), Ok(Some(_)));
        error.kind() == ErrorKind::NotFound
            && there(from)
            && to
                .parent()
                .is_some_and(|dir| self.listings.get(&dir, FRESH, |_, _| ()).is_ok())
    }

    fn remember_rename(&self, from: &RemotePath, to: &RemotePath, source: Entry) {
        let own = from.parent().and_then(|dir| {
            let own = |entries: &crate::cache::Entries, _| {
                entries.get(from.name()).and_then(|found| found.own)
            };
            self.listings
                .peek(&dir, std::time::Duration::MAX, own)
                .flatten()
        });
        if source.kind == EntryKind::Directory {
            self.listings.forget_tree(from);
            self.listings.forget_tree(to);
        }
        if let Some(dir) = from.parent() {
            self.listings.remove(&dir, from.name());
        }
        if let Some(dir) = to.parent() {
            self.listings.put(
                &dir,
                Entry {
                    name: to.name().to_vec(),
                    ..source
                },
                own,
            );
        }
    }

    /// Everything open below `moved` is somewhere else now.
    fn follow(&self, moved: &RemotePath) {
        for file in self.open_files() {
            let Some(path) = self.path_of(file.ino) else {
                continue;
            };
            if path.starts_with(moved) {
                let readers = self.files.lock().readers(&file);
                readers
                    .iter()
                    .for_each(|reader| reader.set_path(path.clone()));
                file.writer()
                    .into_iter()
                    .for_each(|writer| writer.set_path(path.clone()));
            }
        }
    }

    /// A file that is about to lose its name: what its handles may still want is fetched, if it is little.
    pub(super) fn keep_for_handles(&self, file: &Arc<OpenFile>) {
        if let Err(error) = self.keep_all(file) {
            log::debug!("an open file loses its name before it could be fetched: {error}");
        }
    }

    fn keep_all(&self, file: &Arc<OpenFile>) -> Result<(), FsError> {
        let (handles, writable, size) = {
            let mut state = file.state.lock();
            state.leaving = true;
            let written = state.writer.is_some() || state.writable > 0;
            (state.handles, written, state.shown().size)
        };
        if handles == 0 || size.is_none_or(|size| size > self.config.readahead) {
            return Ok(());
        }
        if writable {
            let writer = self.writer_of(file)?;
            Ok(writer.fetch(0..writer.size())?)
        } else {
            self.reader_of(file, &mut file.state.lock())?;
            let readers = self.files.lock().readers(file);
            let kept: Vec<_> = readers.iter().map(|reader| reader.keep_all()).collect();
            Ok(kept.into_iter().collect::<Result<(), _>>()?)
        }
    }

    /// A file has lost its name.
    pub(super) fn nameless(&self, file: Option<&Arc<OpenFile>>) {
        let Some(file) = file else { return };
        file.state.lock().nameless = true;
        let readers = self.files.lock().readers(file);
        readers.iter().for_each(|reader| reader.detach());
    }
}

/// The rules of rename(2) that the kernel leaves to the file system.
fn may_replace(source: &Entry, existing: Option<&Entry>, no_replace: bool) -> Result<(), FsError> {
    let Some(existing) = existing else {
        return Ok(());
    };
    let directory = |entry: &Entry| entry.kind == EntryKind::Directory;
    match (directory(source), directory(existing)) {
        _ if no_replace => Err(FsError::Errno(libc::EEXIST)),
        (false, true) => Err(FsError::Errno(libc::EISDIR)),
        (true, false) => Err(FsError::Errno(libc::ENOTDIR)),
        _ => Ok(()),
    }
}
