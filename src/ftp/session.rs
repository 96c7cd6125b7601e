//! `Session`: a logged-in connection, one typed method per command.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::arming::Arming;
use super::control::ControlConnection;
use super::stamp::{Stamp, parse_stamp};
use super::transfer::VersionReplies;
use super::{
    ActiveMode, Command, Experience, Features, FtpError, LoginConfig, RemotePath, Reply, login,
};
use crate::net::{Established, TlsContext, TlsVersion};
use crate::status::Server;

/// A logged-in connection with TYPE I.
///
/// Paths are sent as absolute ones, so the session's directory matters to nobody; those that do
/// not fit into a command line are reached by CWD in pieces, each time anew: a directory may have
/// been renamed since.
pub struct Session {
    control: ControlConnection,
    features: Arc<Features>,
    experience: Arc<Experience>,
    connect_timeout: Duration,
    obeys_pasv: bool,
    /// A REST was sent whose transfer has not ended well.
    offset_held: bool,
    /// In another directory than the login's.
    away: bool,
    /// The reply to CWD is still out.
    entering: bool,
    arming: Arming,
    tls: Option<TlsContext>,
    active: Option<ActiveMode>,
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`FtpError::Unreachable`], a refusal with verb USER or PASS, a lost connection.
    pub fn open(config: &LoginConfig, experience: &Arc<Experience>) -> Result<Self, FtpError> {
        let logged_in = login::log_in(config, experience)?;
        if config.obeys_pasv && logged_in.control.may_speak_v4() {
            experience.wants_pasv();
        }
        let tls = logged_in.control.stream().established();
        experience.board().met(Server {
            greeting: experience.greeting().unwrap_or_default().to_owned(),
            address: logged_in.control.peer().to_string(),
            encryption: tls.map(|tls| tls.version.to_string()),
            certificate: tls.and_then(|tls| tls.certificate).map(|print| {
                let bytes = print.iter().map(|byte| format!("{byte:02X}"));
                bytes.collect()
            }),
            round_trip_ms: logged_in
                .control
                .round_trip()
                .map(|time| time.as_secs_f64() * 1000.0),
            features: logged_in.features.names(),
        });
        Ok(Self {
            control: logged_in.control,
            features: logged_in.features,
            tls: logged_in.tls,
            experience: Arc::clone(experience),
            connect_timeout: config.connect_timeout,
            obeys_pasv: config.obeys_pasv,
            offset_held: false,
            away: false,
            entering: false,
            arming: Arming::default(),
            active: config.active.clone(),
        })
    }

    /// What FEAT promised.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The encryption in use.
    pub fn encryption(&self) -> Option<Established> {
        self.control.stream().established()
    }

    /// How data connections are made: in active mode or not, and by which command.
    pub fn data_mode(&self) -> (bool, &'static str) {
        match self.active {
            Some(_) => (true, self.experience.active_command()),
            None => (false, self.experience.passive_command()),
        }
    }

    /// The address of the server.
    pub fn peer(&self) -> SocketAddr {
        self.control.peer()
    }

    /// The shortest time between a command and its reply so far.
    pub fn round_trip(&self) -> Option<Duration> {
        self.control.round_trip()
    }

    /// What sessions of this server tell each other.
    pub fn experience(&self) -> &Experience {
        &self.experience
    }

    /// Never to be used again.
    pub fn mark_broken(&mut self) {
        self.control.mark_broken();
    }

    /// Whether the next reply is sure to belong to the next command.
    pub fn is_in_step(&self) -> bool {
        self.control.is_in_step() && !self.is_of_a_version_that_failed()
    }

    /// In step, and the server has neither closed it nor said anything unasked. Does not wait.
    pub fn is_alive(&self) -> bool {
        self.control.is_alive() && !self.is_of_a_version_that_failed()
    }

    /// Until `limit` at the latest every reply has come, or is given up; data that flows has no
    /// such limit.
    pub fn set_limit(&mut self, limit: Option<Instant>) {
        self.control.set_limit(limit);
    }

    /// How long one reply, or one stretch without progress, may take.
    pub fn timeout(&self) -> Duration {
        self.control.timeout()
    }

    /// Bytes of a file (SIZE, RFC 3659 section 4). Follows links.
    ///
    /// # Errors
    /// Refused, for directories too on most servers.
    pub fn size(&mut self, path: &RemotePath) -> Result<u64, FtpError> {
        let reply = self.on_path(path, |p| Command::Size(p))?;
        size_in(&reply)
    }

    /// Time of a file (MDTM, RFC 3659 section 3). Follows links.
    ///
    /// # Errors
    /// Refused.
    pub fn modified(&mut self, path: &RemotePath) -> Result<SystemTime, FtpError> {
        let reply = self.on_path(path, |p| Command::Mdtm(p))?;
        time_in(&reply)
    }

    /// SIZE and MDTM in one segment, for servers known to answer such.
    ///
    /// # Errors
    /// A lost session; the refusals are the two results.
    pub fn size_and_modified(&mut self, path: &RemotePath) -> Result<VersionReplies, FtpError> {
        let path = self.argument(path, |p| Command::Mdtm(p))?;
        self.control
            .send(&[Command::Size(&path), Command::Mdtm(&path)])?;
        let size = self.control.reply("SIZE")?;
        let modified = self.control.reply("MDTM")?;
        Ok((
            accepted("SIZE", size).and_then(|r| size_in(&r)),
            accepted("MDTM", modified).and_then(|r| time_in(&r)),
        ))
    }

    /// MKD. The path in the answer is unreliable (ftp-srv names another) and not read.
    ///
    /// # Errors
    /// Refused.
    pub fn make_directory(&mut self, path: &RemotePath) -> Result<(), FtpError> {
        self.on_path(path, |p| Command::Mkd(p)).map(drop)
    }

    /// RMD.
    ///
    /// # Errors
    /// Refused.
    pub fn remove_directory(&mut self, path: &RemotePath) -> Result<(), FtpError> {
        self.on_path(path, |p| Command::Rmd(p)).map(drop)
    }

    /// DELE.
    ///
    /// # Errors
    /// Refused.
    pub fn remove_file(&mut self, path: &RemotePath) -> Result<(), FtpError> {
        self.on_path(path, |p| Command::Dele(p)).map(drop)
    }

    /// RNFR and RNTO.
    ///
    /// # Errors
    /// Refused; the verb tells which.
    pub fn rename(&mut self, from: &RemotePath, to: &RemotePath) -> Result<(), FtpError> {
        let [from, to] = self.two_arguments(from, to)?;
        let (from, to) = (Command::Rnfr(&from), Command::Rnto(&to));
        if self.experience.pipelining() == Some(true) {
            self.control.send(&[from, to])?;
            let first = self.control.reply("RNFR")?;
            if first.is_negative() {
                self.control.reply_after_refusal("RNTO")?;
                return Err(FtpError::Refused {
                    verb: "RNFR",
                    reply: first,
                });
            }
            let second = self.control.reply("RNTO")?;
            return accepted("RNTO", second).map(drop);
        }
        let reply = self.control.exchange(from)?;
        if reply.is_negative() {
            return Err(FtpError::Refused {
                verb: "RNFR",
                reply,
            });
        }
        self.accept(to).map(drop)
    }

    /// SITE CHMOD.
    ///
    /// # Errors
    /// Refused.
    pub fn change_mode(&mut self, path: &RemotePath, mode: u16) -> Result<(), FtpError> {
        let reply = self.on_path(path, |p| Command::SiteChmod(mode & 0o7777, p))?;
        if reply.code() == 202 {
            // "Superfluous" is no success: nothing was changed.
            return Err(FtpError::Refused {
                verb: "SITE CHMOD",
                reply,
            });
        }
        Ok(())
    }

    /// MFF UNIX.mode.
    ///
    /// # Errors
    /// Refused.
    pub fn change_mode_fact(&mut self, path: &RemotePath, mode: u16) -> Result<(), FtpError> {
        self.on_path(path, |p| Command::MffMode(mode & 0o7777, p))
            .map(drop)
    }

    /// MFMT, to the second.
    ///
    /// # Errors
    /// Refused; [`FtpError::InvalidTime`] for times that cannot be written.
    pub fn set_modified(&mut self, path: &RemotePath, time: SystemTime) -> Result<(), FtpError> {
        let stamp = stamp_of(time)?;
        self.on_path(path, move |p| Command::Mfmt(stamp, p))
            .map(drop)
    }

    /// MDTM with two arguments, to the second. That it is accepted does not prove that the time
    /// was set: the caller asks once.
    ///
    /// # Errors
    /// Refused; [`FtpError::InvalidTime`] for times that cannot be written.
    pub fn set_modified_by_mdtm(
        &mut self,
        path: &RemotePath,
        time: SystemTime,
    ) -> Result<(), FtpError> {
        let stamp = stamp_of(time)?;
        self.on_path(path, move |p| Command::MdtmSet(stamp, p))
            .map(drop)
    }

    /// SITE SYMLINK. Neither side may hold a blank: ProFTPD would split it there.
    ///
    /// # Errors
    /// Refused; [`FtpError::InvalidArgument`].
    pub fn make_symlink(&mut self, target: &[u8], path: &RemotePath) -> Result<(), FtpError> {
        if target.contains(&b' ') || path.name().contains(&b' ') {
            return Err(super::InvalidPath::NotAName.into());
        }
        // A relative target is looked for from the session's directory.
        let dir = path.parent().ok_or(super::InvalidPath::NotAName)?;
        self.enter(&dir)?;
        self.accept(Command::SiteSymlink(target, path.name()))
            .map(drop)
    }

    /// Free bytes (AVBL).
    ///
    /// # Errors
    /// Refused.
    pub fn available(&mut self, dir: &RemotePath) -> Result<u64, FtpError> {
        let reply = self.on_path(dir, |p| Command::Avbl(p))?;
        number_in(&reply).ok_or_else(|| unexpected("AVBL", &reply))
    }

    /// Whether this server answers several commands of one segment, all and in order. The answer
    /// is kept for all sessions. If it is no, this session is broken: replies may be missing or late.
    /// libunftp fails this sequence always, shorter ones only sometimes.
    pub fn probe_pipelining(&mut self) -> bool {
        let home = self.home_or_root();
        let pair = [Command::Cwd(home.as_bytes()), Command::Noop];
        let commands: Vec<_> = pair.iter().cycle().take(12).copied().collect();
        let patience = 3 * self.control.round_trip().unwrap_or_default() + Duration::from_secs(1);
        let limit = Some(Instant::now() + patience);
        self.control.set_limit(limit);
        let in_order = self.control.send(&commands).is_ok()
            && commands.iter().all(|command| {
                let expected: u16 = if matches!(command, Command::Noop) {
                    200
                } else {
                    250
                };
                self.control
                    .reply(command.verb())
                    .is_ok_and(|reply| reply.code() == expected)
            })
            && self.is_alive();
        self.control.set_limit(None);
        if !in_order {
            self.mark_broken();
        }
        log::debug!("several commands in one segment: {in_order}");
        self.experience.learn_pipelining(in_order);
        in_order
    }

    /// Says goodbye without waiting for the answer.
    pub fn quit(&mut self) {
        if self.is_in_step() {
            self.control
                .set_limit(Some(Instant::now() + Duration::from_secs(1)));
            // Nothing more to lose if it cannot be sent; it is logged where it fails.
            drop(self.control.send(&[Command::Quit]));
        }
        self.mark_broken();
    }

    /// What data connections need to be encrypted.
    pub(super) fn tls(&self) -> Option<&TlsContext> {
        self.tls.as_ref()
    }

    /// How the server is to open the data connections, in active mode.
    pub(super) fn active(&self) -> Option<&ActiveMode> {
        self.active.as_ref()
    }

    fn is_of_a_version_that_failed(&self) -> bool {
        self.experience.is_limited_to_tls12()
            && self
                .control
                .stream()
                .established()
                .is_some_and(|tls| tls.version != TlsVersion::V12)
    }

    pub(super) fn control(&self) -> &ControlConnection {
        &self.control
    }

    pub(super) fn control_mut(&mut self) -> &mut ControlConnection {
        &mut self.control
    }

    /// Whether the server may still begin the next file at the offset of an earlier REST. It is
    /// for the next command alone (RFC 959 section 4.1.3), but libunftp forgets it only when a
    /// transfer has ended well.
    pub(super) fn holds_offset(&self) -> bool {
        self.offset_held
    }

    pub(super) fn set_holds_offset(&mut self, held: bool) {
        self.offset_held = held;
    }

    pub(super) fn is_away(&self) -> bool {
        self.away
    }

    pub(super) fn set_away(&mut self, away: bool) {
        self.away = away;
    }

    /// Returns what it was.
    pub(super) fn set_entering(&mut self, entering: bool) -> bool {
        std::mem::replace(&mut self.entering, entering)
    }

    pub(super) fn home_or_root(&self) -> RemotePath {
        match self.experience.home() {
            Some(Ok(home)) => home,
            _ => RemotePath::root(),
        }
    }

    pub(super) fn arming(&self) -> &Arming {
        &self.arming
    }

    pub(super) fn arming_mut(&mut self) -> &mut Arming {
        &mut self.arming
    }

    /// The address in the reply to PASV is to be believed.
    pub(super) fn obeys_pasv(&self) -> bool {
        self.obeys_pasv
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Sends a command that has to end in 2xx.
    pub(super) fn accept(&mut self, command: Command<'_>) -> Result<Reply, FtpError> {
        accepted(command.verb(), self.control.exchange(command)?)
    }

    fn on_path(
        &mut self,
        path: &RemotePath,
        build: impl for<'a> Fn(&'a [u8]) -> Command<'a>,
    ) -> Result<Reply, FtpError> {
        let argument = self.argument(path, &build)?;
        self.accept(build(&argument))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.control).finish()
    }
}

