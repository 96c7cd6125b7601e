//! One end of a relayed connection: a socket that never blocks, and what is still to be sent to it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ProtocolVersion, ServerConfig};
use socket2::{Domain, SockRef, Socket, Type};

use super::rule::Rule;
use super::tls::Layer;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// In good order, as if all had been said. Under TLS only the socket ends so, and nobody has said that this is
    /// the end (no close_notify): anybody on the way can do that.
    Fin,
    /// As `Fin`; under TLS with close_notify, as only the server itself can end it.
    Close,
    /// Torn.
    Rst,
}

/// Bytes that wait for one end before no more are read from the other.
pub(super) const ROOM: usize = 64 << 10;

const CONNECT: Duration = Duration::from_secs(5);

/// A connection from an address of ours.
pub(super) fn connect(own: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(own, 0).into())?;
    socket.connect_timeout(&server.into(), CONNECT)?;
    Ok(socket.into())
}

pub(super) struct End {
    stream: TcpStream,
    tls: Option<Box<Layer>>,
    out: Vec<u8>,
    /// Bytes of `out` that have been sent.
    sent: usize,
    /// Between one byte and the next.
    drip: Option<Duration>,
    next_drop: Instant,
    /// FIN follows the last byte of `out`.
    finishing: bool,
    finished: bool,
    /// The peer has ended its side.
    pub(super) eof: bool,
}

impl End {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            tls: None,
            out: Vec::new(),
            sent: 0,
            drip: None,
            next_drop: Instant::now(),
            finishing: false,
            finished: false,
            eof: false,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What comes from here on is encrypted, and what goes behind that which waits.
    pub(super) fn start_tls(
        &mut self,
        config: &Arc<ServerConfig>,
        rules: &[Arc<Rule>],
    ) -> io::Result<()> {
        self.tls = Some(Box::new(Layer::new(config, self.waiting(), rules)?));
        Ok(())
    }

    /// How the handshake is to be cut now.
    pub(super) fn handshake_cut(&self) -> Option<(How, &Rule)> {
        self.tls.as_ref().and_then(|tls| tls.cut())
    }

    /// Nobody looks at what comes.
    pub(super) fn is_stalled(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_stalled())
    }

    /// The version of TLS, once it is agreed on.
    pub(super) fn version(&self) -> Option<ProtocolVersion> {
        self.tls.as_ref().and_then(|tls| tls.version())
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Encrypted without going on with an earlier session.
    pub(super) fn is_a_stranger(&self) -> bool {
        let mut tls = self.tls.iter();
        tls.any(|tls| !tls.is_handshaking() && !tls.is_resumed())
    }

    /// The peer has ended its side, though it may have said something before.
    pub(super) fn has_left(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Something has come from the peer that nobody has read, be it the end.
    pub(super) fn has_news(&mut self) -> bool {
        if self.tls.as_mut().is_some_and(|tls| tls.has_plaintext()) {
            return true;
        }
        let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// The peer has ended its side, and said nothing before.
    pub(super) fn has_left_silently(&self) -> bool {
        match self.stream.peek(&mut [0]) {
            Ok(count) => count == 0,
            Err(e) => e.kind() != ErrorKind::WouldBlock,
        }
    }

    /// From now on byte by byte.
    pub(super) fn drip(&mut self, every: Duration) {
        self.drip = Some(every);
    }

    pub(super) fn drip_no_more(&mut self) {
        self.drip = None;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Bytes not sent yet. Under TLS not zero before the handshake is done.
    pub(super) fn waiting(&self) -> usize {
        let unsent = self
            .tls
            .as_ref()
            .is_some_and(|tls| tls.is_handshaking() || tls.wants_write());
        self.out.len() - self.sent + usize::from(unsent)
    }

    /// FIN after what waits.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    /// FIN has been sent.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Gets the handshake further.
    pub(super) fn shake_hands(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.shake_hands(&self.stream),
            None => Ok(()),
        }
    }

    /// Reads what has come: `None` for nothing yet, 0 for the end.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        if let Some(tls) = &mut self.tls {
            let found = tls.read(&self.stream, buf);
            let is_end = |e: &io::Error| e.kind() == ErrorKind::UnexpectedEof;
            self.eof |= matches!(found, Ok(Some(0))) || found.as_ref().is_err_and(is_end);
            return found;
        }
        loop {
            match self.stream.read(buf) {
                Ok(0) => {
                    self.eof = true;
                    return Ok(Some(0));
                }
                Ok(count) => return Ok(Some(count)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends what the socket takes, and the FIN behind it. Returns the bytes sent.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        let mut total = 0;
        if let Some(tls) = self.tls.as_mut().filter(|tls| tls.clear == 0) {
            tls.flush(&self.stream)?;
        }
        while self.sent < self.out.len() {
            let end = match self.drip {
                Some(_) if Instant::now() < self.next_drop => break,
                Some(_) => self.sent + 1,
                None => self.out.len(),
            };
            match self.give(end) {
                Ok(None) => break,
                Ok(Some(count)) => {
                    self.sent += count;
                    total += count;
                    if let Some(every) = self.drip {
                        self.next_drop = Instant::now() + every;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            if self.finishing && !self.finished && self.waiting() == 0 {
                if let Some(tls) = &mut self.tls
                    && !tls.say_goodbye(&self.stream)?
                {
                    return Ok(total);
                }
                self.finished = true;
                self.stream.shutdown(std::net::Shutdown::Write)?;
            }
        }
        Ok(total)
    }

    /// Gives bytes up to `end` of `out` to the socket, or to TLS. `None` when nothing can be taken now.
    fn give(&mut self, end: usize) -> io::Result<Option<usize>> {
        match &mut self.tls {
            Some(tls) if tls.clear == 0 => tls.write(&self.stream, &self.out[self.sent..end]),
            tls => {
                let clear = tls
                    .as_ref()
                    .map_or(end, |tls| end.min(self.sent + tls.clear));
                let count = self.stream.write(&self.out[self.sent..clear])?;
                if let Some(tls) = tls {
                    tls.clear -= count;
                }
                Ok(Some(count))
            }
        }
    }

    /// There are bytes that nothing but the socket, or the next drop, waits for.
    fn may_give(&self) -> bool {
        let tls = self.tls.as_deref();
        let shaking = tls.is_some_and(|tls| tls.clear == 0 && tls.is_handshaking());
        self.sent < self.out.len() && !shaking
    }

    /// Whether to wait until the socket takes more.
    pub(super) fn wants_to_write(&self) -> bool {
        let mut tls = self.tls.iter().filter(|tls| tls.clear == 0);
        let drop_falls = self.drip.is_none() || Instant::now() >= self.next_drop;
        tls.any(|tls| tls.wants_write()) || self.may_give() && drop_falls
    }

    /// When the next drop falls.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        (self.drip.is_some() && self.may_give()).then_some(self.next_drop)
    }

    /// Ends the connection with the next drop of this; what waits is lost.
    pub(super) fn end(&mut self, how: How) {
        if let (How::Close, Some(tls)) = (how, &mut self.tls) {
            // As far as the socket takes it, and only if there is anybody to hear it.
            _ = tls.say_goodbye(&self.stream);
        }
        match how {
            How::Fin | How::Close => {
                // Unread bytes would turn the FIN into an RST. The peer may be gone: so much the better.
                let mut rest = [0; 4096];
                for _ in 0..256 {
                    match self.stream.read(&mut rest) {
                        Ok(1..) => {}
                        _ => break,
                    }
                }
                _ = self.stream.shutdown(std::net::Shutdown::Write);
            }
            How::Rst => {
                _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
            }
        }
    }
}
