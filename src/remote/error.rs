//! `RemoteError`: what a failure means.

use std::sync::Arc;

use crate::ftp::{FtpError, Reply};
use crate::pool::PoolError;

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
    /// There is no encryption that can be trusted.
    Untrusted,
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

/// A failed operation: what it means, and what happened. Cheap to clone: those who waited for
/// the same answer share it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{cause}")]
pub struct RemoteError {
    kind: ErrorKind,
    cause: Arc<Cause>,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Wire(FtpError),
    #[error(transparent)]
    Pool(PoolError),
    #[error("{0}")]
    Found(String),
}

impl RemoteError {
    /// What it means.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The code of the server's answer, where it was one.
    pub fn code(&self) -> Option<u16> {
        match &*self.cause {
            Cause::Wire(e) | Cause::Pool(PoolError::Login(e)) => e.code(),
            _ => None,
        }
    }

    /// The command that the server refused, where it refused one.
    pub fn refused_verb(&self) -> Option<&'static str> {
        match &*self.cause {
            Cause::Wire(FtpError::Refused { verb, .. }) => Some(verb),
            _ => None,
        }
    }

    /// The server has said how this transfer ended, or had no connection for its data: what it has of it by now is
    /// all that arrives.
    pub fn is_end_of(&self, transfer: &str) -> bool {
        match &*self.cause {
            Cause::Wire(
                FtpError::Refused { verb, .. } | FtpError::NoDataConnection { verb, .. },
            ) => *verb == transfer,
            _ => false,
        }
    }

    /// The command under which the control connection ended.
    pub fn lost_verb(&self) -> Option<&'static str> {
        match &*self.cause {
            Cause::Wire(e) | Cause::Pool(PoolError::Login(e)) => match e {
                FtpError::Disconnected { verb, .. } | FtpError::Farewell { verb, .. } => Some(verb),
                _ => None,
            },
            _ => None,
        }
    }

    /// Something that we found out ourselves.
    pub(super) fn found(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            cause: Arc::new(Cause::Found(what.into())),
        }
    }
}

impl From<FtpError> for RemoteError {
    fn from(error: FtpError) -> Self {
        Self {
            kind: meaning(&error),
            cause: Arc::new(Cause::Wire(error)),
        }
    }
}

impl From<PoolError> for RemoteError {
    fn from(error: PoolError) -> Self {
        let kind = match &error {
            PoolError::Login(e) => meaning(e),
            PoolError::RefusedBefore(_) => ErrorKind::LoginRefused,
            PoolError::ServerFull { .. } => ErrorKind::TooManyConnections,
            PoolError::TimedOut { .. } => ErrorKind::TimedOut,
            PoolError::Down(_) => ErrorKind::Unreachable,
            PoolError::Closed => ErrorKind::Disconnected,
        };
        Self {
            kind,
            cause: Arc::new(Cause::Pool(error)),
        }
    }
}

pub(super) fn meaning(error: &FtpError) -> ErrorKind {
    if error.is_login_refused() && !error.is_too_many_connections() {
        return ErrorKind::LoginRefused;
    }
    match error {
        FtpError::Unreachable { .. } => ErrorKind::Unreachable,
        FtpError::TimedOut(_) => ErrorKind::TimedOut,
        FtpError::Tls { .. } => ErrorKind::Untrusted,
        FtpError::Farewell { .. } if error.is_too_many_connections() => {
            ErrorKind::TooManyConnections
        }
        FtpError::Disconnected { .. }
        | FtpError::Farewell { .. }
        | FtpError::Unasked { .. }
        | FtpError::Broken { .. }
        | FtpError::NoDataConnection { .. }
        | FtpError::TransferBroke { .. } => ErrorKind::Disconnected,
        FtpError::Refused {
            verb: "AUTH" | "PBSZ" | "PROT",
            ..
        } => ErrorKind::Untrusted,
        FtpError::Refused { .. } if error.is_too_many_connections() => {
            ErrorKind::TooManyConnections
        }
        // BSD ftpd says that to these two also of what is not there.
        FtpError::Refused {
            verb: "SIZE" | "MDTM",
            reply,
        } if reply.mentions(&["not a plain file"]) => ErrorKind::Refused,
        FtpError::Refused { reply, .. } => refusal(reply),
        FtpError::Protocol { .. } | FtpError::TooLarge { .. } => ErrorKind::Protocol,
        FtpError::PathTooLong { .. } => ErrorKind::NameTooLong,
        FtpError::InvalidArgument(_) => ErrorKind::InvalidName,
        FtpError::InvalidTime => ErrorKind::Unsupported,
        FtpError::System(_) => ErrorKind::Failed,
    }
}

/// First the code, where it leaves no doubt; then the words; then what is left of the code.
fn refusal(reply: &Reply) -> ErrorKind {
    let quota = || reply.mentions(&["quota", "exceeded storage"]);
    match reply.code() {
        425 | 426 => ErrorKind::Disconnected,
        452 | 552 if quota() => ErrorKind::Quota,
        452 | 552 => ErrorKind::NoSpace,
        // ProFTPD without AllowStoreRestart says 451, as if it were temporary.
        451 if reply.mentions(&["append/restart not permitted"]) => ErrorKind::Unsupported,
        503 | 522 => ErrorKind::Protocol,
        500 | 502 | 504 => ErrorKind::Unsupported,
        530 | 532 | 534 | 535 | 536 => ErrorKind::Denied,
        code => said(reply).unwrap_or(match code {
            450 => ErrorKind::Busy,
            501 => ErrorKind::InvalidName,
            550 | 551 | 553 => ErrorKind::Refused,
            _ => ErrorKind::Failed,
        }),
    }
}

