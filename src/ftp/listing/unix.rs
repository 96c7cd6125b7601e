//! `ls -l` and the many servers that imitate it.

use super::EntryKind;
use super::date;
use super::line::{
    self, Outcome, Told, after_blank, grouped_number, is_digits, number, octal_mode, unpadded, word,
};
use super::time::{Clock, Stamp, epoch};

/// `-rw-r--r-- 1 user group size date name`, with columns missing, glued together or holding blanks.
pub(super) fn entry(text: &[u8], clock: &Clock) -> Outcome {
    let Some((kind, mode, rest)) = permissions(text) else {
        return Outcome::NotMine;
    };
    let columns = match mode {
        Some(_) => columns(rest).or_else(|| dateless(rest)),
        None => untold(rest),
    };
    let Some(columns) = columns else {
        return Outcome::Bad;
    };
    let (name, target) = match kind {
        EntryKind::Symlink => split_target(columns.name, columns.size),
        _ => (columns.name, None),
    };
    let told = Told {
        size: columns.size,
        modified: columns.stamp.and_then(|stamp| clock.modified(&stamp)),
        mode,
        target,
        perm: None,
    };
    line::entry(name, kind, told)
}

/// The type letter, the permissions (`None` for nine `?`), and the text behind them.
fn permissions(text: &[u8]) -> Option<(EntryKind, Option<u16>, &[u8])> {
    let (letter, rest) = text.split_first()?;
    let kind = match letter {
        b'-' => EntryKind::File,
        b'd' => EntryKind::Directory,
        b'l' => EntryKind::Symlink,
        // Devices, pipes, sockets, and the doors of Solaris.
        b'b' | b'c' | b'p' | b's' | b'D' => EntryKind::Other,
        _ => return None,
    };
    let (bits, rest) = rest.split_at_checked(9)?;
    let mode = match bits {
        b"?????????" => None,
        _ => Some(mode(bits)?),
    };
    // An access list (`+`), a security label (`.`), attributes of macOS (`@`), or nothing (AIX: `-`).
    let rest = match rest {
        [b'+' | b'.' | b'@' | b'-', rest @ ..] => rest,
        _ => rest,
    };
    match rest {
        // More than 999 links touch the mode.
        [b' ' | b'\t' | b'0'..=b'9', ..] => Some((kind, mode, rest)),
        _ => None,
    }
}

/// Nine letters as permission bits, set-id and sticky included.
fn mode(bits: &[u8]) -> Option<u16> {
    let mut mode = 0;
    let mut set = 0;
    for (class, triple) in bits.chunks_exact(3).enumerate() {
        let read = match triple[0] {
            b'r' => 4,
            b'-' => 0,
            _ => return None,
        };
        let write = match triple[1] {
            b'w' => 2,
            b'-' => 0,
            _ => return None,
        };
        let (execute, special) = match triple[2] {
            b'-' => (0, false),
            b'x' => (1, false),
            b's' | b't' => (1, true),
            // `l` is the mandatory lock of Solaris: set-group-id without execution.
            b'S' | b'T' | b'l' | b'L' => (0, true),
            _ => return None,
        };
        mode = mode << 3 | read | write | execute;
        // Set-user-id, set-group-id and sticky stand with the classes that they belong to.
        if special {
            set |= 4 >> class;
        }
    }
    Some(set << 9 | mode)
}

/// What stands behind the permissions.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    /// The size column, if it is an exact number.
    pub(super) size: Option<u64>,
    pub(super) stamp: Option<Stamp>,
    /// The rest of the line behind the date and one blank.
    pub(super) name: &'a [u8],
}

/// Finds the date, the size before it and the name behind it.
///
/// Names may look like dates, and owners like anything. So the plain columns `links user group size
/// date` are tried first; else the date is the first thing of its shape with a size in front of it.
pub(super) fn columns(text: &[u8]) -> Option<Columns<'_>> {
    plain(text)
        .and_then(|(size, rest)| dated(size, rest))
        .or_else(|| {
            let mut rest = text;
            while let Some((column, behind)) = word(rest) {
                if let Some(found) = size(column).and_then(|size| dated(size, behind)) {
                    return Some(found);
                }
                rest = behind;
            }
            None
        })
}

