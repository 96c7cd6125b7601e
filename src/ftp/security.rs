//! Encryption (RFC 4217): when AUTH TLS is asked for, and what must follow it.

use std::net::IpAddr;
use std::sync::Arc;

use super::control::ControlConnection;
use super::{Command, Experience, FtpError, LoginConfig, ReplyClass};
use crate::net::{TlsClient, TlsContext};

/// Whether the connections are encrypted, and from when on.
#[derive(Debug, Clone, Default)]
pub enum Security {
    /// Never.
    #[default]
    Off,
    /// By AUTH TLS, where the server knows it.
    Offered(Arc<TlsClient>),
    /// By AUTH TLS, or there is no login.
    Required(Arc<TlsClient>),
    /// From the first byte on.
    Implicit(Arc<TlsClient>),
}

/// Encrypts the connection from its first byte on, where that is what the server expects.
///
/// # Errors
/// [`FtpError::Tls`]; a lost connection.
pub(super) fn before_greeting(
    control: &mut ControlConnection,
    config: &LoginConfig,
    experience: &Experience,
) -> Result<Option<TlsContext>, FtpError> {
    match &config.security {
        Security::Implicit(client) => {
            let context = encrypt(control, client, config, experience)?;
            experience.learn_encrypts(true);
            Ok(Some(context))
        }
        _ => Ok(None),
    }
}

/// Asks for encryption, where it is wanted. `None`: the connection stays as it is.
///
/// A server that has encrypted a connection of this mount has to encrypt all of them: what takes the words out
/// of one of them sits in between.
///
/// # Errors
/// [`FtpError::Tls`]; [`FtpError::Refused`] where encryption is required; a lost connection.
pub(super) fn after_greeting(
    control: &mut ControlConnection,
    config: &LoginConfig,
    experience: &Experience,
) -> Result<Option<TlsContext>, FtpError> {
    let (client, required) = match &config.security {
        Security::Required(client) => (client, true),
        Security::Offered(client) => (client, experience.encrypts() == Some(true)),
        Security::Off | Security::Implicit(_) => return Ok(None),
    };
    if !required && experience.encrypts() == Some(false) {
        return Ok(None);
    }
    let reply = control.exchange(Command::AuthTls)?;
    // 4xx is no answer to that: it may be able to, another time (RFC 4217 section 12.1, 431).
    if reply.class() == ReplyClass::PermanentNegative && !required {
        log::debug!("[{}] no AUTH TLS: {reply}", control.number());
        experience.learn_encrypts(false);
        warn_of_clear_text(control, config);
        return Ok(None);
    }
    if !reply.is_completion() {
        return Err(FtpError::Refused {
            verb: "AUTH",
            reply,
        });
    }
    // What came in clear behind the 234 is somebody else's.
    control.nothing_left_in_clear()?;
    let context = encrypt(control, client, config, experience)?;
    experience.learn_encrypts(true);
    Ok(Some(context))
}

/// A password is about to cross the network as it is, and nobody has said that this is meant.
fn warn_of_clear_text(control: &ControlConnection, config: &LoginConfig) {
    // Where a proxy sends it, nobody here knows.
    let peer = Some(control.peer().ip()).filter(|_| !control.stream().is_through_proxy());
    if is_to_be_warned_of(peer, &config.user) {
        log::warn!(
            "{} offers no encryption: the password goes there in clear (tls=off accepts that in silence)",
            config.host
        );
    }
}

fn is_to_be_warned_of(peer: Option<IpAddr>, user: &[u8]) -> bool {
    !matches!(user, b"anonymous" | b"ftp") && !peer.is_some_and(|address| address.is_loopback())
}

fn encrypt(
    control: &mut ControlConnection,
    client: &TlsClient,
    config: &LoginConfig,
    experience: &Experience,
) -> Result<TlsContext, FtpError> {
    let context = client
        .context(&config.host, experience.is_limited_to_tls12())
        .map_err(|source| FtpError::Tls {
            host: config.host.clone(),
            source,
        })?;
    control.start_tls(&context, &config.host)?;
    Ok(context)
}

impl ControlConnection {
    /// From here on it is encrypted.
    ///
    /// # Errors
    /// [`FtpError::Tls`]; a lost connection, or no answer in time.
    fn start_tls(&mut self, context: &TlsContext, host: &str) -> Result<(), FtpError> {
        let deadline = self.deadline(self.timeout(), || "the TLS handshake".into());
        let started = self.stream_mut().start_tls(context);
        match started.and_then(|()| self.stream_mut().handshake(&deadline)) {
            Ok(()) => {
                if let Some(tls) = self.stream().established() {
                    log::debug!("[{}] {}", self.number(), tls.version);
                }
                Ok(())
            }
            Err(source) if source.kind() == std::io::ErrorKind::InvalidData => {
                let host = host.to_owned();
                Err(self.fail(FtpError::Tls { host, source }))
            }
            Err(error) => Err(self.fail(FtpError::from_control("AUTH", error))),
        }
    }

    /// Before a handshake: whatever the server said has been read, and taken.
    ///
    /// # Errors
    /// [`FtpError::Protocol`].
    fn nothing_left_in_clear(&mut self) -> Result<(), FtpError> {
        if !self.has_leftovers() {
            return Ok(());
        }
        Err(self.fail(FtpError::Protocol {
            verb: "AUTH",
            what: "something follows in clear".to_owned(),
        }))
    }
}

/// PBSZ and PROT: data connections are encrypted, too (RFC 4217 section 9).
pub(super) const PROTECTION: [Command<'static>; 2] = [Command::Pbsz, Command::ProtP];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_that_leave_the_machine_are_warned_of() {
        assert!(is_to_be_warned_of(None, b"me"));
        for (peer, user, expected) in [
            ("192.0.2.1", "me", true),
            ("2001:db8::1", "me", true),
            ("127.0.0.2", "me", false),
            ("::1", "me", false),
            ("192.0.2.1", "anonymous", false),
        ] {
            let found = is_to_be_warned_of(peer.parse().ok(), user.as_bytes());
            assert_eq!(found, expected, "{user} at {peer}");
        }
    }
}
