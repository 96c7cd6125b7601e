//! `FtpError`: what happened on the wire.

use std::io;

use super::{InvalidPath, Reply};
use crate::net::TimedOut;

/// What happened on the wire; what it means is for `remote` to say. Displayed as one line, with the
/// server's own words escaped.
#[derive(Debug, thiserror::Error)]
pub enum FtpError {
    /// No control connection: the name does not resolve, or nobody answers there.
    #[error("cannot connect to {host}: {source}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no encryption that can be trusted: a certificate, or a version of TLS.
    #[error("{host}: {source}")]
    Tls {
        /// The host.
        host: String,
        /// Why, for the person who has to decide.
        source: io::Error,
    },
    /// Nothing happened for too long. The session is of no further use.
    #[error(transparent)]
    TimedOut(TimedOut),
    /// The control connection failed or ended.
    #[error("{verb}: connection lost: {source}")]
    Disconnected {
        /// What we were about to learn.
        verb: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The server ended the session: 421, or its last words before it dies.
    #[error("{verb}: the server ended the session: {reply}")]
    Farewell {
        /// What we had asked.
        verb: &'static str,
        /// Its last words.
        reply: Reply,
    },
    /// The server said what nobody had asked, perhaps a reply that came late: which reply is whose is not known
    /// any more.
    #[error("{verb}: the server said unasked: {reply}")]
    Unasked {
        /// What we were about to ask.
        verb: &'static str,
        /// What it said.
        reply: Reply,
    },
    /// The server said no (4xx, 5xx). The session goes on.
    #[error("{verb} refused: {reply}")]
    Refused {
        /// What we had asked.
        verb: &'static str,
        /// Its answer.
        reply: Reply,
    },
    /// The data connection could not be made.
    #[error("{verb}: no data connection: {source}")]
    NoDataConnection {
        /// The command that needed it.
        verb: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The data connection failed while data flowed.
    #[error("{verb}: data connection lost: {source}")]
    TransferBroke {
        /// The transfer.
        verb: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An answer that does not fit the question.
    #[error("{verb}: unexpected answer: {what}")]
    Protocol {
        /// What we had asked.
        verb: &'static str,
        /// The answer, escaped.
        what: String,
    },
    /// The server sent more than we are willing to hold.
    #[error("{what} is too large: more than {limit}")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// Bytes, or whatever `what` counts.
        limit: usize,
    },
    /// The path does not fit into a command line, in no way we know.
    #[error("{verb}: the path is too long for a command")]
    PathTooLong {
        /// The command that had to carry it.
        verb: &'static str,
    },
    /// An argument that would break the command line.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidPath),
    /// A time before the year 1 or after 9999.
    #[error("this time cannot be sent over FTP")]
    InvalidTime,
    /// A former step left this session unusable.
    #[error("{verb}: the session is broken")]
    Broken {
        /// What was to be sent.
        verb: &'static str,
    },
    /// No thread, no descriptor, no clock.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl FtpError {
    /// The refusal, if the server refused.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Refused { reply, .. }
            | Self::Farewell { reply, .. }
            | Self::Unasked { reply, .. } => Some(reply),
            _ => None,
        }
    }

    /// The code of the server's answer, if it is one.
    pub fn code(&self) -> Option<u16> {
        self.reply().map(Reply::code)
    }

    /// The session is gone, and the fault is not the request's: a new session may do better.
    pub fn is_session_lost(&self) -> bool {
        matches!(
            self,
            Self::Disconnected { .. }
                | Self::Farewell { .. }
                | Self::Unasked { .. }
                | Self::Broken { .. }
        )
    }

    /// Nothing came for too long.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }

    /// The data connection could not be made or did not live (425, 426, or the socket's word).
    pub fn is_data_lost(&self) -> bool {
        matches!(
            self,
            Self::NoDataConnection { .. } | Self::TransferBroke { .. }
        ) || matches!(self.code(), Some(425 | 426))
    }

    /// The server does not know or does not carry out this command (500, 502, 504; 202 is RFC 959's
    /// "superfluous at this site").
    pub fn is_unknown_command(&self) -> bool {
        matches!(self, Self::Refused { reply, .. } if matches!(reply.code(), 202 | 500 | 502 | 504))
    }

    /// The login was refused because the server has no place, not because of the password. Known
    /// from 421 before and 421 or 530 after PASS, and from the words of vsftpd, Pure-FTPd,
    /// pyftpdlib, ProFTPD, FileZilla Server and IIS.
    pub fn is_too_many_connections(&self) -> bool {
        match self {
            Self::Farewell { verb, .. } => is_login_verb(verb),
            Self::Refused { verb, reply } if is_login_verb(verb) => {
                let crowded = ["too many", "maximum", "limit", "already connected", "full"];
                matches!(reply.code(), 421 | 450 | 530) && reply.mentions(&crowded)
            }
            // ProFTPD at MaxInstances closes without a word.
            Self::Disconnected { verb, .. } => *verb == super::control::GREETING,
            _ => false,
        }
    }

    /// User or password were refused (530, or 535 of RFC 4217): trying again may lock the account.
    /// vsftpd answers PASS with 500 when it cannot do its own work; that is no verdict.
    pub fn is_wrong_password(&self) -> bool {
        matches!(self, Self::Refused { verb, .. } if is_login_verb(verb))
            && matches!(self.code(), Some(530 | 535))
            && !self.is_too_many_connections()
    }

    /// The server refused to let us in, for whatever reason.
    pub fn is_login_refused(&self) -> bool {
        matches!(self, Self::Refused { verb, .. } if is_login_verb(verb))
    }

    pub(super) fn from_control(verb: &'static str, error: io::Error) -> Self {
        match TimedOut::from_io(&error) {
            Some(timed_out) => Self::TimedOut(timed_out.clone()),
            None => Self::Disconnected {
                verb,
                source: error,
            },
        }
    }

    pub(super) fn from_data(verb: &'static str, error: io::Error) -> Self {
        match TimedOut::from_io(&error) {
            Some(timed_out) => Self::TimedOut(timed_out.clone()),
            None => Self::TransferBroke {
                verb,
                source: error,
            },
        }
    }
}

fn is_login_verb(verb: &str) -> bool {
    matches!(verb, super::control::GREETING | "USER" | "PASS" | "ACCT")
}
