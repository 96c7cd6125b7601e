//! How each kind of result is answered, and undone when the kernel did not take it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use fuser::{
    FileHandle, FopenFlags, Generation, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyOpen,
};

use super::codepage::Codepage;
use super::decode::bare_attributes;
use super::dispatch::Dispatch;
use super::slot::{Call, Refuse};
use crate::fs::{DirEntry, FtpFs, Looked, Opened};

/// Inode numbers are never used twice, so that one generation is enough.
pub(super) const GENERATION: Generation = Generation(0);

/// The result of an operation.
pub(super) trait Answer: Send + 'static {
    /// The reply it is an answer to.
    type Reply: Refuse;

    /// Answers.
    fn give(self, reply: Self::Reply);

    /// The kernel was told of a failure meanwhile, so that it holds neither the reference nor the
    /// handle that the result counts.
    fn take_back(self, fs: &Arc<FtpFs>);
}

/// Done; there is nothing to hand out.
pub(super) struct Done;

impl Answer for Done {
    type Reply = ReplyEmpty;

    fn give(self, reply: ReplyEmpty) {
        reply.ok();
    }

    fn take_back(self, _: &Arc<FtpFs>) {}
}

/// A name's inode, with a reference.
pub(super) struct Entry(pub(super) Looked);

impl Answer for Entry {
    type Reply = ReplyEntry;

    fn give(self, reply: ReplyEntry) {
        reply.entry(&self.0.ttl, &self.0.attr, GENERATION);
    }

    fn take_back(self, fs: &Arc<FtpFs>) {
        // Inode 0 is a name known to be absent.
        if self.0.attr.ino.0 != 0 {
            fs.forget(self.0.attr.ino.0, 1);
        }
    }
}

/// Attributes, without a reference.
pub(super) struct Attributes(pub(super) Looked);

impl Answer for Attributes {
    type Reply = ReplyAttr;

    fn give(self, reply: ReplyAttr) {
        reply.attr(&self.0.ttl, &self.0.attr);
    }

    fn take_back(self, _: &Arc<FtpFs>) {}
}

/// The target of a symbolic link.
pub(super) struct Target(pub(super) Vec<u8>);

impl Answer for Target {
    type Reply = ReplyData;

    fn give(self, reply: ReplyData) {
        reply.data(&self.0);
    }

    fn take_back(self, _: &Arc<FtpFs>) {}
}

/// A handle of a file.
pub(super) struct OpenFile(pub(super) Opened);

impl Answer for OpenFile {
    type Reply = ReplyOpen;

    fn give(self, reply: ReplyOpen) {
        reply.opened(FileHandle(self.0.handle), self.0.flags);
    }

    fn take_back(self, fs: &Arc<FtpFs>) {
        fs.release(self.0.handle);
    }
}

/// A handle of a directory.
pub(super) struct OpenDirectory(pub(super) u64);

impl Answer for OpenDirectory {
    type Reply = ReplyOpen;

    fn give(self, reply: ReplyOpen) {
        // The kernel keeps no listing: ours is the cache, and one to invalidate is enough.
        reply.opened(FileHandle(self.0), FopenFlags::empty());
    }

    fn take_back(self, fs: &Arc<FtpFs>) {
        fs.releasedir(self.0);
    }
}

/// Entries of a directory with their attributes, found when they are given: only then is it known how many are
/// wanted.
pub(super) struct EntriesPlus {
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) call: Call,
    pub(super) codepage: Codepage,
    pub(super) handle: u64,
    pub(super) offset: u64,
}

impl Answer for EntriesPlus {
    type Reply = ReplyDirectoryPlus;

    fn give(self, mut reply: ReplyDirectoryPlus) {
        let mut take = |entry: &DirEntry<'_>| {
            let (ttl, attr) = match &entry.looked {
                Some(looked) => (looked.ttl, looked.attr),
                None => (Duration::ZERO, bare_attributes(entry)),
            };
            let name = self.codepage.shown(entry.name);
            let name = OsStr::from_bytes(&name);
            !reply.add(attr.ino, entry.next_offset, name, &ttl, &attr, GENERATION)
        };
        let read = |fs: &Arc<FtpFs>| fs.read_dir_plus(self.handle, self.offset, &mut take);
        match self.dispatch.now(&self.call, read) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn take_back(self, _: &Arc<FtpFs>) {}
}

/// A new file's inode, with a reference, and a handle of it.
pub(super) struct Created(pub(super) Looked, pub(super) Opened);

impl Answer for Created {
    type Reply = ReplyCreate;

    fn give(self, reply: ReplyCreate) {
        let Self(looked, opened) = self;
        reply.created(
            &looked.ttl,
            &looked.attr,
            GENERATION,
            FileHandle(opened.handle),
            opened.flags,
        );
    }

    fn take_back(self, fs: &Arc<FtpFs>) {
        let Self(looked, opened) = self;
        fs.release(opened.handle);
        fs.forget(looked.attr.ino.0, 1);
    }
}
