//! From a host name to a connection, within one budget.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::proxy::{Handshake, Refusal};
use super::route::Way;
use super::stream::{is_writable, wait_for};
use super::{AddressFamily, Deadline, Route, Stream};

/// `getaddrinfo` cannot be interrupted, so it runs on a thread that may outlive its caller's
/// patience. No more than this many are left behind.
const MAX_LOOKUPS: usize = 8;
static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// The addresses of `host` (a name, or a literal without brackets), in the resolver's order.
///
/// # Errors
/// What the resolver says; [`TimedOut`](super::TimedOut); no address of the wanted family.
pub fn resolve(
    host: &str,
    port: u16,
    family: AddressFamily,
    deadline: &Deadline,
) -> io::Result<Vec<SocketAddr>> {
    let all = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => look_up(host, port, deadline)?,
    };
    let wanted: Vec<_> = all
        .into_iter()
        .filter(|a| match family {
            AddressFamily::Any => true,
            AddressFamily::V4 => a.is_ipv4(),
            AddressFamily::V6 => a.is_ipv6(),
        })
        .collect();
    if wanted.is_empty() {
        let family = match family {
            AddressFamily::Any => "",
            AddressFamily::V4 => " IPv4",
            AddressFamily::V6 => " IPv6",
        };
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("the name has no{family} address"),
        ));
    }
    Ok(wanted)
}

fn look_up(host: &str, port: u16, deadline: &Deadline) -> io::Result<Vec<SocketAddr>> {
    if LOOKUPS.fetch_add(1, Ordering::Relaxed) >= MAX_LOOKUPS {
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
        return Err(io::Error::other("the name server does not answer"));
    }
    let (answer, answered) = mpsc::channel();
    let host = host.to_owned();
    let thread = std::thread::Builder::new()
        .name("ftpfs-resolve".into())
        .spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            LOOKUPS.fetch_sub(1, Ordering::Relaxed);
            // The asker may have gone: then nobody wants the answer.
            drop(answer.send(found.map(Iterator::collect)));
        });
    if let Err(e) = thread {
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
        return Err(e);
    }
    answered
        .recv_timeout(deadline.remaining()?)
        .map_err(|_| deadline.expired())?
}

/// Tries each address in turn, without a proxy; together they have until `deadline`. `silence` as in
/// [`Connecting::start`].
///
/// # Errors
/// The failure of the last address tried, with that address.
pub fn connect(
    addresses: &[SocketAddr],
    route: &Route,
    silence: Duration,
    deadline: &Deadline,
) -> io::Result<Stream> {
    in_turn(addresses, deadline, |address| {
        Connecting::start(address, route, silence)
    })
}

/// The first of these connections that can be made.
pub(super) fn in_turn(
    addresses: &[SocketAddr],
    deadline: &Deadline,
    start: impl Fn(SocketAddr) -> io::Result<Connecting>,
) -> io::Result<Stream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let attempt =
            start(*address).and_then(|connecting| connecting.finish(&deadline.share(left)));
        match attempt {
            Ok(stream) => return Ok(stream),
            // The same proxy would say the same at its other addresses.
            Err(e) if Refusal::is_in(&e) => return Err(e),
            Err(e) => {
                log::debug!("{address}: {e}");
                failure = e;
            }
        }
    }
    Err(failure)
}

/// A connection whose SYN is on its way, or whose proxy is being asked.
#[derive(Debug)]
pub struct Connecting {
    socket: TcpStream,
    peer: SocketAddr,
    way: Way,
    silence: Duration,
    /// The socket is connected.
    connected: bool,
    /// What the proxy is to be told then.
    handshake: Option<Box<Handshake>>,
}

impl Connecting {
    /// Sends the SYN to `peer`, without a proxy, and does not wait. `silence` is how long the kernel may get no sign of life
    /// from the peer of the later connection before it gives it up (`TCP_USER_TIMEOUT`).
    ///
    /// # Errors
    /// What the system says (no route, no descriptor left, …).
    pub fn start(peer: SocketAddr, route: &Route, silence: Duration) -> io::Result<Self> {
        Self::by(Way::straight(route), peer, silence)
    }

    /// Sends the SYN to the proxy of `route`, which has the address `peer`, and does not wait. The proxy will be
    /// asked for this host and port.
    ///
    /// # Errors
    /// As [`Connecting::start`]; the name of the host is too long.
    pub(super) fn through(
        peer: SocketAddr,
        route: &Route,
        (host, port): (&str, u16),
        silence: Duration,
    ) -> io::Result<Self> {
        let handshake = match &route.proxy {
            Some(proxy) => Some(Box::new(Handshake::new(Arc::clone(proxy), host, port)?)),
            None => None,
        };
        let connecting = Self::by(Way::through(route, host), peer, silence)?;
        Ok(Self {
            handshake,
            ..connecting
        })
    }

