//! Bringing to the server what was kept, unless somebody has changed it there since.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::commit::Way;
use super::place::write_note;
use super::sidecar::Sidecar;
use super::writer::FileWriter;
use super::{Kept, Left, WriteContext, WriteError};
use crate::ftp::RemotePath;
use crate::remote::{Download, FileVersion};

/// Bytes that are compared at a time.
const PIECE: usize = 128 << 10;

/// Why what is kept is not on the server. It stays kept.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// What is there now is not what was there when it could not be stored.
    #[error("it changed on the server since; it was not overwritten")]
    Conflict,
    /// It could not be stored this time either.
    #[error("{0}")]
    Write(WriteError),
}

impl<E: Into<WriteError>> From<E> for RecoverError {
    fn from(error: E) -> Self {
        match error.into() {
            WriteError::Conflict => Self::Conflict,
            other => Self::Write(other),
        }
    }
}

impl Kept {
    /// Brings it to the server. May wait.
    ///
    /// # Errors
    /// Why the server does not have it.
    pub fn store(&self, context: &Arc<WriteContext>) -> Result<(), RecoverError> {
        let sidecar = &self.sidecar;
        let file = File::options().read(true).write(true).open(self.copy())?;
        let now = match Left::ask(&context.remote, &sidecar.path) {
            // The reason is to be told.
            Left::Unknown => Left::File(context.remote.version(&sidecar.path)?),
            now => now,
        };
        let is_part = sidecar.base_valid > 0;
        let still = sidecar.left.is_still(now);
        if let (Left::File(now), Some(patched)) = (now, sidecar.patched)
            && !still
            && !patched.may_be(now)
        {
            return Err(RecoverError::Conflict);
        }
        let mut begun = false;
        let arrived = match now {
            // The commit compares it with what was edited.
            _ if is_part && still => false,
            Left::File(now) if is_part => self.has_arrived_in_part(context, &file, now)?,
            _ if still => false,
            Left::File(now) if sidecar.left == Left::Unknown => {
                let untouched = sidecar.base.is_some_and(|base| base.agrees_with(now));
                begun = !untouched && self.is_begun(context, &file, now)?;
                if !untouched && !begun {
                    return Err(RecoverError::Conflict);
                }
                false
            }
            _ => return Err(RecoverError::Conflict),
        };
        let mut sidecar = sidecar.clone();
        if let Left::File(now) = now
            && (arrived || !is_part)
        {
            sidecar.base = Some(now);
        }
        if let (Left::File(now), Some(base), Some(_)) = (now, &mut sidecar.base, sidecar.patched)
            && still
        {
            // By its time it is the one that our patch has left, whatever the clocks say.
            (base.modified, sidecar.patched) = (now.modified, None);
        }
        let is_new = !is_part && now == Left::Nothing;
        if is_new {
            sidecar.base = None;
        }
        let writer = FileWriter::resumed(Arc::clone(context), &sidecar, file)?;
        let has_other_mode = begun && self.has_other_mode(context);
        writer.state.lock().mode_pending = (is_new || has_other_mode) && sidecar.mode.is_some();
        writer.guard(now);
        let whole = is_part && writer.state.lock().way() == Way::Whole;
        if whole {
            self.make_whole(&writer, sidecar, now)?;
        } else if !is_part {
            self.note_replaced(sidecar, now)?;
        }
        let outcome = writer.commit();
        let begun = writer.state.lock().begun_in_place;
        if outcome.is_err()
            && (whole || !is_part)
            && !begun
            && now.is_still(Left::ask(&context.remote, &self.sidecar.path))
        {
            // The server has what it had: all that was known of it is to be compared the next time, too.
            write_note(&self.note, &self.sidecar)?;
        }
        outcome?;
        Ok(())
    }

    /// What was begun has not got its mode yet.
    fn has_other_mode(&self, context: &WriteContext) -> bool {
        let entry = context.remote.entry(&self.sidecar.path);
        let mode = entry.ok().and_then(|entry| entry.mode);
        mode.is_some() && mode != self.sidecar.mode
    }