/// What the words of a refusal mean, in any case; the first row that fits.
fn said(reply: &Reply) -> Option<ErrorKind> {
    const WORDS: [(ErrorKind, &[&str]); 10] = [
        (
            ErrorKind::NotFound,
            &[
                "no such file",
                "no such directory",
                "not found",
                "cannot find the file",
                "cannot find the path",
                "does not exist",
                "doesn't exist",
                "enoent",
            ],
        ),
        (
            ErrorKind::NotDirectory,
            &["not a directory", "enotdir", "directory name is invalid"],
        ),
        (
            ErrorKind::IsDirectory,
            &[
                "is a directory",
                "eisdir",
                "not a plain file",
                "not a regular file",
                "only retrieve regular files",
            ],
        ),
        (ErrorKind::NotEmpty, &["not empty", "enotempty"]),
        (
            ErrorKind::Exists,
            &["file exists", "already exists", "eexist"],
        ),
        (ErrorKind::ReadOnly, &["read-only", "read only", "erofs"]),
        (ErrorKind::Quota, &["quota", "exceeded storage"]),
        (
            ErrorKind::NoSpace,
            &["disk full", "no space", "not enough", "enospc"],
        ),
        (ErrorKind::NameTooLong, &["name too long"]),
        (
            ErrorKind::Busy,
            &[
                "text file busy",
                "being used by another process",
                "sharing violation",
            ],
        ),
    ];
    // Last: servers prefix other reasons with it.
    const DENIED: [&str; 7] = [
        "permission denied",
        "access is denied",
        "access denied",
        "forbidden",
        "not permitted",
        "eacces",
        "eperm",
    ];
    WORDS
        .iter()
        .find(|(_, words)| reply.mentions(words))
        .map(|(kind, _)| *kind)
        .or_else(|| reply.mentions(&DENIED).then_some(ErrorKind::Denied))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(verb: &'static str, code: u16, text: &str) -> ErrorKind {
        let reply = Reply::for_tests(code, text);
        RemoteError::from(FtpError::Refused { verb, reply }).kind()
    }

    #[test]
    fn refusals_of_real_servers() {
        use ErrorKind as K;
        let cases = [
            // vsftpd
            ("RETR", 550, "Failed to open file.", K::Refused),
            ("DELE", 550, "Permission denied.", K::Denied),
            ("PASS", 530, "Login incorrect.", K::LoginRefused),
            (
                "PASS",
                500,
                "OOPS: vsftpd: refusing to run with writable root inside chroot()",
                K::LoginRefused,
            ),
            // ProFTPD
            ("RETR", 550, "a: No such file or directory", K::NotFound),
            ("RMD", 550, "d: Directory not empty", K::NotEmpty),
            ("RETR", 550, "d: Not a regular file", K::IsDirectory),
            // inetutils, of a file that is not there
            ("SIZE", 550, "f: not a plain file.", K::Refused),
            ("RETR", 550, "d: not a plain file.", K::IsDirectory),
            ("LIST", 450, "d: No such file or directory", K::NotFound),
            (
                "APPE",
                451,
                "a: Append/Restart not permitted, try again",
                K::Unsupported,
            ),
            ("STOR", 550, "a: Overwrite permission denied", K::Denied),
            (
                "STOR",
                552,
                "Transfer aborted. Disk quota exceeded",
                K::Quota,
            ),
            (
                "STOR",
                452,
                "Transfer aborted. No space left on device",
                K::NoSpace,
            ),
            (
                "PASS",
                530,
                "Sorry, the maximum number of clients (3) from your host are already connected.",
                K::TooManyConnections,
            ),
            // Pure-FTPd
            ("MKD", 550, "Can't create directory: File exists", K::Exists),
            (
                "RNTO",
                451,
                "Rename/move failure: Is a directory",
                K::IsDirectory,
            ),
            (
                "RETR",
                550,
                "I can only retrieve regular files",
                K::IsDirectory,
            ),
            (
                "SIZE",
                550,
                "I can only retrieve regular files",
                K::IsDirectory,
            ),
            // pyftpdlib
            ("MLSD", 501, "No such directory.", K::NotFound),
            ("CWD", 550, "Not a directory.", K::NotDirectory),
            // IIS
            (
                "RETR",
                550,
                "The system cannot find the file specified.",
                K::NotFound,
            ),
            ("DELE", 550, "Access is denied.", K::Denied),
            // busybox
            ("DELE", 550, "Error", K::Refused),
            ("SITE CHMOD", 500, "Unknown SITE command.", K::Unsupported),
            ("RNTO", 503, "RNFR required first", K::Protocol),
            ("STOR", 451, "Failure", K::Failed),
            (
                "RETR",
                426,
                "Failure writing network stream.",
                K::Disconnected,
            ),
            ("RETR", 450, "in use", K::Busy),
        ];
        for (verb, code, text, expected) in cases {
            assert_eq!(kind(verb, code, text), expected, "{code} {text}");
        }
    }

    #[test]
    fn errors_are_one_line() {
        let reply = Reply::for_tests(550, "a\x1b[2J\u{202e}b");
        let error = RemoteError::from(FtpError::Refused {
            verb: "RETR",
            reply,
        });
        assert_eq!(error.code(), Some(550));
        assert_eq!(error.to_string(), "RETR refused: 550 a\\u{1b}[2J\\u{202e}b");
    }
}
