//! `Source`: which server and which folder, from a URL or from `[user@]host[:path]`.

mod mistaken;

use std::net::Ipv6Addr;
use std::ops::Range;

use percent_encoding::percent_decode;

pub(super) use self::mistaken::are_swapped;
use crate::ftp::printable;

/// The port of FTP (RFC 959).
const FTP_PORT: u16 = 21;
/// The port of FTP inside TLS.
const FTPS_PORT: u16 = 990;

/// What the address begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `ftp://`, or nothing.
    Ftp,
    /// `ftpes://`: AUTH TLS, or no login.
    Ftpes,
    /// `ftps://`: TLS from the first byte on.
    Ftps,
}

impl Scheme {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Ftpes => "ftpes",
            Self::Ftps => "ftps",
        }
    }

    /// By its name, however it is written.
    fn named(typed: &[u8]) -> Option<Self> {
        [Self::Ftp, Self::Ftps, Self::Ftpes]
            .into_iter()
            .find(|scheme| typed.eq_ignore_ascii_case(scheme.name().as_bytes()))
    }

    pub(super) fn port(self) -> u16 {
        match self {
            Self::Ftps => FTPS_PORT,
            Self::Ftp | Self::Ftpes => FTP_PORT,
        }
    }
}

/// What the source on the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<Vec<u8>>,
    /// Where in the text as typed the password is, still percent-encoded.
    pub(super) password: Option<Range<usize>>,
    /// Decoded; relative to the login directory unless it begins with `/`.
    pub(super) path: Vec<u8>,
}

impl Source {
    /// Reads the source as typed. Nothing of the text is repeated in a message before it is known
    /// not to be a password.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        // What is repeated of the text may hold anything.
        Self::read(text).map_err(|message| printable(message.as_bytes()))
    }

    fn read(text: &[u8]) -> Result<Self, String> {
        if text.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(LINE_BREAK.into());
        }
        for prefix in PREFIXES {
            if let Some(rest) = text.strip_prefix(prefix) {
                // Lines of fstab for curlftpfs may leave `ftp://` out, and mean a URL all the same.
                let bare_is_url = prefix[0] == b'c';
                let mut source = Self::plain(rest, bare_is_url)?;
                if let Some(range) = &mut source.password {
                    *range = range.start + prefix.len()..range.end + prefix.len();
                }
                return Ok(source);
            }
        }
        Self::plain(text, false)
    }

    /// The port of an option, for an address that names none.
    ///
    /// # Errors
    /// They are different.
    pub(super) fn set_port(&mut self, port: Option<u16>) -> Result<(), String> {
        let Some(port) = port else { return Ok(()) };
        if self.port != self.scheme.port() && self.port != port {
            return Err(format!(
                "option port: {port} contradicts the address, which names port {}",
                self.port
            ));
        }
        self.port = port;
        Ok(())
    }

    /// The password as typed, decoded.
    pub(super) fn password(&self, text: &[u8]) -> Option<Vec<u8>> {
        let range = self.password.clone()?;
        Some(percent_decode(text.get(range)?).collect())
    }

    fn plain(text: &[u8], bare_is_url: bool) -> Result<Self, String> {
        let source = match scheme(text) {
            Some((Some(scheme), at)) => url(scheme, text, at)?,
            Some((None, _)) => {
                return Err("the source is not an ftp://, ftpes:// or ftps:// address".into());
            }
            None => {
                mistaken::two_slashes(text, bare_is_url)?;
                match bare_is_url {
                    true => url(Scheme::Ftp, text, 0)?,
                    false => short(text)?,
                }
            }
        };
        if let Some(password) = source.password(text) {
            check(&password, "the password")?;
        }
        check(source.user.as_deref().unwrap_or_default(), "the user")?;
        check(&source.path, "the path")?;
        Ok(source)
    }
}

const NOT_CLEAR: &str =
    "a source with ':' before '@' is not clear: type ftp://USER:PASSWORD@HOST/PATH";
const LINE_BREAK: &str = "the source holds a line break or a NUL, which FTP cannot carry";

/// The scheme, if it is one of ours, and where the text behind `://` begins.
fn scheme(text: &[u8]) -> Option<(Option<Scheme>, usize)> {
    let end = text.windows(3).position(|w| w == b"://")?;
    let typed = &text[..end];
    if !typed.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    Some((Scheme::named(typed), end + 3))
}

