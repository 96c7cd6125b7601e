//! From the options about the network to the way that connections take.

use std::sync::Arc;

use percent_encoding::percent_decode;

use super::settings::Settings;
use super::url::host_and_port_of;
use crate::ftp::printable;
use crate::mount::Failure;
use crate::net::{Origin, Proxy, ProxyProtocol, Route};

/// The port that RFC 1928 names.
const SOCKS_PORT: u16 = 1080;
/// The port of Squid, which most others have taken over.
const HTTP_PORT: u16 = 3128;

/// Nothing of the value is repeated: it may hold a password.
const NO_PROXY: &str = "not socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT]; \
    special characters in user and password are written %XX";

/// # Errors
/// An interface or an address that this machine does not have.
pub(super) fn route(settings: &Settings) -> Result<Route, Failure> {
    let origin = match &settings.interface {
        Some(text) => Some(Origin::find(text).map_err(|error| {
            Failure::usage(format!(
                "option interface: {}: no interface and no address of this machine ({error})",
                printable(text.as_bytes())
            ))
        })?),
        None => None,
    };
    let proxy = settings.proxy.clone().map(Arc::new);
    Ok(Route { origin, proxy })
}

/// Reads `socks5://[USER:PASSWORD@]HOST[:PORT]` and the same with `http://`. curl calls the former `socks5h://`, since
/// the proxy resolves the names.
///
/// # Errors
/// One line without the value.
pub(super) fn proxy(text: &[u8]) -> Result<Proxy, String> {
    let scheme = text.windows(3).position(|w| w == b"://");
    let (scheme, rest) = scheme
        .map(|end| (text[..end].to_ascii_lowercase(), &text[end + 3..]))
        .ok_or(NO_PROXY)?;
    let (protocol, default_port) = match &scheme[..] {
        b"socks5" | b"socks5h" => (ProxyProtocol::Socks5, SOCKS_PORT),
        b"http" => (ProxyProtocol::Http, HTTP_PORT),
        _ => return Err(NO_PROXY.into()),
    };
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    let at = rest.iter().rposition(|b| *b == b'@');
    let host = at.map_or(rest, |at| &rest[at + 1..]);
    let (host, port) = host_and_port_of(host, default_port).map_err(|_| NO_PROXY)?;
    if host.contains(['/', '?', '#']) {
        return Err(NO_PROXY.into());
    }
    let login = at.map(|at| {
        let mut words = rest[..at].splitn(2, |b| *b == b':');
        let mut next = || percent_decode(words.next().unwrap_or_default()).collect::<Vec<u8>>();
        (next(), next())
    });
    if let Some((user, password)) = &login {
        check(protocol, user, password)?;
    }
    Ok(Proxy {
        protocol,
        host,
        port,
        login,
    })
}

/// What the protocol can carry.
fn check(protocol: ProxyProtocol, user: &[u8], password: &[u8]) -> Result<(), String> {
    let possible = 1..=usize::from(u8::MAX);
    let wrong = match protocol {
        ProxyProtocol::Socks5 => {
            let fit = possible.contains(&user.len()) && possible.contains(&password.len());
            (!fit).then_some("user and password of a SOCKS5 proxy have 1 to 255 bytes each")
        }
        ProxyProtocol::Http => {
            let bad = |b: &u8| b.is_ascii_control();
            if user.contains(&b':') {
                Some("the user of an HTTP proxy holds no colon")
            } else if user.iter().chain(password).any(bad) || password.len() > 4096 {
                Some("user and password of an HTTP proxy are one short line")
            } else {
                None
            }
        }
    };
    wrong.map_or(Ok(()), |why| Err(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies() {
        use ProxyProtocol::{Http, Socks5};
        type Login<'a> = Option<(&'a [u8], &'a [u8])>;
        let cases: &[(&str, ProxyProtocol, &str, u16, Login<'_>)] = &[
            ("socks5://h", Socks5, "h", 1080, None),
            ("SOCKS5://h:99/", Socks5, "h", 99, None),
            ("socks5h://h", Socks5, "h", 1080, None),
            ("http://h", Http, "h", 3128, None),
            ("http://[::1]:8080", Http, "::1", 8080, None),
            ("http://u:p@h", Http, "h", 3128, Some((b"u", b"p"))),
            ("http://u:p/@:w@h", Http, "h", 3128, Some((b"u", b"p/@:w"))),
            ("http://u@h", Http, "h", 3128, Some((b"u", b""))),
            (
                "socks5://u%3A:%00%ff@h",
                Socks5,
                "h",
                1080,
                Some((b"u:", b"\0\xff")),
            ),
        ];
        for (text, protocol, host, port, login) in cases {
            let expected = Proxy {
                protocol: *protocol,
                host: (*host).to_owned(),
                port: *port,
                login: login.map(|(user, password)| (user.to_vec(), password.to_vec())),
            };
            assert_eq!(proxy(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_told_without_its_text() {
        for text in [
            "",
            "h",
            "h:3128",
            "u:s3cret@h",
            "https://u:s3cret@h",
            "socks4://u:s3cret@h",
            "socks5://",
            "socks5://u:s3cret@",
            "socks5://u:s3cret@h:0",
            "socks5://u:s3cret@h:99999",
            "socks5://u:s3cret@h/path",
            "socks5://u:s3cret",
            "socks5://s3cret@h",
            "socks5://:s3cret@h",
            "http://u%3a:s3cret@h",
            "http://u:s3cret%0d%0aX@h",
            "http://[s3cret",
            "http://u:s3cret@[::1",
        ] {
            let message = proxy(text.as_bytes()).unwrap_err();
            assert!(!message.contains("s3cret"), "{text}: {message}");
        }
    }
}