    /// The server may lose the old content while the whole new one goes in its place: it is kept first.
    fn make_whole(
        &self,
        writer: &FileWriter,
        mut sidecar: Sidecar,
        now: Left,
    ) -> Result<(), RecoverError> {
        let base = |now| sidecar.base.is_some_and(|base| base.agrees_with(now));
        if !matches!(now, Left::File(now) if base(now)) {
            return Err(RecoverError::Conflict);
        }
        writer.fetch(0..sidecar.base_valid)?;
        File::open(self.copy())?.sync_all()?;
        sidecar.staged.insert(0..sidecar.base_valid);
        sidecar.base_valid = 0;
        self.note_replaced(sidecar, now)
    }

    /// What is kept is the whole content from here on, and replaces what is there `now`. Cut in place it leaves the
    /// beginning of ours, and cut at its rename all of it: the next recovery is to know them.
    fn note_replaced(&self, mut sidecar: Sidecar, now: Left) -> Result<(), RecoverError> {
        sidecar.base = match now {
            Left::File(now) => Some(now),
            // What was there before may come back: it is put aside while another takes its place.
            Left::Nothing | Left::Unknown => self.sidecar.base,
        };
        (sidecar.left, sidecar.patched) = (Left::Unknown, None);
        write_note(&self.note, &sidecar)?;
        Ok(())
    }

    /// An append of which a part has arrived, and nothing else has happened to the end of the file. It is made
    /// whole by sending the file anew.
    fn has_arrived_in_part(
        &self,
        context: &Arc<WriteContext>,
        file: &File,
        now: FileVersion,
    ) -> Result<bool, RecoverError> {
        let Sidecar {
            base, base_valid, ..
        } = self.sidecar;
        let Some(base) = base.filter(|base| base.size == base_valid && !self.sidecar.resized)
        else {
            return Ok(false);
        };
        let grown = base.size < now.size && now.size <= self.sidecar.size;
        let only_appended = self.sidecar.staged.first() == Some(base.size);
        if self.sidecar.left != Left::Unknown || !grown || !only_appended {
            return Ok(false);
        }
        Ok(self.has(context, file, base.size..now.size, now)?)
    }

    /// What the server has is the beginning of this: an upload that was cut.
    fn is_begun(
        &self,
        context: &Arc<WriteContext>,
        file: &File,
        now: FileVersion,
    ) -> Result<bool, RecoverError> {
        Ok(now.size <= self.sidecar.size && self.has(context, file, 0..now.size, now)?)
    }

    /// Whether the server's bytes in `range` are those of `file`.
    fn has(
        &self,
        context: &Arc<WriteContext>,
        file: &File,
        range: Range<u64>,
        now: FileVersion,
    ) -> Result<bool, WriteError> {
        let ours = |at, bytes: &mut [u8]| file.read_exact_at(bytes, at).is_ok();
        is_same(context, &self.sidecar.path, range, now, ours)
    }
}

impl FileWriter {
    /// What the server has is the beginning of this: an upload that was cut. May wait.
    ///
    /// # Errors
    /// The server or the way to it.
    pub fn has_begun(&self, now: FileVersion) -> Result<bool, WriteError> {
        let (path, is_whole) = {
            let state = self.state.lock();
            let is_whole = state.base_valid == 0 && now.size <= state.size;
            (state.path.clone(), is_whole)
        };
        let ours = |at, bytes: &mut [u8]| {
            let view = self.state.lock().staging.view(at, bytes.len());
            view.read().is_ok_and(|staged| {
                bytes.copy_from_slice(&staged);
                true
            })
        };
        Ok(is_whole && is_same(&self.context, &path, 0..now.size, now, ours)?)
    }
}

/// Whether the server's bytes in `range` are those that `ours` puts in their place.
fn is_same(
    context: &Arc<WriteContext>,
    path: &RemotePath,
    range: Range<u64>,
    now: FileVersion,
    ours: impl Fn(u64, &mut [u8]) -> bool,
) -> Result<bool, WriteError> {
    let mut download = Download::open(&context.remote, path, range.start, Some(now))?;
    let (mut theirs, mut local) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = range.start;
    let mut same = true;
    while same && at < range.end {
        let count = download.read(&mut theirs)?;
        if count == 0 {
            break;
        }
        same = ours(at, &mut local[..count]) && theirs[..count] == local[..count];
        at += count as u64;
    }
    download.abandon();
    Ok(same && at == range.end)
}
