//! `FtpFs`: what the kernel border may ask.

#![allow(unused_variables, clippy::todo, reason = "being built")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType, FopenFlags};

use super::{FsConfig, FsError};
use crate::ftp::RemotePath;
use crate::remote::Remote;
use crate::workers::Workers;

/// Whether a call may wait for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Answer from memory, or fail with [`FsError::WouldWait`] and change nothing.
    No,
    /// Ask the server if need be: only on a worker.
    Yes,
}

/// The answer to a lookup.
#[derive(Debug, Clone)]
pub struct Looked {
    /// `attr.ino` 0 is a name known to be absent: the kernel may remember that for `ttl`.
    pub attr: FileAttr,
    /// How long the kernel may believe both name and attributes.
    pub ttl: Duration,
}

/// The answer to an open.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// Never 0.
    pub handle: u64,
    /// KEEP_CACHE, DIRECT_IO, NOFLUSH as the file needs them.
    pub flags: FopenFlags,
}

/// A time to set.
#[derive(Debug, Clone, Copy)]
pub enum TimeChange {
    /// The moment of the call.
    Now,
    /// A given time.
    To(SystemTime),
}

/// What setattr is to change; `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewAttributes {
    /// Permission bits; the type bits are ignored.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Bytes.
    pub size: Option<u64>,
    /// Accepted, and not kept: FTP knows no access time.
    pub accessed: Option<TimeChange>,
    /// Modification time.
    pub modified: Option<TimeChange>,
}

/// One entry of a directory snapshot.
#[derive(Debug)]
pub struct DirEntry<'a> {
    /// Inode number, never 0.
    pub ino: u64,
    /// To be passed back to go on behind this entry.
    pub next_offset: u64,
    /// File, directory, link, …
    pub kind: FileType,
    /// `.` and `..` come first.
    pub name: &'a [u8],
    /// Present for [`FtpFs::read_dir_plus`], `None` for `.` and `..`.
    pub looked: Option<Looked>,
}

/// Sizes for statfs, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// All.
    pub total: u64,
    /// Free.
    pub free: u64,
}

/// What became of the data that was not on the server when the end came.
#[derive(Debug, Default)]
pub struct DrainReport {
    /// Files committed while draining.
    pub stored: usize,
    /// Path and reason of each file that could not be stored.
    pub failed: Vec<(RemotePath, String)>,
}

/// Takes the bytes of a read, or the error. Called once, from any thread; the slice may be shorter
/// than asked for only at the end of the file.
pub type ReadDone = Box<dyn FnOnce(Result<&[u8], FsError>) + Send>;

/// The file system. Every method may be called from many threads at once; those without a
/// `Wait` argument say themselves whether they may wait for the server.
#[derive(Debug)]
pub struct FtpFs {}

impl FtpFs {
    /// The root directory of the mount is `root` on the server. Background work (reading ahead,
    /// uploads, late commits) runs on `workers`. Does not touch the network.
    pub fn new(
        remote: Arc<Remote>,
        root: RemotePath,
        config: FsConfig,
        workers: Arc<Workers>,
    ) -> Arc<Self> {
        todo!()
    }

    /// Looks a name up; an absent one is `Ok` with inode 0, or ENOENT. Counts one kernel reference to a
    /// present one.
    pub fn lookup(&self, parent: u64, name: &[u8], wait: Wait) -> Result<Looked, FsError> {
        todo!()
    }

    /// The kernel drops `count` references. Never waits.
    pub fn forget(&self, ino: u64, count: u64) {
        todo!()
    }

    /// Attributes of an inode; the root's are always in memory.
    pub fn getattr(&self, ino: u64, wait: Wait) -> Result<Looked, FsError> {
        todo!()
    }

    /// chmod, chown, truncate, utimes. May wait.
    pub fn setattr(&self, ino: u64, new: NewAttributes) -> Result<Looked, FsError> {
        todo!()
    }

    /// The target of a symbolic link.
    pub fn readlink(&self, ino: u64, wait: Wait) -> Result<Vec<u8>, FsError> {
        todo!()
    }

    /// Makes a directory; counts a reference. May wait.
    pub fn mkdir(&self, parent: u64, name: &[u8], mode: u32) -> Result<Looked, FsError> {
        todo!()
    }

