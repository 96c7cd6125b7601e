//! `FsError`, and the one table from causes to errno.

use std::sync::Arc;

use crate::cache::ReadError;
use crate::ftp::InvalidPath;
use crate::remote::{ErrorKind, RemoteError};
use crate::writeback::WriteError;

/// Why an operation of the file system failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FsError {
    /// Memory cannot answer, and the caller said not to wait ([`Wait::No`](super::Wait::No)).
    #[error("memory cannot answer this")]
    WouldWait,
    /// A rule of the file system itself, as the errno it is.
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    Errno(i32),
    /// The server, or the way to it.
    #[error(transparent)]
    Remote(Arc<RemoteError>),
    /// The server said no without saying why; the listing tells, as this errno.
    #[error("{1}")]
    Explained(i32, Arc<RemoteError>),
    /// Reading an open file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Staging or committing a file.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<RemoteError> for FsError {
    fn from(error: RemoteError) -> Self {
        Self::Remote(Arc::new(error))
    }
}

impl From<Arc<RemoteError>> for FsError {
    fn from(error: Arc<RemoteError>) -> Self {
        Self::Remote(error)
    }
}

impl From<InvalidPath> for FsError {
    fn from(_: InvalidPath) -> Self {
        Self::Errno(libc::EINVAL)
    }
}

impl FsError {
    /// The number that the calling program sees.
    pub fn errno(&self) -> i32 {
        match self {
            // Never reaches a program: the border asks again on a worker.
            Self::WouldWait => libc::EAGAIN,
            Self::Errno(errno) | Self::Explained(errno, _) => *errno,
            Self::Remote(error)
            | Self::Read(ReadError::Remote(error))
            | Self::Write(WriteError::Remote(error)) => errno_of(error.kind()),
            Self::Read(ReadError::Gone | ReadError::Changed)
            | Self::Write(WriteError::Conflict | WriteError::Doomed) => libc::ESTALE,
            Self::Write(WriteError::Local(error)) => error.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// What it means for the server's side, where that is what failed.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Remote(error)
            | Self::Explained(_, error)
            | Self::Read(ReadError::Remote(error))
            | Self::Write(WriteError::Remote(error)) => Some(error.kind()),
            _ => None,
        }
    }

    /// The server is away, or the line was lost: the same may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        self.kind().is_some_and(ErrorKind::is_transient)
    }

    /// Whether the same call with [`Wait::Yes`](super::Wait::Yes) on a worker is the way on.
    pub fn would_wait(&self) -> bool {
        matches!(self, Self::WouldWait)
    }

    /// Expected in everyday use (a name that is not there, …): logged at debug, not warn.
    pub fn is_ordinary(&self) -> bool {
        // A number whose name is gone: the kernel looks the name up again.
        let looked_up_again = matches!(self, Self::Errno(libc::ESTALE));
        looked_up_again
            || matches!(
                self.errno(),
                libc::ENOENT
                    | libc::EEXIST
                    | libc::ENOTEMPTY
                    | libc::EISDIR
                    | libc::ENOTDIR
                    | libc::EINVAL
                    | libc::EILSEQ
                    | libc::ENAMETOOLONG
                    | libc::EROFS
                    | libc::EPERM
            )
    }
}

/// The one table.
fn errno_of(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::NotFound => libc::ENOENT,
        // A refusal that neither the server nor the listing explains is most often one of rights.
        ErrorKind::Denied | ErrorKind::Refused | ErrorKind::LoginRefused => libc::EACCES,
        ErrorKind::Exists => libc::EEXIST,
        ErrorKind::NotEmpty => libc::ENOTEMPTY,
        ErrorKind::IsDirectory => libc::EISDIR,
        ErrorKind::NotDirectory => libc::ENOTDIR,
        ErrorKind::NoSpace => libc::ENOSPC,
        ErrorKind::Quota => libc::EDQUOT,
        ErrorKind::ReadOnly => libc::EROFS,
        ErrorKind::NameTooLong => libc::ENAMETOOLONG,
        ErrorKind::InvalidName => libc::EINVAL,
        ErrorKind::Busy => libc::EBUSY,
        ErrorKind::Unsupported => libc::EOPNOTSUPP,
        ErrorKind::TimedOut => libc::ETIMEDOUT,
        ErrorKind::Changed => libc::ESTALE,
        // EIO rather than ENETUNREACH and the like: programs know it as "the disk failed", and it is
        // never taken for a property of the file.
        ErrorKind::TooManyConnections
        | ErrorKind::Unreachable
        | ErrorKind::Disconnected
        | ErrorKind::Incomplete
        | ErrorKind::Protocol
        | ErrorKind::Untrusted
        | ErrorKind::Failed => libc::EIO,
    }
}
