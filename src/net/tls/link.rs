//! `Link`: the TLS of one connection, between a socket that never blocks and whoever reads and writes.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{AlertDescription, ClientConnection, Error, HandshakeKind, ProtocolVersion};

use super::TlsContext;
use super::verifier::Verifier;

/// Bytes taken from the socket at a time.
const INBOX: usize = 64 << 10;
/// So often the socket is read for bytes that are of the protocol alone, before the caller looks at his deadline.
const MOST_READS: usize = 16;
/// Bytes encrypted at a time: what may wait for room in the socket.
const OUTBOX: usize = 64 << 10;

/// The version that both sides speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V12 => "TLS 1.2",
            Self::V13 => "TLS 1.3",
        })
    }
}

/// What a handshake came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Established {
    /// The version in use.
    pub version: TlsVersion,
    /// An earlier session goes on.
    pub is_resumed: bool,
    /// SHA-256 of the server's certificate, where it was shown.
    pub certificate: Option<[u8; 32]>,
}

/// The TLS of one connection.
pub(in super::super) struct Link {
    connection: ClientConnection,
    verifier: Arc<Verifier>,
    /// What came from the socket and was not looked at yet: `inbox[start..end]`.
    inbox: Box<[u8]>,
    start: usize,
    end: usize,
    /// The peer's socket has ended.
    is_at_end: bool,
    /// Nothing more can come of it.
    failed: Option<(io::ErrorKind, String)>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    pub(in super::super) fn new(context: &TlsContext) -> io::Result<Self> {
        let connection = ClientConnection::new(Arc::clone(&context.config), context.name.clone())
            .map_err(io::Error::other)?;
        Ok(Self {
            connection,
            verifier: Arc::clone(&context.verifier),
            inbox: vec![0; INBOX].into_boxed_slice(),
            start: 0,
            end: 0,
            is_at_end: false,
            failed: None,
        })
    }

    pub(in super::super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Something can be read without the socket.
    pub(in super::super) fn is_ready(&mut self) -> bool {
        self.failed.is_some() || self.is_at_end || self.start < self.end || self.has_plaintext()
    }

    /// Bytes were said that nobody has read.
    pub(in super::super) fn has_bytes(&mut self) -> bool {
        let state = self.connection.process_new_packets();
        state.is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
    }

    /// Bytes wait for room in the socket.
    pub(in super::super) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    pub(in super::super) fn established(&self) -> Option<Established> {
        let version = match self.connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => TlsVersion::V12,
            _ => TlsVersion::V13,
        };
        if self.connection.is_handshaking() {
            return None;
        }
        Some(Established {
            version,
            is_resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
            certificate: self.verifier.believed(),
        })
    }

    /// Takes what has come, and sends what is to be answered. Whether there is something to be read, be it the
    /// end.
    pub(in super::super) fn pump(&mut self, mut socket: &TcpStream) -> io::Result<bool> {
        for _ in 0..MOST_READS {
            self.look_at_inbox(socket)?;
            self.flush(socket)?;
            if self.has_plaintext() || self.is_at_end {
                return Ok(true);
            }
            match super::super::stream::without_waiting(|| socket.read(&mut self.inbox))? {
                None => return Ok(false),
                Some(0) => {
                    self.is_at_end = true;
                    // The library wants to see the end itself: without the peer's close_notify it is no good one.
                    self.connection.read_tls(&mut io::empty())?;
                }
                Some(count) => (self.start, self.end) = (0, count),
            }
        }
        self.look_at_inbox(socket)?;
        Ok(self.has_plaintext())
    }

    fn look_at_inbox(&mut self, socket: &TcpStream) -> io::Result<()> {
        if let Some((kind, what)) = &self.failed {
            return Err(io::Error::new(*kind, what.clone()));
        }
        while self.start < self.end && !self.has_plaintext() {
            let mut rest = &self.inbox[self.start..self.end];
            let before = rest.len();
            self.connection.read_tls(&mut rest)?;
            self.start += before - rest.len();
            if let Err(error) = self.connection.process_new_packets() {
                // The peer is told why, where that is possible.
                let _told = self.flush(socket);
                let what = self
                    .verifier
                    .take_refusal()
                    .unwrap_or_else(|| in_words(&error));
                self.failed = Some((io::ErrorKind::InvalidData, what.clone()));
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        Ok(())
    }

    fn has_plaintext(&mut self) -> bool {
        // An empty read tells the same as any other, and takes nothing.
        match self.connection.process_new_packets() {
            Ok(state) => state.plaintext_bytes_to_read() > 0 || state.peer_has_closed(),
            Err(_) => false,
        }
    }

    /// As [`super::super::Stream::try_read`].
    pub(in super::super) fn try_read(
        &mut self,
        socket: &TcpStream,
        buf: &mut [u8],
    ) -> io::Result<Option<usize>> {
        let mut filled = 0;
        while filled < buf.len() {
            if !self.pump(socket)? {
                break;
            }
            match self.connection.reader().read(&mut buf[filled..]) {
                // A good end.
                Ok(0) => {
                    self.say_goodbye(socket);
                    return Ok(Some(filled));
                }
                Ok(count) => filled += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) if filled > 0 => break,
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    // The library's words send the reader to its own manual.
                    let what = "the connection ended without the notice of TLS (close_notify)";
                    return Err(io::Error::new(e.kind(), what));
                }
                Err(e) => return Err(e),
            }
            if self.start == self.end {
                // What is here is given out before more is asked for.
                break;
            }
        }
        Ok((filled > 0).then_some(filled))
    }

    /// As [`super::super::Stream::try_write`].
    pub(in super::super) fn try_write(
        &mut self,
        socket: &TcpStream,
        data: &[u8],
    ) -> io::Result<Option<usize>> {
        if self.connection.is_handshaking() {
            self.pump(socket)?;
        }
        self.flush(socket)?;
        if self.connection.is_handshaking() || self.connection.wants_write() {
            return Ok(None);
        }
        let count = data.len().min(OUTBOX);
        self.connection.writer().write_all(&data[..count])?;
        self.flush(socket)?;
        Ok(Some(count))
    }

    /// Gives to the socket what it takes.
    pub(in super::super) fn flush(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The end of what we send is put behind it.
    pub(in super::super) fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// The peer has ended in good order; it gets our end, if there is room.
    fn say_goodbye(&mut self, socket: &TcpStream) {
        self.connection.send_close_notify();
        if let Err(e) = self.flush(socket) {
            log::trace!("close_notify: {e}");
        }
    }
}

/// For the person who wants to know why there is no TLS.
fn in_words(error: &Error) -> String {
    const OLD: &str = "the server speaks no TLS that is safe today (1.2 or 1.3): old boxes know only TLS 1.0 or 1.1, or RSA key exchange";
    match error {
        Error::AlertReceived(
            alert @ (AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity),
        ) => format!("{OLD} (alert {alert:?}); without encryption: ftp:// and -o tls=off"),
        Error::PeerIncompatible(why) => {
            format!("{OLD} ({why:?}); without encryption: ftp:// and -o tls=off")
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a certificate of the client: -o cert=FILE,key=FILE".to_owned()
        }
        Error::InvalidMessage(why) => {
            format!(
                "what came is no TLS ({why:?}); is this the right port, and the right kind of URL?"
            )
        }
        other => format!("TLS: {other}"),
    }
}
