//! Creating files.

use std::sync::Arc;
use std::time::Duration;

use fuser::FopenFlags;

use super::change::{low_bits, new_entry};
use super::open_file::{OpenFile, exact};
use super::{FsError, FtpFs, Looked, Opened, Wait};
use crate::cache::Entries;
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, EntryKind};
use crate::remote::FileVersion;
use crate::workers::only_if_asked;
use crate::writeback::FileWriter;

impl FtpFs {
    /// Creates and opens a plain file; counts a reference. May wait.
    ///
    /// # Errors
    /// EEXIST with `O_EXCL`; EACCES, EINVAL, ENOSPC, EROFS, …
    pub fn create(
        self: &Arc<Self>,
        parent: u64,
        name: &[u8],
        mode: u32,
        flags: i32,
    ) -> Result<(Looked, Opened), FsError> {
        self.may_change()?;
        let path = self.new_path(parent, name)?;
        let looked = self.lookup(parent, name, Wait::Yes)?;
        if looked.attr.ino.0 != 0 {
            return self.open_existing(looked, flags);
        }
        // STOR takes the old content away: where that was not asked for, a listing is not enough.
        let exclusive = flags & libc::O_EXCL != 0;
        if exclusive && self.exists_in_other_case(&path, None) {
            return Err(FsError::Errno(libc::EEXIST));
        }
        let careful = exclusive || flags & libc::O_TRUNC == 0;
        if careful && let Some(version) = self.made_by_others(&path, exclusive) {
            let looked = self.lookup_unlisted(parent, &path, version)?;
            return self.open_existing(looked, flags);
        }
        self.supersede(&path);
        let mode = low_bits(mode);
        let writer = FileWriter::create(Arc::clone(&self.writing), path.clone(), Some(mode))?;
        if self.writes_back() || self.begins_late(&path) {
            writer.begin_later(careful);
        } else {
            let begun = only_if_asked(|| writer.begin(careful));
            begun.map_err(|error| self.explain_write(error, &path))?;
        }
        self.still_asked(&writer, &path)?;
        let entry = Entry {
            mode: Some(mode),
            ..new_entry(name, EntryKind::File)
        };
        if let Some(dir) = path.parent() {
            self.listings.put(&dir, entry.clone(), None);
        }
        let ino = {
            let mut inodes = self.inodes.lock();
            let ino = inodes.number(parent, name, EntryKind::File);
            inodes.remember(ino);
            ino
        };
        let file = self.file_of(ino, |_| OpenFile::new(ino, entry.clone(), None));
        file.state.lock().writer = Some(writer);
        let opened = self.new_handle(&file, flags, FopenFlags::empty());
        Ok((self.looked(ino, &entry, Duration::ZERO), opened))
    }

    /// Somebody made it since the kernel looked.
    fn open_existing(
        self: &Arc<Self>,
        looked: Looked,
        flags: i32,
    ) -> Result<(Looked, Opened), FsError> {
        let ino = looked.attr.ino.0;
        let opened = if flags & libc::O_EXCL != 0 {
            Err(FsError::Errno(libc::EEXIST))
        } else {
            self.open(ino, flags, Wait::Yes)
        };
        match opened {
            Ok(opened) => Ok((looked, opened)),
            Err(error) => {
                self.forget(ino, 1);
                Err(error)
            }
        }
    }

    /// What is there under a name that a listing does not have. For an exclusive create a listing of this
    /// moment will do: it is not atomic anyway. An append or an edit would destroy what is there.
    fn made_by_others(self: &Arc<Self>, path: &RemotePath, exclusive: bool) -> Option<FileVersion> {
        if exclusive && self.is_listed(path) == Some(false) {
            None
        } else {
            self.remote.version(path).ok()
        }
    }

    /// Servers under Windows take names that differ by case alone for the same: STOR or RNTO would replace that
    /// file. What is at `path` itself is not meant, nor what is at `but`.
    pub(super) fn exists_in_other_case(&self, path: &RemotePath, but: Option<&RemotePath>) -> bool {
        let wanted = path.name();
        let folded = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
        // Asked for each new file, of a folder that may be large: mostly nothing has to be folded.
        let beyond_ascii = (!wanted.is_ascii()).then(|| folded(wanted));
        let is_similar = |name: &[u8]| match &beyond_ascii {
            None => name.eq_ignore_ascii_case(wanted),
            Some(wanted) => !name.is_ascii() && folded(name) == *wanted,
        };
        let look = |entries: &Entries, _| {
            let similar = entries
                .keys()
                .filter(|name| name[..] != *wanted && is_similar(name));
            similar.cloned().collect::<Vec<_>>()
        };
        let Some(dir) = path.parent() else {
            return false;
        };
        let similar = self.listings.peek(&dir, Duration::MAX, look);
        let others = similar.unwrap_or_default().into_iter();
        let mut others = others.filter(|name| dir.join(name).ok().as_ref() != but);
        others.next().is_some() && self.remote.version(path).is_ok()
    }

    fn lookup_unlisted(
        &self,
        parent: u64,
        path: &RemotePath,
        version: FileVersion,
    ) -> Result<Looked, FsError> {
        let Some(dir) = path.parent() else {
            return Err(FsError::Errno(libc::EISDIR));
        };
        self.listings.expire(&dir);
        let looked = self.lookup(parent, path.name(), Wait::Yes)?;
        if looked.attr.ino.0 != 0 {
            return Ok(looked);
        }
        // The server has it and does not list it.
        let size = Some(version.size);
        let modified = version.modified.map(exact);
        let entry = Entry {
            size,
            modified,
            ..new_entry(path.name(), EntryKind::File)
        };
        self.listings.put(&dir, entry, None);
        let looked = self.lookup(parent, path.name(), Wait::Yes)?;
        if looked.attr.ino.0 == 0 {
            Err(FsError::Errno(libc::EEXIST))
        } else {
            Ok(looked)
        }
    }
}