    fn by(way: Way, peer: SocketAddr, silence: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP))?;
        way.route.prepare(&socket, peer)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&peer.into()) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(e) => return Err(e),
        }
        Ok(Self {
            socket: socket.into(),
            peer,
            way,
            silence,
            connected: false,
            handshake: None,
        })
    }

    /// Sends the SYN of a further connection to another port of the machine that `first` leads to, or of the one
    /// with this address, by the same way: a proxy is asked for the name that `first` was asked for.
    ///
    /// # Errors
    /// As [`Connecting::start`].
    pub fn beside(
        first: &Stream,
        other: Option<IpAddr>,
        port: u16,
        silence: Duration,
    ) -> io::Result<Self> {
        let way = first.way();
        if let Some(host) = way.asked_for() {
            let other = other.map(|address| address.to_string());
            let host = other.as_deref().unwrap_or(host);
            return Self::through(first.peer(), &way.route, (host, port), silence);
        }
        let mut peer = other.map_or(first.peer(), |address| SocketAddr::new(address, port));
        peer.set_port(port);
        Self::start(peer, &way.route, silence)
    }

    /// The connection if it is made; itself if that is still under way. Does not wait.
    ///
    /// # Errors
    /// Refused, unreachable.
    pub fn try_finish(mut self) -> io::Result<Result<Stream, Self>> {
        if !self.advance()? {
            return Ok(Err(self));
        }
        self.made().map(Ok)
    }

    /// Waits for the connection.
    ///
    /// # Errors
    /// Refused, unreachable, [`TimedOut`](super::TimedOut).
    pub fn finish(mut self, deadline: &Deadline) -> io::Result<Stream> {
        let deadline = match &self.handshake {
            Some(handshake) => deadline.clone().waiting_for(handshake.goal()),
            None => deadline.clone(),
        };
        while !self.advance()? {
            wait_for(&mut [self.poll_fd()], &deadline)?;
        }
        self.made()
    }

    /// What has to happen to the socket.
    pub(super) fn poll_fd(&self) -> PollFd<'_> {
        let writes = self
            .handshake
            .as_ref()
            .is_none_or(|handshake| handshake.wants_write());
        let flags = match writes || !self.connected {
            true => PollFlags::OUT,
            false => PollFlags::IN,
        };
        PollFd::new(&self.socket, flags)
    }

    /// Gets it further without waiting; `true` when it is made.
    fn advance(&mut self) -> io::Result<bool> {
        if !self.connected {
            if !is_writable(&self.socket)? {
                return Ok(false);
            }
            if let Some(e) = self.socket.take_error()? {
                return Err(match &self.way.route.proxy {
                    Some(proxy) => io::Error::new(e.kind(), format!("the proxy {proxy}: {e}")),
                    None => e,
                });
            }
            self.connected = true;
        }
        match &mut self.handshake {
            Some(handshake) => handshake.advance(&self.socket),
            None => Ok(true),
        }
    }

    fn made(self) -> io::Result<Stream> {
        let stream = Stream::new(self.socket, self.peer, self.silence)?;
        Ok(stream.by(self.way))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Probe;
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10), "the test")
    }

    fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ours = connect(
            &[address],
            &Route::default(),
            Duration::from_secs(30),
            &soon(),
        )
        .unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[test]
    fn takes_the_next_address_when_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = refusing.local_addr().unwrap();
        drop(refusing);
        let addresses = [closed, listener.local_addr().unwrap()];
        let stream = connect(
            &addresses,
            &Route::default(),
            Duration::from_secs(30),
            &soon(),
        )
        .unwrap();
        assert_eq!(stream.peer(), addresses[1]);
        let error = connect(
            &addresses[..1],
            &Route::default(),
            Duration::from_secs(30),
            &soon(),
        )
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn literals_need_no_resolver_and_the_family_is_obeyed() {
        let found = resolve("::1", 21, AddressFamily::Any, &soon()).unwrap();
        assert_eq!(found, ["[::1]:21".parse().unwrap()]);
        let error = resolve("127.0.0.1", 21, AddressFamily::V6, &soon()).unwrap_err();
        assert_eq!(error.to_string(), "the name has no IPv6 address");
    }

    #[test]
    fn a_silent_peer_ends_with_the_reason() {
        let (mut ours, _theirs) = pair();
        let deadline = Deadline::after(Duration::from_millis(20), "the reply to NOOP");
        let error = ours.read(&mut [0; 8], &deadline).unwrap_err();
        assert_eq!(
            error.to_string(),
            "timed out after 0.0 s waiting for the reply to NOOP"
        );
    }

    #[test]
    fn a_probe_takes_nothing() {
        let (mut ours, mut theirs) = pair();
        assert_eq!(ours.probe(), Probe::Quiet);
        theirs.write_all(b"x").unwrap();
        ours.wait(super::super::Direction::Read, &soon()).unwrap();
        assert_eq!(ours.probe(), Probe::Readable);
        let mut byte = [0; 2];
        assert_eq!(ours.read(&mut byte, &soon()).unwrap(), 1);
        drop(theirs);
        ours.wait(super::super::Direction::Read, &soon()).unwrap();
        assert_eq!(ours.probe(), Probe::Closed);
    }

    #[test]
    fn abort_is_not_a_clean_end() {
        let (mut ours, mut theirs) = pair();
        ours.write_all(b"half", &soon()).unwrap();
        ours.abort();
        let mut all = Vec::new();
        let error = theirs.read_to_end(&mut all).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
