//! `Transfer`: a data transfer in progress owns the session it runs on.

use std::ops::DerefMut;
use std::time::{Duration, SystemTime};

use super::data::DataConnection;
use super::protected::end_of_data;
use super::reason::{reason_for_no_data, refusal_or_break};
use super::restart::moves_a_file;
use super::session::accepted;
use super::stored::{With, give_all};
use super::{Command, FtpError, ListCommand, RemotePath, Reply, Session, Settling};
use crate::net::{Deadline, Direction, Stream, wait_either};
use crate::status::Line;

/// What SIZE and MDTM said, each with its own refusal.
pub type VersionReplies = (Result<u64, FtpError>, Result<SystemTime, FtpError>);

/// A transfer command that was not refused.
pub(super) struct Begun {
    /// `None` where the server needs none, and has answered with more than a 1xx.
    pub(super) data: Option<Stream>,
    pub(super) first: Reply,
    /// The final reply, if it came before the data connection was seen, or its handshake over.
    pub(super) last: Option<Reply>,
    /// The replies to SIZE and MDTM, where they were asked.
    pub(super) told: Option<(Reply, Reply)>,
}

/// A data transfer in progress.
///
/// While data flows no second command can be sent, because nobody holds the session. It comes back
/// from [`Transfer::finish`] with the final reply. Dropped before that, the data connection is
/// reset and the session is broken: forgetting is safe.
#[derive(Debug)]
pub struct Transfer<S: DerefMut<Target = Session>> {
    pub(super) session: Option<S>,
    pub(super) data: Option<Stream>,
    pub(super) verb: &'static str,
    sends: bool,
    pub(super) moved: u64,
    /// The data connection was made ahead.
    pub(super) ahead: bool,
    pub(super) told: Option<(Reply, Reply)>,
    /// The final reply, if it came while data still flowed.
    pub(super) early: Option<Result<Reply, FtpError>>,
}

impl<S: DerefMut<Target = Session>> Transfer<S> {
    /// RETR from byte `offset` on.
    ///
    /// # Errors
    /// Refused (the session is then free again), no data connection, a lost session.
    pub fn retrieve(mut session: S, path: &RemotePath, offset: u64) -> Result<Self, FtpError> {
        let path = session.argument(path, |p| Command::Retr(p))?;
        Self::begin(session, Command::Retr(&path), offset, false, With::Nothing)
    }

    /// As [`Transfer::retrieve`]; SIZE and MDTM go out in the same segment before it, on servers known to answer
    /// such ([`Transfer::take_version`]).
    ///
    /// # Errors
    /// As there.
    pub fn retrieve_checked(
        mut session: S,
        path: &RemotePath,
        offset: u64,
    ) -> Result<Self, FtpError> {
        let path = session.argument(path, |p| Command::Retr(p))?;
        Self::begin(
            session,
            Command::Retr(&path),
            offset,
            false,
            With::Check(&path),
        )
    }

    /// STOR from byte `offset` on. What an offset other than 0 does depends on the server.
    ///
    /// # Errors
    /// As [`Transfer::retrieve`].
    pub fn store(mut session: S, path: &RemotePath, offset: u64) -> Result<Self, FtpError> {
        let path = session.argument(path, |p| Command::Stor(p))?;
        Self::begin(session, Command::Stor(&path), offset, true, With::Nothing)
    }

    /// APPE.
    ///
    /// # Errors
    /// As [`Transfer::retrieve`].
    pub fn append(mut session: S, path: &RemotePath) -> Result<Self, FtpError> {
        let path = session.argument(path, |p| Command::Appe(p))?;
        Self::begin(session, Command::Appe(&path), 0, true, With::Nothing)
    }

    /// A listing of `dir`. LIST never gets a path: Pure-FTPd globs it, inetutils splits it at
    /// blanks. CWD goes before it and proves that the directory exists.
    ///
    /// # Errors
    /// As [`Transfer::retrieve`]; the verb of a refusal tells whether CWD or the listing failed.
    pub fn list(mut session: S, how: ListCommand, dir: &RemotePath) -> Result<Self, FtpError> {
        match how {
            ListCommand::Mlsd => {
                session.come_back()?;
                let path = session.argument(dir, |p| Command::Mlsd(p))?;
                Self::begin(session, Command::Mlsd(&path), 0, false, With::Nothing)
            }
            ListCommand::ListAll | ListCommand::List => {
                session.begin_to_enter(dir)?;
                let all = how == ListCommand::ListAll;
                Self::begin(session, Command::List(all), 0, false, With::Nothing)
            }
        }
    }

