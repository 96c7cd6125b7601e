//! What is said to a proxy before the bytes of a connection are the server's.
//!
//! SOCKS5 (RFC 1928, 1929) and CONNECT of HTTP (RFC 9110 section 9.3.6, RFC 7617).

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, TcpStream};
use std::sync::Arc;

use data_encoding::BASE64;

use super::{Proxy, ProxyProtocol, Refusal, authority};
use crate::net::stream::without_waiting;

/// More than any answer of a proxy has, one page of text about an error included.
const LONGEST_HEADER: usize = 16 << 10;

/// More of a proxy's own words is not shown.
const LONGEST_REASON: usize = 200;

/// The conversation with a proxy, up to the last byte that is its own.
pub(in crate::net) struct Handshake {
    proxy: Arc<Proxy>,
    host: String,
    port: u16,
    stage: Stage,
    unsent: Vec<u8>,
    received: Vec<u8>,
    /// Bytes of headers that were not the last one.
    before: usize,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// SOCKS5: how we are to log in.
    Method,
    /// SOCKS5: whether user and password are right.
    Login,
    /// SOCKS5: whether the connection is made.
    Answer,
    /// HTTP: the same.
    Header,
    /// Nothing: what comes is the server's.
    Over,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.stage, self.proxy)
    }
}

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const WITH_PASSWORD: u8 = 2;
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const V4: u8 = 1;
const NAME: u8 = 3;
const V6: u8 = 4;

impl Handshake {
    /// Asks `proxy` for a connection to a host (name or address literal, without brackets) and port.
    ///
    /// # Errors
    /// The name is too long.
    pub(in crate::net) fn new(proxy: Arc<Proxy>, host: &str, port: u16) -> io::Result<Self> {
        let too_long = host.len() > usize::from(u8::MAX);
        if too_long && proxy.protocol == ProxyProtocol::Socks5 {
            return Err(ErrorKind::InvalidInput.into());
        }
        let (stage, unsent) = match (proxy.protocol, &proxy.login) {
            (ProxyProtocol::Socks5, None) => (Stage::Method, vec![VERSION, 1, NO_LOGIN]),
            (ProxyProtocol::Socks5, Some(_)) => {
                (Stage::Method, vec![VERSION, 2, NO_LOGIN, WITH_PASSWORD])
            }
            (ProxyProtocol::Http, login) => {
                let to = authority(host, port);
                let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
                if let Some(login) = login {
                    let word = basic(login);
                    request += &format!("Proxy-Authorization: Basic {word}\r\n");
                }
                (Stage::Header, (request + "\r\n").into_bytes())
            }
        };
        Ok(Self {
            proxy,
            host: host.to_owned(),
            port,
            stage,
            unsent,
            received: Vec::new(),
            before: 0,
        })
    }

    /// What errors call the end of it.
    pub(in crate::net) fn goal(&self) -> String {
        format!(
            "the proxy {} to reach {}",
            self.proxy,
            authority(&self.host, self.port)
        )
    }

