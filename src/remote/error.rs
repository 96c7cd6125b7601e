//! `RemoteError`: what a failure means.

use crate::ftp::FtpError;

/// What a failure means. `fs/error.rs` has the one table from here to errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// There is no such file or directory.
    NotFound,
    /// The server does not allow it to this user.
    Denied,
    /// The server said no, but not why: the caller looks at the listing.
    Refused,
    /// The name is taken.
    Exists,
    /// A directory that was to be removed or replaced has entries.
    NotEmpty,
    /// It is a directory.
    IsDirectory,
    /// It is no directory.
    NotDirectory,
    /// The disk is full.
    NoSpace,
    /// The user's quota is used up.
    Quota,
    /// The file system of the server is read-only.
    ReadOnly,
    /// The name or path is too long for the server or for a command line.
    NameTooLong,
    /// The name holds what cannot be sent, or what the server cannot store.
    InvalidName,
    /// Somebody else uses it, or the server asks to try later.
    Busy,
    /// The server cannot do this.
    Unsupported,
    /// User or password refused.
    LoginRefused,
    /// The server has no place for another session, and we have none.
    TooManyConnections,
    /// The host's name cannot be resolved, or nobody answers there.
    Unreachable,
    /// Nothing came for too long.
    TimedOut,
    /// The connection was lost and could not be replaced.
    Disconnected,
    /// The file on the server is not the one that was opened.
    Changed,
    /// The server has another number of bytes than were sent.
    Incomplete,
    /// The server broke the protocol, or a limit of size was passed.
    Protocol,
    /// Any other failure.
    Failed,
}

impl ErrorKind {
    /// The way to the server failed, not the request: the same request may succeed later, on
    /// another session. Whoever has the data staged may repeat it.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::TimedOut
                | Self::Disconnected
                | Self::TooManyConnections
                | Self::Incomplete
        )
    }

    /// The server is not there, or does not answer.
    pub fn is_server_down(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::TimedOut | Self::Disconnected
        )
    }
}

/// A failed operation: what it means, and what happened.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct RemoteError {
    kind: ErrorKind,
    source: FtpError,
}

impl RemoteError {
    /// What it means.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