    pub(super) fn begin(
        mut session: S,
        command: Command<'_>,
        offset: u64,
        sends: bool,
        with: With<'_>,
    ) -> Result<Self, FtpError> {
        let verb = command.verb();
        let (begun, ahead) = match session.active().cloned() {
            Some(mode) => (session.begin_actively(&mode, command, offset, with)?, false),
            None => Self::begin_passively(&mut session, command, offset, with)?,
        };
        let Begun {
            data,
            first,
            last,
            told,
        } = begun;
        // From here on each stretch of the data has its own time.
        session.set_limit(None);
        if let With::All(all) = with {
            session.control().line().sent(all.len());
        }
        let mut transfer = Self {
            session: Some(session),
            data,
            verb,
            sends,
            moved: match with {
                With::All(all) => all.len() as u64,
                _ => 0,
            },
            ahead,
            told,
            early: last.map(|last| accepted(verb, last)),
        };
        if !first.is_preliminary() {
            transfer.early = Some(accepted(verb, first));
            // Done without data: an empty listing on some servers. Where the connection is encrypted, it says itself
            // what was on it.
            if !sends {
                transfer.data = transfer.data.take().filter(Stream::is_encrypted);
            }
        }
        Ok(transfer)
    }

    /// `true` if the data connection was made ahead.
    fn begin_passively(
        session: &mut Session,
        command: Command<'_>,
        offset: u64,
        with: With<'_>,
    ) -> Result<(Begun, bool), FtpError> {
        let verb = command.verb();
        let data = session.data_connection(verb)?;
        let early = data.early;
        let mut begun = Self::command(session, data, command, offset, with);
        if early
            && session.is_in_step()
            && let Err(FtpError::Refused { verb: at, reply }) = &begun
            && *at == verb
            && matches!(reply.code(), 425 | 426)
        {
            session.early_one_failed();
            let data = session.data_connection(verb)?;
            begun = Self::command(session, data, command, offset, with);
        }
        let begun = begun.map_err(|e| session.blame_tls13(e))?;
        Ok((begun, early))
    }

    /// REST comes directly before the transfer: inetutils forgets it at EPSV. The command
    /// leaves together with the SYN; all servers wait for the connection.
    fn command(
        session: &mut Session,
        data: DataConnection,
        command: Command<'_>,
        offset: u64,
        with: With<'_>,
    ) -> Result<Begun, FtpError> {
        let verb = command.verb();
        let rest = Command::Rest(offset);
        let restarts = session.needs_restart(verb, offset);
        let together = session.experience().pipelining() == Some(true);
        if together {
            let asked = with.asked();
            let mut batch: Vec<_> = asked.into_iter().flatten().collect();
            batch.extend(restarts.then_some(rest));
            batch.push(command);
            session.control_mut().send(&batch)?;
        } else {
            if restarts {
                session.restart(offset, verb)?;
            }
            session.control_mut().send(&[command])?;
        }
        let mut data = session
            .complete(data, verb)
            .map_err(|e| reason_for_no_data(session, verb, e))?;
        session.protect(&mut data, verb)?;
        if let Err(error) = session.has_entered() {
            // What follows is another directory's. Ended here, it leaves the session broken.
            data.abort();
            session.mark_broken();
            return Err(error);
        }
        let mut given = match with {
            With::All(all) if !restarts => give_all(&mut data, all),
            _ => Ok(()),
        };
        let told = match with {
            With::Check(_) if together => {
                let size = session.reply_beside(&mut data, "SIZE")?;
                let modified = session.reply_beside(&mut data, "MDTM")?;
                Some((size, modified))
            }
            _ => None,
        };
        if together && restarts {
            let restart = session.reply_beside(&mut data, "REST")?;
            if let Err(error) = session.has_restarted(restart, offset, verb) {
                data.abort();
                return Err(error);
            }
        }
        let first = session.reply_beside(&mut data, verb)?;
        if first.is_negative() {
            return Err(FtpError::Refused { verb, reply: first });
        }
        let last = (!first.is_preliminary()).then(|| first.clone());
        let last = session.shake_hands(&mut data, verb, last)?;
        if let (With::All(all), true) = (with, restarts) {
            given = give_all(&mut data, all);
        }
        given.map_err(|e| FtpError::from_data(verb, e))?;
        Ok(Begun {
            data: Some(data),
            first,
            last,
            told,
        })
    }

    pub(super) fn line(&self) -> Option<&Line> {
        Some(self.session.as_ref()?.control().line())
    }

