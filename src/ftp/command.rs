//! `Command`: every command we send, its wire form and its printable form.

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};

use super::stamp::Stamp;
use super::{FtpError, InvalidPath, Secret, printable};

/// Longest command line, CR and LF included: inetutils and other BSD descendants cut at 511 bytes
/// and run the rest as further commands.
pub(super) const MAX_LINE: usize = 500;

/// A command. Paths are bytes as the server is to see them, absolute or relative to the session's
/// directory.
#[derive(Clone, Copy)]
pub(super) enum Command<'a> {
    /// RFC 959: who logs in.
    User(&'a [u8]),
    /// RFC 959: with which password.
    Pass(&'a Secret),
    /// RFC 959: the account, where the login needs one; sent, never shown.
    Acct(&'a Secret),
    /// RFC 2389: what the server can.
    Feat,
    /// RFC 2640: names are UTF-8.
    OptsUtf8,
    /// RFC 3659 section 7.9: which facts listings are to carry, as `type;size;`.
    OptsMlst(&'a str),
    /// RFC 4217: the connection is to be encrypted.
    AuthTls,
    /// RFC 4217: no buffers of the protection.
    Pbsz,
    /// RFC 4217: data connections are encrypted as well.
    ProtP,
    /// RFC 959: bytes as they are.
    TypeImage,
    /// RFC 959: in which directory we are.
    Pwd,
    /// RFC 959: nothing.
    Noop,
    /// RFC 959: the end.
    Quit,
    /// RFC 2428: a data connection, please.
    Epsv,
    /// RFC 959: the same, IPv4 only.
    Pasv,
    /// RFC 2428: connect to this.
    Eprt(SocketAddr),
    /// RFC 959: the same, IPv4 only.
    Port(SocketAddrV4),
    /// RFC 3659 section 5: where the next transfer begins.
    Rest(u64),
    /// RFC 959: change the directory.
    Cwd(&'a [u8]),
    /// RFC 3659 section 7: a listing for programs.
    Mlsd(&'a [u8]),
    /// RFC 959: a listing of the session's directory; with `-a` if true.
    List(bool),
    /// RFC 959: a listing over the control connection, dot files included.
    Stat(&'a [u8]),
    /// RFC 3659 section 7: the facts of one name.
    Mlst(&'a [u8]),
    /// RFC 959: read a file.
    Retr(&'a [u8]),
    /// RFC 959: write a file.
    Stor(&'a [u8]),
    /// RFC 959: write behind the end of a file.
    Appe(&'a [u8]),
    /// RFC 3659 section 4: bytes of a file.
    Size(&'a [u8]),
    /// RFC 3659 section 3: time of a file.
    Mdtm(&'a [u8]),
    /// RFC 959: make a directory.
    Mkd(&'a [u8]),
    /// RFC 959: remove a directory.
    Rmd(&'a [u8]),
    /// RFC 959: remove a file.
    Dele(&'a [u8]),
    /// RFC 959: rename this …
    Rnfr(&'a [u8]),
    /// RFC 959: … to that.
    Rnto(&'a [u8]),
    /// Permission bits, the old way (vsftpd, ProFTPD, Pure-FTPd, pyftpdlib, inetutils).
    SiteChmod(u16, &'a [u8]),
    /// Permission bits that new names do not get; without them, which these are (vsftpd, inetutils).
    SiteUmask(Option<u16>),
    /// Permission bits as a fact (draft-somers-ftp-mfxx; ProFTPD).
    MffMode(u16, &'a [u8]),
    /// The time (draft-somers-ftp-mfxx; ProFTPD, Pure-FTPd, pyftpdlib).
    Mfmt(Stamp, &'a [u8]),
    /// The same in the form of vsftpd and uftpd.
    MdtmSet(Stamp, &'a [u8]),
    /// A link to the first at the second (ProFTPD's mod_site_misc).
    SiteSymlink(&'a [u8], &'a [u8]),
    /// Free bytes (draft-peterson-streamlined-ftp-command-extensions).
    Avbl(&'a [u8]),
}

impl Command<'_> {
    /// The word by which logs and errors call it.
    pub(super) fn verb(&self) -> &'static str {
        self.parts().0
    }

    /// The path that it is about, for people; empty if there is none, and never a part of a login.
    pub(super) fn subject(&self) -> &[u8] {
        match self {
            Self::Cwd(path)
            | Self::Mlsd(path)
            | Self::Stat(path)
            | Self::Mlst(path)
            | Self::Retr(path)
            | Self::Stor(path)
            | Self::Appe(path)
            | Self::Size(path)
            | Self::Mdtm(path)
            | Self::Mkd(path)
            | Self::Rmd(path)
            | Self::Dele(path)
            | Self::Rnfr(path)
            | Self::Rnto(path)
            | Self::SiteChmod(_, path)
            | Self::MffMode(_, path)
            | Self::Mfmt(_, path)
            | Self::MdtmSet(_, path)
            | Self::SiteSymlink(_, path)
            | Self::Avbl(path) => path,
            _ => b"",
        }
    }

    /// Verb, what stands between verb and path, and the path or other argument.
    fn parts(&self) -> (&'static str, Vec<u8>, &[u8]) {
        let plain = Vec::new();
        match self {
            Self::User(user) => ("USER", plain, user),
            Self::Pass(password) => ("PASS", plain, password.expose()),
            Self::Acct(account) => ("ACCT", plain, account.expose()),
            Self::Feat => ("FEAT", plain, b""),
            Self::OptsUtf8 => ("OPTS", plain, b"UTF8 ON"),
            Self::OptsMlst(facts) => ("OPTS", "MLST ".into(), facts.as_bytes()),
            Self::AuthTls => ("AUTH", plain, b"TLS"),
            Self::Pbsz => ("PBSZ", plain, b"0"),
            Self::ProtP => ("PROT", plain, b"P"),
            Self::TypeImage => ("TYPE", plain, b"I"),
            Self::Pwd => ("PWD", plain, b""),
            Self::Noop => ("NOOP", plain, b""),
            Self::Quit => ("QUIT", plain, b""),
            Self::Epsv => ("EPSV", plain, b""),
            Self::Pasv => ("PASV", plain, b""),
            Self::Eprt(address) => ("EPRT", extended_port(*address).into(), b""),
            Self::Port(address) => ("PORT", port(*address).into(), b""),
            Self::Rest(offset) => ("REST", offset.to_string().into(), b""),
            Self::Cwd(path) => ("CWD", plain, path),
            Self::Mlsd(path) => ("MLSD", plain, path),
            Self::List(all) => ("LIST", plain, if *all { b"-a" } else { b"" }),
            Self::Stat(path) => ("STAT", "-a ".into(), path),
            Self::Mlst(path) => ("MLST", plain, path),
            Self::Retr(path) => ("RETR", plain, path),
            Self::Stor(path) => ("STOR", plain, path),
            Self::Appe(path) => ("APPE", plain, path),
            Self::Size(path) => ("SIZE", plain, path),
            Self::Mdtm(path) => ("MDTM", plain, path),
            Self::Mkd(path) => ("MKD", plain, path),
            Self::Rmd(path) => ("RMD", plain, path),
            Self::Dele(path) => ("DELE", plain, path),
            Self::Rnfr(path) => ("RNFR", plain, path),
            Self::Rnto(path) => ("RNTO", plain, path),
            Self::SiteChmod(mode, path) => ("SITE CHMOD", format!("{mode:04o} ").into(), path),
            Self::SiteUmask(None) => ("SITE UMASK", plain, b""),
            Self::SiteUmask(Some(mask)) => ("SITE UMASK", format!("{mask:03o}").into(), b""),
            Self::MffMode(mode, path) => ("MFF", format!("UNIX.mode={mode:04o}; ").into(), path),
            Self::Mfmt(stamp, path) => ("MFMT", format!("{stamp} ").into(), path),
            Self::MdtmSet(stamp, path) => ("MDTM", format!("{stamp} ").into(), path),
            Self::SiteSymlink(target, path) => ("SITE SYMLINK", [target, &b" "[..]].concat(), path),
            Self::Avbl(path) => ("AVBL", plain, path),
        }
    }

    /// Bytes of the line, CR and LF included.
    pub(super) fn line_length(&self) -> usize {
        let (verb, middle, last) = self.parts();
        let argument = middle.len() + last.len();
        verb.len() + usize::from(self.has_argument(argument)) + argument + 2
    }

    /// An empty password is still an argument: servers answer 501 to a bare PASS.
    fn has_argument(&self, length: usize) -> bool {
        length > 0 || matches!(self, Self::Pass(_) | Self::Acct(_))
    }

    /// Appends the line to `out`.
    ///
    /// # Errors
    /// The line would be too long, or an argument holds CR, LF or NUL: such bytes never reach
    /// the wire, whoever brought them here.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), FtpError> {
        let (verb, middle, last) = self.parts();
        if self.line_length() > MAX_LINE {
            return Err(FtpError::PathTooLong { verb });
        }
        let breaks_the_line = |b: &u8| matches!(b, b'\r' | b'\n' | 0);
        if middle.iter().any(breaks_the_line) || last.iter().any(breaks_the_line) {
            return Err(InvalidPath::ControlByte.into());
        }
        out.extend_from_slice(verb.as_bytes());
        if self.has_argument(middle.len() + last.len()) {
            out.push(b' ');
            out.extend_from_slice(&middle);
            out.extend_from_slice(last);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// The argument of EPRT (RFC 2428 section 2). A zone means nothing at the other end.
fn extended_port(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { 1 } else { 2 };
    format!("|{family}|{}|{}|", address.ip(), address.port())
}

/// The argument of PORT (RFC 959 section 4.1.2).
fn port(address: SocketAddrV4) -> String {
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    format!("{a},{b},{c},{d},{high},{low}")
}

/// For logs: one line, the password never.
impl fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, middle, last) = self.parts();
        match self {
            Self::Pass(_) => f.write_str("PASS ***"),
            Self::Acct(_) => f.write_str("ACCT ***"),
            _ if middle.is_empty() && last.is_empty() => f.write_str(verb),
            _ => write!(f, "{verb} {}{}", printable(&middle), printable(last)),
        }
    }
}

impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which listing is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListCommand {
    /// MLSD.
    Mlsd,
    /// LIST -a, in the directory itself.
    ListAll,
    /// LIST, in the directory itself.
    List,
}

impl fmt::Display for ListCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mlsd => "MLSD",
            Self::ListAll => "LIST -a",
            Self::List => "LIST",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::stamp::parse_stamp;
    use super::*;

    #[test]
    fn wire_and_printable_forms() {
        let secret = Secret::new("hunter2");
        let empty = Secret::default();
        let time = parse_stamp(b"20240102030405").unwrap();
        let cases = [
            (Command::User(b"me"), "USER me\r\n", "USER me"),
            (Command::Pass(&secret), "PASS hunter2\r\n", "PASS ***"),
            (Command::Pass(&empty), "PASS \r\n", "PASS ***"),
            (Command::Acct(&secret), "ACCT hunter2\r\n", "ACCT ***"),
            (Command::Feat, "FEAT\r\n", "FEAT"),
            (Command::List(true), "LIST -a\r\n", "LIST -a"),
            (Command::List(false), "LIST\r\n", "LIST"),
            (Command::Stat(b"/a"), "STAT -a /a\r\n", "STAT -a /a"),
            (Command::Mlst(b"/a"), "MLST /a\r\n", "MLST /a"),
            (Command::Rest(7), "REST 7\r\n", "REST 7"),
            (Command::Retr(b"/ a "), "RETR / a \r\n", "RETR / a "),
            (
                Command::SiteChmod(0o640, b"/a"),
                "SITE CHMOD 0640 /a\r\n",
                "SITE CHMOD 0640 /a",
            ),
            (Command::SiteUmask(None), "SITE UMASK\r\n", "SITE UMASK"),
            (
                Command::SiteUmask(Some(0o22)),
                "SITE UMASK 022\r\n",
                "SITE UMASK 022",
            ),
            (
                Command::MffMode(0o4755, b"/a"),
                "MFF UNIX.mode=4755; /a\r\n",
                "MFF UNIX.mode=4755; /a",
            ),
            (
                Command::Mfmt(Stamp::of(time).unwrap(), b"/a"),
                "MFMT 20240102030405 /a\r\n",
                "MFMT 20240102030405 /a",
            ),
        ];
        for (command, wire, shown) in cases {
            let mut out = Vec::new();
            command.encode(&mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), wire);
            assert_eq!(command.line_length(), wire.len());
            assert_eq!(command.to_string(), shown);
            assert_eq!(format!("{command:?}"), shown);
        }
    }

    #[test]
    fn addresses_to_connect_to() {
        for (address, extended) in [
            ("132.235.1.2:6275", "EPRT |1|132.235.1.2|6275|"),
            (
                "[1080::8:800:200c:417a]:5282",
                "EPRT |2|1080::8:800:200c:417a|5282|",
            ),
            ("[fe80::1%7]:65535", "EPRT |2|fe80::1|65535|"),
        ] {
            let command = Command::Eprt(address.parse().unwrap());
            assert_eq!(command.to_string(), extended);
        }
        for (address, plain) in [
            ("132.235.1.2:6275", "PORT 132,235,1,2,24,131"),
            ("10.0.0.1:1024", "PORT 10,0,0,1,4,0"),
            ("255.255.255.255:65535", "PORT 255,255,255,255,255,255"),
        ] {
            let command = Command::Port(address.parse().unwrap());
            assert_eq!(command.to_string(), plain);
        }
    }

    #[test]
    fn nothing_breaks_the_line() {
        let mut out = Vec::new();
        for name in [&b"a\r\nDELE b"[..], b"a\nb", b"a\rb", b"a\0b"] {
            assert!(Command::Retr(name).encode(&mut out).is_err(), "{name:?}");
        }
        let secret = Secret::new("a\r\nDELE b");
        assert!(Command::Pass(&secret).encode(&mut out).is_err());
        assert!(
            Command::SiteSymlink(b"a\nb", b"/c")
                .encode(&mut out)
                .is_err()
        );
        assert!(Command::Retr(&[b'x'; 493]).encode(&mut out).is_ok());
        out.clear();
        assert!(Command::Retr(&[b'x'; 494]).encode(&mut out).is_err());
        assert!(out.is_empty());
    }
}
