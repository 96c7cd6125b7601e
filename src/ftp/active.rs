//! Active mode: the server opens the data connection, to where EPRT (RFC 2428) or PORT (RFC 959) tells it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::experience::Active;
use super::stored::{With, give_all};
use super::transfer::Begun;
use super::{Command, FtpError, Reply, ReplyClass, Session};
use crate::net::{Listener, Stream, interface_addresses};

/// How long a data connection is waited for that the server has used up, by its own words.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries to get a port.
const A_LITTLE: Duration = Duration::from_millis(10);

/// How the server is to open the data connections.
#[derive(Debug, Clone, Default)]
pub struct ActiveMode {
    /// The address that it is told.
    pub address: OwnAddress,
    /// The local ports for it; any without.
    pub ports: Option<RangeInclusive<u16>>,
}

/// An address of ours, as the server sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OwnAddress {
    /// That of the control connection.
    #[default]
    OfControl,
    /// This one. If it is not one of this machine, a box on the way has it and passes connections on to us.
    Literal(IpAddr),
    /// One that this network interface has at the time.
    Interface(String),
}

/// Where the server is to connect to.
struct Place {
    listener: Listener,
    told: SocketAddr,
}

/// What came of waiting for the server.
struct Arrival {
    data: Option<Stream>,
    first: Option<Reply>,
    last: Option<Reply>,
}

impl Session {
    /// A transfer command, up to where its data begins to flow. EPRT goes out in the same segment on servers that
    /// answer several commands of one and are known to connect no earlier than the transfer needs it.
    ///
    /// # Errors
    /// Refused, no connection in time, a lost session.
    pub(super) fn begin_actively(
        &mut self,
        mode: &ActiveMode,
        command: Command<'_>,
        offset: u64,
        with: With<'_>,
    ) -> Result<Begun, FtpError> {
        let verb = command.verb();
        let place = self.place(mode).map_err(|e| no_connection(verb, e))?;
        let in_order = self.experience().pipelining() == Some(true);
        let together = in_order && self.experience().connects_late() == Some(true);
        if !together {
            self.has_entered()?;
            self.announce(&place, verb)?;
        }
        let announcement = together.then(|| self.experience().active().command(place.told));
        let restarts = self.needs_restart(verb, offset);
        let rest = restarts.then_some(Command::Rest(offset));
        if in_order {
            let mut batch: Vec<_> = announcement.into_iter().collect();
            batch.extend(with.asked().into_iter().flatten());
            batch.extend(rest);
            batch.push(command);
            self.control_mut().send(&batch)?;
        } else {
            if restarts {
                self.restart(offset, verb)?;
            }
            self.control_mut().send(&[command])?;
        }
        if let Some(announcement) = announcement {
            self.is_announced(announcement.verb(), verb)?;
        }
        let told = match with {
            With::Check(_) if in_order => {
                let size = self.control_mut().reply("SIZE")?;
                Some((size, self.control_mut().reply("MDTM")?))
            }
            _ => None,
        };
        if in_order && restarts {
            let reply = self.control_mut().reply("REST")?;
            self.has_restarted(reply, offset, verb)?;
        }
        let arrival = self.wait_for_server(place, verb)?;
        let begun = self.go_on(arrival, verb, with, told);
        begun.map_err(|e| self.blame_tls13(e))
    }

    /// A port of ours, and what the server is to be told of it.
    fn place(&self, mode: &ActiveMode) -> io::Result<Place> {
        let local = self.control().stream().local()?;
        let named = own_address(&mode.address, local)?;
        let enough = Instant::now().checked_add(self.connect_timeout());
        let open = |at| loop {
            let peer = self.control().peer().ip();
            match Listener::open(at, mode.ports.as_ref(), peer, self.timeout()) {
                // Other transfers of ours have the ports of a narrow range, each until the server has connected.
                Err(e)
                    if e.kind() == io::ErrorKind::AddrInUse
                        && enough.is_some_and(|enough| Instant::now() < enough) =>
                {
                    std::thread::sleep(A_LITTLE);
                }
                outcome => return outcome,
            }
        };
        let listener = match open(named) {
            // Behind a NAT the server sees another address than we have.
            Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable && named != local => open(local),
            outcome => outcome,
        }?;
        let told = SocketAddr::new(named.ip().to_canonical(), listener.port()?);
        Ok(Place { listener, told })
    }

    /// Tells the server, and waits for its answer.
    fn announce(&mut self, place: &Place, verb: &'static str) -> Result<(), FtpError> {
        let mut how = self.experience().active();
        let mut reply = self.control_mut().exchange(how.command(place.told))?;
        // 500, 501, 502, 522: it never will. 4xx: not now, in either way.
        let for_good = reply.class() == ReplyClass::PermanentNegative;
        if how == Active::Eprt && for_good && place.told.is_ipv4() {
            let said = reply.to_string();
            how = Active::Port;
            reply = self.control_mut().exchange(how.command(place.told))?;
            if reply.is_completion() {
                log::debug!("EPRT refused ({said}): PORT from now on");
                self.experience().eprt_is_refused();
            }
        }
        if reply.is_completion() {
            // pyftpdlib connects at once, and answers later commands before this one.
            let late = place.listener.is_quiet();
            if self.experience().connects_late().is_none() || !late {
                self.experience().learn_connects_late(late);
            }
            return Ok(());
        }
        let told = how.command(place.told).verb();
        let source = io::Error::other(format!("{told} refused: {reply}"));
        Err(no_connection(verb, source))
    }

