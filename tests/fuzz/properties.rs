//! What must hold whatever the bytes are. `tests/fuzz` tries it on changed samples, the targets in
//! `fuzz` on what a fuzzer finds.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "a fuzz target calls one of these"
)]
#![allow(
    clippy::unwrap_used,
    reason = "what must hold and does not is the finding"
)]

use std::time::{Duration, SystemTime};

use ftpfs::cli::readers::{SourceParts, source};
use ftpfs::fs::readers::link_target;
use ftpfs::ftp::listing::{Entry, EntryKind, ListingClock, ListingFormat, ParsedListing, parse};
use ftpfs::ftp::readers::{directory, epsv_port, pasv_port, replies};
use ftpfs::ftp::{RemotePath, Reply, check_name};
use ftpfs::remote::readers::listing as receive;

/// What must hold of these bytes; panics where it does not.
pub type Property = fn(&[u8]);

/// Each kind of bytes, and what must hold for it.
pub const ALL: [(&str, Property); 6] = [
    ("reply", reply),
    ("mlsd", mlsd),
    ("list", list),
    ("passive", passive),
    ("pwd", pwd),
    ("url", url),
];

/// More of one line is no reply.
const REPLY_LINE: usize = 8000;

/// A number that depends on all the bytes (FNV-1a): what is not in the input is drawn from it.
fn number_of(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The bytes as reads of the network might bring them, `most` at a time.
fn pieces(data: &[u8], most: u64) -> Vec<&[u8]> {
    let mut state = number_of(data) | 1;
    let mut rest = data;
    let mut found = Vec::new();
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let length = usize::try_from(state % most + 1).unwrap();
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        found.push(piece);
        rest = behind;
    }
    found
}

/// Nothing that moves the cursor of a terminal, forges a line of a log, or turns text around.
#[track_caller]
fn is_harmless(text: &str) {
    let bad = text.chars().find(|c| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    });
    assert_eq!(bad, None, "{text:?}");
}

/// Replies are the same however their bytes come, keep no more than came, and are shown in one
/// short line.
pub fn reply(data: &[u8]) {
    let (found, end) = replies([data]);
    for most in [1, 7, 5000] {
        let (again, its_end) = replies(pieces(data, most));
        assert!(
            again == found,
            "{again:?} in pieces of {most}, else {found:?}"
        );
        assert_eq!(
            its_end.as_ref().map_err(ToString::to_string),
            end.as_ref().map_err(ToString::to_string),
            "in pieces of {most}"
        );
    }
    let kept =
        |reply: &Reply| reply.text().len() + reply.inner_lines().map(<[u8]>::len).sum::<usize>();
    assert!(found.iter().map(kept).sum::<usize>() <= data.len());
    for reply in &found {
        assert!((100..600).contains(&reply.code()));
        let negative = reply.code() >= 400;
        assert_eq!(reply.is_negative(), negative);
        assert_eq!(reply.is_completion(), reply.code() / 100 == 2);
        assert_eq!(reply.is_preliminary(), reply.code() < 200);
        let shown = reply.to_string();
        assert!(shown.len() <= 4096, "{} bytes", shown.len());
        is_harmless(&shown);
    }
    if let Err(error) = end {
        let shown = error.to_string();
        assert!(shown.len() <= 4096, "{} bytes", shown.len());
        is_harmless(&shown);
    }
}

/// MLSD: each line stands for itself.
pub fn mlsd(data: &[u8]) {
    let (listing, clock) = listing(ListingFormat::Mlsd, data);
    let ends: Vec<usize> = (0..data.len()).filter(|at| data[*at] == b'\n').collect();
    if ends.is_empty() {
        return;
    }
    let at = ends[usize::try_from(number_of(data) % ends.len() as u64).unwrap()] + 1;
    let mut first = parse(ListingFormat::Mlsd, &data[..at], clock);
    let second = parse(ListingFormat::Mlsd, &data[at..], clock);
    first.entries.extend(second.entries);
    first.unparsed.extend(second.unparsed);
    assert!(first == listing, "{first:?} in two parts, else {listing:?}");
}

/// LIST in all forms.
pub fn list(data: &[u8]) {
    listing(ListingFormat::List, data);
}