    /// Makes an empty plain file without opening it (mknod); counts a reference. May wait.
    pub fn mknod(&self, parent: u64, name: &[u8], mode: u32) -> Result<Looked, FsError> {
        todo!()
    }

    /// Makes a symbolic link; counts a reference. May wait.
    pub fn symlink(&self, parent: u64, name: &[u8], target: &[u8]) -> Result<Looked, FsError> {
        todo!()
    }

    /// Removes a name that is no directory. May wait.
    pub fn unlink(&self, parent: u64, name: &[u8]) -> Result<(), FsError> {
        todo!()
    }

    /// Removes an empty directory. May wait.
    pub fn rmdir(&self, parent: u64, name: &[u8]) -> Result<(), FsError> {
        todo!()
    }

    /// Renames; with `no_replace` an existing `new_name` is EEXIST. May wait.
    pub fn rename(
        &self,
        parent: u64,
        name: &[u8],
        new_parent: u64,
        new_name: &[u8],
        no_replace: bool,
    ) -> Result<(), FsError> {
        todo!()
    }

    /// Opens a plain file; `flags` are those of open(2).
    pub fn open(&self, ino: u64, flags: i32, wait: Wait) -> Result<Opened, FsError> {
        todo!()
    }

    /// Creates and opens a plain file; counts a reference. May wait.
    pub fn create(
        &self,
        parent: u64,
        name: &[u8],
        mode: u32,
        flags: i32,
    ) -> Result<(Looked, Opened), FsError> {
        todo!()
    }

    /// Reads; never waits: `done` is called at once if memory has the bytes, else later by a worker.
    pub fn read(self: &Arc<Self>, handle: u64, offset: u64, size: u32, done: ReadDone) {
        todo!()
    }

    /// Stages bytes. Never waits for the network.
    pub fn write(self: &Arc<Self>, handle: u64, offset: u64, data: &[u8]) -> Result<u32, FsError> {
        todo!()
    }

    /// close(2): commits what is dirty; its error is close's. `still_open` is asked only if nothing
    /// was written since the open: whether the caller has another descriptor of the file (the path
    /// is relative to the mount's root, without a slash in front), so that another flush follows.
    pub fn flush(
        &self,
        handle: u64,
        still_open: &dyn Fn(&[u8]) -> bool,
        wait: Wait,
    ) -> Result<(), FsError> {
        todo!()
    }

    /// fsync(2): commits what is dirty. May wait.
    pub fn fsync(&self, handle: u64) -> Result<(), FsError> {
        todo!()
    }

    /// The last descriptor is gone. Never waits; what is still dirty is committed by a worker.
    pub fn release(self: &Arc<Self>, handle: u64) {
        todo!()
    }

    /// Opens a directory and takes a snapshot of its entries.
    pub fn opendir(&self, ino: u64, wait: Wait) -> Result<u64, FsError> {
        todo!()
    }

    /// Passes the entries behind `offset` to `take` until it returns false: that entry was not
    /// taken. Never waits.
    pub fn read_dir(
        &self,
        handle: u64,
        offset: u64,
        take: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        todo!()
    }

    /// Like [`FtpFs::read_dir`], with attributes; counts a reference for each entry taken but `.` and `..`.
    pub fn read_dir_plus(
        &self,
        handle: u64,
        offset: u64,
        take: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        todo!()
    }

    /// Forgets a snapshot. Never waits.
    pub fn releasedir(&self, handle: u64) {
        todo!()
    }

    /// Free space, from memory. Never waits.
    pub fn statfs(&self) -> Space {
        todo!()
    }

    /// A number that changes whenever an upload gets on: bytes leave, a command of a commit is answered,
    /// or a wait that has a deadline of its own (the final reply of a transfer) goes on. The kernel
    /// border ends the wait of a close or fsync when this stands still. Never waits.
    pub fn progress(&self) -> u64 {
        todo!()
    }

    /// The path of an inode for log lines; `None` once it is gone.
    pub fn path_of(&self, ino: u64) -> Option<RemotePath> {
        todo!()
    }

    /// Commits everything that is dirty, closed or not, ending when nothing has moved for `patience`.
    /// Called once, after the kernel is gone. Waits.
    pub fn drain(&self, patience: Duration) -> DrainReport {
        todo!()
    }
}