    /// The answers to what stands before the transfer command. Once they are in doubt, so is what the transfer
    /// moves, and where.
    fn is_announced(&mut self, told: &'static str, verb: &'static str) -> Result<(), FtpError> {
        if let Err(error) = self.has_entered() {
            self.mark_broken();
            return Err(error);
        }
        let reply = self.control_mut().reply(told)?;
        if reply.code() == 200 {
            return Ok(());
        }
        log::debug!("{told} answered by {reply}: it goes alone from now on");
        self.experience().learn_connects_late(false);
        self.mark_broken();
        Err(FtpError::Broken { verb })
    }

    /// Waits until the server has connected; what it says meanwhile may be why it does not.
    fn wait_for_server(&mut self, place: Place, verb: &'static str) -> Result<Arrival, FtpError> {
        let Place { listener, told } = place;
        let what = || format!("the server to connect to {told} for {verb} (active mode)");
        let mut deadline = self.control().deadline(self.connect_timeout(), what);
        let (mut first, mut last) = (None, None);
        loop {
            let accepted = listener.try_accept().inspect_err(|_| self.mark_broken());
            if let Some(data) = accepted.map_err(|e| no_connection(verb, e))? {
                return Ok(Arrival {
                    data: Some(data),
                    first: first.or_else(|| last.take()),
                    last,
                });
            }
            if last.is_none()
                && let Some(reply) = self.control_mut().try_reply(verb)?
            {
                if reply.is_negative() {
                    return Err(FtpError::Refused { verb, reply });
                }
                if reply.is_preliminary() {
                    first.get_or_insert(reply);
                } else {
                    // The connection may be as good as here, too.
                    last = Some(reply);
                    deadline = self.control().deadline(PATIENCE, what);
                }
                // One 1xx after the other is no reason to go on for ever.
                match deadline.remaining() {
                    Ok(_) => continue,
                    Err(e) => {
                        self.mark_broken();
                        return Err(no_connection(verb, e));
                    }
                }
            }
            let control = self.control().stream();
            control.acknowledge_at_once();
            let beside = last.is_none().then_some(control);
            if let Err(e) = listener.wait(beside, &deadline) {
                let needs_data = sends(verb) || self.tls().is_some();
                if let (None, Some(_), false) = (&first, &last, needs_data) {
                    // Done without data: an empty listing. Under TLS what was on the connection is known from it
                    // alone.
                    return Ok(Arrival {
                        data: None,
                        first: last,
                        last: None,
                    });
                }
                self.mark_broken();
                return Err(no_connection(verb, e));
            }
        }
    }

    fn go_on(
        &mut self,
        arrival: Arrival,
        verb: &'static str,
        with: With<'_>,
        told: Option<(Reply, Reply)>,
    ) -> Result<Begun, FtpError> {
        let Arrival { data, first, last } = arrival;
        let Some(mut data) = data else {
            let first = first.ok_or(FtpError::Broken { verb })?;
            return Ok(Begun {
                data,
                first,
                last,
                told,
            });
        };
        self.protect(&mut data, verb)?;
        let first = match first {
            Some(first) => first,
            None => self.reply_beside(&mut data, verb)?,
        };
        if first.is_negative() {
            return Err(FtpError::Refused { verb, reply: first });
        }
        let last = last.or_else(|| (!first.is_preliminary()).then(|| first.clone()));
        let last = self.shake_hands(&mut data, verb, last)?;
        if let With::All(all) = with {
            give_all(&mut data, all).map_err(|e| FtpError::from_data(verb, e))?;
        }
        Ok(Begun {
            data: Some(data),
            first,
            last,
            told,
        })
    }
}

impl Active {
    fn command(self, told: SocketAddr) -> Command<'static> {
        match (self, told) {
            (Active::Port, SocketAddr::V4(told)) => Command::Port(told),
            _ => Command::Eprt(told),
        }
    }
}

fn no_connection(verb: &'static str, source: io::Error) -> FtpError {
    FtpError::NoDataConnection { verb, source }
}

fn sends(verb: &str) -> bool {
    matches!(verb, "STOR" | "APPE")
}

/// The address that the server is told, of the family of the control connection; where it is that of the control
/// connection itself, `local` as it is.
fn own_address(wanted: &OwnAddress, local: SocketAddr) -> io::Result<SocketAddr> {
    let has = local.ip().to_canonical();
    let fits = |ip: &IpAddr| ip.is_ipv4() == has.is_ipv4();
    let found = match wanted {
        OwnAddress::OfControl => Some(has),
        OwnAddress::Literal(ip) => Some(ip.to_canonical()).filter(fits),
        OwnAddress::Interface(name) => {
            let all = interface_addresses(name)?;
            let first = all.iter().copied().find(fits);
            all.contains(&has).then_some(has).or(first)
        }
    };
    match found {
        Some(ip) if ip == has => Ok(local),
        Some(ip) => Ok(SocketAddr::new(ip, 0)),
        None => {
            let family = if has.is_ipv4() { "IPv4" } else { "IPv6" };
            let what =
                format!("the server is reached by {family}, and ftp_port names no such address");
            Err(io::Error::other(what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_is_told() {
        let local: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let literal = |text| OwnAddress::Literal(ip(text));
        let told = |wanted| own_address(&wanted, local).map(|at| at.ip()).ok();
        assert_eq!(own_address(&OwnAddress::OfControl, local).unwrap(), local);
        assert_eq!(told(literal("203.0.113.9")), Some(ip("203.0.113.9")));
        assert_eq!(told(literal("::ffff:203.0.113.9")), Some(ip("203.0.113.9")));
        assert_eq!(told(literal("2001:db8::1")), None);
        let interface = |name: &str| OwnAddress::Interface(name.into());
        assert_eq!(told(interface("lo")), Some(local.ip()));
        assert_eq!(told(interface("nowhere0")), None);
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:4000".parse().unwrap();
        assert_eq!(own_address(&literal("127.0.0.1"), mapped).unwrap(), mapped);
    }
}
