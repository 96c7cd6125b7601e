//! The one table of options: names, help, defaults, and what each does.
//!
//! The parser, the help text and whatever else lists options are made from it. Every row exists as
//! `-o name=value` and as `--name value`.

use super::network;
use super::settings::{Family, Settings, Tls};
use super::value::Value;
use crate::fs::UploadPolicy;
use crate::ftp::Secret;
use crate::ftp::listing::ListingZone;
use crate::fuse::Codepage;

/// Puts a value into the settings; the message is completed with the option's name.
type Setter = fn(&mut Settings, Value<'_>) -> Result<(), String>;

/// One option.
pub(super) struct Spec {
    /// With `_` between words; `-` is accepted as well.
    pub(super) name: &'static str,
    /// One letter, for the few that have one.
    pub(super) short: Option<char>,
    /// Other names of the same option.
    pub(super) aliases: &'static [&'static str],
    /// What the value is called in the help text; empty for a switch (which takes yes or no).
    pub(super) value: &'static str,
    /// As it would be typed; empty where there is none.
    pub(super) default: &'static str,
    /// Heading in the help text.
    pub(super) group: Group,
    /// One line.
    pub(super) help: &'static str,
    /// What it does.
    pub(super) set: Setter,
}

/// Headings of the help text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Login,
    Server,
    Mount,
    Files,
    Running,
}

impl Group {
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Login => "Login",
            Self::Server => "Server and network",
            Self::Mount => "Mount",
            Self::Files => "Files and caches",
            Self::Running => "Running",
        }
    }
}

impl Spec {
    pub(super) fn is_switch(&self) -> bool {
        self.value.is_empty()
    }
}

/// The row of an option by any of its names, with `-` or `_`.
pub(super) fn find(name: &str) -> Option<&'static Spec> {
    let name = name.replace('-', "_");
    TABLE
        .iter()
        .find(|spec| spec.name == name || spec.aliases.contains(&name.as_str()))
}

macro_rules! row {
    ($group:ident, $name:literal $(/ $short:literal)? $(| $alias:literal)*, $value:literal, $default:literal,
     $help:literal, $action:expr) => {
        Spec {
            name: $name,
            short: row!(@short $($short)?),
            aliases: &[$($alias),*],
            value: $value,
            default: $default,
            group: Group::$group,
            help: $help,
            set: $action,
        }
    };
    (@short) => { None };
    (@short $short:literal) => { Some($short) };
}

macro_rules! set {
    ($settings:ident, $value:ident => $body:expr) => {
        |$settings, $value| {
            $body;
            Ok(())
        }
    };
}

