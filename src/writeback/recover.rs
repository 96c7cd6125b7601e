//! Bringing to the server what was kept, unless somebody has changed it there since.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::copies::{Own, take};
use super::patch::SKEW;
use super::place::write_note;
use super::sidecar::Sidecar;
use super::writer::FileWriter;
use super::{Journal, Kept, Left, WriteContext, WriteError};
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
    /// What was kept of the same name before it is not there.
    #[error("it follows what is not stored either")]
    Earlier,
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
        context.journal.adopt(self);
        let stored = self.store_adopted(context);
        context.journal.release(self);
        stored
    }

    fn store_adopted(&self, context: &Arc<WriteContext>) -> Result<(), RecoverError> {
        let sidecar = &self.sidecar;
        let file = File::options().read(true).write(true).open(self.copy())?;
        let now = Left::find(&context.remote, &sidecar.path)?;
        let is_part = sidecar.base_valid > 0;
        let still = sidecar.left.is_still(now);
        let may_be_patched = |now| sidecar.patched.is_none_or(|patched| patched.may_be(now));
        if let Left::File(now) = now
            && is_part
            && !still
            && !may_be_patched(now)
        {
            return Err(RecoverError::Conflict);
        }
        let mut begun = false;
        let arrived = match now {
            // The commit compares it with what was edited.
            _ if is_part && still => false,
            Left::File(now) if is_part => self.has_arrived_in_part(context, &file, now)?,
            _ if still => {
                begun = sidecar.left == Left::Unknown && now != Left::Nothing;
                false
            }
            Left::File(now) if sidecar.left == Left::Unknown => {
                let is_base = sidecar.base.is_some_and(|base| base.agrees_with(now));
                let untouched = is_base && may_be_patched(now) && self.is_not_newer(now);
                begun = !untouched && self.is_begun(context, &file, now)?;
                if !untouched && !begun {
                    return Err(RecoverError::Conflict);
                }
                false
            }
            _ => return Err(RecoverError::Conflict),
        };
        let is_new = !is_part && now == Left::Nothing;
        let known = self.known(now, still, arrived, is_new);
        let writer = FileWriter::resumed(Arc::clone(context), &known, file)?;
        *writer.journaling.lock() = Some(self.note.clone());
        let has_other_mode = begun && self.has_other_mode(context);
        writer.state.lock().mode_pending = (is_new || has_other_mode) && known.mode.is_some();
        writer.guard(now);
        writer.note_before(|note| {
            if !is_part {
                // Cut in place it leaves the beginning of ours, and cut at its rename all of it: the next recovery is
                // to know them, and what was there before, which is put aside while another takes its place.
                note.base = known.base.or(sidecar.base);
            } else if arrived {
                // More of it may arrive.
                note.base = sidecar.base;
            }
        })?;
        let outcome = writer.commit();
        let (sent, noted_whole) = {
            let state = writer.state.lock();
            let was = (known.base, known.append_unsure, known.patched);
            let changed = (state.base, state.append_unsure, state.patched) != was;
            (
                changed || state.in_doubt || state.begun_in_place,
                state.noted_whole,
            )
        };
        let is_as_before = || now.is_still(Left::ask(&context.remote, &sidecar.path));
        if outcome.is_err() && !sent && (is_part && !noted_whole || is_as_before()) {
            // Nothing of it was sent, or the server has what it had: all that was known of it is to be compared the
            // next time, too.
            write_note(&self.note, sidecar)?;
        }
        outcome?;
        Ok(())
    }

    /// What is known of it, now that the server has `now`.
    fn known(&self, now: Left, still: bool, arrived: bool, is_new: bool) -> Sidecar {
        let mut known = self.sidecar.clone();
        if is_new {
            known.base = None;
        }
        let Left::File(now) = now else {
            return known;
        };
        if arrived || known.base_valid == 0 {
            known.base = Some(now);
        }
        if known.base_valid == 0 {
            known.patched = None;
        } else if let (Some(base), Some(_)) = (&mut known.base, known.patched) {
            if still {
                // By its time it is the one that our patch has left, whatever the clocks say.
                (base.modified, known.patched) = (now.modified, None);
            }
            if (known.base_valid..=known.size).contains(&now.size) {
                // Some of the ranges lie behind the old end.
                base.size = now.size;
            }
        }
        known
    }

    /// Where the time of the replaced version is not known: it is not later than that of the note.
    fn is_not_newer(&self, now: FileVersion) -> bool {
        let is_timed = self
            .sidecar
            .base
            .is_some_and(|base| base.modified.is_some());
        let late = self.sidecar.when.checked_add(SKEW);
        is_timed || late.is_none() || now.modified <= late
    }

    /// What was begun has not got its mode yet.
    fn has_other_mode(&self, context: &WriteContext) -> bool {
        let entry = context.remote.entry(&self.sidecar.path);
        let mode = entry.ok().and_then(|entry| entry.mode);
        mode.is_some() && mode != self.sidecar.mode
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
        let mut ours = vec![0; PIECE];
        let fits = |at, theirs: &[u8]| {
            let ours = &mut ours[..theirs.len()];
            file.read_exact_at(ours, at).is_ok() && ours == theirs
        };
        is_same(context, &self.sidecar.path, range, now, fits)
    }
}

impl Journal {
    /// What an earlier process kept is being stored: its writer may say what becomes of it.
    pub(super) fn adopt(&self, kept: &Kept) {
        let mut own = self.own.lock();
        own.entry(kept.path().clone()).or_default().push(Own {
            kept: kept.clone(),
            noted: true,
        });
    }

    /// The attempt is over. What is kept stays so.
    pub(super) fn release(&self, kept: &Kept) {
        take(&mut self.own.lock(), kept);
    }

    /// The server has it now.
    pub fn recovered(&self, kept: &Kept) {
        kept.remove();
        self.sync();
    }
}

impl FileWriter {
    /// What the server has is the beginning of this: an upload that was cut. Where more than one was under way, the
    /// later ones have emptied what an earlier one still writes behind: that leaves a hole. May wait.
    ///
    /// # Errors
    /// The server or the way to it.
    pub fn has_begun(&self, now: FileVersion) -> Result<bool, WriteError> {
        let (path, is_whole, in_doubt) = {
            let state = self.state.lock();
            let is_whole = state.base_valid == 0 && now.size <= state.size;
            (state.path.clone(), is_whole, state.in_doubt)
        };
        let fits = |at, theirs: &[u8]| {
            let view = self.state.lock().staging.view(at, theirs.len());
            let is_ours = |(theirs, ours): (&u8, &u8)| theirs == ours || in_doubt && *theirs == 0;
            view.read()
                .is_ok_and(|ours| theirs.iter().zip(&ours).all(is_ours))
        };
        Ok(is_whole && is_same(&self.context, &path, 0..now.size, now, fits)?)
    }
}

/// Whether the server's bytes in `range` are such that each stretch of them fits in its place.
fn is_same(
    context: &Arc<WriteContext>,
    path: &RemotePath,
    range: Range<u64>,
    now: FileVersion,
    mut fits: impl FnMut(u64, &[u8]) -> bool,
) -> Result<bool, WriteError> {
    let mut download = Download::open(&context.remote, path, range.start, Some(now))?;
    let mut theirs = vec![0; PIECE];
    let mut at = range.start;
    let mut same = true;
    while same && at < range.end {
        let count = download.read(&mut theirs)?;
        if count == 0 {
            break;
        }
        same = fits(at, &theirs[..count]);
        at += count as u64;
    }
    download.abandon();
    Ok(same && at == range.end)
}