/// `links user group size`, and the text behind them.
fn plain(text: &[u8]) -> Option<(Size, &[u8])> {
    let (links, rest) = word(text)?;
    if !is_digits(links) {
        return None;
    }
    let (_user, rest) = word(rest)?;
    let (_group, rest) = word(rest)?;
    let (column, rest) = word(rest)?;
    Some((size(column)?, rest))
}

fn dated(Size(size): Size, text: &[u8]) -> Option<Columns<'_>> {
    let (stamp, rest) = date::read(text)?;
    Some(Columns {
        size,
        stamp: Some(stamp),
        name: after_blank(rest),
    })
}

/// The plain columns without any date.
fn dateless(text: &[u8]) -> Option<Columns<'_>> {
    let (Size(size), rest) = plain(text)?;
    Some(Columns {
        size,
        stamp: None,
        name: after_blank(rest),
    })
}

/// `-????????? ? ? ? ? ? name`: GNU ls for what it could list but not stat.
fn untold(text: &[u8]) -> Option<Columns<'_>> {
    let mut rest = text;
    for _ in 0..5 {
        let (column, behind) = word(rest)?;
        if column != b"?" {
            return None;
        }
        rest = behind;
    }
    Some(Columns {
        size: None,
        stamp: None,
        name: after_blank(rest),
    })
}

/// A size column; `None` inside if it is not an exact number of bytes.
#[derive(Debug, Clone, Copy)]
struct Size(Option<u64>);

/// Reads what can be a size: `512`, `33.5k`, the `1,` and `3` of a device, the overflown `-1`, and
/// the digits that a long group name touches.
fn size(column: &[u8]) -> Option<Size> {
    let unsigned = column.strip_prefix(b"-").unwrap_or(column);
    if unsigned.first()?.is_ascii_digit() {
        let digits = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b',');
        let end = unsigned
            .iter()
            .position(|b| !digits(b))
            .unwrap_or(unsigned.len());
        let unit = &unsigned[end..];
        let is_size = unit.len() <= 3 && unit.iter().all(u8::is_ascii_alphabetic);
        return is_size.then(|| Size(grouped_number(column)));
    }
    let end = column.iter().rposition(|b| !b.is_ascii_digit())? + 1;
    let glued = &column[end..];
    (!glued.is_empty() && column[0].is_ascii_alphabetic()).then(|| Size(number(glued)))
}

/// Name and target of a link. Both may hold arrows: the size of a link is the length of its target,
/// which tells the right one; where it does not (a followed link), it is the first.
fn split_target(text: &[u8], size: Option<u64>) -> (&[u8], Option<&[u8]>) {
    const ARROW: &[u8] = b" -> ";
    let by_size = size
        .and_then(|size| {
            text.len()
                .checked_sub(usize::try_from(size).ok()?)?
                .checked_sub(ARROW.len())
        })
        .filter(|at| text[*at..].starts_with(ARROW));
    let at = by_size.or_else(|| text.windows(ARROW.len()).position(|four| four == ARROW));
    match at {
        Some(at) => (&text[..at], Some(&text[at + ARROW.len()..])),
        None => (text, None),
    }
}

/// `0100644 uid gid size epoch   name`: the mode as a number, the time as seconds since 1970.
pub(super) fn numeric_entry(text: &[u8]) -> Outcome {
    numeric(text).map_or(Outcome::NotMine, |(name, kind, told)| {
        line::entry(name, kind, told)
    })
}