/// What lines of fstab for `mount.fuse` begin with.
const PREFIXES: [&[u8]; 2] = [b"curlftpfs#", b"ftpfs#"];

/// Whether `text` has a scheme of ours.
pub(super) fn is_url(text: &[u8]) -> bool {
    let prefix = PREFIXES.iter().find(|prefix| text.starts_with(prefix));
    let bare = &text[prefix.map_or(0, |prefix| prefix.len())..];
    matches!(scheme(bare), Some((Some(_), _)))
}

/// `[user[:password]@]host[:port][/path]` from byte `start` on.
fn url(scheme: Scheme, text: &[u8], start: usize) -> Result<Source, String> {
    let rest = &text[start..];
    let slash = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    let at = authority.iter().rposition(|b| *b == b'@');
    let host_and_port = at.map_or(authority, |at| &authority[at + 1..]);
    let login = at.map(|at| &authority[..at]);
    let host_and_port = host_and_port_of(host_and_port, scheme.port());
    if path.contains(&b'@') && (host_and_port.is_err() || authority.ends_with(b":")) {
        // What was taken for the port, or even for the host, may be the front of a password.
        mistaken::slash_in_password(authority)?;
    }
    let (host, port) = host_and_port?;
    let colon = login.and_then(|login| login.iter().position(|b| *b == b':'));
    let user = login.map(|login| &login[..colon.unwrap_or(login.len())]);
    let path = path.strip_prefix(b"/").unwrap_or(path);
    Ok(Source {
        scheme,
        host,
        port,
        user: user
            .filter(|u| !u.is_empty())
            .map(|u| percent_decode(u).collect()),
        password: colon
            .zip(at)
            .map(|(colon, at)| start + colon + 1..start + at),
        path: percent_decode(without_type(path)).collect(),
    })
}

/// `;type=a`, `;type=i` or `;type=d` at the end (RFC 1738 section 3.2.2) says nothing to a mount.
fn without_type(path: &[u8]) -> &[u8] {
    match path.split_at_checked(path.len().wrapping_sub(7)) {
        Some((front, end))
            if end[..6].eq_ignore_ascii_case(b";type=") && end[6].is_ascii_alphabetic() =>
        {
            front
        }
        _ => path,
    }
}

/// `[user@]host[:path]` as scp takes it, and `[user@]host/path`.
fn short(text: &[u8]) -> Result<Source, String> {
    let colon = text.iter().position(|b| *b == b':').unwrap_or(text.len());
    let slash = text.iter().position(|b| *b == b'/').unwrap_or(text.len());
    if text[colon..].contains(&b'@') && colon < slash {
        let login = &text[..slash];
        if login.contains(&b'@') && !login[..colon].contains(&b'@') {
            return Err(NOT_CLEAR.into());
        }
    }
    let front = &text[..colon.min(slash)];
    let at = front.iter().rposition(|b| *b == b'@');
    let user = at.map(|at| front[..at].to_vec()).filter(|u| !u.is_empty());
    let rest = &text[at.map_or(0, |at| at + 1)..];
    let end = match rest.first() {
        Some(b'[') => rest
            .iter()
            .position(|b| *b == b']')
            .map_or(rest.len(), |n| n + 1),
        _ => rest
            .iter()
            .position(|b| matches!(b, b':' | b'/'))
            .unwrap_or(rest.len()),
    };
    let (host, behind) = rest.split_at(end);
    let (host, port) = host_and_port_of(host, FTP_PORT)?;
    let path = match behind {
        [b':', path @ ..] => path,
        [b'/', path @ ..] => path,
        _ => behind,
    };
    if behind.first() == Some(&b':') && leads_with_port(path) {
        if path.contains(&b'@') {
            // Not a port either, but a password with a slash.
            return Err(NOT_CLEAR.into());
        }
        return Err(format!(
            "is {host}:{} a port or a folder? Type ftp://{host}:PORT/ or {host}:./FOLDER",
            String::from_utf8_lossy(path)
        ));
    }
    Ok(Source {
        scheme: Scheme::Ftp,
        host,
        port,
        user,
        password: None,
        path: path.to_vec(),
    })
}