    /// Something is to be sent before anything can come.
    pub(in crate::net) fn wants_write(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Takes what is to be sent.
    #[cfg(test)]
    pub(super) fn sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unsent)
    }

    #[cfg(test)]
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Gets it further without waiting; `true` when it is over. Not a byte behind it is taken from the socket.
    ///
    /// # Errors
    /// A refusal; an answer that is none; what the socket says.
    pub(in crate::net) fn advance(&mut self, socket: &TcpStream) -> io::Result<bool> {
        self.pump(socket).map_err(|e| match Refusal::is_in(&e) {
            true => e,
            false => io::Error::new(e.kind(), Refusal(format!("the proxy {}: {e}", self.proxy))),
        })
    }

    fn pump(&mut self, mut socket: &TcpStream) -> io::Result<bool> {
        let mut bytes = [0; 1024];
        loop {
            while self.wants_write() {
                match without_waiting(|| socket.write(&self.unsent))? {
                    Some(count) => drop(self.unsent.drain(..count)),
                    None => return Ok(false),
                }
            }
            if self.stage == Stage::Over {
                return Ok(true);
            }
            let Some(count) = without_waiting(|| socket.peek(&mut bytes))? else {
                return Ok(false);
            };
            if count == 0 {
                let words = "has ended the connection without an answer";
                return Err(self.refusal(ErrorKind::UnexpectedEof, words));
            }
            let own = self.take(&bytes[..count])?;
            socket.read_exact(&mut bytes[..own])?;
        }
    }

    /// Takes what has come; says how many bytes of it belong to the handshake.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while self.stage != Stage::Over {
            let missing = match self.stage {
                Stage::Header if self.has_header() => 0,
                Stage::Header => 1,
                _ => self.message_length()?.saturating_sub(self.received.len()),
            };
            if missing == 0 {
                self.understand()?;
                self.received.clear();
                continue;
            }
            let rest = &bytes[taken..];
            let part = &rest[..rest.len().min(missing)];
            if part.is_empty() {
                break;
            }
            self.received.extend_from_slice(part);
            taken += part.len();
            if self.stage == Stage::Header {
                self.check_header()?;
            }
        }
        Ok(taken)
    }

    /// Bytes of the message of SOCKS5 that is coming, as far as what has come tells.
    fn message_length(&self) -> io::Result<usize> {
        let got = &self.received[..];
        if self.stage != Stage::Answer {
            return Ok(2);
        }
        match *got {
            [version, code, ..] if version != VERSION || code != 0 => {
                Err(self.refused_by_code(version, code))
            }
            [_, _, _, kind, length, ..] => match kind {
                V4 => Ok(4 + 4 + 2),
                V6 => Ok(4 + 16 + 2),
                NAME => Ok(5 + usize::from(length) + 2),
                _ => Err(self.no_answer()),
            },
            [_, _, ..] => Ok(5),
            _ => Ok(2),
        }
    }

    /// A whole message has come.
    fn understand(&mut self) -> io::Result<()> {
        let got = std::mem::take(&mut self.received);
        match (self.stage, &got[..]) {
            (Stage::Method, [VERSION, NO_LOGIN]) => self.ask(),
            (Stage::Method, [VERSION, WITH_PASSWORD]) => {
                let proxy = Arc::clone(&self.proxy);
                let Some((user, password)) = &proxy.login else {
                    return Err(self.no_answer());
                };
                self.unsent.push(LOGIN_VERSION);
                for word in [user, password] {
                    let length = u8::try_from(word.len()).map_err(|_| self.no_answer())?;
                    self.unsent.push(length);
                    self.unsent.extend_from_slice(word);
                }
                self.stage = Stage::Login;
            }
            (Stage::Method, [VERSION, 0xff]) => return Err(self.wrong_login("")),
            // The version of the answer is often that of SOCKS itself.
            (Stage::Login, [LOGIN_VERSION | VERSION, 0]) => self.ask(),
            (Stage::Login, [LOGIN_VERSION | VERSION, _]) => return Err(self.wrong_login("")),
            (Stage::Answer, _) => self.stage = Stage::Over,
            (Stage::Header, header) => self.understand_header(header)?,
            _ => return Err(self.no_answer()),
        }
        Ok(())
    }

    /// SOCKS5: the request itself.
    fn ask(&mut self) {
        self.stage = Stage::Answer;
        self.unsent.extend([VERSION, CONNECT, 0]);
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => {
                self.unsent.push(V4);
                self.unsent.extend(address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                self.unsent.push(V6);
                self.unsent.extend(Ipv6Addr::octets(&address));
            }
            Err(_) => {
                // Checked at the beginning.
                let length = u8::try_from(self.host.len()).unwrap_or(u8::MAX);
                self.unsent.extend([NAME, length]);
                self.unsent.extend(self.host.bytes());
            }
        }
        self.unsent.extend(self.port.to_be_bytes());
    }

    fn has_header(&self) -> bool {
        self.received.ends_with(b"\n\r\n") || self.received.ends_with(b"\n\n")
    }

    /// Whether it can still become one.
    fn check_header(&self) -> io::Result<()> {
        const BEGIN: &[u8] = b"HTTP/1.";
        let begun = self.received.len().min(BEGIN.len());
        if self.received[..begun] != BEGIN[..begun] {
            return Err(self.no_answer());
        }
        if self.before + self.received.len() > LONGEST_HEADER {
            return Err(self.refusal(ErrorKind::InvalidData, "sends a header without an end"));
        }
        Ok(())
    }

    fn understand_header(&mut self, header: &[u8]) -> io::Result<()> {
        let line = header.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let (code, reason) = status(&line).ok_or_else(|| self.no_answer())?;
        let said = format!("{code} {}", self.shown(reason));
        let said = said.trim_end();
        let to = authority(&self.host, self.port);
        match code {
            // Something to read meanwhile (RFC 9110 section 15.2); it goes on.
            100..200 => self.before += header.len(),
            200..300 => self.stage = Stage::Over,
            407 => return Err(self.wrong_login(&format!(" ({said})"))),
            // The machine behind it did not answer (RFC 9110 sections 15.6.3 to 15.6.5).
            502..=504 => {
                let words = format!("cannot reach {to}: {said}");
                return Err(self.refusal(ErrorKind::HostUnreachable, &words));
            }
            _ => {
                let words = format!("refuses a connection to {to}: {said}");
                return Err(self.refusal(ErrorKind::PermissionDenied, &words));
            }
        }
        Ok(())
    }

    /// The proxy's words: in one line, short, and without what we have told it in confidence.
    fn shown(&self, words: &str) -> String {
        let mut words = words.to_owned();
        if let Some(login) = &self.proxy.login {
            for secret in [basic(login), String::from_utf8_lossy(&login.1).into_owned()] {
                if !secret.is_empty() {
                    words = words.replace(&secret, "***");
                }
            }
        }
        let words = words.trim().chars().take(LONGEST_REASON);
        words.flat_map(char::escape_debug).collect()
    }

    /// The reply field of RFC 1928 section 6.
    fn refused_by_code(&self, version: u8, code: u8) -> io::Error {
        let to = authority(&self.host, self.port);
        let (kind, why) = match (version, code) {
            (VERSION, 1) => (ErrorKind::Other, "general failure"),
            (VERSION, 2) => (ErrorKind::PermissionDenied, "not allowed by its rules"),
            (VERSION, 3) => (ErrorKind::NetworkUnreachable, "network unreachable"),
            (VERSION, 4) => (ErrorKind::HostUnreachable, "host unreachable"),
            (VERSION, 5) => (ErrorKind::ConnectionRefused, "connection refused"),
            (VERSION, 6) => (ErrorKind::HostUnreachable, "time to live expired"),
            (VERSION, 7) => (ErrorKind::Unsupported, "it does not know CONNECT"),
            (VERSION, 8) => (
                ErrorKind::Unsupported,
                "it does not know this kind of address",
            ),
            _ => return self.no_answer(),
        };
        let words = match code {
            3..=6 => format!("cannot reach {to}: {why}"),
            _ => format!("refuses a connection to {to}: {why}"),
        };
        self.refusal(kind, &words)
    }

    fn wrong_login(&self, said: &str) -> io::Error {
        let words = match &self.proxy.login {
            Some(_) => format!("refuses the user or the password in proxy={said}"),
            None => format!("wants a user and a password in proxy={said}"),
        };
        self.refusal(ErrorKind::PermissionDenied, &words)
    }

    fn no_answer(&self) -> io::Error {
        let protocol = match self.proxy.protocol {
            ProxyProtocol::Socks5 => "SOCKS5",
            ProxyProtocol::Http => "HTTP",
        };
        let words = format!("does not answer as {protocol} does");
        self.refusal(ErrorKind::InvalidData, &words)
    }

    fn refusal(&self, kind: ErrorKind, words: &str) -> io::Error {
        io::Error::new(kind, Refusal(format!("the proxy {} {words}", self.proxy)))
    }
}

/// The words of RFC 7617.
fn basic((user, password): &(Vec<u8>, Vec<u8>)) -> String {
    BASE64.encode(&[user, &b":"[..], password].concat())
}

/// Code and reason of `HTTP/1.1 200 OK`.
fn status(line: &str) -> Option<(u16, &str)> {
    let (_, rest) = line.split_once(' ')?;
    let (code, reason) = rest.split_at_checked(3)?;
    let digits = code.bytes().all(|b| b.is_ascii_digit());
    let ended = reason.is_empty() || reason.starts_with([' ', '\r']);
    (digits && ended).then_some(())?;
    Some((code.parse().ok()?, reason.trim()))
}
