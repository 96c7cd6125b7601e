//! The file system, without the kernel.
//!
//! Locks, in the order in which they are taken; none but a stream's own is held over the network:
//! `stream` of a `FileWriter` or `FileReader` -> `FtpFs::files` (tables of open files and handles) ->
//! `OpenFile::state` (one open file) -> `state` of a `FileWriter` or `FileReader` -> `FtpFs::inodes` ->
//! listings and blocks. A lock is taken alone wherever that is possible; what is needed is copied
//! out first.

mod error;
mod config;
mod types;
mod attr;
mod link;
mod inode;
mod open_file;
mod lookup;
mod directory;
mod setattr;
mod change;
mod moves;
mod rename;
mod open;
mod truncating;
mod reading;
mod small;
mod release;
mod create;
mod io;
mod tidy;
mod unsaved;
mod standing;
mod pending;
mod filling;
#[doc(hidden)]
pub mod readers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use parking_lot::Mutex;

pub use crate::writeback::UploadPolicy;
pub use config::{FsConfig, OwnerConfig, StagingConfig};
pub use error::FsError;
pub use standing::Standing;
pub use types::{
    DirEntry, DrainReport, Looked, NewAttributes, NewSize, Opened, ReadDone, Space, TimeChange,
    Wait,
};

use crate::cache::{BlockCache, ListingCache, ReadContext, SmallFiles};
use crate::ftp::RemotePath;
use crate::remote::{Remote, TemporaryNames};
use crate::status::Board;
use crate::workers::Workers;
use crate::writeback::{Journal, StagingArea, UNKNOWN_MODE, WriteContext};
use directory::Snapshot;
use filling::Filling;
use inode::InodeTable;
use moves::Moves;
use open_file::Files;
use pending::Pending;

/// What statfs says where the server says nothing: 1 TiB, so that no program believes the disk full.
const UNKNOWN_SPACE: u64 = 1 << 40;

/// Below this a cache could not hold what a few readers have in flight.
const LEAST_CACHE: u64 = 4 << 20;

/// The file system. Every method may be called from many threads at once; those without a
/// [`Wait`] argument say themselves whether they may wait for the server.
#[derive(Debug)]
pub struct FtpFs {
    config: FsConfig,
    root: RemotePath,
    remote: Arc<Remote>,
    workers: Arc<Workers>,
    listings: Arc<ListingCache>,
    reading: ReadContext,
    small_files: Arc<SmallFiles>,
    writing: Arc<WriteContext>,
    temporary: Arc<TemporaryNames>,
    /// Guards numbers and names.
    inodes: Mutex<InodeTable>,
    /// Guards which files are open, and by which handles.
    files: Mutex<Files>,
    /// Names that renames give to other files; before listings.
    moves: Moves,
    /// Closed files that the server does not have yet.
    pending: Arc<Pending>,
    filling: Filling,
    /// Guards directory snapshots by handle.
    snapshots: Mutex<HashMap<u64, Arc<Snapshot>>>,
    next_number: AtomicU64,
    mounted: SystemTime,
    free_space: AtomicU64,
    /// The mode that the server gives to new directories.
    new_directory_mode: AtomicU32,
    /// How the kernel is told that attributes it remembers are wrong; see [`FtpFs::on_attributes_changed`].
    tell_attributes: OnceLock<TellAttributes>,
    told_chmod: AtomicBool,
    told_chown: AtomicBool,
    told_utimes: AtomicBool,
    told_directory_times: AtomicBool,
}

struct TellAttributes(Box<dyn Fn(u64) + Send + Sync>);

impl std::fmt::Debug for TellAttributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TellAttributes")
    }
}

