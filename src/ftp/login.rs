//! From nothing to a logged-in session: greeting, USER, PASS, FEAT, OPTS, TYPE I.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::{ControlConnection, GREETING};
use super::security::{self, PROTECTION, Security};
use super::{ActiveMode, Command, Experience, Features, FtpError, RemotePath, Reply};
use crate::net::{AddressFamily, Route, TlsContext};

/// How long the replies to the further commands of a group are waited for, besides three round trips.
const PATIENCE: Duration = Duration::from_secs(3);

/// A password: any bytes but CR, LF and NUL, and never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes as they are to be sent.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one command that sends them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How to get from nothing to a logged-in session.
#[derive(Debug, Clone)]
pub struct LoginConfig {
    /// Host name or address literal, without brackets.
    pub host: String,
    /// TCP port of the control connection.
    pub port: u16,
    /// By which way all connections are made.
    pub route: Route,
    /// Data connections go to the address in the reply to PASV, whosever it is, and not to the control
    /// connection's peer.
    pub obeys_pasv: bool,
    /// As sent with USER.
    pub user: Vec<u8>,
    /// As sent with PASS.
    pub password: Secret,
    /// As sent with ACCT, where the server asks for it.
    pub account: Option<Secret>,
    /// Which addresses may be used.
    pub family: AddressFamily,
    /// Whether it is encrypted.
    pub security: Security,
    /// Where the server offers it, names are to be in UTF-8.
    pub utf8: bool,
    /// For resolving and connecting, together.
    pub connect_timeout: Duration,
    /// For each reply and for each stretch of a transfer without progress.
    pub timeout: Duration,
    /// The server opens the data connections.
    pub active: Option<ActiveMode>,
}

/// What a login comes to.
pub(super) struct LoggedIn {
    pub(super) control: ControlConnection,
    pub(super) features: Arc<Features>,
    /// What data connections need to be encrypted as well.
    pub(super) tls: Option<TlsContext>,
}

/// How many commands go out before their replies are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// One.
    OneByOne,
    /// Those that need nothing of each other's replies: nobody knows yet whether the server minds.
    InGroups,
    /// All: the server is known to cope with that.
    AtOnce,
}

impl Manner {
    fn with(experience: &Experience) -> Self {
        match (experience.pipelining(), experience.features()) {
            (Some(true), Some(_)) => Self::AtOnce,
            (Some(false), _) => Self::OneByOne,
            _ if experience.minds_groups() => Self::OneByOne,
            _ => Self::InGroups,
        }
    }
}

/// Connects and logs in.
///
/// The first login of a mount is what its user waits for: its commands go out in groups, and where they are not
/// answered as they should be, once more on a new connection, one by one.
///
/// # Errors
/// [`FtpError::Unreachable`], a refusal with verb USER or PASS, a lost connection.
pub(super) fn log_in(config: &LoginConfig, experience: &Experience) -> Result<LoggedIn, FtpError> {
    // All its replies together: a server that drips must not hold us up for each of them.
    let limit = Instant::now().checked_add(config.connect_timeout + config.timeout);
    let manner = match Manner::with(experience) {
        // What follows USER and PASS depends on their replies.
        Manner::AtOnce if config.account.is_some() => Manner::InGroups,
        manner => manner,
    };
    let (mut control, mut tls) = reach(config, experience, limit)?;
    let mut login = Login::new(config, experience, manner, limit);
    let mut outcome = login.go_through(&mut control);
    if let Err(error) = &outcome
        && manner == Manner::InGroups
        && !is_the_last_word(error)
        && limit.is_none_or(|limit| Instant::now() < limit)
    {
        log::debug!("[{}] commands in groups: {error}", control.number());
        experience.learn_minds_groups();
        drop(control);
        (control, tls) = reach(config, experience, limit)?;
        login = Login::new(config, experience, Manner::OneByOne, limit);
        outcome = login.go_through(&mut control);
    }
    let features = outcome?;
    control.set_limit(None);
    log::debug!("[{}] logged in", control.number());
    Ok(LoggedIn {
        control,
        features,
        tls,
    })
}

/// Whether it would be the same if the commands went out one by one.
fn is_the_last_word(error: &FtpError) -> bool {
    match error {
        FtpError::Refused { verb, .. } => matches!(*verb, "USER" | "PASS" | "ACCT"),
        FtpError::Farewell { .. } | FtpError::Tls { .. } => true,
        _ => false,
    }
}