/// Every option, in the order of the help text.
#[rustfmt::skip]
pub(super) const TABLE: &[Spec] = &[
    row!(Login, "user" / 'u' | "username", "NAME[:PASSWORD]", "", "log in as NAME, also typed username=; asks for the password if none is found",
        set!(s, v => s.user = Some(v.bytes()))),
    row!(Login, "passfile", "FILE", "", "the password is the first line of FILE, without its end",
        set!(s, v => s.passfile = Some(v.path()?))),
    row!(Login, "password_stdin", "", "", "the password is the first line of standard input",
        set!(s, v => s.password_stdin = v.yes()?)),
    row!(Login, "netrc", "FILE", "", "use FILE instead of ~/.netrc",
        set!(s, v => s.netrc = Some(v.path()?))),
    row!(Login, "passcommand", "COMMAND", "", "the password is the first line that COMMAND prints (by sh -c)",
        set!(s, v => s.passcommand = Some(v.command()))),
    row!(Login, "account", "TEXT", "", "for servers that want an account beside user and password (ACCT)",
        set!(s, v => s.account = Some(account(v)?))),

    row!(Server, "port" / 'p', "N", "", "the server's port, if the address names none",
        set!(s, v => s.port = Some(v.port()?))),
    row!(Server, "tls", "auto|require|off", "auto", "encrypt where the server offers it (auto), or fail (require)",
        set!(s, v => s.tls = tls(v)?)),
    row!(Server, "cacert", "FILE", "", "trust the issuers in FILE (PEM), and no others",
        set!(s, v => s.cacert = Some(v.path()?))),
    row!(Server, "cert_sha256", "HEX", "", "trust the certificate with this fingerprint, and no other",
        set!(s, v => s.cert_sha256 = Some(v.fingerprint()?))),
    row!(Server, "no_verify_peer", "", "", "trust any certificate: no protection from who sits in between",
        set!(s, v => s.no_verify_peer = v.yes()?)),
    row!(Server, "cert", "FILE", "", "client certificate (PEM)",
        set!(s, v => s.cert = Some(v.path()?))),
    row!(Server, "key", "FILE", "", "key of the client certificate (PEM), if it is not in its file",
        set!(s, v => s.key = Some(v.path()?))),
    row!(Server, "connect_timeout", "TIME", "10s", "for finding and reaching the server",
        set!(s, v => s.connect_timeout = v.timeout()?)),
    row!(Server, "timeout", "TIME", "30s", "give up on a reply or a transfer after this long without progress",
        set!(s, v => s.timeout = v.timeout()?)),
    row!(Server, "max_conns", "N", "6", "never more connections to the server than N (1 to 64)",
        set!(s, v => s.max_conns = v.number(1..=64)?)),
    row!(Server, "ipv4", "", "", "use IPv4 only", set!(s, v => if v.yes()? { s.family = Family::V4 })),
    row!(Server, "ipv6", "", "", "use IPv6 only", set!(s, v => if v.yes()? { s.family = Family::V6 })),
    row!(Server, "soft", "", "", "operations fail when their time is up [default]", set!(s, v => s.hard = !v.yes()?)),
    row!(Server, "hard", "", "", "wait for ever for a server that is away; signals end the wait",
        set!(s, v => s.hard = v.yes()?)),
    row!(Server, "pasv_ip", "ignore|use", "ignore", "data connections go to the address that PASV tells (use), or always to the server",
        set!(s, v => s.obeys_pasv = obeys_pasv(v)?)),
    row!(Server, "active", "", "", "the server opens the data connections",
        set!(s, v => s.active = v.yes()?)),
    row!(Server, "ftp_port", "ADDRESS", "", "active mode, and this address (or interface) is where the server connects to; - for our own",
        set!(s, v => (s.ftp_port, s.active) = (v.own_address()?, true))),
    row!(Server, "port_range", "FIRST-LAST", "", "in active mode: the ports of this machine that the server connects to",
        set!(s, v => s.port_range = Some(v.ports()?))),
    row!(Server, "proxy", "URL", "", "all connections go through socks5://[USER:PASSWORD@]HOST[:1080] or http://[USER:PASSWORD@]HOST[:3128]",
        set!(s, v => s.proxy = Some(network::proxy(v.0)?))),
    row!(Server, "interface", "NAME|ADDRESS", "", "all connections leave by this network interface, or from this address",
        set!(s, v => s.interface = Some(v.text()?))),
    row!(Server, "codepage", "NAME", "", "encoding of the names on the server, such as latin1, cp1251 or sjis",
        set!(s, v => s.codepage = codepage(v)?)),
    row!(Server, "tz", "ZONE", "auto", "times in listings without MLSD: auto (found out), utc, local, +0200, or such as Europe/Berlin",
        set!(s, v => s.zone = zone(v)?)),

    row!(Mount, "ro" / 'r' | "read_only", "", "", "nothing can be changed", set!(s, v => s.read_only = v.yes()?)),
    row!(Mount, "allow_other", "", "", "other users may use the mount", set!(s, v => s.allow_other = v.yes()?)),
    row!(Mount, "allow_root", "", "", "root may use the mount as well", set!(s, v => s.allow_root = v.yes()?)),
    row!(Mount, "default_permissions", "", "", "the kernel checks permissions (always so)",
        set!(_s, v => if !v.yes()? { return Err(cannot("leave permissions unchecked")) })),
    row!(Mount, "nonempty", "", "", "mount over a folder that is not empty, or that is a mount already",
        set!(s, v => s.nonempty = v.yes()?)),
    row!(Mount, "delay_connect", "", "", "mount first, connect at the first access",
        set!(s, v => s.delay_connect = v.yes()?)),

    row!(Files, "cache_timeout", "TIME", "10s", "believe listings and attributes for this long; 0 asks each time",
        set!(s, v => s.cache_timeout = v.time()?)),
    row!(Files, "cache_size", "SIZE", "64M", "memory for the contents of files",
        set!(s, v => s.cache_size = v.size()?)),
    row!(Files, "readahead", "SIZE", "8M", "read at most this far ahead of a program",
        set!(s, v => s.readahead = v.size()?)),
    row!(Files, "staging_dir", "DIR", "", "local disk for files being written [default: a folder in the user's cache directory]",
        set!(s, v => s.staging_dir = Some(v.path()?))),
    row!(Files, "upload", "auto|atomic|inplace", "auto", "replace files through a temporary name (auto), also new ones (atomic), or never (inplace)",
        set!(s, v => s.upload = upload(v)?)),
    row!(Files, "writeback", "", "", "close when the local disk has the data, and upload afterwards",
        set!(s, v => s.writeback = v.yes()?)),
    row!(Files, "writeback_limit", "SIZE", "1G", "with writeback: close waits while more than this is to be uploaded",
        set!(s, v => s.writeback_limit = v.size()?)),
    row!(Files, "strict", "", "", "chmod, chown and times that the server cannot do are errors",
        set!(s, v => s.strict = v.yes()?)),
    row!(Files, "follow_symlinks", "", "", "links are shown as what they lead to on the server, also out of the mounted folder",
        set!(s, v => s.follow_symlinks = v.yes()?)),
    row!(Files, "transform_symlinks", "", "", "targets of links are made relative to the mount (always so)",
        set!(_s, v => v.yes().map(drop)?)),
    row!(Files, "uid", "N", "", "owner of all files [default: who mounts]",
        set!(s, v => s.uid = Some(v.number(0..=u32::MAX - 1)?))),
    row!(Files, "gid", "N", "", "group of all files [default: that of who mounts]",
        set!(s, v => s.gid = Some(v.number(0..=u32::MAX - 1)?))),
    row!(Files, "umask", "OCTAL", "0", "permission bits that nothing has", set!(s, v => s.umask = v.mask()?)),
    row!(Files, "fmask", "OCTAL", "", "permission bits that files do not have [default: umask]",
        set!(s, v => s.fmask = Some(v.mask()?))),
    row!(Files, "dmask", "OCTAL", "", "permission bits that folders do not have [default: umask]",
        set!(s, v => s.dmask = Some(v.mask()?))),

    row!(Running, "foreground" / 'f', "", "", "stay in the foreground, log to standard error",
        set!(s, v => s.foreground = v.yes()?)),
    row!(Running, "debug" / 'd', "", "", "log everything; implies -f",
        set!(s, v => s.debug = v.yes()?)),
    row!(Running, "verbose" / 'v', "", "", "log more",
        set!(s, v => s.verbose = v.yes()?)),
    row!(Running, "quiet" / 'q', "", "", "log errors only",
        set!(s, v => s.quiet = v.yes()?)),
    row!(Running, "log_file", "FILE", "", "log to FILE [default: the system log, once in the background]",
        set!(s, v => s.log_file = Some(v.path()?))),
];

