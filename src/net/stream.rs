//! `Stream`: one connection, read and written with deadlines.
//!
//! The socket is non-blocking; waiting is `poll`. This is the one type that a plain and a TLS
//! connection share.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
#[cfg(target_os = "linux")]
use rustix::fs::sendfile;
use socket2::{SockRef, TcpKeepalive};

use super::route::Way;
use super::tls::{Established, Link, TlsContext};
use super::{Deadline, FileFailed};

/// The kernel counts it as an `int` of milliseconds.
#[cfg(target_os = "linux")]
const LONGEST_SILENCE: Duration = Duration::from_millis(i32::MAX as u64);

/// Bytes of a file that the kernel does not take from its cache.
const READ_AT_A_TIME: usize = 64 << 10;

/// Which way bytes are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the peer to us.
    Read,
    /// From us to the peer.
    Write,
}

/// What a look at a connection shows, without waiting and without taking anything from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Open, and nothing has come.
    Quiet,
    /// Bytes wait to be read.
    Readable,
    /// The peer has closed it, or it failed.
    Closed,
}

/// Which of two connections became ready.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// The first one, in the direction asked for, or failed.
    pub first: bool,
    /// The second one can be read, or failed.
    pub second: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    peer: SocketAddr,
    way: Way,
    /// Locked by nobody else: a look at the connection may have to take in records of the protocol.
    tls: Option<Box<Mutex<Link>>>,
}

impl Stream {
    /// Takes a connected, non-blocking socket. `silence` is how long the kernel may get no sign of
    /// life from the peer before it gives the connection up.
    pub(super) fn new(socket: TcpStream, peer: SocketAddr, silence: Duration) -> io::Result<Self> {
        let options = SockRef::from(&socket);
        options.set_tcp_nodelay(true)?;
        #[cfg(target_os = "linux")]
        options.set_tcp_user_timeout(Some(silence.min(LONGEST_SILENCE)))?;
        #[cfg(not(target_os = "linux"))]
        log::trace!(
            "the kernel itself decides when {peer} has been silent for longer than {silence:?}"
        );
        // The first keep-alive goes out before the usual NAT box forgets the connection.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(45))
            .with_interval(Duration::from_secs(15))
            .with_retries(3);
        options.set_tcp_keepalive(&keepalive)?;
        Ok(Self {
            socket,
            peer,
            way: Way::default(),
            tls: None,
        })
    }

