//! The listings of MS-DOS and of IIS in its own style.

use super::EntryKind;
use super::line::{
    self, Outcome, Told, grouped_number, is_digits, lines, two_digits, unpadded, word,
};
use super::time::{Clock, Stamp, TimeOfDay, year};

/// Which of two small numbers is the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DayOrder {
    MonthFirst,
    DayFirst,
}

/// The order in this listing: month first, unless a line has a first number that only a day can be.
pub(super) fn day_order(listing: &[u8]) -> DayOrder {
    let day_first = lines(listing).any(|line| {
        let Some(Line { date, .. }) = read(line) else {
            return false;
        };
        date[0].len() <= 2 && two_digits(date[0]).is_some_and(|n| (13..=31).contains(&n))
    });
    match day_first {
        true => DayOrder::DayFirst,
        false => DayOrder::MonthFirst,
    }
}

/// `MM-DD-YY  HH:MMAM  size name`, or `<DIR>` in place of the size. `order` is asked only for lines
/// of this form.
pub(super) fn entry(text: &[u8], clock: &Clock, order: impl FnOnce() -> DayOrder) -> Outcome {
    let Some(line) = read(text) else {
        return Outcome::NotMine;
    };
    let modified = line.stamp(order()).and_then(|stamp| clock.modified(&stamp));
    let (kind, size, name) = if line.size.eq_ignore_ascii_case(b"<DIR>") {
        // The size column is as wide as `<DIR>` and ten blanks. What is more belongs to the name.
        let name = line
            .rest
            .strip_prefix(b"          ")
            .unwrap_or(unpadded(line.rest));
        (EntryKind::Directory, None, name)
    } else {
        (
            EntryKind::File,
            grouped_number(line.size),
            line::after_blank(line.rest),
        )
    };
    let told = Told {
        size,
        modified,
        ..Told::default()
    };
    line::entry(name, kind, told)
}

/// The columns of a line of this form.
struct Line<'a> {
    date: [&'a [u8]; 3],
    time: TimeOfDay,
    /// `<DIR>`, or a number.
    size: &'a [u8],
    rest: &'a [u8],
}

fn read(text: &[u8]) -> Option<Line<'_>> {
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    let (date, rest) = word(text)?;
    let date = date_fields(date)?;
    let (clock, rest) = word(rest)?;
    let (time, rest) = match twelve_hours(clock) {
        Some(time) => (time, rest),
        None => {
            // `05:03 PM`, else a 24-hour clock.
            let half = word(rest).filter(|(half, _)| is_half(half));
            let time = TimeOfDay::read(clock)?;
            match half {
                Some((half, rest)) => (afternoon(time, half), rest),
                None => (time, rest),
            }
        }
    };
    let (size, rest) = word(rest)?;
    let is_size = size[0].is_ascii_digit() && size.iter().all(|b| b.is_ascii_digit() || *b == b',');
    (is_size || size.eq_ignore_ascii_case(b"<DIR>")).then_some(Line {
        date,
        time,
        size,
        rest,
    })
}

/// Three numbers with `-` or `/` between them: two short ones and a year, or the year first.
pub(super) fn date_fields(date: &[u8]) -> Option<[&[u8]; 3]> {
    let separator = *date.iter().find(|b| matches!(b, b'-' | b'/'))?;
    let mut parts = date.split(|b| *b == separator);
    let fields = [parts.next()?, parts.next()?, parts.next()?];
    let lengths = fields.map(<[u8]>::len);
    let shaped = matches!(lengths, [1..=2, 1..=2, 2..=4] | [4, 1..=2, 1..=2]);
    (parts.next().is_none() && shaped && fields.iter().all(|f| is_digits(f))).then_some(fields)
}

/// The day that three numbers mean.
pub(super) fn date_stamp([a, b, c]: [&[u8]; 3], order: DayOrder) -> Option<Stamp> {
    if a.len() == 4 {
        return Some(Stamp::day(year(a)?, two_digits(b)?, two_digits(c)?));
    }
    let (month, day) = match order {
        DayOrder::MonthFirst => (a, b),
        DayOrder::DayFirst => (b, a),
    };
    Some(Stamp::day(year(c)?, two_digits(month)?, two_digits(day)?))
}

impl Line<'_> {
    fn stamp(&self, order: DayOrder) -> Option<Stamp> {
        Some(date_stamp(self.date, order)?.at(self.time))
    }
}

fn is_half(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"AM") || word.eq_ignore_ascii_case(b"PM")
}

/// `05:03PM`.
fn twelve_hours(word: &[u8]) -> Option<TimeOfDay> {
    let (time, half) = word.split_at_checked(word.len().checked_sub(2)?)?;
    is_half(half).then(|| Some(afternoon(TimeOfDay::read(time)?, half)))?
}

/// The time on a clock of 24 hours: 12 AM is midnight, 12 PM is noon.
fn afternoon(time: TimeOfDay, half: &[u8]) -> TimeOfDay {
    let hour = match (time.hour, half.eq_ignore_ascii_case(b"PM")) {
        (12, false) => 0,
        (1..=11, true) => time.hour + 12,
        // 13 PM is no time.
        (13.., _) => 24,
        (hour, _) => hour,
    };
    TimeOfDay { hour, ..time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_decides_the_order_of_all() {
        let month = "01-02-26  10:57AM       <DIR>          x\n";
        let day = "13-02-26  10:57AM   1 x\n";
        assert_eq!(day_order(month.as_bytes()), DayOrder::MonthFirst);
        assert_eq!(
            day_order(format!("{month}{day}").as_bytes()),
            DayOrder::DayFirst
        );
        assert_eq!(
            day_order(b"13-02-26 is no line of a listing"),
            DayOrder::MonthFirst
        );
        assert_eq!(day_order(b"99-99-99  10:57AM   1 x"), DayOrder::MonthFirst);
    }

    #[test]
    fn clocks_of_twelve_hours() {
        for (text, hour) in [
            ("12:00AM", 0),
            ("12:59PM", 12),
            ("01:00pm", 13),
            ("11:59PM", 23),
            ("13:00PM", 24),
        ] {
            assert_eq!(
                twelve_hours(text.as_bytes()).map(|t| t.hour),
                Some(hour),
                "{text}"
            );
        }
        assert_eq!(twelve_hours(b"PM"), None);
    }

    #[test]
    fn other_forms_are_not_mine() {
        for text in [
            "",
            "12",
            "12-25-20",
            "12-25-20 x",
            "12-25-20 07:08",
            "12-25-20 07:08 x y",
            "12-25-2 07:08 1 y",
        ] {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(read(b"12/25/2020 7:08 PM <dir> y").is_some());
    }
}
