//! `Route`: from where on this machine connections leave, and through whom they go.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use socket2::Socket;

use super::connect::in_turn;
use super::{AddressFamily, Connecting, Deadline, Proxy, Stream, TimedOut, connect, resolve};

/// By which way connections are made.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// From here, if not from where the system's routes say.
    pub origin: Option<Origin>,
    /// Through this machine, which resolves names, too.
    pub proxy: Option<Arc<Proxy>>,
}

impl Route {
    /// A connection to a host (a name, or a literal without brackets). Its addresses are tried in turn; together
    /// they have until `deadline`. `silence` as in [`Connecting::start`](super::Connecting::start).
    ///
    /// # Errors
    /// What the resolver says; the failure of the last address; [`TimedOut`](super::TimedOut).
    pub fn reach(
        &self,
        (host, port): (&str, u16),
        family: AddressFamily,
        silence: Duration,
        deadline: &Deadline,
    ) -> io::Result<Stream> {
        if let Some(proxy) = &self.proxy {
            let addresses = resolve(&proxy.host, proxy.port, family, deadline).map_err(|e| {
                match TimedOut::from_io(&e) {
                    Some(_) => e,
                    None => io::Error::new(e.kind(), format!("the proxy {proxy}: {e}")),
                }
            })?;
            return in_turn(&addresses, deadline, |address| {
                Connecting::through(address, self, (host, port), silence)
            });
        }
        let addresses = resolve(host, port, family, deadline)?;
        connect(&addresses, self, silence, deadline)
    }

    /// Before the connection of `socket` to `peer`.
    pub(super) fn prepare(&self, socket: &Socket, peer: SocketAddr) -> io::Result<()> {
        match &self.origin {
            Some(origin) => origin.bind(socket, peer),
            None => Ok(()),
        }
    }
}

/// By which way a connection was made, for further ones to the same machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Way {
    pub(super) route: Route,
    /// What the proxy was asked for.
    host: Option<Arc<str>>,
}

impl Way {
    /// Without a proxy.
    pub(super) fn straight(route: &Route) -> Self {
        let proxy = None;
        let origin = route.origin.clone();
        let route = Route { origin, proxy };
        Self { route, host: None }
    }

    pub(super) fn through(route: &Route, host: &str) -> Self {
        Self {
            route: route.clone(),
            host: Some(host.into()),
        }
    }

    /// The host that the proxy was asked for, if there is one.
    pub(super) fn asked_for(&self) -> Option<&str> {
        self.host.as_deref().filter(|_| self.route.proxy.is_some())
    }
}

/// A place of this machine that connections leave from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// With this address.
    Address(IpAddr),
    /// By this network interface.
    Interface(String),
}

impl Origin {
    /// An address of this machine, or the name of one of its interfaces.
    ///
    /// # Errors
    /// It is neither.
    pub fn find(text: &str) -> io::Result<Self> {
        let Ok(address) = text.parse::<IpAddr>() else {
            if_nametoindex(text)?;
            return Ok(Self::Interface(text.to_owned()));
        };
        if address.is_unspecified() || address.is_multicast() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        UdpSocket::bind((address, 0))?;
        Ok(Self::Address(address))
    }

    fn bind(&self, socket: &Socket, peer: SocketAddr) -> io::Result<()> {
        let address = match self {
            Self::Address(address) => *address,
            Self::Interface(name) => match tie(socket, name) {
                // Its address does as well where routes go by the source.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    address_of(name, peer)?.ok_or_else(|| self.has_none(peer))?
                }
                bound => {
                    return bound.map_err(|e| io::Error::new(e.kind(), format!("{self}: {e}")));
                }
            },
        };
        if address.is_ipv4() != peer.is_ipv4() {
            return Err(self.has_none(peer));
        }
        socket
            .bind(&SocketAddr::new(address, 0).into())
            .map_err(|e| io::Error::new(e.kind(), format!("{self}: {e}")))
    }

    fn has_none(&self, peer: SocketAddr) -> io::Error {
        let family = if peer.is_ipv4() { "IPv4" } else { "IPv6" };
        let kind = io::ErrorKind::AddrNotAvailable;
        io::Error::new(kind, format!("{self} is no way to an {family} address"))
    }
}

/// As it is typed.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "interface={address}"),
            Self::Interface(name) => write!(f, "interface={name}"),
        }
    }
}

/// Ties a socket to an interface, whatever the routes say. Before Linux 5.7 that is for root, and elsewhere for nobody.
#[cfg(target_os = "linux")]
fn tie(socket: &Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn tie(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::PermissionDenied.into())
}

/// The address of an interface, of the family of `peer`. It is looked up each time: leases end.
fn address_of(interface: &str, peer: SocketAddr) -> io::Result<Option<IpAddr>> {
    let mut all = getifaddrs()?
        .filter(|one| one.interface_name == interface)
        .filter_map(|one| {
            let address = one.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .filter(|address| address.is_ipv4() == peer.is_ipv4())
        .collect::<Vec<_>>();
    // Nobody far away can answer to one of a link.
    all.sort_by_key(|address| matches!(address, IpAddr::V6(a) if a.is_unicast_link_local()));
    Ok(all.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_interfaces_of_this_machine() {
        for (text, found) in [
            ("127.0.0.1", Some(Origin::Address([127, 0, 0, 1].into()))),
            ("127.9.8.7", Some(Origin::Address([127, 9, 8, 7].into()))),
            ("::1", Some(Origin::Address("::1".parse().unwrap()))),
            ("lo", Some(Origin::Interface("lo".into()))),
            // RFC 5737: nobody has these.
            ("192.0.2.1", None),
            ("0.0.0.0", None),
            ("224.0.0.1", None),
            ("no-such-device", None),
            ("", None),
            ("lo\0", None),
            ("a name that is longer than any interface's", None),
        ] {
            assert_eq!(Origin::find(text).ok(), found, "{text:?}");
        }
    }

    #[test]
    fn an_interface_has_an_address_of_each_family() {
        for (peer, own) in [("192.0.2.1:21", "127.0.0.1"), ("[2001:db8::1]:21", "::1")] {
            let found = address_of("lo", peer.parse().unwrap()).unwrap();
            assert_eq!(found, Some(own.parse().unwrap()));
        }
        let none = address_of("no-such-device", "192.0.2.1:21".parse().unwrap());
        assert_eq!(none.unwrap(), None);
    }

    #[test]
    fn an_address_of_the_other_family_is_no_way() {
        let origin = Some(Origin::Address([127, 0, 0, 1].into()));
        let deadline = Deadline::after(Duration::from_secs(10), "the test");
        let six = ["[::1]:1".parse().unwrap()];
        let error = connect(
            &six,
            &Route {
                origin,
                proxy: None,
            },
            Duration::from_secs(1),
            &deadline,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "interface=127.0.0.1 is no way to an IPv6 address"
        );
    }
}