/// A connection that was greeted, and encrypted where that is wanted.
fn reach(
    config: &LoginConfig,
    experience: &Experience,
    limit: Option<Instant>,
) -> Result<(ControlConnection, Option<TlsContext>), FtpError> {
    let mut control = ControlConnection::connect(config, experience.board().connection())?;
    control.set_limit(limit);
    let mut tls = security::before_greeting(&mut control, config, experience)?;
    read_greeting(&mut control, config, experience)?;
    if tls.is_none() {
        tls = security::after_greeting(&mut control, config, experience)?;
    }
    Ok((control, tls))
}

fn read_greeting(
    control: &mut ControlConnection,
    config: &LoginConfig,
    experience: &Experience,
) -> Result<(), FtpError> {
    let time = config.connect_timeout + config.timeout;
    let deadline = control.deadline(time, || "the server's greeting".into());
    loop {
        let greeting = control.reply(GREETING)?;
        // 120: ready in some minutes. Nobody waits minutes, but some servers mean seconds.
        if !greeting.is_preliminary() {
            experience.learn_greeting(&greeting);
            return accept(GREETING, greeting).map(drop);
        }
        // Who says it again and again is not waited for, and so never found late otherwise.
        let left = deadline.remaining();
        left.map_err(|e| control.fail(FtpError::from_control(GREETING, e)))?;
    }
}

/// The conversation from USER on.
struct Login<'a> {
    config: &'a LoginConfig,
    experience: &'a Experience,
    manner: Manner,
    limit: Option<Instant>,
    features: Option<Arc<Features>>,
    home: Option<Result<RemotePath, FtpError>>,
    /// USER, or ACCT behind it, has opened the door.
    is_in: bool,
    /// The last reply asks for ACCT.
    wants_account: bool,
}

impl<'a> Login<'a> {
    fn new(
        config: &'a LoginConfig,
        experience: &'a Experience,
        manner: Manner,
        limit: Option<Instant>,
    ) -> Self {
        Self {
            config,
            experience,
            manner,
            limit,
            features: experience.features().cloned(),
            home: None,
            is_in: false,
            wants_account: false,
        }
    }

    /// # Errors
    /// A refusal; a lost connection; [`FtpError::Protocol`] for replies that look as if others had got lost.
    fn go_through(&mut self, control: &mut ControlConnection) -> Result<Arc<Features>, FtpError> {
        let config = self.config;
        let mut commands = Vec::with_capacity(8);
        if control.is_encrypted() {
            commands.extend(PROTECTION);
            self.next(control, &mut commands)?;
        }
        commands.push(Command::User(&config.user));
        // Asked who somebody is, a server may have to ask others: it has all its time for that.
        self.next(control, &mut commands)?;
        self.give_account(control)?;
        if !self.is_in {
            commands.push(Command::Pass(&config.password));
        }
        self.next(control, &mut commands)?;
        self.give_account(control)?;
        let asks = self.features.is_none();
        if asks {
            // Not before the login: the list can grow with it.
            commands.push(Command::Feat);
        }
        commands.push(Command::TypeImage);
        if self.experience.home().is_none() {
            commands.push(Command::Pwd);
        }
        if asks {
            self.next(control, &mut commands)?;
        }
        let features = self.features.clone().unwrap_or_default();
        let facts = features.facts_to_ask_for();
        if config.utf8 && features.has("UTF8") {
            // 200, 202, 451, 501 and 504 are all answered by servers that speak UTF-8.
            commands.push(Command::OptsUtf8);
        }
        if let Some(facts) = &facts {
            commands.push(Command::OptsMlst(facts));
        }
        self.ask(control, &commands)?;
        // Only now: all replies were where they belong.
        if let Some(home) = self.home.take() {
            self.experience.learn_home(home);
        }
        Ok(self.experience.learn_features(features))
    }

    /// Sends ACCT if that was asked for (RFC 959 section 5.4: after USER or after PASS).
    fn give_account(&mut self, control: &mut ControlConnection) -> Result<(), FtpError> {
        match &self.config.account {
            Some(account) if self.wants_account => self.ask(control, &[Command::Acct(account)]),
            _ => Ok(()),
        }
    }

    /// Sends what has gathered, unless everything goes out in the end.
    fn next(
        &mut self,
        control: &mut ControlConnection,
        commands: &mut Vec<Command<'_>>,
    ) -> Result<(), FtpError> {
        if self.manner == Manner::AtOnce {
            return Ok(());
        }
        self.ask(control, commands)?;
        commands.clear();
        Ok(())
    }