fn leads_with_port(path: &[u8]) -> bool {
    let digits = path
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(path.len());
    digits > 0 && matches!(path.get(digits), None | Some(b'/'))
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
pub(super) fn host_and_port_of(text: &[u8], default_port: u16) -> Result<(String, u16), String> {
    let text =
        std::str::from_utf8(text).map_err(|_| "the host's name is not UTF-8 text".to_owned())?;
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest
            .split_once(']')
            .ok_or("the address in brackets is not closed: [ADDRESS]")?;
        let address = host.split('%').next().unwrap_or(host);
        if address.parse::<Ipv6Addr>().is_err() {
            return Err(format!("[{host}] is not an IPv6 address"));
        }
        // A zone is written `%25eth0` in a URL (RFC 6874).
        (host.replacen("%25", "%", 1), port)
    } else {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(format!("an IPv6 address stands in brackets: [{text}]"));
        }
        let end = text.find(':').unwrap_or(text.len());
        (text[..end].to_owned(), &text[end..])
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("the source names no host: ftp://[USER@]HOST[:PORT]/PATH".into());
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
        Some("") => default_port,
        Some(digits) => digits
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("the port of {host} is not a number from 1 to 65535"))?,
        None => return Err(format!("something stands behind [{host}] that is no port")),
    };
    Ok((host, port))
}

