//! The way of bytes behind the old end of a file, which must arrive once and not twice.

use super::commit::{Arrived, Snapshot};
use super::writer::{FileWriter, Stream};
use super::{ByteRanges, WriteError};
use crate::remote::{ErrorKind, FileVersion, UploadMode};

impl FileWriter {
    /// Only bytes behind the old end: APPE. Where the server does not allow it, the whole file.
    pub(super) fn append_dirty(
        &self,
        stream: &mut Stream,
        snapshot: &Snapshot,
    ) -> Result<Arrived, WriteError> {
        let Some(base) = snapshot.base else {
            return self.store_whole(stream, snapshot);
        };
        self.give_up(stream);
        let mode = UploadMode::Append { size: base.size };
        let mut upload = match self.open_onto(&snapshot.path, mode, base) {
            Ok(upload) => upload,
            Err(WriteError::Remote(error)) if error.kind() == ErrorKind::Unsupported => {
                return self.store_whole(stream, snapshot);
            }
            Err(error) => return Err(error),
        };
        if let Err(error) = self.may_be_appended() {
            upload.end_untouched();
            return Err(error);
        }
        let sent = self.send_range(&mut upload, base.size..snapshot.size);
        let outcome = sent.and_then(|()| Ok(upload.finish()?));
        match outcome {
            Ok(version) => Ok(Arrived::in_place(version)),
            Err(error) => self.after_failed_append(stream, snapshot, base, error),
        }
    }

    /// Part of the bytes may have arrived: the size tells. APPE is never repeated blindly; the whole
    /// file is.
    fn after_failed_append(
        &self,
        stream: &mut Stream,
        snapshot: &Snapshot,
        base: FileVersion,
        error: WriteError,
    ) -> Result<Arrived, WriteError> {
        // Where nobody said what became of the bytes that are out, they may be appended at any time, and with those
        // of another APPE they would be there twice. A rename over the file takes it out of their way.
        let is_over = matches!(&error, WriteError::Remote(error) if error.is_end_of("APPE"));
        self.state.lock().append_unsure = !is_over;
        if matches!(error, WriteError::Doomed) {
            return Err(error);
        }
        let now = self.context.remote.version(&snapshot.path)?;
        if now.size == snapshot.size {
            log::info!(
                "{}: {error}, but the server has all {} bytes",
                snapshot.path,
                now.size
            );
            return Ok(Arrived::in_place(now));
        }
        let arrived = now.size > base.size && now.size < snapshot.size;
        let may_arrive = !is_over && now.size == base.size;
        if !(arrived || may_arrive) {
            return Err(error);
        }
        log::info!(
            "{}: {error}; {} of {} bytes arrived, storing the whole file",
            snapshot.path,
            now.size,
            snapshot.size
        );
        self.state.lock().base = Some(now);
        let whole = Snapshot {
            path: snapshot.path.clone(),
            dirty: ByteRanges::default(),
            base: Some(now),
            ..*snapshot
        };
        self.store_whole(stream, &whole)
    }
}
