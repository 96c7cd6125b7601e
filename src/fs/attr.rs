//! An entry as the attributes that programs see.

use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};

use super::OwnerConfig;
use crate::ftp::listing::{Entry, EntryKind, Modified};

/// What programs should read and write at a time: cp and cat follow it.
const BLOCK_SIZE: u32 = 1 << 20;

/// Mode of a file whose listing tells none.
const FILE_MODE: u16 = 0o644;

/// Mode of a directory whose listing tells none.
const DIRECTORY_MODE: u16 = 0o755;

/// What directories say of their size, as on ext4: FTP tells none.
const DIRECTORY_SIZE: u64 = 4096;

impl OwnerConfig {
    /// The attributes of `entry` under the number `ino`.
    pub(super) fn attributes(&self, ino: u64, entry: &Entry) -> FileAttr {
        let size = match entry.kind {
            EntryKind::File => entry.size.unwrap_or(0),
            EntryKind::Directory => DIRECTORY_SIZE,
            EntryKind::Symlink => entry.target.as_ref().map_or(0, |t| t.len() as u64),
            EntryKind::Other => 0,
        };
        let time = entry
            .modified
            .map_or(UNIX_EPOCH, |Modified { time, .. }| time);
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: file_type(entry.kind),
            perm: self.mode(entry),
            // 1 for directories too: find takes any other number for a promise about subdirectories.
            nlink: 1,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }

    fn mode(&self, entry: &Entry) -> u16 {
        match entry.kind {
            EntryKind::Directory => entry.mode.unwrap_or(DIRECTORY_MODE) & !self.directory_mask,
            EntryKind::Symlink => 0o777,
            EntryKind::File | EntryKind::Other => entry.mode.unwrap_or(FILE_MODE) & !self.file_mask,
        }
    }
}

/// The root of the mount before anything of it is known, and whenever its own entry is not listed.
pub(super) fn root_entry(mounted: SystemTime) -> Entry {
    let modified = Modified {
        time: mounted,
        precision: crate::ftp::listing::Precision::Second,
    };
    Entry {
        name: Vec::new(),
        kind: EntryKind::Directory,
        size: None,
        modified: Some(modified),
        mode: None,
        target: None,
        perm: None,
    }
}

/// Devices, pipes and sockets of the server are shown as a device: opening one fails at once (the
/// mount has nodev), where a pipe would wait for a writer that never comes.
pub(super) fn file_type(kind: EntryKind) -> FileType {
    match kind {
        EntryKind::File => FileType::RegularFile,
        EntryKind::Directory => FileType::Directory,
        EntryKind::Symlink => FileType::Symlink,
        EntryKind::Other => FileType::CharDevice,
    }
}
