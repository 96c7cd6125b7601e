//! One end of a relayed connection: a socket that never blocks, and what is still to be sent to it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// In good order, as if all had been said.
    Fin,
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

    /// Bytes not sent yet.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// FIN after what waits.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    /// FIN has been sent.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Reads what has come: `None` for nothing yet, 0 for the end.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
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
        while self.waiting() > 0 {
            let end = match self.drip {
                Some(_) if Instant::now() < self.next_drop => break,
                Some(_) => self.sent + 1,
                None => self.out.len(),
            };
            match self.stream.write(&self.out[self.sent..end]) {
                Ok(count) => {
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
            if self.finishing && !self.finished {
                self.finished = true;
                self.stream.shutdown(std::net::Shutdown::Write)?;
            }
        }
        Ok(total)
    }

    /// Whether to wait until the socket takes more.
    pub(super) fn wants_to_write(&self) -> bool {
        self.waiting() > 0 && (self.drip.is_none() || Instant::now() >= self.next_drop)
    }

    /// When the next drop falls.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        (self.drip.is_some() && self.waiting() > 0).then_some(self.next_drop)
    }

    /// Ends the connection with the next drop of this; what waits is lost.
    pub(super) fn end(&mut self, how: How) {
        match how {
            How::Fin => {
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