    fn ask(
        &mut self,
        control: &mut ControlConnection,
        commands: &[Command<'_>],
    ) -> Result<(), FtpError> {
        // One is exchanged, so that the round trip is known by its time.
        if self.manner == Manner::OneByOne || commands.len() == 1 {
            return commands.iter().try_for_each(|command| {
                let reply = control.exchange(*command)?;
                self.take(command, reply)
            });
        }
        control.send(commands)?;
        for (place, command) in commands.iter().enumerate() {
            if place == 1 && self.manner == Manner::InGroups {
                // A server that has lost the others does not answer them, however long we wait.
                let round_trip = control.round_trip().unwrap_or_default();
                let enough = Instant::now().checked_add(3 * round_trip + PATIENCE);
                control.set_limit([enough, self.limit].into_iter().flatten().min());
            }
            let reply = control.reply(command.verb())?;
            self.take(command, reply)?;
        }
        control.set_limit(self.limit);
        Ok(())
    }

    fn take(&mut self, command: &Command<'_>, reply: Reply) -> Result<(), FtpError> {
        let verb = command.verb();
        let strays = self.manner == Manner::InGroups && answers_another(command, &reply);
        if strays || reply.is_preliminary() {
            return Err(FtpError::Protocol {
                verb,
                what: reply.to_string(),
            });
        }
        match command {
            Command::User(_) if reply.code() == 331 => {}
            Command::User(_) | Command::Pass(_)
                if reply.code() == 332 && !self.is_in && self.config.account.is_some() =>
            {
                self.wants_account = true;
            }
            Command::User(_) | Command::Acct(_) => {
                accept(verb, reply)?;
                self.is_in = true;
                self.wants_account = false;
            }
            // Already in: whatever PASS was answered does not matter.
            Command::Pass(_) if self.is_in => {}
            Command::Feat => {
                self.features = Some(Arc::new(Features::from_reply(&reply)));
            }
            Command::Pwd => {
                self.home = Some(accept(verb, reply).and_then(|r| directory_in(&r)));
            }
            Command::OptsUtf8 | Command::OptsMlst(_) => {}
            _ => {
                accept(verb, reply)?;
            }
        }
        Ok(())
    }
}

/// Some servers work on several commands at the same time, and answer whichever is done (libunftp).
fn answers_another(command: &Command<'_>, reply: &Reply) -> bool {
    match reply.code() {
        211 => !matches!(command, Command::Feat),
        257 => !matches!(command, Command::Pwd),
        _ => false,
    }
}

/// 2xx, or the refusal; 332 is one where there is no account to give.
fn accept(verb: &'static str, reply: Reply) -> Result<Reply, FtpError> {
    if reply.is_completion() {
        Ok(reply)
    } else {
        Err(FtpError::Refused { verb, reply })
    }
}

pub(super) fn directory_in(reply: &Reply) -> Result<RemotePath, FtpError> {
    quoted(reply.text())
        .and_then(|path| RemotePath::parse(&path).ok())
        .ok_or_else(|| FtpError::Protocol {
            verb: "PWD",
            what: reply.to_string(),
        })
}

/// What stands between the first and the last `"`, doubled ones undone (RFC 959 appendix II). Those
/// servers that do not double them (Pure-FTPd, inetutils) are read right as well, but for names
/// with two quotes in a row.
fn quoted(text: &[u8]) -> Option<Vec<u8>> {
    let first = text.iter().position(|b| *b == b'"')?;
    let last = text.iter().rposition(|b| *b == b'"')?;
    let inner = text.get(first + 1..last)?;
    let mut path = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().peekable();
    while let Some(byte) = bytes.next() {
        path.push(*byte);
        if *byte == b'"' {
            bytes.next_if(|b| **b == b'"');
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_paths() {
        let cases: [(&str, Option<&str>); 6] = [
            (r#""/" is the current directory"#, Some("/")),
            (r#""/a b" is"#, Some("/a b")),
            (r#""/a""b" is"#, Some("/a\"b")),
            (r#""/a"b" is"#, Some("/a\"b")),
            ("no quotes", None),
            ("one \" quote", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                quoted(text.as_bytes()).as_deref(),
                expected.map(str::as_bytes),
                "{text}"
            );
        }
    }
}
