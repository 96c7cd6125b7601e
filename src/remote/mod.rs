//! The server as one reliable object: whole operations; sessions and retries are hidden here.

mod error;
mod profile;
mod retry;
mod settle;
mod download;
mod small;
mod upload;
mod behind;
mod confirm;
mod progress;
mod slot;
mod streams;
mod temporary;
mod list;
mod walk;
mod follow;
mod received;
mod zone;
mod attributes;
mod patch;
mod namespace;
mod names;
mod examine;
#[doc(hidden)]
pub mod readers;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

pub use download::Download;
pub use error::{ErrorKind, RemoteError};
pub use examine::Findings;
pub use list::Listing;
pub use progress::Progress;
pub use slot::UploadSlot;
pub use small::SmallFile;
pub use streams::{Streams, StreamsTurn};
pub use temporary::TemporaryNames;
pub use upload::{Stored, Upload, UploadMode, Wanted};
pub use zone::EXACT_TIMES;

use crate::ftp::listing::ListingZone;
use crate::ftp::{FtpError, LoginConfig, RemotePath};
use crate::pool::{Need, Pool, PoolConfig, PoolCounts, Reclaim};
use crate::status::Board;
use profile::ServerProfile;

/// What of a file on the server tells one content from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    /// Bytes.
    pub size: u64,
    /// To the second or better; `None` if the server has no MDTM.
    pub modified: Option<SystemTime>,
}

impl FileVersion {
    /// Whether both can be the same content: equal sizes, and equal times to the second, the
    /// precision of MDTM, where both have one.
    pub fn agrees_with(self, other: Self) -> bool {
        let second = |t: SystemTime| {
            t.duration_since(UNIX_EPOCH)
                .map(|d| d.as_secs())
                .unwrap_or(0)
        };
        self.size == other.size
            && match (self.modified, other.modified) {
                (Some(a), Some(b)) => second(a) == second(b),
                _ => true,
            }
    }
}

/// The server.
#[derive(Debug)]
pub struct Remote {
    pool: Pool,
    profile: ServerProfile,
    home: OnceLock<RemotePath>,
    /// That of LIST, if somebody has told; else it is found out.
    zone: OnceLock<ListingZone>,
    /// Links are shown as what they lead to.
    follows: AtomicBool,
    connect_timeout: Duration,
    timeout: Duration,
    hard: bool,
    /// The server opens the data connections.
    active: bool,
    progress: Progress,
    /// Uploads that have ended before it was known what may be asked behind one.
    uploads: AtomicUsize,
    slots: slot::Slots,
    /// How many at a time bring one file the fastest, and since when that is known.
    streams: Mutex<Option<(Streams, Instant)>>,
    /// Somebody has a [`StreamsTurn`].
    streams_taken: AtomicBool,
    unsettled: settle::Unsettled,
    /// Backups that could not be deleted.
    left_behind: Mutex<BTreeSet<RemotePath>>,
}

impl Remote {
    /// Opens the first session, so that a wrong password or address is known before mounting.
    ///
    /// # Errors
    /// Whatever refused or prevented the login.
    pub fn connect(login: LoginConfig, pool: PoolConfig) -> Result<Arc<Self>, RemoteError> {
        let remote = Self::delayed(login, pool);
        let first = remote.lease(Need::Command, remote.deadline())?;
        drop(first);
        Ok(remote)
    }

    /// Like [`Remote::connect`], but the first operation opens the first session (`delay_connect`).
    pub fn delayed(login: LoginConfig, pool: PoolConfig) -> Arc<Self> {
        Arc::new(Self {
            connect_timeout: login.connect_timeout,
            timeout: login.timeout,
            hard: pool.hard,
            active: login.active.is_some(),
            pool: Pool::new(login, pool),
            profile: ServerProfile::default(),
            home: OnceLock::new(),
            zone: OnceLock::new(),
            follows: AtomicBool::new(false),
            progress: Progress::default(),
            uploads: AtomicUsize::new(0),
            slots: slot::Slots::default(),
            streams: Mutex::default(),
            streams_taken: AtomicBool::new(false),
            unsettled: settle::Unsettled::default(),
            left_behind: Mutex::default(),
        })
    }

    /// Whom to ask for a session when the pool has none left.
    pub fn set_reclaimer(&self, reclaimer: Weak<dyn Reclaim>) {
        self.pool.set_reclaimer(reclaimer);
    }

    /// Tells the zone of the times in LIST, which is then not found out by MDTM. For the first listing it
    /// has to come before that; the first one stays.
    pub fn set_zone(&self, zone: ListingZone) {
        self.zone.get_or_init(|| zone);
    }

    /// The directory that the login put us in (PWD). Asks the server once.
    ///
    /// # Errors
    /// No session could be had, or the answer cannot be understood.
    pub fn home(&self) -> Result<RemotePath, RemoteError> {
        if let Some(home) = self.home.get() {
            return Ok(home.clone());
        }
        // Every first login asks.
        let home = self.repeat("PWD", |lease, _| {
            let missing = FtpError::Broken { verb: "PWD" };
            lease.experience().home().unwrap_or(Err(missing))
        })?;
        Ok(self.home.get_or_init(|| home).clone())
    }

    /// Lets a refused password be tried again: the user has asked for it.
    pub fn forgive(&self) {
        self.pool.forgive();
    }

    /// Where all that concerns this server is reported.
    pub fn board(&self) -> &Arc<Board> {
        self.pool.experience().board()
    }

    /// How many sessions there are.
    pub fn connections(&self) -> PoolCounts {
        self.pool.counts()
    }

    /// What the last attempt to reach the server failed with, while it is away.
    pub fn away(&self) -> Option<String> {
        self.pool.away()
    }

    /// Whether nobody gives up because of a server that is away (`hard`).
    pub fn is_hard(&self) -> bool {
        self.hard
    }

    /// Whether somebody waits for a session: who holds one only in the hope of using it gives it back.
    pub fn is_contended(&self) -> bool {
        self.pool.is_contended()
    }

    /// What all transfers and operations together get on with.
    pub fn progress(&self) -> u64 {
        self.progress.value()
    }

    fn count_progress(&self) {
        self.progress.one();
    }

    /// Logs every session out. Later operations fail.
    pub fn close(&self) {
        self.pool.close();
    }
}
