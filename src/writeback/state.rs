//! `State`: what is known of one file that is being changed, and what is staged of it.

use std::io;
use std::ops::Range;
use std::time::{Instant, SystemTime};

use super::ByteRanges;
use super::patch::Patched;
use super::staging::StagingFile;
use super::writer::OWNER_WRITES;
use crate::ftp::RemotePath;
use crate::remote::FileVersion;

#[derive(Debug)]
pub(super) struct State {
    pub(super) path: RemotePath,
    pub(super) staging: StagingFile,
    /// Bytes that are known here: written, fetched, or zeros of a hole.
    pub(super) staged: ByteRanges,
    /// Bytes that the server does not have, and that no commit is about to bring there.
    pub(super) dirty: ByteRanges,
    /// A commit is under way: the server does not have its bytes yet.
    pub(super) committing: bool,
    /// The size differs from the server's for another reason than dirty bytes.
    pub(super) resized: bool,
    pub(super) size: u64,
    /// What the server has under `path`; `None` if that is nothing, or nothing that counts.
    pub(super) base: Option<FileVersion>,
    /// When the server last said that `base` is there.
    pub(super) seen_there: Option<Instant>,
    /// The name is a link that the server follows: another file put in its place would end that.
    pub(super) is_link: bool,
    /// A file is there under `path`, whether or not its content counts: its mode is its own.
    pub(super) exists: bool,
    /// Bytes in front of this are those of `base` where they are not staged.
    pub(super) base_valid: u64,
    /// Something was written or truncated since the file was opened.
    pub(super) touched: bool,
    /// It was begun empty, so that nothing under its name is missing in it.
    pub(super) supersedes_kept: bool,
    /// Nothing may be overwritten; when it was seen that nothing is there.
    pub(super) seen_free: Option<Instant>,
    /// An upload under the file's own name has begun: what is there may be a part of ours.
    pub(super) begun_in_place: bool,
    /// What was there before that, or before one that may have begun: a server that stores uploads aside has it until
    /// the end of one.
    pub(super) replaced: Option<FileVersion>,
    /// Of one that has failed nobody said how it ended.
    pub(super) in_doubt: bool,
    /// What is kept says that all of the content is here: the old one may be gone.
    pub(super) noted_whole: bool,
    /// The file on the server is another one than was changed here: no commit can succeed.
    pub(super) conflicted: bool,
    /// The file was deleted: nothing is sent any more.
    pub(super) discarded: bool,
    /// Bytes in front of this may have been sent by the present upload.
    pub(super) sent: u64,
    /// An APPE has ended, and nobody knows what of it is still to arrive: no other one may follow.
    pub(super) append_unsure: bool,
    /// Ranges were patched, and not all of them arrived: what the server has is no version that anybody was told.
    pub(super) patched: Option<Patched>,
    /// What the server has is replaced only as long as it is `base`, whole or not.
    pub(super) guarded: bool,
    /// A byte that was sent has changed since.
    pub(super) spoiled: bool,
    /// A chase runs or is queued.
    pub(super) chasing: bool,
    /// An upload was given up once, for others or for its age: the next one is the commit's. Chasing
    /// anew would send the same bytes again and again.
    pub(super) chased_in_vain: bool,
    /// When the content last changed, or was said to have changed.
    pub(super) modified: SystemTime,
    /// A time that was set (utimens) after the last write and has to follow the upload.
    pub(super) set_modified: Option<SystemTime>,
    /// The mode that the file has to have when its content is stored anew.
    pub(super) mode: Option<u16>,
    /// `mode` was asked for and has not reached the server.
    pub(super) mode_pending: bool,
}

impl State {
    pub(super) fn is_dirty(&self) -> bool {
        !self.discarded
            && (self.committing
                || self.is_content_dirty()
                || self.mode_pending
                || self.set_modified.is_some())
    }

    /// Its mode forbids writing: who has it open may go on, the server does not let us.
    pub(super) fn is_read_only(&self) -> bool {
        self.mode.is_some_and(|mode| mode & OWNER_WRITES == 0)
    }

    /// Whether the server lacks bytes; else it may still lack a mode or a time.
    pub(super) fn is_content_dirty(&self) -> bool {
        self.base.is_none() || self.resized || !self.dirty.is_empty()
    }

    /// What the server has is the version that was changed here, as far as it tells.
    pub(super) fn is_untouched(&self, now: FileVersion) -> bool {
        let base = self.base.or(self.replaced);
        base.is_some_and(|base| base.agrees_with(now))
            && self.patched.is_none_or(|patched| patched.may_be(now))
    }

    /// Nothing of the old content is needed, so the front can be sent while the rest is written.
    pub(super) fn can_chase(&self) -> bool {
        !self.discarded && !self.spoiled && !self.chased_in_vain && self.base_valid == 0
    }

    /// Bytes at the front that are staged and not sent.
    pub(super) fn chaseable(&self) -> u64 {
        self.staged.front().min(self.size).saturating_sub(self.sent)
    }

    /// Parts of `range` that only the server has.
    pub(super) fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.staged
            .missing(range.start..range.end.min(self.base_valid))
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset
            .checked_add(data.len() as u64)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EFBIG))?;
        self.staging.write(offset, data)?;
        // What lies between the old end and this is a hole: zeros, which are already there.
        let from = offset.min(self.size);
        self.staged.insert(from..end);
        self.dirty.insert(from..end);
        self.size = self.size.max(end);
        self.changed_at(from);
        Ok(())
    }

    pub(super) fn truncate(&mut self, size: u64) -> io::Result<()> {
        if size < self.size {
            self.staging.truncate(size)?;
            self.staged.truncate(size);
            self.dirty.truncate(size);
            self.base_valid = self.base_valid.min(size);
            self.resized = true;
        } else {
            self.staged.insert(self.size..size);
            self.dirty.insert(self.size..size);
        }
        // Also where it was empty before: what follows is the whole content.
        self.supersedes_kept |= size == 0;
        let from = size.min(self.size);
        self.size = size;
        self.changed_at(from);
        Ok(())
    }

    fn changed_at(&mut self, offset: u64) {
        self.touched = true;
        self.spoiled |= offset < self.sent;
        self.modified = SystemTime::now();
        self.set_modified = None;
    }
}
