//! What the kernel border says and hears.

use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType, FopenFlags};

use super::FsError;
use crate::ftp::RemotePath;

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

/// A size to give a file, in bytes, by the call that gives it.
#[derive(Debug, Clone, Copy)]
pub enum NewSize {
    /// truncate: the server has it when the call returns.
    ByName(u64),
    /// ftruncate: the close of the handle commits it.
    ByHandle(u64),
}

impl NewSize {
    /// The kernel names the handle of ftruncate alone.
    pub fn of(size: u64, has_handle: bool) -> Self {
        match has_handle {
            true => Self::ByHandle(size),
            false => Self::ByName(size),
        }
    }
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
    /// A new size.
    pub size: Option<NewSize>,
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
    /// Present for [`FtpFs::read_dir_plus`](super::FtpFs::read_dir_plus), `None` for `.` and `..`.
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
