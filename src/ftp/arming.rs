//! Armed sessions: the data connection is made before a transfer needs it, which then takes one round
//! trip instead of three. Servers keep it for minutes.

use std::time::Duration;

use super::Session;
use super::data::DataConnection;
use super::experience::Passive;
use super::{FtpError, Reply};
use crate::net::{Source, boottime};

/// An unused data connection is not relied on after this. Most servers keep theirs for 120 s and more, some
/// boxes on the way forget it after 60.
const MAX_AGE: Duration = Duration::from_secs(55);

/// How far the next data connection of a session is.
#[derive(Default)]
pub(super) struct Arming {
    stage: Stage,
    /// A transfer has used the last one, so the next one will be wanted.
    wanted: bool,
    /// Somebody sees to it between the transfers.
    kept: bool,
}

#[derive(Default)]
enum Stage {
    #[default]
    Bare,
    /// The server was asked for a port, in this way.
    Asked(Passive),
    /// With the time, by [`boottime`], and how often early ones had failed by then.
    Connection(DataConnection, Duration, u32),
}

/// How much of the next data connection is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// Nothing.
    Bare,
    /// It is being made.
    Underway,
    /// A transfer begins at once.
    Armed,
}

impl Session {
    /// The owner calls [`Session::arm`] between transfers: they may prepare the next one.
    pub fn keep_armed(&mut self) {
        if self.active().is_some() {
            return;
        }
        self.arming_mut().kept = true;
        self.arming_mut().wanted = true;
    }

    /// Whether the next data connection is still to be made, after a transfer has used the last one.
    pub fn wants_arming(&self) -> bool {
        let arming = self.arming();
        arming.kept && arming.wanted && self.readiness() != Readiness::Armed
    }

    /// How much of the next data connection is there. In active mode none can be made ahead, for the server makes it
    /// when it has the transfer command: once it is known whether EPRT can go out with that, another session would
    /// begin no sooner.
    pub fn readiness(&self) -> Readiness {
        if self.active().is_some() && self.experience().pipelining().is_some() {
            return Readiness::Armed;
        }
        match &self.arming().stage {
            Stage::Bare => Readiness::Bare,
            Stage::Connection(data, ..) if data.awaits().is_none() => Readiness::Armed,
            _ => Readiness::Underway,
        }
    }

    /// Gets the next data connection further, without waiting. `true` when nothing is left to be done: it is
    /// there, or was refused, or the session is of no further use.
    pub fn arm(&mut self) -> bool {
        if self.active().is_some() {
            return true;
        }
        match self.try_arm() {
            Ok(done) => done,
            Err(error) => {
                log::debug!("no data connection ahead: {error}");
                self.disarm();
                true
            }
        }
    }

    /// What [`Session::arm`] waits for.
    pub fn awaits(&self) -> Option<Source<'_>> {
        match &self.arming().stage {
            Stage::Bare => None,
            Stage::Asked(_) => Some(Source::Bytes(self.control().stream())),
            Stage::Connection(data, ..) => data.awaits(),
        }
    }

    /// Asks for the next data connection behind the transfer that is ending. Only when the server has
    /// finished with its data: EPSV in the middle of a transfer ends it on some (pyftpdlib, uftpd). And not on
    /// libunftp, where its reply may overtake the final one.
    pub(super) fn ask_for_the_next(&mut self) {
        let arming = self.arming();
        let in_order = self.experience().pipelining() == Some(true);
        if arming.kept && in_order && matches!(arming.stage, Stage::Bare) {
            // What is wrong with the session shows at its final reply.
            if let Err(error) = self.ask() {
                log::debug!("no data connection ahead: {error}");
            }
        }
    }

    /// The data connection that was made, or is being made, ahead.
    ///
    /// # Errors
    /// A lost session.
    pub(super) fn take_armed(&mut self) -> Result<Option<DataConnection>, FtpError> {
        self.arming_mut().wanted = true;
        match std::mem::take(&mut self.arming_mut().stage) {
            Stage::Bare => Ok(None),
            Stage::Asked(how) => {
                let reply = self.control_mut().take_ahead()?;
                self.connection_to(how, reply, "EPSV")
            }
            Stage::Connection(mut data, since, failures) => {
                let age = boottime().saturating_sub(since);
                data.early = true;
                let good = age <= MAX_AGE
                    && failures == self.experience().early_failures()
                    && data.is_quiet();
                Ok(good.then_some(data))
            }
        }
    }

    /// Before a command that means something in the session's directory: libunftp, which works on several things
    /// at once, takes the directory of the time when the data connection was asked for.
    pub(super) fn let_go_of_an_early_one(&mut self) {
        if self.experience().pipelining() != Some(true) {
            self.arming_mut().stage = Stage::Bare;
        }
    }

    /// A data connection made early was of no use: others of the same time may not be either.
    pub(super) fn early_one_failed(&self) {
        log::debug!("a data connection that was made ahead is gone");
        self.experience().early_one_failed();
    }

    fn try_arm(&mut self) -> Result<bool, FtpError> {
        loop {
            match std::mem::take(&mut self.arming_mut().stage) {
                Stage::Bare if !self.is_in_step() => return Ok(true),
                Stage::Bare => self.ask()?,
                Stage::Asked(how) => match self.control_mut().try_ahead()? {
                    None => {
                        self.arming_mut().stage = Stage::Asked(how);
                        return Ok(!self.is_in_step());
                    }
                    Some(reply) => self.connect_ahead(how, reply)?,
                },
                Stage::Connection(data, since, failures) => {
                    let (verb, how) = ("EPSV", data.how);
                    let data = data.advance().map_err(|source| {
                        self.experience().data_connection_failed(how);
                        FtpError::NoDataConnection { verb, source }
                    })?;
                    let done = data.awaits().is_none();
                    if done {
                        self.experience().data_connection_worked(how);
                    }
                    self.arming_mut().stage = Stage::Connection(data, since, failures);
                    return Ok(done);
                }
            }
        }
    }

    fn ask(&mut self) -> Result<(), FtpError> {
        let how = self.experience().passive();
        self.control_mut().ask_ahead(how.command())?;
        self.arming_mut().stage = Stage::Asked(how);
        Ok(())
    }

    fn connect_ahead(&mut self, how: Passive, reply: Reply) -> Result<(), FtpError> {
        if let Some(data) = self.connection_to(how, reply, "EPSV")? {
            let failures = self.experience().early_failures();
            self.arming_mut().stage = Stage::Connection(data, boottime(), failures);
        }
        Ok(())
    }

    fn disarm(&mut self) {
        let arming = self.arming_mut();
        arming.stage = Stage::Bare;
        arming.wanted = false;
    }
}