/// The words for what this version has no machinery for.
pub(super) fn cannot(what: &str) -> String {
    format!("this version of ftpfs cannot do it yet ({what})")
}

fn tls(value: Value<'_>) -> Result<Tls, String> {
    match value.0 {
        b"auto" | b"try" => Ok(Tls::Auto),
        b"off" => Ok(Tls::Off),
        b"require" => Ok(Tls::Require),
        _ => Err(value.wrong("not auto, require or off")),
    }
}

fn obeys_pasv(value: Value<'_>) -> Result<bool, String> {
    match value.0 {
        b"use" => Ok(true),
        b"ignore" => Ok(false),
        _ => Err(value.wrong("not ignore or use")),
    }
}

/// The message does not show it.
fn account(value: Value<'_>) -> Result<Secret, String> {
    match value.0.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        true => Err("a line break or a NUL cannot be sent over FTP".into()),
        false => Ok(Secret::new(value.0)),
    }
}

fn zone(value: Value<'_>) -> Result<Option<ListingZone>, String> {
    match value.text()?.as_str() {
        "auto" => Ok(None),
        name => ListingZone::named(name)
            .map(Some)
            .map_err(|why| value.wrong(&why)),
    }
}

fn codepage(value: Value<'_>) -> Result<Codepage, String> {
    Codepage::named(&value.text()?).map_err(|why| value.wrong(&why))
}

fn upload(value: Value<'_>) -> Result<UploadPolicy, String> {
    match value.0 {
        b"auto" => Ok(UploadPolicy::Auto),
        b"atomic" => Ok(UploadPolicy::Atomic),
        b"inplace" => Ok(UploadPolicy::InPlace),
        _ => Err(value.wrong("not auto, atomic or inplace")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = TABLE
            .iter()
            .flat_map(|s| s.aliases.iter().copied().chain([s.name]))
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.iter().all(|n| !n.contains('-')));
    }

    #[test]
    fn defaults_are_valid() {
        for spec in TABLE.iter().filter(|s| !s.default.is_empty()) {
            let mut settings = Settings::default();
            assert_eq!(
                (spec.set)(&mut settings, Value(spec.default.as_bytes())),
                Ok(()),
                "{}",
                spec.name
            );
        }
    }
}
