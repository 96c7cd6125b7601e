//! The readers of open files, and which content each of them reads.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::open_file::{Handle, OpenFile, OpenState};
use super::{FsError, FtpFs, Wait};
use crate::cache::{ContentId, FileReader};
use crate::ftp::RemotePath;
use crate::remote::FileVersion;

/// A modification time this old is not that of a change which is still going on: the same time
/// later is the same content.
const SETTLED: Duration = Duration::from_secs(2);

impl FtpFs {
    /// Cached blocks of an earlier open are this file's if size and time agree, and the time was already
    /// old when it was told.
    pub(super) fn content_of(&self, ino: u64, version: Option<FileVersion>) -> (ContentId, bool) {
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

    pub(super) fn new_reader(
        &self,
        path: RemotePath,
        content: ContentId,
        version: Option<FileVersion>,
    ) -> Arc<FileReader> {
        FileReader::new(self.reading.clone(), path, content, version)
    }

    /// The handle gets a reader of what the file is now, in place of `stale`, of which nobody has seen a byte. Nothing is
    /// done where a change of ours is under way, or has ended meanwhile: that is what is to be read. May wait.
    ///
    /// # Errors
    /// ESTALE if a handle has seen bytes of the file: its number stands for those.
    pub(super) fn read_anew(
        &self,
        handle: &Handle,
        stale: &Arc<FileReader>,
    ) -> Result<(), FsError> {
        let file = &handle.file;
        let began = self.moves.now();
        let path = self.path(file.ino)?;
        let found = self.remembered(file.ino, &path, Wait::Yes);
        let asked = found.and_then(|found| {
            let version = self.current_version(&path, &found, Wait::Yes)?;
            Ok((found, version))
        });
        let readers = self.files.lock().readers(file);
        if file.writer().is_some() || self.changed_since(began, &path)? {
            return Ok(());
        }
        let (found, version) = asked?;
        let entry = self.listed_as(&path, &found, version, began);
        let mut state = file.state.lock();
        if state.writer.is_some() || self.moves.ended_since(began, &path) {
            return Ok(());
        }
        if state.nameless || readers.iter().any(|reader| reader.has_delivered()) {
            return Err(FsError::Errno(libc::ESTALE));
        }
        let other = state.reader.clone().filter(|reader| {
            // Another handle was faster.
            reader.content() != stale.content() && reader.version() == version
        });
        let reader =
            other.unwrap_or_else(|| self.new_reader(path, ContentId(self.new_number()), version));
        state.entry = entry;
        state.version = version;
        state.reader = Some(Arc::clone(&reader));
        handle.reopened(&reader);
        drop(state);
        self.inodes.lock().set_content(file.ino, None);
        self.attributes_changed(file.ino);
        Ok(())
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
        // What programs have seen of it was of this version.
        reader.set_known(state.shown);
        state.reader = Some(Arc::clone(&reader));
        Ok(reader)
    }
}

/// Whether the same version later is the same content.
fn is_settled(version: FileVersion) -> bool {
    version
        .modified
        .is_some_and(|time| time + SETTLED < SystemTime::now())
}
