//! `FsError`, and the one table from causes to errno.

use crate::remote::RemoteError;

/// Why an operation of the file system failed.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// Memory cannot answer, and the caller said not to wait ([`Wait::No`](super::Wait::No)).
    #[error("memory cannot answer this")]
    WouldWait,
    /// A rule of the file system itself, as the errno it is.
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    Errno(i32),
    /// The server, or the way to it.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl FsError {
    /// The number that the calling program sees.
    pub fn errno(&self) -> i32 {
        todo!()
    }

    /// Whether the same call with [`Wait::Yes`](super::Wait::Yes) on a worker is the way on.
    pub fn would_wait(&self) -> bool {
        matches!(self, Self::WouldWait)
    }

    /// Expected in everyday use (a name that is not there, …): logged at debug, not warn.
    pub fn is_ordinary(&self) -> bool {
        todo!()
    }
}
