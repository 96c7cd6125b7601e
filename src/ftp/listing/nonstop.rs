//! HP NonStop (Guardian).

use super::EntryKind;
use super::date;
use super::line::{self, Outcome, Told, is_digits, number, word};
use super::time::{Clock, Stamp};

/// `ALPHA  101  528   6-Apr-07 14:21:18 255, 0 "oooo"`: name, file code, end of file in bytes, time,
/// owner, security. `O` between name and code marks an open file.
pub(super) fn entry(text: &[u8], clock: &Clock) -> Outcome {
    match read(text) {
        Some((name, size, stamp)) => {
            let told = Told {
                size: number(size),
                modified: clock.modified(&stamp),
                ..Told::default()
            };
            line::entry(name, EntryKind::File, told)
        }
        None if is_header(text) => Outcome::Skip,
        None => Outcome::NotMine,
    }
}

fn read(text: &[u8]) -> Option<(&[u8], &[u8], Stamp)> {
    let (name, rest) = word(text)?;
    let (mut code, mut rest) = word(rest)?;
    if code == b"O" {
        (code, rest) = word(rest)?;
    }
    let (size, rest) = word(rest)?;
    // A file name of Guardian: a letter, then up to seven letters and digits.
    let is_name = name.len() <= 8
        && name[0].is_ascii_alphabetic()
        && name.iter().all(u8::is_ascii_alphanumeric);
    if !is_name || !code[0].is_ascii_digit() || !is_digits(size) {
        return None;
    }
    let (stamp, _) = date::read(rest)?;
    let told_seconds = stamp.time.is_some_and(|time| time.second.is_some());
    told_seconds.then_some((name, size, stamp))
}

fn is_header(text: &[u8]) -> bool {
    let Some((first, rest)) = word(text) else {
        return false;
    };
    first == b"File"
        && word(rest).is_some_and(|(second, _)| second == b"Code")
        && text.ends_with(b"RWEP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_strangers() {
        for (text, expected) in [
            ("ALPHA 101 528 6-Apr-07 14:21:18 255, 0 \"oooo\"", true),
            ("ALPHA O 101 528 6-Apr-07 14:21:18 255, 0 \"oooo\"", true),
            ("ALPHA 101L 528 31-Feb-07 14:21:18 255,255 \"oooo\"", true),
            ("1ALPHA 101 528 6-Apr-07 14:21:18", false),
            ("ALPHABETA 101 528 6-Apr-07 14:21:18", false),
            ("ALPHA 101 528 6-Apr-07 x", false),
            ("ALPHA 101 528", false),
        ] {
            assert_eq!(read(text.as_bytes()).is_some(), expected, "{text}");
        }
    }
}