fn listing(format: ListingFormat, data: &[u8]) -> (ParsedListing, ListingClock) {
    let number = number_of(data);
    let clock = ListingClock {
        now: SystemTime::UNIX_EPOCH + Duration::from_secs((number >> 8) % (1 << 32)),
        utc_offset: [0, 3600, -12_600, 50_400][usize::try_from(number % 4).unwrap()],
    };
    let listing = parse(format, data, clock);
    let whole = receive([data]).map_err(|e| e.to_string());
    for most in [7, 3000] {
        let received = receive(pieces(data, most)).map_err(|e| e.to_string());
        assert!(received == whole, "in pieces of {most}");
        if let Ok(bytes) = received {
            assert!(
                parse(format, &bytes, clock) == listing,
                "in pieces of {most}"
            );
        }
    }
    let lines = data.split(|b| *b == b'\n').count();
    assert!(listing.entries.len() + listing.unparsed.len() <= lines);
    let unparsed: usize = listing.unparsed.iter().map(Vec::len).sum();
    let held: usize = listing.entries.iter().map(held).sum();
    // A byte that is not UTF-8 takes three in `perm`.
    assert!(unparsed + held <= 3 * data.len());
    for entry in &listing.entries {
        check(entry, data);
    }
    (listing, clock)
}

fn held(entry: &Entry) -> usize {
    let target = entry.target.as_ref().map_or(0, Vec::len);
    entry.name.len() + target + entry.perm.as_ref().map_or(0, String::len)
}

/// A name is one component and the server's own bytes; a link does not lead out.
fn check(entry: &Entry, data: &[u8]) {
    let here = |part: &[u8]| data.windows(part.len()).any(|window| window == part);
    assert_eq!(check_name(&entry.name), Ok(()));
    assert!(here(&entry.name), "invented: {}", entry.name.escape_ascii());
    assert!(entry.mode.is_none_or(|mode| mode <= 0o7777));
    assert!(entry.size.is_none() || entry.kind == EntryKind::File);
    assert!(entry.target.is_none() || entry.kind == EntryKind::Symlink);
    let dir = RemotePath::parse(b"/home/me").unwrap();
    let path = dir.join(&entry.name).unwrap();
    path_is_sound(&path);
    let Some(target) = &entry.target else { return };
    assert!(
        !target.is_empty() && here(target),
        "invented: {}",
        target.escape_ascii()
    );
    for (root, deep) in [("/", 2), ("/home", 1), ("/home/me", 0)] {
        let root = RemotePath::parse(root.as_bytes()).unwrap();
        if let Some(shown) = link_target(&root, &path, target) {
            stays_inside(&shown, deep);
        }
    }
}

/// What the kernel follows from a folder this deep below the mount's root.
fn stays_inside(shown: &[u8], deep: usize) {
    let text = shown.escape_ascii();
    assert!(
        !shown.is_empty() && shown[0] != b'/' && !shown.contains(&0),
        "{text}"
    );
    let names = shown
        .split(|b| *b == b'/')
        .filter(|n| !matches!(*n, b"" | b"."));
    let names: Vec<&[u8]> = names.collect();
    let up = names.iter().take_while(|name| **name == b"..").count();
    assert!(up <= deep, "{text} climbs {up} of {deep}");
    // Behind a name it would be applied to what another link leads to.
    assert!(!names[up..].contains(&&b".."[..]), "{text}");
}

