//! From nothing to a logged-in session: greeting, USER, PASS, FEAT, OPTS, TYPE I.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::{ControlConnection, GREETING};
use super::security::{self, PROTECTION, Security};
use super::{Command, Experience, Features, FtpError, RemotePath, Reply};
use crate::net::{AddressFamily, TlsContext};

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
    /// As sent with USER.
    pub user: Vec<u8>,
    /// As sent with PASS.
    pub password: Secret,
    /// Which addresses may be used.
    pub family: AddressFamily,
    /// Whether it is encrypted.
    pub security: Security,
    /// For resolving and connecting, together.
    pub connect_timeout: Duration,
    /// For each reply and for each stretch of a transfer without progress.
    pub timeout: Duration,
}

/// What a login comes to.
pub(super) struct LoggedIn {
    pub(super) control: ControlConnection,
    pub(super) features: Arc<Features>,
    /// What data connections need to be encrypted as well.
    pub(super) tls: Option<TlsContext>,
}

/// Connects and logs in.
///
/// # Errors
/// [`FtpError::Unreachable`], a refusal with verb USER or PASS, a lost connection.
pub(super) fn log_in(config: &LoginConfig, experience: &Experience) -> Result<LoggedIn, FtpError> {
    let mut control = ControlConnection::connect(config)?;
    // All its replies together: a server that drips must not hold us up for each of them.
    let limit = Instant::now().checked_add(config.connect_timeout + config.timeout);
    control.set_limit(limit);
    let mut tls = security::before_greeting(&mut control, config, experience)?;
    read_greeting(&mut control, experience)?;
    if tls.is_none() {
        tls = security::after_greeting(&mut control, config, experience)?;
    }
    let features = match experience.features() {
        Some(known) if experience.pipelining() == Some(true) => {
            let known = Arc::clone(known);
            log_in_at_once(&mut control, config, &known)?;
            known
        }
        known => log_in_step_by_step(&mut control, config, known, experience)?,
    };
    control.set_limit(None);
    log::debug!("[{}] logged in", control.number());
    Ok(LoggedIn {
        control,
        features,
        tls,
    })
}

fn read_greeting(control: &mut ControlConnection, experience: &Experience) -> Result<(), FtpError> {
    loop {
        let greeting = control.reply(GREETING)?;
        // 120: ready in some minutes. Nobody waits minutes, but some servers mean seconds.
        if !greeting.is_preliminary() {
            experience.learn_greeting(&greeting);
            return accept(GREETING, greeting).map(drop);
        }
    }
}

fn log_in_step_by_step(
    control: &mut ControlConnection,
    config: &LoginConfig,
    known: Option<&Arc<Features>>,
    experience: &Experience,
) -> Result<Arc<Features>, FtpError> {
    if control.is_encrypted() {
        for command in PROTECTION {
            let verb = command.verb();
            accept(verb, control.exchange(command)?)?;
        }
    }
    let user = control.exchange(Command::User(&config.user))?;
    if user.code() == 331 {
        let password = control.exchange(Command::Pass(&config.password))?;
        accept("PASS", password)?;
    } else {
        accept("USER", user)?;
    }
    let features = match known {
        Some(known) => Arc::clone(known),
        None => {
            // Only here: the list can grow with the login.
            let reply = control.exchange(Command::Feat)?;
            experience.learn_features(Features::from_reply(&reply))
        }
    };
    if features.has("UTF8") {
        // 200, 202, 451, 501 and 504 are all answered by servers that speak UTF-8.
        control.exchange(Command::OptsUtf8)?;
    }
    if let Some(facts) = features.facts_to_ask_for() {
        control.exchange(Command::OptsMlst(&facts))?;
    }
    let image = control.exchange(Command::TypeImage)?;
    accept("TYPE", image)?;
    if experience.home().is_none() {
        let reply = control.exchange(Command::Pwd)?;
        experience.learn_home(accept("PWD", reply).and_then(|r| directory_in(&r)));
    }
    Ok(features)
}

/// All in one segment, one round trip, on servers known to cope with that.
fn log_in_at_once(
    control: &mut ControlConnection,
    config: &LoginConfig,
    features: &Features,
) -> Result<(), FtpError> {
    let facts = features.facts_to_ask_for();
    let mut commands = Vec::with_capacity(8);
    if control.is_encrypted() {
        commands.extend(PROTECTION);
    }
    let protection = commands.len();
    commands.extend([Command::User(&config.user), Command::Pass(&config.password)]);
    if features.has("UTF8") {
        commands.push(Command::OptsUtf8);
    }
    if let Some(facts) = &facts {
        commands.push(Command::OptsMlst(facts));
    }
    commands.push(Command::TypeImage);
    control.send(&commands)?;
    for command in &commands[..protection] {
        let reply = control.reply(command.verb())?;
        accept(command.verb(), reply)?;
    }
    let user = control.reply("USER")?;
    let password = control.reply("PASS")?;
    if user.code() == 331 {
        accept("PASS", password)?;
    } else {
        // Already in: whatever PASS was answered does not matter.
        accept("USER", user)?;
    }
    for command in &commands[protection + 2..] {
        let reply = control.reply(command.verb())?;
        if matches!(command, Command::TypeImage) {
            accept("TYPE", reply)?;
        }
    }
    Ok(())
}

/// 2xx, or the refusal. 332 (an account is wanted) is a refusal: we have none to give.
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
