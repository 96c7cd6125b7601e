//! OpenVMS: names with versions, whose lines may be broken behind the name.

use std::collections::HashMap;

use super::date;
use super::line::{self, Outcome, Table, Told, is_digits, number, unpadded, word};
use super::time::{Clock, Stamp, TimeOfDay};
use super::{Entry, EntryKind};

/// `NAME.EXT;3   9/9   2-JUN-1998 07:32:04  [GROUP,OWNER]  (RWED,RWED,RWED,RE)`: name and version,
/// blocks, time, owner, protection. `next` is the line behind this one.
///
/// Without the header `Directory …` a line must have its columns: anything can hold a `;`.
pub(super) fn entry(
    text: &[u8],
    next: Option<&[u8]>,
    table: Option<Table>,
    clock: &Clock,
) -> Outcome {
    let in_table = table == Some(Table::Directory);
    if is_header(text) {
        return Outcome::Header(Table::Directory);
    }
    let Some((name, version, rest)) = split(text) else {
        let total = text.starts_with(b"Total of ") || text.starts_with(b"Grand total of ");
        return if in_table && total {
            Outcome::Skip
        } else {
            Outcome::NotMine
        };
    };
    let continued =
        next.filter(|next| unpadded(rest).is_empty() && next.len() > unpadded(next).len());
    let wraps = continued.is_some_and(|next| !unpadded(next).is_empty());
    let columns = if wraps {
        next.unwrap_or_default()
    } else {
        rest
    };
    let stamp = details(columns);
    // `<%SYSTEM-F-NOPRIV, insufficient privilege…>` in place of the columns.
    let refused = unpadded(columns).starts_with(b"<%");
    if !in_table && stamp.is_none() && !refused {
        return Outcome::NotMine;
    }
    let (kind, name) = match name.len().checked_sub(4).map(|at| name.split_at(at)) {
        Some((stem, ext)) if ext.eq_ignore_ascii_case(b".DIR") => (EntryKind::Directory, stem),
        _ => (EntryKind::File, name),
    };
    let told = Told {
        modified: stamp.and_then(|stamp| clock.modified(&stamp)),
        ..Told::default()
    };
    match line::entry(name, kind, told) {
        Outcome::Entry(entry) => Outcome::Version {
            entry,
            version,
            wraps,
        },
        other => other,
    }
}

/// Of every name the entry with the highest version, in the order of the listing. Files and
/// directories do not compete: `A.DIR;1` is the directory `A`.
pub(super) fn newest(entries: Vec<Entry>, versions: &[(usize, u64)]) -> Vec<Entry> {
    let key = |at: usize| {
        (
            entries[at].name.as_slice(),
            entries[at].kind == EntryKind::Directory,
        )
    };
    let mut best: HashMap<(&[u8], bool), (usize, u64)> = HashMap::new();
    for &(at, version) in versions {
        let kept = best.entry(key(at)).or_insert((at, version));
        if version > kept.1 {
            *kept = (at, version);
        }
    }
    let mut keep = vec![true; entries.len()];
    for &(at, _) in versions {
        keep[at] = best.get(&key(at)).is_some_and(|kept| kept.0 == at);
    }
    let kept = entries.into_iter().zip(keep);
    kept.filter_map(|(entry, keep)| keep.then_some(entry))
        .collect()
}

/// `Directory DISK$USER1:[TEMP]`.
fn is_header(text: &[u8]) -> bool {
    text.starts_with(b"Directory ") && matches!(text.last(), Some(b']' | b'>'))
}

/// Name, version, and the text behind them: cut at the first `;` that only digits part from a blank
/// or the end.
fn split(text: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    let mut from = 0;
    loop {
        let semicolon = from + text[from..].iter().position(|b| *b == b';')?;
        let behind = &text[semicolon + 1..];
        let end = behind.iter().position(|b| !b.is_ascii_digit());
        let (version, rest) = behind.split_at(end.unwrap_or(behind.len()));
        if !version.is_empty() && matches!(rest.first(), None | Some(b' ' | b'\t')) {
            return Some((
                &text[..semicolon],
                number(version).unwrap_or(u64::MAX),
                rest,
            ));
        }
        from = semicolon + 1;
    }
}

/// The time in `9/9  2-JUN-1998 07:32:04 …` or `1 16-FEB-2009 00:49 …`.
fn details(text: &[u8]) -> Option<Stamp> {
    let (blocks, rest) = word(text)?;
    if !blocks.split(|b| *b == b'/').all(is_digits) {
        return None;
    }
    let (stamp, _) = date::read(rest)?;
    // VMS counts hundredths; a few servers print them, and no command could set them.
    let time = stamp.time.map(|time| TimeOfDay {
        nanosecond: 0,
        ..time
    });
    Some(Stamp { time, ..stamp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_at_their_version() {
        let cases = [
            ("A.B;12  3/3", Some(("A.B", 12, "  3/3"))),
            ("A;B.C;1", Some(("A;B.C", 1, ""))),
            ("A;99999999999999999999999 x", Some(("A", u64::MAX, " x"))),
            ("A; 1", None),
            ("A;-1", None),
            ("A;1x", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(n, v, r)| (n.as_bytes(), v, r.as_bytes()));
            assert_eq!(split(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn columns_behind_the_name() {
        for (text, expected) in [
            ("9/9 2-JUN-1998 07:32:04", true),
            ("  118  29-FEB-2008 12:45:27.64", true),
            ("9/9 2-JUN-1998", true),
            ("x 2-JUN-1998 07:32:04", false),
            ("9/9", false),
            ("", false),
        ] {
            assert_eq!(details(text.as_bytes()).is_some(), expected, "{text}");
        }
    }
}
