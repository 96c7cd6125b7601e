//! VxWorks.

use super::EntryKind;
use super::line::{self, Outcome, Told, is_digits, number, two_digits, unpadded, word};
use super::months;
use super::time::{Clock, Stamp, TimeOfDay, year};

/// `2048  Feb-28-1998  05:23:30  name  <DIR>`: the name padded on both sides.
pub(super) fn entry(text: &[u8], clock: &Clock) -> Outcome {
    let Some((size, kind, stamp, name)) = read(text) else {
        return if is_header(text) {
            Outcome::Skip
        } else {
            Outcome::NotMine
        };
    };
    let told = Told {
        size: number(size),
        modified: clock.modified(&stamp),
        ..Told::default()
    };
    line::entry(name, kind, told)
}

fn read(text: &[u8]) -> Option<(&[u8], EntryKind, Stamp, &[u8])> {
    let (size, rest) = word(text).filter(|(size, _)| is_digits(size))?;
    let (date, rest) = word(rest)?;
    let mut parts = date.split(|b| *b == b'-');
    let (month, day, y) = (parts.next()?, parts.next()?, parts.next()?);
    let day = Stamp::day(year(y)?, months::by_name(month)?, two_digits(day)?);
    let (time, rest) = word(rest)?;
    let name = unpadded(rest);
    let (kind, name) = match name.strip_suffix(b"<DIR>") {
        Some(padded) if padded.ends_with(b" ") => {
            let last = padded.iter().rposition(|b| *b != b' ');
            (
                EntryKind::Directory,
                &padded[..last.map_or(0, |last| last + 1)],
            )
        }
        _ => (EntryKind::File, name),
    };
    Some((size, kind, day.at(TimeOfDay::read(time)?), name))
}

/// `  size   date   time   name`, or the dashes under it.
fn is_header(text: &[u8]) -> bool {
    let mut rest = text;
    let names: [&[u8]; 4] = [b"size", b"date", b"time", b"name"];
    for name in names {
        match word(rest) {
            Some((found, behind)) if found == name || found.iter().all(|b| *b == b'-') => {
                rest = behind;
            }
            _ => return false,
        }
    }
    unpadded(rest).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_strangers() {
        let cases = [
            (
                "5 Feb-28-1998 05:23:30 a b  <DIR>",
                Some((EntryKind::Directory, "a b")),
            ),
            (
                "5 Feb-28-1998 05:23:30 a<DIR>",
                Some((EntryKind::File, "a<DIR>")),
            ),
            (
                "5 Feb-28-1998 05:23:30 <DIR>",
                Some((EntryKind::File, "<DIR>")),
            ),
            ("5 Foo-28-1998 05:23:30 a", None),
            ("5 Feb-28-1998 a", None),
        ];
        for (text, expected) in cases {
            let found = read(text.as_bytes()).map(|(_, kind, _, name)| (kind, name));
            assert_eq!(
                found,
                expected.map(|(kind, name)| (kind, name.as_bytes())),
                "{text}"
            );
        }
        assert!(is_header(b" size date time name"));
        assert!(is_header(b"---- ---- -- ---"));
        assert!(!is_header(b"size date time"));
    }
}
