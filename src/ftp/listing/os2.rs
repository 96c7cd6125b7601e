//! OS/2.

use super::EntryKind;
use super::dos::{DayOrder, date_fields, date_stamp};
use super::line::{self, Outcome, Told, is_digits, number, unpadded, word};
use super::time::{Clock, Stamp, TimeOfDay};

/// ` 1123 DIR  A    10-05-100  23:38  name`: size, attributes, date, time, and the name padded.
pub(super) fn entry(text: &[u8], clock: &Clock) -> Outcome {
    let Some((size, kind, stamp, name)) = read(text) else {
        return Outcome::NotMine;
    };
    let told = Told {
        size: number(size),
        modified: clock.modified(&stamp),
        ..Told::default()
    };
    line::entry(name, kind, told)
}

fn read(text: &[u8]) -> Option<(&[u8], EntryKind, Stamp, &[u8])> {
    let (size, mut rest) = word(text).filter(|(size, _)| is_digits(size))?;
    let mut kind = EntryKind::File;
    loop {
        let (column, behind) = word(rest)?;
        rest = behind;
        match column {
            b"DIR" => kind = EntryKind::Directory,
            // Archive, read-only, hidden, system.
            _ if column.iter().all(|b| b"ARHS".contains(b)) => {}
            _ => {
                let day = date_stamp(date_fields(column)?, DayOrder::MonthFirst)?;
                let (time, rest) = word(rest)?;
                return Some((size, kind, day.at(TimeOfDay::read(time)?), unpadded(rest)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_and_strangers() {
        let cases = [
            (
                "0 DIR  12-30-97   12:32  a b",
                Some((EntryKind::Directory, "a b")),
            ),
            (
                " 5 RHSA A 12-30-97 12:32 DIR",
                Some((EntryKind::File, "DIR")),
            ),
            ("5 12-30-97 12:32 x", Some((EntryKind::File, "x"))),
            ("5 B 12-30-97 12:32 x", None),
            ("x DIR 12-30-97 12:32 x", None),
            ("5 DIR", None),
        ];
        for (text, expected) in cases {
            let found = read(text.as_bytes()).map(|(_, kind, _, name)| (kind, name));
            assert_eq!(
                found,
                expected.map(|(kind, name)| (kind, name.as_bytes())),
                "{text}"
            );
        }
    }
}
