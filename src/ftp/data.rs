//! Asking for a data connection: EPSV (RFC 2428), else PASV (RFC 959).

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use super::control::ControlConnection;
use super::experience::Passive;
use super::{Command, FtpError, Reply, ReplyClass, Session};
use crate::net::{Connecting, Probe, Source, Stream};

/// A data connection, made or with its SYN on its way: the transfer command may already follow.
pub(super) struct DataConnection {
    link: Link,
    pub(super) how: Passive,
    /// Made before it was needed: the server may have given it up since.
    pub(super) early: bool,
}

enum Link {
    Connecting(Connecting),
    Made(Stream),
}

impl DataConnection {
    /// What has to happen for it to be made; `None` when it is.
    pub(super) fn awaits(&self) -> Option<Source<'_>> {
        match &self.link {
            Link::Connecting(connecting) => Some(Source::Connection(connecting)),
            Link::Made(_) => None,
        }
    }

    /// Open, and the server has not said anything on it.
    pub(super) fn is_quiet(&self) -> bool {
        match &self.link {
            Link::Connecting(_) => true,
            Link::Made(stream) => stream.probe() == Probe::Quiet,
        }
    }

    /// Looks whether it is made by now, without waiting.
    pub(super) fn advance(self) -> std::io::Result<Self> {
        let link = match self.link {
            Link::Connecting(connecting) => match connecting.try_finish()? {
                Ok(stream) => Link::Made(stream),
                Err(connecting) => Link::Connecting(connecting),
            },
            made @ Link::Made(_) => made,
        };
        Ok(Self { link, ..self })
    }
}

impl ControlConnection {
    /// Whether PASV, which knows IPv4 only, may have a meaning.
    pub(super) fn may_speak_v4(&self) -> bool {
        self.stream().is_through_proxy() || self.peer().ip().to_canonical().is_ipv4()
    }
}

impl Session {
    /// A data connection for the transfer `verb`: the one place where transfers get theirs.
    ///
    /// # Errors
    /// Refused (425, …), or a lost session.
    pub(super) fn data_connection(
        &mut self,
        verb: &'static str,
    ) -> Result<DataConnection, FtpError> {
        if let Some(armed) = self.take_armed()? {
            return Ok(armed);
        }
        self.has_entered()?;
        let how = self.experience().passive();
        let reply = self.control_mut().exchange(how.command())?;
        match self.connection_to(how, reply, verb)? {
            Some(connection) => Ok(connection),
            // EPSV is refused for good.
            None => {
                let how = self.experience().passive();
                let reply = self.control_mut().exchange(how.command())?;
                let connection = self.connection_to(how, reply, verb)?;
                connection.ok_or(FtpError::Broken { verb })
            }
        }
    }

    /// Sends the SYN to where the server said. `None` if it is to be asked in the other way from now
    /// on.
    ///
    /// # Errors
    /// Refused, not understood, or no route.
    pub(super) fn connection_to(
        &mut self,
        how: Passive,
        reply: Reply,
        verb: &'static str,
    ) -> Result<Option<DataConnection>, FtpError> {
        let named = pasv_address(reply.text()).filter(|_| how == Passive::Pasv);
        let Some(port) = self.port_in(how, reply)? else {
            return Ok(None);
        };
        // The address in a PASV reply is ignored, unless the user wants it obeyed: it is wrong behind a NAT, and
        // a server that names a stranger's would have us connect there (RFC 2577). 0.0.0.0 names nobody.
        let named = named.filter(|a| self.obeys_pasv() && !a.ip().is_unspecified());
        let other = named.map(|a| IpAddr::V4(*a.ip()));
        let control = self.control();
        let connecting = Connecting::beside(control.stream(), other, port, control.timeout())
            .map_err(|source| FtpError::NoDataConnection { verb, source })?;
        let link = Link::Connecting(connecting);
        let early = false;
        Ok(Some(DataConnection { link, how, early }))
    }

    /// Waits for the connection that [`Session::data_connection`] began.
    ///
    /// # Errors
    /// [`FtpError::NoDataConnection`], also when it is not made in time.
    pub(super) fn complete(
        &mut self,
        data: DataConnection,
        verb: &'static str,
    ) -> Result<Stream, FtpError> {
        let connecting = match data.link {
            Link::Made(stream) => return Ok(stream),
            Link::Connecting(connecting) => connecting,
        };
        let time = self.connect_timeout();
        let deadline = self
            .control()
            .deadline(time, || format!("the data connection of {verb}"));
        match connecting.finish(&deadline) {
            Ok(stream) => {
                self.experience().data_connection_worked(data.how);
                Ok(stream)
            }
            Err(source) => {
                // One that is reset was made; the way to it is good.
                if source.kind() != ErrorKind::ConnectionReset {
                    self.experience().data_connection_failed(data.how);
                }
                Err(FtpError::NoDataConnection { verb, source })
            }
        }
    }

    /// A success that names no port and has another number is the answer to something else, or to nothing: the
    /// session is out of step.
    fn is_its_reply(
        &mut self,
        reply: &Reply,
        code: u16,
        verb: &'static str,
    ) -> Result<(), FtpError> {
        if !reply.is_completion() || reply.code() == code || pasv_address(reply.text()).is_some() {
            return Ok(());
        }
        log::debug!("{verb} answered by {reply}");
        self.mark_broken();
        Err(FtpError::Broken { verb })
    }

