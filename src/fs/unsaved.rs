//! Content that the server did not take and that nobody has open any more: tried once more at the end.
//!
//! Its program was told of the failure and may have written the file anew since, through this mount or
//! not. So a copy is forgotten when its name gets another content here, and stored at the end only if
//! the server has what it had after the failure. What outlives the process is the journal's: it goes only
//! when the server has a newer content, or the name is deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::open_file::OpenFile;
use super::{FsError, FtpFs};
use crate::ftp::RemotePath;
use crate::writeback::{FileWriter, Left, WriteError};

/// How long a server that goes on may still be busy with uploads that were given up.
const STILL_ARRIVING: Duration = Duration::from_secs(5);

/// A writer whose last commit failed after the last close.
#[derive(Debug)]
pub(super) struct Unsaved {
    pub(super) path: RemotePath,
    pub(super) writer: Arc<FileWriter>,
    left: Left,
}

impl FtpFs {
    /// The server did not take it and nobody has it open: the staged copy waits for the end. May wait.
    pub(super) fn keep_unsaved(&self, file: &Arc<OpenFile>, error: &FsError) {
        let Some((path, writer)) = self.set_aside(file, error) else {
            return;
        };
        // What is listed is what the server has, not what it did not take.
        if let Some(dir) = path.parent() {
            self.listings.expire(&dir);
        }
        let left = writer.learn_left();
        let mut files = self.files.lock();
        let state = file.state.lock();
        let renewed = state.writable > 0 || state.writer.is_some() || state.nameless;
        drop(state);
        let this = |unsaved: &Unsaved| Arc::ptr_eq(&unsaved.writer, &writer);
        if renewed {
            // Whoever has begun to write it anew since has the say.
            files.unsaved.retain(|unsaved| !this(unsaved));
        } else if let Some(unsaved) = files.unsaved.iter_mut().find(|unsaved| this(unsaved)) {
            unsaved.left = left;
        }
    }

    /// From the file to the unsaved copies in one step, so that the end finds it in one of them.
    fn set_aside(
        &self,
        file: &Arc<OpenFile>,
        error: &FsError,
    ) -> Option<(RemotePath, Arc<FileWriter>)> {
        let mut files = self.files.lock();
        let mut state = file.state.lock();
        if state.writable > 0 {
            return None;
        }
        let writer = state.writer.take()?;
        let Some(path) = self.path_of(file.ino).filter(|_| !state.nameless) else {
            log::error!("a deleted file: not stored: {error}");
            return None;
        };
        log::error!("{path}: not stored: {error}");
        let errno = nix::errno::Errno::from_raw(error.errno());
        self.board()
            .failed("store", path.to_string(), &format!("{errno:?}"), error);
        files.unsaved.retain(|other| other.path != path);
        files.unsaved.push(Unsaved {
            path: path.clone(),
            writer: Arc::clone(&writer),
            left: Left::Unknown,
        });
        Some((path, writer))
    }

    /// `path` gets another content, or none: copies that failed before do not count any more.
    pub(super) fn supersede(&self, path: &RemotePath) {
        let mut files = self.files.lock();
        let (gone, kept) = std::mem::take(&mut files.unsaved)
            .into_iter()
            .partition::<Vec<_>, _>(|unsaved| unsaved.path.starts_with(path));
        files.unsaved = kept;
        drop(files);
        for unsaved in gone {
            log::info!(
                "{}: the copy that was not stored is given up for newer content",
                unsaved.path
            );
            // It may have left a temporary name that could not be removed then.
            self.workers.spawn(move || unsaved.writer.abandon());
        }
    }

    /// What is at or below `from` is at `to` now.
    pub(super) fn unsaved_follow(&self, from: &RemotePath, to: &RemotePath) {
        self.supersede(to);
        self.pending.moved(from, to);
        self.writing.journal.moved(from, to);
        for unsaved in &mut self.files.lock().unsaved {
            if let Some(path) = unsaved.path.moved(from, to) {
                unsaved.writer.set_path(path.clone());
                unsaved.path = path;
            }
        }
    }

    /// The last try. May wait.
    pub(super) fn store_unsaved(&self, unsaved: &Unsaved) -> Result<(), FsError> {
        let until = Instant::now() + STILL_ARRIVING;
        let mut now = Left::find(&self.remote, &unsaved.path)?;
        while !unsaved.store_over(now)? {
            // Of an upload that was given up the server may still have bytes to write.
            let then = Left::find(&self.remote, &unsaved.path)?;
            if now.is_still(then) || Instant::now() >= until {
                return Err(WriteError::Conflict.into());
            }
            now = then;
        }
        Ok(())
    }
}

impl Unsaved {
    /// Stores it where the server has `now`, if that is what it had, or the beginning of this; false if the server has
    /// something else by then, and that is not known to be another's.
    fn store_over(&self, now: Left) -> Result<bool, WriteError> {
        let in_doubt = self.left == Left::Unknown || self.writer.is_in_doubt();
        let is_ours = match now {
            Left::File(now) if in_doubt && !self.writer.is_known_to_be_untouched(now) => {
                match self.writer.has_begun(now) {
                    Err(error) if error.is_conflict() => return Ok(false),
                    begun => begun?,
                }
            }
            Left::File(_) => in_doubt,
            _ => false,
        };
        if !is_ours && !self.left.is_still(now) {
            return if in_doubt {
                Ok(false)
            } else {
                Err(WriteError::Conflict)
            };
        }
        self.writer.replace_only(now);
        match self.writer.commit() {
            Err(error) if in_doubt && error.is_conflict() => Ok(false),
            stored => stored.map(|_| true),
        }
    }
}
