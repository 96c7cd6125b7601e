//! IBM i (AS/400) with `SITE LISTFMT 0`, its own form.

use super::EntryKind;
use super::dos::{DayOrder, date_stamp};
use super::line::{self, Outcome, Told, is_digits, number, unpadded, word};
use super::time::{Clock, Stamp, TimeOfDay};

/// `OWNER  size date time *TYPE  name`, the name padded; members of a file have no size and no date.
pub(super) fn entry(text: &[u8], clock: &Clock) -> Outcome {
    let Some((size, stamp, kind, name)) = read(text) else {
        return Outcome::NotMine;
    };
    let told = Told {
        size,
        modified: stamp.and_then(|stamp| clock.modified(&stamp)),
        ..Told::default()
    };
    line::entry(name, kind, told)
}

type Columns<'a> = (Option<u64>, Option<Stamp>, EntryKind, &'a [u8]);

fn read(text: &[u8]) -> Option<Columns<'_>> {
    let (_owner, rest) = word(text)?;
    let (mut column, mut rest) = word(rest)?;
    let (mut size, mut stamp) = (None, None);
    if is_digits(column) {
        size = number(column);
        (column, rest) = word(rest)?;
        if !column.starts_with(b"*") {
            let day = date(column)?;
            let (time, behind) = word(rest)?;
            stamp = Some(day.at(TimeOfDay::read(time)?));
            (column, rest) = word(behind)?;
        }
    }
    let object = column.strip_prefix(b"*").filter(|t| !t.is_empty())?;
    if !object
        .iter()
        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    {
        return None;
    }
    let name = unpadded(rest);
    let kind = match object {
        b"DIR" | b"DDIR" | b"LIB" | b"FLR" => EntryKind::Directory,
        b"SYMLNK" => EntryKind::Symlink,
        _ if name.ends_with(b"/") => EntryKind::Directory,
        _ => EntryKind::File,
    };
    Some((size, stamp, kind, name))
}

/// `MM/DD/YY`, or `DD.MM.YY`: the date format of the job, which its separator gives away.
fn date(column: &[u8]) -> Option<Stamp> {
    let separator = *column.iter().find(|b| !b.is_ascii_digit())?;
    let order = match separator {
        b'/' => DayOrder::MonthFirst,
        b'.' => DayOrder::DayFirst,
        _ => return None,
    };
    let mut parts = column.split(|b| *b == separator);
    let fields = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then(|| date_stamp(fields, order))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_strangers() {
        let cases = [
            (
                "Q 1 02/23/00 15:09:55 *DIR   a b/",
                Some((Some(1), EntryKind::Directory, "a b/")),
            ),
            (
                "Q 1 29.06.13 15:45:09 *STMF  *x",
                Some((Some(1), EntryKind::File, "*x")),
            ),
            ("Q 1 *STMF x", Some((Some(1), EntryKind::File, "x"))),
            (
                "Q   *MEM A.FILE/B.MBR",
                Some((None, EntryKind::File, "A.FILE/B.MBR")),
            ),
            ("Q 1 02-23-00 15:09:55 *DIR x", None),
            ("Q 1 02/23/00 15:09:55 * x", None),
            ("Q 1 02/23/00 x *DIR x", None),
        ];
        for (text, expected) in cases {
            let found = read(text.as_bytes()).map(|(size, _, kind, name)| (size, kind, name));
            let expected = expected.map(|(size, kind, name)| (size, kind, name.as_bytes()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