    /// It was made by this way.
    pub(super) fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }

    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// The peer is a proxy; who is behind it, it alone knows.
    pub fn is_through_proxy(&self) -> bool {
        self.way.asked_for().is_some()
    }

    /// The address at the other end of the socket: the proxy's, if there is one.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address at this end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// From here on all bytes go through TLS. Sends the first of them and does not wait. What the socket says to
    /// that is told by the handshake: a server that refuses a transfer may have ended the connection already, and
    /// gives its reason elsewhere.
    ///
    /// # Errors
    /// TLS cannot be begun.
    pub fn start_tls(&mut self, context: &TlsContext) -> io::Result<()> {
        let mut link = Link::new(context)?;
        if let Err(e) = link.flush(&self.socket) {
            log::debug!("{}: the first bytes of TLS do not leave: {e}", self.peer);
        }
        self.tls = Some(Box::new(Mutex::new(link)));
        Ok(())
    }

    /// Gets the handshake further, without waiting. `true` when it is over, or there was none.
    ///
    /// # Errors
    /// What the socket says; `InvalidData` with the reason if there can be no TLS.
    pub fn try_handshake(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return Ok(true);
        };
        let link = tls.get_mut();
        if !link.is_handshaking() {
            return Ok(true);
        }
        let ended = link.pump(&self.socket)?;
        if !link.is_handshaking() {
            return Ok(true);
        }
        if ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(false)
    }

    /// Waits for the end of the handshake.
    ///
    /// # Errors
    /// As [`Stream::try_handshake`]; [`TimedOut`](super::TimedOut).
    pub fn handshake(&mut self, deadline: &Deadline) -> io::Result<()> {
        while !self.try_handshake()? {
            self.wait(Direction::Read, deadline)?;
        }
        Ok(())
    }

    /// What the handshake came to; `None` before its end, and without TLS.
    pub fn established(&self) -> Option<Established> {
        self.tls.as_ref().and_then(|tls| tls.lock().established())
    }

    /// Bytes go through TLS.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads what has come, at least one byte; 0 is the end of the stream.
    ///
    /// # Errors
    /// What the socket says; [`TimedOut`](super::TimedOut) when nothing came in time.
    pub fn read(&mut self, buf: &mut [u8], deadline: &Deadline) -> io::Result<usize> {
        loop {
            match self.try_read(buf)? {
                Some(count) => return Ok(count),
                None => self.wait(Direction::Read, deadline)?,
            }
        }
    }

    /// Reads what has come without waiting; `None` if nothing has.
    ///
    /// # Errors
    /// What the socket says.
    pub fn try_read(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match &mut self.tls {
            Some(tls) => tls.get_mut().try_read(&self.socket, buf),
            None => without_waiting(|| (&self.socket).read(buf)),
        }
    }

    /// Gives bytes to the kernel, at least one.
    ///
    /// # Errors
    /// What the socket says; [`TimedOut`](super::TimedOut) when no room came in time.
    pub fn write(&mut self, data: &[u8], deadline: &Deadline) -> io::Result<usize> {
        loop {
            match self.try_write(data)? {
                Some(count) => return Ok(count),
                None => self.wait(Direction::Write, deadline)?,
            }
        }
    }

    /// Gives bytes to the kernel without waiting; `None` if it has no room.
    ///
    /// # Errors
    /// What the socket says.
    pub fn try_write(&mut self, data: &[u8]) -> io::Result<Option<usize>> {
        let count = match &mut self.tls {
            Some(tls) => tls.get_mut().try_write(&self.socket, data)?,
            None => without_waiting(|| (&self.socket).write(data))?,
        };
        if count == Some(0) && !data.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(count)
    }

    /// Whether the kernel may take bytes from its cache of a file: not for TLS.
    pub fn takes_files(&self) -> bool {
        cfg!(target_os = "linux") && self.tls.is_none()
    }

    /// Gives bytes of a file to the kernel, without waiting; `None` if it has no room, 0 at the end of the file.
    ///
    /// # Errors
    /// What the socket or the file says.
    pub fn try_send_file(
        &mut self,
        file: &File,
        offset: u64,
        count: usize,
    ) -> io::Result<Option<usize>> {
        #[cfg(target_os = "linux")]
        if self.takes_files() {
            let attempt = || Ok(sendfile(&self.socket, file, Some(&mut { offset }), count)?);
            match without_waiting(attempt) {
                // Not for files of this file system; or reading it fails, and then tells so itself.
                Err(e)
                    if matches!(
                        e.raw_os_error(),
                        Some(libc::EINVAL | libc::ENOSYS | libc::EIO)
                    ) => {}
                sent => return sent,
            }
        }
        let mut bytes = vec![0; count.min(READ_AT_A_TIME)];
        match file.read_at(&mut bytes, offset).map_err(FileFailed::of)? {
            0 => Ok(Some(0)),
            read => self.try_write(&bytes[..read]),
        }
    }

    /// Gives all of `data` to the kernel.
    ///
    /// # Errors
    /// What the socket says; [`TimedOut`](super::TimedOut).
    pub fn write_all(&mut self, mut data: &[u8], deadline: &Deadline) -> io::Result<()> {
        while !data.is_empty() {
            let count = self.write(data, deadline)?;
            data = &data[count..];
        }
        Ok(())
    }

    /// As [`Stream::write_all`], and each piece that fits into a segment leaves in one, which ends with it: what
    /// the peer reads at a time ends where a piece ends, as long as it can hold all that is on its way.
    ///
    /// # Errors
    /// As [`Stream::write_all`].
    pub fn write_pieces<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        deadline: &Deadline,
    ) -> io::Result<()> {
        if self.tls.is_some() {
            // A record is one piece for the peer, however it is cut on the way.
            for piece in pieces {
                self.write_all(piece, deadline)?;
            }
            return self.flush(deadline);
        }
        for mut piece in pieces {
            while !piece.is_empty() {
                // The kernel puts nothing behind the end of such a record.
                let sent = without_waiting(|| {
                    SockRef::from(&self.socket)
                        .send_with_flags(piece, libc::MSG_EOR | libc::MSG_NOSIGNAL)
                })?;
                match sent {
                    Some(count) => piece = &piece[count..],
                    None => self.wait(Direction::Write, deadline)?,
                }
            }
        }
        Ok(())
    }

    /// Bytes that fit into one segment.
    pub fn segment(&self) -> usize {
        // RFC 9293 section 3.7.1: the least that any host takes.
        const LEAST: usize = 536;
        let told = SockRef::from(&self.socket).tcp_mss();
        told.map_or(LEAST, |bytes| bytes as usize)
    }

    /// Waits until bytes can go in `direction`, or the connection has failed.
    ///
    /// # Errors
    /// [`TimedOut`](super::TimedOut).
    pub fn wait(&self, direction: Direction, deadline: &Deadline) -> io::Result<()> {
        if self.is_ready(direction) {
            return Ok(());
        }
        wait_for(&mut [self.poll_fd(direction)], deadline)
    }

    /// Something was taken from the socket before, and can be read now.
    pub(super) fn is_ready(&self, direction: Direction) -> bool {
        direction == Direction::Read && self.tls.as_ref().is_some_and(|tls| tls.lock().is_ready())
    }

    /// What has to happen to the socket.
    pub(super) fn poll_fd(&self, direction: Direction) -> PollFd<'_> {
        let mut wanted = flags(direction);
        if let Some(tls) = &self.tls {
            let link = tls.lock();
            if link.wants_write() {
                wanted |= PollFlags::OUT;
            }
            if link.is_handshaking() {
                wanted = (wanted - PollFlags::OUT) | PollFlags::IN;
                if link.wants_write() {
                    wanted |= PollFlags::OUT;
                }
            }
        }
        PollFd::from_borrowed_fd(self.fd(), wanted)
    }

    /// Waits until what was written is with the kernel.
    fn flush(&mut self, deadline: &Deadline) -> io::Result<()> {
        while let Some(tls) = &mut self.tls {
            let link = tls.get_mut();
            link.flush(&self.socket)?;
            if !link.wants_write() {
                break;
            }
            wait_for(&mut [PollFd::new(&self.socket, PollFlags::OUT)], deadline)?;
        }
        Ok(())
    }

    /// Lets the kernel acknowledge at once what comes next. Servers that write a reply in two
    /// small segments (inetutils, libunftp, uftpd) else stall 40 ms each time. The kernel forgets
    /// it, so it is said again before every read of a control connection.
    pub fn acknowledge_at_once(&self) {
        // Only speed is lost where the kernel refuses, or has no such thing.
        #[cfg(target_os = "linux")]
        if let Err(e) = SockRef::from(&self.socket).set_tcp_quickack(true) {
            log::trace!("TCP_QUICKACK: {e}");
        }
    }

    /// Says that no more bytes will come from us: close_notify under TLS, then FIN.
    ///
    /// # Errors
    /// What the socket says; [`TimedOut`](super::TimedOut) while bytes wait for room.
    pub fn shutdown_write(&mut self, deadline: &Deadline) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.get_mut().close();
            self.flush(deadline)?;
        }
        self.socket.shutdown(Shutdown::Write)
    }

    /// Takes what the peer still said, without waiting. Closed with unread bytes, the kernel would send RST,
    /// and the peer lose what is on its way.
    pub fn drain(&mut self) {
        // An upload's connection brings tickets and an end; whoever sends more is not waited for.
        const MOST_READS: usize = 16;
        let mut rest = [0; 4096];
        for _ in 0..MOST_READS {
            if !matches!(self.try_read(&mut rest), Ok(Some(1..))) {
                return;
            }
        }
    }

    /// Ends the connection with RST: the peer learns that what it got is not whole.
    pub fn abort(self) {
        // Where it fails the connection is already gone.
        if let Err(e) = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)) {
            log::debug!("cannot reset the connection to {}: {e}", self.peer);
        }
    }

    /// A look at the connection, without waiting and without taking anything from it.
    pub fn probe(&self) -> Probe {
        if let Some(tls) = &self.tls {
            let mut link = tls.lock();
            // Records of the protocol itself (new tickets) are nothing that anybody said.
            return match link.pump(&self.socket) {
                Ok(false) => Probe::Quiet,
                Ok(true) if link.has_bytes() => Probe::Readable,
                Ok(true) | Err(_) => Probe::Closed,
            };
        }
        match without_waiting(|| self.socket.peek(&mut [0])) {
            Ok(None) => Probe::Quiet,
            Ok(Some(1..)) => Probe::Readable,
            Ok(Some(0)) | Err(_) => Probe::Closed,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Waits until `first` can go on in `direction` or `second` can be read.
///
/// # Errors
/// [`TimedOut`](super::TimedOut).
pub fn wait_either(
    first: &Stream,
    direction: Direction,
    second: &Stream,
    deadline: &Deadline,
) -> io::Result<Ready> {
    let ready = Ready {
        first: first.is_ready(direction),
        second: second.is_ready(Direction::Read),
    };
    if ready.first || ready.second {
        return Ok(ready);
    }
    let mut both = [first.poll_fd(direction), second.poll_fd(Direction::Read)];
    wait_for(&mut both, deadline)?;
    Ok(Ready {
        first: !both[0].revents().is_empty(),
        second: !both[1].revents().is_empty(),
    })
}

fn flags(direction: Direction) -> PollFlags {
    match direction {
        Direction::Read => PollFlags::IN,
        Direction::Write => PollFlags::OUT,
    }
}

/// Whether something can be written now, or the socket has failed.
pub(super) fn is_writable(socket: &TcpStream) -> io::Result<bool> {
    let mut one = [PollFd::new(socket, PollFlags::OUT)];
    Ok(poll(&mut one, Some(&Timespec::default()))? > 0)
}

pub(super) fn wait_for(sockets: &mut [PollFd<'_>], deadline: &Deadline) -> io::Result<()> {
    loop {
        let left = deadline.remaining()?;
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(sockets, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

pub(super) fn without_waiting(
    mut attempt: impl FnMut() -> io::Result<usize>,
) -> io::Result<Option<usize>> {
    loop {
        match attempt() {
            Ok(count) => return Ok(Some(count)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
