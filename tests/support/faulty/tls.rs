//! The server's side of TLS (RFC 4217): it ends in the proxy, and the server behind it hears FTP in clear.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ServerSessionMemoryCache;
use rustls::version::{TLS12, TLS13};
use rustls::{
    HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use sha2::{Digest as _, Sha256};

use super::Encryption;
use super::rule::{Action, Rule};
use super::wire::How;

/// Sessions of one control connection that may go on; more than any client keeps.
const SESSIONS: usize = 256;

/// The certificate of all proxies of this process, and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Identity {
            certificate: made.cert.der().clone(),
            key: made.signing_key.serialize_der(),
        }
    })
}

/// SHA-256 of the certificate, in hexadecimal digits.
pub(super) fn fingerprint() -> String {
    let digest = Sha256::digest(&identity().certificate);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// For one control connection and its data connections: no session of another one goes on here.
pub(super) fn config(encryption: Encryption) -> Option<Arc<ServerConfig>> {
    static TEMPLATES: [OnceLock<ServerConfig>; 2] = [const { OnceLock::new() }; 2];
    static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    let (template, versions) = match encryption {
        Encryption::None => return None,
        Encryption::Explicit | Encryption::Implicit => (&TEMPLATES[0], BOTH),
        Encryption::Tls12 => (&TEMPLATES[1], &BOTH[1..]),
    };
    let template = template.get_or_init(|| {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity().key.clone()));
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity().certificate.clone()], key)
            .unwrap()
    });
    let mut config = template.clone();
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Some(Arc::new(config))
}

/// The TLS of one connection.
pub(super) struct Layer {
    connection: ServerConnection,
    /// Bytes that still leave before it, as they are.
    pub(super) clear: usize,
    said_goodbye: bool,
    /// What happens to the handshake.
    fault: Option<Arc<Rule>>,
}

impl Layer {
    /// The first `clear` bytes leave as they are; `rules` may be about the handshake.
    pub(super) fn new(
        config: &Arc<ServerConfig>,
        clear: usize,
        rules: &[Arc<Rule>],
    ) -> io::Result<Self> {
        let is_meant = |rule: &&Arc<Rule>| {
            matches!(
                rule.action,
                Action::CutHandshake(_) | Action::StallHandshake
            )
        };
        let fault = rules.iter().find(is_meant).cloned();
        if let Some(rule) = &fault
            && matches!(rule.action, Action::StallHandshake)
        {
            rule.hit();
        }
        let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Self {
            connection,
            clear,
            said_goodbye: false,
            fault,
        })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What was agreed on, once it is.
    pub(super) fn version(&self) -> Option<ProtocolVersion> {
        let done = !self.is_handshaking();
        self.connection.protocol_version().filter(|_| done)
    }

    /// It goes on with an earlier session. Only after the handshake.
    pub(super) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The socket has to take something.
    pub(super) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Gets the handshake further.
    pub(super) fn shake_hands(&mut self, socket: &TcpStream) -> io::Result<()> {
        while self.is_handshaking() && self.take_in(socket)? {}
        Ok(())
    }

    /// Nobody looks at what comes.
    pub(super) fn is_stalled(&self) -> bool {
        let stalls = |rule: &Arc<Rule>| matches!(rule.action, Action::StallHandshake);
        self.fault
            .as_ref()
            .is_some_and(|rule| stalls(rule) && !rule.is_lifted())
    }

    /// How the handshake is to be cut, once what comes before it has left.
    pub(super) fn cut(&self) -> Option<(How, &Rule)> {
        match self.fault.as_ref()?.action {
            Action::CutHandshake(how) if self.clear == 0 => Some((how, self.fault.as_ref()?)),
            _ => None,
        }
    }

    /// As [`super::wire::End::read`]; an end without close_notify is an error.
    pub(super) fn read(&mut self, socket: &TcpStream, buf: &mut [u8]) -> io::Result<Option<usize>> {
        use io::Read as _;
        loop {
            match self.connection.reader().read(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                found => return found.map(Some),
            }
            if !self.take_in(socket)? {
                return Ok(None);
            }
        }
    }

    /// Something has come that [`Layer::read`] would give at once, be it the end.
    pub(super) fn has_plaintext(&mut self) -> bool {
        use io::BufRead as _;
        self.connection.reader().fill_buf().is_ok()
    }

    /// Looks at what has come, if anything has.
    fn take_in(&mut self, mut socket: &TcpStream) -> io::Result<bool> {
        if self.is_stalled() {
            return Ok(false);
        }
        match self.connection.read_tls(&mut socket) {
            Ok(0) if self.is_handshaking() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(e) => return Err(e),
        }
        let judged = self.connection.process_new_packets();
        // Answers of the handshake, or the reason why there is none.
        self.flush(socket)?;
        judged.map_err(io::Error::other)?;
        Ok(true)
    }

    /// Takes plaintext if the socket has taken all before it.
    pub(super) fn write(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<Option<usize>> {
        use io::Write as _;
        self.flush(socket)?;
        if self.is_handshaking() || self.wants_write() {
            return Ok(None);
        }
        let count = self.connection.writer().write(bytes)?;
        self.flush(socket)?;
        Ok(Some(count))
    }

    pub(super) fn flush(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Says that no more will come (close_notify). Whether the socket has taken that.
    pub(super) fn say_goodbye(&mut self, socket: &TcpStream) -> io::Result<bool> {
        if !std::mem::replace(&mut self.said_goodbye, true) {
            self.connection.send_close_notify();
        }
        self.flush(socket)?;
        Ok(!self.wants_write())
    }
}
