//! Opens that throw the old content away.

use std::sync::Arc;

use fuser::FopenFlags;

use super::open_file::OpenFile;
use super::{FsError, FtpFs, Opened, Wait};
use crate::cache::Remembered;
use crate::ftp::RemotePath;
use crate::remote::FileVersion;
use crate::workers::{is_asked, only_if_asked};
use crate::writeback::FileWriter;

impl FtpFs {
    /// An open that throws the old content away asks the server at once whether it may.
    pub(super) fn open_truncated(
        self: &Arc<Self>,
        ino: u64,
        path: &RemotePath,
        found: &Remembered,
        flags: i32,
        wait: Wait,
        began: u64,
    ) -> Result<Option<Opened>, FsError> {
        if wait == Wait::No {
            return Err(FsError::WouldWait);
        }
        let base = FileVersion {
            size: found.entry.size.unwrap_or(0),
            modified: None,
        };
        self.supersede(path);
        let writer = self.editor(path, base, None, &found.entry)?;
        writer.truncate(0)?;
        if self.writes_back() {
            writer.begin_later(false);
        } else {
            let begun = only_if_asked(|| writer.begin(false));
            begun.map_err(|error| self.explain_write(error, path))?;
        }
        self.still_asked(&writer, path)?;
        let file = self.file_of(ino, |_| OpenFile::new(ino, found.entry.clone(), Some(base)));
        let mut state = file.state.lock();
        let ours = match &state.writer {
            Some(writer) => {
                // Another open was faster: the file has one writer. It may not go before it knows.
                writer.truncate(0)?;
                false
            }
            None => {
                state.writer = Some(Arc::clone(&writer));
                state.epoch += 1;
                true
            }
        };
        let reader = state.reader.take();
        state.shown |= reader.as_ref().is_some_and(|reader| reader.has_delivered());
        drop(state);
        reader.into_iter().for_each(|reader| {
            reader.retire();
        });
        let opened = self.new_handle(&file, flags, FopenFlags::empty());
        if !ours {
            writer.abandon();
        }
        if ours && self.changed_since(began, path).unwrap_or(true) {
            match self.path_of(ino) {
                // It has lost its name before its writer was known: what was begun concerns nobody.
                None => {
                    writer.abandon();
                    self.release(opened.handle);
                    return Ok(None);
                }
                Some(now) => writer.set_path(now),
            }
        }
        Ok(Some(opened))
    }

    /// What a program was told has failed is not done: the release of its handle would store the empty file. In place
    /// it is empty already.
    pub(super) fn still_asked(
        &self,
        writer: &FileWriter,
        path: &RemotePath,
    ) -> Result<(), FsError> {
        if is_asked() {
            return Ok(());
        }
        writer.abandon();
        if let Some(dir) = path.parent() {
            self.listings.expire(&dir);
        }
        Err(FsError::Errno(libc::ETIMEDOUT))
    }
}