fn numeric(text: &[u8]) -> Option<(&[u8], EntryKind, Told<'_>)> {
    if text.first() != Some(&b'0') {
        return None;
    }
    let (mode, rest) = word(text)?;
    let (uid, rest) = word(rest)?;
    let (gid, rest) = word(rest)?;
    let (size, rest) = word(rest)?;
    let (time, rest) = word(rest)?;
    if !(5..=7).contains(&mode.len()) || ![uid, gid, size, time].into_iter().all(is_digits) {
        return None;
    }
    let bits = mode.iter().try_fold(0u32, |value, b| {
        matches!(b, b'0'..=b'7').then(|| value << 3 | u32::from(b - b'0'))
    })?;
    let kind = match bits & 0o170_000 {
        0o100_000 => EntryKind::File,
        0o040_000 => EntryKind::Directory,
        0o120_000 => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    let size = number(size);
    let (name, target) = match kind {
        EntryKind::Symlink => split_target(unpadded(rest), size),
        _ => (unpadded(rest), None),
    };
    let told = Told {
        size,
        modified: number(time).and_then(epoch),
        mode: octal_mode(mode),
        target,
        perm: None,
    };
    Some((name, kind, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_letters() {
        for (bits, expected) in [
            ("rwxr-xr-x", Some(0o755)),
            ("rwsrwsrwt", Some(0o7777)),
            ("rwSrwSrwT", Some(0o7666)),
            ("r-xr-lr--", Some(0o2544)),
            ("---------", Some(0)),
            ("C--E-----", None),
            ("rwxrwxrw ", None),
        ] {
            assert_eq!(mode(bits.as_bytes()), expected, "{bits}");
        }
    }

    #[test]
    fn columns_in_any_number() {
        let cases: [(&str, Option<u64>, bool, &str); 12] = [
            (
                " 1 u g 5 Mar  2 08:00 99 Mar 02 08:00 x",
                Some(5),
                true,
                "99 Mar 02 08:00 x",
            ),
            (
                " 2 root 512 2019-09-26  2020-01-01 10:00",
                Some(512),
                true,
                "2020-01-01 10:00",
            ),
            (
                " u g123 Mar  2 08:00 99 Mar 02 08:00 x",
                Some(123),
                true,
                "99 Mar 02 08:00 x",
            ),
            (" 5 Mar  2 08:00  x ", Some(5), true, " x "),
            (" 1 1 1 1 1 Mar 1 2001 1", Some(1), true, "1"),
            (" 1 u g -1 Mar  2 08:00 x", None, true, "x"),
            (" 1 u g 1,234 Mar  2 08:00 x", Some(1234), true, "x"),
            (" 1 u g 8, 16 Mar  2 08:00 x", Some(16), true, "x"),
            (
                " 1 john smith the group 5 Foo  2 08:00 x",
                Some(5),
                true,
                "x",
            ),
            (" 3 u g 512 no date", Some(512), false, "no date"),
            (" 1 u g 5 Mar  2 08:00", Some(5), true, ""),
            (" 1 u g 5 Mar  2 08:00 ", Some(5), true, ""),
        ];
        for (text, size, dated, name) in cases {
            let text = text.as_bytes();
            let found = columns(text).or_else(|| dateless(text)).unwrap();
            assert_eq!((found.size, found.stamp.is_some()), (size, dated));
            assert_eq!(found.name, name.as_bytes());
        }
    }

    #[test]
    fn links_are_cut_where_their_size_says() {
        let cases = [
            ("a -> b -> c", Some(1), "a -> b", Some("c")),
            ("a -> b -> c", Some(6), "a", Some("b -> c")),
            ("a -> b -> c", Some(4096), "a", Some("b -> c")),
            ("a -> b", None, "a", Some("b")),
            ("a", Some(1), "a", None),
            (" -> b", Some(u64::MAX), "", Some("b")),
        ];
        for (text, size, name, target) in cases {
            let found = split_target(text.as_bytes(), size);
            assert_eq!(
                found,
                (name.as_bytes(), target.map(str::as_bytes)),
                "{text}"
            );
        }
    }
}