    /// Bytes moved so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Reads what one read of the socket gives; 0 when the server has closed the data connection,
    /// which proves nothing before [`Transfer::finish`].
    ///
    /// # Errors
    /// No data in time, a broken data connection, or a refusal that came instead of data.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, FtpError> {
        let deadline = self.progress();
        loop {
            let Some(data) = &mut self.data else {
                return Ok(0);
            };
            match data.try_read(buf) {
                Ok(Some(0)) if !buf.is_empty() => {
                    // Closed at once: ProFTPD does not answer before.
                    self.data = None;
                    return Ok(0);
                }
                Ok(Some(count)) => {
                    self.moved += count as u64;
                    self.line().inspect(|line| line.received(count));
                    return Ok(count);
                }
                Ok(None) => self.wait(Direction::Read, &deadline)?,
                Err(e) if data.is_encrypted() => return Err(self.reason_for(e)),
                Err(e) => {
                    self.data = None;
                    self.doubt_early_ones();
                    return Err(FtpError::from_data(self.verb, e));
                }
            }
        }
    }

    /// It failed on a data connection that was made ahead: others of the same time may fail as well.
    fn doubt_early_ones(&self) {
        if let Some(session) = self.session.as_ref().filter(|_| self.ahead) {
            session.early_one_failed();
        }
    }

    /// The server's words for a data connection that it closed, else the error itself.
    pub(super) fn reason_for(&mut self, error: std::io::Error) -> FtpError {
        self.data = None;
        self.doubt_early_ones();
        let verb = self.verb;
        let said = match self.early.take() {
            Some(said) => said,
            None => match &mut self.session {
                Some(session) => session.words_for_a_break(verb),
                None => Err(FtpError::Broken { verb }),
            },
        };
        self.blamed(refusal_or_break(said, verb, error))
    }

    fn blamed(&mut self, error: FtpError) -> FtpError {
        match &mut self.session {
            Some(session) => session.blame_tls13(error),
            None => error,
        }
    }

    /// Waits for the data connection; a final reply that comes meanwhile is taken as it comes.
    pub(super) fn wait(
        &mut self,
        direction: Direction,
        deadline: &Deadline,
    ) -> Result<(), FtpError> {
        let (Some(data), Some(session)) = (&self.data, &mut self.session) else {
            return Ok(());
        };
        let verb = self.verb;
        if self.early.is_some() {
            return data
                .wait(direction, deadline)
                .map_err(|e| FtpError::from_data(verb, e));
        }
        loop {
            // What came in one segment with the 1xx was read with it: the socket says nothing of it.
            if !session.control().has_reply() {
                let ready = wait_either(data, direction, session.control().stream(), deadline)
                    .map_err(|e| FtpError::from_data(verb, e))?;
                if ready.first {
                    return Ok(());
                }
            }
            match session.control_mut().try_reply(verb) {
                // A further 1xx, or half a reply.
                Ok(None) => {}
                Ok(Some(reply)) if reply.is_preliminary() => {}
                Ok(Some(reply)) if reply.is_negative() => {
                    self.data = None;
                    return Err(self.blamed(FtpError::Refused { verb, reply }));
                }
                // Data may still be on its way, also when the control connection has died.
                other => {
                    self.early = other.transpose();
                    return Ok(());
                }
            }
        }
    }

    /// Ends the transfer: after sending by closing our side, after reading when the end of the
    /// data was read. Waits up to `time` for the final reply and gives the session back.
    ///
    /// # Errors
    /// The refusal, a lost session, or no reply in time: then nobody knows how it ended.
    pub fn finish(mut self, time: Duration) -> Result<(S, Reply), FtpError> {
        let verb = self.verb;
        let Some(mut session) = self.session.take() else {
            return Err(FtpError::Broken { verb });
        };
        let data = self.data.take().filter(|_| self.sends);
        let ended = data.map_or(Ok(None), |data| end_of_data(data, &session, verb));
        let reply = match self.early.take() {
            Some(reply) => reply,
            None => session.control_mut().reply_within(verb, time),
        };
        let sent = ended.map(|mut unread| unread.iter_mut().for_each(Stream::drain));
        let reply = reply?;
        if self.ahead && matches!(reply.code(), 425 | 426) {
            session.early_one_failed();
        }
        let reply = accepted(verb, reply).map_err(|e| session.blame_tls13(e))?;
        if moves_a_file(verb) {
            session.set_holds_offset(false);
        }
        // Stored, the server says; but not all that was sent.
        sent?;
        Ok((session, reply))
    }

    /// All data that the file has were read, to the end: the server is asked for the next data connection before
    /// its final reply to this one has come.
    pub fn prepare_next(&mut self) {
        if self.data.is_none()
            && let Some(session) = &mut self.session
        {
            session.ask_for_the_next();
        }
    }

    /// The shortest time in which a command was answered, if one was.
    pub fn round_trip(&self) -> Option<Duration> {
        self.session.as_ref()?.control().round_trip()
    }

    /// Gives up in the middle: an upload with RST, so that the server does not take half a file
    /// for a whole one. What is left to do may wait and is the [`Settling`]'s.
    pub fn abandon(mut self) -> Settling<S> {
        let data = self.data.take();
        if let Some(data) = data.filter(|_| self.sends) {
            data.abort();
        }
        let session = self.session.take();
        let in_step = session.as_ref().is_some_and(|session| session.is_in_step());
        Settling {
            answered: self.early.is_some() || in_step,
            session,
            verb: self.verb,
        }
    }

    pub(super) fn progress(&self) -> Deadline {
        let time = self
            .session
            .as_ref()
            .map_or(Duration::ZERO, |session| session.timeout());
        let what = if self.sends {
            format!("the server to take data of {}", self.verb)
        } else {
            format!("data of {}", self.verb)
        };
        Deadline::after(time, what)
    }
}

impl<S: DerefMut<Target = Session>> Drop for Transfer<S> {
    fn drop(&mut self) {
        // In step, the final reply was read already: a refusal that ended the transfer.
        if let Some(session) = &mut self.session
            && !session.is_in_step()
        {
            session.mark_broken();
        }
        if let Some(data) = self.data.take() {
            data.abort();
        }
    }
}
