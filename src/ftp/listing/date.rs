//! The dates of `ls` and of servers that imitate it: with a month's name, or in numbers.

use super::line::{is_digits, number, two_digits, word};
use super::months;
use super::time::{Stamp, TimeOfDay, year};

/// The date at the beginning of this text, and the text behind it, which begins with the one blank
/// that separates date and name.
///
/// A date of the right shape that cannot be (`Foo 99 99:99`) is one, too: where it stands tells where
/// the name begins. `None` if nothing here looks like a date.
pub(super) fn read(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let (first, rest) = word(text)?;
    if first[0].is_ascii_digit()
        && let Some(found) = in_numbers(first, rest)
    {
        return Some(found);
    }
    in_words(first, rest)
}

/// `2025-04-08 11:22`, `2019/09/26`, `24-04-2003 17:12`, `03-09 13:45`, `01-jun-99`.
fn in_numbers<'a>(date: &[u8], rest: &'a [u8]) -> Option<(Stamp, &'a [u8])> {
    let separator = *date.iter().find(|b| matches!(b, b'-' | b'/'))?;
    let mut parts = date.splitn(4, |b| *b == separator);
    match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
        (y, m, Some(d), None) if y.len() == 4 => {
            let day = Stamp::day(year(y)?, two_digits(m)?, two_digits(d)?);
            // `ls --time-style=iso` pads the date of an old file with one blank: what looks like
            // a time behind two blanks is the beginning of a name.
            if separator == b'-' && rest.starts_with(b"  ") {
                return Some((day, &rest[1..]));
            }
            Some(with_time(day, rest))
        }
        (d, m, Some(y), None) if separator == b'-' => {
            let month = match two_digits(m) {
                Some(month) if y.len() == 4 => month,
                Some(_) => return None,
                None => months::by_name(m)?,
            };
            Some(with_time(Stamp::day(year(y)?, month, two_digits(d)?), rest))
        }
        (m, d, None, None) if separator == b'-' => {
            let (clock, rest) = time(rest)?;
            let day = Stamp {
                year: None,
                ..Stamp::day(0, two_digits(m)?, two_digits(d)?)
            };
            Some((day.at(clock), rest))
        }
        _ => None,
    }
}

/// Month and day in any order, then a time or a year; or the year before them.
fn in_words<'a>(first: &[u8], rest: &'a [u8]) -> Option<(Stamp, &'a [u8])> {
    let (second, rest) = word(rest)?;
    let (third, rest) = word(rest)?;
    if let Some(year) = first
        .strip_suffix("年".as_bytes())
        .or(first.strip_suffix("년".as_bytes()))
    {
        let day = Stamp::day(four_digits(year)?, month(second)?, day(third)?);
        return Some((day, rest));
    }
    let (month, day) = match month(first).zip(day(second)) {
        Some(found) => found,
        None => month(second).zip(day(first))?,
    };
    let stamp = Stamp::day(0, month, day);
    if let Some(clock) = TimeOfDay::read(third) {
        // Only `ls -lT` of the BSDs tells seconds, and then the year follows.
        let told = clock
            .second
            .and_then(|_| word(rest))
            .and_then(|(y, rest)| Some((four_digits(y)?, rest)));
        let (year, rest) = match told {
            Some((year, rest)) => (Some(year), rest),
            None => (None, rest),
        };
        return Some((
            Stamp {
                year,
                ..stamp.at(clock)
            },
            rest,
        ));
    }
    if let Some(year) = four_digits(third) {
        let stamp = Stamp {
            year: Some(year),
            ..stamp
        };
        // `Oct 08, 2002 09:47`: only with that comma does a time follow the year.
        return Some(match second.ends_with(b",") {
            true => with_time(stamp, rest),
            false => (stamp, rest),
        });
    }
    // FileZilla Server has no date for virtual folders: `??? ?? ?????`.
    let unknown = third.iter().all(|b| *b == b'?');
    unknown.then_some((Stamp::IMPOSSIBLE, rest))
}

/// The day at the time that follows it, if one does, and the zone that follows a full time.
fn with_time(day: Stamp, rest: &[u8]) -> (Stamp, &[u8]) {
    let Some((clock, behind)) = time(rest) else {
        return (day, rest);
    };
    let stamp = day.at(clock);
    if clock.second.is_some()
        && let Some((word, behind)) = word(behind)
        && let Some(seconds) = zone(word)
    {
        return (
            Stamp {
                zone: Some(seconds),
                ..stamp
            },
            behind,
        );
    }
    (stamp, behind)
}

