//! IBM z/OS (MVS): data sets, and the members of a partitioned one.

use super::EntryKind;
use super::date;
use super::line::{self, Outcome, Table, Told, word};
use super::time::{Clock, Stamp};

/// A line of either table. Which one is told by the header, without which only full lines are known.
pub(super) fn entry(text: &[u8], table: Option<Table>, clock: &Clock) -> Outcome {
    // The longest known line has eleven columns.
    let mut columns: [&[u8]; 16] = [b""; 16];
    let mut count = 0;
    let mut rest = text;
    while let Some((column, behind)) = word(rest) {
        let Some(place) = columns.get_mut(count) else {
            return Outcome::NotMine;
        };
        *place = column;
        count += 1;
        rest = behind;
    }
    let columns = &columns[..count];
    match columns {
        [b"Volume", .., b"Dsname"] => return Outcome::Header(Table::DataSets),
        [b"Name", b"VV.MM" | b"Size", ..] => return Outcome::Header(Table::Members),
        _ => {}
    }
    let found = match table {
        Some(Table::DataSets) => data_set(columns, true),
        Some(Table::Members) => member(columns, true, clock),
        _ => data_set(columns, false).or_else(|| member(columns, false, clock)),
    };
    found.unwrap_or(Outcome::NotMine)
}

/// `SAVE00 3390   2004/06/23  1    1  FB     128  6144  PO  SOURCE.COBOL`, with columns missing
/// for what is migrated, on tape or in VSAM. The date is that of the last reference, and the size
/// counts tracks: neither is told.
fn data_set(columns: &[&[u8]], in_table: bool) -> Option<Outcome> {
    let [first, .., before, name] = columns else {
        return match columns {
            [_, name] if in_table && is_data_set(name) => {
                Some(line::entry(name, EntryKind::File, Told::default()))
            }
            _ => None,
        };
    };
    let referred = columns[1..]
        .iter()
        .take(2)
        .any(|c| *c == b"**NONE**" || is_date(c));
    if !is_data_set(name) || !(in_table || referred && columns.len() >= 7) {
        return None;
    }
    let pseudo = *first == b"Pseudo" && *before == b"Directory";
    let kind = match *before {
        b"PO" | b"PO-E" if referred => EntryKind::Directory,
        _ if pseudo => EntryKind::Directory,
        _ => EntryKind::File,
    };
    Some(line::entry(name, kind, Told::default()))
}

/// `BUILD     01.03 2002/09/12 2002/10/11 09:37    11    11     0 KIL001`: created, changed, records.
/// Members may have no statistics, and those of load libraries have others.
fn member(columns: &[&[u8]], in_table: bool, clock: &Clock) -> Option<Outcome> {
    let (name, told) = columns.split_first()?;
    if !is_member(name) {
        return None;
    }
    let changed = match told {
        [version, created, changed, time, ..] if version.contains(&b'.') && is_date(created) => {
            changed_at(changed, time)
        }
        // The size of a load module is six hexadecimal digits.
        [] if in_table => None,
        [size, ..] if in_table && size.len() >= 6 && size.iter().all(u8::is_ascii_hexdigit) => None,
        _ => return None,
    };
    let told = Told {
        modified: changed.and_then(|stamp| clock.modified(&stamp)),
        ..Told::default()
    };
    Some(line::entry(name, EntryKind::File, told))
}

fn changed_at(day: &[u8], time: &[u8]) -> Option<Stamp> {
    let both = [day, time].join(&b' ');
    date::read(&both).map(|(stamp, _)| stamp)
}

fn is_date(column: &[u8]) -> bool {
    column.len() == 10 && column[4] == b'/' && date::read(column).is_some()
}

/// Up to 44 upper-case letters, digits, national characters and dots; in quotes if it does not
/// begin with the working directory.
fn is_data_set(name: &[u8]) -> bool {
    let legal = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"$#@-.'{".contains(b);
    name.len() <= 46 && name.iter().all(legal)
}

fn is_member(name: &[u8]) -> bool {
    let legal = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"$#@{".contains(b);
    name.len() <= 8 && name.iter().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::listing::ListingClock;
    use std::time::SystemTime;

    #[test]
    fn tables_and_strangers() {
        let (sets, members) = (Some(Table::DataSets), Some(Table::Members));
        let cases: [(Option<Table>, &str, Option<EntryKind>); 13] = [
            (
                None,
                "V 3390 2004/06/23 1 1 FB 128 6144 PO A.B",
                Some(EntryKind::Directory),
            ),
            (
                None,
                "V 2004/06/23 11 FB 128 6144 PS A.B",
                Some(EntryKind::File),
            ),
            (None, "Migrated A.B", None),
            (sets, "Migrated A.B", Some(EntryKind::File)),
            (
                sets,
                "ARCIVE Not Direct Access Device 'A.B'",
                Some(EntryKind::File),
            ),
            (sets, "Pseudo Directory PO", Some(EntryKind::Directory)),
            (sets, "no data sets found", None),
            (sets, "A.B", None),
            (members, "A", Some(EntryKind::File)),
            (
                members,
                "A 000058 000009 00 FO RN RU 31 ANY",
                Some(EntryKind::File),
            ),
            (members, "LONGNAMES", None),
            (members, "no members", None),
            (
                None,
                "A 01.03 2002/09/12 2002/10/11 09:37 11 11 0 K",
                Some(EntryKind::File),
            ),
        ];
        let clock = Clock::new(ListingClock {
            now: SystemTime::UNIX_EPOCH,
            utc_offset: 0,
        });
        for (table, text, expected) in cases {
            let found = match entry(text.as_bytes(), table, &clock) {
                Outcome::Entry(entry) => Some(entry.kind),
                _ => None,
            };
            assert_eq!(found, expected, "{text}");
        }
    }
}
