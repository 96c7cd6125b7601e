//! Proxies: machines that make connections for us.

mod handshake;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;

pub(super) use handshake::Handshake;

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// RFC 1928.
    Socks5,
    /// CONNECT of HTTP/1.1.
    Http,
}

/// A machine that makes connections for us.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub protocol: ProxyProtocol,
    /// Name or address literal, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User and password, if it is to be told any. Each has 1 to 255 bytes for SOCKS5 (RFC 1929); the user has no
    /// colon for HTTP (RFC 7617).
    pub login: Option<(Vec<u8>, Vec<u8>)>,
}

/// Without user and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {self}", self.protocol)
    }
}

/// What a proxy, or the machine behind it, has said instead of making the connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(String);

impl Refusal {
    pub(super) fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// As it stands in a request.
fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
