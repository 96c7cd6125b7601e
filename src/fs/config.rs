//! What the file system has to be told once.

use std::path::PathBuf;
use std::time::Duration;

use crate::writeback::UploadPolicy;

/// Whom the files seem to belong to, and which mode bits are taken away.
#[derive(Debug, Clone)]
pub struct OwnerConfig {
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
    /// Bits that files never have, e.g. 0o022; 0 takes nothing away.
    pub file_mask: u16,
    /// Bits that directories never have.
    pub directory_mask: u16,
}

/// Where the bytes live that the server does not have yet.
#[derive(Debug, Clone)]
pub struct StagingConfig {
    /// A directory on a real disk; made (mode 0700) when it is first needed.
    pub directory: PathBuf,
}

/// What the file system has to be told once.
#[derive(Debug, Clone)]
pub struct FsConfig {
    /// Whom the files belong to.
    pub owner: OwnerConfig,
    /// How long listings and attributes are believed; 0 asks the server each time.
    pub cache_timeout: Duration,
    /// Bytes of file blocks kept in memory, for all files together.
    pub cache_size: u64,
    /// Bytes that one sequential reader may be ahead of what was asked, at most.
    pub readahead: u64,
    /// Local disk for files being written.
    pub staging: StagingConfig,
    /// How content reaches the server.
    pub upload: UploadPolicy,
    /// A close is answered once the local disk has the data, as long as not more than this many bytes wait for
    /// the server; `None`: once the server has them.
    pub writeback: Option<u64>,
    /// chmod, chown and utimes that the server cannot do are errors instead of a log line.
    pub strict: bool,
    /// Links are shown as what they lead to on the server.
    pub follow_symlinks: bool,
    /// Nothing may be changed (EROFS).
    pub read_only: bool,
    /// Distinguishes the temporary names of this mount: 8 hex digits.
    pub mount_id: u32,
}