fn time(text: &[u8]) -> Option<(TimeOfDay, &[u8])> {
    let (word, rest) = word(text)?;
    Some((TimeOfDay::read(word)?, rest))
}

/// `+0200` in seconds ahead of UTC.
fn zone(word: &[u8]) -> Option<i32> {
    let (sign, digits) = match word {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 {
        return None;
    }
    let (hours, minutes) = (two_digits(&digits[..2])?, two_digits(&digits[2..])?);
    Some(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
}

fn four_digits(word: &[u8]) -> Option<i16> {
    let word = word
        .strip_suffix("年".as_bytes())
        .or(word.strip_suffix("년".as_bytes()))
        .unwrap_or(word);
    if word.len() != 4 {
        return None;
    }
    year(word)
}

/// The number of a day; 0 for `??`.
fn day(word: &[u8]) -> Option<i8> {
    if word == b"??" {
        return Some(0);
    }
    let word = word
        .strip_suffix("日".as_bytes())
        .or(word.strip_suffix("일".as_bytes()))
        .unwrap_or(word);
    two_digits(undotted(word))
}

/// The number of a month; 0 for a word that could be one in a language we do not know.
fn month(word: &[u8]) -> Option<i8> {
    let word = undotted(word);
    if let Some(digits) = word
        .strip_suffix("月".as_bytes())
        .or(word.strip_suffix("월".as_bytes()))
    {
        return is_digits(digits).then(|| {
            let month = number(digits).and_then(|n| i8::try_from(n).ok());
            month.unwrap_or(0)
        });
    }
    months::by_name(word).or_else(|| {
        let letters = |b: &u8| b.is_ascii_alphabetic() || *b >= 0x80 || matches!(b, b'?' | b'.');
        (word.len() >= 3 && word.len() <= 24 && word.iter().all(letters)).then_some(0)
    })
}

/// Without the dot or comma that some languages put behind months and days.
fn undotted(word: &[u8]) -> &[u8] {
    word.strip_suffix(b".")
        .or(word.strip_suffix(b","))
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(stamp: &Stamp) -> String {
        let year = stamp.year.map_or("?".to_owned(), |y| y.to_string());
        let mut text = format!("{year}-{}-{}", stamp.month, stamp.day);
        if let Some(t) = stamp.time {
            text += &format!(" {}:{:02}", t.hour, t.minute);
            text += &t.second.map_or(String::new(), |s| format!(":{s}"));
        }
        text + &stamp.zone.map_or(String::new(), |z| format!(" {z:+}"))
    }

    #[test]
    fn shapes_and_what_follows() {
        let cases = [
            ("Mar  4 16:40 x", "?-3-4 16:40", " x"),
            ("Mar  4  2019 16:40 x", "2019-3-4", " 16:40 x"),
            ("Oct 08, 2002 09:47 x", "2002-10-8 9:47", " x"),
            ("Oct 08, 2002 x", "2002-10-8", " x"),
            ("Mar  4 16:40:22 2026 x", "2026-3-4 16:40:22", " x"),
            ("Mar  4 16:40 2026 x", "?-3-4 16:40", " 2026 x"),
            ("26. Juli, 20:10 x", "?-7-26 20:10", " x"),
            (" 3月  3 10:05 x", "?-3-3 10:05", " x"),
            ("2005년  1월  6일 x", "2005-1-6", " x"),
            ("2025-04-08 11:22 x", "2025-4-8 11:22", " x"),
            ("2025-04-08 11:22 +0100 x", "2025-4-8 11:22", " +0100 x"),
            (
                "2025-04-08 11:22:33.5 -0130 x",
                "2025-4-8 11:22:33 -5400",
                " x",
            ),
            ("2025-04-08  11:22 x", "2025-4-8", " 11:22 x"),
            ("2025/04/08  11:22 x", "2025-4-8 11:22", " x"),
            ("24-04-2003 17:12 x", "2003-4-24 17:12", " x"),
            ("01-jun-99 x", "1999-6-1", " x"),
            ("03-09 13:45 x", "?-3-9 13:45", " x"),
            ("Foo 99 99:99 x", "?-0-99 99:99", " x"),
            ("??? ?? ????? x", "0-0-0", " x"),
            ("13月  3  2011 x", "2011-13-3", " x"),
        ];
        for (text, date, rest) in cases {
            let (stamp, found) = read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(written(&stamp), date, "{text}");
            assert_eq!(found, rest.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "Mar",
            "Mar 4",
            "Mar 4 x",
            "Mar 123 2019 x",
            "12 Nov 11 2005",
            "1 2 2003",
            "2025-04 x",
            "03-09 x",
            "1-2-3-4 x",
            "a,b 12 x",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