/// What is sent in a command line must not end it.
fn check(bytes: &[u8], what: &str) -> Result<(), String> {
    if bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(format!(
            "{what} holds a line break or a NUL, which FTP cannot carry"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// host, port, user, password, path
    type Expected<'a> = (&'a str, u16, Option<&'a [u8]>, Option<&'a [u8]>, &'a [u8]);

    #[test]
    fn sources() {
        let cases: &[(&str, Expected<'_>)] = &[
            ("ftp://h", ("h", 21, None, None, b"")),
            ("FTP://h/", ("h", 21, None, None, b"")),
            ("ftp://h/a/b", ("h", 21, None, None, b"a/b")),
            ("ftp://h//a", ("h", 21, None, None, b"/a")),
            ("ftp://h/%2Fa", ("h", 21, None, None, b"/a")),
            ("ftp://h/a%20b#c?d", ("h", 21, None, None, b"a b#c?d")),
            ("ftp://h/%ff", ("h", 21, None, None, b"\xff")),
            ("ftp://h/100%", ("h", 21, None, None, b"100%")),
            ("ftp://h/a;type=I", ("h", 21, None, None, b"a")),
            ("ftp://u@h:2121/a", ("h", 2121, Some(b"u"), None, b"a")),
            ("ftp://u:p@h", ("h", 21, Some(b"u"), Some(b"p"), b"")),
            ("ftp://u:p@w@h/", ("h", 21, Some(b"u"), Some(b"p@w"), b"")),
            (
                "ftp://u%40x:p%3a%2f%ff@h/",
                ("h", 21, Some(b"u@x"), Some(b"p:/\xff"), b""),
            ),
            ("ftp://u:@h/", ("h", 21, Some(b"u"), Some(b""), b"")),
            ("ftp://@h/", ("h", 21, None, None, b"")),
            ("ftp://[::1]/x", ("::1", 21, None, None, b"x")),
            (
                "ftp://u@[fe80::1%25eth0]:2121/",
                ("fe80::1%eth0", 2121, Some(b"u"), None, b""),
            ),
            ("h", ("h", 21, None, None, b"")),
            ("u@h", ("h", 21, Some(b"u"), None, b"")),
            ("u@h:", ("h", 21, Some(b"u"), None, b"")),
            ("u@h:dir/x y%20", ("h", 21, Some(b"u"), None, b"dir/x y%20")),
            ("u@x.org@h:/abs", ("h", 21, Some(b"u@x.org"), None, b"/abs")),
            ("h/dir", ("h", 21, None, None, b"dir")),
            ("h:a/b@c", ("h", 21, None, None, b"a/b@c")),
            ("u@[::1]:d", ("::1", 21, Some(b"u"), None, b"d")),
            ("h:./2121", ("h", 21, None, None, b"./2121")),
            ("h:2024-logs", ("h", 21, None, None, b"2024-logs")),
            // A host may be called ftp.
            ("ftp", ("ftp", 21, None, None, b"")),
            ("ftp:", ("ftp", 21, None, None, b"")),
            ("ftp:pub/a.b", ("ftp", 21, None, None, b"pub/a.b")),
            ("ftp:./a.b", ("ftp", 21, None, None, b"./a.b")),
            ("ftp/pub", ("ftp", 21, None, None, b"pub")),
            ("me@ftp:/pub", ("ftp", 21, Some(b"me"), None, b"/pub")),
            ("ftp://ftp//pub", ("ftp", 21, None, None, b"/pub")),
            ("ftp://h:21/a@b", ("h", 21, None, None, b"a@b")),
            (
                "ftpfs#ftp://u:p@h/d",
                ("h", 21, Some(b"u"), Some(b"p"), b"d"),
            ),
            ("curlftpfs#ftp://h/d", ("h", 21, None, None, b"d")),
            (
                "curlftpfs#u:p@h:2121/d",
                ("h", 2121, Some(b"u"), Some(b"p"), b"d"),
            ),
            (
                "curlftpfs#ftp:p.w@h/d",
                ("h", 21, Some(b"ftp"), Some(b"p.w"), b"d"),
            ),
        ];
        for (text, expected) in cases {
            let found = Source::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
            let password = found.password(text.as_bytes());
            let got: Expected<'_> = (
                &found.host,
                found.port,
                found.user.as_deref(),
                password.as_deref(),
                &found.path,
            );
            assert_eq!(&got, expected, "{text}");
        }
    }

    #[test]
    fn refusals_show_no_password() {
        for (text, part) in [
            ("ftp://u:s3cret@/x", "names no host"),
            ("ftp://u:s3cret@h:99999/", "port of h"),
            ("ftp://u:s3cret@h:x/", "port of h"),
            ("ftp://[::1/", "not closed"),
            ("ftp://[1.2]/", "not an IPv6 address"),
            ("ftp://::1/", "brackets"),
            ("u:s3cret@h", "not clear"),
            ("u:s3cret@h:dir", "not clear"),
            ("u:7s3cret@h/x", "not clear"),
            ("u:7/s3cret@h", "not clear"),
            ("h:21/\u{1b}[2J", "port or a folder"),
            ("ftp://[\u{1b}[2J]/x", "not an IPv6 address"),
            ("h:2121", "port or a folder"),
            ("h:2121/x", "port or a folder"),
            (
                "http://u:s3cret@h/",
                "not an ftp://, ftpes:// or ftps:// address",
            ),
            ("", "names no host"),
            ("ftp://h/a%0d%0aDELE%20b", "path holds a line break"),
            ("ftp://u%0a:x@h/", "user holds a line break"),
            ("ftp://u:s3cret%00@h/", "password holds a line break"),
            ("ftp://h/a\nb", "holds a line break"),
            ("ftp://u:s3cret/x@h/", "is written %2F"),
            ("ftp://u:s3cret:/x@h/", "is written %2F"),
            ("ftp://u:/s3cret@h/", "is written %2F"),
            ("ftp://u:a@s3cret:b/c@h/", "is written %2F"),
            ("ftp://u:a@s3cret:/c@h/", "is written %2F"),
            ("curlftpfs#u:s3cret/x@h/", "is written %2F"),
            ("ftp:///a@b", "names no host"),
            ("ftp:/u@h/dir", "ftp:// has two slashes"),
            ("FTPS:/h", "ftps:// has two slashes: ftps://"),
            ("curlftpfs#ftp:/h", "two slashes"),
            ("ftp:127.0.0.1", "two slashes"),
            ("ftp:[::1]/x", "two slashes"),
            ("ftp:h.example.com/x", "two slashes"),
            ("ftp:u@h", "two slashes"),
            ("ftp:u:s3cret@h/x", "two slashes"),
            ("ftpes:localhost:2121/x", "two slashes"),
            ("ftp:2121", "port or a folder"),
        ] {
            let message = Source::parse(text.as_bytes()).unwrap_err();
            assert!(message.contains(part), "{text:?}: {message}");
            assert!(!message.contains("s3cret"), "{message}");
            assert!(!message.contains('\u{1b}'), "{message:?}");
        }
    }
}
