//! Data connections under TLS (RFC 4217 section 12): the handshake follows the command.
//!
//! vsftpd, ProFTPD and Pure-FTPd begin it only then; and they want each data connection to resume the session of
//! its control connection, else they refuse it (522, 425).

use std::io;
use std::time::Duration;

use super::reason::refusal_or_break;
use super::session::accepted;
use super::{FtpError, Reply, Session};
use crate::net::{Deadline, Direction, Stream, wait_either};

/// How long the last flight of a handshake may come behind the final reply. The server has sent it by then: it is
/// on its way, perhaps a second time.
const PATIENCE: Duration = Duration::from_secs(5);

impl Session {
    /// From here on the data connection is encrypted, if the session is. Does not wait.
    ///
    /// # Errors
    /// [`FtpError::TransferBroke`].
    pub(super) fn protect(&self, data: &mut Stream, verb: &'static str) -> Result<(), FtpError> {
        match self.tls() {
            Some(context) => data
                .start_tls(context)
                .map_err(|e| FtpError::from_data(verb, e)),
            None => Ok(()),
        }
    }

    /// The next reply on the control connection; the handshake on `data` goes on meanwhile, for some servers say
    /// nothing before its end.
    ///
    /// # Errors
    /// As the reply's, and [`FtpError::TransferBroke`].
    pub(super) fn reply_beside(
        &mut self,
        data: &mut Stream,
        verb: &'static str,
    ) -> Result<Reply, FtpError> {
        if !data.is_encrypted() {
            return self.control_mut().reply(verb);
        }
        let time = self.timeout();
        let deadline = self
            .control()
            .deadline(time, || format!("the reply to {verb}"));
        loop {
            if let Some(reply) = self.control_mut().try_reply(verb)? {
                return Ok(reply);
            }
            match data.try_handshake() {
                Ok(false) => self.wait_for_both(data, verb, &deadline)?,
                // The reply says why.
                Ok(true) | Err(_) => return self.control_mut().reply(verb),
            }
        }
    }

    /// Brings the handshake on `data` to its end. `last` is the final reply, if that has come; the result is the
    /// same, or the one that came meanwhile.
    ///
    /// A final reply does not make up for a handshake without an end. Under TLS 1.2 the server's last flight closes
    /// it (RFC 5246 section 7.3), and its 226 may overtake that, and the data with it: what came of the data is seen
    /// at their close_notify alone.
    ///
    /// # Errors
    /// The server's reason, or [`FtpError::TransferBroke`].
    pub(super) fn shake_hands(
        &mut self,
        data: &mut Stream,
        verb: &'static str,
        mut last: Option<Reply>,
    ) -> Result<Option<Reply>, FtpError> {
        let what = || format!("the TLS handshake of {verb}");
        let (time, enough) = (self.timeout(), PATIENCE.min(self.timeout()));
        let time = if last.is_some() { enough } else { time };
        let mut deadline = self.control().deadline(time, what);
        loop {
            match data.try_handshake() {
                Ok(true) => return Ok(last),
                Ok(false) => {}
                Err(error) => {
                    let said = match last {
                        Some(last) => accepted(verb, last),
                        None => self.words_for_a_break(verb),
                    };
                    return Err(refusal_or_break(said, verb, error));
                }
            }
            if last.is_some() {
                // The server has answered: all that can be late is this connection.
                data.wait(Direction::Read, &deadline)
                    .map_err(|source| FtpError::TransferBroke { verb, source })?;
                continue;
            }
            if !self.control().has_reply() {
                self.wait_for_both(data, verb, &deadline)?;
            }
            match self.control_mut().try_reply(verb)? {
                Some(reply) if reply.is_negative() => {
                    return Err(FtpError::Refused { verb, reply });
                }
                Some(reply) if !reply.is_preliminary() => {
                    last = Some(reply);
                    deadline = self.control().deadline(enough, what);
                }
                _ => {}
            }
        }
    }

    fn wait_for_both(
        &self,
        data: &Stream,
        verb: &'static str,
        deadline: &Deadline,
    ) -> Result<(), FtpError> {
        wait_either(data, Direction::Read, self.control().stream(), deadline)
            .map(drop)
            .map_err(|e| FtpError::from_data(verb, e))
    }

    /// A transfer failed in a way that shows that the server does not believe a data connection under TLS 1.3 to
    /// be the session's own. Whoever repeats it gets a session with TLS 1.2, which can be resumed for ever.
    pub(super) fn blame_tls13(&mut self, error: FtpError) -> FtpError {
        let speaks_13 = self
            .control()
            .stream()
            .established()
            .is_some_and(|tls| tls.version == crate::net::TlsVersion::V13);
        let verb = match &error {
            FtpError::Refused { verb, reply } if matches!(reply.code(), 425 | 522) => *verb,
            FtpError::Unasked { verb, reply } if reply.code() == 522 => *verb,
            _ => return error,
        };
        // Another session may have learned it meanwhile: this one is none the better for it.
        if !speaks_13 {
            return error;
        }
        let source = std::io::Error::other(error.to_string());
        self.experience().limit_to_tls12();
        self.mark_broken();
        FtpError::NoDataConnection { verb, source }
    }
}

/// Ends what we send. Under TLS the connection stays until the server has answered: what it says on it meanwhile
/// has to be read, or the end becomes a reset (vsftpd then answers 426).
///
/// # Errors
/// Bytes that were taken from the caller cannot leave. The connection has ended with RST then, so that the server
/// does not take what it has for all.
pub(super) fn end_of_data(
    mut data: Stream,
    session: &Session,
    verb: &'static str,
) -> Result<Option<Stream>, FtpError> {
    let time = session.timeout();
    let ended = send_rest(&mut data, time).and_then(|()| {
        let deadline = Deadline::after(time, "the end of the data to leave");
        data.shutdown_write(&deadline)
    });
    match ended {
        Ok(()) => {}
        // The kernel has all of the data. It may have heard of the server's end before it was told of ours, and once
        // it was told of ours it need not hear of it again (`store_all`).
        Err(e) if !data.is_encrypted() || e.kind() == io::ErrorKind::NotConnected => {
            log::debug!("{verb}: closing the data connection: {e}");
        }
        Err(source) => {
            data.abort();
            return Err(FtpError::TransferBroke { verb, source });
        }
    }
    Ok(data.is_encrypted().then_some(data))
}

/// Gives the kernel what TLS still holds of the data. Each stretch of it has its own time, as those before it had.
fn send_rest(data: &mut Stream, time: Duration) -> io::Result<()> {
    while data.is_encrypted() && data.try_write(&[])?.is_none() {
        let deadline = Deadline::after(time, "the rest of the data to leave");
        data.wait(Direction::Write, &deadline)?;
    }
    Ok(())
}
