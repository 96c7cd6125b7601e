//! `Listener`: a port of ours on which one peer, and nobody else, may open one connection.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::stream::wait_for;
use super::{Deadline, Direction, Stream};

/// Connections that wait to be looked at; strangers among them are closed.
const BACKLOG: i32 = 4;

/// So many strangers are closed before somebody looks at the time again.
const STRANGERS: usize = 16;

/// Where in its range the next listener begins to look for a port: one that was just used comes last, for its
/// last connection may still be remembered at the other end.
static TURN: AtomicU16 = AtomicU16::new(0);

/// A port that waits for one connection.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    peer: IpAddr,
    silence: Duration,
}

impl Listener {
    /// Listens on the address of `at` (its port does not matter), on a free port of `ports`, or any. Only `peer` may
    /// connect. `silence` as in [`Connecting::start`](super::Connecting::start).
    ///
    /// # Errors
    /// `AddrNotAvailable` if the address is not one of this machine; `AddrInUse` if all ports of the range are
    /// taken; what else the system says.
    pub fn open(
        at: SocketAddr,
        ports: Option<&RangeInclusive<u16>>,
        peer: IpAddr,
        silence: Duration,
    ) -> io::Result<Self> {
        let socket = match ports {
            None => listen(at, 0)?,
            Some(ports) => listen_within(at, ports)?,
        };
        Ok(Self {
            socket,
            peer: peer.to_canonical(),
            silence,
        })
    }

    /// The port.
    ///
    /// # Errors
    /// What the system says.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Nobody has connected. Does not wait.
    pub fn is_quiet(&self) -> bool {
        let mut one = [PollFd::new(&self.socket, PollFlags::IN)];
        matches!(poll(&mut one, Some(&Timespec::default())), Ok(0))
    }

    /// The connection, if it is there. Does not wait. Those of other peers are closed (RFC 2577 section 3).
    ///
    /// # Errors
    /// What the system says.
    pub fn try_accept(&self) -> io::Result<Option<Stream>> {
        for _ in 0..STRANGERS {
            match self.socket.accept() {
                Ok((socket, peer)) if peer.ip().to_canonical() == self.peer => {
                    socket.set_nonblocking(true)?;
                    return Stream::new(socket, peer, self.silence).map(Some);
                }
                Ok((_, stranger)) => log::warn!(
                    "a connection from {stranger} is refused: only {} was asked to connect",
                    self.peer
                ),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                // It came and went.
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Waits until somebody connects, or `beside` can be read.
    ///
    /// # Errors
    /// [`TimedOut`](super::TimedOut).
    pub fn wait(&self, beside: Option<&Stream>, deadline: &Deadline) -> io::Result<()> {
        if beside.is_some_and(|stream| stream.is_ready(Direction::Read)) {
            return Ok(());
        }
        let mut all = vec![PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        all.extend(beside.map(|stream| stream.poll_fd(Direction::Read)));
        wait_for(&mut all, deadline)
    }
}

fn listen(at: SocketAddr, port: u16) -> io::Result<TcpListener> {
    let mut at = at;
    at.set_port(port);
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    // The port may have had a connection a moment ago.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn listen_within(at: SocketAddr, ports: &RangeInclusive<u16>) -> io::Result<TcpListener> {
    let (first, last) = (*ports.start(), *ports.end());
    let count = u32::from(last.saturating_sub(first)) + 1;
    let turn = u32::from(TURN.fetch_add(1, Ordering::Relaxed));
    let in_turn = (0..count).map(|n| (turn + n) % count);
    for port in in_turn.filter_map(|n| first.checked_add(u16::try_from(n).ok()?)) {
        match listen(at, port) {
            Err(e) if e.kind() == ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
    }
    let what = format!("all ports from {first} to {last} are in use");
    Err(io::Error::new(ErrorKind::AddrInUse, what))
}

/// The addresses that a network interface has at present.
///
/// # Errors
/// `NotFound` if there is no such interface, or it has no address.
pub fn interface_addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    let all = nix::ifaddrs::getifaddrs()?.filter(|one| one.interface_name == name);
    let found: Vec<IpAddr> = all
        .filter_map(|one| {
            let address = one.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| Some(IpAddr::V6(address.as_sockaddr_in6()?.ip())))
        })
        .collect();
    if found.is_empty() {
        let what = format!("no network interface is called {name}, or it has no address");
        return Err(io::Error::new(ErrorKind::NotFound, what));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    const SILENCE: Duration = Duration::from_secs(30);

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10), "the test")
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_peer_is_let_in() {
        let at = address("127.0.0.1:0");
        let listener = Listener::open(at, None, "127.0.0.1".parse().unwrap(), SILENCE).unwrap();
        let there = SocketAddr::new(at.ip(), listener.port().unwrap());
        assert!(listener.try_accept().unwrap().is_none());
        let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        stranger.bind(&address("127.0.0.2:0").into()).unwrap();
        stranger.connect(&there.into()).unwrap();
        listener.wait(None, &soon()).unwrap();
        assert!(listener.try_accept().unwrap().is_none());
        let friend = TcpStream::connect(there).unwrap();
        listener.wait(None, &soon()).unwrap();
        let made = listener.try_accept().unwrap().unwrap();
        assert_eq!(made.peer(), friend.local_addr().unwrap());
    }

    #[test]
    fn a_range_is_kept_to_and_may_be_used_up() {
        let (at, peer) = (address("127.0.0.1:0"), "127.0.0.1".parse().unwrap());
        let ports = 27_610..=27_612;
        let open = || Listener::open(at, Some(&ports), peer, SILENCE);
        let all: Vec<_> = (0..3).map(|_| open().unwrap()).collect();
        let mut used: Vec<_> = all.iter().map(|one| one.port().unwrap()).collect();
        used.sort_unstable();
        assert_eq!(used, [27_610, 27_611, 27_612]);
        let error = open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        drop(all);
        open().unwrap();
    }

    #[test]
    fn addresses_of_others_and_of_interfaces() {
        let peer = "127.0.0.1".parse().unwrap();
        let error = Listener::open(address("203.0.113.9:0"), None, peer, SILENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        assert!(interface_addresses("lo").unwrap().contains(&peer));
        let error = interface_addresses("nowhere0").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
