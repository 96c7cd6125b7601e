//! Why there is no data connection any more: the server's words, where it says any.

use std::io::{self, ErrorKind};
use std::time::Duration;

use super::session::accepted;
use super::{FtpError, Reply, Session};

/// How long the reason is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

impl Session {
    /// What the server says of a transfer whose data connection broke.
    ///
    /// # Errors
    /// Its refusal; a lost session, or no word within two seconds.
    pub(super) fn words_for_a_break(&mut self, verb: &'static str) -> Result<Reply, FtpError> {
        self.control_mut()
            .reply_within(verb, PATIENCE)
            .and_then(|reply| accepted(verb, reply))
    }
}

/// The server's refusal, where that is what it `said`; else the break itself.
pub(super) fn refusal_or_break(
    said: Result<Reply, FtpError>,
    verb: &'static str,
    error: io::Error,
) -> FtpError {
    match said {
        Err(refusal @ (FtpError::Refused { .. } | FtpError::Farewell { .. })) => refusal,
        _ => FtpError::from_data(verb, error),
    }
}

/// A data connection that was reset as soon as it was made: the server may say why.
pub(super) fn reason_for_no_data(
    session: &mut Session,
    verb: &'static str,
    error: FtpError,
) -> FtpError {
    let reset = matches!(&error, FtpError::NoDataConnection { source, .. }
        if source.kind() == ErrorKind::ConnectionReset);
    if reset {
        for _ in 0..2 {
            match session.control_mut().reply_within(verb, PATIENCE) {
                Ok(reply) if reply.is_preliminary() => {}
                Ok(reply) if reply.is_negative() => return FtpError::Refused { verb, reply },
                _ => break,
            }
        }
    }
    session.mark_broken();
    error
}
