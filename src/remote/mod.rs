//! The server as one reliable object: whole operations; sessions and retries are hidden here.

mod error;
mod download;
mod upload;
mod namespace;

use std::sync::{Arc, Weak};
use std::time::SystemTime;

pub use download::Download;
pub use error::{ErrorKind, RemoteError};
pub use namespace::Listing;
pub use upload::{Upload, UploadMode};

use crate::ftp::{LoginConfig, RemotePath};
use crate::pool::{PoolConfig, Reclaim};

/// What of a file on the server tells one content from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    /// Bytes.
    pub size: u64,
    /// To the second or better; `None` if the server has no MDTM.
    pub modified: Option<SystemTime>,
}

/// The server.
#[derive(Debug)]
pub struct Remote {}

impl Remote {
    /// Opens the first session, so that a wrong password or address is known before mounting.
    ///
    /// # Errors
    /// Whatever refused or prevented the login.
    pub fn connect(_login: LoginConfig, _pool: PoolConfig) -> Result<Arc<Self>, RemoteError> {
        todo!()
    }

    /// Like [`Remote::connect`], but the first operation opens the first session (`delay_connect`).
    pub fn delayed(_login: LoginConfig, _pool: PoolConfig) -> Arc<Self> {
        todo!()
    }

    /// Whom to ask for a session when the pool has none left.
    pub fn set_reclaimer(&self, _reclaimer: Weak<dyn Reclaim>) {
        todo!()
    }

    /// The directory that the login put us in (PWD). Asks the server once.
    ///
    /// # Errors
    /// No session could be had, or the answer cannot be understood.
    pub fn home(&self) -> Result<RemotePath, RemoteError> {
        todo!()
    }

    /// Logs every session out. Later operations fail.
    pub fn close(&self) {
        todo!()
    }
}
