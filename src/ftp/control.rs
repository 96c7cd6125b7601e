//! `ControlConnection`: commands out, replies in, in step. `broken` once unsure.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::lines::whole_lines;
use super::reply::ReplyReader;
use super::{Command, FtpError, LoginConfig, Reply, Secret};
use crate::net::{Deadline, Direction, Probe, Stream};
use crate::status::Line;

/// What errors call the wait for the server's first words.
pub(super) const GREETING: &str = "connect";

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A control connection. Every reply belongs to a command that was sent; whenever that is in doubt
/// (an error, a timeout, an unasked reply) the connection is `broken` and never used again.
pub(super) struct ControlConnection {
    stream: Stream,
    replies: ReplyReader,
    outstanding: usize,
    ahead: Option<Ahead>,
    broken: bool,
    /// Sent, and not to be shown even if the server repeats it.
    secrets: Vec<Secret>,
    /// The next reply is that of a command whose other half was refused.
    first_was_refused: bool,
    timeout: Duration,
    limit: Option<Instant>,
    round_trip: Option<Duration>,
    number: u32,
    line: Line,
}

/// A command that was sent before anybody needs its reply.
struct Ahead {
    /// Replies that come before it.
    before: usize,
    reply: Option<Reply>,
}

impl ControlConnection {
    /// Connects; the greeting is not read yet. What it does is reported by `line`.
    ///
    /// # Errors
    /// [`FtpError::Unreachable`].
    pub(super) fn connect(config: &LoginConfig, line: Line) -> Result<Self, FtpError> {
        line.sends(GREETING, b"");
        let host = format!("{}:{}", config.host, config.port);
        let deadline = Deadline::after(config.connect_timeout, format!("a connection to {host}"));
        let (route, to) = (&config.route, (config.host.as_str(), config.port));
        let stream = route.reach(to, config.family, config.timeout, &deadline);
        let stream = stream.map_err(|source| FtpError::Unreachable { host, source })?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        log::debug!("[{number}] connected to {}", stream.peer());
        Ok(Self {
            stream,
            replies: ReplyReader::default(),
            // The greeting.
            outstanding: 1,
            ahead: None,
            broken: false,
            secrets: Vec::new(),
            first_was_refused: false,
            timeout: config.timeout,
            limit: None,
            round_trip: None,
            number,
            line,
        })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    /// For the handshake.
    pub(super) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Whether a reply, or a part of one, has been read that nobody took.
    pub(super) fn has_leftovers(&self) -> bool {
        !self.replies.is_empty()
    }

    /// Sends commands in one segment. Their replies are to be read in order.
    ///
    /// # Errors
    /// A command that cannot be sent (nothing was sent then), or a lost connection.
    pub(super) fn send(&mut self, commands: &[Command<'_>]) -> Result<(), FtpError> {
        let verb = commands.first().map_or("", Command::verb);
        let mut lines = Vec::with_capacity(64 * commands.len());
        for command in commands {
            command.encode(&mut lines)?;
        }
        if self.broken {
            return Err(FtpError::Broken { verb });
        }
        if self.outstanding == 0 {
            self.wait_for_ahead()?;
            self.nothing_unasked(verb)?;
        }
        for command in commands {
            if let Command::Pass(secret) | Command::Acct(secret) = *command {
                self.secrets.push(secret.clone());
            }
            log::trace!("[{}] > {command}", self.number);
        }
        self.outstanding += commands.len();
        if let Some(last) = commands.last() {
            let subject = commands.iter().rev().map(Command::subject);
            let subject = subject.into_iter().find(|path| !path.is_empty());
            self.line.sends(last.verb(), subject.unwrap_or_default());
        }
        self.write(verb, &lines)
    }

    /// No segment ends within a line: ProFTPD does not see the end of one whose CR and LF it reads apart, and
    /// makes one command of two.
    fn write(&mut self, verb: &'static str, lines: &[u8]) -> Result<(), FtpError> {
        let deadline = self.deadline(self.timeout, || format!("room to send {verb}"));
        self.stream
            .write_pieces(whole_lines(lines, self.stream.segment()), &deadline)
            .map_err(|e| self.fail(FtpError::from_control(verb, e)))
    }

    /// Whether a line feed alone ends a command for this server. If so, the end of a line is seen wherever it
    /// is torn.
    ///
    /// # Errors
    /// As [`ControlConnection::send`] and [`ControlConnection::reply`].
    pub(super) fn takes_line_feeds(&mut self) -> Result<bool, FtpError> {
        const VERB: &str = "NOOP";
        // Sees to what was sent ahead.
        self.send(&[Command::Noop])?;
        self.reply(VERB)?;
        self.outstanding += 2;
        self.write(VERB, b"NOOP\nPWD\r\nNOOP\r\n")?;
        // Two lines or three.
        self.reply(VERB)?;
        let enough = self.reply(VERB)?.code() == 257;
        if enough {
            self.outstanding += 1;
            self.reply(VERB)?;
        }
        Ok(enough)
    }

    /// The next reply, within the usual time. `verb` is the command it belongs to.
    ///
    /// # Errors
    /// No reply in time, a lost connection, or 421: the connection is then broken. A refusal is
    /// a reply like any other here.
    pub(super) fn reply(&mut self, verb: &'static str) -> Result<Reply, FtpError> {
        self.reply_within(verb, self.timeout)
    }

    /// Like [`ControlConnection::reply`], within `time`.
    pub(super) fn reply_within(
        &mut self,
        verb: &'static str,
        time: Duration,
    ) -> Result<Reply, FtpError> {
        let deadline = self.deadline(time, || match verb {
            GREETING => "the server's greeting".into(),
            _ => format!("the reply to {verb}"),
        });
        loop {
            if let Some(reply) = self.try_reply(verb)? {
                return Ok(reply);
            }
            self.stream.acknowledge_at_once();
            self.stream
                .wait(Direction::Read, &deadline)
                .map_err(|e| self.fail(FtpError::from_control(verb, e)))?;
        }
    }

    /// As [`ControlConnection::reply`], for a command whose other half before it was refused: that
    /// the server misses the other half (503) is no news then.
    ///
    /// # Errors
    /// As [`ControlConnection::reply`].
    pub(super) fn reply_after_refusal(&mut self, verb: &'static str) -> Result<Reply, FtpError> {
        self.first_was_refused = true;
        let reply = self.reply(verb);
        self.first_was_refused = false;
        reply
    }

    /// Whether a reply has been read that nobody took yet.
    pub(super) fn has_reply(&self) -> bool {
        self.replies.has_reply()
    }

    /// The next reply if it has come, without waiting.
    ///
    /// # Errors
    /// As [`ControlConnection::reply`], but for the time.
    pub(super) fn try_reply(&mut self, verb: &'static str) -> Result<Option<Reply>, FtpError> {
        if self.broken || self.outstanding == 0 {
            return Err(self.fail(FtpError::Broken { verb }));
        }
        loop {
            if let Some(reply) = self.replies.next() {
                if let Some(reply) = self.sort(verb, reply)? {
                    return Ok(Some(reply));
                }
            } else if !self.receive(verb)? {
                return Ok(None);
            }
        }
    }

    /// Sends a command behind what is outstanding, for nobody to wait for. One at a time.
    ///
    /// # Errors
    /// A lost connection.
    pub(super) fn ask_ahead(&mut self, command: Command<'_>) -> Result<(), FtpError> {
        let before = self.outstanding;
        self.send(&[command])?;
        self.outstanding = before;
        if before == 0 {
            self.line.rests();
        }
        let reply = None;
        self.ahead = Some(Ahead { before, reply });
        Ok(())
    }

    /// The reply to the command that was sent ahead, if it has come. Does not wait.
    ///
    /// # Errors
    /// As [`ControlConnection::try_reply`].
    pub(super) fn try_ahead(&mut self) -> Result<Option<Reply>, FtpError> {
        const VERB: &str = "EPSV";
        loop {
            match &self.ahead {
                Some(Ahead { reply: Some(_), .. }) => {
                    return Ok(self.ahead.take().and_then(|ahead| ahead.reply));
                }
                Some(Ahead { before: 0, .. }) if !self.broken => {}
                _ => return Ok(None),
            }
            if let Some(reply) = self.replies.next() {
                if let Some(other) = self.sort(VERB, reply)? {
                    let what = other.to_string();
                    return Err(self.fail(FtpError::Protocol { verb: VERB, what }));
                }
            } else if !self.receive(VERB)? {
                return Ok(None);
            }
        }
    }

    /// As [`ControlConnection::try_ahead`], when all other replies have come; waits for it.
    ///
    /// # Errors
    /// As [`ControlConnection::reply`]; [`FtpError::Broken`] if nothing was sent ahead.
    pub(super) fn take_ahead(&mut self) -> Result<Reply, FtpError> {
        self.wait_for_ahead()?;
        let reply = self.ahead.take().and_then(|ahead| ahead.reply);
        reply.ok_or(FtpError::Broken { verb: "EPSV" })
    }

    /// A command sent meanwhile could be carried out first (libunftp) or not at all (uftpd).
    fn wait_for_ahead(&mut self) -> Result<(), FtpError> {
        let deadline = self.deadline(self.timeout, || "the reply to EPSV".into());
        loop {
            if let Some(reply) = self.try_ahead()? {
                let (before, reply) = (0, Some(reply));
                self.ahead = Some(Ahead { before, reply });
            }
            match &self.ahead {
                Some(Ahead { reply: None, .. }) if !self.broken => {}
                _ => return Ok(()),
            }
            self.stream.acknowledge_at_once();
            self.stream
                .wait(Direction::Read, &deadline)
                .map_err(|e| self.fail(FtpError::from_control("EPSV", e)))?;
        }
    }

    /// Whose reply is it? `None` if it is that of the command sent ahead.
    fn sort(&mut self, verb: &'static str, mut reply: Reply) -> Result<Option<Reply>, FtpError> {
        let login = matches!(verb, GREETING | "AUTH" | "USER" | "PASS" | "ACCT");
        if login {
            reply.hide_all(&self.secrets);
        }
        log::trace!("[{}] < {reply}", self.number);
        if reply.code() == 421 || is_dying(&reply) {
            return Err(self.fail(FtpError::Farewell { verb, reply }));
        }
        if !reply.is_preliminary() {
            match &mut self.ahead {
                Some(Ahead {
                    before: 0,
                    reply: here @ None,
                }) => {
                    *here = Some(reply);
                    return Ok(None);
                }
                Some(Ahead {
                    before,
                    reply: None,
                }) => *before -= 1,
                _ => {}
            }
            self.outstanding -= 1;
            if self.outstanding == 0 {
                self.line.rests();
            }
        }
        let expected = self.first_was_refused && reply.code() == 503;
        if matches!(reply.code(), 503 | 530) && !login && !expected {
            // The server sees another state of this session than we do: logged out, or
            // a command missing before this one.
            self.mark_broken();
        }
        Ok(Some(reply))
    }

    /// Takes what has come; `false` if nothing has.
    fn receive(&mut self, verb: &'static str) -> Result<bool, FtpError> {
        let mut buf = [0; 4096];
        let read = self.stream.try_read(&mut buf);
        match read.map_err(|e| self.fail(FtpError::from_control(verb, e)))? {
            None => Ok(false),
            Some(0) => {
                let end = std::io::ErrorKind::UnexpectedEof.into();
                Err(self.fail(FtpError::from_control(verb, end)))
            }
            Some(count) => {
                let fed = self.replies.feed(verb, &buf[..count]);
                fed.map(|()| true).map_err(|e| self.fail(e))
            }
        }
    }

    /// One command out, one reply in.
    ///
    /// # Errors
    /// As `send` and `reply`; a 1xx to a command that has only one reply.
    pub(super) fn exchange(&mut self, command: Command<'_>) -> Result<Reply, FtpError> {
        self.send(&[command])?;
        let asked = Instant::now();
        let reply = self.reply(command.verb())?;
        if reply.is_preliminary() {
            return Err(self.fail(FtpError::Protocol {
                verb: command.verb(),
                what: reply.to_string(),
            }));
        }
        let took = asked.elapsed();
        self.round_trip = Some(self.round_trip.map_or(took, |best| best.min(took)));
        Ok(reply)
    }

    /// After a transfer was given up: one reply ends it, whatever it says. Pure-FTPd's is a second
    /// 1xx. Without it the connection is broken.
    pub(super) fn take_last_reply(&mut self, verb: &'static str, time: Duration) {
        match self.reply_within(verb, time) {
            Ok(reply) if reply.is_preliminary() => {
                self.outstanding = 0;
                self.line.rests();
                if let Some(ahead) = &mut self.ahead {
                    ahead.before = 0;
                }
            }
            Ok(_) => {}
            Err(e) => log::debug!("[{}] not to be used again: {e}", self.number),
        }
    }

    /// The shortest time between a command and its reply so far.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// How long one reply, or one stretch without progress, may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// No wait goes on past `limit`, whatever the timeout of its step.
    pub(super) fn set_limit(&mut self, limit: Option<Instant>) {
        self.limit = limit;
    }

    /// A deadline under the present limit.
    pub(super) fn deadline(&self, time: Duration, what: impl FnOnce() -> String) -> Deadline {
        Deadline::after(time, what()).not_after(self.limit)
    }

    /// The address that data connections go to as well.
    pub(super) fn peer(&self) -> std::net::SocketAddr {
        self.stream.peer()
    }

    /// Where it reports what it does.
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// For waiting on it beside a data connection.
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Never to be used again.
    pub(super) fn mark_broken(&mut self) {
        if !self.broken {
            log::debug!("[{}] given up", self.number);
            self.broken = true;
        }
    }

    /// Whether the next reply is sure to belong to the next command.
    pub(super) fn is_in_step(&self) -> bool {
        !self.broken
            && self.outstanding == 0
            && (self.is_waiting_ahead() || self.replies.is_empty())
    }

    /// In step, and the server has neither closed it nor said anything unasked.
    pub(super) fn is_alive(&self) -> bool {
        self.is_in_step()
            && match self.stream.probe() {
                Probe::Quiet => true,
                Probe::Readable => self.is_waiting_ahead(),
                Probe::Closed => false,
            }
    }

    /// Whether a command was sent ahead and its reply has not come.
    fn is_waiting_ahead(&self) -> bool {
        matches!(&self.ahead, Some(Ahead { reply: None, .. }))
    }

    /// The number by which logs tell connections apart.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// A reply that nobody asked for is a farewell or confusion; either way the session is over.
    fn nothing_unasked(&mut self, verb: &'static str) -> Result<(), FtpError> {
        if self.stream.probe() == Probe::Quiet && self.replies.is_empty() {
            return Ok(());
        }
        self.outstanding = 1;
        match self.try_reply(verb)? {
            Some(reply) => Err(self.fail(FtpError::Unasked { verb, reply })),
            None => Err(self.fail(FtpError::Broken { verb })),
        }
    }

    pub(super) fn fail(&mut self, error: FtpError) -> FtpError {
        if !self.broken {
            log::debug!("[{}] {error}", self.number);
            self.broken = true;
        }
        error
    }
}

impl fmt::Debug for ControlConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlConnection")
            .field("number", &self.number)
            .field("peer", &self.peer())
            .field("outstanding", &self.outstanding)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

/// vsftpd says `500 OOPS: …` when one of its processes has failed, and closes.
fn is_dying(reply: &Reply) -> bool {
    reply.code() == 500 && reply.text().starts_with(b"OOPS:")
}