fn path_is_sound(path: &RemotePath) {
    let bytes = path.as_bytes();
    assert_eq!(bytes[0], b'/');
    assert!(!bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
    assert_eq!(RemotePath::parse(bytes).as_ref(), Ok(path));
    assert_eq!(RemotePath::root().resolve(&bytes[1..]).as_ref(), Ok(path));
    is_harmless(&path.to_string());
    let Some(parent) = path.parent() else {
        assert!(path.is_root());
        return;
    };
    assert_eq!(parent.join(path.name()).as_ref(), Ok(path));
    assert_eq!(parent.resolve(path.name()).as_ref(), Ok(path));
    assert_eq!(path.resolve(b"..").as_ref(), Ok(&parent));
    assert!(path.starts_with(&parent) && !parent.starts_with(path));
    let elsewhere = RemotePath::parse(b"/else/where").unwrap();
    let moved = path.moved(&parent, &elsewhere).unwrap();
    assert_eq!(moved.moved(&elsewhere, &parent).as_ref(), Some(path));
}

/// The answer of one line to a command.
fn answer(code: &str, text: &[u8]) -> Option<Reply> {
    let line = [code.as_bytes(), b" ", text, b"\r\n"].concat();
    replies([&line[..]]).0.into_iter().next()
}

/// EPSV and PASV: the port stands in the answer, and belongs to no service.
pub fn passive(data: &[u8]) {
    let Some(found) = answer("229", data) else {
        return;
    };
    let contains = |number: u16| {
        let digits = number.to_string();
        data.windows(digits.len())
            .any(|window| window == digits.as_bytes())
    };
    if let Some(port) = epsv_port(&found) {
        assert!(port >= 1024 && contains(port), "{port}");
    }
    if let Some(port) = pasv_port(&found) {
        let [high, low] = port.to_be_bytes();
        assert!(
            port >= 1024 && contains(high.into()) && contains(low.into()),
            "{port}"
        );
    }
    let [high, low, ..] = data else { return };
    let port = u16::from_be_bytes([*high, *low]);
    let usable = Some(port).filter(|port| *port >= 1024);
    let epsv = answer("229", format!("Extended (|||{port}|)").as_bytes()).unwrap();
    let pasv = answer(
        "227",
        format!("Passive 203,0,113,9,{high},{low}").as_bytes(),
    )
    .unwrap();
    assert_eq!((epsv_port(&epsv), pasv_port(&pasv)), (usable, usable));
}

/// PWD: a directory is a sound path, and every path comes through.
pub fn pwd(data: &[u8]) {
    if let Some(found) = answer("257", data) {
        match directory(&found) {
            Ok(path) => path_is_sound(&path),
            Err(error) => is_harmless(&error.to_string()),
        }
    }
    for path in [RemotePath::parse(data), RemotePath::root().join(data)] {
        let Ok(path) = path else { continue };
        path_is_sound(&path);
        let mut quoted = b"\"".to_vec();
        for byte in path.as_bytes() {
            quoted.extend(std::iter::repeat_n(*byte, 1 + usize::from(*byte == b'"')));
        }
        quoted.extend(b"\" is the current directory");
        if quoted.len() < REPLY_LINE {
            let told = answer("257", &quoted).unwrap();
            assert_eq!(directory(&told).unwrap(), path);
        }
    }
}

/// Stands for a password: in letters, and in figures, which may be taken for a port.
const SECRETS: [&str; 2] = ["s3cr3tcanary", "98765432109"];

/// The source: nothing in it can end a command line, and its password is never shown.
pub fn url(data: &[u8]) {
    let stands_in = |secret: &str| data.windows(secret.len()).any(|w| w == secret.as_bytes());
    if SECRETS.into_iter().any(stands_in) {
        // A fuzzer finds out what is looked for; shown elsewhere it is no password.
        return;
    }
    match source(data) {
        Ok(found) => {
            is_sound(&found);
            if let Some(at) = found.password_at.clone() {
                password_is_hidden(data, at, &found);
            }
        }
        Err(message) => is_harmless(&message),
    }
    for secret in SECRETS {
        for front in [
            "ftp://u:",
            "FTP://:",
            "curlftpfs#u:",
            "ftpfs#ftp://u:",
            "http://u:",
            "u:",
        ] {
            let text = [front.as_bytes(), secret.as_bytes(), data].concat();
            match source(&text) {
                // `u:NAME` without `@` is a folder, as scp takes it.
                Err(message) if front != "u:" || data.contains(&b'@') => {
                    assert!(!message.contains(secret), "{message}");
                }
                Err(_) => {}
                Ok(found) => {
                    is_sound(&found);
                    let is_password = found
                        .password
                        .as_ref()
                        .is_some_and(|p| p.starts_with(secret.as_bytes()));
                    assert!(
                        !(is_password && found.shown.contains(secret)),
                        "{}",
                        found.shown
                    );
                }
            }
        }
    }
}

fn is_sound(found: &SourceParts) {
    assert!(!found.host.is_empty() && found.port != 0);
    assert!(
        !found
            .host
            .contains(|c: char| c.is_whitespace() || c.is_control())
    );
    let sent = [
        found.user.as_ref(),
        found.password.as_ref(),
        Some(&found.path),
    ];
    for bytes in sent.into_iter().flatten() {
        assert!(!bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
    }
}

/// With another password in its place the source is the same, and does not show it in any form.
fn password_is_hidden(data: &[u8], at: std::ops::Range<usize>, found: &SourceParts) {
    let secret = SECRETS[0];
    let encoded: String = secret.bytes().map(|b| format!("%{b:02x}")).collect();
    for typed in [secret, &encoded] {
        let text = [&data[..at.start], typed.as_bytes(), &data[at.end..]].concat();
        let other = source(&text).unwrap();
        assert_eq!(other.password.as_deref(), Some(secret.as_bytes()));
        let rest = |s: &SourceParts| (s.host.clone(), s.port, s.user.clone(), s.path.clone());
        assert!(
            rest(&other) == rest(found),
            "{}: {}",
            text.escape_ascii(),
            other.shown
        );
        let bytes = format!("{:?}", secret.as_bytes());
        for form in [secret, &encoded, bytes.trim_matches(['[', ']'])] {
            assert!(!other.shown.contains(form), "{}", other.shown);
        }
    }
}