    fn port_in(&mut self, how: Passive, reply: Reply) -> Result<Option<u16>, FtpError> {
        match how {
            Passive::Epsv => {
                if let Some(port) = epsv_port(reply.text()).filter(|_| reply.is_completion()) {
                    return usable("EPSV", &reply, Some(port)).map(Some);
                }
                self.is_its_reply(&reply, 229, "EPSV")?;
                // 500, 501, 502, 522: it never will. 4xx: it has no port now, in either way.
                let v4 = self.control().may_speak_v4();
                if reply.class() == ReplyClass::TransientNegative || !v4 {
                    let verb = "EPSV";
                    return Err(FtpError::Refused { verb, reply });
                }
                log::debug!("EPSV refused ({reply}): PASV from now on");
                self.experience().epsv_is_refused();
                Ok(None)
            }
            Passive::Pasv if reply.is_completion() => {
                self.is_its_reply(&reply, 227, "PASV")?;
                let address = pasv_address(reply.text());
                usable("PASV", &reply, address.map(|a| a.port())).map(Some)
            }
            Passive::Pasv => {
                let verb = "PASV";
                Err(FtpError::Refused { verb, reply })
            }
        }
    }
}

impl Passive {
    pub(super) fn command(self) -> Command<'static> {
        match self {
            Passive::Epsv => Command::Epsv,
            Passive::Pasv => Command::Pasv,
        }
    }
}

/// Ports below 1024 belong to services that nobody may have us talk to.
pub(super) fn usable(
    verb: &'static str,
    reply: &Reply,
    port: Option<u16>,
) -> Result<u16, FtpError> {
    port.filter(|p| *p >= 1024)
        .ok_or_else(|| FtpError::Protocol {
            verb,
            what: reply.to_string(),
        })
}

/// The number between the last two delimiters of `(|||6446|)`; the delimiter is what follows `(`.
pub(super) fn epsv_port(text: &[u8]) -> Option<u16> {
    let open = text.iter().position(|b| *b == b'(')?;
    let delimiter = *text.get(open + 1)?;
    let close = open + text[open..].iter().position(|b| *b == b')')?;
    let mut fields = text[open + 1..close].rsplit(|b| *b == delimiter);
    let after_last = fields.next()?;
    let port = fields.next()?;
    if !after_last.is_empty() || delimiter.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(port).ok()?.parse().ok()
}

/// The address in six numbers anywhere in the text; the parentheses are optional (RFC 1123
/// section 4.1.2.6).
pub(super) fn pasv_address(text: &[u8]) -> Option<SocketAddrV4> {
    let text = String::from_utf8_lossy(text);
    let groups = text.split(|c: char| !c.is_ascii_digit() && c != ',' && c != ' ');
    for group in groups {
        let numbers: Vec<_> = group.trim().split(',').map(str::trim).collect();
        // Other digits may stand before the first number, as in "mode 2 127,0,0,1,…".
        let Some(six) = numbers.len().checked_sub(6).map(|from| &numbers[from..]) else {
            continue;
        };
        let first = six[0].rsplit(' ').next().unwrap_or_default();
        let last = six[5].split(' ').next().unwrap_or_default();
        let bytes: Vec<u8> = [first, six[1], six[2], six[3], six[4], last]
            .iter()
            .filter_map(|n| n.parse().ok())
            .collect();
        if let [a, b, c, d, high, low] = bytes[..] {
            let port = u16::from_be_bytes([high, low]);
            return Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epsv_replies() {
        let cases: [(&str, Option<u16>); 8] = [
            ("Entering Extended Passive Mode (|||6446|)", Some(6446)),
            ("ok (|||6446|).", Some(6446)),
            ("(!!!6446!)", Some(6446)),
            ("(|1|10.0.0.1|6446|)", Some(6446)),
            ("(|||70000|)", None),
            ("(||||)", None),
            ("|||6446|", None),
            ("(", None),
        ];
        for (text, port) in cases {
            assert_eq!(epsv_port(text.as_bytes()), port, "{text}");
        }
    }

    #[test]
    fn pasv_replies() {
        let cases: [(&str, Option<&str>); 9] = [
            (
                "Entering Passive Mode (127,0,0,1,25,46)",
                Some("127.0.0.1:6446"),
            ),
            (
                "Entering Passive Mode (127,0,0,1,25,46).",
                Some("127.0.0.1:6446"),
            ),
            (
                "Entering Passive Mode 127,0,0,1,25,46",
                Some("127.0.0.1:6446"),
            ),
            ("=127,0,0,9,25,46", Some("127.0.0.9:6446")),
            ("mode (10, 0, 0, 1, 4, 0)", Some("10.0.0.1:1024")),
            ("mode 2 192,0,2,33,4,0 ok", Some("192.0.2.33:1024")),
            ("(127,0,0,1,25)", None),
            ("(127,0,0,1,256,1)", None),
            ("nothing", None),
        ];
        for (text, address) in cases {
            let address = address.map(|a| a.parse().unwrap());
            assert_eq!(pasv_address(text.as_bytes()), address, "{text}");
        }
    }
}
