//! MLSD: facts and names (RFC 3659 section 7).

use super::line::{self, Outcome, Told, number, octal_mode};
use super::time::{Stamp, TimeOfDay, nanoseconds, year};
use super::{EntryKind, Modified, Precision};

/// What one line of MLSD names.
///
/// The facts end at the first `;` with a blank behind it. NcFTPd leaves out the last `;`: then they
/// end at the first blank. The name is everything behind that blank, as it is.
pub(super) fn entry(text: &[u8]) -> Outcome {
    let Some((facts, name)) = split(text) else {
        return Outcome::Bad;
    };
    let mut kind = None;
    let mut told = Told::default();
    for fact in facts.split(|b| *b == b';') {
        let Some(equals) = fact.iter().position(|b| *b == b'=') else {
            continue;
        };
        let (key, value) = (&fact[..equals], &fact[equals + 1..]);
        if key.eq_ignore_ascii_case(b"type") {
            match read_type(value) {
                Type::Unknown => {}
                Type::OtherDirectory => return Outcome::Skip,
                Type::Entry(found, target) => {
                    kind = Some(found);
                    told.target = target;
                }
            }
        } else if key.eq_ignore_ascii_case(b"size") {
            told.size = number(value);
        } else if key.eq_ignore_ascii_case(b"modify") {
            told.modified = modify(value);
        } else if key.eq_ignore_ascii_case(b"unix.mode") {
            told.mode = octal_mode(value);
        } else if key.eq_ignore_ascii_case(b"perm") || key.eq_ignore_ascii_case(b"perms") {
            // FileZilla Server spells it `perms`.
            told.perm = Some(String::from_utf8_lossy(value).to_ascii_lowercase());
        }
    }
    match kind {
        Some(kind) => line::entry(name, kind, told),
        None => Outcome::Bad,
    }
}

fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = match text.windows(2).position(|pair| pair == b"; ") {
        Some(semicolon) => semicolon + 1,
        None => text.iter().position(|b| *b == b' ')?,
    };
    Some((&text[..blank], &text[blank + 1..]))
}

enum Type<'a> {
    /// Empty: as good as not told.
    Unknown,
    /// `cdir` and `pdir`: the listed directory itself and the one above it.
    OtherDirectory,
    Entry(EntryKind, Option<&'a [u8]>),
}

fn read_type(value: &[u8]) -> Type<'_> {
    let is = |name: &[u8]| value.eq_ignore_ascii_case(name);
    if value.is_empty() {
        return Type::Unknown;
    }
    if is(b"file") {
        return Type::Entry(EntryKind::File, None);
    }
    if is(b"dir") {
        return Type::Entry(EntryKind::Directory, None);
    }
    if is(b"cdir") || is(b"pdir") {
        return Type::OtherDirectory;
    }
    // Pure-FTPd: `OS.unix=slink:`, others with the target; ProFTPD: `OS.unix=symlink`.
    for link in [&b"os.unix=slink"[..], b"os.unix=symlink"] {
        if value.len() >= link.len() && value[..link.len()].eq_ignore_ascii_case(link) {
            let colon = value.iter().position(|b| *b == b':');
            return Type::Entry(EntryKind::Symlink, colon.map(|at| &value[at + 1..]));
        }
    }
    Type::Entry(EntryKind::Other, None)
}

/// `YYYYMMDDHHMMSS[.fraction]`, UTC (RFC 3659 section 2.3).
fn modify(value: &[u8]) -> Option<Modified> {
    let (date, fraction) = match value.iter().position(|b| *b == b'.') {
        Some(dot) => (&value[..dot], nanoseconds(&value[dot + 1..])?),
        None => (value, 0),
    };
    if date.len() != 14 {
        return None;
    }
    let two = |at: usize| line::two_digits(&date[at..at + 2]);
    let stamp = Stamp::day(year(&date[..4])?, two(4)?, two(6)?).at(TimeOfDay {
        hour: two(8)?,
        minute: two(10)?,
        second: Some(two(12)?),
        nanosecond: fraction,
    });
    let precision = match fraction {
        0 => Precision::Second,
        _ => Precision::Subsecond,
    };
    Some(Modified {
        time: stamp.utc()?.into(),
        precision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn types() {
        let cases: [(&str, Option<EntryKind>); 8] = [
            ("type=file; n", Some(EntryKind::File)),
            ("TYPE=Dir; n", Some(EntryKind::Directory)),
            ("type=OS.unix=SLINK:/t; n", Some(EntryKind::Symlink)),
            ("type=OS.unix=sock; n", Some(EntryKind::Other)),
            ("type=cdir; n", None),
            ("type=; n", None),
            ("size=3; n", None),
            ("type=file;n", None),
        ];
        for (text, expected) in cases {
            let found = match entry(text.as_bytes()) {
                Outcome::Entry(entry) => Some(entry.kind),
                _ => None,
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn facts() {
        let text =
            b"Perm=RAdfw;Modify=20240229235959.5;UNIX.mode=0104755;size=7;type=file;x=;  n; =";
        let Outcome::Entry(found) = entry(text) else {
            panic!("no entry");
        };
        assert_eq!(found.name, b" n; =");
        assert_eq!((found.size, found.mode), (Some(7), Some(0o4755)));
        assert_eq!(found.perm.as_deref(), Some("radfw"));
        let Outcome::Entry(python) = entry(b"type=file;unix.mode=0o600; n") else {
            panic!("no entry");
        };
        assert_eq!(python.mode, Some(0o600));
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_251_199_500);
        let precision = Precision::Subsecond;
        assert_eq!(found.modified, Some(Modified { time, precision }));
    }

    #[test]
    fn times_that_cost_only_the_time() {
        for value in [
            "",
            "2025",
            "19100101000000",
            "20250230000000",
            "2025010100000x",
            "20250101000000.",
            "20250101240000",
        ] {
            let found = modify(value.as_bytes());
            assert_eq!(found.is_some(), value == "19100101000000", "{value}");
        }
    }
}
