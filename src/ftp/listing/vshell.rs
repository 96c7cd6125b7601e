//! VShell.

use super::EntryKind;
use super::date;
use super::line::{self, Outcome, Told, is_digits, number, unpadded, word};
use super::time::{Clock, Stamp};

/// `206876  Apr 04, 2000 21:06 name`: a directory's name ends in `/`.
pub(super) fn entry(text: &[u8], clock: &Clock) -> Outcome {
    let Some((size, stamp, name)) = read(text) else {
        return Outcome::NotMine;
    };
    let kind = match name.last() {
        Some(b'/') => EntryKind::Directory,
        _ => EntryKind::File,
    };
    let told = Told {
        size: number(size),
        modified: clock.modified(&stamp),
        ..Told::default()
    };
    line::entry(name, kind, told)
}

fn read(text: &[u8]) -> Option<(&[u8], Stamp, &[u8])> {
    let (size, rest) = word(text).filter(|(size, _)| is_digits(size))?;
    // Many a message begins with a number: behind this one there must be a month with a name.
    let (stamp, rest) = date::read(rest).filter(|(stamp, _)| stamp.month != 0)?;
    Some((size, stamp, unpadded(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_dates_and_strangers() {
        for (text, expected) in [
            ("5 Apr 04, 2000 21:06 a b/", Some("a b/")),
            ("5 Apr 31, 2000 21:06 a", Some("a")),
            ("5 Foo 04, 2000 21:06 a", None),
            ("x Apr 04, 2000 21:06 a", None),
            ("5 files", None),
        ] {
            let found = read(text.as_bytes()).map(|(_, _, name)| name);
            assert_eq!(found, expected.map(str::as_bytes), "{text}");
        }
    }
}
