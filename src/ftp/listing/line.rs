//! Lines, words and numbers of a listing, and what becomes of a line.

use super::{Entry, EntryKind, Modified};
use crate::ftp::check_name;

/// Bytes of a name that Linux takes from FUSE (`FUSE_NAME_MAX`; 4095 since Linux 6.14). With a longer one it refuses
/// the reading of the whole directory.
const LONGEST_NAME: usize = 1024;

/// What a parser says of a line.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Another form; the next parser may know it.
    NotMine,
    /// This form, but it names nothing that a directory can hold. No other parser may try.
    Bad,
    /// This form, and by its rules no entry: `.`, `..`, a rule between a header and its table.
    Skip,
    /// The header of a table, whose lines are read by its rules from here on.
    Header(Table),
    /// An entry.
    Entry(Entry),
    /// One version of an entry.
    Version {
        entry: Entry,
        version: u64,
        /// The next line belongs to this one.
        wraps: bool,
    },
}

/// The tables whose lines mean nothing without their header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Data sets of z/OS.
    DataSets,
    /// Members of one data set of z/OS.
    Members,
    /// A directory of OpenVMS.
    Directory,
}

/// The lines: split at LF, without one CR at the end (IIS ends with CRLF, inetutils with LF).
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// What a line says of an entry beside its name and kind.
#[derive(Debug, Default)]
pub(super) struct Told<'a> {
    pub(super) size: Option<u64>,
    pub(super) modified: Option<Modified>,
    pub(super) mode: Option<u16>,
    pub(super) target: Option<&'a [u8]>,
    pub(super) perm: Option<String>,
}

/// The entry of this name, if a directory can hold it.
///
/// One `/` at the end of a directory is decoration (IBM i, VShell, `ls -p`). Sizes of anything but
/// files are those of links, blocks or tables, not of bytes that RETR would send.
pub(super) fn entry(name: &[u8], kind: EntryKind, told: Told<'_>) -> Outcome {
    let name = match kind {
        EntryKind::Directory => name.strip_suffix(b"/").unwrap_or(name),
        _ => name,
    };
    if matches!(name, b"." | b"..") {
        return Outcome::Skip;
    }
    if check_name(name).is_err() || name.len() > LONGEST_NAME {
        return Outcome::Bad;
    }
    Outcome::Entry(Entry {
        name: name.to_vec(),
        kind,
        size: told.size.filter(|_| kind == EntryKind::File),
        modified: told.modified,
        mode: told.mode,
        target: match kind {
            EntryKind::Symlink => told.target.filter(|t| !t.is_empty()).map(<[u8]>::to_vec),
            _ => None,
        },
        perm: told.perm,
    })
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The text from its first non-blank on.
pub(super) fn unpadded(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !is_blank(*b));
    &text[start.unwrap_or(text.len())..]
}

/// The text without the one blank that separates a name from what stands before it.
pub(super) fn after_blank(text: &[u8]) -> &[u8] {
    match text {
        [first, rest @ ..] if is_blank(*first) => rest,
        _ => text,
    }
}

/// The next word, and the text from its end on; `None` at the end of the text.
pub(super) fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = unpadded(text);
    let end = text.iter().position(|b| is_blank(*b)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Whether this is nothing but ASCII digits, at least one.
pub(super) fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// An unsigned decimal number; `None` if it is none or does not fit.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A number of one or two digits: a day, a month, an hour.
pub(super) fn two_digits(text: &[u8]) -> Option<i8> {
    let digit = |b: &u8| b.is_ascii_digit().then(|| i8::try_from(b - b'0').ok())?;
    match text {
        [a] => digit(a),
        [a, b] => Some(digit(a)? * 10 + digit(b)?),
        _ => None,
    }
}

/// An octal number's low 12 bits; `None` if it is none.
pub(super) fn octal_mode(text: &[u8]) -> Option<u16> {
    // pyftpdlib writes octal numbers as Python does.
    let text = text.strip_prefix(b"0o").unwrap_or(text);
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u16, |value, b| {
        matches!(b, b'0'..=b'7').then(|| (value << 3 | u16::from(b - b'0')) & 0o7777)
    })
}

/// A size with commas between its groups of three digits (Windows CE); without any, just a number.
pub(super) fn grouped_number(text: &[u8]) -> Option<u64> {
    if !text.contains(&b',') {
        return number(text);
    }
    let mut groups = text.split(|b| *b == b',');
    let well_formed =
        groups.next().is_some_and(|g| (1..=3).contains(&g.len())) && groups.all(|g| g.len() == 3);
    let digits: Vec<u8> = text.iter().copied().filter(|b| *b != b',').collect();
    well_formed.then(|| number(&digits))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_one_line_end_each() {
        let found: Vec<&[u8]> = lines(b"a\r\nb\n\r\r\n\n c \r\r").collect();
        assert_eq!(found, [&b"a"[..], b"b", b"\r", b"", b" c \r"]);
        assert_eq!(lines(b"").collect::<Vec<_>>(), [&b""[..]]);
    }

    #[test]
    fn numbers() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!(number(b""), None);
        assert_eq!(number(b"-1"), None);
        assert_eq!(grouped_number(b"1,234,567"), Some(1_234_567));
        assert_eq!(grouped_number(b"9,73"), None);
        assert_eq!(grouped_number(b"9,a30"), None);
        assert_eq!(octal_mode(b"0104755"), Some(0o4755));
        assert_eq!(octal_mode(b"08"), None);
        assert_eq!(two_digits(b"123"), None);
    }
}