pub(super) fn accepted(verb: &'static str, reply: Reply) -> Result<Reply, FtpError> {
    if reply.is_completion() {
        Ok(reply)
    } else if reply.is_negative() {
        Err(FtpError::Refused { verb, reply })
    } else {
        Err(unexpected(verb, &reply))
    }
}

pub(super) fn unexpected(verb: &'static str, reply: &Reply) -> FtpError {
    FtpError::Protocol {
        verb,
        what: reply.to_string(),
    }
}

pub(super) fn number_in(reply: &Reply) -> Option<u64> {
    let text = std::str::from_utf8(reply.text()).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

pub(super) fn size_in(reply: &Reply) -> Result<u64, FtpError> {
    // ftp-srv takes a size of 0 for none given, and says what it says of every 213 without a text.
    if reply.text() == b"File status" {
        return Ok(0);
    }
    number_in(reply).ok_or_else(|| unexpected("SIZE", reply))
}

pub(super) fn time_in(reply: &Reply) -> Result<SystemTime, FtpError> {
    parse_stamp(reply.text().trim_ascii()).ok_or_else(|| unexpected("MDTM", reply))
}

fn stamp_of(time: SystemTime) -> Result<Stamp, FtpError> {
    Stamp::of(time).ok_or(FtpError::InvalidTime)
}