impl FtpFs {
    /// The root directory of the mount is `root` on the server. Background work (reading ahead,
    /// uploads, late commits) runs on `workers`. What the server does not take is kept in `journal`. Does not touch the network.
    pub fn new(
        remote: Arc<Remote>,
        root: RemotePath,
        config: FsConfig,
        journal: Arc<Journal>,
        workers: Arc<Workers>,
    ) -> Arc<Self> {
        let temporary = Arc::new(TemporaryNames::new(config.mount_id));
        let cache_size = config.cache_size.max(LEAST_CACHE);
        let reading = ReadContext {
            remote: Arc::clone(&remote),
            blocks: Arc::new(BlockCache::new(cache_size)),
            workers: Arc::clone(&workers),
            // A reader ahead by more than the cache holds would throw away what it fetched.
            readahead: config.readahead.min(cache_size / 4),
        };
        let writing = WriteContext {
            remote: Arc::clone(&remote),
            workers: Arc::clone(&workers),
            area: StagingArea::new(config.staging.directory.clone()),
            policy: config.upload,
            temporary: Arc::clone(&temporary),
            journal,
            strict: config.strict,
            new_file_mode: AtomicU32::new(UNKNOWN_MODE),
        };
        let small_files = SmallFiles::new(
            Arc::clone(&remote),
            Arc::clone(&workers),
            config.cache_timeout,
        );
        if config.follow_symlinks {
            remote.follow_links();
        }
        let fs = Arc::new(Self {
            small_files,
            listings: ListingCache::new(
                Arc::clone(&remote),
                Arc::clone(&temporary),
                Arc::clone(&workers),
            ),
            inodes: Mutex::new(InodeTable::new(root.clone())),
            config,
            root,
            remote,
            workers,
            reading,
            writing: Arc::new(writing),
            temporary,
            files: Mutex::default(),
            moves: Moves::default(),
            pending: Arc::default(),
            filling: Filling::default(),
            snapshots: Mutex::default(),
            next_number: AtomicU64::new(1),
            mounted: SystemTime::now(),
            free_space: AtomicU64::new(UNKNOWN_SPACE),
            new_directory_mode: AtomicU32::new(UNKNOWN_MODE),
            tell_attributes: OnceLock::new(),
            told_chmod: AtomicBool::new(false),
            told_chown: AtomicBool::new(false),
            told_utimes: AtomicBool::new(false),
            told_directory_times: AtomicBool::new(false),
        });
        fs.start_tidying();
        fs.start_writing_back();
        fs
    }

    /// The path of an inode for log lines; `None` once it has no name.
    pub fn path_of(&self, ino: u64) -> Option<RemotePath> {
        self.inodes.lock().path(ino)
    }

    /// Whom to tell that the attributes of an inode are others than those answered before. Called from
    /// any thread, without a lock; must not wait for this file system.
    pub fn on_attributes_changed(&self, tell: impl Fn(u64) + Send + Sync + 'static) {
        // The first one stays: there is one kernel.
        self.tell_attributes
            .get_or_init(|| TellAttributes(Box::new(tell)));
    }

    fn attributes_changed(&self, ino: u64) {
        if let Some(TellAttributes(tell)) = self.tell_attributes.get() {
            tell(ino);
        }
    }

    /// Where all that concerns this mount is reported.
    pub fn board(&self) -> &Arc<Board> {
        self.remote.board()
    }

    /// Counts what gets on, of all that the mount does.
    pub fn progress(&self) -> u64 {
        self.remote.progress()
    }

    /// Counts pieces of the upload of this file, or of the name in this directory: as long as it moves, a
    /// FLUSH that waits is not stuck. While nothing of the file is on the line, it waits for its turn, and
    /// everything counts.
    pub fn progress_of(&self, ino: u64, name: &[u8]) -> u64 {
        let ino = match name {
            b"" => Some(ino),
            name => self.inodes.lock().find(ino, name),
        };
        let file = ino.and_then(|ino| self.open_file(ino));
        let writer = file.and_then(|file| file.writer());
        writer
            .and_then(|writer| writer.progress())
            .unwrap_or_else(|| self.progress())
    }

    fn path(&self, ino: u64) -> Result<RemotePath, FsError> {
        self.path_of(ino).ok_or(FsError::Errno(libc::ESTALE))
    }

    /// Handles and contents: never 0, never used again.
    fn new_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    fn may_change(&self) -> Result<(), FsError> {
        if self.config.read_only {
            Err(FsError::Errno(libc::EROFS))
        } else {
            Ok(())
        }
    }
}
